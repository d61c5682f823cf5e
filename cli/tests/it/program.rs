//! What the program does before any command runs: usage, help, version, flags.

use crate::process::{Program, original};
use crate::serf::{command, serf, transcript, without_help};

#[test]
fn without_a_command_the_usage_goes_to_stderr_with_127() {
    insta::assert_snapshot!("usage", serf(&[]));
    for words in
        [&["help"][..], &["help", "agent"], &["nosuch"], &["-nosuch"], &["--"], &["-version"], &[""], &["nosuch", "-h"]]
    {
        let run = serf(words);
        assert_eq!((run.code, run.stdout.as_str()), (Some(127), ""), "{words:?}");
        assert_eq!(run.stderr, serf(&[]).stderr, "{words:?}");
    }
}

#[test]
fn the_usage_lists_commands_as_the_original_does() {
    assert_eq!(serf(&[]).stderr, transcript("usage-none.err"));
}

#[test]
fn help_is_asked_for_anywhere_before_two_dashes() {
    for words in [&["-h"][..], &["--help"], &["-help"], &["-x", "-h"]] {
        let run = serf(words);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{words:?}");
        assert_eq!(run.stderr, serf(&[]).stderr, "{words:?}");
    }
    let help = serf(&["members", "-h"]);
    assert_eq!((help.code, help.stdout.as_str()), (Some(0), ""));
    for words in [&["-h", "members"][..], &["members", "x", "--help"], &["members", "-tag", "-help"]] {
        assert_eq!(serf(words).stderr, help.stderr, "{words:?}");
    }
}

#[test]
fn every_command_has_its_help() {
    let usage = serf(&[]).stderr;
    let names: Vec<&str> = usage.lines().skip(3).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names.len(), 15);
    for name in names {
        insta::assert_snapshot!(format!("help_{name}"), serf(&[name, "-h"]));
    }
}

#[test]
fn the_version_flag_works_anywhere() {
    let expected = format!("villein {}\nAgent Protocol: 5 (Understands back to: 2)\n", env!("CARGO_PKG_VERSION"));
    for words in [
        &["version"][..],
        &["version", "-nosuch", "x"],
        &["-v"],
        &["--version"],
        &["members", "-v"],
        &["-x", "-v"],
        &["members", "--", "-v"],
    ] {
        let run = serf(words);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(0), &*expected, ""), "{words:?}");
    }
}

#[test]
fn flags_in_front_of_the_command_are_refused() {
    let run = serf(&["-nosuch", "members"]);
    let help = serf(&["members", "-h"]).stderr;
    let refusal = "Invalid flags before the subcommand. If these flags are for\n\
                   the subcommand, please put them after the subcommand.\n\n";
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert_eq!(run.stderr, format!("{refusal}{help}"));
}

#[test]
fn a_bad_flag_is_one_line_on_stderr_and_the_help_on_stdout() {
    let help = serf(&["members", "-h"]).stderr;
    for (words, complaint) in [
        (&["members", "-nosuch", "x"][..], "flag provided but not defined: -nosuch\n"),
        (&["members", "-tag"], "flag needs an argument: -tag\n"),
        (&["members", "---x"], "bad flag syntax: ---x\n"),
        (&["members", "-detailed=maybe"], "invalid boolean value \"maybe\" for -detailed: parse error\n"),
        (&["members", "-help=true"], ""),
    ] {
        let run = serf(words);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (Some(1), &*help, complaint), "{words:?}");
    }
}

#[test]
fn a_command_line_that_cannot_be_used_is_refused_in_the_originals_words() {
    let Some(original) = original() else { return };
    let shown = |program: &Program, words: &[&str]| {
        let run = program.client("127.0.77.3:1", words);
        (run.code, without_help(&run.stdout).to_owned(), run.stderr)
    };
    let long = "1".repeat(30);
    for words in [
        &["event"][..],
        &["event", "a", "b", "c"],
        &["event", "-coalesce=maybe", "x"],
        &["event", "-coalesce", "false", "x"],
        &["event", "-nosuch", "x"],
        &["event", ""],
        &["query"],
        &["query", "a", "b", "c"],
        &["query", "-timeout", "5", "x"],
        &["query", "-timeout=", "x"],
        &["query", "-timeout=9999999h", "x"],
        &["query", "-timeout=-1s", "x"],
        &["query", "-tag", "foo"],
        &["query", "-tag", "=v", "x"],
        &["query", "-tag", "foo", "-relay-factor=300", "x"],
        &["query", "-relay-factor=300"],
        &["query", "-relay-factor=256", "x"],
        &["query", "-relay-factor", "-1", "x"],
        &["query", "-relay-factor=0x1", "x"],
        &["query", "-relay-factor=abc", "x"],
        &["query", "-relay-factor", &long, "x"],
        &["query", "-no-ack=maybe", "x"],
        &["query", "-format=xml", "x"],
        &["tags"],
        &["tags", "x"],
        &["tags", "-set"],
        &["tags", "-set", "x"],
        &["tags", "-delete", "x"],
        &["keys"],
        &["keys", "-list", "-install=x"],
        &["keys", "-use", "x", "-remove", "y"],
        &["keys", "-install="],
        &["keys", "-list=false"],
        &["keys", "-list", "ignored"],
        &["keys", "-install", "not base64!"],
        &["reachability", "-verbose=2"],
        &["reachability", "ignored"],
        &["rtt"],
        &["rtt", "a", "b", "c"],
        &["force-leave", "-prune"],
        &["members", "-nosuch"],
        &["monitor", "-log-level"],
        &["info", "-format"],
        &["join"],
    ] {
        assert_eq!(shown(&Program::Ours, words), shown(&original, words), "{words:?}");
    }
}

#[test]
fn missing_operands_are_complained_about_on_stdout() {
    for (words, complaint) in [
        (&["event"][..], "An event name must be specified."),
        (&["event", "a", "b", "c"], "Too many command line arguments. Only a name and payload must be specified."),
        (&["query"], "A query name must be specified."),
        (&["query", "a", "b", "c"], "Too many command line arguments. Only a name and payload must be specified."),
        (&["join"], "At least one address to join must be specified."),
        (&["force-leave"], "A node name must be specified to force leave."),
        (&["force-leave", "a", "b"], "A node name must be specified to force leave."),
    ] {
        let run = serf(words);
        let help = serf(&[words[0], "-h"]).stderr;
        assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""));
        assert_eq!(run.stdout, format!("{complaint}\n\n{help}"));
    }
}

#[test]
fn keys_are_new_each_time_and_flags_mean_nothing_to_keygen() {
    let (first, second) = (serf(&["keygen", "-nosuch"]), serf(&["keygen", "x"]));
    for run in [&first, &second] {
        assert_eq!((run.code, run.stdout.len(), run.stderr.as_str()), (Some(0), 45, ""));
    }
    assert_ne!(first.stdout, second.stdout);
}

#[test]
fn a_reader_that_goes_away_ends_the_program_as_it_ends_a_filter() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command(&["version"]).stdout(Stdio::from(writer)).status().expect("the binary starts");
    // SIGPIPE has the number 13 on every Unix.
    assert_eq!(status.signal(), Some(13));
}
