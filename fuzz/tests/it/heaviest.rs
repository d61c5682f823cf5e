//! What the heaviest streams hold while they are read: many small things cost more than their bytes.

use villein_core::keyring::Keyring;
use villein_core::limits;
use villein_core::types::{GossipAddr, Incarnation, Meta, Name, Versions};
use villein_core::wire::memberlist::Progress;
use villein_core::wire::{
    Alive, Encoding, Envelope, NodeState, Pieces, PushPull, SerfState, StreamMessage, SwimState, open_stream,
    seal_stream,
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

/// A push/pull of so many members with short names.
fn members(count: usize) -> PushPull {
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
    PushPull { join: true, nodes: (0..count).map(node).collect(), serf: SerfState::default(), unreadable: 0 }
}

#[test]
fn the_heaviest_streams_take_a_few_times_their_bytes() {
    // As many as fit into a stream, and into what one may expand to.
    let native = peak(Encoding::Native, members(900_000));
    let expanded = peak(Encoding::Memberlist, members(300_000));
    let left = (0..limits::PUSH_PULL_NODES_MAX).map(name).collect();
    let serf = SerfState { left, ..SerfState::default() };
    let names = peak(Encoding::Native, PushPull { join: true, nodes: Vec::new(), serf, unreadable: 0 });
    let most = 6 * limits::STREAM_BYTES_MAX as u64;
    assert!(
        native.max(expanded).max(names) <= most,
        "{native}, {expanded} and {names} bytes, at most {most} are meant"
    );
}
