//! Headers and bodies as bytes. Struct fields are written sorted by name (rpc.md 2).

use alloc::vec::Vec;

use super::{
    Body, Coordinate, KeyOperation, KeyReport, Member, Pairs, Query, QueryRecord, REQUEST_BYTES_MAX, Request, Rings,
    Stats, StreamEvent,
};
use crate::msgpack::{Dialect, Limits, ReadError, Reader, Writer};

/// What a server reads: no more than a request may have.
pub(super) const LIMITS: Limits = Limits { length: REQUEST_BYTES_MAX, depth: 8 };

/// A request's header. A field that is missing keeps the value of the header before (rpc.md 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) command: Vec<u8>,
    pub(super) seq: u64,
}

impl Header {
    /// Reads a header over this one.
    pub(super) fn update(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        if reader.nil()? {
            *self = Self::default();
            return Ok(());
        }
        reader.structure(&["Command", "Seq"], |reader, field| {
            match field {
                "Command" => self.command = reader.text()?.to_vec(),
                _ => self.seq = reader.uint()?,
            }
            Ok(())
        })
    }
}

/// A command's name as this server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandName {
    Handshake,
    Auth,
    Event,
    ForceLeave,
    Join,
    Members,
    MembersFiltered,
    Tags,
    Stream,
    Monitor,
    Stop,
    Leave,
    Query,
    Respond,
    Key(KeyOperation),
    Stats,
    GetCoordinate,
}

impl CommandName {
    /// Names are exact and lower case.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"handshake" => Self::Handshake,
            b"auth" => Self::Auth,
            b"event" => Self::Event,
            b"force-leave" => Self::ForceLeave,
            b"join" => Self::Join,
            b"members" => Self::Members,
            b"members-filtered" => Self::MembersFiltered,
            b"tags" => Self::Tags,
            b"stream" => Self::Stream,
            b"monitor" => Self::Monitor,
            b"stop" => Self::Stop,
            b"leave" => Self::Leave,
            b"query" => Self::Query,
            b"respond" => Self::Respond,
            b"install-key" => Self::Key(KeyOperation::Install),
            b"use-key" => Self::Key(KeyOperation::Use),
            b"remove-key" => Self::Key(KeyOperation::Remove),
            b"list-keys" => Self::Key(KeyOperation::List),
            b"key-status" => Self::Key(KeyOperation::Status),
            b"stats" => Self::Stats,
            b"get-coordinate" => Self::GetCoordinate,
            _ => return None,
        })
    }

    /// Whether a body follows the header of a request.
    pub(super) const fn has_body(self) -> bool {
        !(matches!(self, Self::Members | Self::Leave | Self::Stats)
            || matches!(self, Self::Key(operation) if operation.is_question()))
    }

    /// Reads the body that belongs to the command; a nil body is all zero.
    pub(super) fn read_body(self, reader: &mut Reader<'_>) -> Result<Request, ReadError> {
        match self {
            Self::Members => Ok(Request::Members),
            Self::Leave => Ok(Request::Leave),
            Self::Stats => Ok(Request::Stats),
            Self::Key(operation) if operation.is_question() => Ok(Request::Key { operation, key: Vec::new() }),
            Self::Key(operation) => Ok(Request::Key { operation, key: read_one(reader, "Key")? }),
            Self::Auth => Ok(Request::Auth { key: read_one(reader, "AuthKey")? }),
            Self::Stream => Ok(Request::Stream { kind: read_one(reader, "Type")? }),
            Self::Monitor => Ok(Request::Monitor { level: read_one(reader, "LogLevel")? }),
            Self::GetCoordinate => Ok(Request::GetCoordinate { node: read_one(reader, "Node")? }),
            Self::Handshake => {
                let mut version = 0;
                reader.structure(&["Version"], |reader, _| {
                    let wide = reader.int()?;
                    version = i32::try_from(wide).map_err(|_| ReadError::Invalid("a version of 32 bits is wanted"))?;
                    Ok(())
                })?;
                Ok(Request::Handshake { version })
            }
            Self::Stop => {
                let mut seq = 0;
                reader.structure(&["Stop"], |reader, _| reader.uint().map(|stop| seq = stop))?;
                Ok(Request::Stop { seq })
            }
            Self::Event => read_event(reader),
            Self::ForceLeave => read_force_leave(reader),
            Self::Join => read_join(reader),
            Self::MembersFiltered => read_members_filtered(reader),
            Self::Tags => read_tags(reader),
            Self::Query => read_query(reader),
            Self::Respond => read_respond(reader),
        }
    }
}

