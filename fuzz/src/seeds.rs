//! Where the fuzzers begin: the captures and examples that the project's tests have anyway, cut as each target wants them.

use serde_json::Value;
use villein_core::keyring::Keyring;
use villein_core::wire::{Budget, Envelope, Incoming, native};

use crate::corpus::unhex;

/// Inputs of the target of that name, which all mean something to it.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let prefixed = |prefix: &[u8], all: Vec<Vec<u8>>| all.iter().map(|bytes| [prefix, bytes].concat()).collect();
    match target {
        "packet" => prefixed(&[0, 0], captures(|vector| vector["transport"] != "tcp")),
        "label" => vec![b"\x04blue\x07\x01\x00\x00".to_vec(), vec![0]],
        "sealed" => vec![vec![0; 45], vec![7; 80]],
        "opened" | "compound" | "lzw" => cut(captures(|vector| vector["transport"] != "tcp"), target),
        "native" => messages(),
        "memberlist" => captures(|vector| vector["transport"] != "tcp"),
        "stream" => {
            let streams = captures(|vector| vector["transport"] == "tcp");
            let mut all: Vec<Vec<u8>> = prefixed(&[0, 0, 0, 255, 0], streams.clone());
            all.extend(prefixed(&[0, 0, 1, 3, 0], streams));
            all
        }
        "rpc_session" => prefixed(&[0, 0, 9], rpc("request_hex")),
        "rpc_client" => prefixed(&[9], rpc("response_hex")),
        "msgpack" => rpc("request_hex"),
        "snapshot" => {
            let text = include_str!("../../core/src/tests/vectors/snapshot.txt");
            vec![text.as_bytes().to_vec(), b"alive: n1 127.0.0.1:7946\nclock: 4\nleave\n".to_vec()]
        }
        "mdns" => MDNS.map(<[u8]>::to_vec).into(),
        "tags_file" => vec![br#"{"role": "db", "empty": null}"#.to_vec(), b"null".to_vec()],
        "keyring_file" => vec![br#"["HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="]"#.to_vec()],
        "config_file" => vec![
            br#"{"node_name": "a", "tags": {"role": "db"}, "start_join": ["10.0.0.1"], "retry_interval": "30s"}"#
                .to_vec(),
        ],
        "scenario" => SCENARIOS.iter().map(|text| text.as_bytes().to_vec()).collect(),
        "filter" => PATTERNS.iter().map(|pattern| [&[6][..], b"web-01", pattern.as_bytes()].concat()).collect(),
        "node" => vec![vec![0x80], vec![0x81, 9, 255, 1, 0, 0, 0, 10, 1, 2, 3], vec![0xc2, 18, 7, 0, 1, 0, 0]],
        _ => Vec::new(),
    }
}

const SCENARIOS: [&str; 4] = [
    include_str!("../../scenarios/partition.toml"),
    include_str!("../../scenarios/key-rotation.toml"),
    include_str!("../../scenarios/send-errors.toml"),
    include_str!("../../scenarios/snapshot-rejoin.toml"),
];

/// A question and an answer, as `runtime-mio/src/mdns/message.rs` has them.
const MDNS: [&[u8]; 2] = [
    b"\0\0\0\0\0\x01\0\0\0\0\0\0\x07_serf_c\x04_tcp\x05local\0\0\x0c\0\x01",
    b"\0\0\x84\0\0\0\0\x02\0\0\0\0\x02n1\x02_s\x05local\0\0\x21\x80\x01\0\0\0\x78\0\x0a\0\0\0\0\0\x09\x01h\xc0\x12\
        \x01h\xc0\x12\0\x1c\x80\x01\0\0\0\x78\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
];

const PATTERNS: [&str; 6] =
    ["^web-[0-9]+$", r"\Qa.b\E|(?i)x{2,5}?", r"[[:alpha:]\d_-]*", r"\pL+\x{1F600}", "(a|b)*?c", "user:deploy"];

/// Captured bytes that `wanted` picks.
fn captures(wanted: impl Fn(&Value) -> bool) -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../core/src/tests/vectors/gossip/01-udp-memberlist.json"),
        include_str!("../../core/src/tests/vectors/gossip/02-udp-serf.json"),
        include_str!("../../core/src/tests/vectors/gossip/03-tcp.json"),
        include_str!("../../core/src/tests/vectors/gossip/04-compression.json"),
        include_str!("../../core/src/tests/vectors/gossip/08-protocol-versions.json"),
        include_str!("../../core/src/tests/vectors/gossip/09-newest-codec.json"),
    ];
    let all = files.iter().flat_map(|file| serde_json::from_str::<Vec<Value>>(file).expect("JSON"));
    all.filter(wanted).filter_map(|vector| unhex(vector["hex"].as_str()?)).collect()
}

/// Captures without the layer that the target puts around them.
fn cut(captures: Vec<Vec<u8>>, target: &str) -> Vec<Vec<u8>> {
    let layer = match target {
        "compound" => 7,
        "lzw" => 9,
        _ => return captures,
    };
    captures.into_iter().filter(|bytes| bytes.first() == Some(&layer)).map(|bytes| bytes[1..].to_vec()).collect()
}

/// One native message for each that was captured in memberlist's encoding.
fn messages() -> Vec<Vec<u8>> {
    let keyring = Keyring::default();
    let mut all = Vec::new();
    for bytes in captures(|vector| vector["transport"] != "tcp") {
        let mut incoming = Incoming::default();
        let envelope = Envelope { keyring: &keyring, label: b"" };
        let _ = incoming.open(&bytes, envelope, &mut Budget::datagram(bytes.len()));
        for received in &incoming.messages {
            let mut encoded = Vec::new();
            native::encode(&received.message, &mut encoded);
            all.push(encoded);
        }
    }
    all
}

/// What one side of each captured RPC connection has sent.
fn rpc(side: &str) -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../core/src/tests/rpc-vectors/auth_wrong_then_right.json"),
        include_str!("../../core/src/tests/rpc-vectors/cli_query.json"),
        include_str!("../../core/src/tests/rpc-vectors/cli_keys_list.json"),
        include_str!("../../core/src/tests/rpc-vectors/cli_members.json"),
        include_str!("../../core/src/tests/rpc-vectors/cli_monitor.json"),
        include_str!("../../core/src/tests/rpc-vectors/cli_rtt.json"),
        include_str!("../../core/src/tests/rpc-vectors/members_filtered_tag_and_status.json"),
        include_str!("../../core/src/tests/rpc-vectors/stream_query_and_respond.json"),
        include_str!("../../core/src/tests/rpc-vectors/tags_set_and_delete.json"),
        include_str!("../../core/src/tests/rpc-vectors/pipelined_three.json"),
        include_str!("../../core/src/tests/rpc-vectors/stats.json"),
    ];
    files.iter().filter_map(|file| bytes_of(&serde_json::from_str::<Value>(file).expect("JSON"), side)).collect()
}

/// Hexadecimal text, in one piece or in several lines.
fn bytes_of(vector: &Value, side: &str) -> Option<Vec<u8>> {
    match &vector[side] {
        Value::String(text) => unhex(text),
        Value::Array(lines) => Some(lines.iter().filter_map(Value::as_str).filter_map(unhex).flatten().collect()),
        _ => None,
    }
}
