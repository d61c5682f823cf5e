//! User events, queries, tags and keys over RPC, by bytes (rpc.md 6).

use std::collections::BTreeMap;

use villein_core::keyring::Key;

use crate::client::{Client, Value, map, text};
use crate::support::Running;

const KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";
const OTHER: &str = "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=";

fn stream(client: &mut Client, kind: &str) -> u64 {
    let seq = client.send("stream", Some(map([("Type", text(kind))])));
    assert_eq!(client.header(seq), "");
    seq
}

fn event(name: &str, payload: Value) -> Option<Value> {
    Some(map([("Name", text(name)), ("Payload", payload), ("Coalesce", Value::Bool(false))]))
}

/// Seconds in the unit of the protocol.
const fn seconds(count: u64) -> Value {
    Value::Int(count * 1_000_000_000)
}

fn query<const N: usize>(name: &str, more: [(&str, Value); N]) -> Option<Value> {
    let mut fields = match map(more) {
        Value::Map(fields) => fields,
        other => panic!("{other:?}"),
    };
    fields.insert(b"Name".to_vec(), text(name));
    fields.insert(b"RequestAck".to_vec(), Value::Bool(true));
    fields.entry(b"Timeout".to_vec()).or_insert_with(|| seconds(20));
    Some(Value::Map(fields))
}

fn respond(client: &mut Client, id: u64, payload: &str) -> String {
    client.call("respond", Some(map([("ID", Value::Int(id)), ("Payload", text(payload))])))
}

/// The next record, which must be of the subscription or query `seq`.
fn record(client: &mut Client, seq: u64) -> Value {
    assert_eq!(client.header(seq), "");
    client.next().expect("a record")
}

#[test]
fn a_user_event_reaches_the_streams_that_want_it() {
    let one = Running::start("t1", "127.45.1.1", |_| ());
    let mut client = one.client();
    let seq = stream(&mut client, "user:deploy");
    let mut sender = one.client();
    assert_eq!(sender.call("event", event("other", text("no"))), "");
    assert_eq!(sender.call("event", event("deploy", text("v1"))), "");
    let got = record(&mut client, seq);
    let wanted = map([
        ("Event", text("user")),
        ("LTime", Value::Int(2)),
        ("Name", text("deploy")),
        ("Payload", text("v1")),
        ("Coalesce", Value::Bool(false)),
    ]);
    assert_eq!(got, wanted);
    assert_eq!(sender.call("event", event("deploy", Value::Nil)), "");
    assert_eq!(record(&mut client, seq).field("Payload"), &Value::Nil);
    one.output.wait_for("[INFO] agent: Received event: user-event: other\n");
}

#[test]
fn a_user_event_that_is_too_long_is_refused_in_upstreams_words() {
    let one = Running::start("t1", "127.45.1.2", |_| ());
    let mut client = one.client();
    let long = |bytes: usize| event("e", text(&"x".repeat(bytes)));
    let refusal = "user event exceeds configured limit of 512 bytes before encoding";
    assert_eq!(client.call("event", long(600)), refusal);
    one.output.wait_for(&format!("[WARN] agent: failed to send user event: {refusal}\n"));
    let refusal = "encoded user event exceeds configured limit of 512 bytes after encoding";
    assert_eq!(client.call("event", long(500)), refusal);
}

#[test]
fn a_query_brings_acks_and_responses_and_one_end() {
    let one = Running::start("t1", "127.45.1.3", |_| ());
    let mut asked = one.client();
    let shown = stream(&mut asked, "query");
    let mut client = one.client();
    let seq = client.send("query", query("load", [("Payload", text("now"))]));
    assert_eq!(client.header(seq), "");
    let ack = record(&mut client, seq);
    assert_eq!(ack, map([("From", text("t1")), ("Payload", Value::Nil), ("Type", text("ack"))]));
    let question = record(&mut asked, shown);
    assert_eq!((question.field("Name").text(), question.field("Payload").text()), ("load".into(), "now".into()));
    assert_eq!(question.field("ID").int(), 1);
    assert_eq!(respond(&mut asked, 1, "0.5"), "");
    let answer = record(&mut client, seq);
    assert_eq!(answer, map([("From", text("t1")), ("Payload", text("0.5")), ("Type", text("response"))]));
    let done = record(&mut client, seq);
    assert_eq!(done, map([("From", text("")), ("Payload", Value::Nil), ("Type", text("done"))]));
    one.output.wait_for("[INFO] agent: Received event: query: load\n");
}

