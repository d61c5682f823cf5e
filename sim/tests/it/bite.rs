//! Checkers that are given a forged history, expectations that are false, scenarios with mistakes: all are caught.

use std::io::Write as _;
use std::process::{Command, Output};
use std::time::Duration;

use villein_core::Time;
use villein_core::command::Reply;
use villein_core::coordinate::Coordinate;
use villein_core::event::{MemberEventKind, MemberInfo, QueryKey, Status, UserEvent};
use villein_core::io::RequestId;
use villein_core::lamport::LamportTime;
use villein_core::node::{MemberView, Stats};
use villein_core::serf::tags::encode;
use villein_core::types::{GossipAddr, Incarnation, Name, QueryId, Tags, Versions};
use villein_core::wire::Encoding;
use villein_sim::checkers::{Broken, Checkers, Remembered};
use villein_sim::scenario::HostId;

const A: HostId = HostId(0);

/// What node `a` of a cluster of `a` and `b` shows.
struct History(Checkers);

impl History {
    fn of(saved: Option<u32>) -> Self {
        let names = [Name::from("a"), Name::from("b")];
        let mut checkers = Checkers::new(&names);
        checkers.start(A, Name::from("a"), saved.map(Incarnation), false, 8);
        Self(checkers)
    }

    fn event(&mut self, kind: MemberEventKind, status: Status) -> Result<(), Broken> {
        self.0.event(A, kind, &Name::from("b"), status)
    }

    fn view(&mut self, members: &[MemberView]) -> Result<(), Broken> {
        self.view_at(0, members)
    }

    fn view_at(&mut self, second: u64, members: &[MemberView]) -> Result<(), Broken> {
        self.0.view(A, Time::from_nanos(second * 1_000_000_000), members, &stats(members))
    }

    /// A history in which `b` is a member at incarnation 5.
    fn with_b() -> Self {
        let mut history = Self::of(None);
        assert_eq!(history.event(MemberEventKind::Join, Status::Alive), Ok(()));
        assert_eq!(history.view(&[member("b", 5, Status::Alive)]), Ok(()));
        history
    }
}

fn member(name: &str, incarnation: u32, status: Status) -> MemberView {
    let addr = GossipAddr::from_bytes(&[10, 0, 0, 2], 7946).expect("4 bytes");
    let (meta, versions) = (encode(&Tags::new()), Versions::CURRENT);
    MemberView {
        info: MemberInfo { name: Name::from(name), addr, meta, status, versions },
        incarnation: Incarnation(incarnation),
        state: None,
        status_ltime: LamportTime(0),
        native: true,
    }
}

fn stats(members: &[MemberView]) -> Stats {
    let count = |status| members.iter().filter(|member| member.info.status == status).count();
    Stats {
        members: members.len(),
        failed: count(Status::Failed),
        left: count(Status::Left),
        health_score: 0,
        member_time: LamportTime(1),
        event_time: LamportTime(1),
        query_time: LamportTime(1),
        intent_queue: 0,
        event_queue: 0,
        query_queue: 0,
        sealed: 0,
        sealed_by_all: 0,
        encrypted: false,
        encoding: Encoding::Native,
        strangers: 0,
        coordinate_resets: Some(0),
        rejected: 0,
        dropped: 0,
    }
}

fn caught(result: Result<(), Broken>, rule: &str) {
    assert_eq!(result.expect_err("the forged history is caught").rule, rule);
}

#[test]
fn an_incarnation_that_goes_back_is_caught_unless_the_address_changed() {
    let mut history = History::with_b();
    caught(history.view(&[member("b", 4, Status::Alive)]), "the incarnation of a member never decreases");
    let mut moved = member("b", 1, Status::Alive);
    moved.info.addr = GossipAddr::from_bytes(&[10, 0, 0, 9], 7946).expect("4 bytes");
    assert_eq!(History::with_b().view(&[moved]), Ok(()));
}

/// What a node that is well shows of itself, and then something else.
fn own(
    change: impl FnOnce(&mut History, &mut MemberView, &mut Stats, &mut Option<usize>, &mut Coordinate),
) -> Result<(), Broken> {
    let mut history = History::of(None);
    let (mut me, mut keys, mut coordinate) = (member("a", 1, Status::Alive), Some(1), Coordinate::start());
    let mut stats = stats(std::slice::from_ref(&me));
    assert_eq!(history.0.own(A, Some(&me), &stats, keys, Some(&coordinate)), Ok(()));
    change(&mut history, &mut me, &mut stats, &mut keys, &mut coordinate);
    history.0.own(A, Some(&me), &stats, keys, Some(&coordinate))
}

