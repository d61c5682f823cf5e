//! Playing what was captured from the original again, and comparing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Net, Process, Program};
use crate::serf::{Run, transcript, without_help};

pub(crate) const MEMBER_JOIN: &str = "[INFO] agent: Received event: member-join\n";

/// Where ours differs, and why. The snapshots hold what ours prints instead.
pub(crate) const DIFFERENCES: [(&str, &str); 12] = [
    ("agent-n2-joined", "a handler that is a shell is warned of while gossip is not encrypted"),
    ("agent-name-conflict", "Debian's spelling of \"quiting\"; upstream's text is ours"),
    ("agent-snapshot-rejoin-flag", "ours says where in the snapshot; an incarnation that is kept needs no refuting"),
    ("agent-tags-file-sighup", "a hangup takes no tags away, so there is nothing to tell of"),
    ("members-detailed", "what each member understands of the gossip stands behind its protocol"),
    ("info-encrypted", "no goroutines: one thread; the version is ours"),
    ("info-text", "no goroutines: one thread; the version is ours"),
    ("info-json", "no goroutines: one thread; the version is ours"),
    ("snapshot-after-kill", "the incarnation is kept in a line that the original passes over"),
    ("snapshot-after-leave", "the incarnation is kept in a line that the original passes over"),
    ("tags-file-after-sighup", "a hangup takes no tags away (user-asks 23)"),
    ("tags-toobig", "ours says what each tag takes"),
];

/// Transcripts that tell only that a program is another one.
const OTHER_PROGRAM: [&str; 1] = ["version"];

/// A command of the index.
pub(crate) struct Row {
    code: Option<i32>,
    words: Vec<String>,
}

pub(crate) fn index() -> BTreeMap<String, Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/index.tsv");
    let text = fs::read_to_string(path).expect("the index");
    let row = |line: &str| {
        let [name, code, command] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (name.to_owned(), Row { code: code.parse().ok(), words: words(command) })
    };
    text.lines().map(row).collect()
}

/// A command line as `printf %q` wrote it, without the program's name; notes behind it are left out.
fn words(command: &str) -> Vec<String> {
    let command = command.split("   # ").next().unwrap_or_default();
    let (mut words, mut chars) = (vec![String::new()], command.chars());
    while let Some(char) = chars.next() {
        match (char, words.last_mut()) {
            ('\\', Some(word)) => word.extend(chars.next()),
            (' ', _) => words.push(String::new()),
            (char, Some(word)) => word.push(char),
            (_, None) => {}
        }
    }
    words.split_off(1)
}

/// One part of the capture, played on addresses and in a directory of its own.
pub(crate) struct Play {
    pub(crate) net: Net,
    directory: TempDir,
    index: BTreeMap<String, Row>,
    played: RefCell<BTreeSet<String>>,
}

impl Play {
    /// Ends a part that has played all of its transcripts.
    pub(crate) fn finish(self, part: &[&str]) {
        let part: BTreeSet<String> = part.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(self.played.into_inner(), part);
    }

