//! Agents of both programs in one cluster: who is there, what is said, and in which encoding.

use rustix::process::Signal;

use crate::process::{Agent, Net, Program, original};

pub(crate) const KEY: &str = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=";

/// Everybody, as `wait_for_members` wants it.
pub(crate) const ALL: &str = "n1 alive, n2 alive, n3 alive";

/// Two agents of the original, n1 and n3, and one of ours, n2. Ours joins one of theirs and is joined by the other.
pub(crate) fn mixed(original: &Program, net: Net, words: &[&str]) -> [Agent; 3] {
    let one = Agent::start_program(original.clone(), net, 11, "n1", words);
    let two = Agent::start(net, 12, "n2", &[words, &["-join", &one.ip]].concat());
    let three = Agent::start_program(original.clone(), net, 13, "n3", &[words, &["-join", &two.ip]].concat());
    let agents = [one, two, three];
    for agent in &agents {
        agent.wait_for_members(ALL);
    }
    agents
}

/// What `serf info` says of the gossip.
pub(crate) fn gossip(agent: &Agent) -> serde_json::Value {
    let json: serde_json::Value = serde_json::from_str(&agent.ask(&["info", "-format=json"])).expect("JSON");
    json["gossip"].clone()
}

pub(crate) fn wait_for_encoding(agent: &Agent, encoding: &str) {
    agent.wait_until(encoding, gossip, |gossip| gossip["encoding"] == encoding);
}

/// Nobody has anything to complain about.
fn no_complaints(agents: &[Agent]) {
    for agent in agents {
        let text = agent.process.output.text();
        let complaint = text.lines().find(|line| line.contains("[ERR]") || line.contains("[WARN]"));
        assert_eq!(complaint, None, "{}", agent.name);
    }
}

#[test]
fn they_form_one_cluster_plain_or_encrypted_compressed_or_not() {
    let Some(original) = original() else { return };
    for words in [&[][..], &["-disable-compression"], &["-encrypt", KEY], &["-encrypt", KEY, "-disable-compression"]] {
        let agents = mixed(&original, Net(60), &[&["-profile=local"], words].concat());
        assert_eq!(gossip(&agents[1])["because_of"], "n1, n3");
        for agent in &agents {
            agent.ask(&["event", &format!("from-{}", agent.name), "payload"]);
        }
        for (agent, other) in agents.iter().flat_map(|agent| agents.iter().map(move |other| (agent, other))) {
            agent.process.output.wait_for(&format!("Received event: user-event: from-{}\n", other.name));
        }
        no_complaints(&agents);
    }
}

#[test]
fn agents_of_one_program_each_with_other_settings_of_compression_understand_each_other() {
    let Some(original) = original() else { return };
    let net = Net(61);
    let one = Agent::start_program(original, net, 11, "n1", &["-profile=local", "-disable-compression"]);
    let two = Agent::start(net, 12, "n2", &["-profile=local", "-join", &one.ip]);
    let three = Agent::start(net, 13, "n3", &["-profile=local", "-disable-compression", "-join", &one.ip]);
    let agents = [one, two, three];
    agents.iter().for_each(|agent| agent.wait_for_members(ALL));
    no_complaints(&agents);
}

#[test]
fn every_protocol_version_of_one_is_understood_by_the_other() {
    let Some(original) = original() else { return };
    let net = Net(75);
    for version in ["2", "3", "4"] {
        for (older, newer) in [(&original, &Program::Ours), (&Program::Ours, &original)] {
            let words = ["-profile=local", "-protocol", version, "-tag", "role=db"];
            let older = Agent::start_program(older.clone(), net, 11, "n1", &words);
            let words = ["-profile=local", "-tag", "role=web", "-join", &older.ip];
            let newer = Agent::start_program(newer.clone(), net, 12, "n2", &words);
            let agents = [older, newer];
            for agent in &agents {
                agent.wait_for_members("n1 alive, n2 alive");
                let shown = agent.ask(&["members", "-detailed"]);
                assert!(shown.contains("role=db") && shown.contains("role=web"), "{shown}");
                assert!(shown.contains(&format!("Protocol Version: {version}")), "{shown}");
            }
            agents[0].ask(&["event", "old"]);
            agents[1].ask(&["event", "new"]);
            for agent in &agents {
                agent.process.output.wait_for("Received event: user-event: old\n");
                agent.process.output.wait_for("Received event: user-event: new\n");
            }
            no_complaints(&agents);
        }
    }
}