#[test]
fn a_node_that_shows_something_impossible_of_itself_is_caught() {
    assert_eq!(own(|_, _, _, _, _| ()), Ok(()));
    caught(own(|_, _, stats, _, _| stats.query_time = LamportTime(0)), "a Lamport clock never goes back");
    caught(own(|_, me, _, _, _| me.info.status = Status::Failed), "a node knows itself");
    caught(own(|_, _, _, keys, _| *keys = Some(0)), "an encrypted node has a key");
    caught(own(|_, _, _, _, coordinate| coordinate.height = f64::NAN), "a coordinate is finite");
    let heard = |history: &mut History, ltime| {
        let (name, payload) = (b"deploy".as_slice().into(), Box::default());
        let event = UserEvent { ltime: LamportTime(ltime), name, payload, coalesce: false };
        assert_eq!(history.0.user_event(A, &event), Ok(()));
    };
    caught(own(|history, _, _, _, _| heard(history, 1)), "what was heard is in the past");
    let stats = stats(&[]);
    caught(History::of(None).0.own(A, None, &stats, None, None), "a node knows itself");
}

#[test]
fn tags_that_change_without_a_word_are_caught() {
    let tagged = |name: &str, incarnation, status| {
        let mut member = member(name, incarnation, status);
        member.info.meta = encode(&[(b"role".to_vec(), b"db".to_vec())].into());
        [member]
    };
    let rule = "tags change with a higher incarnation only";
    caught(History::with_b().view(&tagged("b", 5, Status::Alive)), rule);
    assert_eq!(History::with_b().view(&tagged("b", 6, Status::Alive)), Ok(()));
    // What a node sets after its leave is nobody else's business.
    let mut left = History::of(None);
    assert_eq!(left.0.event(A, MemberEventKind::Join, &Name::from("a"), Status::Alive), Ok(()));
    assert_eq!(left.0.event(A, MemberEventKind::Leave, &Name::from("a"), Status::Left), Ok(()));
    assert_eq!(left.view(&[member("a", 1, Status::Left)]), Ok(()));
    assert_eq!(left.view(&tagged("a", 1, Status::Left)), Ok(()));
}

#[test]
fn a_member_that_is_forgotten_too_soon_is_caught() {
    let mut history = History::with_b();
    assert_eq!(history.event(MemberEventKind::Failed, Status::Failed), Ok(()));
    assert_eq!(history.view_at(10, &[member("b", 5, Status::Failed)]), Ok(()));
    let remembered = Remembered { failed: Duration::from_secs(60), left: Duration::from_secs(5) };
    let reaped = |second: u64| {
        let at = Time::from_nanos(second * 1_000_000_000);
        history.0.reaped(A, at, &Name::from("b"), remembered)
    };
    caught(reaped(69), "a member that is gone is remembered long enough");
    assert_eq!(reaped(70), Ok(()));
}

#[test]
fn a_datagram_that_is_too_large_and_tags_that_are_not_kept_are_caught() {
    let checkers = History::of(None).0;
    assert_eq!(checkers.datagram(1_405, 1_405), Ok(()));
    caught(checkers.datagram(1_406, 1_405), "no datagram is larger than a packet may be");
    let tags: Tags = [(b"role".to_vec(), b"db".to_vec())].into();
    assert_eq!(checkers.tags_set(&Reply::TagsSet, &tags, Some(&tags)), Ok(()));
    caught(checkers.tags_set(&Reply::TagsSet, &tags, Some(&Tags::new())), "acknowledged tags are on the disk");
}

#[test]
fn an_own_incarnation_that_goes_back_or_begins_at_the_saved_one_is_caught() {
    let own = |incarnation| [member("a", incarnation, Status::Alive)];
    let mut history = History::of(Some(7));
    let join = |history: &mut History| history.0.event(A, MemberEventKind::Join, &Name::from("a"), Status::Alive);
    assert_eq!(join(&mut history), Ok(()));
    caught(history.view(&own(7)), "the own incarnation strictly increases");
    let mut history = History::of(Some(7));
    assert_eq!(join(&mut history), Ok(()));
    assert_eq!(history.view(&own(8)), Ok(()));
    caught(history.view(&own(7)), "the own incarnation strictly increases");
}