#[test]
fn each_stream_has_an_id_of_its_own_and_the_first_answer_counts() {
    let one = Running::start("t1", "127.45.1.4", |_| ());
    let mut asked = one.client();
    let (first, second) = (stream(&mut asked, "query:load"), stream(&mut asked, "query"));
    let mut client = one.client();
    client.call("query", query("load", []));
    let ids = [record(&mut asked, first).field("ID").int(), record(&mut asked, second).field("ID").int()];
    assert_eq!(ids, [1, 2]);
    let too_long = "failed to respond to key query: response exceeds limit of 1024 bytes";
    assert_eq!(respond(&mut asked, 1, &"x".repeat(1024)), too_long);
    assert_eq!(respond(&mut asked, 1, "one"), "", "a refused answer uses nothing up");
    assert_eq!(respond(&mut asked, 2, "two"), "failed to respond to key query: response already sent");
    assert_eq!(respond(&mut asked, 3, "three"), "No pending queries matching ID");
    assert_eq!(respond(&mut one.client(), 1, "other connection"), "No pending queries matching ID");
}

#[test]
fn an_id_is_of_no_use_after_its_query() {
    let one = Running::start("t1", "127.45.1.5", |_| ());
    let mut asked = one.client();
    let shown = stream(&mut asked, "query");
    let mut client = one.client();
    let seq = client.send("query", query("load", [("Timeout", Value::Int(1))]));
    assert_eq!(client.header(seq), "");
    while record(&mut client, seq).field("Type").text() != "done" {}
    let id = record(&mut asked, shown).field("ID").int();
    assert_eq!(respond(&mut asked, id, "late"), "No pending queries matching ID");
}

#[test]
fn filters_choose_who_is_asked() {
    let one = Running::start("t1", "127.45.1.6", |options| {
        options.config.tags.insert(b"role".to_vec(), b"web".to_vec());
    });
    let mut client = one.client();
    let nobody = [
        [("FilterNodes", Value::List(vec![text("t2")]))],
        [("FilterTags", map([("role", text("db"))]))],
        [("FilterTags", map([("role", text("("))]))],
    ];
    for [(key, value)] in nobody {
        let seq = client.send("query", query("load", [(key, value.clone()), ("Timeout", Value::Int(1_000))]));
        assert_eq!(client.header(seq), "");
        assert_eq!(record(&mut client, seq).field("Type").text(), "done", "{value:?}");
    }
    let seq = client.send("query", query("load", [("FilterTags", map([("role", text("e"))]))]));
    assert_eq!(client.header(seq), "");
    assert_eq!(record(&mut client, seq).field("Type").text(), "ack", "patterns are not anchored");
}

#[test]
fn queries_that_may_not_be_asked_are_refused_in_upstreams_words() {
    let one = Running::start("t1", "127.45.1.7", |_| ());
    let mut client = one.client();
    assert_eq!(client.call("query", query("_serf_x", [])), "Queries cannot contain the '_serf_' prefix");
    let long = [("Payload", text(&"x".repeat(1024)))];
    assert_eq!(client.call("query", query("load", long)), "query exceeds limit of 1024 bytes");
    one.output.wait_for("[WARN] agent: failed to start user query: query exceeds limit of 1024 bytes\n");
    let seq = client.send("query", query("_serf_ping", []));
    assert_eq!(client.header(seq), "", "a ping is let through");
    assert_eq!(record(&mut client, seq).field("Type").text(), "ack");
}