#[test]
fn tags_set_on_either_side_are_known_on_both() {
    let Some(original) = original() else { return };
    let agents = mixed(&original, Net(62), &["-profile=local"]);
    agents[0].ask(&["tags", "-set", "role=db", "-set", "zone=1"]);
    agents[1].ask(&["tags", "-set", "role=web"]);
    agents[2].ask(&["tags", "-set", "role=cache"]);
    agents[0].ask(&["tags", "-delete", "zone"]);
    let tags = |agent: &Agent| {
        let json: serde_json::Value = serde_json::from_str(&agent.ask(&["members", "-format=json"])).expect("JSON");
        let mut rows: Vec<String> =
            json["members"].as_array().expect("members").iter().map(|row| row["tags"].to_string()).collect();
        rows.sort();
        rows
    };
    for agent in &agents {
        agent.wait_until("the tags", tags, |tags| {
            *tags == [r#"{"role":"cache"}"#, r#"{"role":"db"}"#, r#"{"role":"web"}"#]
        });
    }
    no_complaints(&agents);
}

/// Who answers a query, in order.
fn answers(program: &Program, agent: &Agent, words: &[&str]) -> Vec<String> {
    let words = [&["query", "-format=json", "-timeout=2s"], words].concat();
    let run = program.client(&agent.rpc_addr, &words);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.stdout));
    let of = |key: &str| json[key].as_object().into_iter().flatten();
    let mut all: Vec<String> =
        of("Responses").map(|(name, answer)| format!("{name}={}", answer.as_str().unwrap_or(""))).collect();
    all.sort();
    let mut acks: Vec<String> =
        json["Acks"].as_array().into_iter().flatten().map(|name| format!("{name} has it")).collect();
    acks.sort();
    all.extend(acks);
    all
}

#[test]
fn queries_reach_those_whom_their_filters_mean_and_are_answered() {
    let Some(original) = original() else { return };
    let handler = "-event-handler=query:load=echo -n $SERF_SELF_NAME";
    let agents = mixed(&original, Net(63), &["-profile=local", handler]);
    agents[0].ask(&["tags", "-set", "role=web1"]);
    agents[1].ask(&["tags", "-set", "role=web2"]);
    let knows = |agent: &Agent| agent.ask(&["members", "-tag", "role=web."]).lines().count();
    for agent in &agents {
        agent.wait_until("the tags", knows, |count| *count == 2);
    }
    for agent in &agents {
        let asked = |words: &[&str]| answers(&Program::Ours, agent, &[words, &["load"]].concat());
        let says = |names: &[&str]| {
            let said = names.iter().map(|name| format!("{name}={name}"));
            said.chain(names.iter().map(|name| format!("\"{name}\" has it"))).collect::<Vec<_>>()
        };
        assert_eq!(asked(&[]), says(&["n1", "n2", "n3"]), "asked at {}", agent.name);
        assert_eq!(asked(&["-relay-factor=2"]), says(&["n1", "n2", "n3"]), "asked at {}", agent.name);
        assert_eq!(asked(&["-node=n2", "-node=n3"]), says(&["n2", "n3"]), "asked at {}", agent.name);
        assert_eq!(asked(&["-tag", "role=web"]), says(&["n1", "n2"]), "asked at {}", agent.name);
        assert_eq!(asked(&["-tag", "role=^web2$", "-node=n2"]), says(&["n2"]), "asked at {}", agent.name);
    }
}

#[test]
fn round_trips_are_estimated_on_both_sides() {
    let Some(original) = original() else { return };
    let agents = mixed(&original, Net(64), &["-profile=local"]);
    for (agent, pair) in [(&agents[0], ["n1", "n2"]), (&agents[1], ["n2", "n1"]), (&agents[2], ["n3", "n2"])] {
        let estimate = |agent: &Agent| Program::Ours.client(&agent.rpc_addr, &["rtt", pair[0], pair[1]]).stdout;
        agent.wait_until("an estimate", estimate, |text| text.starts_with("Estimated ") && text.ends_with(" ms\n"));
    }
}