#[test]
fn a_resurrection_is_caught() {
    for (kind, status) in [(MemberEventKind::Failed, Status::Failed), (MemberEventKind::Leave, Status::Left)] {
        let mut history = History::with_b();
        assert_eq!(history.event(kind, status), Ok(()));
        assert_eq!(history.view(&[member("b", 5, status)]), Ok(()));
        assert_eq!(history.event(MemberEventKind::Join, Status::Alive), Ok(()));
        caught(history.view(&[member("b", 5, Status::Alive)]), "nobody comes back without a higher incarnation");
    }
}

#[test]
fn events_in_a_senseless_order_are_caught() {
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};
    let rule = "events about a member follow each other sensibly";
    caught(History::with_b().event(Join, Status::Alive), rule);
    caught(History::of(None).event(Failed, Status::Failed), rule);
    caught(History::of(None).event(Update, Status::Alive), rule);
    let mut left = History::with_b();
    assert_eq!(left.event(Leave, Status::Left), Ok(()));
    caught(left.event(Failed, Status::Failed), rule);
    let mut reaped = History::with_b();
    caught(reaped.event(Reap, Status::Alive), rule);
}

#[test]
fn an_event_or_a_listing_that_says_otherwise_is_caught() {
    caught(
        History::with_b().event(MemberEventKind::Failed, Status::Alive),
        "an event shows the status that it tells of",
    );
    let rule = "the listing agrees with the events";
    // Coalescing may tell later, but not as late as that.
    let mut history = History::with_b();
    history.0.start(A, Name::from("a"), None, true, 8);
    for second in [0, 19] {
        assert_eq!(history.view_at(second, &[member("b", 5, Status::Alive)]), Ok(()));
    }
    caught(history.view_at(20, &[member("b", 5, Status::Alive)]), rule);
    caught(History::with_b().view(&[member("b", 5, Status::Failed)]), rule);
    caught(History::of(None).view(&[member("b", 5, Status::Alive)]), rule);
    let mut failed = History::with_b();
    assert_eq!(failed.event(MemberEventKind::Failed, Status::Failed), Ok(()));
    caught(failed.view(&[member("b", 5, Status::Alive)]), rule);
}

#[test]
fn a_member_that_vanishes_without_being_forgotten_is_caught() {
    caught(History::with_b().view(&[]), "a member is listed until it is forgotten");
}

#[test]
fn strangers_wrong_numbers_and_exceeded_bounds_are_caught() {
    let mut history = History::of(None);
    caught(history.view(&[member("x", 1, Status::None)]), "only members of the cluster are listed");
    let mut wrong = stats(&[]);
    wrong.failed = 1;
    caught(history.0.view(A, Time::ZERO, &[], &wrong), "the numbers agree with the listing");
    for change in [|stats: &mut Stats| stats.health_score = 8, |stats: &mut Stats| stats.intent_queue = 5_000] {
        let mut wrong = stats(&[]);
        change(&mut wrong);
        caught(history.0.view(A, Time::ZERO, &[], &wrong), "nothing grows beyond its bound");
    }
}

#[test]
fn a_deadline_that_has_passed_and_a_second_reply_are_caught() {
    let mut history = History::of(None);
    let at = Time::from_millis(5);
    assert_eq!(history.0.deadline(at, Some(at.next())), Ok(()));
    caught(history.0.deadline(at, Some(at)), "the next deadline is later than the input");
    history.0.command(A, RequestId(1), false);
    assert_eq!(history.0.reply(A, RequestId(1), &Reply::Left), Ok(()));
    caught(history.0.reply(A, RequestId(1), &Reply::Left), "each command has one reply");
    caught(history.0.reply(A, RequestId(2), &Reply::Left), "each command has one reply");
}

