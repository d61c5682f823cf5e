//! RPC sessions by bytes, as the clients in the field hold them (rpc.md).

use villein_core::log::Level;
use villein_runtime_mio::{EventScript, Signal};

use crate::client::{Client, Value, map, text};
use crate::support::Running;

fn stream(kind: &str) -> Option<Value> {
    Some(map([("Type", text(kind))]))
}

fn monitor(level: &str) -> Option<Value> {
    Some(map([("LogLevel", text(level))]))
}

fn filter(tags: &[(&str, &str)], status: &str, name: &str) -> Option<Value> {
    let tags = tags.iter().map(|(key, value)| (key.as_bytes().to_vec(), text(value))).collect();
    Some(map([("Tags", Value::Map(tags)), ("Status", text(status)), ("Name", text(name))]))
}

fn tagged(ip: &str) -> Running {
    Running::start("t1", ip, |options| {
        options.config.tags.insert(b"role".to_vec(), b"web".to_vec());
        options.live.event_handlers = EventScript::parse("query:load,user=load.sh").expect("reads");
    })
}

#[test]
fn a_member_is_shown_with_its_address_in_bytes() {
    let one = tagged("127.0.98.1");
    let body = one.client().ask("members", None);
    let member = &body.field("Members").list()[0];
    assert_eq!(member.field("Addr"), &Value::Text(vec![127, 0, 98, 1]));
    assert_eq!(member.field("Port").int(), u64::from(one.gossip.port()));
    assert_eq!(member.field("Tags"), &map([("role", text("web"))]));
    let versions = ["DelegateMin", "DelegateMax", "DelegateCur", "ProtocolMin", "ProtocolMax", "ProtocolCur"];
    assert_eq!(versions.map(|key| member.field(key).int()), [2, 5, 5, 1, 5, 2]);
    assert_eq!(member.field("Status").text(), "alive");
}

#[test]
fn members_are_filtered_by_anchored_patterns() {
    let one = tagged("127.0.98.2");
    let mut client = one.client();
    let mut count = |tags: &[(&str, &str)], status, name| {
        client.ask("members-filtered", filter(tags, status, name)).field("Members").list().len()
    };
    assert_eq!(count(&[("role", "w.b")], "alive", "t1"), 1);
    assert_eq!(count(&[("role", "we")], "", ""), 0, "anchored");
    assert_eq!(count(&[("nope", ".*")], "", ""), 1, "an absent tag is empty");
    assert_eq!(count(&[("nope", "")], "", ""), 1);
    assert_eq!(count(&[("role", "")], "", ""), 0);
    assert_eq!(count(&[], "failed", ""), 0);
    assert_eq!(count(&[], "", "x|1"), 1, "the anchors bind to one branch each");
    client.send("members-filtered", filter(&[], "", "("));
    assert_eq!(client.next(), None, "a bad pattern closes the connection");
    one.output.wait_for("[ERR] agent.ipc: Failed to evaluate request: Failed to compile regex: ");
}

#[test]
fn patterns_that_cost_much_are_postponed_and_every_request_is_answered() {
    let one = tagged("127.0.98.30");
    let mut clients = [(); 3].map(|()| one.client());
    let sent = clients
        .each_mut()
        .map(|client| [(); 4].map(|()| client.send("members-filtered", filter(&[("role", r"web|\pL{60}")], "", ""))));
    let mut quick = one.client();
    assert_eq!(quick.members().len(), 1);
    for (client, sent) in clients.iter_mut().zip(sent) {
        for seq in sent {
            assert_eq!(client.header(seq), "");
            assert_eq!(client.next().expect("a body").field("Members").list().len(), 1);
        }
    }
}

#[test]
fn the_patterns_of_one_request_may_not_cost_much_together() {
    let one = tagged("127.0.98.31");
    let tags: Vec<String> = (0..100).map(|tag| format!("tag{tag}")).collect();
    let tags: Vec<(&str, &str)> = tags.iter().map(|tag| (tag.as_str(), r"\pL{60}?")).collect();
    let mut client = one.client();
    assert_eq!(client.ask("members-filtered", filter(&tags[..1], "", "")).field("Members").list().len(), 0);
    client.send("members-filtered", filter(&tags, "", ""));
    assert_eq!(client.next(), None);
    one.output.wait_for("Failed to compile regex: error parsing regexp: regexp/syntax: internal error: `^\\pL{60}?$`");
}

#[test]
fn stats_have_every_key_that_clients_read() {
    let one = tagged("127.0.98.3");
    let stats = one.client().ask("stats", None);
    let serf = [
        "members",
        "failed",
        "left",
        "health_score",
        "member_time",
        "event_time",
        "query_time",
        "intent_queue",
        "event_queue",
        "query_queue",
        "encrypted",
        "coordinate_resets",
    ];
    for key in serf {
        assert!(!stats.field("serf").field(key).text().is_empty(), "{key}");
    }
    assert_eq!(stats.field("serf").field("members").text(), "1");
    assert_eq!(stats.field("serf").field("encrypted").text(), "false");
    for key in ["os", "arch", "version", "max_procs", "goroutines", "cpu_count"] {
        assert!(!stats.field("runtime").field(key).text().is_empty(), "{key}");
    }
    assert_eq!(stats.field("agent"), &map([("name", text("t1"))]));
    assert_eq!(stats.field("tags"), &map([("role", text("web"))]));
    assert_eq!(stats.field("event_handlers"), &map([("query:load", text("load.sh")), ("user:", text("load.sh"))]));
}

