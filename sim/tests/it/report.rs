//! The page of `--report`: the same bytes each time, nothing from outside, and what a browser makes of it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Two expectations that are not met: the first at 40 s, the second at 89 s.
const PARTITION: &str = r#"[run]
until = "120s"
title = "a partition </script> & more"
[cluster]
nodes = ["a", "b", "c", "d", "e"]
start = "joined"
[[step]]
at = "10s"
cut = [["a", "b"], ["c", "d", "e"]]
[[step]]
at = "50s"
event = { nodes = ["c"], name = "deploy" }
[[step]]
at = "60s"
pause = ["d"]
[[step]]
at = "61s"
resume = ["d"]
[[step]]
at = "90s"
heal = "all"
[[expect]]
by = "40s"
at = ["c"]
sees = { a = "alive" }
[[expect]]
by = "89s"
at = ["a"]
sees = { b = "failed" }
"#;

fn sim(dir: &TempDir, text: &str, more: &[&str]) -> Output {
    std::fs::write(dir.path().join("x.toml"), text).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(["run", "x.toml"]).args(more).current_dir(dir.path()).output().expect("the program runs")
}

fn read(dir: &TempDir, file: &str) -> String {
    std::fs::read_to_string(dir.path().join(file)).expect("the page is written")
}

#[test]
fn a_report_has_the_same_bytes_each_time_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let without = sim(&dir, PARTITION, &["--format=json"]);
    let one = sim(&dir, PARTITION, &["--format=json", "--report=one.html"]);
    sim(&dir, PARTITION, &["--report", "other.html"]);
    assert_eq!(one.status.code(), Some(1), "the page of a run that fails is wanted most");
    assert_eq!(String::from_utf8_lossy(&one.stdout), String::from_utf8_lossy(&without.stdout));
    assert_eq!(read(&dir, "one.html"), read(&dir, "other.html"));
    sim(&dir, PARTITION, &["--report=third.html", "--seed=2"]);
    assert_ne!(read(&dir, "one.html"), read(&dir, "third.html"));
}

#[test]
fn a_report_needs_nothing_but_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    sim(&dir, PARTITION, &["--report=x.html"]);
    let page = read(&dir, "x.html");
    for foreign in ["http://", "https://", "src=", "@import", "url(", "<link", "fetch(", "import("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("</script>").count(), 2, "a text of the scenario ends no script");
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

#[test]
fn a_report_that_cannot_be_written_or_shown_is_bad_usage() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = sim(&dir, PARTITION, &["--report=nowhere/x.html"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("nowhere/x.html: the report cannot be written: "), "{stderr}");
    assert_eq!(output.stdout, b"", "nothing is played in vain");
    let output = sim(&dir, "[run]\nuntil = \"1s\"\n[cluster]\ncount = 1001\n", &["--report=x.html"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr, "--report shows up to 1000 nodes; x.toml has 1001\n");
}

/// Clicks and keys, as a page can do them to itself, and a list of what it shows afterwards.
const HANDS: &str = include_str!("report/hands.js");

/// A browser's view of a page: what the script says in the end, line by line.
struct Seen {
    said: String,
    title: String,
}

impl Seen {
    fn check(&self, name: &str, want: &str) {
        let line = self.said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        assert_eq!(line, Some(want), "{name} in\n{}", self.said);
    }
}

/// Whether there is a browser; where it must be there, its absence is a failure.
fn has_chromium() -> bool {
    let there = Command::new("chromium").arg("--version").output().is_ok_and(|output| output.status.success());
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "chromium is not in the PATH");
    if !there {
        eprintln!("skipped: chromium is not in the PATH");
    }
    there
}

/// Starts a browser that ends by itself, in a profile of its own and without a network.
fn chromium(dir: &Path, file: &str, more: &[&str]) -> Output {
    let profile = tempfile::tempdir().expect("a directory");
    let output = Command::new("timeout")
        .args(["60", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-default-apps"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars", "--window-size=1500,1300"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more)
        .arg(format!("file://{}/{file}", dir.display()))
        .output()
        .expect("timeout is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn look(dir: &TempDir, script: &str) -> Seen {
    let page = format!("{}<script>{HANDS}{script}</script>", read(dir, "x.html"));
    std::fs::write(dir.path().join("hands.html"), page).expect("it is written");
    let output = chromium(dir.path(), "hands.html", &["--dump-dom"]);
    let dom = String::from_utf8(output.stdout).expect("text");
    let within = |begin: &str, end: &str| {
        dom.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(text, _)| text.to_owned())
    };
    let said = within("<pre id=\"said\">", "</pre>").unwrap_or_else(|| panic!("the script says nothing: {dom}"));
    Seen { said, title: within("<title>", "</title>").unwrap_or_default() }
}

/// A picture of the page is a PNG, and so large that it shows something.
fn check_picture(dir: &TempDir) {
    let picture = dir.path().join("x.png");
    chromium(dir.path(), "x.html", &[&format!("--screenshot={}", picture.display())]);
    let bytes = std::fs::read(picture).expect("the picture is taken");
    assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!((side(16), side(20)), (1_500, 1_300));
    // A page of one colour takes a tenth of it.
    assert!(bytes.len() > 50_000, "{} bytes", bytes.len());
}

#[test]
fn clicks_and_keys_lead_through_a_report_of_five_nodes() {
    if !has_chromium() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    sim(&dir, PARTITION, &["--report=x.html"]);
    let seen = look(&dir, include_str!("report/five.js"));
    seen.check("begin", "40.00s");
    seen.check("verdict", "failed");
    seen.check("findings", "2");
    seen.check("second finding", "89.00s");
    seen.check("cell", "at 40.00s c believes a failed (incarnation 1)");
    seen.check("colours", "true");
    seen.check("strip", "true");
    seen.check("earlier", "at 5.00s c believes a alive (incarnation 1), since 0.00s");
    seen.check("key", "6.00s");
    seen.check("hover", "at 6.00s a believes e alive (incarnation 1), since 0.00s");
    seen.check("bar", "10.00s");
    seen.check("entry", "true");
    seen.check("now", "true");
    seen.check("event", "50.00s");
    seen.check("filter", "true");
    seen.check("frozen", "true");
    seen.check("address", "#t=60.5&amp;cell=c,a");
    assert_eq!(seen.title, "x.toml");
    check_picture(&dir);
}

#[test]
fn a_report_of_two_hundred_nodes_is_small_and_can_be_looked_at() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut text = String::from("[run]\nuntil = \"14s\"\n[cluster]\ncount = 200\nstart = \"joined\"\n");
    for (at, step) in [("1s", "crash = [\"n50\"]"), ("2s", "event = { nodes = [\"n7\"], name = \"deploy\" }")] {
        let _ = writeln!(text, "[[step]]\nat = \"{at}\"\n{step}");
    }
    let output = sim(&dir, &text, &["--report=x.html"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let bytes = read(&dir, "x.html").len();
    assert!(bytes < 300_000, "{bytes} bytes");
    if !has_chromium() {
        return;
    }
    let seen = look(&dir, include_str!("report/many.js"));
    seen.check("end", "14.00s");
    seen.check("cell", "at 14.00s n200 believes n50 failed (incarnation 1)");
    seen.check("summary", "199 of 200 processes run; their beliefs of others: 39402 alive, 199 failed");
    seen.check("down", "at 14.00s no process runs on n50");
    seen.check("before", "200 of 200 processes run; their beliefs of others: 39800 alive");
    seen.check("colours", "true");
    seen.check("event", "199 of 200");
    seen.check("rows", "true");
    check_picture(&dir);
}
