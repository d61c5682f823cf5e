//! Recordings: everything that goes in comes out again, and a damaged file says so.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use std::eprintln;

use crate::command::{Command, KeyRequest, Question};
use crate::config::Profile;
use crate::event::QueryKey;
use crate::io::{
    Activity, PersistError, PersistId, RequestId, ResolveError, ResolveId, Saved, Stimulus, StreamError, StreamEvent,
    StreamId,
};
use crate::lamport::LamportTime;
use crate::limits;
use crate::record::{Entry, Head, Problem, Reader, RecordError, Writer, build, guard};
use crate::rng::{Purpose, Rng, Seed};
use crate::tests::harness;
use crate::time::Time;
use crate::types::{JoinTarget, Name, QueryId, Tags};
use crate::wire::Filter;
use crate::{Input, Node};

fn head() -> Head {
    Head { build: build(), run: 7, number: 0, checkpoint: vec![1, 2, 3] }
}

fn addrs() -> [SocketAddr; 2] {
    ["10.0.0.1:7946", "[fe80::1%3]:80"].map(|text| match text.parse() {
        Ok(addr) => addr,
        // The standard library reads no scope in brackets.
        Err(_) => core::net::SocketAddrV6::new("fe80::1".parse().expect("an address"), 80, 9, 3).into(),
    })
}

/// One of each kind of command, with what can be in it.
fn commands() -> Vec<Command> {
    let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
    let tags = || Tags::from([(b"role".to_vec(), b"web".to_vec())]);
    let filters = vec![
        Filter::Nodes(vec![Name::from("n1"), Name::from("n2")]),
        Filter::Tag { key: bytes("role"), pattern: bytes("^w") },
        Filter::Unreadable,
    ];
    let question = |timeout| Question {
        name: bytes("load"),
        payload: bytes("now"),
        filters: filters.clone(),
        ack: true,
        relay_factor: 2,
        timeout,
    };
    vec![
        Command::Join { targets: vec![JoinTarget::from("n2/[fe80::1%eth0]:7946")], replay: true },
        Command::Leave,
        Command::Rejoin,
        Command::ForceLeave { node: Name::from("n2"), prune: true },
        Command::UserEvent { name: bytes("deploy"), payload: bytes("v1"), coalesce: true },
        Command::Query(Box::new(question(None))),
        Command::Query(Box::new(question(Some(Duration::from_nanos(1_500_000_001))))),
        Command::Respond { query: QueryKey { ltime: LamportTime(u64::MAX), id: QueryId(7) }, payload: bytes("42") },
        Command::SetTags { set: tags(), delete: vec![b"old".to_vec()] },
        Command::ReplaceTags(tags()),
        Command::Key(KeyRequest::Install(bytes("0123456789abcdef"))),
        Command::Key(KeyRequest::Use(bytes("0123456789abcdef"))),
        Command::Key(KeyRequest::Remove(bytes("0123456789abcdef"))),
        Command::Key(KeyRequest::List),
        Command::EndQuery(RequestId(u64::MAX)),
    ]
}

/// One of each kind, and of each kind of what can be in it.
fn every_stimulus() -> Vec<Stimulus<'static>> {
    let errors = [
        StreamError::Refused,
        StreamError::TimedOut,
        StreamError::Reset,
        StreamError::HostUnreachable,
        StreamError::NetworkUnreachable,
        StreamError::Closed,
        StreamError::Other(-104),
    ];
    let mut all = stimuli();
    let failed = |error| Stimulus::Stream { id: StreamId(u64::MAX), event: StreamEvent::Failed(error) };
    all.extend(errors.map(failed));
    for activity in harness::ACTIVITIES {
        all.extend(addrs().map(|to| Stimulus::SendFailed { to, activity }));
        all.extend([Stimulus::Stalled { activity }, Stimulus::Resumed { activity }]);
    }
    all.extend(commands().into_iter().map(|command| Stimulus::Command { id: RequestId(u64::MAX), command }));
    all
}

/// One of each kind.
fn stimuli() -> Vec<Stimulus<'static>> {
    let [v4, v6] = addrs();
    let stream = |event| Stimulus::Stream { id: StreamId(3), event };
    vec![
        Stimulus::Tick,
        Stimulus::Datagram { from: v6, bytes: b"ping" },
        Stimulus::SendFailed { to: v4, activity: Activity::Gossip },
        stream(StreamEvent::Accepted { from: v6 }),
        stream(StreamEvent::Connected),
        stream(StreamEvent::Bytes(b"bytes")),
        stream(StreamEvent::Closed),
        stream(StreamEvent::Failed(StreamError::Reset)),
        Stimulus::Resolved { id: ResolveId(1), result: Ok(Box::new([v4, v6])) },
        Stimulus::Resolved { id: ResolveId(2), result: Err(ResolveError(String::from("no such host"))) },
        Stimulus::Persisted { id: PersistId(1), result: Ok(()) },
        Stimulus::Persisted { id: PersistId(2), result: Err(PersistError(String::from("disk full"))) },
        Stimulus::Stalled { activity: Activity::Probe },
        Stimulus::Resumed { activity: Activity::Probe },
        Stimulus::Entropy { bytes: [9; 32] },
        Stimulus::Command { id: RequestId(4), command: Command::Key(KeyRequest::List) },
    ]
}

