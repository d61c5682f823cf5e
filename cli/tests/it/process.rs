//! Agents as processes, ours and the original's, on addresses that no other test uses.

use std::fmt::Debug;
use std::io::Read;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::serf::{self, Run};

/// How long a condition may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait before an agent is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often an agent is asked. With the pauses this is a minute and a half, some push/pulls of the profile local: a word
/// that gossip has not brought comes with one of those.
const ATTEMPTS: u32 = 900;

/// Whose `serf` runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Ours,
    /// The original at this path.
    Original(PathBuf),
}

impl Program {
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        match self {
            Self::Ours => serf::command(words),
            Self::Original(path) => {
                let mut command = Command::new(path);
                command
                    .args(words)
                    .env_remove("SERF_RPC_ADDR")
                    .env_remove("SERF_RPC_AUTH")
                    .env_remove("SERF_RPC_AUTH_FILE");
                command
            }
        }
    }

    /// Runs a command against the agent at `rpc_addr`, to its end.
    pub(crate) fn client(&self, rpc_addr: &str, words: &[&str]) -> Run {
        let output = self.command(words).env("SERF_RPC_ADDR", rpc_addr).output();
        Run::of(words, output.expect("the binary starts"))
    }
}

/// The addresses of one test: `127.101.NET.HOST`, or behind another number than 101 if this is not the only run of the tests.
#[derive(Clone, Copy)]
pub(crate) struct Net(pub(crate) u8);

impl Net {
    pub(crate) fn ip(self, host: u8) -> String {
        format!("127.{}.{}.{host}", run_number(), self.0)
    }

    /// `text` as if its addresses began with the transcripts' `127.0.0.` and all times were one.
    pub(crate) fn normalised(self, text: &str) -> String {
        let text = text.replace(&self.ip(0)[..self.ip(0).len() - 1], "127.0.0.");
        text.split_inclusive('\n').map(untimed).collect()
    }
}

/// The second number of all addresses of this process. A socket tells other runs on this machine that it is taken, as long
/// as the process is there.
fn run_number() -> u8 {
    static TAKEN: OnceLock<(u8, UdpSocket)> = OnceLock::new();
    let free = |number: u8| Some((number, UdpSocket::bind((format!("127.{number}.255.254"), 7946)).ok()?));
    TAKEN.get_or_init(|| (101..200).find_map(free).expect("fewer than a hundred runs at once")).0
}

/// A log line without its time. The time's length does not change: `    2026/11/23 06:22:05 [`.
fn untimed(line: &str) -> String {
    let indent = if line.starts_with("    ") { 4 } else { 0 };
    match line[indent..].split_once(" [") {
        Some((time, rest)) if time.len() == 19 && time.as_bytes()[4] == b'/' => {
            format!("{}TIME [{rest}", &line[..indent])
        }
        _ => line.to_owned(),
    }
}

/// What a process printed so far, and whether it can still print more.
#[derive(Default)]
struct Printed {
    text: String,
    ended: bool,
}

/// The stdout of a process that can be waited for.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<(Mutex<Printed>, Condvar)>);

impl Output {
    fn of(child: &mut Child) -> Self {
        let output = Self::default();
        let mut stdout = child.stdout.take().expect("a pipe");
        let copy = output.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let read = stdout.read(&mut buffer).unwrap_or(0);
                let mut printed = copy.0.0.lock().expect("no panic");
                printed.text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                printed.ended = read == 0;
                copy.0.1.notify_all();
                if read == 0 {
                    return;
                }
            }
        });
        output
    }

    pub(crate) fn text(&self) -> String {
        self.0.0.lock().expect("no panic").text.clone()
    }

    /// Waits until the output contains `wanted`.
    pub(crate) fn wait_for(&self, wanted: &str) {
        self.wait_until(wanted, |printed| printed.text.contains(wanted));
    }

    /// Waits until the output has `wanted` after its first `seen` bytes.
    pub(crate) fn wait_for_after(&self, seen: usize, wanted: &str) {
        self.wait_until(wanted, |printed| printed.text[seen..].contains(wanted));
    }

    /// Waits until `holds` is true of the whole output.
    pub(crate) fn wait_for_text(&self, what: &str, holds: impl Fn(&str) -> bool) {
        self.wait_until(what, |printed| holds(&printed.text));
    }

    /// Waits for something that an agent does every half minute.
    pub(crate) fn wait_longer_for(&self, wanted: &str) {
        self.wait(3 * PATIENCE, wanted, |printed| printed.text.contains(wanted));
    }

    fn wait_for_end(&self) {
        self.wait_until("the end", |printed| printed.ended);
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Printed) -> bool) {
        self.wait(PATIENCE, what, holds);
    }

    fn wait(&self, patience: Duration, what: &str, holds: impl Fn(&Printed) -> bool) {
        let (printed, changed) = &*self.0;
        let guard = printed.lock().expect("no panic");
        let waits = |printed: &mut Printed| !holds(printed) && !printed.ended;
        let (guard, _) = changed.wait_timeout_while(guard, patience, waits).expect("no panic");
        let (came, text) = (holds(&guard), guard.text.clone());
        drop(guard);
        assert!(came, "{what:?} does not come; so far:\n{text}");
    }
}

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) output: Output,
}