fn read_one(reader: &mut Reader<'_>, field: &str) -> Result<Vec<u8>, ReadError> {
    let mut text = Vec::new();
    reader.structure(&[field], |reader, _| reader.text().map(|value| text = value.to_vec()))?;
    Ok(text)
}

fn read_event(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    let (mut name, mut payload, mut coalesce) = (Vec::new(), None, false);
    reader.structure(&["Name", "Payload", "Coalesce"], |reader, field| {
        match field {
            "Name" => name = reader.text()?.to_vec(),
            "Payload" => payload = reader.blob()?,
            _ => coalesce = reader.boolean()?,
        }
        Ok(())
    })?;
    Ok(Request::Event { name, payload, coalesce })
}

fn read_force_leave(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    let (mut node, mut prune) = (Vec::new(), false);
    reader.structure(&["Node", "Prune"], |reader, field| {
        match field {
            "Node" => node = reader.text()?.to_vec(),
            _ => prune = reader.boolean()?,
        }
        Ok(())
    })?;
    Ok(Request::ForceLeave { node, prune })
}

fn read_join(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    let (mut existing, mut replay) = (Vec::new(), false);
    reader.structure(&["Existing", "Replay"], |reader, field| {
        match field {
            "Existing" => existing = read_texts(reader)?,
            _ => replay = reader.boolean()?,
        }
        Ok(())
    })?;
    Ok(Request::Join { existing, replay })
}

fn read_members_filtered(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    let (mut tags, mut status, mut name, mut encodings) = (Vec::new(), Vec::new(), Vec::new(), false);
    reader.structure(&["Tags", "Status", "Name", "Encodings"], |reader, field| {
        match field {
            "Tags" => tags = read_pairs(reader)?,
            "Status" => status = reader.text()?.to_vec(),
            "Name" => name = reader.text()?.to_vec(),
            _ => encodings = reader.boolean()?,
        }
        Ok(())
    })?;
    Ok(Request::MembersFiltered { tags, status, name, encodings })
}

fn read_tags(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    let (mut tags, mut delete) = (Vec::new(), Vec::new());
    reader.structure(&["Tags", "DeleteTags"], |reader, field| {
        match field {
            "Tags" => tags = read_pairs(reader)?,
            _ => delete = read_texts(reader)?,
        }
        Ok(())
    })?;
    Ok(Request::Tags { tags, delete })
}

fn read_query(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    let mut query = Query::default();
    let fields = ["FilterNodes", "FilterTags", "RequestAck", "RelayFactor", "Timeout", "Name", "Payload"];
    reader.structure(&fields, |reader, field| {
        match field {
            "FilterNodes" => query.filter_nodes = read_texts(reader)?,
            "FilterTags" => query.filter_tags = read_pairs(reader)?,
            "RequestAck" => query.request_ack = reader.boolean()?,
            "RelayFactor" => {
                let wide = reader.uint()?;
                query.relay_factor =
                    u8::try_from(wide).map_err(|_| ReadError::Invalid("a relay factor of 8 bits is wanted"))?;
            }
            "Timeout" => query.timeout = reader.int()?,
            "Name" => query.name = reader.text()?.to_vec(),
            _ => query.payload = reader.blob()?,
        }
        Ok(())
    })?;
    Ok(Request::Query(query))
}

