//! An agent without sockets, the core and the files, on a disk that refuses the k-th call, for every k: the agent stays a
//! member, says once that the snapshot cannot be written and who asked for something that it was refused, and when the
//! disk is well again everything is on it without a restart.
//!
//! `VILLEIN_CRASH_SWEEP=full` gives every call every error in every way.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use villein_core::command::{Command, CommandError, KeyRequest, Reply};
use villein_core::config::{Profile, SnapshotConfig, Wire};
use villein_core::event::{Event, Status};
use villein_core::io::{PersistId, RequestId};
use villein_core::keyring::{Key, Keyring};
use villein_core::log::Log;
use villein_core::serf::tags::encode_for;
use villein_core::snapshot::parse;
use villein_core::types::{GossipAddr, Incarnation, Name, Tags, Versions};
use villein_core::wire::{Alive, Envelope, Message, native};
use villein_core::{Config, Input, Node, Output, Saved, Seed, Stimulus, Time};

use super::writer::{Job, Writer};
use super::{FileOptions, KeptFile};
use crate::address::errno_text;
use crate::durable::simulated::{Loss, SimulatedDisk, Trouble};

const TAGS: &str = "/d/tags";
const KEYRING: &str = "/d/keyring";
const SNAPSHOT: &str = "/d/snapshot";
const ERRORS: [Errno; 4] = [Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::ACCESS];
/// The core's own distance between two attempts, and a little.
const RETRY: Duration = Duration::from_secs(31);

fn encode_tags(tags: &Tags) -> Vec<u8> {
    let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    tags.iter().map(|(key, value)| format!("{}={}\n", shown(key), shown(value))).collect::<String>().into()
}

fn encode_keys(keys: &[Key]) -> Vec<u8> {
    keys.iter().map(|key| key.to_base64() + "\n").collect::<String>().into()
}

fn key(number: u8) -> Key {
    Key::new(&[number; 32]).expect("32 bytes")
}

struct Agent {
    node: Node,
    config: Config,
    files: FileOptions,
    writer: Writer<SimulatedDisk>,
    /// What waits for the disk, which is slow: so many inputs come before it has written.
    waiting: VecDeque<(PersistId, Job)>,
    slowness: usize,
    now: Time,
    requests: u64,
    replies: Vec<(RequestId, Reply)>,
    failures: Vec<String>,
    recoveries: usize,
    /// What stands in the files.
    tags: Tags,
    keys: Vec<Key>,
    /// What was refused since, and may stand there instead: where only the directory could not be synced, nobody knows.
    refused_tags: Vec<Tags>,
    refused_keys: Vec<Vec<Key>>,
}

impl Agent {
    fn start(disk: &SimulatedDisk, slowness: usize) -> Self {
        let files = FileOptions {
            snapshot: Some(SNAPSHOT.into()),
            keyring: Some(KeptFile { path: KEYRING.into(), encode: |keys| Ok(encode_keys(keys)) }),
            tags: Some(KeptFile { path: TAGS.into(), encode: |tags| Ok(encode_tags(tags)) }),
        };
        let addr = GossipAddr::from_bytes(&[10, 0, 0, 0], 7946).expect("4 bytes");
        let mut config = Config::new(Name::from("n0"), addr, Profile::Lan);
        config.wire = Wire::Native;
        config.keys = vec![key(0)];
        // A simulation may have a seed and keys.
        config.simulation = true;
        config.serf.snapshot = Some(SnapshotConfig { rejoin_after_leave: false });
        config.serf.keyring_file = true;
        config.serf.tags_file = true;
        let mut files_found = Writer::open(disk.clone(), Some(Path::new(SNAPSHOT))).expect("no trouble yet");
        for job in [
            Job::Replace("keyring", KEYRING.into(), encode_keys(&config.keys)),
            Job::Replace("tags", TAGS.into(), vec![]),
        ] {
            files_found.write(&job).expect("no trouble yet");
        }
        let saved = Saved { snapshot: Some(Box::default()), ..Saved::default() };
        let keys = config.keys.clone();
        let node = Node::new(config.clone(), Seed::simulated(1), Time::ZERO, saved).expect("a valid configuration");
        Self {
            node,
            keys,
            config,
            files,
            writer: files_found,
            waiting: VecDeque::new(),
            slowness,
            now: Time::from_millis(1),
            requests: 0,
            replies: vec![],
            failures: vec![],
            recoveries: 0,
            tags: Tags::new(),
            refused_tags: vec![],
            refused_keys: vec![],
        }
    }

