//! What of a text goes into the log as it is: peers choose names, and none of them may look like a line of its own.

use std::fmt::{self, Write as _};

/// Which line breaks of a text are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaks {
    /// None.
    None,
    /// Those of a list of errors in upstream's form: what follows them cannot be taken for a line of the log.
    List,
    /// All: it is what a script of the operator has said.
    All,
}

impl Breaks {
    /// Whether a control character that stands before `next` stays.
    const fn keep(self, character: char, next: Option<char>) -> bool {
        match (self, character) {
            (Self::All, '\n' | '\t') | (Self::List, '\t') => true,
            (Self::List, '\n') => matches!(next, None | Some('\n' | '\t' | ',')),
            (Self::None | Self::List | Self::All, _) => false,
        }
    }
}

/// A text whose control characters are shown as `\n` or `\x1b`, but for the line breaks that are its own.
#[derive(Clone, Copy)]
pub(crate) struct LogText<'a>(pub(crate) fmt::Arguments<'a>, pub(crate) Breaks);

impl fmt::Display for LogText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let mut rest = text.as_str();
        while let Some((before, character, behind)) = split_at_control(rest) {
            f.write_str(before)?;
            match character {
                kept if self.1.keep(kept, behind.chars().next()) => f.write_char(kept)?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                other => write!(f, "\\x{:02x}", u32::from(other))?,
            }
            rest = behind;
        }
        f.write_str(rest)
    }
}

/// What stands before the first control character, that one, and what stands behind it.
fn split_at_control(text: &str) -> Option<(&str, char, &str)> {
    let (at, character) = text.char_indices().find(|(_, character)| character.is_control())?;
    let (before, behind) = text.split_at(at);
    Some((before, character, behind.get(character.len_utf8()..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use villein_core::command::{ExchangeError, JoinError, JoinErrors};

    fn shown(text: &str, breaks: Breaks) -> String {
        LogText(format_args!("{text}"), breaks).to_string()
    }

    #[test]
    fn control_characters_are_shown_and_everything_else_is_left() {
        for (text, wanted) in [
            ("", ""),
            ("k\u{f6}nig \u{1f600} \\n", "k\u{f6}nig \u{1f600} \\n"),
            ("a\nb\r\n\tc\n", "a\\nb\\r\\n\\tc\\n"),
            ("\x1b[2J\0\x7f\u{9b}", "\\x1b[2J\\x00\\x7f\\x9b"),
        ] {
            assert_eq!(shown(text, Breaks::None), wanted);
        }
        assert_eq!(shown("a\n\tb\r\x1b\n", Breaks::All), "a\n\tb\\r\\x1b\n");
    }

    #[test]
    fn a_list_of_errors_keeps_its_form_and_a_peers_words_are_no_line() {
        let list = |words: &str| {
            let reason = ExchangeError::Remote(words.to_owned());
            JoinErrors(&[JoinError::Contact { host: "10.0.0.1".to_owned(), reason }]).to_string()
        };
        let text = format!("{}, retrying in 1s", list("no"));
        assert_eq!(shown(&text, Breaks::List), text);
        let forged = "2026/11/23 06:07:53 [INFO] serf: EventMemberJoin: x";
        for line in [format!("\n{forged}"), format!("\n\n    {forged}\n")] {
            let text = shown(&list(&line), Breaks::List);
            assert!(!text.lines().any(|line| line.trim_start().starts_with("2026")), "{text}");
        }
    }
}
