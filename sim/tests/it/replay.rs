//! Recordings: a life goes over the borders of segments, and what is wrong with a recording is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Duration;

use villein_core::command::Command;
use villein_core::config::Profile;
use villein_core::io::{Host, RequestId, ResolveId};
use villein_core::keyring::Keyring;
use villein_core::record::{Head, Writer, build};
use villein_core::types::{GossipAddr, Incarnation, Name, Tags, Versions};
use villein_core::wire::message::{Alive, Message};
use villein_core::wire::{Encoding, Envelope, memberlist::PacketForm};
use villein_core::{Config, Input, Node, Output, Saved, Seed, Stimulus, Time};
use villein_sim::replay::{End, Plan, ReplayError, Run, replay, segments};

/// Inputs of a segment.
const INPUTS: usize = 8;

/// A life that is written down as an agent writes it.
struct Life {
    node: Node,
    writer: Option<Writer>,
    bytes: Vec<u8>,
    inputs: usize,
    run: u64,
    number: u64,
    directory: PathBuf,
}

impl Life {
    fn begin(directory: &Path, run: u64) -> Self {
        let addr = GossipAddr::from_bytes(&[10, 0, 0, 1], 7946).expect("4 bytes");
        let config = Config { simulation: true, ..Config::new(Name::from("a"), addr, Profile::Local) };
        let node = Node::new(config, Seed::simulated(7), Time::ZERO, Saved::default()).expect("a node");
        let directory = directory.to_owned();
        let mut life = Self { node, writer: None, bytes: Vec::new(), inputs: 0, run, number: 0, directory };
        life.turn();
        life
    }

    fn turn(&mut self) {
        self.keep();
        let checkpoint = self.node.checkpoint();
        let head = Head { build: build(), run: self.run, number: self.number, checkpoint };
        self.writer = Some(Writer::begin(&head, &mut self.bytes));
        (self.inputs, self.number) = (0, self.number + 1);
    }

    /// Ends the segment, if one is open.
    fn keep(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        writer.end(&mut self.bytes);
        let name = format!("{:02}-{:08}.villein", self.run, self.number - 1);
        fs::write(self.directory.join(name), std::mem::take(&mut self.bytes)).expect("a file");
    }

    fn feed(&mut self, at: Time, stimulus: Stimulus<'_>) {
        if self.inputs == INPUTS {
            self.turn();
        }
        self.inputs += 1;
        let Some(writer) = &mut self.writer else { return };
        let input = Input { at, stimulus };
        writer.input(&input, &mut self.bytes);
        writer.outputs(&self.node.handle(input));
    }

    /// Lets all deadlines pass until then.
    fn until(&mut self, end: Time) {
        while let Some(deadline) = self.node.next_deadline().filter(|deadline| deadline.at <= end) {
            self.feed(deadline.at, Stimulus::Tick);
        }
    }
}

fn second(second: u64) -> Time {
    Time::ZERO + Duration::from_secs(second)
}

/// A word of member b, whom nobody will hear of again.
fn alive() -> Box<[u8]> {
    let message = Message::Alive(Alive {
        node: Name::from("b"),
        incarnation: Incarnation(1),
        addr: GossipAddr::from_bytes(&[10, 0, 0, 2], 7946).expect("4 bytes"),
        meta: villein_core::serf::tags::encode(&Tags::from([(b"role".to_vec(), b"db".to_vec())])),
        versions: Versions::CURRENT,
    });
    let mut part = Vec::new();
    Encoding::Native.encode(&message, &mut part);
    let keyring = Keyring::empty();
    let envelope = Envelope { keyring: &keyring, label: b"" };
    let form = PacketForm { crc: false, compress: false };
    Encoding::Native.seal_parts([part.as_slice()].into_iter(), envelope, [0; 12], form)
}

