//! Who has recorded what a cluster said says all of it again: nothing in a packet tells when it was sent (SECURITY.md).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::{Command, KeyRequest, Question};
use crate::event::Status;
use crate::io::{Stimulus, StreamEvent, StreamId};
use crate::keyring::Key;
use crate::tests::harness::{Cluster, Said, addr};

const SECOND: Duration = Duration::from_secs(1);
const SIZE: usize = 4;
const NEW: [u8; 32] = [2; 32];

/// What every node believes of every member, and its keys.
fn beliefs(cluster: &Cluster) -> Vec<String> {
    let of = |number: usize| {
        let node = cluster.node(number);
        let members = node.members().into_iter().map(|view| {
            let info = view.info;
            format!("{} {} {} {:?} {}", info.name, info.status, info.addr, info.tags(), view.incarnation.0)
        });
        let keys = node.keys().map(Key::to_base64).collect::<Vec<_>>();
        format!("n{number}: {} {keys:?}", members.collect::<Vec<_>>().join(", "))
    };
    (0..SIZE).map(of).collect()
}

/// A cluster to which everything happens that an operator does, but nothing that looks like a failure to the end.
fn eventful() -> Cluster {
    let mut cluster = Cluster::joined(SIZE, |config| {
        config.keys = [[1; 32], NEW].map(|bytes| Key::new(&bytes).expect("32 bytes")).into();
    });
    let tags = |value: &str| Command::SetTags { set: [(b"v".to_vec(), value.into())].into(), delete: Vec::new() };
    let fire = |name: &str| Command::UserEvent { name: name.as_bytes().into(), payload: [].into(), coalesce: false };
    let question = Question {
        name: b"load".as_slice().into(),
        payload: [].into(),
        filters: Vec::new(),
        ack: true,
        relay_factor: 1,
        timeout: None,
    };
    for command in [
        tags("1"),
        fire("deploy"),
        Command::Query(question.into()),
        Command::Key(KeyRequest::Use(NEW.into())),
        Command::Key(KeyRequest::Install([3; 16].into())),
        Command::Key(KeyRequest::Remove([3; 16].into())),
        tags("2"),
        fire("deployed"),
    ] {
        cluster.command(1, command);
        cluster.run(10 * SECOND);
    }
    cluster.command(3, Command::Leave);
    cluster.run(20 * SECOND);
    cluster.crash(2);
    cluster.run(60 * SECOND);
    for number in [2, 3] {
        cluster.start(number, 2);
        cluster.join(number, 0);
    }
    cluster.run(20 * SECOND);
    cluster.command(0, Command::Key(KeyRequest::Use(NEW.into())));
    cluster.run(160 * SECOND);
    cluster
}

#[test]
fn what_a_cluster_has_said_changes_nothing_when_it_is_said_again() {
    let mut cluster = eventful();
    for number in 0..SIZE {
        assert!(cluster.statuses(number).values().all(|status| *status == Status::Alive));
    }
    let (before, events) = (beliefs(&cluster), cluster.log.len());
    let tape = core::mem::take(&mut cluster.tape);
    let streams = tape.iter().filter(|(_, _, said)| matches!(said, Said::Stream(_))).count();
    assert!(tape.len() > 2_000 && streams > 20, "{} packets and {streams} streams were recorded", tape.len());
    for (index, (from, to, said)) in tape.into_iter().enumerate() {
        match said {
            Said::Datagram(bytes) => cluster.give(to, Stimulus::Datagram { from: addr(from), bytes: &bytes }),
            Said::Stream(bytes) => {
                let id = StreamId(index as u64 * 2 + 1_000_001);
                for event in
                    [StreamEvent::Accepted { from: addr(from) }, StreamEvent::Bytes(&bytes), StreamEvent::Closed]
                {
                    cluster.give(to, Stimulus::Stream { id, event });
                }
            }
        }
        cluster.run(Duration::from_millis(5));
    }
    cluster.run(60 * SECOND);
    assert_eq!(beliefs(&cluster), before);
    let news: Vec<_> = cluster.log.iter().skip(events).map(|(_, at, text)| (*at, text.as_str())).collect();
    // Who came after a query and keeps no snapshot cannot know that it was asked before.
    assert_eq!(news, [(3, "query 1 load"), (2, "query 1 load")]);
}
