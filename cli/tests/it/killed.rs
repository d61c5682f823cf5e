//! Agents that are killed at any moment: what was acknowledged is in the files, and no file is ever a mixture.
//!
//! In each round changes are asked for, one right behind the other; after a drawn number of acknowledgements and a drawn
//! time beyond the last of them the agent gets a SIGKILL. Its file must then be what some beginning of the requests makes
//! of it, which has at least those that were acknowledged, and the next agent must show the same.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::io::{BufReader, Write as _};
use std::mem;
use std::net::TcpStream;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde::de::DeserializeOwned;

use crate::msgpack::{Value, map, text};
use crate::process::{Agent, Net};

/// Kills of each test; there are two.
const ROUNDS: u64 = 150;

/// Acknowledgements before the kill.
const BEFORE: Range<u64> = 0..8;

/// Requests that are there beyond those: more than an agent gets done before it is killed.
const IN_FLIGHT: usize = 32;

/// Time between the last of the acknowledgements and the kill; a change takes from a half to a few milliseconds.
const BEYOND_MICROSECONDS: Range<u64> = 0..3_000;

/// Size from which an agent writes its snapshot anew.
const COMPACTION_BYTES: u64 = 128 << 10;

/// What is drawn, by a seed that a failure names (splitmix64).
struct Draw {
    seed: u64,
    state: u64,
}

impl Draw {
    fn new() -> Self {
        let seed = getrandom::u64().expect("entropy");
        Self { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}

/// A client of an agent that may be gone at any time.
struct Client {
    requests: TcpStream,
    answers: BufReader<TcpStream>,
    seq: u64,
}

impl Client {
    fn connect(agent: &Agent) -> Self {
        let requests = TcpStream::connect(&agent.rpc_addr).expect("the agent listens");
        let answers = BufReader::new(requests.try_clone().expect("a second handle"));
        let mut client = Self { requests, answers, seq: 0 };
        client.send([("handshake", map([("Version", Value::Uint(1))]))]);
        assert!(client.acknowledged(false), "a handshake");
        client
    }

    /// Sends requests, all at once.
    fn send<'a>(&mut self, requests: impl IntoIterator<Item = (&'a str, Value)>) {
        let mut bytes = Vec::new();
        for (command, body) in requests {
            self.seq += 1;
            map([("Command", text(command)), ("Seq", Value::Uint(self.seq))]).encode(&mut bytes);
            if body != Value::Nil {
                body.encode(&mut bytes);
            }
        }
        self.requests.write_all(&bytes).expect("the agent lives");
    }

    /// Reads the next answer; false: there is none, or not the whole of it.
    fn acknowledged(&mut self, has_body: bool) -> bool {
        let Ok(header) = Value::read(&mut self.answers) else { return false };
        assert_eq!(*header.field("Error"), text(""), "a request is refused");
        !has_body || Value::read(&mut self.answers).is_ok()
    }

    fn ask(&mut self, command: &str) -> Value {
        self.send([(command, Value::Nil)]);
        assert!(self.acknowledged(false), "{command}");
        Value::read(&mut self.answers).expect("a body")
    }
}

/// What an agent keeps in a file, and how it is asked to change that.
trait Kept {
    /// No change brings back one that was there before, so the file tells how many of them are in it.
    type State: Clone + Debug + PartialEq + DeserializeOwned;

    /// Whether the answer to a change has a body.
    const HAS_BODY: bool;

    /// The change of that number in its round.
    fn change(draw: &mut Draw, number: u64, state: &mut Self::State) -> (&'static str, Value);

    /// What an agent in that state shows of it.
    fn shown(state: &Self::State) -> BTreeMap<String, String>;

    fn ask(client: &mut Client) -> BTreeMap<String, String>;
}

fn shown_text(value: &Value) -> String {
    let Value::Str(bytes) = value else { panic!("{value:?}") };
    String::from_utf8(bytes.clone()).expect("text")
}

struct Tags;

impl Kept for Tags {
    type State = BTreeMap<String, String>;

    const HAS_BODY: bool = false;

    fn change(draw: &mut Draw, number: u64, state: &mut Self::State) -> (&'static str, Value) {
        let (deleted, set) = (format!("k{}", draw.within(0..6)), format!("k{}", draw.within(0..6)));
        // The lengths differ: a file that was written over in place would keep the end of a longer one.
        let value = format!("{:x}", draw.next()).repeat(draw.within(1..4) as usize);
        let count = (number + 1).to_string();
        state.remove(&deleted);
        state.extend([("count".to_owned(), count.clone()), (set.clone(), value.clone())]);
        let tags = Value::Map(vec![(text("count"), text(count)), (text(set), text(value))]);
        ("tags", map([("Tags", tags), ("DeleteTags", Value::Array(vec![text(deleted)]))]))
    }

