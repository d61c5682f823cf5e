//! The original's commands against our agent, ours against the original's, and both next to each other.

use rustix::process::Signal;

use crate::process::{Agent, Net, Process, Program, original};
use crate::serf::{Run, transcript, without_encoding};

/// What a command shows, whatever the order of members and of tags.
fn shown(run: &Run) -> (Option<i32>, Vec<String>) {
    let tags_in_order = |line: &str| {
        let in_order = |word: &str| {
            let mut tags: Vec<&str> = word.split(',').collect();
            if word.contains('=') {
                tags.sort_unstable();
            }
            tags.join(",")
        };
        without_encoding(line).split(' ').map(in_order).collect::<Vec<_>>().join(" ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = run.stdout.lines().map(tags_in_order).collect();
    lines.sort();
    (run.code, lines)
}

/// Ways to ask for members that both programs must answer alike.
const MEMBERS: [&[&str]; 9] = [
    &["members"],
    &["members", "-format=json"],
    &["members", "-format=xml"],
    &["members", "-detailed", "-status=alive"],
    &["members", "-tag", "role=web"],
    &["members", "-tag", "role=we"],
    &["members", "-name=n[12]", "-status", "failed"],
    &["members", "-status=failed", "-format=json"],
    &["members", "-name=("],
];

/// Asks `agent` for the same with both programs.
fn both_show_the_same(agent: &Agent, original: &Program, words: &[&str]) -> (Option<i32>, Vec<String>) {
    let ours = Program::Ours.client(&agent.rpc_addr, words);
    let theirs = original.client(&agent.rpc_addr, words);
    assert_eq!(shown(&ours), shown(&theirs), "{words:?}");
    shown(&theirs)
}

/// Section names and keys of `info`.
fn keys(run: &Run) -> Vec<String> {
    run.stdout.lines().map(|line| line.split(" = ").next().unwrap_or_default().to_owned()).collect()
}

/// Two agents of one program, joined by a command of `client`, with n1's tags as in the transcripts.
fn pair(agents: &Program, client: &Program, net: Net) -> [Agent; 2] {
    let tags = ["-tag", "role=web", "-tag", "dc=east", "-profile=local"];
    let one = Agent::start_program(agents.clone(), net, 11, "n1", &tags);
    let two = Agent::start_program(agents.clone(), net, 12, "n2", &["-profile=local"]);
    let run = client.client(&one.rpc_addr, &["join", &two.ip]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), "Successfully joined cluster by contacting 1 nodes.\n"));
    for agent in [&one, &two] {
        agent.wait_for_members("n1 alive, n2 alive");
    }
    [one, two]
}

/// Runs through the commands of `client` against two agents of another program.
fn commands_work(agents: &Program, client: &Program, original: &Program, net: Net) {
    let [one, two] = pair(agents, client, net);
    let ask = |words: &[&str]| client.client(&one.rpc_addr, words);

    for words in MEMBERS {
        both_show_the_same(&one, original, words);
    }
    let (code, lines) = both_show_the_same(&one, original, &["members"]);
    assert_eq!(code, Some(0));
    let lines: Vec<String> = lines.iter().map(|line| net.normalised(line)).collect();
    assert_eq!(lines, ["n1  127.0.0.11:7946  alive  dc=east,role=web", "n2  127.0.0.12:7946  alive"]);
    assert_eq!(both_show_the_same(&one, original, &["members", "-tag=role=we"]).1, [""]);

    let info = ask(&["info"]);
    assert_eq!(info.code, Some(0));
    assert!(info.stdout.starts_with("agent:\n\tname = n1\nevent_handlers:\n"), "{}", info.stdout);
    for part in ["\nruntime:\n", "\tmembers = 2\n"] {
        assert!(info.stdout.contains(part), "{}", info.stdout);
    }
    assert_eq!(keys(&info), keys(&original.client(&one.rpc_addr, &["info"])));

    let run = ask(&["join", &net.ip(98), &net.ip(99)]);
    assert_eq!((run.code, net.normalised(&run.stdout)), (Some(1), transcript("join-fail")));

    let monitor = Process::spawn(client.command(&["monitor"]).env("SERF_RPC_ADDR", &one.rpc_addr));
    monitor.output.wait_for("[INFO] agent: Serf agent starting\n");
    drop(two);
    one.wait_for_members("n1 alive, n2 failed");
    let event = "Event Info:\n";
    monitor.output.wait_for(&format!("[INFO] serf: EventMemberFailed: n2 {}\n", net.ip(12)));
    monitor.output.wait_for(event);
    monitor.output.wait_for("\tEvent: \"member-failed\"\n");
    monitor.signal(Signal::INT);
    assert_eq!(monitor.end().0, Some(0));

    for words in MEMBERS {
        both_show_the_same(&one, original, words);
    }
    let run = ask(&["force-leave", "n2"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""));
    one.wait_for_members("n1 alive, n2 left");

    let run = ask(&["leave"]);
    assert_eq!((run.code, run.stdout), (Some(0), transcript("leave")));
    let (code, text) = one.process.end();
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn the_originals_commands_work_against_our_agent() {
    let Some(original) = original() else { return };
    commands_work(&Program::Ours, &original, &original, Net(50));
}

#[test]
fn our_commands_work_against_the_originals_agent() {
    let Some(original) = original() else { return };
    commands_work(&original, &Program::Ours, &original, Net(51));
}

#[test]
fn ours_prunes_a_member_of_the_originals_agent() {
    let Some(original) = original() else { return };
    let [one, two] = pair(&original, &original, Net(55));
    drop(two);
    one.wait_for_members("n1 alive, n2 failed");
    assert_eq!(one.ask(&["force-leave", "-prune", "n2"]), "");
    one.wait_for_members("n1 alive");
}

#[test]
fn refusals_of_the_two_agents_are_the_same() {
    let Some(original) = original() else { return };
    let net = Net(52);
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("auth.json");
    std::fs::write(&config, r#"{"rpc_auth": "sekret"}"#).expect("a file");
    let words = ["-config-file", config.to_str().expect("text")];
    let ours = Agent::start(net, 11, "n1", &words);
    let theirs = Agent::start_program(original.clone(), net, 12, "n1", &words);
    let shown = |client: &Program, agent: &Agent, words: &[&str]| {
        let run = client.client(&agent.rpc_addr, words);
        (run.code, run.stdout.replace(&agent.ip, "IP"))
    };
    for words in [
        &["members"][..],
        &["members", "-rpc-auth=wrong"],
        &["members", "-rpc-auth=sekret"],
        &["info"],
        &["leave"],
        &["join", "127.0.0.1"],
        &["force-leave", "x"],
        &["event", "x"],
        &["query", "x"],
        &["query", "-format=xml", "x"],
        &["tags", "-set", "a=b"],
        &["keys", "-list"],
        &["keys", "-use", "YWJj"],
        &["reachability"],
        &["rtt", "n1"],
        &["rtt", "n1", "n1"],
        &["monitor"],
        &["monitor", "-rpc-auth=sekret", "-log-level=foo"],
        &["join", "-rpc-auth=sekret", &net.ip(98), &format!("{}:1", net.ip(99))],
    ] {
        let expected = shown(&original, &theirs, words);
        for (client, agent) in [(&original, &ours), (&Program::Ours, &theirs), (&Program::Ours, &ours)] {
            assert_eq!(shown(client, agent, words), expected, "{words:?} of {client:?} at {}", agent.ip);
        }
    }
}
