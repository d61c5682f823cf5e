//! Pure.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod go_regex;

#[cfg(test)]
mod tests;