    pub(crate) fn new(net: Net) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { net, directory, index: index(), played: RefCell::default() }
    }

    /// A file of the play's directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("text").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).expect("a file");
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    /// The words of a transcript's command, on our addresses and in our directory.
    fn words(&self, name: &str) -> Vec<String> {
        let row = self.index.get(name).unwrap_or_else(|| panic!("{name} is not in the index"));
        let prefix = self.net.ip(0);
        let here =
            |word: &String| word.replace("127.0.0.", &prefix[..prefix.len() - 1]).replace("/tmp/w/", &self.path(""));
        row.words.iter().map(here).collect()
    }

    /// Starts the agent of a transcript.
    pub(crate) fn launch(&self, name: &str) -> Process {
        let words = self.words(name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Process::spawn(Program::Ours.command(&words).current_dir(self.directory.path()))
    }

    /// Runs the commands of transcripts against n1, one after the other.
    pub(crate) fn run(&self, names: &[&str]) {
        for name in names {
            let words = self.words(name);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let run = Program::Ours.client(&format!("{}:7373", self.net.ip(11)), &words);
            self.check(name, &run);
        }
    }

    /// Runs the agents of transcripts that end by themselves.
    pub(crate) fn end(&self, names: &[&str]) {
        for name in names {
            let (code, text) = self.launch(name).end();
            self.same(name, &text, code);
        }
    }

    /// Runs the agents of transcripts, interrupts them when they have said what they know, and waits for their end.
    pub(crate) fn interrupt(&self, name: &str) {
        let agent = self.launch(name);
        agent.output.wait_for(MEMBER_JOIN);
        agent.signal(Signal::INT);
        let (code, text) = agent.end();
        self.same(name, &text, code);
    }

    /// Compares what a command printed on both streams.
    fn check(&self, name: &str, run: &Run) {
        let theirs = fs::exists(format!("{}/tests/transcripts/{name}.err.txt", env!("CARGO_MANIFEST_DIR")));
        let theirs = if theirs.expect("a directory") { transcript(&format!("{name}.err")) } else { String::new() };
        assert_eq!(alike(&run.stderr, &theirs), without_prose(&theirs), "{name}, stderr");
        self.same(name, alike(&run.stdout, &transcript(name)), run.code);
    }

    /// Compares an output and an exit code with the transcript's.
    pub(crate) fn same(&self, name: &str, ours: &str, code: Option<i32>) {
        let wanted = self.index[name].code;
        assert!(wanted.is_none() || wanted == code, "{name} ended with {code:?}:\n{ours}");
        self.like(name, ours, &transcript(name));
    }

    /// Compares an output with the transcript's, and one that is to differ with its snapshot.
    pub(crate) fn like(&self, name: &str, ours: &str, theirs: &str) {
        self.played.borrow_mut().insert(name.to_owned());
        let ours = self.canonical(name, ours);
        let theirs = self.canonical(name, without_prose(theirs));
        if DIFFERENCES.iter().any(|(known, _)| *known == name) {
            assert_ne!(ours, theirs, "{name} differs no more");
            insta::assert_snapshot!(format!("transcript_{name}"), ours);
        } else if OTHER_PROGRAM.contains(&name) {
            assert_ne!(ours, theirs, "{name}");
        } else {
            assert_eq!(ours, theirs, "{name}");
        }
    }

    /// What must be the same of two outputs: no times, ports, estimates; what is in random order is sorted, but for the
    /// log of an agent, which leaves out what it says or not as a race goes.
    fn canonical(&self, name: &str, text: &str) -> String {
        let text = self.net.normalised(text).replace(&self.path(""), "/tmp/w/");
        if name.starts_with("agent") {
            const RACES: [&str; 2] = ["agent: Received event: member-leave", "agent: Serf shutdown detected, quitting"];
            let said = |line: &&str| !RACES.iter().any(|race| line.ends_with(race));
            let mut lines: Vec<String> = text.lines().filter(said).map(without_chance).collect();
            if name == "agent-n2-joined" {
                // Which of two events comes first, who accuses n3 how often, and what is told at the very end is a matter of
                // chance.
                let chance = [" memberlist: ", "Accepted client", "event: member-reap"];
                lines.retain(|line| !chance.iter().any(|part| line.contains(part)));
                lines.sort();
                lines.dedup();
            }
            // How often the other of two with one name is heard of, before the conflict is decided, is chance too.
            let mut told = BTreeSet::new();
            lines.retain(|line| {
                !line.contains(" conflict") && !line.contains(" Conflicting ") || told.insert(line.clone())
            });
            return lines.join("\n");
        }
        let mut lines: Vec<String> = text.lines().map(canonical_line).collect();
        lines.sort();
        lines.join("\n")
    }
}

/// What stands in the capture for help.
const PROSE: &str = "\n[help prose removed by make.sh: a re-implementation writes its own]\n";

/// A text of the capture without the marker that stands for help.
fn without_prose(text: &str) -> &str {
    text.strip_suffix(PROSE).unwrap_or(text)
}

/// Our text without its help, if the capture's had some.
fn alike<'a>(ours: &'a str, theirs: &str) -> &'a str {
    if theirs.ends_with(PROSE) { without_help(ours) } else { ours }
}

