//! What is read and written by hand is what postcard makes of it.

use alloc::format;
use alloc::vec::Vec;

use crate::coordinate::Coordinate;
use crate::lamport::LamportTime;
use crate::rng::{Purpose, Rng, Seed};
use crate::types::{GossipAddr, Incarnation, Meta, Name, SeqNo, Versions};
use crate::wire::native::entries::{
    NAME_BYTES_MIN, NODE_BYTES_MIN, STATUS_BYTES_MIN, push_node, push_status, take_names, take_nodes,
};
use crate::wire::native::{decode, decode_any, encode};
use crate::wire::{Accused, Ack, Alive, Budget, Message, NodeState, Ping, ReplyTo, SwimState, WireError};

fn node(rng: &mut Rng) -> NodeState {
    let mut below = |count: usize| rng.index(Purpose::ProbeOrder, count);
    let name = format!("n{}", "x".repeat(below(40)));
    let mut number = |most: usize| {
        let bits = below(most);
        below(1 << bits)
    };
    let incarnation = Incarnation(number(32) as u32);
    let port = number(17) as u16;
    let ip: &[u8] = if number(2) == 0 { &[10, 0, 0, 1] } else { &[254; 16] };
    let meta = Meta::new([7].repeat(number(8)));
    let state = [SwimState::Alive, SwimState::Suspect, SwimState::Dead, SwimState::Left][number(3) % 4];
    let addr = GossipAddr::from_bytes(ip, port).expect("4 or 16 bytes");
    let alive = Alive { node: Name::from(name.as_str()), incarnation, addr, meta, versions: Versions::CURRENT };
    NodeState { alive, state }
}

#[test]
fn an_entry_is_what_postcard_makes_of_it() {
    let mut rng = Rng::new(Seed::simulated(1));
    for _ in 0..2_000 {
        let (node, mut bytes) = (node(&mut rng), Vec::new());
        push_node(&node, &mut bytes);
        assert_eq!(bytes, postcard::to_allocvec(&node).expect("it can be written"));
        let status = (node.alive.node.clone(), LamportTime(rng.next_u64(Purpose::ProbeOrder) >> (bytes.len() % 64)));
        let mut bytes = Vec::new();
        push_status(&status, &mut bytes);
        assert_eq!(bytes, postcard::to_allocvec(&status).expect("it can be written"));
    }
}

#[test]
fn any_bytes_are_read_as_postcard_reads_them() {
    let mut rng = Rng::new(Seed::simulated(2));
    let (mut whole, mut broken) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = postcard::to_allocvec(&node(&mut rng)).expect("it can be written");
        let place = rng.index(Purpose::ProbeOrder, bytes.len());
        bytes[place] ^= 1 << rng.index(Purpose::ProbeOrder, 8);
        bytes.truncate(bytes.len() - rng.index(Purpose::ProbeOrder, 3));
        let mut rest = &bytes[..];
        let ours = take_nodes(&mut rest, 1, &mut Budget::push_pull());
        match postcard::take_from_bytes::<NodeState>(&bytes) {
            Ok((node, _)) if node.alive.node.as_bytes().is_empty() => assert_eq!(ours, Err(WireError::OutOfRange)),
            Ok((node, behind)) => {
                whole += 1;
                assert_eq!((ours, rest), (Ok([node].into()), behind));
            }
            Err(error) => {
                broken += 1;
                let truncated = error == postcard::Error::DeserializeUnexpectedEnd;
                let want = if truncated { WireError::Truncated } else { WireError::Malformed };
                assert_eq!(ours, Err(want), "{bytes:02x?}");
            }
        }
    }
    assert!(whole > 1_000 && broken > 1_000, "{whole} can be read, {broken} cannot");
}

#[test]
fn the_shortest_entries_are_not_shorter_than_what_room_is_made_for() {
    let mut bytes = Vec::new();
    let addr = GossipAddr::from_bytes(&[0; 4], 0).expect("4 bytes");
    let alive = Alive {
        node: Name::from("a"),
        incarnation: Incarnation(0),
        addr,
        meta: Meta::default(),
        versions: Versions::default(),
    };
    push_node(&NodeState { alive, state: SwimState::Alive }, &mut bytes);
    assert_eq!(bytes.len(), NODE_BYTES_MIN);
    bytes.clear();
    push_status(&(Name::from("a"), LamportTime(0)), &mut bytes);
    assert_eq!(bytes.len(), STATUS_BYTES_MIN);
    bytes = postcard::to_allocvec(&Name::from("a")).expect("it can be written");
    assert_eq!(bytes.len(), NAME_BYTES_MIN);
    assert_eq!(take_names(&mut &*bytes, 1, &mut Budget::push_pull()), Ok([Name::from("a")].into()));
}

#[test]
fn messages_that_are_read_by_hand_are_what_serde_reads() {
    let mut rng = Rng::new(Seed::simulated(3));
    let (mut whole, mut broken) = (0, 0);
    for round in 0..40_000 {
        let alive = node(&mut rng).alive;
        let (name, from, addr) = (alive.node.clone(), node(&mut rng).alive.node, alive.addr);
        let (seq, incarnation) = (SeqNo(alive.incarnation.0), alive.incarnation);
        let numbers = [(); 11].map(|()| f32::from_bits(rng.next_u64(Purpose::ProbeOrder) as u32 & 0x7f7f_ffff));
        let coordinate = (round % 2 == 0).then(|| Coordinate::from_f32s(&numbers));
        let source = (round % 3 == 0).then(|| ReplyTo { addr, node: from.clone() });
        let accused = Accused { node: name.clone(), incarnation, from };
        let message = match round % 6 {
            0 => Message::Ping(Ping { seq, node: name, source }),
            1 => Message::Ack(Ack { seq, coordinate }),
            2 => Message::Suspect(accused),
            3 => Message::Alive(alive),
            4 => Message::Dead(accused),
            _ => Message::Nack(seq),
        };
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        assert_eq!(decode(&bytes), Ok(message));
        let place = rng.index(Purpose::ProbeOrder, bytes.len());
        bytes[place] ^= 1 << rng.index(Purpose::ProbeOrder, 8);
        bytes.truncate(bytes.len() - rng.index(Purpose::ProbeOrder, 3));
        let read = decode(&bytes);
        assert_eq!(
            format!("{read:?}"),
            format!("{:?}", decode_any(&bytes, &mut Budget::datagram(bytes.len()))),
            "{bytes:02x?}"
        );
        *(if read.is_ok() { &mut whole } else { &mut broken }) += 1;
    }
    assert!(whole > 4_000 && broken > 4_000, "{whole} can be read, {broken} cannot");
}
