//! The messages of the membership layer (gossip-wire.md 4). Fields are written in the order of their names and read in
//! any order; a structure may also come as a list in the order in which upstream declares its fields.

use alloc::vec::Vec;

use super::fields::{self, Raw};
use super::kind;
use crate::coordinate::{AXES, Coordinate};
use crate::msgpack::{Dialect, ReadError, Reader, Writer};
use crate::types::{Incarnation, SeqNo};
use crate::wire::{Accused, Ack, Alive, IndirectPing, Message, Ping, ReplyTo, WireError};

/// First byte of the payload of an ack: the version of what follows (gossip-wire.md 7).
const PING_VERSION: u8 = 1;

pub(super) fn write(message: &Message, writer: &mut Writer) {
    match message {
        Message::Ping(ping) => write_ping(ping, writer),
        Message::IndirectPing(ask) => write_indirect_ping(ask, writer),
        Message::Ack(Ack { seq, coordinate }) => write_ack(*seq, coordinate.as_ref(), writer),
        Message::Nack(seq) => _ = writer.raw_byte(kind::NACK).map(1).text("SeqNo").uint(u64::from(seq.0)),
        Message::Suspect(accused) => write_accused(kind::SUSPECT, accused, writer),
        Message::Dead(accused) => write_accused(kind::DEAD, accused, writer),
        Message::Alive(alive) => write_alive(alive, writer),
        Message::Serf(_) => debug_assert!(false, "a message of the layer above is written there"),
    }
}

pub(super) fn read(kind: u8, reader: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(match kind {
        kind::PING => Message::Ping(read_ping(reader)?),
        kind::INDIRECT_PING => Message::IndirectPing(read_indirect_ping(reader)?),
        kind::ACK => Message::Ack(read_ack(reader)?),
        kind::NACK => Message::Nack(read_nack(reader)?),
        kind::SUSPECT => Message::Suspect(read_accused(reader)?),
        kind::DEAD => Message::Dead(read_accused(reader)?),
        kind::ALIVE => Message::Alive(read_alive(reader)?),
        _ if kind <= kind::ERROR => return Err(WireError::Unexpected),
        _ => return Err(WireError::Magic(kind)),
    })
}

/// Where to answer is left out where it is empty.
pub(super) fn write_ping(Ping { seq, node, source }: &Ping, writer: &mut Writer) {
    writer.raw_byte(kind::PING).map(2_usize.saturating_add(source_fields(source.as_ref())));
    writer.text("Node").text(node.as_bytes()).text("SeqNo").uint(u64::from(seq.0));
    write_source(source.as_ref(), writer);
}

fn write_indirect_ping(IndirectPing { seq, node, target, nack, source }: &IndirectPing, writer: &mut Writer) {
    writer.raw_byte(kind::INDIRECT_PING).map(5_usize.saturating_add(source_fields(source.as_ref())));
    writer.text("Nack").boolean(*nack).text("Node").text(node.as_bytes());
    writer.text("Port").uint(u64::from(target.port())).text("SeqNo").uint(u64::from(seq.0));
    write_source(source.as_ref(), writer);
    writer.text("Target").blob(target.ip_bytes());
}

fn source_fields(source: Option<&ReplyTo>) -> usize {
    source.map_or(0, |source| 2_usize.saturating_add(usize::from(!source.node.as_bytes().is_empty())))
}

fn write_source(source: Option<&ReplyTo>, writer: &mut Writer) {
    let Some(ReplyTo { addr, node }) = source else { return };
    writer.text("SourceAddr").blob(addr.ip_bytes());
    if !node.as_bytes().is_empty() {
        writer.text("SourceNode").text(node.as_bytes());
    }
    writer.text("SourcePort").uint(u64::from(addr.port()));
}

/// An ack; on a stream and on behalf of others it has no coordinate.
pub(super) fn write_ack(seq: SeqNo, coordinate: Option<&Coordinate>, writer: &mut Writer) {
    let payload = coordinate.map(write_coordinate);
    writer.raw_byte(kind::ACK).map(2).text("Payload").optional_blob(payload.as_deref());
    writer.text("SeqNo").uint(u64::from(seq.0));
}