    fn give(&mut self, stimulus: Stimulus<'_>) {
        let outputs = self.node.handle(Input { at: self.now, stimulus });
        self.node.check().expect("the invariants hold");
        for output in outputs {
            match output {
                Output::Persist { id, record } => {
                    self.waiting.push_back((id, Job::of(*record, &self.files).expect("there is a file for it")));
                }
                Output::Reply { id, reply } => self.replies.push((id, *reply)),
                Output::Log(log) => match *log {
                    Log::SnapshotNotWritten(why) => self.failures.push(why),
                    Log::SnapshotWritten => self.recoveries += 1,
                    _ => {}
                },
                Output::Event(event) => assert!(!matches!(*event, Event::Shutdown(_)), "it gives up: {event:?}"),
                Output::Datagram { .. } | Output::Stream { .. } | Output::Resolve { .. } => {}
            }
        }
        if self.waiting.len() > self.slowness {
            self.write();
        }
    }

    /// The disk does the next of what it was asked for.
    fn write(&mut self) {
        if let Some((id, job)) = self.waiting.pop_front() {
            let result = self.writer.write(&job);
            self.give(Stimulus::Persisted { id, result });
        }
    }

    fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            while !self.waiting.is_empty() {
                self.write();
            }
            let next = self.node.next_deadline().map(|deadline| deadline.at).filter(|at| *at <= end);
            self.now = next.unwrap_or(end);
            self.give(Stimulus::Tick);
            if next.is_none() && self.waiting.is_empty() {
                return;
            }
        }
    }

    fn ask(&mut self, command: Command) -> Reply {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.give(Stimulus::Command { id, command });
        for _ in 0..60 {
            if let Some(place) = self.replies.iter().position(|(of, _)| *of == id) {
                return self.replies.remove(place).1;
            }
            self.wait(Duration::from_secs(1));
        }
        panic!("no answer in a minute");
    }

    /// Another member says that it is there.
    fn hear(&mut self, number: u8, incarnation: u32) {
        let addr = SocketAddr::from(([10, 0, 0, number], 7946));
        let alive = Message::Alive(Alive {
            node: Name::from(format!("n{number}").as_str()),
            incarnation: Incarnation(incarnation),
            addr: addr.into(),
            meta: encode_for(&Tags::new(), &self.config).expect("no tags"),
            versions: Versions::CURRENT,
        });
        let mut part = vec![];
        native::encode(&alive, &mut part);
        let keyring = Keyring::new(vec![key(0)]);
        let packet = native::seal_packet(&[&part], Envelope { keyring: &keyring, label: &[] }, [number; 12]);
        self.give(Stimulus::Datagram { from: addr, bytes: &packet });
    }

    /// Sets a tag; gives why it was refused.
    fn set(&mut self, tag: &str, value: &str) -> Option<String> {
        let set = Tags::from([(tag.as_bytes().to_vec(), value.as_bytes().to_vec())]);
        match self.ask(Command::SetTags { set: set.clone(), delete: vec![] }) {
            Reply::TagsSet => {
                self.tags.extend(set);
                self.refused_tags.clear();
                None
            }
            Reply::Failed(CommandError::NotKept(why)) => {
                self.refused_tags.push(self.tags.clone().into_iter().chain(set).collect());
                Some(why)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Does something with a key; gives why our own file refused it. The other members exist only in what was heard, and
    /// say nothing.
    fn change_keys(&mut self, request: fn(Box<[u8]>) -> KeyRequest, number: u8) -> Option<String> {
        let request = request(key(number).as_bytes().into());
        let Reply::Keys(outcome) = self.ask(Command::Key(request)) else { panic!("no outcome") };
        assert_eq!(outcome.responses, 1, "{outcome:?}");
        let keys = self.node.keys().cloned().collect();
        if outcome.errors == 0 {
            // The whole ring is written, with what was refused before.
            self.keys = keys;
            self.refused_keys.clear();
            return None;
        }
        self.refused_keys.push(keys);
        Some(outcome.messages.into_values().collect())
    }

    /// The files say what they must: that was acknowledged last, and all that the node knows.
    #[track_caller]
    fn is_kept(&self, disk: &SimulatedDisk, context: &str) {
        let shown = |path| disk.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let wanted = |bytes| Some(String::from_utf8(bytes).expect("text"));
        assert_eq!(shown(TAGS), wanted(encode_tags(&self.tags)), "{context}");
        assert_eq!(shown(KEYRING), wanted(encode_keys(&self.keys)), "{context}");
        self.snapshot_is_complete(disk, context);
        assert_eq!(disk.names().len(), 3, "{context}: {:?}", disk.names());
    }

    #[track_caller]
    fn snapshot_is_complete(&self, disk: &SimulatedDisk, context: &str) {
        let parsed = parse(&disk.read(SNAPSHOT).expect("a snapshot"), false);
        assert!(parsed.notices.is_empty() && !parsed.torn, "{context}: {:?}", parsed.notices);
        let (book, stats) = (parsed.book, self.node.stats());
        let names = |status: &[Status]| -> BTreeSet<Name> {
            let members = self.node.members().into_iter().filter(|member| status.contains(&member.info.status));
            members.map(|member| member.info.name).collect()
        };
        let alive: BTreeSet<Name> = book.alive().map(|(name, _)| name.clone()).collect();
        let failed: BTreeSet<Name> = book.failed().map(|(name, _)| name.clone()).collect();
        assert_eq!((alive, failed), (names(&[Status::Alive, Status::Leaving]), names(&[Status::Failed])), "{context}");
        let clocks = [book.clock().0, book.event_clock().0, book.query_clock().0];
        let known = [stats.member_time.0, stats.event_time.0, stats.query_time.0].map(|time| time - 1);
        assert_eq!(clocks, known, "{context}");
    }
}

fn event(number: u8) -> Command {
    Command::UserEvent { name: Box::new([b'e', number]), payload: Box::default(), coalesce: false }
}

/// What an agent sees on a day; gives what it was refused.
fn day(agent: &mut Agent) -> Vec<String> {
    let mut refused = vec![];
    refused.extend(agent.set("role", "web"));
    agent.ask(event(1));
    refused.extend(agent.change_keys(KeyRequest::Install, 1));
    refused.extend(agent.set("zone", "a"));
    refused.extend(agent.change_keys(KeyRequest::Use, 1));
    agent.ask(event(2));
    refused.extend(agent.set("role", "db"));
    refused.extend(agent.change_keys(KeyRequest::Use, 0));
    refused.extend(agent.change_keys(KeyRequest::Remove, 1));
    for number in 1..5 {
        agent.hear(number, 1);
        agent.ask(event(number));
    }
    refused
}

/// One day with that trouble, and what follows when it is over. Gives the calls of the day and what went wrong in it.
fn live(trouble: Trouble, slowness: usize, seed: u64) -> (u32, usize, usize) {
    let context = format!("{trouble:?}, {slowness} wait");
    let disk = SimulatedDisk::new(seed, Trouble::None);
    let mut agent = Agent::start(&disk, slowness);
    disk.expect(trouble);
    let refused = day(&mut agent);
    agent.wait(Duration::from_secs(1));
    let calls = disk.operations();
    disk.expect(Trouble::None);

    if let Trouble::Between(_, _, errno) = trouble {
        let why = errno_text(&std::io::Error::from_raw_os_error(errno));
        for text in refused.iter().chain(&agent.failures) {
            assert!(text.contains(&why) && text.contains("/d"), "{context}: {text}");
        }
    }
    assert!(agent.failures.len() <= 1 + agent.recoveries, "{context}: said twice: {:?}", agent.failures);
    assert_eq!(agent.node.status(&Name::from("n0")), Status::Alive, "{context}");

    for loss in [Loss::All, Loss::Nothing] {
        let cut = disk.after_power_cut(loss);
        let (tags, keys) = (cut.read(TAGS).expect("tags"), cut.read(KEYRING).expect("keys"));
        let mut kept = agent.refused_tags.iter().chain([&agent.tags]);
        assert!(kept.any(|kept| encode_tags(kept) == tags), "{context}: {tags:?} are not those that were acknowledged");
        let mut kept = agent.refused_keys.iter().chain([&agent.keys]);
        assert!(kept.any(|kept| encode_keys(kept) == keys), "{context}: {keys:?} are not those that were acknowledged");
    }

    if agent.failures.len() == agent.recoveries {
        agent.snapshot_is_complete(&disk.after_power_cut(Loss::All), &context);
    }
    agent.wait(RETRY);
    assert_eq!(agent.failures.len(), agent.recoveries, "{context}: {:?}", agent.failures);
    let keys =
        [(KeyRequest::Install as fn(_) -> _, 1), (KeyRequest::Use, 1), (KeyRequest::Use, 0), (KeyRequest::Remove, 1)];
    for (request, number) in keys {
        assert_eq!(agent.change_keys(request, number), None, "{context}: the disk is well");
    }
    assert_eq!(agent.set("healed", "yes"), None, "{context}");
    agent.hear(9, 1);
    agent.ask(event(9));
    agent.wait(Duration::from_secs(1));
    agent.is_kept(&disk.after_power_cut(Loss::All), &context);
    (calls, refused.len(), agent.failures.len())
}

#[test]
#[expect(clippy::print_stdout, reason = "a test's figures")]
fn an_agent_lives_through_every_call_that_its_disk_refuses() {
    let full = super::crashes::is_full();
    let (calls, ..) = live(Trouble::None, 0, 1);
    let (mut runs, mut refusals, mut failures) = (0, 0, 0);
    // How many calls are refused, and how many records wait meanwhile.
    let ways = [(1, 0), (1, 2), (7, 2), (calls, 0)];
    for at in 0..calls {
        for (number, (length, slowness)) in ways.into_iter().enumerate() {
            for (place, errno) in ERRORS.iter().enumerate() {
                if !full && place != (at as usize + number) % ERRORS.len() {
                    continue;
                }
                let trouble = Trouble::Between(at, at + length, errno.raw_os_error());
                let (_, refused, failed) = live(trouble, slowness, u64::from(at));
                runs += 1;
                refusals += refused;
                failures += failed;
            }
        }
    }
    println!(
        "{calls} calls, {runs} runs, {refusals} changes refused, {failures} times the snapshot could not be written"
    );
    assert!(calls > 100 && refusals > 300 && failures > 100, "{calls} calls, {refusals} refusals, {failures} failures");
}

/// Records of several sectors, each with its number in it.
fn records(number: usize) -> Vec<u8> {
    (0..24)
        .map(|line| format!("alive: job-{number}-line-{line} 10.0.0.{line}:{}\n", 7000 + number))
        .collect::<String>()
        .into()
}

#[test]
#[expect(clippy::print_stdout, reason = "a test's figures")]
fn half_a_record_never_becomes_one_with_the_next() {
    let jobs = || {
        let compact = |number| Job::Compact(records(number).into());
        [
            Job::Append(records(0)),
            Job::Append(records(1)),
            compact(2),
            Job::Append(records(3)),
            compact(4),
            Job::Append(records(5)),
        ]
    };
    let written: BTreeSet<Vec<u8>> = (0..6)
        .flat_map(|number| records(number).split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect();
    let (mut states, mut refused) = (0, 0);
    for length in 1..12 {
        for at in 0.. {
            let disk = SimulatedDisk::new(u64::from(at), Trouble::None);
            let mut writer = Writer::open(disk.clone(), Some(Path::new(SNAPSHOT))).expect("no trouble yet");
            disk.expect(Trouble::Between(at, at + length, Errno::IO.raw_os_error()));
            for job in jobs() {
                refused += usize::from(writer.write(&job).is_err());
                disk.each_after_power_cut(64, |found| {
                    states += 1;
                    let content = found.read(SNAPSHOT).unwrap_or_default();
                    let mut lines: Vec<&[u8]> = content.split(|&byte| byte == b'\n').collect();
                    // The reader drops a line that does not end, and what stands before NUL bytes.
                    lines.pop();
                    for line in lines.into_iter().filter(|line| !line.contains(&0)) {
                        let shown = String::from_utf8_lossy(line);
                        assert!(written.contains(line), "{length} calls from {at} on fail: {shown:?} is a mixture");
                    }
                });
            }
            if disk.operations() <= at {
                break;
            }
            disk.expect(Trouble::None);
            assert_eq!(writer.write(&Job::Compact(records(4).into())), Ok(()), "the disk is well");
            assert_eq!(writer.write(&Job::Append(records(5))), Ok(()));
            let found = disk.after_power_cut(Loss::All).read(SNAPSHOT);
            assert_eq!(found, Some([records(4), records(5)].concat()));
        }
    }
    println!("{states} states, {refused} jobs refused");
    assert!(states > 10_000 && refused > 500, "{states} states, {refused} jobs refused");
}
