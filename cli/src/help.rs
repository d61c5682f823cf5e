//! Usage and help texts, made from the clap tables.

use clap::{Arg, Command};

use crate::args::is_boolean;

/// Columns of a help text, and where the description of a flag begins.
const WIDTH: usize = 80;
const DESCRIPTION_AT: usize = 28;

/// What `serf` says when it is not told what to do: the commands of this release.
pub(crate) fn usage(commands: &[Command]) -> String {
    let width = commands.iter().map(|command| command.get_name().len()).max().unwrap_or(0);
    let mut text = String::from("Usage: serf [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n");
    for command in commands {
        let synopsis = command.get_about().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!("    {:width$}    {synopsis}\n", command.get_name()));
    }
    text
}

/// The help of one command: usage line, description, flags.
pub(crate) fn command(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let mut text = format!("{usage}\n");
    if let Some(description) = command.get_long_about() {
        text.push_str(&format!("\n{}\n", wrapped(&description.to_string(), 2).trim_end()));
    }
    let mut flags: Vec<&Arg> = command.get_arguments().collect();
    flags.sort_by_key(|arg| arg.get_long());
    if !flags.is_empty() {
        text.push_str("\nOptions:\n");
    }
    for arg in flags {
        text.push_str(&format!("\n{}", flag(arg)));
    }
    text.trim_end().into()
}

/// One flag: its form on the left, what it does on the right.
fn flag(arg: &Arg) -> String {
    let mut form = format!("  -{}", arg.get_long().unwrap_or_default());
    if let (false, Some([value])) = (is_boolean(arg), arg.get_value_names()) {
        form.push_str(&format!("={}", value.to_lowercase()));
    }
    // clap cuts the full stop off the end of a doc comment.
    let help = arg.get_help().map(|help| format!("{help}.")).unwrap_or_default();
    let description = wrapped(&help, DESCRIPTION_AT);
    if form.len() + 2 > DESCRIPTION_AT {
        return format!("{form}\n{description}");
    }
    format!("{form:DESCRIPTION_AT$}{}", description.trim_start())
}

/// Breaks a text into lines that begin at `indent`; an empty line stays one.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                out.push_str(&format!("{:indent$}{line}\n", ""));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(format!("{:indent$}{line}", "").trim_end());
        out.push('\n');
    }
    out
}