fn write_coordinate(coordinate: &Coordinate) -> Vec<u8> {
    let mut writer = Writer::append_to(Dialect::Gossip, [PING_VERSION].into());
    writer.map(4).text("Adjustment").float(coordinate.adjustment).text("Error").float(coordinate.error);
    writer.text("Height").float(coordinate.height).text("Vec").array(AXES);
    for &axis in &coordinate.vec {
        writer.float(axis);
    }
    writer.finish()
}

fn write_accused(kind: u8, Accused { node, incarnation, from }: &Accused, writer: &mut Writer) {
    writer.raw_byte(kind).map(3).text("From").text(from.as_bytes());
    writer.text("Incarnation").uint(u64::from(incarnation.0)).text("Node").text(node.as_bytes());
}

fn write_alive(Alive { node, incarnation, addr, meta, versions }: &Alive, writer: &mut Writer) {
    writer.raw_byte(kind::ALIVE).map(6).text("Addr").blob(addr.ip_bytes());
    writer.text("Incarnation").uint(u64::from(incarnation.0)).text("Meta").blob(meta.as_bytes());
    writer.text("Node").text(node.as_bytes()).text("Port").uint(u64::from(addr.port()));
    writer.text("Vsn").blob(&versions.0);
}

/// Where to answer, as it is put together from its fields.
#[derive(Default)]
struct SourceFields<'a> {
    ip: Raw<'a>,
    port: u16,
    node: Raw<'a>,
}