#[test]
fn tags_are_deleted_then_set_and_shown_at_once() {
    let one = Running::start("t1", "127.45.1.8", |options| {
        options.config.tags.extend([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    });
    let mut client = one.client();
    let change = map([
        ("Tags", map([("b", text("3")), ("c", text(""))])),
        ("DeleteTags", Value::List(vec![text("a"), text("b"), text("nosuch")])),
    ]);
    assert_eq!(client.call("tags", Some(change)), "");
    let tags = map([("b", text("3")), ("c", text(""))]);
    assert_eq!(client.ask("members", None).field("Members").list()[0].field("Tags"), &tags);
    assert_eq!(client.ask("stats", None).field("tags"), &tags);
    let refusal = client.call("tags", Some(map([("Tags", map([("long", text(&"x".repeat(600)))]))])));
    assert!(refusal.starts_with("Encoded length of tags exceeds limit of 512 bytes"), "{refusal}");
    assert_eq!(client.ask("stats", None).field("tags"), &tags, "nothing has changed");
    assert_eq!(client.call("tags", Some(Value::Nil)), "", "nothing to do is fine");
}

/// The error and the body of a key command.
fn key(client: &mut Client, command: &str, key: &str) -> (String, Value) {
    let body = (command != "list-keys").then(|| map([("Key", text(key))]));
    (client.call(command, body), client.next().expect("a body follows, come what may"))
}

#[test]
fn keys_are_installed_used_removed_and_listed() {
    let one = Running::start("t1", "127.45.1.9", |options| {
        options.encrypt_key = Some(Key::from_base64(KEY).expect("a key").as_bytes().to_vec());
    });
    let mut client = one.client();
    for (command, name) in [("install-key", OTHER), ("use-key", OTHER), ("remove-key", KEY)] {
        let (error, body) = key(&mut client, command, name);
        assert_eq!(
            (error.as_str(), body.field("NumNodes").int(), body.field("NumResp").int()),
            ("", 1, 1),
            "{command}"
        );
        assert_eq!(body.field("Keys"), &Value::Nil, "{command}");
    }
    let (error, body) = key(&mut client, "list-keys", "");
    assert_eq!((error.as_str(), body.field("Keys")), ("", &map([(OTHER, Value::Int(1))])));
    let (error, body) = key(&mut client, "remove-key", OTHER);
    assert_eq!(error, "1/1 nodes reported failure");
    assert_eq!(body.field("Messages"), &map([("t1", text("Removing the primary key is not allowed"))]));
    assert_eq!(body.field("NumErr").int(), 1);
    for (bad, at) in [("badkey!", 6), ("bad", 0), ("AAA=AAAA", 4)] {
        let (error, body) = key(&mut client, "install-key", bad);
        assert_eq!(error, format!("illegal base64 data at input byte {at}"));
        assert_eq!((body.field("Messages"), body.field("NumNodes").int()), (&Value::Map(BTreeMap::new()), 0));
    }
    for line in ["key installation", "primary key change", "key removal", "key listing"] {
        one.output.wait_for(&format!("[INFO] agent: Initiating {line}\n"));
    }
}

#[test]
fn without_encryption_every_node_says_why_it_cannot() {
    let one = Running::start("t1", "127.45.1.10", |_| ());
    let mut client = one.client();
    for (command, message) in [
        ("install-key", "No keyring to modify (encryption not enabled)"),
        ("list-keys", "Keyring is empty (encryption not enabled)"),
    ] {
        let (error, body) = key(&mut client, command, KEY);
        assert_eq!(error, "1/1 nodes reported failure");
        assert_eq!(body.field("Messages"), &map([("t1", text(message))]));
    }
}

#[test]
fn a_coordinate_is_given_for_who_is_known() {
    let one = Running::start("t1", "127.45.1.13", |_| ());
    let mut client = one.client();
    let mut of = |name: &str| client.ask("get-coordinate", Some(map([("Node", text(name))])));
    let zero = || Value::Float(0);
    let own = of("t1");
    assert_eq!(own.field("Ok"), &Value::Bool(true));
    let wanted = map([
        ("Adjustment", zero()),
        ("Error", Value::Float(1.5_f64.to_bits())),
        ("Height", Value::Float(1e-5_f64.to_bits())),
        ("Vec", Value::List((0..8).map(|_| zero()).collect())),
    ]);
    assert_eq!(own.field("Coord"), &wanted);
    let unknown = of("nobody");
    assert_eq!((unknown.field("Ok"), unknown.field("Coord").field("Vec")), (&Value::Bool(false), &Value::Nil));
}

#[test]
fn two_agents_answer_one_query() {
    let one = Running::start("t1", "127.45.1.11", |_| ());
    let two = Running::start("t2", "127.45.1.12", |options| {
        options.start_join = vec![villein_core::types::JoinTarget::new(one.gossip.to_string().into_bytes())];
    });
    one.wait_for_members(&[("t1", "alive"), ("t2", "alive")]);
    let mut asked = two.client();
    let shown = stream(&mut asked, "query:load");
    let mut client = one.client();
    let seq = client.send("query", query("load", [("FilterNodes", Value::List(vec![text("t2")]))]));
    assert_eq!(client.header(seq), "");
    let id = record(&mut asked, shown).field("ID").int();
    assert_eq!(respond(&mut asked, id, "far"), "");
    let mut records: Vec<_> = (0..3).map(|_| record(&mut client, seq)).collect();
    records.sort_by_key(|record| record.field("Type").text());
    let kinds: Vec<_> = records.iter().map(|r| (r.field("Type").text(), r.field("From").text())).collect();
    let wanted = [("ack", "t2"), ("done", ""), ("response", "t2")].map(|(k, f)| (k.to_owned(), f.to_owned()));
    assert_eq!(kinds, wanted);
}
