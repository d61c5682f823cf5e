//! Standard base64 as Go reads it: line breaks are skipped, and a refusal names the byte.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Go does not look at the unused bits of the last character.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The offset of the first byte that Go complains about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CorruptInput(pub(crate) usize);

impl fmt::Display for CorruptInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "illegal base64 data at input byte {}", self.0)
    }
}

/// Encodes with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    LENIENT.encode(bytes)
}

/// Decodes padded base64.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, CorruptInput> {
    if let Some(offset) = corrupt_byte(text.as_bytes()) {
        return Err(CorruptInput(offset));
    }
    let joined: String = text.chars().filter(|c| !is_break(*c)).collect();
    LENIENT.decode(joined).map_err(|_| CorruptInput(text.len()))
}

/// Walks quanta of four as `encoding/base64` does, to name the same byte as it.
fn corrupt_byte(text: &[u8]) -> Option<usize> {
    // Positions of what counts; line breaks do not.
    let significant: Vec<usize> = (0..text.len()).filter(|i| !is_break(char::from(text[*i]))).collect();
    let byte_at = |i: usize| significant.get(i).map(|at| text[*at]);
    for (i, at) in significant.iter().enumerate() {
        let byte = text[*at];
        if byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/' {
            continue;
        }
        let quantum = i % 4;
        if byte != b'=' || quantum < 2 {
            return Some(*at);
        }
        let last = if quantum == 2 { i + 1 } else { i };
        if quantum == 2 && byte_at(last) != Some(b'=') {
            // Go has read on to the byte that should have been the second `=`.
            return Some(significant.get(last).map_or(text.len(), |next| next - 1));
        }
        return significant.get(last + 1).copied();
    }
    let open = significant.len() % 4;
    (open > 0).then(|| text.len() - open)
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_byte_that_go_names() {
        // Offsets as a real agent prints them for `-encrypt`.
        for (text, offset) in [
            ("abc", 0),
            ("ab c==", 2),
            ("YWJj=", 4),
            ("YQ=", 3),
            ("!!!!", 0),
            ("YWJj!", 4),
            ("YW=j", 2),
            ("YW==YW==", 4),
            ("YQ", 0),
        ] {
            assert_eq!(decode(text), Err(CorruptInput(offset)), "{text}");
        }
    }

    #[test]
    fn line_breaks_and_unused_bits_do_not_matter() {
        assert_eq!(decode("YW\nJj").as_deref(), Ok(&b"abc"[..]));
        assert_eq!(decode("YR==").as_deref(), Ok(&b"a"[..]));
        assert_eq!(decode("").as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn encoding_is_undone_by_decoding() {
        let bytes: Vec<u8> = (0..=255).collect();
        for end in 0..bytes.len() {
            assert_eq!(decode(&encode(&bytes[..end])).as_deref(), Ok(&bytes[..end]));
        }
    }
}
