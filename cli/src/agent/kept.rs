//! The files that keep tags and keys over a restart: how they are read and what they hold (cli.md 3.8).

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;
use villein_core::keyring::{Key, decode_base64};
use villein_core::types::Tags;

use super::config::AgentConfig;
use crate::go;

/// What was found in the files.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// `None`: there is no tags file.
    pub(crate) tags: Option<Tags>,
    /// Primary first.
    pub(crate) keys: Vec<Key>,
    /// What is to be logged of it.
    pub(crate) lines: Vec<String>,
}

impl Kept {
    /// Reads the files that are configured. The error is the agent's whole sentence: the original's, and the place.
    pub(crate) fn read(config: &AgentConfig) -> Result<Self, String> {
        let mut kept = Self::default();
        kept.read_all(config).map_err(|problem| format!("Failed to setup the Serf agent: {problem}"))?;
        Ok(kept)
    }

    fn read_all(&mut self, config: &AgentConfig) -> Result<(), String> {
        if !config.tags_file.is_empty() {
            if !config.tags.is_empty() {
                return Err(TAGS_TWICE.into());
            }
            let path = &config.tags_file;
            self.tags = Some(Tags::new());
            match fs::read(path) {
                Ok(text) => {
                    let tags =
                        read_tags(&text, path).map_err(|error| format!("Failed to decode tags file: {error}"))?;
                    self.lines.push(format!("Restored {} tag(s) from {path}", tags.len()));
                    self.tags = Some(tags);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(format!("Failed to read tags file: {}", unreadable(path, &error))),
            }
        }
        if !config.keyring_file.is_empty() {
            if !config.encrypt_key.is_empty() {
                return Err("Encryption key not allowed while using a keyring".into());
            }
            let path = &config.keyring_file;
            fs::metadata(path).map_err(|error| format!("stat {path}: {}", go::os_error(&error)))?;
            let text =
                fs::read(path).map_err(|error| format!("Failed to read keyring file: {}", unreadable(path, &error)))?;
            let (keys, count) = read_keys(&text, path)?;
            self.keys = keys;
            self.lines.push(format!("Restored keyring with {count} keys from {path}"));
        }
        Ok(())
    }
}

/// Tags that are configured although a file keeps them.
pub(crate) const TAGS_TWICE: &str = "Tags config not allowed while using tag files";

/// The content of a tags file. The error is the whole sentence: JSON is text, and what is none would come back as
/// something else.
pub(crate) fn encode_tags(tags: &Tags) -> Result<Vec<u8>, String> {
    let mut texts = BTreeMap::new();
    for (key, value) in tags {
        match (str::from_utf8(key), str::from_utf8(value)) {
            (Ok(key), Ok(value)) => texts.insert(key, value),
            (Err(_), _) | (_, Err(_)) => {
                let shown = String::from_utf8_lossy(key);
                return Err(format!("tag '{shown}' cannot be kept in the tags file: it is not UTF-8"));
            }
        };
    }
    Ok(encode(&texts))
}

/// The content of a keyring file. There is no error: it has the type that [`encode_tags`] has.
#[expect(clippy::unnecessary_wraps, reason = "one type for all kept files")]
pub(crate) fn encode_keys(keys: &[Key]) -> Result<Vec<u8>, String> {
    Ok(encode(&keys.iter().map(Key::to_base64).collect::<Vec<_>>()))
}

#[expect(clippy::expect_used, reason = "text and lists of text are JSON")]
fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    go::json::render(value).expect("text can be written")
}

fn unreadable(path: &str, error: &std::io::Error) -> String {
    let operation = if Path::new(path).is_dir() { "read" } else { "open" };
    format!("{operation} {path}: {}", go::os_error(error))
}

/// Reads the one JSON value of a file.
fn parse(text: &[u8], path: &str) -> Result<Value, String> {
    if let Some(complaint) = go::json_syntax::complaint_about_all(text) {
        return Err(format!("{complaint} ({path}, {})", place(text, complaint.at)));
    }
    serde_json::from_str(&go::json_text::readable(text)).map_err(|error| format!("{error} ({path})"))
}

