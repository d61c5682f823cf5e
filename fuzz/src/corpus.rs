//! The corpora: one file for each target, one input in hexadecimal digits on each line, the short ones first.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the corpus of a target is.
fn path(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target).with_extension("hex")
}

/// The inputs of a target's corpus.
///
/// # Errors
/// The file cannot be read, or a line is no hexadecimal number of whole bytes.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let path = path(target);
    let named = |text: &dyn std::fmt::Display| io::Error::other(format!("{}: {text}", path.display()));
    let text = fs::read_to_string(&path).map_err(|error| named(&error))?;
    let lines = text.lines().enumerate();
    lines.map(|(at, line)| unhex(line).ok_or_else(|| named(&format!("line {} is no input", at + 1)))).collect()
}

/// Makes these the corpus of a target.
///
/// # Errors
/// The file cannot be written.
pub fn write(target: &str, mut inputs: Vec<Vec<u8>>) -> io::Result<()> {
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    inputs.dedup();
    let mut text = String::new();
    for input in inputs {
        for byte in input {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    fs::write(path(target), text)
}

/// Bytes of hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(pair).collect()
}