impl<'a> SourceFields<'a> {
    fn visit(&mut self, field: &str, reader: &mut Reader<'a>) -> Result<(), ReadError> {
        match field {
            "SourceAddr" => self.ip = reader.raw()?,
            "SourcePort" => self.port = fields::u16(reader)?,
            "SourceNode" => self.node = reader.raw()?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// Both address and port must be there (gossip-wire.md 4.1).
    fn finish(self) -> Result<Option<ReplyTo>, WireError> {
        if self.ip.is_empty() || self.port == 0 {
            return Ok(None);
        }
        let addr = fields::addr(&self.ip, self.port)?;
        Ok(Some(ReplyTo { addr, node: fields::addressee(&self.node)? }))
    }
}

pub(super) fn read_ping(reader: &mut Reader<'_>) -> Result<Ping, WireError> {
    let (mut seq, mut node, mut source) = (0, Raw::default(), SourceFields::default());
    reader.structure(&["SeqNo", "Node", "SourceAddr", "SourcePort", "SourceNode"], |reader, field| {
        match field {
            "SeqNo" => seq = fields::u32(reader)?,
            "Node" => node = reader.raw()?,
            _ => source.visit(field, reader)?,
        }
        Ok(())
    })?;
    Ok(Ping { seq: SeqNo(seq), node: fields::addressee(&node)?, source: source.finish()? })
}

fn read_indirect_ping(reader: &mut Reader<'_>) -> Result<IndirectPing, WireError> {
    let (mut seq, mut target, mut port, mut node) = (0, Raw::default(), 0, Raw::default());
    let (mut nack, mut source) = (false, SourceFields::default());
    let order = ["SeqNo", "Target", "Port", "Node", "Nack", "SourceAddr", "SourcePort", "SourceNode"];
    reader.structure(&order, |reader, field| {
        match field {
            "SeqNo" => seq = fields::u32(reader)?,
            "Target" => target = reader.raw()?,
            "Port" => port = fields::u16(reader)?,
            "Node" => node = reader.raw()?,
            "Nack" => nack = reader.boolean()?,
            _ => source.visit(field, reader)?,
        }
        Ok(())
    })?;
    let target = fields::addr(&target, port)?;
    Ok(IndirectPing { seq: SeqNo(seq), node: fields::addressee(&node)?, target, nack, source: source.finish()? })
}

/// An ack counts whatever stands in its payload.
pub(super) fn read_ack(reader: &mut Reader<'_>) -> Result<Ack, WireError> {
    let (mut seq, mut payload) = (0, Raw::default());
    reader.structure(&["SeqNo", "Payload"], |reader, field| {
        match field {
            "SeqNo" => seq = fields::u32(reader)?,
            _ => payload = reader.raw()?,
        }
        Ok(())
    })?;
    let coordinate = match payload.split_first() {
        Some((&PING_VERSION, behind)) => read_coordinate(&mut super::reader(behind)).ok().flatten(),
        Some(_) | None => None,
    };
    Ok(Ack { seq: SeqNo(seq), coordinate })
}

/// A coordinate; `None` if it has another number of axes.
fn read_coordinate(reader: &mut Reader<'_>) -> Result<Option<Coordinate>, ReadError> {
    let mut coordinate = Coordinate { vec: [0.0; AXES], error: 0.0, adjustment: 0.0, height: 0.0 };
    let mut axes = 0;
    reader.structure(&["Vec", "Error", "Adjustment", "Height"], |reader, field| {
        match field {
            "Vec" => {
                axes = reader.array()?;
                for index in 0..axes {
                    let axis = fields::float(reader)?;
                    if let Some(place) = coordinate.vec.get_mut(index) {
                        *place = axis;
                    }
                }
            }
            "Error" => coordinate.error = fields::float(reader)?,
            "Adjustment" => coordinate.adjustment = fields::float(reader)?,
            _ => coordinate.height = fields::float(reader)?,
        }
        Ok(())
    })?;
    Ok((axes == AXES).then_some(coordinate))
}

fn read_nack(reader: &mut Reader<'_>) -> Result<SeqNo, WireError> {
    let mut seq = 0;
    reader.structure(&["SeqNo"], |reader, _| {
        seq = fields::u32(reader)?;
        Ok(())
    })?;
    Ok(SeqNo(seq))
}

fn read_accused(reader: &mut Reader<'_>) -> Result<Accused, WireError> {
    let (mut incarnation, mut node, mut from) = (0, Raw::default(), Raw::default());
    reader.structure(&["Incarnation", "Node", "From"], |reader, field| {
        match field {
            "Incarnation" => incarnation = fields::u32(reader)?,
            "Node" => node = reader.raw()?,
            _ => from = reader.raw()?,
        }
        Ok(())
    })?;
    let (node, from) = (fields::member(&node)?, fields::member(&from)?);
    Ok(Accused { node, incarnation: Incarnation(incarnation), from })
}

fn read_alive(reader: &mut Reader<'_>) -> Result<Alive, WireError> {
    let mut parts = AliveFields::default();
    reader.structure(&["Incarnation", "Node", "Addr", "Port", "Meta", "Vsn"], |reader, field| {
        match field {
            "Node" => parts.node = reader.raw()?,
            _ => parts.visit(field, reader)?,
        }
        Ok(())
    })?;
    parts.finish()
}

/// What an alive message and the entry of a push/pull have in common.
#[derive(Default)]
pub(super) struct AliveFields<'a> {
    pub(super) node: Raw<'a>,
    incarnation: u32,
    ip: Raw<'a>,
    port: u16,
    meta: Raw<'a>,
    pub(super) versions: Raw<'a>,
}

impl<'a> AliveFields<'a> {
    pub(super) fn visit(&mut self, field: &str, reader: &mut Reader<'a>) -> Result<(), ReadError> {
        match field {
            "Incarnation" => self.incarnation = fields::u32(reader)?,
            "Addr" => self.ip = reader.raw()?,
            "Port" => self.port = fields::u16(reader)?,
            "Meta" => self.meta = reader.raw()?,
            "Vsn" => self.versions = reader.raw()?,
            _ => reader.skip()?,
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Alive, WireError> {
        Ok(Alive {
            node: fields::member(&self.node)?,
            incarnation: Incarnation(self.incarnation),
            addr: fields::addr(&self.ip, self.port)?,
            meta: fields::meta(&self.meta)?,
            versions: fields::versions(&self.versions)?,
        })
    }
}
