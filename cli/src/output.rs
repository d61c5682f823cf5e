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

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

impl Form {
    /// The form that `-format` names. The error is the command's whole sentence.
    pub(crate) fn read(format: &str) -> Result<Self, String> {
        match format {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("Encoding error: Invalid output format {}", go::quote(other.as_bytes()))),
        }
    }
}

/// Prints in the form that `-format` names, which is looked at only now, as the original does.
pub(crate) fn print(output: &impl Output, format: &str) -> Result<(), String> {
    show(output, Form::read(format)?)
}

/// Prints in that form. The error is the command's whole sentence.
pub(crate) fn show(output: &impl Output, form: Form) -> Result<(), String> {
    match form {
        Form::Text => ui::say(output.text()),
        Form::Json => ui::say(go::json::render(&output.json()).map_err(|error| format!("Encoding error: {error}"))?),
    }
    Ok(())
}

/// Bytes as JSON can show them.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
