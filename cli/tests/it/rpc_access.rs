//! Where an agent serves RPC clients, and whom it lets in: at a socket file, nowhere, or with a token.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;

use crate::process::{Agent, Net, Process, Program};
use crate::serf::Run;

fn start(net: Net, words: &[&str]) -> Process {
    let bind = net.ip(11);
    let process = Process::spawn(&mut Program::Ours.command(&[&["agent", "-node=n1", "-bind", &bind], words].concat()));
    process.output.wait_for("[INFO] agent: Received event: member-join\n");
    process
}

#[test]
fn an_agent_serves_its_user_at_a_socket_file_which_goes_with_it() {
    let net = Net(111);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("serf.sock");
    let addr = format!("unix:{}", path.display());
    let process = start(net, &["-rpc-addr", &addr]);
    assert!(process.output.text().contains(&format!("RPC addr: '{addr}'\n")), "{}", process.output.text());
    let run = Program::Ours.client(&addr, &["members"]);
    assert_eq!(net.normalised(&run.stdout), "n1  127.0.0.11:7946  alive\n");
    let run = Program::Ours.client("unused", &["leave", "-rpc-addr", &addr]);
    assert_eq!(run.stdout, "Graceful leave complete\n");
    let (code, text) = process.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(!Path::new(&path).exists(), "the file is left behind");
    let run = Program::Ours.client(&addr, &["members"]);
    let refusal =
        format!("Error connecting to Serf agent: dial unix {}: connect: no such file or directory\n", path.display());
    assert_eq!((run.code, run.stdout), (Some(1), refusal));
}

#[test]
fn an_agent_without_rpc_runs_and_leaves_on_a_signal() {
    let net = Net(112);
    let process = start(net, &["-rpc-addr=off"]);
    let run = Program::Ours.client(&format!("{}:7373", net.ip(11)), &["members"]);
    assert!(run.stdout.contains("connection refused"), "{}", run.stdout);
    process.signal(Signal::INT);
    let (code, text) = process.end();
    assert_eq!(code, Some(0), "{text}");
}

const TOKEN: &str = "rosebud-7f3a";

/// A file with the token, as an editor writes it.
fn token_file(folder: &Path, mode: u32) -> String {
    let path = folder.join("token");
    fs::write(&path, format!("{TOKEN}\n")).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("our file");
    path.to_str().expect("text").to_owned()
}

/// A configuration file with these settings.
fn config_file(folder: &Path, settings: &str) -> String {
    let path = folder.join("agent.json");
    fs::write(&path, settings).expect("a file");
    path.to_str().expect("text").to_owned()
}

/// What `serf members` prints with these flags and in this environment.
fn members(agent: &Agent, flags: &[&str], environment: &[(&str, &str)]) -> Run {
    let words = [&["members", "-rpc-addr", &agent.rpc_addr][..], flags].concat();
    let mut command = Program::Ours.command(&words);
    command.envs(environment.iter().copied());
    Run::of(&words, command.output().expect("the binary starts"))
}

#[test]
fn a_token_may_stand_in_a_file_and_is_seen_nowhere_else() {
    let net = Net(130);
    let folder = tempfile::tempdir().expect("a folder");
    let path = token_file(folder.path(), 0o600);
    let config = config_file(folder.path(), &format!(r#"{{"rpc_auth_file": "{path}"}}"#));
    let agent = Agent::start(net, 11, "n1", &["-config-file", &config, "-log-level=trace"]);
    let mut monitor = Program::Ours.command(&["monitor", "-log-level=trace", "-rpc-addr", &agent.rpc_addr]);
    let monitor = Process::spawn(monitor.env("SERF_RPC_AUTH_FILE", &path));
    monitor.output.wait_for("[INFO] agent: Serf agent starting\n");

    let run = members(&agent, &[], &[("SERF_RPC_AUTH_FILE", &path)]);
    assert_eq!((run.code, net.normalised(&run.stdout).as_str()), (Some(0), "n1  127.0.0.11:7946  alive\n"));
    assert_eq!(members(&agent, &[], &[("SERF_RPC_AUTH", ""), ("SERF_RPC_AUTH_FILE", &path)]).code, Some(0));
    assert_eq!(
        members(&agent, &["-rpc-auth", TOKEN], &[("SERF_RPC_AUTH", "w"), ("SERF_RPC_AUTH_FILE", "/w")]).code,
        Some(0)
    );
    assert_eq!(members(&agent, &[], &[("SERF_RPC_AUTH", TOKEN), ("SERF_RPC_AUTH_FILE", "/no/such")]).code, Some(0));
    let invalid = "Error connecting to Serf agent: Invalid authentication token\n";
    for (flags, environment) in [
        (&["-rpc-auth=wrong-7f3a"][..], vec![("SERF_RPC_AUTH", TOKEN), ("SERF_RPC_AUTH_FILE", &path[..])]),
        (&[], vec![("SERF_RPC_AUTH", "wrong-7f3a"), ("SERF_RPC_AUTH_FILE", &path)]),
    ] {
        let run = members(&agent, flags, &environment);
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), invalid), "{flags:?}");
    }
    assert!(members(&agent, &[], &[]).stdout.contains("Authentication required"));
    let run = members(&agent, &[], &[("SERF_RPC_AUTH_FILE", "/no/such")]);
    let refusal = "Error reading RPC token '/no/such': open /no/such: no such file or directory\n";
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), refusal));

    for process in [&agent.process, &monitor] {
        assert!(!process.command_line().contains("7f3a"), "{}", process.command_line());
    }
    agent.process.output.wait_for("agent.ipc: Client sending commands before auth\n");
    monitor.output.wait_for("agent.ipc: Client sending commands before auth\n");
    agent.process.signal(Signal::TERM);
    for text in [agent.process.end().1, monitor.end().1] {
        assert!(!text.contains("7f3a"), "{text}");
    }
}

#[test]
fn an_agent_says_what_is_wrong_with_its_token_file() {
    let net = Net(131);
    let folder = tempfile::tempdir().expect("a folder");
    let path = token_file(folder.path(), 0o644);
    let start = |settings: &str| {
        let config = config_file(folder.path(), settings);
        Agent::start(net, 11, "n1", &["-config-file", &config])
    };
    let agent = start(&format!(r#"{{"rpc_auth_file": "{path}"}}"#));
    let warning = format!(
        "==> Warning: every user of this host can read the RPC token in '{path}'\n==> Starting Serf agent...\n"
    );
    assert!(agent.process.output.text().starts_with(&warning), "{}", agent.process.output.text());
    assert_eq!(members(&agent, &["-rpc-auth", TOKEN], &[]).code, Some(0));
    drop(agent);

    let agent = start(&format!(r#"{{"rpc_auth_file": "{path}", "rpc_auth": "other"}}"#));
    let warning =
        format!("==> Warning: the RPC token is 'rpc_auth', '{path}' is not read\n==> Starting Serf agent...\n");
    assert!(agent.process.output.text().starts_with(&warning), "{}", agent.process.output.text());
    assert_eq!(members(&agent, &["-rpc-auth", TOKEN], &[]).code, Some(1));
    assert_eq!(members(&agent, &["-rpc-auth=other"], &[]).code, Some(0));
    drop(agent);

    fs::write(&path, "\n").expect("a file");
    let config = config_file(folder.path(), &format!(r#"{{"rpc_auth_file": "{path}"}}"#));
    let refused = Agent::refused(net, 11, "n1", &["-config-file", &config]);
    assert_eq!(refused, (Some(1), format!("==> Error reading RPC token '{path}': it is empty\n")));
}
