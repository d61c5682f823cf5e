//! Recordings: everything that goes in comes out again, and a damaged file says so.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use std::eprintln;

use crate::command::{Command, KeyRequest};
use crate::config::Profile;
use crate::io::{
    Activity, PersistError, PersistId, RequestId, ResolveError, ResolveId, Saved, Stimulus, StreamError, StreamEvent,
    StreamId,
};
use crate::record::{Entry, Head, Problem, Reader, Writer, build};
use crate::rng::Seed;
use crate::tests::harness;
use crate::time::Time;
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
    let (stimuli, bytes) = (stimuli(), segment(&stimuli()));
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

#[test]
fn a_turned_bit_is_found_and_nothing_panics() {
    let bytes = segment(&stimuli());
    let mut found = 0;
    for place in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[place / 8] ^= 1 << (place % 8);
        let problem = match Reader::open(&damaged) {
            Err(error) => Some(error.problem),
            Ok(None) => None,
            Ok(Some((_, mut reader))) => loop {
                match reader.entry() {
                    Err(error) => break Some(error.problem),
                    Ok(None) => break None,
                    Ok(Some(_)) => {}
                }
            },
        };
        found += usize::from(problem.is_some());
    }
    // Where the length of an entry grows, or the last entry is hit, the file looks cut off.
    assert!(found * 10 > bytes.len() * 8 * 7, "{found} of {}", bytes.len() * 8);
    assert_eq!(Reader::open(b"[run]\n").expect_err("no recording").problem, Problem::Magic);
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
