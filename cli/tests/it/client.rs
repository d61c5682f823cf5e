//! Commands against an agent that is played from a script, compared with what the original printed.

use crate::fake_agent::{Answer, FakeAgent, Step};
use crate::msgpack::{Value, map, text};
use crate::serf::{Run, command, serf, transcript};

/// Runs a command against an agent that follows `steps` after the handshake; gives the bodies that it was sent.
pub(crate) fn against(steps: Vec<Step>, words: &[&str]) -> (Run, Vec<Value>) {
    let mut script = vec![Step::ok("handshake")];
    script.extend(steps);
    let agent = FakeAgent::start(script);
    let mut command = command(words);
    let run = Run::of(words, command.env("SERF_RPC_ADDR", &agent.address).output().expect("the binary starts"));
    (run, agent.bodies())
}

pub(crate) fn success(run: Run) -> String {
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
    run.stdout
}

pub(crate) fn failure(run: Run) -> String {
    assert_eq!((run.code, run.stderr.as_str()), (Some(1), ""), "{}", run.stdout);
    run.stdout
}

pub(crate) fn member(name: &[u8], addr: &[u8], status: &str, tags: &[(&str, &str)]) -> Value {
    map([
        ("Addr", Value::Bin(addr.to_vec())),
        ("DelegateCur", Value::Uint(5)),
        ("DelegateMax", Value::Uint(5)),
        ("DelegateMin", Value::Uint(2)),
        ("Name", text(name)),
        ("Port", Value::Uint(7946)),
        ("ProtocolCur", Value::Uint(2)),
        ("ProtocolMax", Value::Uint(5)),
        ("ProtocolMin", Value::Uint(1)),
        ("Status", text(status)),
        ("Tags", Value::Map(tags.iter().map(|(key, value)| (text(key), text(value))).collect())),
    ])
}

fn members(members: Vec<Value>) -> Vec<Step> {
    vec![Step::body("members-filtered", map([("Members", Value::Array(members))]))]
}

/// The cluster of the transcripts, out of order.
fn cluster() -> Vec<Value> {
    vec![
        member(b"n3", &[127, 0, 0, 13], "alive", &[]),
        member(b"n1", &[127, 0, 0, 11], "alive", &[("role", "web"), ("dc", "east")]),
        member(b"n2", &[127, 0, 0, 12], "alive", &[("role", "db")]),
    ]
}

/// A captured table with the tags of each row in order.
fn sorted(table: &str) -> String {
    table.replace("role=web,dc=east", "dc=east,role=web")
}

#[test]
fn members_are_listed_as_the_original_lists_them() {
    for (words, name) in [
        (&["members"][..], "members-text"),
        (&["members", "-detailed"], "members-detailed"),
        (&["members", "-format=json"], "members-json"),
        (&["members", "-format=json", "-detailed"], "members-json"),
    ] {
        let (run, _) = against(members(cluster()), words);
        assert_eq!(success(run), sorted(&transcript(name)), "{words:?}");
    }
}

#[test]
fn an_empty_list_is_an_empty_line_or_null() {
    for nobody in [Value::Array(Vec::new()), Value::Nil] {
        let steps = || vec![Step::body("members-filtered", map([("Members", nobody.clone())]))];
        assert_eq!(success(against(steps(), &["members"]).0), transcript("members-empty-text"));
        assert_eq!(success(against(steps(), &["members", "-format=json"]).0), transcript("members-empty-json"));
    }
}

#[test]
fn filters_are_handed_to_the_agent() {
    let words = ["members", "-name=a|b", "-status", "alive", "-tag", "dc=x=y", "-tag", "z=", "-tag=dc=(", "ignored"];
    let (run, bodies) = against(members(Vec::new()), &words);
    success(run);
    assert_eq!(*bodies[1].field("Name"), text("a|b"));
    assert_eq!(*bodies[1].field("Status"), text("alive"));
    assert_eq!(*bodies[1].field("Tags"), map([("dc", text("(")), ("z", text(""))]));
}

#[test]
fn a_role_is_a_filter_on_the_tag_with_a_warning() {
    let (run, bodies) = against(members(vec![cluster().remove(1)]), &["members", "-tag", "role=x", "-role=web"]);
    assert_eq!(success(run), sorted(&transcript("members-role")));
    assert_eq!(*bodies[1].field("Tags"), map([("role", text("web"))]));
}