fn read_respond(reader: &mut Reader<'_>) -> Result<Request, ReadError> {
    let (mut id, mut payload) = (0, None);
    reader.structure(&["ID", "Payload"], |reader, field| {
        match field {
            "ID" => id = reader.uint()?,
            _ => payload = reader.blob()?,
        }
        Ok(())
    })?;
    Ok(Request::Respond { id, payload })
}

fn read_texts(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut texts = Vec::new();
    for _ in 0..reader.array()? {
        texts.push(reader.text()?.to_vec());
    }
    Ok(texts)
}

fn read_pairs(reader: &mut Reader<'_>) -> Result<Pairs, ReadError> {
    let mut pairs = Vec::new();
    for _ in 0..reader.map()? {
        let key = reader.text()?.to_vec();
        pairs.push((key, reader.text()?.to_vec()));
    }
    Ok(pairs)
}

/// A request as a client writes it.
pub(super) fn write_request(seq: u64, request: &Request) -> Vec<u8> {
    let mut w = Writer::new(Dialect::Rpc);
    w.map(2).text("Command").text(request.command()).text("Seq").uint(seq);
    match request {
        Request::Members | Request::Leave | Request::Stats => &mut w,
        Request::Key { operation, .. } if operation.is_question() => &mut w,
        Request::Handshake { version } => w.map(1).text("Version").int(i64::from(*version)),
        Request::Auth { key } => w.map(1).text("AuthKey").text(key),
        Request::Event { name, payload, coalesce } => {
            w.map(3).text("Coalesce").boolean(*coalesce).text("Name").text(name);
            w.text("Payload").optional_blob(payload.as_deref())
        }
        Request::ForceLeave { node, prune } => w.map(2).text("Node").text(node).text("Prune").boolean(*prune),
        Request::Join { existing, replay } => {
            write_texts(w.map(2).text("Existing"), existing).text("Replay").boolean(*replay)
        }
        Request::MembersFiltered { tags, status, name, encodings } => {
            if *encodings {
                w.map(4).text("Encodings").boolean(true);
            } else {
                w.map(3);
            }
            w.text("Name").text(name).text("Status").text(status);
            write_pairs(w.text("Tags"), tags)
        }
        Request::Tags { tags, delete } => {
            write_texts(w.map(2).text("DeleteTags"), delete);
            write_pairs(w.text("Tags"), tags)
        }
        Request::Stream { kind } => w.map(1).text("Type").text(kind),
        Request::Monitor { level } => w.map(1).text("LogLevel").text(level),
        Request::Stop { seq } => w.map(1).text("Stop").uint(*seq),
        Request::Query(query) => write_query(&mut w, query),
        Request::Respond { id, payload } => {
            w.map(2).text("ID").uint(*id).text("Payload").optional_blob(payload.as_deref())
        }
        Request::Key { key, .. } => w.map(1).text("Key").text(key),
        Request::GetCoordinate { node } => w.map(1).text("Node").text(node),
    };
    w.finish()
}

fn write_query<'w>(w: &'w mut Writer, query: &Query) -> &'w mut Writer {
    write_texts(w.map(7).text("FilterNodes"), &query.filter_nodes);
    w.text("FilterTags");
    if query.filter_tags.is_empty() {
        w.nil();
    } else {
        write_pairs(w, &query.filter_tags);
    }
    w.text("Name").text(&query.name).text("Payload").optional_blob(query.payload.as_deref());
    w.text("RelayFactor").uint(u64::from(query.relay_factor));
    w.text("RequestAck").boolean(query.request_ack).text("Timeout").int(query.timeout)
}

/// An empty list is nil, as upstream's command line leaves it.
fn write_texts<'w>(w: &'w mut Writer, texts: &[Vec<u8>]) -> &'w mut Writer {
    if texts.is_empty() {
        return w.nil();
    }
    w.array(texts.len());
    for text in texts {
        w.text(text);
    }
    w
}

fn write_pairs<'w>(w: &'w mut Writer, pairs: &[(Vec<u8>, Vec<u8>)]) -> &'w mut Writer {
    w.map(pairs.len());
    for (key, value) in pairs {
        w.text(key).text(value);
    }
    w
}