impl Process {
    /// Runs a command whose stdout is read as it comes.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let output = Output::of(&mut child);
        Self { child, output }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is ours");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its command line, as every user of the host can see it.
    pub(crate) fn command_line(&self) -> String {
        let path = format!("/proc/{}/cmdline", self.id());
        String::from_utf8_lossy(&std::fs::read(path).expect("it runs")).replace('\0', " ")
    }

    /// Waits for its end. Gives the exit code and everything it printed.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        self.output.wait_for_end();
        let status = self.child.wait().expect("it ends");
        (status.code(), self.output.text())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent and the addresses at which it is reached.
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) ip: String,
    pub(crate) rpc_addr: String,
    pub(crate) process: Process,
}

impl Agent {
    /// Starts one of ours and waits until it is up.
    pub(crate) fn start(net: Net, host: u8, name: &str, words: &[&str]) -> Self {
        Self::start_program(Program::Ours, net, host, name, words)
    }

    pub(crate) fn start_program(program: Program, net: Net, host: u8, name: &str, words: &[&str]) -> Self {
        let agent = Self::launch(program, net, host, name, words);
        agent.process.output.wait_for("==> Log data will now stream in as it occurs:");
        agent
    }

    /// Starts an agent that need not come up.
    pub(crate) fn launch(program: Program, net: Net, host: u8, name: &str, words: &[&str]) -> Self {
        Self::spawn(net, host, name, words, |line| Process::spawn(&mut program.command(line)))
    }

    /// Starts an agent, somehow, that need not come up.
    pub(crate) fn spawn(
        net: Net,
        host: u8,
        name: &str,
        words: &[&str],
        start: impl FnOnce(&[&str]) -> Process,
    ) -> Self {
        let ip = net.ip(host);
        let rpc_addr = format!("{ip}:7373");
        let mut line = vec!["agent", "-node", name, "-bind", &ip, "-rpc-addr", &rpc_addr];
        line.extend(words);
        let process = start(&line);
        Self { name: name.to_owned(), ip, rpc_addr, process }
    }

    /// Starts one of ours and waits for its end. Gives the exit code and the output, normalised.
    pub(crate) fn refused(net: Net, host: u8, name: &str, words: &[&str]) -> (Option<i32>, String) {
        let (code, text) = Self::launch(Program::Ours, net, host, name, words).process.end();
        (code, net.normalised(&text))
    }

    /// What a command of ours prints that succeeds.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let run = Program::Ours.client(&self.rpc_addr, words);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{words:?} {}", run.stdout);
        run.stdout
    }

    /// Names and states, sorted: `n1 alive, n2 failed`.
    pub(crate) fn members(&self) -> String {
        let text = self.ask(&["members", "-format=json"]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let field = |row: &serde_json::Value, key: &str| row[key].as_str().expect("text").to_owned();
        let rows = json["members"].as_array().expect("at least itself");
        let mut rows: Vec<String> =
            rows.iter().map(|row| format!("{} {}", field(row, "name"), field(row, "status"))).collect();
        rows.sort();
        rows.join(", ")
    }

    /// Asks for the members until they are as `wanted`: `n1 alive, n2 failed`.
    pub(crate) fn wait_for_members(&self, wanted: &str) {
        self.wait_until(wanted, Self::members, |members| members == wanted);
    }

    /// The Lamport clock of the members.
    pub(crate) fn member_time(&self) -> u64 {
        let text = self.ask(&["info", "-format=json"]);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        json["serf"]["member_time"].as_str().expect("text").parse().expect("a number")
    }

    /// Asks until `holds` does, and gives what it holds of.
    #[expect(clippy::disallowed_methods, reason = "an agent does not tell when its state changes; it has to be asked")]
    pub(crate) fn wait_until<T: Debug>(&self, what: &str, ask: impl Fn(&Self) -> T, holds: impl Fn(&T) -> bool) -> T {
        for _ in 1..ATTEMPTS {
            let now = ask(self);
            if holds(&now) {
                return now;
            }
            std::thread::sleep(PAUSE);
        }
        let (now, output) = (ask(self), self.process.output.text());
        assert!(holds(&now), "{} knows {now:?}, not {what:?}; it printed:\n{output}", self.name);
        now
    }
}

/// Three agents n1, n2 and n3 on hosts 11 to 13 that know each other.
pub(crate) fn three(net: Net, words: &[&str]) -> [Agent; 3] {
    let first = net.ip(11);
    let joining = [words, &["-join", &first]].concat();
    let agents = [
        Agent::start(net, 11, "n1", words),
        Agent::start(net, 12, "n2", &joining),
        Agent::start(net, 13, "n3", &joining),
    ];
    for agent in &agents {
        agent.wait_for_members("n1 alive, n2 alive, n3 alive");
    }
    agents
}

/// The original `serf` of this machine. Without one the test is skipped, but not where `CI` is set.
pub(crate) fn original() -> Option<Program> {
    let ours = Path::new(env!("CARGO_BIN_EXE_serf")).parent();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .filter(|folder| Some(folder.as_path()) != ours)
        .map(|folder| folder.join("serf"))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "the original serf is not installed");
        println!("skipped: the original serf is not installed");
    }
    found.map(Program::Original)
}
