//! Command lines as Go's `flag` package reads them, over the clap table of each command.
//!
//! clap holds the flags: names, types, defaults, help. This module stands in front of it: single dashes, booleans that
//! never take the next word, a first positional that ends the flags; and it words clap's errors as Go does.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Command, Parser};

use crate::go;

/// What the flags of a command were set to, and the words behind them.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    pub(crate) flags: T,
    pub(crate) operands: Vec<OsString>,
    matches: ArgMatches,
}

impl<T> Parsed<T> {
    /// The values of several list flags as one list, in the order of the command line. Flags are named as the fields
    /// are.
    pub(crate) fn in_order(&self, fields: &[&str]) -> Vec<String> {
        let mut found: Vec<(usize, String)> = Vec::new();
        for field in fields {
            let places = self.matches.indices_of(field).into_iter().flatten();
            let values = self.matches.get_many::<String>(field).into_iter().flatten();
            found.extend(places.zip(values.cloned()));
        }
        found.sort_unstable();
        found.into_iter().map(|(_, value)| value).collect()
    }
}

/// Why a command line was refused; `Display` is Go's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FlagError {
    /// A word that begins like a flag and cannot be one: `---x`, `-=x`.
    Syntax(String),
    /// A flag that the command does not have.
    Undefined(String),
    /// A flag at the end of the line that wants a value.
    MissingValue(String),
    /// A value that has not the form of the flag's type.
    Value { flag: String, value: String, reason: String },
    /// A boolean flag with a value that is no boolean.
    Boolean { flag: String, value: String, reason: String },
    /// `-help=...`, which is no flag but asks for help all the same; the only one that says nothing.
    Help,
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(word) => write!(f, "bad flag syntax: {word}"),
            Self::Undefined(flag) => write!(f, "flag provided but not defined: -{flag}"),
            Self::MissingValue(flag) => write!(f, "flag needs an argument: -{flag}"),
            Self::Value { flag, value, reason } => {
                write!(f, "invalid value {} for flag -{flag}: {reason}", go::quote(value.as_bytes()))
            }
            Self::Boolean { flag, value, reason } => {
                write!(f, "invalid boolean value {} for -{flag}: {reason}", go::quote(value.as_bytes()))
            }
            Self::Help => f.write_str("flag: help requested"),
        }
    }
}

impl FlagError {
    /// The line for stderr; a request for help has none.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Self::Syntax(_)
            | Self::Undefined(_)
            | Self::MissingValue(_)
            | Self::Value { .. }
            | Self::Boolean { .. } => Some(self.to_string()),
            Self::Help => None,
        }
    }
}

/// Reads the words behind a command's name.
pub(crate) fn parse<T: Parser>(words: &[OsString]) -> Result<Parsed<T>, FlagError> {
    let command = T::command().args_override_self(true);
    let line = Line::read(&command, words);
    let matches = command.try_get_matches_from(line.for_clap).map_err(|error| in_go_words(&error))?;
    // An earlier bad value is the complaint that Go makes; only then comes the word at which reading stopped.
    if let Some(stop) = line.stop {
        return Err(stop);
    }
    let flags = T::from_arg_matches(&matches).map_err(|error| in_go_words(&error))?;
    Ok(Parsed { flags, operands: line.operands, matches })
}

/// One command line, cut into what clap is to see and the rest.
struct Line {
    /// The program's name and `--flag=value` words.
    for_clap: Vec<OsString>,
    operands: Vec<OsString>,
    stop: Option<FlagError>,
}

impl Line {
    fn read(command: &Command, words: &[OsString]) -> Self {
        let mut line = Self { for_clap: vec![command.get_name().into()], operands: Vec::new(), stop: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match line.flag(command, word, &mut words) {
                Ok(Taken::Flag) => {}
                Ok(Taken::Terminator) => {
                    line.operands = words.cloned().collect();
                    break;
                }
                Ok(Taken::Operand) => {
                    line.operands = std::iter::once(word).chain(words).cloned().collect();
                    break;
                }
                Err(stop) => {
                    line.stop = Some(stop);
                    break;
                }
            }
        }
        line
    }

    /// Takes one word, and the next where the flag wants a value.
    fn flag<'a>(
        &mut self,
        command: &Command,
        word: &OsStr,
        rest: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<Taken, FlagError> {
        let bytes = word.as_encoded_bytes();
        if bytes.len() < 2 || bytes[0] != b'-' {
            return Ok(Taken::Operand);
        }
        if bytes == b"--" {
            return Ok(Taken::Terminator);
        }
        let body = bytes.strip_prefix(b"--").unwrap_or_else(|| &bytes[1..]);
        if body.is_empty() || matches!(body[0], b'-' | b'=') {
            return Err(FlagError::Syntax(word.to_string_lossy().into_owned()));
        }
        let equals = body.iter().position(|byte| *byte == b'=');
        let name = String::from_utf8_lossy(&body[..equals.unwrap_or(body.len())]).into_owned();
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name.as_str())) else {
            return Err(if name == "help" || name == "h" { FlagError::Help } else { FlagError::Undefined(name) });
        };
        let value = if let Some(at) = equals {
            OsString::from_vec(body[at + 1..].to_vec())
        } else if is_boolean(arg) {
            "true".into()
        } else {
            rest.next().ok_or_else(|| FlagError::MissingValue(name.clone()))?.clone()
        };
        // Go takes any bytes. What is no text cannot be an address, a number or a path of ours; names and tags can be.
        if value.to_str().is_none() && !takes_any_bytes(arg) {
            let value = value.to_string_lossy().into_owned();
            return Err(FlagError::Value { flag: name, value, reason: "not valid UTF-8".into() });
        }
        let mut clap_word = OsString::from(format!("--{name}="));
        clap_word.push(value);
        self.for_clap.push(clap_word);
        Ok(Taken::Flag)
    }
}