fn segment(stimuli: &[Stimulus<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let writer = Writer::begin(&head(), &mut bytes);
    for (second, stimulus) in (1..).zip(stimuli) {
        let at = Time::ZERO + Duration::from_secs(second);
        writer.input(&Input { at, stimulus: stimulus.clone() }, &mut bytes);
    }
    writer.end(&mut bytes);
    bytes
}

fn entries<'a>(bytes: &'a [u8]) -> Vec<Entry<'a>> {
    let (_, mut reader) = Reader::open(bytes).expect("a segment").expect("a whole head");
    core::iter::from_fn(|| reader.entry().expect("a whole entry")).collect()
}

#[test]
fn every_stimulus_is_read_as_it_was_written() {
    let (stimuli, bytes) = (every_stimulus(), segment(&every_stimulus()));
    assert_eq!(Reader::open(&bytes).expect("a segment").expect("a head").0, head());
    let entries = entries(&bytes);
    assert_eq!(entries.len(), stimuli.len() + 1);
    for (stimulus, entry) in stimuli.iter().zip(&entries) {
        let Entry::Input { stimulus: read, .. } = entry else { panic!("{entry:?}") };
        // Debug shows every field, an IPv6 scope too.
        assert_eq!(alloc::format!("{:?}", read.stimulus()), alloc::format!("{stimulus:?}"));
    }
    assert!(matches!(entries.last(), Some(Entry::End { .. })));
}

#[test]
fn a_file_that_was_cut_off_is_read_up_to_the_cut() {
    let bytes = segment(&stimuli());
    let whole = entries(&bytes);
    for length in 0..bytes.len() {
        let cut = bytes.get(..length).unwrap_or_default();
        let Some((_, mut reader)) = Reader::open(cut).expect("the beginning of a segment") else { continue };
        let read: Vec<Entry<'_>> = core::iter::from_fn(|| reader.entry().expect("whole or cut")).collect();
        assert_eq!(read.last(), Some(&Entry::Cut), "after {length} bytes");
        assert_eq!(read.get(..read.len() - 1), whole.get(..read.len() - 1), "after {length} bytes");
    }
}

/// Reads all there is.
fn read(bytes: &[u8]) -> Result<Vec<Entry<'_>>, RecordError> {
    let Some((_, mut reader)) = Reader::open(bytes)? else { return Ok(vec![Entry::Cut]) };
    let mut entries = Vec::new();
    while let Some(entry) = reader.entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

#[test]
fn a_turned_bit_is_found_wherever_it_is() {
    let bytes = segment(&stimuli());
    for place in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[place / 8] ^= 1 << (place % 8);
        // Where the very last byte becomes a zero the end looks torn.
        let is_torn = damaged.last() == Some(&0);
        match read(&damaged) {
            Err(error) => assert!(error.offset <= place / 8, "{error} for bit {place}"),
            Ok(entries) => assert!(is_torn && entries.last() == Some(&Entry::Cut), "bit {place}"),
        }
    }
    assert_eq!(Reader::open(b"[run]\n").expect_err("no recording").problem, Problem::Magic);
}

#[test]
fn a_length_that_was_damaged_does_not_look_like_a_cut() {
    let mut bytes = segment(&stimuli());
    let (_, mut reader) = Reader::open(&bytes).expect("a segment").expect("a head");
    let _ = reader.entry();
    let offset = reader.offset();
    bytes[offset + 2] ^= 0x40;
    assert_eq!(read(&bytes), Err(RecordError { offset, problem: Problem::Sum }));
}

#[test]
fn an_entry_of_the_largest_length_may_be_cut_off_and_a_longer_one_is_none() {
    let mut bytes = segment(&stimuli());
    let (_, mut reader) = Reader::open(&bytes).expect("a segment").expect("a head");
    let _ = reader.entry();
    let offset = reader.offset();
    let mut with_length = |length: usize| {
        let length = u32::try_from(length).expect("32 bits");
        bytes[offset..offset + 4].copy_from_slice(&length.to_le_bytes());
        bytes[offset + 4..offset + 6].copy_from_slice(&guard(length));
        read(&bytes).map(|entries| entries.last() == Some(&Entry::Cut))
    };
    assert_eq!(with_length(limits::RECORD_BYTES_MAX), Ok(true));
    let problem = Problem::Length(limits::RECORD_BYTES_MAX as u32 + 1);
    assert_eq!(with_length(limits::RECORD_BYTES_MAX + 1), Err(RecordError { offset, problem }));
}