    fn shown(state: &Self::State) -> BTreeMap<String, String> {
        state.clone()
    }

    fn ask(client: &mut Client) -> BTreeMap<String, String> {
        let body = client.ask("members");
        let Value::Array(members) = body.field("Members") else { panic!("{body:?}") };
        let [own] = &members[..] else { panic!("{members:?}") };
        let Value::Map(tags) = own.field("Tags") else { panic!("{own:?}") };
        tags.iter().map(|(key, value)| (shown_text(key), shown_text(value))).collect()
    }
}

struct Keys;

impl Kept for Keys {
    /// Primary first.
    type State = Vec<String>;

    const HAS_BODY: bool = true;

    fn change(draw: &mut Draw, number: u64, keys: &mut Self::State) -> (&'static str, Value) {
        let (command, key) = match number % 3 {
            0 if keys.len() < 4 => {
                // 32 bytes in base64: 43 digits, of which the last has two bits that count for nothing.
                let digits = (0..42).map(|_| char::from(b'A' + draw.within(0..26) as u8));
                keys.push(digits.chain("A=".chars()).collect());
                ("install-key", keys[keys.len() - 1].clone())
            }
            1 if keys.len() < 4 => {
                keys.rotate_right(1);
                ("use-key", keys[0].clone())
            }
            _ => ("remove-key", keys.remove(1)),
        };
        (command, map([("Key", text(key))]))
    }

    fn shown(keys: &Self::State) -> BTreeMap<String, String> {
        keys.iter().map(|key| (key.clone(), "1".to_owned())).collect()
    }

