//! The captured client connections, read without the code that they test.

use std::path::Path;
use std::string::String;
use std::vec::Vec;
use std::{format, fs};

use serde_json::Value as Json;

use crate::msgpack::Value;
use crate::rpc::{Coordinate, KeyOperation, KeyReport, Member, Pairs, Query, Request, Stats};

/// One captured connection.
pub(super) struct Vector {
    pub(super) name: String,
    json: Json,
}

impl Vector {
    /// All of them, by name.
    pub(super) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/rpc-vectors");
        let mut vectors: Vec<_> = fs::read_dir(folder)
            .expect("the vectors are there")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| {
                let json = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
                Self { name: path.file_stem().expect("a name").to_string_lossy().into_owned(), json }
            })
            .collect();
        vectors.sort_by(|one, other| one.name.cmp(&other.name));
        assert_eq!(vectors.len(), 61, "vectors");
        vectors
    }

    pub(super) fn request_bytes(&self) -> Vec<u8> {
        unhex(&text_of(&self.json["request_hex"]))
    }

    pub(super) fn response_bytes(&self) -> Vec<u8> {
        unhex(&text_of(&self.json["response_hex"]))
    }

    pub(super) fn requests(&self) -> &[Json] {
        list(&self.json["request_decoded"])
    }

    pub(super) fn responses(&self) -> &[Json] {
        list(&self.json["response_decoded"])
    }

    /// What the client sent in one go, up to the agent's next bytes.
    pub(super) fn client_chunks(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let chunks = list(&self.json["transcript"]).iter().filter(|chunk| chunk["dir"] == "C");
        chunks.map(|chunk| unhex(&text_of(&chunk["hex"])))
    }

    pub(super) fn after_handshake(&self) -> bool {
        self.json["after_handshake"] == true
    }

    pub(super) fn server_closes(&self) -> bool {
        self.json["server_closes"] == true
    }

    /// The token of the agent that was asked.
    pub(super) fn auth_key(&self) -> &'static str {
        if text_of(&self.json["setup"]).contains("rpc_auth 'sekret'") { "sekret" } else { "" }
    }

    /// Whether upstream's own command line, of the version that is imitated, was the client.
    pub(super) fn is_of_serf_cli(&self) -> bool {
        self.json["client"].as_str().is_some_and(|client| client.starts_with("Go CLI"))
    }
}

