//! What the heaviest streams hold while they are read: many small things cost more than their bytes.

use villein_core::keyring::Keyring;
use villein_core::lamport::LamportTime;
use villein_core::limits;
use villein_core::types::{GossipAddr, Incarnation, Meta, Name, Versions};
use villein_core::wire::memberlist::Progress;
use villein_core::wire::{
    Alive, Encoding, Envelope, EventsAt, Fired, NodeState, Pieces, PushPull, SerfState, StreamMessage, SwimState,
    open_stream, seal_stream,
};

const PLAIN: Keyring = Keyring::empty();
const ENVELOPE: Envelope<'_> = Envelope { keyring: &PLAIN, label: b"" };

fn name(number: usize) -> Name {
    Name::from(format!("{number:x}").as_str())
}

/// Bytes that are held at one time while a stream is read that brings this.
fn peak(encoding: Encoding, state: PushPull) -> u64 {
    let bytes = seal_stream(encoding, &StreamMessage::PushPull(state), ENVELOPE, [0; 12], true, true);
    assert!(bytes.len() <= limits::STREAM_BYTES_MAX, "{} bytes are no stream", bytes.len());
    let mut result = None;
    let used = allocation_counter::measure(|| {
        let mut received = Pieces::default();
        received.push(&bytes);
        result = Some(open_stream(&mut received, ENVELOPE, true, &mut Progress::default()));
    });
    assert!(matches!(result, Some(Ok(Some(_)))), "{result:?}");
    used.bytes_max
}

/// A push/pull of as many members with short names as may be read, and of so much that nobody asked for.
fn members(events: usize) -> PushPull {
    let node = |number: usize| NodeState {
        alive: Alive {
            node: name(number),
            addr: GossipAddr::from_bytes(&[127, 0, 0, 1], 7946).expect("4 bytes"),
            incarnation: Incarnation(1),
            meta: Meta::default(),
            versions: Versions::CURRENT,
        },
        state: SwimState::Alive,
    };
    let count = limits::PUSH_PULL_ALLOCATED_MAX / size_of::<NodeState>();
    // Longer than an event may be, and so passed over by memberlist's encoding.
    let event = Fired { name: [][..].into(), payload: vec![7; limits::USER_EVENT_BYTES_MAX + 1].into() };
    let at = |ltime: usize| EventsAt { ltime: LamportTime(ltime as u64), events: vec![event.clone()] };
    let serf = SerfState { events: (0..events).map(at).collect(), ..SerfState::default() };
    PushPull { join: true, nodes: (0..count).map(node).collect(), serf, unreadable: 0 }
}

#[test]
fn the_heaviest_streams_take_twice_what_may_come() {
    let most = |bytes: usize| (2 * bytes + limits::STREAM_PIECE_BYTES) as u64;
    let native = peak(Encoding::Native, members(0));
    assert!(native <= most(limits::STREAM_BYTES_MAX), "{native} bytes");
    let left = (0..limits::PUSH_PULL_ALLOCATED_MAX / size_of::<Name>()).map(name).collect();
    let serf = SerfState { left, ..SerfState::default() };
    let names = peak(Encoding::Native, PushPull { join: true, nodes: Vec::new(), serf, unreadable: 0 });
    assert!(names <= most(limits::STREAM_BYTES_MAX), "{names} bytes");
    // What a stream may expand to, nearly.
    let expanded = peak(Encoding::Memberlist, members(2_200));
    assert!(expanded <= most(limits::STREAM_EXPANDED_MAX), "{expanded} bytes");
    println!("{native}, {names}, {expanded}");
}
