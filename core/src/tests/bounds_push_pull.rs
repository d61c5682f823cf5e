//! What the lists of one push/pull may take, at the bound and above it, in both encodings.

use alloc::vec;
use alloc::vec::Vec;

use crate::keyring::Keyring;
use crate::lamport::LamportTime;
use crate::limits::{self, PUSH_PULL_ALLOCATED_MAX};
use crate::types::{GossipAddr, Incarnation, Meta, Name, Versions};
use crate::wire::memberlist::Progress;
use crate::wire::{
    Alive, Encoding, Envelope, EventsAt, Fired, NodeState, Pieces, PushPull, SerfState, StreamMessage, SwimState,
    WireError, open_stream, seal_stream,
};

/// A name that stands in its value, and one that does not.
const SHORT: &str = "n";
const LONG: &str = "a name that takes thirty bytes";

fn read(encoding: Encoding, nodes: Vec<NodeState>, serf: SerfState) -> Result<PushPull, WireError> {
    let keyring = Keyring::default();
    let envelope = Envelope { keyring: &keyring, label: b"" };
    let state = StreamMessage::PushPull(PushPull { join: false, nodes, serf, unreadable: 0 });
    let bytes = seal_stream(encoding, &state, envelope, [0; 12], true, true);
    match open_stream(&mut Pieces::from(&*bytes), envelope, true, &mut Progress::default())? {
        Some(StreamMessage::PushPull(state)) => Ok(state),
        other => panic!("{other:?} is no push/pull"),
    }
}

fn members(count: usize, name: &str, meta: usize) -> Vec<NodeState> {
    let alive = Alive {
        node: name.into(),
        incarnation: Incarnation(1),
        addr: GossipAddr::from_bytes(&[127, 0, 0, 1], 7946).expect("4 bytes"),
        meta: Meta::new(vec![7; meta]),
        versions: Versions::CURRENT,
    };
    vec![NodeState { alive, state: SwimState::Alive }; count]
}

fn left(count: usize, name: &str) -> SerfState {
    SerfState { left: vec![name.into(); count], ..SerfState::default() }
}

fn statuses(count: usize) -> SerfState {
    SerfState { statuses: vec![(SHORT.into(), LamportTime(1)); count], ..SerfState::default() }
}

/// How many fit of which each takes so much.
const fn fit(bytes: usize) -> usize {
    PUSH_PULL_ALLOCATED_MAX / bytes
}

const MEMBER: usize = size_of::<NodeState>();
const NAME: usize = size_of::<Name>();
const STATUS: usize = size_of::<(Name, LamportTime)>();

#[test]
fn members_take_what_they_hold_in_memory_and_no_more_than_the_bound() {
    for encoding in [Encoding::Native, Encoding::Memberlist] {
        for (name, meta, bytes) in [(SHORT, 22, MEMBER), (LONG, 0, MEMBER + 30), (SHORT, 100, MEMBER + 100)] {
            let most = fit(bytes);
            let taken = read(encoding, members(most, name, meta), SerfState::default()).expect("the bound is taken");
            assert_eq!(taken.nodes.len(), most, "{encoding} {name} {meta}");
            let above = read(encoding, members(most + 1, name, meta), SerfState::default());
            assert_eq!(above, Err(WireError::TooCostly), "{encoding} {name} {meta}");
        }
    }
}

#[test]
fn all_lists_of_a_push_pull_share_the_bound() {
    let some = members(fit(2 * MEMBER), SHORT, 0);
    let rest = PUSH_PULL_ALLOCATED_MAX - some.len() * MEMBER;
    let names = |count: usize| (left(count, SHORT), left(count + 1, SHORT));
    let long = |count: usize| (left(count, LONG), left(count + 1, LONG));
    let times = |count: usize| (statuses(count), statuses(count + 1));
    for (most, above) in [names(rest / NAME), long(rest / (NAME + 30)), times(rest / STATUS)] {
        let taken = |encoding, serf: &SerfState| read(encoding, some.clone(), serf.clone());
        for encoding in [Encoding::Native, Encoding::Memberlist] {
            assert_eq!(taken(encoding, &most).expect("the bound is taken").serf, most, "{encoding}");
        }
        assert_eq!(taken(Encoding::Native, &above), Err(WireError::TooCostly));
        // The members count even if the layer above cannot be read.
        let alone = PushPull { join: false, nodes: some.clone(), serf: SerfState::default(), unreadable: 1 };
        assert_eq!(taken(Encoding::Memberlist, &above), Ok(alone));
    }
}

#[test]
fn user_events_of_a_push_pull_are_within_the_bound() {
    let event = |payload: usize| Fired { name: b"e"[..].into(), payload: vec![7; payload].into() };
    let serf = |times: u64, payload: usize| {
        let at = |ltime| EventsAt { ltime: LamportTime(ltime), events: vec![event(payload)] };
        SerfState { event_ltime: LamportTime(times), events: (0..times).map(at).collect(), ..SerfState::default() }
    };
    // As many as an agent remembers, each as long as they are on the average then.
    let all = serf(limits::EVENTS_SEEN_MAX as u64, limits::EVENTS_SEEN_BYTES_MAX / limits::EVENTS_SEEN_MAX);
    let many = serf(100_000, 200);
    for encoding in [Encoding::Native, Encoding::Memberlist] {
        let taken = read(encoding, Vec::new(), all.clone()).expect("all that is remembered is taken");
        assert_eq!(taken.serf.events.len(), limits::EVENTS_SEEN_MAX, "{encoding}");
    }
    assert_eq!(read(Encoding::Native, Vec::new(), many.clone()), Err(WireError::TooCostly));
    let unread = PushPull { join: false, nodes: Vec::new(), serf: SerfState::default(), unreadable: 1 };
    assert_eq!(read(Encoding::Memberlist, Vec::new(), many), Ok(unread));
}