#[test]
fn words_on_a_query_that_come_twice_too_early_or_too_late_are_caught() {
    let ack = || Reply::QueryAck { from: Name::from("b") };
    let answer = || Reply::QueryResponse { from: Name::from("b"), payload: [].into() };
    let asked = |replies: &[Reply]| {
        let mut history = History::of(None);
        history.0.command(A, RequestId(1), true);
        let (last, before) = replies.split_last().expect("a reply");
        for reply in before {
            assert_eq!(history.0.reply(A, RequestId(1), reply), Ok(()), "{reply:?}");
        }
        history.0.reply(A, RequestId(1), last)
    };
    assert_eq!(asked(&[Reply::QueryStarted, ack(), answer(), Reply::QueryDone]), Ok(()));
    caught(asked(&[ack()]), "a member acknowledges a query once");
    caught(asked(&[Reply::QueryStarted, ack(), ack()]), "a member acknowledges a query once");
    caught(asked(&[Reply::QueryStarted, answer(), answer()]), "a member answers a query once");
    caught(asked(&[Reply::QueryStarted, Reply::QueryStarted]), "a query begins once");
    caught(asked(&[Reply::QueryStarted, Reply::Left]), "each command has one reply");
    caught(asked(&[Reply::QueryDone]), "a query ends after its beginning");
    caught(asked(&[Reply::QueryStarted, Reply::QueryDone, answer()]), "each command has one reply");
    let mut history = History::of(None);
    history.0.command(A, RequestId(1), false);
    caught(history.0.reply(A, RequestId(1), &Reply::QueryStarted), "a query begins once");
}

#[test]
fn an_event_and_a_query_that_come_twice_to_one_process_are_caught() {
    let event = |payload: &[u8]| UserEvent {
        ltime: LamportTime(7),
        name: b"deploy"[..].into(),
        payload: payload.into(),
        coalesce: true,
    };
    let key = QueryKey { ltime: LamportTime(3), id: QueryId(9) };
    let mut history = History::of(None);
    assert_eq!(history.0.user_event(A, &event(b"1")), Ok(()));
    assert_eq!(history.0.user_event(A, &event(b"2")), Ok(()));
    caught(history.0.user_event(A, &event(b"1")), "a process gets an event once");
    assert_eq!(history.0.asked(A, key), Ok(()));
    caught(history.0.asked(A, key), "a process gets a query once");
    // The next process of the host knows nothing of them.
    history.0.start(A, Name::from("a"), None, false, 8);
    assert_eq!(history.0.user_event(A, &event(b"1")), Ok(()));
    assert_eq!(history.0.asked(A, key), Ok(()));
}

/// Runs the program on a scenario of this text, in a directory of its own.
fn sim(text: &str, more: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let mut file = std::fs::File::create(dir.path().join("x.toml")).expect("a file");
    file.write_all(text.as_bytes()).expect("it is written");
    Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["run", "x.toml"])
        .args(more)
        .current_dir(dir.path())
        .output()
        .expect("the program runs")
}

