//! Keys, name conflicts, tags, pruning: what the cluster agrees on (protocol.md 2.4, 2.9, 2.12).

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::command::{Command, CommandError, KeyOutcome, KeyRequest, Reply};
use crate::event::Status;
use crate::io::{Persist, PersistError, Stimulus};
use crate::keyring::Key;
use crate::lamport::LamportTime;
use crate::log::Log;
use crate::tests::harness::{Cluster, Lone, addr, alive, name};
use crate::types::{GossipAddr, QueryId, Tags};
use crate::wire::{Intent, Message, Query, SerfMessage};

const SECOND: Duration = Duration::from_secs(1);
const OLD: [u8; 16] = [1; 16];
const NEW: [u8; 32] = [2; 32];

fn key(bytes: &[u8]) -> Key {
    Key::new(bytes).expect("a key's length")
}

fn outcome(cluster: &mut Cluster, number: usize, request: KeyRequest) -> KeyOutcome {
    let id = cluster.command(number, Command::Key(request));
    cluster.run(5 * SECOND);
    match cluster.replies.get(&(number, id)) {
        Some(Reply::Keys(outcome)) => (**outcome).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_rotated_through_a_whole_cluster() {
    let mut cluster = Cluster::joined(4, |config| config.keys = vec![key(&OLD)]);
    for request in [KeyRequest::Install(NEW.into()), KeyRequest::Use(NEW.into()), KeyRequest::Remove(OLD.into())] {
        let outcome = outcome(&mut cluster, 1, request.clone());
        assert_eq!((outcome.error(), outcome.nodes, outcome.responses), (None, 4, 4), "{request:?}");
    }
    let listed = outcome(&mut cluster, 2, KeyRequest::List);
    let new = key(&NEW).to_base64();
    assert_eq!((listed.keys, listed.primaries), ([(new.clone(), 4)].into(), [(new, 4)].into()));
    for number in 0..4 {
        assert_eq!(cluster.node(number).keys().cloned().collect::<Vec<_>>(), [key(&NEW)]);
    }
}

#[test]
fn a_status_says_who_has_which_keys_and_who_is_silent() {
    let mut cluster = Cluster::joined(3, |config| config.keys = vec![key(&OLD)]);
    outcome(&mut cluster, 1, KeyRequest::Install(NEW.into()));
    let [old, new] = [&OLD[..], &NEW].map(|bytes| key(bytes).to_base64());
    let status = outcome(&mut cluster, 2, KeyRequest::Status);
    let both = || vec![old.clone(), new.clone()];
    assert_eq!(status.rings, [0, 1, 2].map(|number| (name(number), both())).into());
    outcome(&mut cluster, 1, KeyRequest::Use(NEW.into()));
    cluster.crash(0);
    let status = outcome(&mut cluster, 2, KeyRequest::Status);
    assert_eq!(
        (status.error().as_deref(), status.missing.as_slice()),
        (Some("2/3 nodes reported success"), &[name(0)][..])
    );
    let turned = || vec![new.clone(), old.clone()];
    assert_eq!(status.rings, [1, 2].map(|number| (name(number), turned())).into(), "the primary one first");
    let listed = outcome(&mut cluster, 2, KeyRequest::List);
    assert_eq!(listed.rings, [].into(), "nobody asked");
}

#[test]
fn each_message_that_is_sealed_counts_against_the_key() {
    let mut cluster = Cluster::joined(2, |config| config.keys = vec![key(&OLD)]);
    let before = cluster.node(0).stats().sealed;
    cluster.run(10 * SECOND);
    let after = cluster.node(0).stats().sealed;
    assert!(before > 0 && after >= before + 10, "a ping or an answer a second: {before}, {after}");
    outcome(&mut cluster, 0, KeyRequest::Install(NEW.into()));
    outcome(&mut cluster, 0, KeyRequest::Use(NEW.into()));
    assert!(cluster.node(0).stats().sealed < after, "the new key is counted from its first message");
    let mut open = Cluster::joined(2, |_| ());
    open.run(10 * SECOND);
    assert_eq!(open.node(0).stats().sealed, 0);
}

#[test]
fn what_members_cannot_do_is_counted_and_said_in_upstreams_words() {
    let mut cluster = Cluster::joined(3, |config| config.keys = vec![key(&OLD)]);
    for (request, text) in [
        (KeyRequest::Install(b"short".as_slice().into()), "key size must be 16, 24 or 32 bytes"),
        (KeyRequest::Use(NEW.into()), "Requested key is not in the keyring"),
        (KeyRequest::Remove(OLD.into()), "Removing the primary key is not allowed"),
    ] {
        let outcome = outcome(&mut cluster, 0, request);
        assert_eq!(outcome.error().as_deref(), Some("3/3 nodes reported failure"));
        let said: Vec<&str> = outcome.messages.values().map(String::as_str).collect();
        assert_eq!(said, [text; 3]);
    }
    let absent = outcome(&mut cluster, 0, KeyRequest::Remove(NEW.into()));
    assert_eq!(absent.error(), None, "removing what is not there is no error");
}

#[test]
fn without_encryption_there_is_no_keyring() {
    let mut cluster = Cluster::joined(2, |_| ());
    let listed = outcome(&mut cluster, 0, KeyRequest::List);
    assert_eq!(listed.error().as_deref(), Some("2/2 nodes reported failure"));
    assert_eq!(listed.messages.get(&name(1)).map(String::as_str), Some("Keyring is empty (encryption not enabled)"));
    let install = outcome(&mut cluster, 0, KeyRequest::Install(NEW.into()));
    let said = install.messages.get(&name(0)).map(String::as_str);
    assert_eq!(said, Some("No keyring to modify (encryption not enabled)"));
}

/// What a node has logged about queries since the last call; lines that come again and again count once.
fn query_lines(cluster: &mut Cluster, number: usize) -> Vec<String> {
    let mut lines: Vec<String> = cluster
        .lines
        .extract_if(.., |(at, _)| *at == number)
        .map(|(_, log)| format!("[{}] {log}", log.level()))
        .filter(|line| !line.contains("memberlist: ") && !line.contains("Name conflict for"))
        .collect();
    lines.dedup();
    lines
}

/// The lines of two agents of the original, 0.9.4.
#[test]
fn key_queries_are_logged_as_upstream_logs_them() {
    let mut cluster = Cluster::joined(2, |config| config.keys = vec![key(&OLD)]);
    let unknown = KeyRequest::Use([9; 16].into());
    for (request, name, failure) in [
        (KeyRequest::Install(NEW.into()), "install-key", None),
        (KeyRequest::Use(NEW.into()), "use-key", None),
        (KeyRequest::Remove(OLD.into()), "remove-key", None),
        (KeyRequest::List, "list-keys", None),
        (KeyRequest::Remove(NEW.into()), "remove-key", Some("remove key: Removing the primary key is not allowed")),
        (unknown, "use-key", Some("change primary key: Requested key is not in the keyring")),
    ] {
        cluster.lines.clear();
        outcome(&mut cluster, 0, request);
        let heard = format!("[DEBUG] serf: messageQueryType: _serf_{name}");
        let mut done = vec![format!("[INFO] serf: Received {name} query")];
        done.extend(failure.map(|why| format!("[ERR] serf: Failed to {why}")));
        let answers = ["n0", "n1"].map(|from| format!("[DEBUG] serf: messageQueryResponseType: {from}"));
        let asking = [done.clone(), answers.to_vec(), vec![heard.clone()]].concat();
        assert_eq!(query_lines(&mut cluster, 0), asking);
        assert_eq!(query_lines(&mut cluster, 1), [vec![heard.clone()], done, vec![heard]].concat());
    }
}

/// The lines of agents of the original, 0.9.4.
#[test]
fn what_is_wrong_with_a_key_query_is_logged_as_upstream_logs_it() {
    let mut cluster = Cluster::joined(1, |_| ());
    for (request, why) in [
        (KeyRequest::Install(NEW.into()), "No keyring to modify (encryption not enabled)"),
        (KeyRequest::Use(NEW.into()), "No keyring to modify (encryption not enabled)"),
        (KeyRequest::Remove(NEW.into()), "No keyring to modify (encryption not enabled)"),
        (KeyRequest::List, "Keyring is empty (encryption not enabled)"),
    ] {
        cluster.lines.clear();
        outcome(&mut cluster, 0, request);
        let lines = [format!("[ERR] serf: {why}"), "[DEBUG] serf: messageQueryResponseType: n0".to_owned()];
        assert_eq!(query_lines(&mut cluster, 0), lines);
    }
    let mut lone = Lone::new(|_| ());
    let question = |id: u32, name: &str, payload: &[u8]| {
        Message::Serf(SerfMessage::Query(Box::new(Query {
            ltime: LamportTime(1),
            id: QueryId(id),
            origin: GossipAddr::from(addr(1)),
            node: crate::tests::harness::name(1),
            filters: Vec::new(),
            ack: false,
            no_broadcast: true,
            relay_factor: 0,
            timeout: 3 * SECOND,
            name: name.as_bytes().into(),
            payload: payload.into(),
        })))
    };
    lone.hear(1, &[question(1, "_serf_install-key", b"no request"), question(2, "_serf_conflict", b"n7")]);
    lone.hear(1, &[question(3, "_serf_list-keys", b"")]);
    let lines: Vec<String> = lone.logs().iter().map(|log| format!("[{}] {log}", log.level())).collect();
    assert_eq!(
        lines,
        [
            "[DEBUG] serf: messageQueryType: _serf_install-key",
            "[ERR] serf: Failed to decode key request: it is no map with a key",
            "[DEBUG] serf: messageQueryType: _serf_conflict",
            "[DEBUG] serf: Got conflict resolution query for 'n7'",
            "[DEBUG] serf: messageQueryType: _serf_list-keys",
            "[ERR] serf: Keyring is empty (encryption not enabled)",
        ]
    );
    let answers = lone.sent().into_iter().filter(|(_, sent)| matches!(sent, Message::Serf(SerfMessage::Response(_))));
    assert_eq!(answers.count(), 3, "each is answered");
}

#[test]
fn who_does_not_answer_is_named_and_the_operation_is_no_success() {
    let mut cluster = Cluster::joined(3, |config| config.keys = vec![key(&OLD)]);
    cluster.crash(2);
    let outcome = outcome(&mut cluster, 0, KeyRequest::Install(NEW.into()));
    assert_eq!(outcome.error().as_deref(), Some("2/3 nodes reported success"));
    assert_eq!(outcome.missing, [name(2)]);
}

#[test]
fn u26_who_has_not_answered_at_half_time_is_asked_again() {
    let mut cluster = Cluster::joined(3, |config| config.keys = vec![key(&OLD)]);
    cluster.cut(&[2], &[0, 1]);
    let id = cluster.command(0, Command::Key(KeyRequest::Install(NEW.into())));
    // Longer than the broadcast lives, shorter than the failure detector is patient.
    cluster.run(Duration::from_millis(1_500));
    cluster.heal();
    cluster.run(3 * SECOND);
    let Some(Reply::Keys(outcome)) = cluster.replies.get(&(0, id)) else { panic!("an outcome") };
    assert_eq!((outcome.error(), outcome.responses), (None, 3));
}

#[test]
fn a_key_change_is_answered_once_it_is_in_the_file() {
    let mut lone = Lone::new(|config| {
        config.keys = vec![key(&OLD)];
        config.serf.keyring_file = true;
    });
    lone.command(Command::Key(KeyRequest::Install(NEW.into())));
    let persists = lone.persists();
    let [(id, Persist::Keyring(keys))] = persists.as_slice() else { panic!("{persists:?}") };
    assert_eq!(*keys, [key(&OLD), key(&NEW)]);
    assert!(lone.replies().is_empty(), "not before it is durable");
    lone.give(Stimulus::Persisted { id: *id, result: Err(PersistError("disk full".into())) });
    let replies = lone.replies();
    let [Reply::Keys(outcome)] = replies.as_slice() else { panic!("{replies:?}") };
    assert_eq!(outcome.messages.get(&name(0)).map(String::as_str), Some("disk full"));
    assert!(lone.logs().contains(&Log::TaskFailed("write keyring file", "disk full".into())));
}

#[test]
fn a_list_that_is_too_long_is_cut_and_says_so() {
    let mut lone = Lone::new(|config| config.keys = (0..40).map(|number| key(&[number; 32])).collect());
    lone.command(Command::Key(KeyRequest::List));
    let replies = lone.replies();
    let [Reply::Keys(outcome)] = replies.as_slice() else { panic!("{replies:?}") };
    assert_eq!(outcome.error(), None);
    let message = outcome.messages.get(&name(0)).map(String::as_str).expect("a warning");
    assert_eq!(message, format!("truncated key list response, showing first {} of 40 keys", outcome.keys.len()));
    assert!((15..25).contains(&outcome.keys.len()), "{message}");
}

#[test]
fn key_operations_of_one_node_run_one_after_another() {
    let mut cluster = Cluster::joined(3, |config| config.keys = vec![key(&OLD)]);
    let install = cluster.command(0, Command::Key(KeyRequest::Install(NEW.into())));
    let adopt = cluster.command(0, Command::Key(KeyRequest::Use(NEW.into())));
    cluster.run(8 * SECOND);
    for id in [install, adopt] {
        let Some(Reply::Keys(outcome)) = cluster.replies.get(&(0, id)) else { panic!("an outcome") };
        assert_eq!(outcome.error(), None);
    }
}

fn claim(number: usize, at: usize, incarnation: u32) -> Message {
    let mut claim = alive(number, incarnation);
    claim.addr = GossipAddr::from(addr(at));
    Message::Alive(claim)
}

#[test]
fn of_two_nodes_with_one_name_the_one_that_most_members_know_stays() {
    let mut cluster = Cluster::new(4, |config| {
        if config.name == name(3) {
            config.name = name(0);
        }
    });
    for number in 1..3 {
        cluster.join(number, 0);
    }
    cluster.run(2 * SECOND);
    cluster.join(3, 1);
    cluster.run(20 * SECOND);
    assert!(cluster.events(3).contains(&"shutdown NameConflict"), "{:?}", cluster.events(3));
    for number in 0..3 {
        assert!(!cluster.events(number).iter().any(|line| line.starts_with("shutdown")), "node {number} stays");
    }
}

#[test]
fn u27_where_nobody_can_say_whose_the_name_is_both_stay() {
    let mut cluster = Cluster::new(2, |config| config.name = name(0));
    cluster.join(1, 0);
    cluster.run(30 * SECOND);
    for number in 0..2 {
        assert!(!cluster.events(number).iter().any(|line| line.starts_with("shutdown")), "node {number} stays");
    }
}

#[test]
fn without_resolution_a_conflict_is_only_logged() {
    let mut lone = Lone::new(|config| config.serf.resolve_conflicts = false);
    lone.hear(1, &[Message::Alive(alive(1, 1)), claim(0, 66, 9)]);
    lone.wait(10 * SECOND);
    assert!(lone.logs().contains(&Log::OwnNameConflict(GossipAddr::from(addr(66)), false)));
    assert_eq!(lone.node.stats().query_time, LamportTime(1), "nobody is asked");
}

#[test]
fn a_conflict_is_testified_by_everyone_but_the_bearer() {
    let mut lone = Lone::new(|_| ());
    lone.hear(1, &[Message::Alive(alive(1, 1)), Message::Alive(alive(2, 1))]);
    lone.sent();
    let ask = |ltime, about: &str| {
        let query = Query {
            ltime: LamportTime(ltime),
            id: QueryId(1),
            origin: GossipAddr::from(addr(1)),
            node: name(1),
            filters: Vec::new(),
            ack: false,
            no_broadcast: true,
            relay_factor: 0,
            timeout: SECOND,
            name: Box::from(*b"_serf_conflict"),
            payload: about.as_bytes().into(),
        };
        Message::Serf(SerfMessage::Query(Box::new(query)))
    };
    lone.hear(1, &[ask(2, "n0"), ask(3, "n2"), ask(4, "stranger")]);
    let answers: Vec<Box<[u8]>> = lone
        .sent()
        .into_iter()
        .filter_map(|(_, message)| match message {
            Message::Serf(SerfMessage::Response(response)) => Some(response.payload),
            _ => None,
        })
        .collect();
    let [known, unknown] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(known.get(..2), Some(&[6, 0x8b][..]), "a member record");
    assert_eq!(**unknown, [6, 0xc0]);
}

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

#[test]
fn a_tag_change_reaches_everybody_and_is_answered_when_it_is_out() {
    let mut cluster = Cluster::joined(4, |config| config.tags = tags(&[("role", "web"), ("old", "1")]));
    let set = tags(&[("role", "db"), ("both", "set")]);
    let id = cluster.command(2, Command::SetTags { set, delete: vec![b"old".to_vec(), b"both".to_vec()] });
    assert_eq!(cluster.replies.get(&(2, id)), None, "the word is not out yet");
    cluster.run(3 * SECOND);
    assert_eq!(cluster.replies.get(&(2, id)), Some(&Reply::TagsSet));
    for number in 0..4 {
        let seen = cluster.node(number).member(&name(2)).map(|member| member.info.tags());
        assert_eq!(seen, Some(tags(&[("both", "set"), ("role", "db")])), "at node {number}");
        assert_eq!(cluster.events(number).iter().filter(|line| **line == "member-update n2").count(), 1);
    }
    let id = cluster.command(2, Command::ReplaceTags(tags(&[("both", "set"), ("role", "db")])));
    cluster.run(SECOND);
    assert_eq!(cluster.replies.get(&(2, id)), Some(&Reply::TagsSet));
    assert_eq!(cluster.events(0).iter().filter(|line| line.starts_with("member-update")).count(), 1, "no noise");
}

#[test]
fn a_change_of_tags_builds_on_the_one_before_it_even_while_that_is_being_kept() {
    let mut lone = Lone::new(|config| config.serf.tags_file = true);
    let set = |pairs: &[(&str, &str)], delete: &[&str]| Command::SetTags {
        set: tags(pairs),
        delete: delete.iter().map(|key| key.as_bytes().to_vec()).collect(),
    };
    let changes = [
        set(&[("a", "1")], &[]),
        set(&[("b", "2")], &[]),
        set(&[("long", &"x".repeat(600))], &[]),
        set(&[("lost", "3")], &[]),
        set(&[("c", "4")], &["a"]),
    ];
    changes.into_iter().for_each(|change| lone.command(change));
    let full = || Err(PersistError("disk full".into()));
    let want: [(&[(&str, &str)], _, usize); 4] = [
        (&[("a", "1")], Ok(()), 1),
        // The one that is too long does not keep the next one waiting.
        (&[("a", "1"), ("b", "2")], Ok(()), 2),
        (&[("a", "1"), ("b", "2"), ("lost", "3")], full(), 1),
        (&[("b", "2"), ("c", "4")], Ok(()), 1),
    ];
    for (pairs, result, answers) in want {
        let persists = lone.persists();
        let [(id, Persist::Tags(kept))] = persists.as_slice() else { panic!("one at a time: {persists:?}") };
        assert_eq!(*kept, tags(pairs));
        lone.give(Stimulus::Persisted { id: *id, result });
        assert_eq!(lone.replies().len(), answers, "{pairs:?}");
    }
    assert_eq!(lone.node.tags(), tags(&[("b", "2"), ("c", "4")]));
    assert!(lone.persists().is_empty());
}

#[test]
fn tags_that_are_too_long_change_nothing_and_say_what_each_takes() {
    let mut lone = Lone::new(|config| {
        config.tags = tags(&[("role", "web")]);
        config.serf.tags_file = true;
    });
    lone.command(Command::SetTags { set: tags(&[("long", &"x".repeat(500)), ("a", "b")]), delete: Vec::new() });
    let replies = lone.replies();
    let [Reply::Failed(error @ CommandError::TagsTooLong(_))] = replies.as_slice() else { panic!("{replies:?}") };
    let text = "Encoded length of tags exceeds limit of 512 bytes: they take 523 (long 508, role 9, a 4)";
    assert_eq!(format!("{error}"), text);
    assert!(lone.persists().is_empty(), "nothing of it reaches the file");
    assert_eq!(lone.node.tags(), tags(&[("role", "web")]));
}

#[test]
fn a_tag_change_that_cannot_be_kept_does_not_happen() {
    let mut lone = Lone::new(|config| config.serf.tags_file = true);
    for result in [Err(PersistError("disk full".into())), Ok(())] {
        lone.command(Command::SetTags { set: tags(&[("role", "db")]), delete: Vec::new() });
        let persists = lone.persists();
        let [(id, Persist::Tags(kept))] = persists.as_slice() else { panic!("{persists:?}") };
        assert_eq!(*kept, tags(&[("role", "db")]));
        assert!(lone.replies().is_empty() && lone.node.tags().is_empty(), "not before it is durable");
        lone.give(Stimulus::Persisted { id: *id, result });
        if lone.replies() == [Reply::TagsSet] {
            return assert_eq!(lone.node.tags(), tags(&[("role", "db")]));
        }
        assert!(lone.node.tags().is_empty());
    }
    panic!("the second attempt works");
}

#[test]
fn a_failed_member_that_is_pruned_is_gone_everywhere_and_stays_gone() {
    let mut cluster = Cluster::joined(4, |_| ());
    cluster.crash(3);
    cluster.run(15 * SECOND);
    let id = cluster.command(0, Command::ForceLeave { node: name(3), prune: true });
    cluster.run(3 * SECOND);
    assert_eq!(cluster.replies.get(&(0, id)), Some(&Reply::ForceLeft));
    // Push/pulls with everybody, and what an old word could do.
    cluster.run(120 * SECOND);
    let late = crate::tests::harness::packet(&[
        Message::Serf(SerfMessage::Join(Intent { ltime: LamportTime(2), node: name(3), prune: false })),
        Message::Alive(alive(3, 1)),
    ]);
    cluster.give(1, Stimulus::Datagram { from: addr(2), bytes: &late });
    cluster.run(60 * SECOND);
    for number in 0..3 {
        assert_eq!(cluster.status(number, 3), None, "at node {number}");
        let reaped = cluster.events(number).iter().filter(|line| **line == "member-reap n3").count();
        assert_eq!(reaped, 1, "at node {number}");
    }
}

#[test]
fn a_pruned_member_that_comes_back_is_a_member() {
    let mut cluster = Cluster::joined(3, |_| ());
    cluster.crash(2);
    cluster.run(15 * SECOND);
    cluster.command(0, Command::ForceLeave { node: name(2), prune: true });
    cluster.run(3 * SECOND);
    cluster.start(2, 99);
    cluster.join(2, 0);
    cluster.run(5 * SECOND);
    for number in 0..3 {
        assert_eq!(cluster.status(number, 2), Some(Status::Alive), "at node {number}");
    }
}

#[test]
fn u21_a_live_member_survives_a_prune() {
    let mut cluster = Cluster::joined(3, |_| ());
    cluster.command(0, Command::ForceLeave { node: name(2), prune: true });
    cluster.run(60 * SECOND);
    for number in 0..3 {
        assert_eq!(cluster.status(number, 2), Some(Status::Alive), "at node {number}");
    }
}