/// A reply: header and body in one buffer.
pub(super) fn write_reply(seq: u64, error: &[u8], body: &Body) -> Vec<u8> {
    let mut w = header(seq, error);
    match body {
        Body::None => &mut w,
        Body::Joined(contacted) => w.map(1).text("Num").int(*contacted),
        Body::Members(members) => write_members(w.map(1), members),
        Body::Stats(stats) => write_stats(&mut w, stats),
        Body::Keys(report) => write_keys(&mut w, report),
        Body::Coordinate(coordinate) => write_coordinate(&mut w, coordinate.as_ref()),
    };
    w.finish()
}

/// A reply's header; both fields are always there (rpc.md 3).
fn header(seq: u64, error: &[u8]) -> Writer {
    let mut w = Writer::new(Dialect::Rpc);
    w.map(2).text("Error").text(error).text("Seq").uint(seq);
    w
}

fn write_members<'w>(w: &'w mut Writer, members: &[Member]) -> &'w mut Writer {
    w.text("Members").array(members.len());
    for member in members {
        let ([pmin, pmax, pcur], [dmin, dmax, dcur]) = (member.protocol, member.delegate);
        w.map(11_usize.saturating_add(usize::from(member.encoding.is_some()))).text("Addr").blob(&member.addr);
        for (key, value) in [("DelegateCur", dcur), ("DelegateMax", dmax), ("DelegateMin", dmin)] {
            w.text(key).uint(u64::from(value));
        }
        if let Some(encoding) = &member.encoding {
            w.text("Encoding").text(encoding);
        }
        w.text("Name").text(&member.name).text("Port").uint(u64::from(member.port));
        for (key, value) in [("ProtocolCur", pcur), ("ProtocolMax", pmax), ("ProtocolMin", pmin)] {
            w.text(key).uint(u64::from(value));
        }
        write_pairs(w.text("Status").text(&member.status).text("Tags"), &member.tags);
    }
    w
}

fn write_stats<'w>(w: &'w mut Writer, stats: &Stats) -> &'w mut Writer {
    w.map(stats.len());
    for (section, entries) in stats {
        write_pairs(w.text(section), entries);
    }
    w
}

fn write_keys<'w>(w: &'w mut Writer, report: &KeyReport) -> &'w mut Writer {
    w.map(if report.rings.is_some() { 6 } else { 5 }).text("Keys");
    match &report.keys {
        None => _ = w.nil(),
        Some(keys) => {
            w.map(keys.len());
            for (key, count) in keys {
                w.text(key).uint(*count);
            }
        }
    }
    write_pairs(w.text("Messages"), &report.messages);
    w.text("NumErr").uint(report.errors).text("NumNodes").uint(report.nodes).text("NumResp").uint(report.responses);
    if let Some(rings) = &report.rings {
        w.text("Rings").map(rings.len());
        for (node, keys) in rings {
            w.text(node);
            match keys {
                None => _ = w.nil(),
                Some(keys) => _ = keys.iter().fold(w.array(keys.len()), |w, key| w.text(key)),
            }
        }
    }
    w
}

fn write_coordinate<'w>(w: &'w mut Writer, coordinate: Option<&Coordinate>) -> &'w mut Writer {
    let zero = Coordinate::default();
    let shown = coordinate.unwrap_or(&zero);
    w.map(2).text("Coord").map(4).text("Adjustment").float(shown.adjustment);
    w.text("Error").float(shown.error).text("Height").float(shown.height).text("Vec");
    match coordinate {
        None => _ = w.nil(),
        Some(coordinate) => {
            w.array(coordinate.vec.len());
            for part in &coordinate.vec {
                w.float(*part);
            }
        }
    }
    w.text("Ok").boolean(coordinate.is_some())
}