/// Sees b come and fail, and hears of an event and of junk.
fn eventful(directory: &Path, run: u64) -> Vec<PathBuf> {
    let mut life = Life::begin(directory, run);
    life.feed(Time::ZERO, Stimulus::Tick);
    life.until(second(1));
    let from = "10.0.0.2:7946".parse().expect("an address");
    life.feed(second(1), Stimulus::Datagram { from, bytes: &alive() });
    life.until(second(2));
    let event =
        Command::UserEvent { name: b"deploy".as_slice().into(), payload: b"v1".as_slice().into(), coalesce: false };
    life.feed(second(2), Stimulus::Command { id: RequestId(0), command: event });
    life.feed(second(3), Stimulus::Datagram { from, bytes: b"junk" });
    life.until(second(30));
    life.keep();
    segments(&[directory.to_owned()]).expect("segments")
}

fn lives(plan: &Plan, segments: &[PathBuf]) -> Result<Vec<Run>, ReplayError> {
    replay(plan, segments, &|_| {})
}

fn ends(segments: &[PathBuf]) -> Vec<End> {
    let runs = lives(&Plan::default(), segments).unwrap_or_else(|error| panic!("{error}"));
    runs.into_iter().map(|run| run.end).collect()
}

/// What the program says, with the code that it ends with; paths, the build and the digest are none of a test's business.
fn sim(directory: &Path, words: &[&str]) -> (i32, String) {
    let output = Program::new(env!("CARGO_BIN_EXE_sim")).arg("replay").arg(directory).args(words).output();
    let output = output.expect("it runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
    let text = text.replace(&directory.display().to_string(), "DIR").replace(&build(), "BUILD");
    let lines = text.lines().map(|line| if line.starts_with("digest ") { "digest    DIGEST" } else { line });
    (output.status.code().expect("a code"), lines.map(|line| format!("{line}\n")).collect())
}

#[test]
fn a_life_is_lived_again_over_the_borders_of_segments() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = eventful(directory.path(), 1);
    assert!(paths.len() >= 4, "{} segments", paths.len());
    let run = lives(&Plan::default(), &paths).expect("a recording").remove(0);
    assert_eq!((run.end, run.segments.len()), (End::Equal, paths.len()));
    assert_eq!(ends(&paths[1..]), [End::Equal], "the oldest may be missing");
    let gap = [&paths[..1], &paths[2..]].concat();
    assert_eq!(ends(&gap), [End::Equal, End::Equal], "what is missing parts it in two");
    let other = lives(&Plan { until: Some(2_500_000_000), ..Plan::default() }, &paths).expect("a recording").remove(0);
    assert!(other.inputs() < run.segments.iter().map(|(_, inputs)| inputs).sum());
}

#[test]
fn the_program_says_what_it_finds() {
    let directory = tempfile::tempdir().expect("a directory");
    eventful(directory.path(), 1);
    let (code, text) = sim(directory.path(), &["--print", "--until=20s"]);
    insta::assert_snapshot!("replay", text);
    assert_eq!(code, 0);
    let (code, text) = sim(directory.path(), &["--set", "suspicion_mult=1", "--set", "probe_interval='2s'"]);
    assert_eq!(code, 0, "the recorded life does not change: {text}");
    let parts = text.find("parts     at ").expect("another configuration shows");
    assert!(text[parts..].contains("as it was: ") && text[parts..].contains("as it would have been: "), "{text}");
    assert!(text.contains("what if   suspicion_mult=1, probe_interval='2s'\n"), "{text}");
    assert_eq!(sim(directory.path(), &["--set", "suspicion_mult=0"]).0, 2, "the core refuses it");

    let (code, text) = sim(directory.path(), &["--format=json", "--print"]);
    let kinds: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("one object a line")["kind"].to_string())
        .collect();
    let count = |wanted: &str| kinds.iter().filter(|kind| kind.trim_matches('"') == wanted).count();
    let wanted = [("run", 1), ("state", 1), ("member", 2), ("digest", 1), ("verdict", 1), ("difference", 0)];
    assert_eq!((code, wanted.map(|(kind, _)| (kind, count(kind)))), (0, wanted), "{text}");
    assert!(count("segment") >= 4, "{text}");
}

