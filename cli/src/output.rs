//! The two forms in which a command can print what it found out.

use serde_json::Value;

use crate::{go, ui};

/// What a command prints.
pub(crate) trait Output {
    /// For people, without a final newline.
    fn text(&self) -> Vec<u8>;

    /// For programs. Fields come in the order in which they are printed.
    fn json(&self) -> Value;
}

/// Prints in the form that `-format` names. The error is the command's whole sentence.
pub(crate) fn print(output: &impl Output, format: &str) -> Result<(), String> {
    match format {
        "text" => ui::say(output.text()),
        "json" => ui::say(go::json::render(&output.json()).map_err(|error| format!("Encoding error: {error}"))?),
        other => return Err(format!("Encoding error: Invalid output format {}", go::quote(other.as_bytes()))),
    }
    Ok(())
}

/// Bytes as JSON can show them.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
