//! HashiCorp's encoding against what its agents have sent: each capture decodes to what an independent decoder says of
//! it, and encodes to the bytes that were captured.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value, json};

use crate::keyring::{Key, Keyring};
use crate::serf::tags;
use crate::types::Meta;
use crate::wire::memberlist::{PacketForm, Progress, encode, seal_parts, seal_stream};
use crate::wire::{
    Accused, Ack, Alive, Budget, Encoding, Envelope, Filter, Incoming, IndirectPing, Intent, Message, NodeState,
    Pieces, Ping, PushPull, QueryResponse, ReplyTo, SerfMessage, StreamMessage, WireError, open_stream,
};

/// One captured datagram, or all that one side sent on a stream.
pub(super) struct Vector {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) keyring: Keyring,
    pub(super) label: Vec<u8>,
    /// Whether it is a stream.
    pub(super) is_stream: bool,
    /// Of a stream: whether the side that opened it sent this.
    pub(super) dialler: bool,
    layers: Vec<Value>,
    message: Value,
    /// Whether every integer in it is written in the old way.
    old_integers: bool,
}

impl Vector {
    pub(super) fn envelope(&self) -> Envelope<'_> {
        Envelope { keyring: &self.keyring, label: &self.label }
    }

    fn layer(&self, name: &str) -> Option<&Value> {
        self.layers.iter().find(|layer| layer["layer"] == name)
    }

    fn nonce(&self) -> [u8; 12] {
        let nonce = self.layer("encryption").map(|layer| unhex(layer["nonce"].as_str().expect("a nonce")));
        nonce.map_or([0; 12], |nonce| nonce.try_into().expect("12 bytes"))
    }
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