/// The handshake that comes before the bytes of most vectors.
pub(super) const HANDSHAKE: &[u8] = b"\x82\xa7Command\xa9handshake\xa3Seq\x00\x81\xa7Version\x01";

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn text_of(json: &Json) -> String {
    json.as_str().unwrap_or_default().into()
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

/// Text as bytes; nil and a missing field are empty.
pub(super) fn bytes(json: &Json) -> Vec<u8> {
    blob(json).unwrap_or_default()
}

pub(super) fn blob(json: &Json) -> Option<Vec<u8>> {
    match json {
        Json::Null => None,
        Json::String(text) => Some(text.clone().into_bytes()),
        Json::Array(items) => Some(items.iter().map(|byte| u8::try_from(number(byte)).expect("a byte")).collect()),
        Json::Object(_) => Some(unhex(json["$bin"].as_str().or_else(|| json["$str_hex"].as_str()).expect("bytes"))),
        Json::Bool(_) | Json::Number(_) => panic!("no bytes: {json}"),
    }
}

pub(super) fn number(json: &Json) -> u64 {
    json.as_u64().unwrap_or_default()
}

fn texts(json: &Json) -> Vec<Vec<u8>> {
    list(json).iter().map(bytes).collect()
}

fn pairs(json: &Json) -> Pairs {
    let object = json.as_object().into_iter().flatten();
    object.map(|(key, value)| (key.clone().into_bytes(), bytes(value))).collect()
}

/// The request with that name and body; `None` where this protocol has no such command.
pub(super) fn request(command: &str, body: &Json) -> Option<Request> {
    let flag = |field: &str| body[field] == true;
    let key = |operation| Request::Key { operation, key: bytes(&body["Key"]) };
    Some(match command {
        "handshake" => Request::Handshake {
            version: body["Version"].as_i64().map_or(0, |version| i32::try_from(version).expect("32 bits")),
        },
        "auth" => Request::Auth { key: bytes(&body["AuthKey"]) },
        "event" => {
            Request::Event { name: bytes(&body["Name"]), payload: blob(&body["Payload"]), coalesce: flag("Coalesce") }
        }
        "force-leave" => Request::ForceLeave { node: bytes(&body["Node"]), prune: flag("Prune") },
        "join" => Request::Join { existing: texts(&body["Existing"]), replay: flag("Replay") },
        "members" => Request::Members,
        "members-filtered" => Request::MembersFiltered {
            tags: pairs(&body["Tags"]),
            status: bytes(&body["Status"]),
            name: bytes(&body["Name"]),
            encodings: false,
        },
        "tags" => Request::Tags { tags: pairs(&body["Tags"]), delete: texts(&body["DeleteTags"]) },
        "stream" => Request::Stream { kind: bytes(&body["Type"]) },
        "monitor" => Request::Monitor { level: bytes(&body["LogLevel"]) },
        "stop" => Request::Stop { seq: number(&body["Stop"]) },
        "leave" => Request::Leave,
        "query" => Request::Query(Query {
            filter_nodes: texts(&body["FilterNodes"]),
            filter_tags: pairs(&body["FilterTags"]),
            request_ack: flag("RequestAck"),
            relay_factor: u8::try_from(number(&body["RelayFactor"])).expect("8 bits"),
            timeout: body["Timeout"].as_i64().unwrap_or_default(),
            name: bytes(&body["Name"]),
            payload: blob(&body["Payload"]),
        }),
        "respond" => Request::Respond { id: number(&body["ID"]), payload: blob(&body["Payload"]) },
        "install-key" => key(KeyOperation::Install),
        "use-key" => key(KeyOperation::Use),
        "remove-key" => key(KeyOperation::Remove),
        "list-keys" => key(KeyOperation::List),
        "stats" => Request::Stats,
        "get-coordinate" => Request::GetCoordinate { node: bytes(&body["Node"]) },
        _ => return None,
    })
}

/// Whether the command's request has a body.
pub(super) fn has_request_body(command: &str) -> bool {
    !matches!(command, "members" | "leave" | "stats" | "list-keys")
}

pub(super) fn members(json: &Json) -> Vec<Member> {
    list(json).iter().map(member).collect()
}

fn member(json: &Json) -> Member {
    let small = |field: String| u8::try_from(number(&json[field.as_str()])).expect("8 bits");
    let versions = |name: &str| ["Min", "Max", "Cur"].map(|end| small(format!("{name}{end}")));
    Member {
        name: bytes(&json["Name"]),
        addr: bytes(&json["Addr"]),
        port: u16::try_from(number(&json["Port"])).expect("16 bits"),
        tags: pairs(&json["Tags"]),
        status: bytes(&json["Status"]),
        protocol: versions("Protocol"),
        delegate: versions("Delegate"),
        encoding: None,
    }
}

pub(super) fn stats(json: &Json) -> Stats {
    let object = json.as_object().expect("sections");
    object.iter().map(|(name, section)| (name.clone().into_bytes(), pairs(section))).collect()
}

pub(super) fn key_report(json: &Json) -> KeyReport {
    let counts = |object: &serde_json::Map<String, Json>| {
        object.iter().map(|(key, count)| (key.clone().into_bytes(), number(count))).collect()
    };
    KeyReport {
        messages: pairs(&json["Messages"]),
        keys: json["Keys"].as_object().map(counts),
        nodes: number(&json["NumNodes"]),
        errors: number(&json["NumErr"]),
        responses: number(&json["NumResp"]),
        rings: None,
    }
}

pub(super) fn coordinate(json: &Json) -> Option<Coordinate> {
    let float = |field: &str| json["Coord"][field].as_f64().expect("a float");
    let known = json["Ok"] == true;
    known.then(|| Coordinate {
        adjustment: float("Adjustment"),
        error: float("Error"),
        height: float("Height"),
        vec: list(&json["Coord"]["Vec"]).iter().map(|part| part.as_f64().expect("a float")).collect(),
    })
}

/// The value that the JSON shows, maps sorted.
pub(super) fn value(json: &Json) -> Value {
    let shown = match json {
        Json::Null => Value::Nil,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_u64() {
            Some(number) if number >= 0x80 => Value::Uint(number),
            _ => number.as_i64().map_or_else(|| Value::Float(number.as_f64().expect("a float")), Value::Int),
        },
        Json::String(text) => Value::Text(text.clone().into_bytes()),
        Json::Array(items) => Value::Array(items.iter().map(value).collect()),
        Json::Object(_) if json.get("$bin").is_some() => Value::Blob(bytes(json)),
        Json::Object(_) if json.get("$str_hex").is_some() => Value::Text(bytes(json)),
        Json::Object(fields) => Value::Map(
            fields.iter().map(|(key, field)| (Value::Text(key.clone().into_bytes()), value(field))).collect(),
        ),
    };
    sorted(shown)
}

/// The same value, its maps sorted: the order of Go's maps is random.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Map(pairs) => {
            let mut pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            pairs.sort_by_key(|(key, _)| format!("{key:?}"));
            Value::Map(pairs)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        plain => plain,
    }
}

/// Whether a value is the header of a reply or record.
pub(super) fn is_header(json: &Json) -> bool {
    json.as_object()
        .is_some_and(|fields| fields.len() == 2 && fields.contains_key("Error") && fields.contains_key("Seq"))
}