#[test]
fn native_is_spoken_when_the_last_stranger_leaves_and_no_longer_when_one_comes() {
    let Some(original) = original() else { return };
    let net = Net(65);
    let words = ["-profile=local", "-log-level=debug"];
    let stranger = Agent::start_program(original.clone(), net, 11, "n1", &words);
    let two = Agent::start(net, 12, "n2", &[&words[..], &["-join", &stranger.ip]].concat());
    let three = Agent::start(net, 13, "n3", &[&words[..], &["-join", &two.ip]].concat());
    for agent in [&two, &three] {
        agent.wait_for_members(ALL);
        assert_eq!(gossip(agent)["encoding"], "memberlist");
        let detailed = agent.ask(&["members", "-detailed"]);
        let encodings: Vec<&str> = detailed.lines().filter_map(|line| line.split("Encoding: ").nth(1)).collect();
        assert_eq!(encodings, ["memberlist", "native", "native"], "{detailed}");
    }
    stranger.ask(&["leave"]);
    for agent in [&two, &three] {
        wait_for_encoding(agent, "native");
        agent.process.output.wait_for("agent: speaking native from now on");
    }
    two.ask(&["event", "natively"]);
    three.process.output.wait_for("Received event: user-event: natively\n");
    let back = Agent::start_program(original, net, 14, "n4", &[&words[..], &["-join", &three.ip]].concat());
    for agent in [&two, &three] {
        wait_for_encoding(agent, "memberlist");
        assert_eq!(gossip(agent)["because_of"], "n4");
    }
    two.ask(&["event", "for-all"]);
    back.process.output.wait_for("Received event: user-event: for-all\n");
    for agent in [&two, &three] {
        let text = agent.process.output.text();
        assert!(!text.contains("[ERR]") && !text.contains("no acks received"), "{text}");
    }
}

#[test]
fn a_pinned_encoding_is_the_only_one_and_a_refusal_says_what_the_other_side_speaks() {
    let Some(original) = original() else { return };
    let net = Net(66);
    let native = Agent::start(net, 11, "n1", &["-profile=local", "-wire=native"]);
    let auto = Agent::start(net, 12, "n2", &["-profile=local", "-join", &native.ip]);
    auto.wait_for_members("n1 alive, n2 alive");
    let only = "the peer speaks memberlist, this agent only native (-wire=native)";
    for program in [original.clone(), Program::Ours] {
        let words = if program == Program::Ours { &["-wire=memberlist"][..] } else { &[] };
        let words = [words, &["-join", &native.ip]].concat();
        let (code, text) = Agent::launch(program, net, 13, "n3", &words).process.end();
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(only), "{text}");
    }
    native.process.output.wait_for(only);
    native.wait_for_members("n1 alive, n2 alive");
    let theirs = Agent::start_program(original, net, 14, "n4", &["-profile=local"]);
    let run = Program::Ours.client(&native.rpc_addr, &["join", &theirs.ip]);
    assert_eq!(run.code, Some(1));
    let why = "(this agent speaks only native, -wire=native; the peer may speak only memberlist)";
    assert!(run.stdout.contains(why), "{}", run.stdout);
}

#[test]
fn labels_keep_clusters_apart_and_both_are_named() {
    let Some(original) = original() else { return };
    let net = Net(67);
    let blue = Agent::start(net, 11, "n1", &["-profile=local", "-label=blue"]);
    let other = Agent::start(net, 12, "n2", &["-profile=local", "-label=blue", "-join", &blue.ip]);
    other.wait_for_members("n1 alive, n2 alive");
    assert_eq!(gossip(&other)["label"], "blue");
    let (code, text) = Agent::launch(Program::Ours, net, 13, "n3", &["-label=green", "-join", &blue.ip]).process.end();
    assert_eq!(code, Some(1), "{text}");
    blue.process.output.wait_for("label mismatch: theirs is 'green', ours is 'blue'");
    let (code, text) = Agent::launch(original, net, 13, "n3", &["-join", &blue.ip]).process.end();
    assert_eq!(code, Some(1), "{text}");
    blue.process.output.wait_for("label mismatch: theirs is '', ours is 'blue'");
    blue.wait_for_members("n1 alive, n2 alive");
}

#[test]
fn a_wrong_key_or_none_is_refused_in_the_originals_words() {
    let Some(original) = original() else { return };
    let net = Net(68);
    let other = "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=";
    for (ours, theirs) in [(Program::Ours, original.clone()), (original, Program::Ours)] {
        let keyed = Agent::start_program(ours, net, 11, "n1", &["-profile=local", "-encrypt", KEY]);
        for (words, why) in [
            (&["-encrypt", other][..], "No installed keys could decrypt the message"),
            (&[], "Remote state is encrypted and encryption is not configured"),
        ] {
            let words = [words, &["-join", &keyed.ip]].concat();
            let (code, text) = Agent::launch(theirs.clone(), net, 12, "n2", &words).process.end();
            assert_eq!(code, Some(1), "{text}");
            assert!(text.contains(why), "{text}");
        }
        keyed.process.signal(Signal::KILL);
    }
}
