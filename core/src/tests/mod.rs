mod keyring;
mod native;
mod tags;