/// A record of a stream. `id` is the number of a query on this connection.
pub(super) fn write_event(seq: u64, event: &StreamEvent, id: u64) -> Vec<u8> {
    let mut w = header(seq, &[]);
    match event {
        StreamEvent::Members { kind, members } => write_members(w.map(2).text("Event").text(kind), members),
        StreamEvent::User { ltime, name, payload, coalesce } => {
            w.map(5).text("Coalesce").boolean(*coalesce).text("Event").text("user").text("LTime").uint(*ltime);
            w.text("Name").text(name).text("Payload").optional_blob(payload.as_deref())
        }
        StreamEvent::Query { ltime, name, payload } => {
            w.map(5).text("Event").text("query").text("ID").uint(id).text("LTime").uint(*ltime);
            w.text("Name").text(name).text("Payload").optional_blob(payload.as_deref())
        }
    };
    w.finish()
}

/// A record of a monitor.
pub(super) fn write_log(seq: u64, line: &[u8]) -> Vec<u8> {
    let mut w = header(seq, &[]);
    w.map(1).text("Log").text(line);
    w.finish()
}

/// A record of a query.
pub(super) fn write_query_record(seq: u64, record: &QueryRecord) -> Vec<u8> {
    let (from, payload, kind): (&[u8], Option<&[u8]>, &str) = match record {
        QueryRecord::Ack { from } => (from, None, "ack"),
        QueryRecord::Response { from, payload } => (from, payload.as_deref(), "response"),
        QueryRecord::Done => (&[], None, "done"),
    };
    let mut w = header(seq, &[]);
    w.map(3).text("From").text(from).text("Payload").optional_blob(payload).text("Type").text(kind);
    w.finish()
}

/// Which body follows the header of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// None.
    None,
    /// How many were contacted.
    Joined,
    /// Members.
    Members,
    /// Numbers.
    Stats,
    /// A key report.
    Keys,
    /// A coordinate.
    Coordinate,
}

impl BodyKind {
    /// The body that the reply to `request` has.
    pub const fn of(request: &Request) -> Self {
        match request {
            Request::Join { .. } => Self::Joined,
            Request::Members | Request::MembersFiltered { .. } => Self::Members,
            Request::Stats => Self::Stats,
            Request::Key { .. } => Self::Keys,
            Request::GetCoordinate { .. } => Self::Coordinate,
            Request::Handshake { .. }
            | Request::Auth { .. }
            | Request::Event { .. }
            | Request::ForceLeave { .. }
            | Request::Tags { .. }
            | Request::Stream { .. }
            | Request::Monitor { .. }
            | Request::Stop { .. }
            | Request::Leave
            | Request::Query(_)
            | Request::Respond { .. } => Self::None,
        }
    }

    /// Reads the body.
    pub(super) fn read(self, reader: &mut Reader<'_>) -> Result<Body, ReadError> {
        Ok(match self {
            Self::None => Body::None,
            Self::Joined => {
                let mut contacted = 0;
                reader.structure(&["Num"], |reader, _| reader.int().map(|num| contacted = num))?;
                Body::Joined(contacted)
            }
            Self::Members => {
                let mut members = Vec::new();
                reader.structure(&["Members"], |reader, _| {
                    for _ in 0..reader.array()? {
                        members.push(read_member(reader)?);
                    }
                    Ok(())
                })?;
                Body::Members(members)
            }
            Self::Stats => {
                let mut stats = Stats::new();
                for _ in 0..reader.map()? {
                    let section = reader.text()?.to_vec();
                    stats.push((section, read_pairs(reader)?));
                }
                Body::Stats(stats)
            }
            Self::Keys => Body::Keys(read_keys(reader)?),
            Self::Coordinate => Body::Coordinate(read_coordinate(reader)?),
        })
    }
}

impl Body {
    /// The body behind an error: all zero where the command has one at all (rpc.md 6).
    pub(super) fn after_error(request: &Request) -> Self {
        match BodyKind::of(request) {
            BodyKind::Joined => Self::Joined(0),
            BodyKind::Keys => {
                let list = matches!(request, Request::Key { operation, .. } if operation.is_question());
                Self::Keys(KeyReport { keys: list.then(Vec::new), ..KeyReport::default() })
            }
            BodyKind::Coordinate => Self::Coordinate(None),
            BodyKind::None | BodyKind::Members | BodyKind::Stats => Self::None,
        }
    }
}