    fn ask(client: &mut Client) -> BTreeMap<String, String> {
        let body = client.ask("list-keys");
        let Value::Map(keys) = body.field("Keys") else { panic!("{body:?}") };
        let count = |count: &Value| if let Value::Uint(count) = count { *count } else { panic!("{count:?}") };
        keys.iter().map(|(key, members)| (shown_text(key), count(members).to_string())).collect()
    }
}

/// A snapshot next to the file: each change of keys is a query, whose time is recorded.
struct Snapshot {
    path: PathBuf,
    /// The time of the first change of this round.
    first: u64,
    /// Its bytes when it was last looked at.
    len: u64,
}

impl Snapshot {
    /// The time of the last query that is recorded. Only the last line may be a part of one.
    fn recorded(&self) -> u64 {
        let content = fs::read_to_string(&self.path).expect("is there, and text");
        let whole = content.rfind('\n').map_or("", |end| &content[..end]);
        let mut recorded = 0;
        for line in whole.lines() {
            let (kind, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is a mixture"));
            match kind {
                "query-clock" => {
                    let time = value.parse().unwrap_or_else(|_| panic!("{line:?} is a mixture"));
                    assert!(time >= recorded, "time goes back");
                    recorded = time;
                }
                "clock" | "event-clock" | "# incarnation" => {
                    value.parse::<u64>().unwrap_or_else(|_| panic!("{line:?} is a mixture"));
                }
                "alive" => assert!(value.starts_with("killed 127."), "{line:?} is a mixture"),
                _ => panic!("{line:?} is a mixture"),
            }
        }
        recorded
    }

    /// Makes the file so long that it is written anew at one of the next changes.
    fn lengthen(&mut self, draw: &mut Draw) {
        let record = format!("query-clock: {}\n", self.recorded());
        let mut content = fs::read_to_string(&self.path).expect("text");
        content.truncate(content.rfind('\n').map_or(0, |end| end + 1));
        let wanted = COMPACTION_BYTES - draw.within(BEFORE) * record.len() as u64;
        let missing = wanted.saturating_sub(content.len() as u64) / record.len() as u64;
        content.push_str(&record.repeat(missing as usize));
        self.len = content.len() as u64;
        fs::write(&self.path, content).expect("can be written");
    }

    fn was_written_anew(&mut self) -> bool {
        let len = fs::metadata(&self.path).expect("is there").len();
        len < mem::replace(&mut self.len, len)
    }

    /// The agent that has read it goes on where the last one was.
    fn recalled(&mut self, client: &mut Client) {
        let stats = client.ask("stats");
        let time = shown_text(stats.field("serf").field("query_time"));
        let time: u64 = time.parse().expect("a number");
        assert!(time > self.recorded(), "the next query has time {time}");
        self.first = time;
    }

    /// The record of a change goes to the disk before the next change.
    fn compare(&self, acknowledged: usize, asked: usize) {
        let recorded = self.recorded();
        let least = (self.first + acknowledged as u64).saturating_sub(2);
        let range = least..self.first + asked as u64;
        assert!(range.contains(&recorded), "{recorded} is recorded, which is not of {range:?}");
    }
}

/// Asks for the changes and kills the agent meanwhile; gives the number of those that were acknowledged.
#[expect(clippy::disallowed_methods, reason = "there is no condition: the moment itself is what is drawn")]
fn kill<K: Kept>(agent: Agent, mut client: Client, draw: &mut Draw, changes: Vec<(&'static str, Value)>) -> usize {
    let (before, beyond) = (draw.within(BEFORE), draw.within(BEYOND_MICROSECONDS));
    client.send(changes);
    for number in 0..before {
        assert!(client.acknowledged(K::HAS_BODY), "the agent has gone after {number} changes");
    }
    thread::sleep(Duration::from_micros(beyond));
    agent.process.signal(Signal::KILL);
    let mut acknowledged = before as usize;
    // What it said before it died counts.
    while client.acknowledged(K::HAS_BODY) {
        acknowledged += 1;
    }
    acknowledged
}

/// Runs the rounds. The agent is called `killed`, the file's path stands behind `flag`.
fn rounds<K: Kept>(net: Net, flag: &str, first: &str, with_snapshot: bool) {
    let mut draw = Draw::new();
    println!("seed {:#x}", draw.seed);
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let (path, snapshot_path) = (at("kept"), at("snapshot"));
    fs::write(&path, first).expect("a file");
    let mut words = vec![flag, path.to_str().expect("text")];
    if with_snapshot {
        words.extend(["-snapshot", snapshot_path.to_str().expect("text")]);
    }
    let mut snapshot = with_snapshot.then(|| Snapshot { path: snapshot_path.clone(), first: 0, len: 0 });
    let known = [&path, &at("kept.new"), &snapshot_path, &at("snapshot.new")];
    let mut state: K::State = read::<K>(&path);
    let (mut all_acknowledged, mut later, mut written_anew) = (0, 0, 0);
    for round in 0..=ROUNDS {
        let agent = Agent::start(net, 21, "killed", &words);
        let mut client = Client::connect(&agent);
        if let Some(snapshot) = &mut snapshot {
            snapshot.recalled(&mut client);
        }
        assert_eq!(K::ask(&mut client), K::shown(&state), "the agent shows what is in the file");
        if round == ROUNDS {
            break;
        }
        if let Some(snapshot) = &mut snapshot {
            // To show the keys takes a query as well.
            snapshot.first += 1;
        }
        let mut states = vec![state];
        let mut changes = Vec::new();
        for number in 0..BEFORE.end as usize + IN_FLIGHT {
            let mut next = states[number].clone();
            changes.push(K::change(&mut draw, number as u64, &mut next));
            states.push(next);
        }
        let asked = changes.len();
        let acknowledged = kill::<K>(agent, client, &mut draw, changes);
        state = read::<K>(&path);
        let found = states.iter().position(|other| *other == state);
        println!("round {round}: {acknowledged} acknowledged, {found:?} found");
        let found = found.unwrap_or_else(|| panic!("{state:?} is the state after none of the changes: {states:?}"));
        assert!(found >= acknowledged, "{acknowledged} changes were acknowledged, {found} are kept");
        if let Some(snapshot) = &mut snapshot {
            snapshot.compare(acknowledged, asked);
            written_anew += u32::from(snapshot.was_written_anew());
            if draw.within(0..2) == 0 {
                snapshot.lengthen(&mut draw);
            }
        }
        for entry in fs::read_dir(directory.path()).expect("is there") {
            let path = entry.expect("an entry").path();
            assert!(known.contains(&&path), "{} was left behind", path.display());
        }
        all_acknowledged += acknowledged;
        later += usize::from(found > acknowledged);
    }
    assert_eq!(with_snapshot, written_anew > 0, "the snapshot was written anew {written_anew} times");
    println!("{flag}: {ROUNDS} kills, {all_acknowledged} changes acknowledged, {later} times one more was kept");
}

fn read<K: Kept>(path: &Path) -> K::State {
    let content = fs::read_to_string(path).expect("is there, and text");
    serde_json::from_str(&content).unwrap_or_else(|error| panic!("{error}: {content:?}"))
}

#[test]
fn no_kill_loses_an_acknowledged_change_of_tags() {
    rounds::<Tags>(Net(180), "-tags-file", "{}", false);
}

#[test]
fn no_kill_loses_an_acknowledged_change_of_keys() {
    rounds::<Keys>(Net(181), "-keyring-file", r#"["HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="]"#, true);
}