#[test]
fn a_false_expectation_says_where_when_and_what_and_how_to_repeat_it() {
    let text = r#"[run]
until = "20s"
[cluster]
nodes = ["a", "b"]
start = "joined"
[[expect]]
by = "12.5s"
at = ["a"]
sees = { b = "failed" }
[[expect]]
converged = true
"#;
    let output = sim(text, &["--seed", "9"]);
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("\nx.toml:9: at 12.50s expected to see b failed; a sees b alive\n"), "{stdout}");
    assert!(stdout.contains("\nFAILED    1 of 2 expectations not met\n"), "{stdout}");
    assert_eq!(stdout.lines().last(), Some("cargo run --release -p villein-sim -- run x.toml --seed 9"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_false_expectation_of_events_queries_tags_or_keys_says_what_was_seen() {
    let steps = r#"[run]
until = "20s"
[cluster]
nodes = ["a", "b"]
start = "joined"
encrypt = true
[[step]]
at = "1s"
event = { nodes = ["a"], name = "deploy" }
[[step]]
at = "2s"
query = { nodes = ["a"], name = "load", timeout = "1s" }
[[step]]
at = "3s"
tags = { nodes = ["a"], set = { role = "web" } }
[[step]]
at = "4s"
key = { nodes = ["b"], install = "second" }
"#;
    for (expect, want) in [
        (
            r#"events = { kind = "user", name = "deploy", count = 2 }"#,
            r#"exactly 2 user events "deploy" between 0.00s and 20.00s; 1 at a"#,
        ),
        (
            r#"events = { kind = "query", name = "nosuch" }"#,
            r#"at least 1 queries "nosuch" between 0.00s and 20.00s; 0 at a"#,
        ),
        (r#"tags = { a = { role = "db" } }"#, "to see the tags a: role=db; a sees a: role=web"),
        (r#"keys = ["first"]"#, "the keys first; a has first, another"),
        (r#"keys = ["second", "first"]"#, "the keys second, first; a has first, second"),
        (
            r#"replies = { contains = "query load: 2 acks (a,b), 1 answer", count = 1 }"#,
            r#"exactly 1 replies with "query load: 2 acks (a,b), 1 answer" between 0.00s and 20.00s; 0 at a"#,
        ),
    ] {
        let output = sim(&format!("{steps}[[expect]]\nat = [\"a\"]\n{expect}\n"), &[]);
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{stdout}");
        assert!(stdout.contains(&format!("\nx.toml:21: at 20.00s expected {want}\n")), "{expect}: {stdout}");
    }
}

const GOOD: &str = r#"[run]
until = "20s"
[cluster]
nodes = ["a", "b", "c"]
"#;

#[test]
fn a_mistake_in_a_scenario_says_where_and_what_would_be_right() {
    for (more, line, want) in [
        ("[[step]]\nat = \"1s\"\ncut = [[\"a\"], [\"d\"]]", 7, "unknown node \"d\" in cut; the cluster has a, b, c"),
        (
            "[[step]]\nat = \"1s\"\ncutt = []",
            7,
            "unknown verb \"cutt\" in [[step]]; did you mean \"cut\"? Known: cut, ",
        ),
        (
            "[[step]]\nat = \"1s\"\nheal = \"all\"\npause = [\"a\"]",
            8,
            "[[step]] has 2 verbs (heal, pause); one step has one",
        ),
        ("[[step]]\nat = \"1s\"", 5, "[[step]] has no verb; known: cut, "),
        ("[[step]]\nat = \"99s\"\nheal = \"all\"", 6, "at: 99.00s is after the end of the run"),
        ("[[step]]\nat = 5\nheal = \"all\"", 6, "at must be text, not a number"),
        ("[link]\ndelai = \"1ms\"", 6, "unknown key \"delai\" in link; did you mean \"delay\"? Known: "),
        ("[link]\nloss = \"5\"", 6, "loss: \"5\" is no chance; write it like \"0.5%\", from \"0%\" to \"100%\""),
        ("[link]\nloss = 0.5", 6, "loss must be text, not a number with a point"),
        ("[link]\ndelay = \"5..1\"", 6, "delay: \"5..1\" is no delay; write \"20ms\", "),
        (
            "[[expect]]\nsees = { a = \"dead\" }",
            6,
            "a cannot be \"dead\"; known: alive, leaving, left, failed, none, absent",
        ),
        ("[[expect]]\nby = \"5s\"", 5, "[[expect]] expects nothing; known: sees, "),
        (
            "[[expect]]\nby = \"30s\"\nconverged = true",
            5,
            "from must not be after by, and by must not be after the end",
        ),
        (
            "[[node]]\nname = \"a\"\nconfig = { probe_timeout = \"2s\" }",
            3,
            "node \"a\": probe timeout 2s must be below the probe interval 1s",
        ),
        ("[nodes]\n", 5, "unknown key \"nodes\" in the scenario; did you mean \"node\"? Known: "),
        ("[[step]]\nat = \"1s\"\njoin = {", 7, ""),
        (
            "[[step]]\nat = \"1s\"\nkey = { nodes = [\"a\"], install = \"x\", list = true }",
            7,
            "key needs one of install, use, remove (each with a word for the key) and list = true",
        ),
        ("[[step]]\nat = \"1s\"\nevent = { nodes = [\"a\"], nam = \"x\" }", 7, "event needs the key \"name\""),
        (
            "[[step]]\nat = \"1s\"\nquery = { nodes = [\"a\"], name = \"x\", timeot = \"1s\" }",
            7,
            "unknown key \"timeot\" in query; did you mean \"timeout\"? Known: ",
        ),
        (
            "[[step]]\nat = \"1s\"\nrestart = { nodes = [\"a\"], as = \"x\" }",
            7,
            "unknown node \"x\" in as; the cluster has a, b, c",
        ),
        ("[[expect]]\nevents = { kind = \"users\" }", 6, "kind cannot be \"users\"; did you mean \"user\"? Known: "),
        ("[[expect]]\ntags = { x = {} }", 6, "unknown node \"x\" in tags; the cluster has a, b, c"),
        ("[cluster.answers]\nload = 5", 6, "load must be a table, not a number"),
    ] {
        let output = sim(&format!("{GOOD}{more}\n"), &[]);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{more}: {stderr}");
        assert!(stderr.starts_with(&format!("x.toml:{line}: {want}")), "{more}: {stderr}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
}

#[test]
fn a_scenario_that_is_not_there_is_bad_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(["run", "nowhere.toml"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("nowhere.toml: cannot be read: "));
}