fn hex(bytes: &[u8]) -> Value {
    json!({ "hex": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
}

/// Every capture.
pub(super) fn vectors() -> Vec<Vector> {
    let files = [
        include_str!("vectors/gossip/01-udp-memberlist.json"),
        include_str!("vectors/gossip/02-udp-serf.json"),
        include_str!("vectors/gossip/03-tcp.json"),
        include_str!("vectors/gossip/04-compression.json"),
        include_str!("vectors/gossip/05-encryption-v1.json"),
        include_str!("vectors/gossip/06-encryption-v0.json"),
        include_str!("vectors/gossip/07-key-rotation.json"),
        include_str!("vectors/gossip/08-protocol-versions.json"),
        include_str!("vectors/gossip/09-newest-codec.json"),
        include_str!("vectors/gossip/10-labels.json"),
    ];
    let all: Vec<Vector> = files
        .iter()
        .flat_map(|file| serde_json::from_str::<Vec<Value>>(file).expect("JSON"))
        .map(|value| vector(&value))
        .collect();
    assert_eq!(all.len(), 67);
    all
}

fn vector(value: &Value) -> Vector {
    let text = |value: &Value| value.as_str().map(ToString::to_string);
    let decoded = &value["decoded"];
    let layers = decoded["layers"].as_array().cloned().unwrap_or_default();
    let label = text(&decoded["context"]["connection_label"])
        .or_else(|| layers.iter().find_map(|layer| text(&layer["label"])))
        .unwrap_or_default();
    let keys = text(&value["key_b64"]).map(|key| Key::from_base64(&key).expect("a key")).into_iter().collect();
    let objects = decoded["msgpack"].as_array().cloned().unwrap_or_default();
    let is_old =
        |object: &Value| object["reencodes_with"].as_array().is_some_and(|rules| rules.contains(&json!("old")));
    Vector {
        name: text(&value["name"]).expect("a name"),
        bytes: unhex(value["hex"].as_str().expect("bytes")),
        keyring: Keyring::new(keys),
        label: label.into_bytes(),
        is_stream: value["transport"] == "tcp",
        dialler: value["direction"].as_str().is_some_and(|text| text.contains("(initiator to acceptor")),
        layers,
        message: decoded["message"].clone(),
        old_integers: objects.iter().all(is_old),
    }
}

/// A message as the captures describe it.
fn describe(message: &Message) -> Value {
    let reply_to = |mut fields: Value, source: &Option<ReplyTo>| {
        if let Some(ReplyTo { addr, node }) = source {
            fields["SourceAddr"] = hex(addr.ip_bytes());
            fields["SourcePort"] = json!(addr.port());
            fields["SourceNode"] = json!(node.to_string());
        }
        fields
    };
    let accused = |Accused { node, incarnation, from }: &Accused| json!({ "From": from.to_string(), "Incarnation": incarnation.0, "Node": node.to_string() });
    match message {
        Message::Ping(Ping { seq, node, source }) => {
            reply_to(json!({ "Node": node.to_string(), "SeqNo": seq.0 }), source)
        }
        Message::IndirectPing(IndirectPing { seq, node, target, nack, source }) => reply_to(
            json!({
                "Nack": nack, "Node": node.to_string(), "Port": target.port(), "SeqNo": seq.0,
                "Target": hex(target.ip_bytes()),
            }),
            source,
        ),
        Message::Ack(Ack { seq, coordinate }) => {
            let coordinate = coordinate.map(|it| {
                json!({ "coordinate": {
                    "Adjustment": it.adjustment, "Error": it.error, "Height": it.height, "Vec": it.vec,
                } })
            });
            json!({ "SeqNo": seq.0, "Payload": coordinate })
        }
        Message::Nack(seq) => json!({ "SeqNo": seq.0 }),
        Message::Suspect(it) | Message::Dead(it) => accused(it),
        Message::Alive(alive) => {
            let mut fields = describe_alive(alive);
            fields["Node"] = json!(alive.node.to_string());
            fields
        }
        Message::Serf(message) => describe_serf(message),
    }
}

fn describe_alive(Alive { node: _, incarnation, addr, meta, versions }: &Alive) -> Value {
    json!({
        "Addr": hex(addr.ip_bytes()), "Incarnation": incarnation.0, "Meta": hex(meta.as_bytes()), "Port": addr.port(),
        "Vsn": versions.0,
    })
}

fn payload(bytes: &[u8]) -> Value {
    if bytes.is_empty() { Value::Null } else { hex(bytes) }
}

fn describe_serf(message: &SerfMessage) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match message {
        SerfMessage::Leave(Intent { ltime, node, prune }) => {
            json!({ "LTime": ltime.0, "Node": node.to_string(), "Prune": prune })
        }
        SerfMessage::Join(Intent { ltime, node, prune: _ }) => json!({ "LTime": ltime.0, "Node": node.to_string() }),
        SerfMessage::Event(event) => json!({
            "CC": event.coalesce, "LTime": event.ltime.0, "Name": text(&event.name), "Payload": payload(&event.payload),
        }),
        SerfMessage::Query(query) => {
            let filters: Vec<Value> = query.filters.iter().map(describe_filter).collect();
            json!({
                "Addr": hex(query.origin.ip_bytes()), "Port": query.origin.port(),
                "Filters": if filters.is_empty() { Value::Null } else { filters.into() },
                "Flags": u8::from(query.ack) | u8::from(query.no_broadcast) << 1, "ID": query.id.0,
                "LTime": query.ltime.0, "Name": text(&query.name), "Payload": payload(&query.payload),
                "RelayFactor": query.relay_factor, "SourceNode": query.node.to_string(),
                "Timeout": u64::try_from(query.timeout.as_nanos()).expect("short"),
            })
        }
        SerfMessage::Response(response) => describe_response(response),
        SerfMessage::Relay(relay) => json!({
            "DestAddr": { "IP": hex(relay.to.ip_bytes()), "Port": relay.to.port(), "Zone": "" },
            "DestName": relay.node.to_string(),
        }),
    }
}

fn describe_response(response: &QueryResponse) -> Value {
    json!({
        "Flags": u8::from(response.ack), "From": response.from.to_string(), "ID": response.id.0,
        "LTime": response.ltime.0, "Payload": payload(&response.payload),
    })
}

/// Only kind and content: the captures give the bytes too, which the encoding is compared with.
fn describe_filter(filter: &Filter) -> Value {
    match filter {
        Filter::Nodes(names) => json!({ "nodes": names.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        Filter::Tag { key, pattern } => {
            json!({ "Expr": String::from_utf8_lossy(pattern), "Tag": String::from_utf8_lossy(key) })
        }
        Filter::Unreadable => Value::Null,
    }
}

/// Whether what is stated of a capture is what we say of it. Byte strings may be stated with a reading beside them.
fn agrees(stated: &Value, ours: &Value, path: &str) {
    match (stated, ours) {
        (Value::Object(stated), Value::Object(ours)) if ours.contains_key("coordinate") => {
            agrees(&stated["coordinate"], &ours["coordinate"], path);
        }
        (Value::Object(stated), Value::Object(ours)) if ours.contains_key("hex") => {
            assert_eq!(stated["hex"], ours["hex"], "{path}");
            if let Some(tags) = stated.get("tags") {
                let read = tags::decode(&Meta::new(unhex(stated["hex"].as_str().expect("bytes"))));
                let read: Map<String, Value> = read
                    .iter()
                    .map(|(key, value)| (String::from_utf8_lossy(key).into(), String::from_utf8_lossy(value).into()))
                    .collect();
                assert_eq!(*tags, Value::Object(read), "{path}");
            }
        }
        (Value::Object(stated), Value::Object(ours)) => {
            // A filter is stated with its bytes and its kind.
            let keys: Vec<&String> = stated.keys().filter(|key| !matches!(&***key, "hex" | "filter_type")).collect();
            let missing = keys.iter().find(|key| !ours.contains_key(&***key) && !stated[&***key].is_null());
            assert_eq!(missing, None, "{path}: {stated:?}, {ours:?}");
            for (key, value) in ours {
                agrees(stated.get(key).unwrap_or(&Value::Null), value, &format!("{path}.{key}"));
            }
        }
        (Value::Array(stated), Value::Array(ours)) => {
            assert_eq!(stated.len(), ours.len(), "{path}");
            for (index, (stated, ours)) in stated.iter().zip(ours).enumerate() {
                agrees(stated, ours, &format!("{path}[{index}]"));
            }
        }
        (Value::Number(stated), Value::Number(ours)) => {
            // The JSON reader may be off in the last digit; that every bit is right the encoding shows.
            let [stated, ours] = [stated, ours].map(|number| number.as_f64().unwrap_or(f64::NAN));
            assert!(stated.to_bits().abs_diff(ours.to_bits()) <= 1, "{path}: {stated}, {ours}");
        }
        _ => assert_eq!(stated, ours, "{path}"),
    }
}

/// The messages of a packet as they are stated.
fn stated_messages(message: &Value) -> Vec<&Value> {
    match message["parts"].as_array() {
        Some(parts) => parts.iter().collect(),
        None => [message].into(),
    }
}

/// The fields of a stated message.
fn stated_fields(message: &Value) -> &Value {
    match message.get("serf") {
        Some(serf) if serf.get("header").is_some() => &serf["header"],
        Some(serf) => &serf["fields"],
        None => &message["fields"],
    }
}

pub(super) fn open(vector: &Vector) -> Vec<Message> {
    let mut incoming = Incoming::default();
    let bad = incoming.open(&vector.bytes, vector.envelope(), &mut Budget::datagram(vector.bytes.len()));
    assert_eq!(bad, Ok(0), "{}", vector.name);
    assert_eq!(incoming.encoding, Encoding::Memberlist);
    incoming.messages.into_iter().map(|received| received.message).collect()
}

#[test]
fn every_captured_datagram_decodes_to_its_stated_value() {
    for vector in vectors().iter().filter(|vector| !vector.is_stream) {
        let messages = open(vector);
        let stated = stated_messages(&vector.message);
        assert_eq!(messages.len(), stated.len(), "{}", vector.name);
        for (message, stated) in messages.iter().zip(stated) {
            agrees(stated_fields(stated), &describe(message), &vector.name);
            if let Message::Serf(SerfMessage::Relay(relay)) = message {
                let inner = &stated["serf"]["inner"];
                agrees(inner.get("fields").unwrap_or(inner), &describe_response(&relay.response), &vector.name);
            }
        }
    }
}

/// A packet's content without envelope, checksum and compression.
fn body(messages: &[Message]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = messages.iter().map(encoded).collect();
    let envelope = Envelope { keyring: &Keyring::default(), label: &[] };
    seal_parts(parts.iter().map(Vec::as_slice), envelope, [0; 12], PacketForm::default()).into()
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    bytes
}

/// What a sealed capture of version 0 holds.
fn unpadded(vector: &Vector, sealed: &[u8], aad: &[u8]) -> Vec<u8> {
    let (nonce, rest) = sealed[1..].split_first_chunk::<12>().expect("a nonce");
    let (body, tag) = rest.split_last_chunk::<16>().expect("a tag");
    let mut plain = body.to_vec();
    assert!(vector.keyring.open(nonce, aad, &mut plain, tag), "{}", vector.name);
    plain.truncate(plain.len() - usize::from(*plain.last().expect("padding")));
    plain
}

#[test]
fn every_captured_datagram_encodes_to_its_bytes() {
    for vector in vectors().iter().filter(|vector| !vector.is_stream) {
        let messages = open(vector);
        let body = body(&messages);
        if !vector.old_integers {
            let mut incoming = Incoming::default();
            let envelope = Envelope { keyring: &Keyring::default(), label: &[] };
            assert_eq!(incoming.open(&body, envelope, &mut Budget::datagram(body.len())), Ok(0));
            let again: Vec<Message> = incoming.messages.into_iter().map(|received| received.message).collect();
            assert_eq!(again, messages, "{}", vector.name);
        } else if let Some(compressed) = vector.layer("compress") {
            assert_eq!(body, unhex(compressed["plain_hex"].as_str().expect("bytes")), "{}", vector.name);
        } else if vector.layer("encryption").is_some_and(|layer| layer["version"] == 0) {
            assert_eq!(body, unpadded(vector, &vector.bytes, &vector.label), "{}", vector.name);
        } else {
            let parts: Vec<Vec<u8>> = messages.iter().map(encoded).collect();
            let form = PacketForm { crc: vector.layer("crc").is_some(), compress: false };
            let sealed = seal_parts(parts.iter().map(Vec::as_slice), vector.envelope(), vector.nonce(), form);
            assert_eq!(*sealed, *vector.bytes, "{}", vector.name);
        }
    }
}

/// Reads a stream of which all bytes are there.
pub(super) fn read_stream(
    bytes: &[u8],
    envelope: Envelope<'_>,
    dialler: bool,
) -> Result<Option<StreamMessage>, WireError> {
    open_stream(&mut Pieces::from(bytes), envelope, dialler, &mut Progress::default())
}

pub(super) fn open_whole_stream(vector: &Vector) -> StreamMessage {
    let message = read_stream(&vector.bytes, vector.envelope(), vector.dialler);
    message.unwrap_or_else(|error| panic!("{}: {error}", vector.name)).expect("the whole stream")
}

fn describe_stream(message: &StreamMessage) -> Value {
    match message {
        StreamMessage::Ping(ping) => describe(&Message::Ping(ping.clone())),
        StreamMessage::Ack(seq) => describe(&Message::Ack(Ack { seq: *seq, coordinate: None })),
        StreamMessage::Error(text) => json!({ "Error": text }),
        StreamMessage::User(bytes) => hex(bytes),
        StreamMessage::PushPull(state) => describe_push_pull(state),
        StreamMessage::Digest(digest) => panic!("no original sends {digest:?}"),
    }
}

fn describe_push_pull(PushPull { join, nodes, serf, .. }: &PushPull) -> Value {
    let node = |NodeState { alive, state }: &NodeState| {
        let mut fields = describe_alive(alive);
        fields["Name"] = json!(alive.node.to_string());
        fields["State"] = json!(*state as u8);
        fields
    };
    let events: Vec<Value> = serf
        .events
        .iter()
        .map(|at| {
            let fired: Vec<Value> = at
                .events
                .iter()
                .map(
                    |fired| json!({ "Name": String::from_utf8_lossy(&fired.name), "Payload": payload(&fired.payload) }),
                )
                .collect();
            json!({ "LTime": at.ltime.0, "Events": fired })
        })
        .collect();
    let statuses: Map<String, Value> =
        serf.statuses.iter().map(|(name, ltime)| (name.to_string(), json!(ltime.0))).collect();
    json!({
        "header": { "Join": join, "Nodes": nodes.len() },
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
        "serf": {
            "EventLTime": serf.event_ltime.0, "LTime": serf.ltime.0, "QueryLTime": serf.query_ltime.0,
            "LeftMembers": serf.left.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "StatusLTimes": statuses,
            "events": events,
        },
    })
}

/// The state of the layer above in one of the captures is not Serf's.
const NOT_SERFS: &str = "v0-tcp-pushpull";

#[test]
fn every_captured_stream_decodes_to_its_stated_value() {
    for vector in vectors().iter().filter(|vector| vector.is_stream) {
        let message = open_whole_stream(vector);
        let (name, stated, ours) = (&*vector.name, &vector.message, describe_stream(&message));
        match &message {
            StreamMessage::User(_) => agrees(&stated["payload"], &ours, name),
            StreamMessage::PushPull(state) => {
                assert_eq!(stated["header"]["Join"], ours["header"]["Join"], "{name}");
                agrees(&stated["nodes"], &ours["nodes"], name);
                if name == NOT_SERFS {
                    assert_eq!(state.unreadable, 1, "the members count all the same");
                    continue;
                }
                let mut fields = stated["user_state"]["fields"].clone();
                fields.as_object_mut().expect("fields").remove("Events");
                let mut serf = ours["serf"].clone();
                let events = serf.as_object_mut().expect("fields").remove("events").unwrap_or_default();
                agrees(&fields, &serf, name);
                let ring = stated["user_state"]["fields"]["Events"]["non_nil"].as_array().cloned().unwrap_or_default();
                assert_eq!(ring.len(), events.as_array().map_or(0, Vec::len), "{name}");
                for (stated, ours) in ring.iter().zip(events.as_array().into_iter().flatten()) {
                    agrees(&stated["LTime"], &ours["LTime"], name);
                    agrees(&stated["Events"], &ours["Events"], name);
                }
            }
            StreamMessage::Ping(_) | StreamMessage::Ack(_) | StreamMessage::Error(_) | StreamMessage::Digest(_) => {
                agrees(&stated["fields"], &ours, name);
            }
        }
    }
}

#[test]
fn every_captured_stream_encodes_to_its_bytes() {
    for vector in vectors().iter().filter(|vector| vector.is_stream && vector.name != NOT_SERFS) {
        let message = open_whole_stream(vector);
        let bare = Envelope { keyring: &Keyring::default(), label: &[] };
        let plain = seal_stream(&message, bare, [0; 12], vector.dialler, false);
        if !vector.old_integers {
            let again = read_stream(&plain, bare, vector.dialler);
            assert_eq!(again, Ok(Some(message)), "{}", vector.name);
        } else if let Some(compressed) = vector.layer("compress") {
            assert_eq!(*plain, *unhex(compressed["plain_hex"].as_str().expect("bytes")), "{}", vector.name);
        } else {
            let sealed = seal_stream(&message, vector.envelope(), vector.nonce(), vector.dialler, false);
            assert_eq!(*sealed, *vector.bytes, "{}", vector.name);
        }
    }
}

#[test]
fn the_members_of_a_stream_whose_layer_above_is_unknown_have_their_bytes() {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector.name == NOT_SERFS).expect("captured");
    let message = open_whole_stream(vector);
    let plain = unpadded(vector, &vector.bytes[5..], &vector.bytes[..5]);
    let bare = Envelope { keyring: &Keyring::default(), label: &[] };
    let ours = seal_stream(&message, bare, [0; 12], true, false);
    // The head says that no state follows; what is behind it are the members.
    let head = 1 + 28;
    assert_eq!(ours[head..], plain[head..plain.len() - 2]);
}