/// Line and column, both from 1, of a byte.
fn place(text: &[u8], at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!("line {line}, column {column}")
}

fn mismatch(value: &Value, wanted: &str) -> String {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {got} into Go value of type {wanted}")
}

pub(crate) fn read_tags(text: &[u8], path: &str) -> Result<Tags, String> {
    let tags = match parse(text, path)? {
        Value::Null => return Ok(Tags::new()),
        Value::Object(tags) => tags,
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(format!("{} ({path})", mismatch(&other, "map[string]string")));
        }
    };
    let tag = |(key, value): (String, Value)| match value {
        Value::String(value) => Ok((key.into_bytes(), value.into_bytes())),
        Value::Null => Ok((key.into_bytes(), Vec::new())),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(format!("{} (tag '{key}' in {path})", mismatch(&other, "string")))
        }
    };
    tags.into_iter().map(tag).collect()
}

/// The keys of a file and how many it has; one that stands there twice counts twice.
pub(crate) fn read_keys(text: &[u8], path: &str) -> Result<(Vec<Key>, usize), String> {
    let undecoded = |error: String| format!("Failed to decode keyring file: {error}");
    let texts = match parse(text, path).map_err(undecoded)? {
        Value::Null => Vec::new(),
        Value::Array(texts) => texts,
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            return Err(undecoded(format!("{} ({path})", mismatch(&other, "[]string"))));
        }
    };
    if texts.is_empty() {
        return Err(format!("Keyring file contains no keys ({path})"));
    }
    let at = |index: usize| format!("(key {} in {path})", index + 1);
    let mut keys: Vec<Key> = Vec::new();
    let mut raw = Vec::new();
    // As in the original: first the file as a whole, then what its texts stand for, then whether these can be keys.
    for (index, text) in texts.iter().enumerate() {
        match text {
            Value::String(text) => raw.push(text.as_str()),
            Value::Null => raw.push(""),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(undecoded(format!("{} {}", mismatch(text, "string"), at(index))));
            }
        }
    }
    let mut decoded = Vec::new();
    for (index, text) in raw.into_iter().enumerate() {
        let bytes = decode_base64(text.as_bytes());
        decoded.push(bytes.map_err(|error| format!("Failed to decode key from keyring: {error} {}", at(index)))?);
    }
    let count = decoded.len();
    for (index, bytes) in decoded.iter().enumerate() {
        if index == 0 && bytes.is_empty() {
            return Err(format!("Failed to restore keyring: Empty primary key not allowed {}", at(index)));
        }
        let key = Key::new(bytes).map_err(|error| format!("Failed to restore keyring: {error} {}", at(index)))?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok((keys, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
    const TWO: &str = "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=";

    fn tags(text: &str) -> Result<Vec<(String, String)>, String> {
        let shown = |bytes| String::from_utf8(bytes).unwrap();
        let tags = read_tags(text.as_bytes(), "t.json")?;
        Ok(tags.into_iter().map(|(key, value)| (shown(key), shown(value))).collect())
    }

    #[test]
    fn tags_are_an_object_of_texts() {
        assert_eq!(tags("null"), Ok(vec![]));
        let wanted = vec![("a".into(), "1".into()), ("b".into(), String::new())];
        assert_eq!(tags(" {\"b\": null, \"a\": \"1\"}\n"), Ok(wanted));
        assert_eq!(tags(r#"{"a": "\ud800"}"#), Ok(vec![("a".into(), "\u{fffd}".into())]), "as Go reads it");
    }

    #[test]
    fn bad_tags_are_refused_in_the_originals_words_with_their_place() {
        for (text, refusal) in [
            ("", "unexpected end of JSON input (t.json, line 1, column 1)"),
            ("{\n  \"a\"", "unexpected end of JSON input (t.json, line 2, column 6)"),
            ("{\"a\":\"b\"} j", "invalid character 'j' after top-level value (t.json, line 1, column 11)"),
            ("{\n\"a\":\"b\"\n\"", "invalid character '\"' after object key:value pair (t.json, line 3, column 1)"),
            ("{\"a\":1}", "json: cannot unmarshal number into Go value of type string (tag 'a' in t.json)"),
            ("{\"a\":{}}", "json: cannot unmarshal object into Go value of type string (tag 'a' in t.json)"),
            ("[1]", "json: cannot unmarshal array into Go value of type map[string]string (t.json)"),
            ("3", "json: cannot unmarshal number into Go value of type map[string]string (t.json)"),
        ] {
            assert_eq!(tags(text), Err(refusal.into()), "{text}");
        }
    }

    #[test]
    fn keys_are_a_list_of_texts_the_primary_first() {
        let text = format!("[\"{TWO}\", \"{ONE}\", \"{TWO}\"]");
        let (keys, count) = read_keys(text.as_bytes(), "k.json").unwrap();
        assert_eq!((keys.iter().map(Key::to_base64).collect::<Vec<_>>(), count), (vec![TWO.into(), ONE.into()], 3));
    }

    #[test]
    fn bad_keys_are_refused_in_the_originals_words_with_their_place() {
        for (text, refusal) in [
            ("[", "Failed to decode keyring file: unexpected end of JSON input (k.json, line 1, column 2)"),
            (
                "[] x",
                "Failed to decode keyring file: invalid character 'x' after top-level value (k.json, line 1, column 4)",
            ),
            (
                "{}",
                "Failed to decode keyring file: json: cannot unmarshal object into Go value of type []string (k.json)",
            ),
            (
                "[1]",
                "Failed to decode keyring file: json: cannot unmarshal number into Go value of type string \
                 (key 1 in k.json)",
            ),
            ("null", "Keyring file contains no keys (k.json)"),
            ("[]", "Keyring file contains no keys (k.json)"),
            ("[null]", "Failed to restore keyring: Empty primary key not allowed (key 1 in k.json)"),
            (
                "[\"aGVsbG8=\", \"abc\"]",
                "Failed to decode key from keyring: illegal base64 data at input byte 0 (key 2 in k.json)",
            ),
            ("[\"aGVsbG8=\"]", "Failed to restore keyring: key size must be 16, 24 or 32 bytes (key 1 in k.json)"),
        ] {
            assert_eq!(read_keys(text.as_bytes(), "k.json").unwrap_err(), refusal, "{text}");
        }
    }

    #[test]
    fn tags_that_are_no_text_are_not_written_as_others() {
        for (key, value) in [(&b"a\xfc"[..], &b"1"[..]), (b"a\xfc", b"\xfc"), (b"a", b"\xfc")] {
            let refusal = encode_tags(&Tags::from([(key.to_vec(), value.to_vec())])).unwrap_err();
            let shown = String::from_utf8_lossy(key);
            assert_eq!(refusal, format!("tag '{shown}' cannot be kept in the tags file: it is not UTF-8"));
        }
    }

    #[test]
    fn files_are_written_as_the_original_writes_them() {
        let tags = Tags::from([(b"role".to_vec(), b"<web>".to_vec()), (b"hello".to_vec(), b"world".to_vec())]);
        let wanted = "{\n  \"hello\": \"world\",\n  \"role\": \"\\u003cweb\\u003e\"\n}";
        assert_eq!(String::from_utf8(encode_tags(&tags).unwrap()).unwrap(), wanted);
        assert_eq!(encode_tags(&Tags::new()), Ok(b"{}".to_vec()));
        let keys = [TWO, ONE].map(|text| Key::from_base64(text).unwrap());
        assert_eq!(String::from_utf8(encode_keys(&keys).unwrap()).unwrap(), format!("[\n  \"{TWO}\",\n  \"{ONE}\"\n]"));
    }
}
