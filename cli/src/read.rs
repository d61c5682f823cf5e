//! How an agent reads and writes the files that operators may have touched, for the fuzz targets.

use villein_core::keyring::Key;
use villein_core::types::Tags;

use crate::agent::{config_file, kept};

/// Reads the text of a tags file.
///
/// # Errors
/// The agent's sentence.
pub fn tags(text: &[u8]) -> Result<Tags, String> {
    kept::read_tags(text, "tags.json")
}

/// The text of a tags file.
///
/// # Errors
/// A tag that is not UTF-8.
pub fn write_tags(tags: &Tags) -> Result<Vec<u8>, String> {
    kept::encode_tags(tags)
}

/// Reads the text of a keyring file.
///
/// # Errors
/// The agent's sentence.
pub fn keys(text: &[u8]) -> Result<Vec<Key>, String> {
    kept::read_keys(text, "keys.json").map(|(keys, _)| keys)
}

/// The text of a keyring file.
///
/// # Errors
/// None.
pub fn write_keys(keys: &[Key]) -> Result<Vec<u8>, String> {
    kept::encode_keys(keys)
}

/// Reads the text of a configuration file.
///
/// # Errors
/// The agent's sentence.
pub fn config(text: &[u8]) -> Result<(), String> {
    config_file::decode(text).map(|_| ())
}