#[test]
fn bars_blanks_and_odd_bytes_do_not_break_the_table() {
    let odd = vec![
        member(b"a|b", &[127, 0, 0, 1], "failed", &[]),
        member(
            "\u{fc}ber".as_bytes(),
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 2],
            "alive",
            &[("k", "a|b")],
        ),
        member(b"z", &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "left", &[("<", "&\u{2028}")]),
    ];
    insta::assert_snapshot!("members_odd_text", against(members(odd.clone()), &["members"]).0);
    insta::assert_snapshot!("members_odd_json", against(members(odd), &["members", "-format", "json"]).0);
    let broken = vec![member(b"\xff\xfex", &[127, 0, 0, 1], "alive", &[])];
    let (run, _) = against(members(broken), &["members", "-format=json"]);
    assert!(success(run).contains(r#""name": "\ufffd\ufffdx","#));
}

#[test]
fn what_goes_wrong_is_said_on_stdout() {
    let close = vec![Step::with("members-filtered", Answer::Close)];
    assert_eq!(failure(against(close, &["members", "-name", "("]).0), transcript("members-badregex"));
    assert_eq!(failure(against(members(cluster()), &["members", "-format=xml"]).0), transcript("members-badformat"));
    assert_eq!(failure(serf(&["members", "-tag", "foo"])), transcript("badtag-members"));
    let refused = vec![Step::refused("members-filtered", "Authentication required")];
    assert_eq!(failure(against(refused, &["members"]).0), "Error retrieving members: Authentication required\n");
    let refused = vec![Step::refused("stats", "Authentication required")];
    assert_eq!(failure(against(refused, &["info"]).0), "Error querying agent: Authentication required\n");
}

fn stats() -> Vec<Step> {
    let section =
        |entries: &[(&str, &str)]| Value::Map(entries.iter().map(|(key, value)| (text(key), text(value))).collect());
    vec![Step::body(
        "stats",
        map([
            ("tags", section(&[("role", "web"), ("dc", "east")])),
            ("agent", section(&[("name", "n1")])),
            (
                "event_handlers",
                section(&[
                    ("user:deploy", "cat >>/tmp/w/deploy.log"),
                    ("query:sh", "sh"),
                    ("query:up", "tr a-z A-Z"),
                    ("query:fail", "echo no; exit 3"),
                ]),
            ),
            (
                "runtime",
                section(&[
                    ("version", "go1.19.8"),
                    ("os", "linux"),
                    ("arch", "amd64"),
                    ("goroutines", "23"),
                    ("max_procs", "2"),
                    ("cpu_count", "2"),
                ]),
            ),
            (
                "serf",
                section(&[
                    ("members", "3"),
                    ("failed", "0"),
                    ("left", "0"),
                    ("health_score", "0"),
                    ("member_time", "2"),
                    ("event_time", "1"),
                    ("query_time", "1"),
                    ("intent_queue", "0"),
                    ("event_queue", "0"),
                    ("query_queue", "0"),
                    ("encrypted", "false"),
                    ("coordinate_resets", "0"),
                ]),
            ),
        ]),
    )]
}

#[test]
fn info_is_shown_as_the_original_shows_it() {
    assert_eq!(success(against(stats(), &["info"]).0), transcript("info-text"));
    assert_eq!(success(against(stats(), &["info", "-format", "json"]).0), transcript("info-json"));
    let refused = failure(against(stats(), &["info", "-format", "xml"]).0);
    assert_eq!(refused, transcript("members-badformat"));
}

#[test]
fn an_empty_section_is_its_heading() {
    let nothing = || vec![Step::body("stats", map([("tags", Value::Map(Vec::new()))]))];
    assert_eq!(success(against(nothing(), &["info"]).0), "tags:\n");
    assert_eq!(success(against(nothing(), &["info", "-format=json"]).0), "{\n  \"tags\": {}\n}\n");
}

#[test]
fn joining_tells_how_many_answered() {
    let joined = || vec![Step::body("join", map([("Num", Value::Uint(2))]))];
    let (run, bodies) = against(joined(), &["join", "-replay", "127.0.0.12", "127.0.0.13"]);
    assert_eq!(success(run), transcript("join-ok"));
    assert_eq!(*bodies[1].field("Existing"), Value::Array(vec![text("127.0.0.12"), text("127.0.0.13")]));
    assert_eq!(*bodies[1].field("Replay"), Value::Bool(true));
}

#[test]
fn joining_nobody_shows_the_agents_list_of_errors() {
    let error = "2 errors occurred:\n\
                 \t* Failed to join 127.0.0.98: dial tcp 127.0.0.98:7946: connect: connection refused\n\
                 \t* Failed to join 127.0.0.99: dial tcp 127.0.0.99:7946: connect: connection refused\n\n";
    // The agent sends the body even then.
    let then = vec![map([("Num", Value::Uint(0))])];
    let (run, _) =
        against(vec![Step::with("join", Answer::Reply { error, then })], &["join", "127.0.0.98", "127.0.0.99"]);
    assert_eq!(failure(run), transcript("join-fail"));
    let (run, _) = against(vec![Step::refused("join", "Authentication required")], &["join", "127.0.0.98"]);
    assert_eq!(failure(run), "Error joining the cluster: Authentication required\n");
}

#[test]
fn leaving_waits_for_the_agents_word() {
    assert_eq!(success(against(vec![Step::ok("leave")], &["leave"]).0), transcript("leave"));
    let (run, _) = against(vec![Step::refused("leave", "Leave already in progress")], &["leave", "ignored"]);
    assert_eq!(failure(run), "Error leaving: Leave already in progress\n");
}

#[test]
fn forcing_a_leave_says_nothing() {
    let (run, bodies) = against(vec![Step::ok("force-leave")], &["force-leave", "-prune", "n3"]);
    assert_eq!(success(run), "");
    assert_eq!((bodies[1].field("Node"), bodies[1].field("Prune")), (&text("n3"), &Value::Bool(true)));
    let timed_out = vec![Step::refused("force-leave", "timed out broadcasting node removal")];
    let (run, bodies) = against(timed_out, &["force-leave", "n3"]);
    assert_eq!(failure(run), "Error force leaving: timed out broadcasting node removal\n");
    assert_eq!(*bodies[1].field("Prune"), Value::Bool(false));
}

#[test]
fn a_token_is_given_after_the_handshake() {
    let agent = FakeAgent::start(vec![Step::ok("handshake"), Step::ok("auth"), Step::ok("leave")]);
    let mut command = command(&["leave", "-rpc-addr", &agent.address]);
    let run = Run::of(&["leave"], command.env("SERF_RPC_AUTH", "sekret").output().expect("the binary starts"));
    assert_eq!(success(run), "Graceful leave complete\n");
    let bodies = agent.bodies();
    assert_eq!(*bodies[0].field("Version"), Value::Uint(1));
    assert_eq!(*bodies[1].field("AuthKey"), text("sekret"));
}

#[test]
fn a_flag_wins_over_the_environment_even_when_it_is_empty() {
    let agent = FakeAgent::start(vec![Step::ok("handshake"), Step::ok("leave")]);
    let mut command = command(&["leave", "-rpc-auth=", "-rpc-addr", &agent.address]);
    command.env("SERF_RPC_AUTH", "sekret").env("SERF_RPC_ADDR", "127.0.77.1:1");
    let run = Run::of(&["leave"], command.output().expect("the binary starts"));
    assert_eq!(success(run), "Graceful leave complete\n");
    agent.bodies();
}

#[test]
fn a_refused_token_is_a_failure_to_connect() {
    let agent = FakeAgent::start(vec![Step::ok("handshake"), Step::refused("auth", "Invalid authentication token")]);
    let run = serf(&["members", "-rpc-auth", "x", "-rpc-addr", &agent.address]);
    assert_eq!(failure(run), "Error connecting to Serf agent: Invalid authentication token\n");
    agent.bodies();
}

#[test]
fn addresses_that_lead_nowhere_are_named_as_go_names_them() {
    let refused = |words: &[&str]| failure(serf(words));
    let original = transcript("noagent-members").replace("127.0.0.11:7373", "127.0.77.3:1");
    assert_eq!(refused(&["members", "-rpc-addr", "127.0.77.3:1"]), original);
    for (address, text) in [
        ("", "missing address"),
        ("127.0.77.3", "address 127.0.77.3: missing port in address"),
        ("::1:5", "address ::1:5: too many colons in address"),
        ("127.0.77.3:99999", "address 99999: invalid port"),
        ("127.0.77.3:no-such-service", "address tcp/no-such-service: unknown port"),
        ("300.1.1.1:5", "lookup 300.1.1.1: no such host"),
    ] {
        let expected = format!("Error connecting to Serf agent: dial tcp: {text}\n");
        assert_eq!(refused(&["info", "-rpc-addr", address]), expected, "{address}");
    }
    assert_eq!(
        refused(&["leave", "-rpc-addr", "127.0.77.3:"]),
        "Error connecting to Serf agent: dial tcp 127.0.77.3:0: connect: connection refused\n"
    );
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let words = ["members"];
    let mut command = command(&words);
    // An agent may run on this host's default address, so only the absence of the empty one can be seen.
    let run = Run::of(&words, command.env("SERF_RPC_ADDR", "").env("SERF_RPC_AUTH", "").output().expect("starts"));
    assert!(!run.stdout.contains("missing address"), "{}", run.stdout);
}
