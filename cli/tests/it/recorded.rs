//! Agents that are recorded: what went in puts out the same again.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use villein_sim::replay::{End, Plan, ReplayError, Run, replay, segments};

use crate::process::{Agent, Net};

const FIRST: &str = "AAECAwQFBgcICQoLDA0ODw==";
const SECOND: &str = "Dw4NDAsKCQgHBgUEAwIBAA==";

fn runs(directory: &Path, plan: &Plan) -> Result<Vec<Run>, ReplayError> {
    replay(plan, &segments(&[directory.to_owned()])?, &|_| {})
}

/// The one life that is recorded there.
fn life(directory: &Path, plan: &Plan) -> Run {
    let runs = runs(directory, plan).unwrap_or_else(|error| panic!("{error}"));
    <[Run; 1]>::try_from(runs).unwrap_or_else(|runs| panic!("{} lives", runs.len())).into_iter().next().expect("one")
}

/// Three agents with a handler that answers queries, each recorded and with a keyring file; then everything happens.
fn eventful(net: Net, directory: &Path) -> [PathBuf; 3] {
    let path = |what: &str, name: &str| directory.join(format!("{what}-{name}"));
    let start = |host: u8, name: &str, join: Option<&str>| {
        let keyring = path("keyring", name);
        fs::write(&keyring, format!("[\"{FIRST}\"]")).expect("a file");
        let [record, keyring] =
            [format!("-record={}", path("record", name).display()), format!("-keyring-file={}", keyring.display())];
        let mut words =
            vec!["-profile=local", &record, &keyring, "-record-limit=16", "-event-handler=query:load=echo 42"];
        words.extend(join.iter().flat_map(|ip| ["-join", *ip]));
        Agent::start(net, host, name, &words)
    };
    let one = start(11, "n1", None);
    let two = start(12, "n2", Some(&one.ip));
    let three = start(13, "n3", Some(&one.ip));
    let agents = [&one, &two, &three];
    for agent in agents {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
    one.ask(&["event", "deploy", "v1"]);
    for agent in agents {
        agent.process.output.wait_for("Received event: user-event: deploy\n");
    }
    let answers = two.ask(&["query", "load"]);
    assert!(answers.contains("42"), "{answers}");
    for words in [["keys", "-install", SECOND], ["keys", "-use", SECOND], ["keys", "-remove", FIRST]] {
        one.ask(&words);
    }
    // Dropping an agent kills it.
    drop(three);
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive, n3 failed");
    }
    two.ask(&["leave"]);
    let (code, text) = two.process.end();
    assert_eq!(code, Some(0), "{text}");
    one.wait_for_members("n1 alive, n2 left, n3 failed");
    ["n1", "n2", "n3"].map(|name| path("record", name))
}

#[test]
fn an_eventful_life_of_three_agents_replays_exactly() {
    let directory = tempfile::tempdir().expect("a directory");
    let recorded = eventful(Net(80), directory.path());
    // The first and the last were killed, the second one left.
    for (path, end) in recorded.iter().zip([End::Cut, End::Equal, End::Cut]) {
        let run = life(path, &Plan::default());
        assert_eq!(run.end, end, "{}", path.display());
        assert!(run.inputs() > 20, "{} inputs", run.inputs());
        assert_eq!(life(path, &Plan::default()).digest(), run.digest());
        let file = fs::read_dir(path).expect("a directory").next().expect("a segment").expect("an entry");
        assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);
    }

    // What one of them believed at the end, and what it would have done with another configuration.
    let run = life(&recorded[1], &Plan::default());
    let failed =
        run.node.members().into_iter().find(|member| member.info.name.as_bytes() == b"n3").expect("n3 was known");
    assert_eq!(failed.info.status.to_string(), "failed");
    let early = life(&recorded[1], &Plan { until: Some(1_000_000), ..Plan::default() });
    assert!(early.inputs() < run.inputs());
    let what_if = Plan { set: vec!["probe_interval = \"3s\"".to_owned()], ..Plan::default() };
    let changed = life(&recorded[1], &what_if);
    assert_eq!(changed.end, End::Equal, "the recorded life itself does not change");
    let first = changed.first.expect("fewer probes show");
    assert_ne!(first.outputs[0], first.outputs[1]);
    assert!(changed.events.0 > 3, "three joins, a failure, a leave: {:?}", changed.events);
    let nonsense = Plan { set: vec!["suspicion_mlt = 3".to_owned()], ..Plan::default() };
    let error = runs(&recorded[1], &nonsense).expect_err("no such setting").to_string();
    assert!(error.contains("suspicion_mlt"), "{error}");

    damaged(&recorded[1], run.inputs());
}

/// A recording that was cut off replays up to the cut; one that was damaged says where; one of another build is refused.
fn damaged(path: &Path, inputs: u64) {
    let [segment] = <[PathBuf; 1]>::try_from(segments(&[path.to_owned()]).expect("segments")).expect("one segment");
    let whole = fs::read(&segment).expect("a segment");
    for part in [3, 7, 9] {
        let length = whole.len() * part / 10;
        OpenOptions::new().write(true).open(&segment).and_then(|file| file.set_len(length as u64)).expect("it is cut");
        let runs = runs(path, &Plan::default()).unwrap_or_else(|error| panic!("{error}"));
        let cut = runs.first().expect("the beginning is there");
        assert!(cut.end == End::Cut && cut.inputs() < inputs, "{:?} after {} inputs", cut.end, cut.inputs());
        fs::write(&segment, &whole).expect("it is whole again");
    }
    let mut turned = whole.clone();
    turned[whole.len() / 2] ^= 1;
    fs::write(&segment, &turned).expect("it is damaged");
    let error = runs(path, &Plan::default()).expect_err("a turned bit is found").to_string();
    assert!(error.contains("at byte"), "{error}");
    let build = villein_core::record::build();
    let place = whole.windows(build.len()).position(|part| part == build.as_bytes()).expect("the build stands there");
    let mut other = whole.clone();
    other[place] = b'9';
    // The checksum of the head: its length, that one's checksum and its own stand behind the eight bytes of the format.
    let length = u32::from_le_bytes(other[8..12].try_into().expect("four bytes")) as usize;
    let sum = crc(&other[18..18 + length]);
    other[14..18].copy_from_slice(&sum.to_le_bytes());
    fs::write(&segment, &other).expect("it is another build's");
    let error = runs(path, &Plan::default()).expect_err("another build's").to_string();
    assert!(error.contains("recorded by villein 9") && error.contains(&build), "{error}");
    fs::write(&segment, &whole).expect("it is whole again");
}

/// CRC-32 as zip has it.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[test]
fn a_recording_that_cannot_be_written_is_refused_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("a file");
    let words = format!("-record={}", file.join("under").display());
    let (code, text) = Agent::refused(Net(81), 11, "n1", &[&words]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Error starting the recording: ") && text.contains("under"), "{text}");
}