#[test]
fn a_life_that_comes_out_differently_says_at_which_input() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut life = Life::begin(directory.path(), 1);
    life.feed(Time::ZERO, Stimulus::Tick);
    life.until(second(2));
    // As if another output had been recorded.
    let other = Output::Resolve { id: ResolveId(0), host: Box::new(Host { name: "b".to_owned(), port: 1 }) };
    life.feed(second(2), Stimulus::Entropy { bytes: [7; 32] });
    life.writer.as_mut().expect("a segment").outputs(&[other]);
    life.feed(second(3), Stimulus::Tick);
    life.keep();
    let (code, text) = sim(directory.path(), &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("parts     at 2.00s, input 2 of DIR/01-00000000.villein\n  input: Entropy"), "{text}");
    assert!(text.contains("  recorded: hash ") && text.contains("  now: hash "), "{text}");
    assert!(text.contains("DIFFERS from what was recorded\n"), "{text}");
}

#[test]
fn the_state_at_a_border_must_be_the_one_that_was_stored() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut life = Life::begin(directory.path(), 1);
    life.feed(Time::ZERO, Stimulus::Tick);
    // An input of which nobody knows.
    let _ = life.node.handle(Input { at: second(1), stimulus: Stimulus::Entropy { bytes: [1; 32] } });
    life.turn();
    life.feed(second(2), Stimulus::Tick);
    life.keep();
    let (code, text) = sim(directory.path(), &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("input 0 of DIR/01-00000001.villein\n  input: the checkpoint of the segment\n"), "{text}");
}

#[test]
fn what_was_cut_off_replays_up_to_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = eventful(directory.path(), 1);
    let cut = |path: &Path, left: usize| {
        let whole = fs::read(path).expect("a segment");
        fs::write(path, &whole[..left.min(whole.len() - 1)]).expect("it is cut");
        whole
    };
    // In the middle: what follows is a life of its own.
    let whole = cut(&paths[1], usize::MAX);
    assert_eq!(ends(&paths), [End::Cut, End::Equal]);
    fs::write(&paths[1], whole).expect("it is whole again");
    // In the head of the last one.
    let last = paths.last().expect("a segment");
    for left in [0, 5, 12, 30] {
        let whole = cut(last, left);
        assert_eq!(ends(&paths), [End::Cut], "{left} bytes are left");
        let (code, text) = sim(directory.path(), &[]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("replays exactly, up to where the recording was cut off\n"), "{text}");
        let error = lives(&Plan::default(), std::slice::from_ref(last)).expect_err("there is no node").to_string();
        assert!(error.contains("there is nothing to replay"), "{error}");
        fs::write(last, whole).expect("it is whole again");
    }
}

#[test]
fn what_cannot_be_replayed_is_refused_with_its_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let paths = eventful(directory.path(), 1);
    let whole = fs::read(&paths[2]).expect("a segment");
    let mut damaged = whole.clone();
    damaged[whole.len() - 40] ^= 0x10;
    fs::write(&paths[2], damaged).expect("it is damaged");
    let (code, text) = sim(directory.path(), &[]);
    assert_eq!(code, 2, "{text}");
    assert!(text.starts_with("DIR/01-00000002.villein: at byte ") && text.contains("checksum"), "{text}");

    let (mut bytes, head) =
        (Vec::new(), |build: &str| Head { build: build.to_owned(), run: 1, number: 0, checkpoint: Vec::new() });
    Writer::begin(&head("9.9.9+9"), &mut bytes).end(&mut bytes);
    let other = tempfile::tempdir().expect("a directory");
    fs::write(other.path().join("1.villein"), &bytes).expect("a file");
    let refusal = "DIR/1.villein: recorded by villein 9.9.9+9, this is villein BUILD\n".to_owned();
    assert_eq!(sim(other.path(), &[]), (2, refusal));
    let (code, text) = sim(&other.path().join("none"), &[]);
    assert_eq!((code, text.starts_with("DIR: ")), (2, true), "{text}");
}