/// A line of a log without the port of a client, and without the place in a file whose length depends on the time.
fn without_chance(line: &str) -> String {
    for (start, shown) in [("Accepted client: ", "ADDRESS"), ("(line ", "N of the snapshot)")] {
        if let Some((before, _)) = line.split_once(start) {
            return format!("{before}{start}{shown}");
        }
    }
    line.to_owned()
}

fn canonical_line(line: &str) -> String {
    let line = line.trim_end();
    for (start, shown) in [
        ("Estimated n2 <-> n3 rtt: ", "Estimated n2 <-> n3 rtt: TIME"),
        ("Query time: ", "Query time: TIME"),
        ("\tversion = villein", "\tversion = villein"),
        ("    \"version\": \"villein", "    \"version\": villein"),
        ("\tarch = ", "\tarch = ARCH"),
        ("    \"arch\": ", "    \"arch\": ARCH"),
        ("\tmax_procs = ", "\tmax_procs = NUMBER"),
        ("    \"max_procs\": ", "    \"max_procs\": NUMBER"),
        ("\tcpu_count = ", "\tcpu_count = NUMBER"),
        ("    \"cpu_count\": ", "    \"cpu_count\": NUMBER"),
    ] {
        if line.starts_with(start) {
            return shown.to_owned();
        }
    }
    // Counters that depend on how long the others took.
    for counter in ["key_budget", "member_time", "query_time", "intent_queue", "event_queue", "query_queue"] {
        if line.trim_start().trim_start_matches('"').starts_with(counter) {
            return counter.to_owned();
        }
    }
    // Commas part tags, and the entries of JSON, of which the last has none.
    let in_order = |word: &str| {
        let mut tags: Vec<&str> = word.split(',').filter(|tag| !tag.is_empty()).collect();
        tags.sort_unstable();
        tags.join(",")
    };
    line.split(' ').map(in_order).collect::<Vec<_>>().join(" ")
}

impl Play {
    /// Starts the client of a transcript, against n1.
    pub(crate) fn launch_at(&self, name: &str) -> Process {
        let words = self.words(name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let address = format!("{}:7373", self.net.ip(11));
        Process::spawn(Program::Ours.command(&words).env("SERF_RPC_ADDR", address))
    }

    /// Compares the end of an agent's output, from the line with `start`; what had happened to others just before may
    /// still be reported there.
    pub(crate) fn tail(&self, name: &str, start: &str, ours: &str, code: Option<i32>) {
        assert_eq!(self.index[name].code, code, "{name}");
        let tail = |text: &str| {
            let from = text.find(start).unwrap_or_else(|| panic!("no {start:?} in\n{text}"));
            let from = text[..from].rfind('\n').map_or(0, |end| end + 1);
            let lines: Vec<&str> = text[from..].lines().filter(|line| !line.contains("Received event")).collect();
            lines.join("\n")
        };
        self.like(name, &tail(ours), &tail(&transcript(name)));
    }

    /// Compares what the monitor showed of an event and of a change of tags: blocks, and kinds of lines. The capture
    /// begins in the middle of a log whose order is a matter of chance.
    pub(crate) fn monitored(&self, ours: &str) {
        let shown = |text: &str| {
            let mut lines: BTreeSet<String> = BTreeSet::new();
            for line in self.net.normalised(text).lines() {
                let known =
                    ["TIME [DEBUG] agent: ", "\tEvent: ", "\tName: ", "\tPayload: ", "\tCoalesce: ", "Event Info:"];
                let serf = [
                    "EventMemberUpdate: n1",
                    "Received event: ",
                    "messageUserEventType: ",
                    "messageQueryResponseType: ",
                ];
                let serf = ["Initiating key ", "Keyring is empty"].iter().chain(&serf);
                if known.iter().any(|start| line.starts_with(start)) || serf.clone().any(|part| line.contains(part)) {
                    lines.insert(line.to_owned());
                }
            }
            lines
        };
        let (ours, theirs) = (shown(ours), shown(&transcript("monitor-debug")));
        let missing: Vec<&String> = theirs.difference(&ours).collect();
        assert_eq!(missing, [""; 0]);
        self.played.borrow_mut().insert("monitor-debug".to_owned());
    }
}
