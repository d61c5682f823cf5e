//! JSON texts that Go reads and serde_json does not.

use std::borrow::Cow;

/// The text with U+FFFD for what Go reads as that: bytes that are not UTF-8, and escaped halves of surrogate pairs
/// without their other half. Lengths and places before the first of them stay.
pub(crate) fn readable(text: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    let lone = lone_surrogates(text.as_bytes());
    if lone.is_empty() {
        return text;
    }
    let mut readable = text.into_owned();
    for at in lone {
        readable.replace_range(at..at + ESCAPE.len(), ESCAPE);
    }
    Cow::Owned(readable)
}

/// What stands for a lone half; as long as what it stands for.
const ESCAPE: &str = "\\ufffd";

/// Where the escapes of lone halves begin.
fn lone_surrogates(text: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    // A backslash stands in strings alone, and begins an escape.
    while let Some(ahead) = text[at..].iter().position(|byte| *byte == b'\\') {
        at += ahead;
        match (escaped(text, at), escaped(text, at + ESCAPE.len())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 2 * ESCAPE.len(),
            (Some(0xd800..=0xdfff), _) => {
                found.push(at);
                at += ESCAPE.len();
            }
            // What is escaped may be a backslash.
            (_, _) => at = text.len().min(at + 2),
        }
    }
    found
}

/// The number of the `\uXXXX` that begins at `at`.
fn escaped(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at.checked_add(ESCAPE.len())?)?.strip_prefix(b"\\u")?;
    // A sign is no digit here.
    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_halves_of_surrogate_pairs_are_read_as_go_reads_them() {
        for (text, value) in [
            (r#""\ud800""#, "\u{fffd}"),
            (r#""a\uDC00b""#, "a\u{fffd}b"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\u{fffd}\u{1f600}\u{fffd}"),
            (r#""\ud800\u0041\ud800\n""#, "\u{fffd}A\u{fffd}\n"),
            (r#""\\ud800""#, "\\ud800"),
            (r#""\\\ud800""#, "\\\u{fffd}"),
            (r#""\u00fc""#, "ü"),
        ] {
            assert_eq!(serde_json::from_str::<String>(&readable(text.as_bytes())).unwrap(), value, "{text}");
        }
        for text in ["\"a\\", "\"\\ud8", "\\", "\"\\ud800\\u", "\"\\u+123\""] {
            assert_eq!(readable(text.as_bytes()).len(), text.len());
        }
        assert_eq!(readable(b"\"\xff\\udfff\""), "\"\u{fffd}\\ufffd\"");
    }
}