#[test]
fn the_first_command_must_be_a_handshake() {
    let one = Running::start("t1", "127.0.98.4", |_| ());
    let mut client = Client::raw(one.rpc);
    assert_eq!(client.call("members", None), "Handshake required");
    assert_eq!(client.next(), None);
    let mut client = one.client();
    assert_eq!(client.call("no-such-command", None), "Unsupported command");
    assert_eq!(client.next(), None);
    let mut client = one.client();
    client.send_bytes(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(client.next(), None, "junk is not answered");
}

#[test]
fn who_says_much_and_not_who_it_is_is_let_go() {
    let one = Running::start("t1", "127.0.98.20", |_| ());
    let mut client = Client::raw(one.rpc);
    // The header of a request whose command has a million bytes, of which few come.
    let header = b"\x82\xa7Command\xdb\x00\x0f\x42\x40";
    client.send_bytes(&[&header[..], &vec![b'x'; (16 << 10) - header.len()]].concat());
    assert_eq!(client.next(), None);
    one.output.wait_for(": it does not say who it is\n");
}

#[test]
fn a_token_is_asked_for_and_checked() {
    let one = Running::start("t1", "127.0.98.5", |options| options.rpc_auth = b"secret".to_vec());
    let mut client = one.client();
    assert_eq!(client.call("members", None), "Authentication required");
    let auth = |key: &str| Some(map([("AuthKey", text(key))]));
    assert_eq!(client.call("auth", auth("wrong")), "Invalid authentication token");
    assert_eq!(client.call("auth", auth("secret")), "");
    assert_eq!(client.members(), [("t1".to_owned(), "alive".to_owned())]);
}

#[test]
fn a_stream_brings_events_and_ends_with_the_agent() {
    let one = Running::start("t1", "127.0.98.6", |_| ());
    one.output.wait_for("Received event: member-join");
    let mut client = one.client();
    let seq = client.send("stream", stream("member-leave"));
    assert_eq!(client.header(seq), "");
    let other = one.client().call("stream", stream("no-such"));
    assert_eq!(other, "Invalid event filter");
    one.signal(Signal::Interrupt);
    assert_eq!(client.header(seq), "");
    let record = client.next().expect("a record");
    assert_eq!(record.field("Event").text(), "member-leave");
    assert_eq!(record.field("Members").list()[0].field("Name").text(), "t1");
    assert_eq!(client.next(), None);
}

#[test]
fn a_stopped_stream_brings_nothing_more() {
    let one = Running::start("t1", "127.0.98.7", |_| ());
    one.output.wait_for("Received event: member-join");
    let mut client = one.client();
    let seq = client.send("stream", stream("*"));
    assert_eq!(client.header(seq), "");
    assert_eq!(client.call("stop", Some(map([("Stop", Value::Int(seq))]))), "");
    one.signal(Signal::Interrupt);
    assert_eq!(client.next(), None);
}

#[test]
fn a_monitor_shows_what_was_logged_before_and_follows() {
    let one = Running::start("t1", "127.0.98.8", |options| options.log_level = Level::Err);
    let mut client = one.client();
    let seq = client.send("monitor", monitor("info"));
    assert_eq!(client.header(seq), "");
    let mut line = || {
        assert_eq!(client.header(seq), "");
        client.next().expect("a record").field("Log").text()
    };
    let first = line();
    assert!(first.ends_with(" [INFO] agent: Serf agent starting") && first.starts_with('2'), "{first}");
    assert!(line().ends_with(" [INFO] serf: EventMemberJoin: t1 127.0.98.8"));
    while !line().contains("[INFO] agent.ipc: Accepted client: 127.0.0.1:") {}
    drop(one.client());
    while !line().contains("[INFO] agent.ipc: Accepted client: 127.0.0.1:") {}
    assert_eq!(client.call("monitor", monitor("info")), "Monitor already exists");
    let mut other = one.client();
    assert_eq!(other.call("monitor", monitor("foo")), "Unknown log level: FOO");
    assert!(!one.output.text().contains("[INFO]"), "the agent's own level stays");
}

#[test]
fn a_force_leave_of_an_unknown_node_succeeds() {
    let one = Running::start("t1", "127.0.98.9", |_| ());
    let mut client = one.client();
    for prune in [false, true] {
        let body = map([("Node", text("nobody")), ("Prune", Value::Bool(prune))]);
        assert_eq!(client.call("force-leave", Some(body)), "", "prune: {prune}");
    }
}

#[test]
fn requests_before_a_half_close_are_answered() {
    let one = Running::start("t1", "127.0.98.11", |_| ());
    let mut client = one.client();
    let [first, second] = [client.send("members", None), client.send("members", None)];
    client.half_close();
    for seq in [first, second] {
        assert_eq!(client.header(seq), "");
        assert_eq!(client.next().expect("a body").field("Members").list().len(), 1);
    }
    assert_eq!(client.next(), None);
}

#[test]
fn a_leave_is_done_although_its_client_has_half_closed() {
    let one = Running::start("t1", "127.0.98.12", |_| ());
    let mut client = one.client();
    let seq = client.send("leave", None);
    client.half_close();
    assert_eq!(client.header(seq), "");
    assert_eq!(one.wait().0.code(), 0);
}

#[test]
fn a_client_that_reads_nothing_does_not_hold_up_the_others() {
    let one = Running::start("t1", "127.0.98.13", |_| ());
    let mut slow = one.client();
    // Far more answers than the buffers between the two take.
    let mut stuck = slow.sender();
    let flood = std::thread::spawn(move || stuck.flood("members", 200_000));
    for _ in 0..50 {
        assert_eq!(one.client().members().len(), 1);
    }
    drop(slow);
    one.kill();
    flood.join().expect("no panic");
}