fn read_member(reader: &mut Reader<'_>) -> Result<Member, ReadError> {
    let mut member = Member::default();
    let fields = [
        "Name",
        "Addr",
        "Port",
        "Tags",
        "Status",
        "ProtocolMin",
        "ProtocolMax",
        "ProtocolCur",
        "DelegateMin",
        "DelegateMax",
        "DelegateCur",
        "Encoding",
    ];
    let small = |reader: &mut Reader<'_>| {
        u8::try_from(reader.uint()?).map_err(|_| ReadError::Invalid("a version of 8 bits is wanted"))
    };
    reader.structure(&fields, |reader, field| {
        match field {
            "Name" => member.name = reader.text()?.to_vec(),
            "Addr" => member.addr = reader.blob()?.unwrap_or_default(),
            "Port" => {
                member.port = u16::try_from(reader.uint()?).map_err(|_| ReadError::Invalid("a port is wanted"))?;
            }
            "Tags" => member.tags = read_pairs(reader)?,
            "Status" => member.status = reader.text()?.to_vec(),
            "ProtocolMin" => member.protocol[0] = small(reader)?,
            "ProtocolMax" => member.protocol[1] = small(reader)?,
            "ProtocolCur" => member.protocol[2] = small(reader)?,
            "DelegateMin" => member.delegate[0] = small(reader)?,
            "DelegateMax" => member.delegate[1] = small(reader)?,
            "DelegateCur" => member.delegate[2] = small(reader)?,
            _ => member.encoding = Some(reader.text()?.to_vec()),
        }
        Ok(())
    })?;
    Ok(member)
}

fn read_keys(reader: &mut Reader<'_>) -> Result<KeyReport, ReadError> {
    let mut report = KeyReport::default();
    reader.structure(&["Keys", "Messages", "NumErr", "NumNodes", "NumResp", "Rings"], |reader, field| {
        match field {
            "Keys" if reader.nil()? => report.keys = None,
            "Keys" => {
                let mut keys = Vec::new();
                for _ in 0..reader.map()? {
                    let key = reader.text()?.to_vec();
                    keys.push((key, reader.uint()?));
                }
                report.keys = Some(keys);
            }
            "Messages" => report.messages = read_pairs(reader)?,
            "NumErr" => report.errors = reader.uint()?,
            "NumNodes" => report.nodes = reader.uint()?,
            "Rings" => report.rings = Some(read_rings(reader)?),
            _ => report.responses = reader.uint()?,
        }
        Ok(())
    })?;
    Ok(report)
}

fn read_rings(reader: &mut Reader<'_>) -> Result<Rings, ReadError> {
    let mut rings = Rings::new();
    for _ in 0..reader.map()? {
        let node = reader.text()?.to_vec();
        let answered = !reader.nil()?;
        let mut keys = Vec::new();
        if answered {
            for _ in 0..reader.array()? {
                keys.push(reader.text()?.to_vec());
            }
        }
        rings.push((node, answered.then_some(keys)));
    }
    Ok(rings)
}

fn read_coordinate(reader: &mut Reader<'_>) -> Result<Option<Coordinate>, ReadError> {
    let (mut coordinate, mut known) = (Coordinate::default(), false);
    reader.structure(&["Coord", "Ok"], |reader, field| {
        if field == "Ok" {
            known = reader.boolean()?;
            return Ok(());
        }
        reader.structure(&["Adjustment", "Error", "Height", "Vec"], |reader, field| {
            match field {
                "Adjustment" => coordinate.adjustment = reader.float()?,
                "Error" => coordinate.error = reader.float()?,
                "Height" => coordinate.height = reader.float()?,
                _ => {
                    for _ in 0..reader.array()? {
                        coordinate.vec.push(reader.float()?);
                    }
                }
            }
            Ok(())
        })
    })?;
    Ok(known.then_some(coordinate))
}