/// What a word turned out to be.
enum Taken {
    Flag,
    Terminator,
    Operand,
}

/// Whether a flag is a switch, which takes its value only behind an equals sign.
pub(crate) fn is_boolean(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

/// Whether a flag's value is handed on byte for byte.
fn takes_any_bytes(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<OsString>()
}

/// Words clap's complaint about a value as Go does. All other complaints were made before clap saw the line.
fn in_go_words(error: &clap::Error) -> FlagError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(_) | None => String::new(),
    };
    // clap gives the flag as `--name <PLACEHOLDER>`; every switch has the placeholder BOOL.
    let arg = text(ContextKind::InvalidArg);
    let flag = arg.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default().to_string();
    let value = text(ContextKind::InvalidValue);
    let reason = std::error::Error::source(error).map_or_else(|| error.kind().to_string(), ToString::to_string);
    if arg.ends_with("<BOOL>") {
        FlagError::Boolean { flag, value, reason }
    } else {
        FlagError::Value { flag, value, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command with one flag of each kind.
    #[derive(Debug, Parser)]
    #[command(name = "probe", disable_help_flag = true, disable_version_flag = true)]
    struct Probe {
        #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, value_parser = go::number::parse_bool)]
        #[arg(default_value_t = true)]
        coalesce: bool,
        #[arg(long, value_parser = go::number::parse_int, default_value_t = 0)]
        number: i64,
        #[arg(long)]
        tag: Vec<OsString>,
        #[arg(long, default_value = "")]
        format: String,
    }

    fn read(line: &[&str]) -> Result<Parsed<Probe>, String> {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn one_dash_and_two_dashes_are_equal() {
        for line in [["-number", "0x10"], ["--number", "16"]] {
            assert_eq!(read(&line).unwrap().flags.number, 16);
        }
        for word in ["-number=-0b1", "--number=-1"] {
            assert_eq!(read(&[word]).unwrap().flags.number, -1);
        }
    }

    #[test]
    fn a_switch_leaves_the_next_word_alone() {
        let parsed = read(&["-coalesce", "false", "x"]).unwrap();
        assert!(parsed.flags.coalesce);
        assert_eq!(parsed.operands, ["false", "x"]);
        assert!(!read(&["-coalesce=F"]).unwrap().flags.coalesce);
    }

    #[test]
    fn flags_end_at_the_first_operand_or_at_two_dashes() {
        assert_eq!(read(&["a", "-nosuch"]).unwrap().operands, ["a", "-nosuch"]);
        assert_eq!(read(&["-number", "1", "--", "-number", "2"]).unwrap().operands, ["-number", "2"]);
        assert_eq!(read(&["-", "-number", "2"]).unwrap().operands, ["-", "-number", "2"]);
        assert_eq!(read(&["", "-number"]).unwrap().operands, ["", "-number"]);
    }

    #[test]
    fn scalars_are_replaced_and_lists_grow() {
        let flags = read(&["-tag", "a=b", "-format=x", "-tag=", "-format", "", "-tag", "-tag"]).unwrap().flags;
        assert_eq!(flags.tag, ["a=b", "", "-tag"]);
        assert_eq!(flags.format, "");
    }

    #[test]
    fn values_may_be_any_bytes_where_names_are_meant() {
        let odd = OsString::from_vec(b"-tag=a=\xff".to_vec());
        let parsed = parse::<Probe>(&[odd]).unwrap();
        assert_eq!(parsed.flags.tag, [OsString::from_vec(b"a=\xff".to_vec())]);
        let odd = OsString::from_vec(b"-format=\xff".to_vec());
        let complaint = parse::<Probe>(&[odd]).unwrap_err().to_string();
        assert_eq!(complaint, "invalid value \"\u{fffd}\" for flag -format: not valid UTF-8");
    }

    #[test]
    fn complaints_are_those_of_go() {
        let cases: [(&[&str], &str); 10] = [
            (&["-nosuch", "x"], "flag provided but not defined: -nosuch"),
            (&["-number"], "flag needs an argument: -number"),
            (&["---x"], "bad flag syntax: ---x"),
            (&["-=x"], "bad flag syntax: -=x"),
            (&["-number", "abc"], "invalid value \"abc\" for flag -number: parse error"),
            (&["-number="], "invalid value \"\" for flag -number: parse error"),
            (
                &["-number=99999999999999999999"],
                "invalid value \"99999999999999999999\" for flag -number: value out of range",
            ),
            (&["-coalesce=maybe"], "invalid boolean value \"maybe\" for -coalesce: parse error"),
            (&["-number=x", "-nosuch"], "invalid value \"x\" for flag -number: parse error"),
            (&["-nosuch", "-number=x"], "flag provided but not defined: -nosuch"),
        ];
        for (line, complaint) in cases {
            assert_eq!(read(line).map(|_| ()), Err(complaint.to_string()), "{line:?}");
        }
    }
}