#[test]
fn zeros_that_a_loss_of_power_leaves_are_a_cut() {
    let bytes = segment(&stimuli());
    let whole = entries(&bytes);
    let begun = Reader::open(&bytes).expect("a segment").expect("a head").1.offset();
    for length in begun..bytes.len() - 1 {
        let mut torn = bytes.clone();
        torn[length..].fill(0);
        let read = read(&torn).unwrap_or_else(|error| panic!("{error} after {length} bytes"));
        assert_eq!(read.last(), Some(&Entry::Cut), "after {length} bytes");
        assert!(whole.starts_with(&read[..read.len() - 1]), "after {length} bytes");
    }
}

#[test]
fn junk_with_a_right_checksum_is_refused_and_reserves_nothing() {
    let mut rng = Rng::new(Seed::simulated(1));
    let start = segment(&[]).len() - {
        let mut end = Vec::new();
        Writer::begin(&head(), &mut Vec::new()).end(&mut end);
        end.len()
    };
    for seed in 0..20_000 {
        let mut content = vec![0; rng.index(Purpose::GossipTargets, 64)];
        rng.fill(Purpose::GossipTargets, &mut content);
        // Mostly an input, and then any kind of stimulus.
        if let Some(first) = content.first_mut().filter(|_| seed % 8 != 0) {
            *first = 1;
        }
        let length = u32::try_from(content.len()).expect("it is short").to_le_bytes();
        let mut bytes = segment(&[]);
        bytes.truncate(start);
        bytes.extend(length);
        bytes.extend(&crc32fast::hash(&length).to_le_bytes()[..2]);
        bytes.extend(crc32fast::hash(&content).to_le_bytes());
        bytes.extend(content);
        match read(&bytes) {
            Ok(entries) => assert!(entries.len() <= 2, "junk {seed}"),
            Err(error) => assert_eq!(error, RecordError { offset: start, problem: Problem::Entry }, "junk {seed}"),
        }
    }
}

#[test]
fn a_node_that_lives_again_puts_out_the_same() {
    let config = || harness::config(0, Profile::Lan);
    let mut node = Node::new(config(), Seed::simulated(1), Time::ZERO, Saved::default()).expect("a node");
    let head = Head { checkpoint: node.checkpoint(), ..head() };
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&head, &mut bytes);
    let feed = |node: &mut Node, writer: &mut Writer, bytes: &mut Vec<u8>, second: u64, stimulus: Stimulus<'_>| {
        let input = Input { at: Time::ZERO + Duration::from_secs(second), stimulus };
        writer.input(&input, bytes);
        writer.outputs(&node.handle(input));
    };
    feed(&mut node, &mut writer, &mut bytes, 0, Stimulus::Tick);
    for (second, stimulus) in (1..).zip(stimuli()) {
        feed(&mut node, &mut writer, &mut bytes, second, stimulus);
    }
    writer.end(&mut bytes);
    let (head, mut reader) = Reader::open(&bytes).expect("a segment").expect("a head");
    let mut again = Node::restore(&head.checkpoint).expect("the checkpoint");
    let mut hash = crate::record::OutputHash::new((0, 0));
    while let Some(entry) = reader.entry().expect("a whole entry") {
        match entry {
            Entry::Input { hash: before, at, stimulus } => {
                assert_eq!(before, hash.short(), "before the input at {at}");
                let outputs = again.handle(Input { at, stimulus: stimulus.stimulus() });
                outputs.iter().for_each(|output| hash.output(output));
            }
            Entry::End { hash: end } => assert_eq!(end, hash.short()),
            Entry::Cut => panic!("the segment is whole"),
        }
    }
    assert_eq!(again.checkpoint(), node.checkpoint());
    eprintln!("{} bytes for {} inputs", bytes.len() - head.checkpoint.len(), stimuli().len() + 1);
}

#[test]
fn a_changed_configuration_is_checked_as_a_new_one_is() {
    let config = harness::config(0, Profile::Lan);
    let node = Node::new(config, Seed::simulated(1), Time::ZERO, Saved::default()).expect("a node");
    let bytes = node.checkpoint();
    let changed = Node::restore_with(&bytes, |config| config.swim.gossip_nodes = 1).expect("a valid configuration");
    assert_eq!(changed.config().swim.gossip_nodes, 1);
    let refused = Node::restore_with(&bytes, |config| config.swim.probe_interval = Duration::ZERO);
    assert!(matches!(refused, Err(crate::node::RestoreError::Config(_))));
}
