//! Agents in threads, and their output.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use villein_core::Config;
use villein_core::config::Profile;
use villein_core::log::Level;
use villein_runtime_mio::{
    Agent, AgentOptions, Control, Controls, Exit, FileOptions, Signal, StartError, TelemetryOptions,
};

use crate::client::Client;

/// How long a condition may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until `holds` does.
#[expect(clippy::disallowed_methods, reason = "a file does not tell when it changes; it has to be looked at")]
pub(crate) fn wait_until(holds: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
        if holds() {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    assert!(holds(), "what is waited for does not come");
}

const PAUSE: Duration = Duration::from_millis(10);

/// Output that can be waited for.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<(Mutex<String>, Condvar)>);

impl Output {
    pub(crate) fn text(&self) -> String {
        self.0.0.lock().expect("no panic").clone()
    }

    /// The output without times, line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let stamp = "    2026/11/23 06:22:05 ".len();
        let untimed = |line: &str| match line.get(..stamp) {
            Some(start) if start.starts_with("    2") && start.as_bytes()[8] == b'/' => {
                format!("    {}", &line[stamp..])
            }
            _ => line.to_owned(),
        };
        self.text().lines().map(untimed).collect()
    }

    /// Waits until nothing has come for so long.
    pub(crate) fn settles(&self, quiet: Duration) {
        let (text, changed) = &*self.0;
        let mut text = text.lock().expect("no panic");
        loop {
            let seen = text.len();
            let waited = changed.wait_timeout_while(text, quiet, |text| text.len() == seen).expect("no panic");
            if waited.1.timed_out() {
                return;
            }
            text = waited.0;
        }
    }

    pub(crate) fn wait_for(&self, wanted: &str) {
        let (text, changed) = &*self.0;
        let text = text.lock().expect("no panic");
        let (text, result) =
            changed.wait_timeout_while(text, PATIENCE, |text| !text.contains(wanted)).expect("no panic");
        assert!(!result.timed_out(), "{wanted:?} does not come; so far:\n{text}");
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.lock().expect("no panic").push_str(&String::from_utf8_lossy(bytes));
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Options of an agent whose gossip and RPC ports the system chooses.
pub(crate) fn options(name: &str, ip: &str, output: &Output) -> AgentOptions {
    let bind: SocketAddr = format!("{ip}:0").parse().expect("an address");
    let mut config = Config::new(name.into(), bind.into(), Profile::Local);
    config.serf.coalesce = Some(villein_core::config::Coalesce::AGENT);
    AgentOptions {
        config,
        bind,
        advertise: None,
        encrypt_key: None,
        rpc_addr: format!("{ip}:0"),
        rpc_auth: Vec::new(),
        log_level: Level::Info,
        time_zone: Some(String::new()),
        files: FileOptions::default(),
        record: None,
        restored: Vec::new(),
        banner: format!("                      Node name: '{name}'"),
        start_join: Vec::new(),
        mdns: None,
        replay: false,
        live: villein_runtime_mio::LiveOptions::default(),
        signals: false,
        reload: None,
        sink: Box::new(output.clone()),
        telemetry: TelemetryOptions::default(),
        dump: Box::new(io::sink()),
        syslog: None,
    }
}

/// An agent in a thread of its own; it is killed when it is dropped.
pub(crate) struct Running {
    pub(crate) gossip: SocketAddr,
    pub(crate) rpc: SocketAddr,
    pub(crate) output: Output,
    controls: Controls,
    thread: Option<JoinHandle<Exit>>,
}

impl Running {
    pub(crate) fn start(name: &str, ip: &str, change: impl FnOnce(&mut AgentOptions)) -> Self {
        Self::try_start(name, ip, change).unwrap_or_else(|(error, _)| panic!("{error}"))
    }

    pub(crate) fn try_start(
        name: &str,
        ip: &str,
        change: impl FnOnce(&mut AgentOptions),
    ) -> Result<Self, (StartError, Output)> {
        let output = Output::default();
        let mut options = options(name, ip, &output);
        change(&mut options);
        let agent = match Agent::start(options) {
            Ok(agent) => agent,
            Err(error) => return Err((error, output)),
        };
        let (gossip, rpc, controls) = (agent.gossip_addr(), agent.rpc_addr().expect("a port"), agent.controls());
        let thread = std::thread::spawn(move || agent.run());
        Ok(Self { gossip, rpc, output, controls, thread: Some(thread) })
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.rpc)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.controls.send(Control::Signal(signal));
    }

    /// How it ended, once it has.
    pub(crate) fn wait(mut self) -> (Exit, Output) {
        (self.thread.take().expect("is waited for once").join().expect("no panic"), self.output.clone())
    }

    /// Drops its sockets at once.
    pub(crate) fn kill(self) {
        self.controls.send(Control::Kill);
        self.wait();
    }

    /// Asks for the members until `wanted` holds.
    pub(crate) fn wait_for_members(&self, wanted: &[(&str, &str)]) {
        let mut client = self.client();
        let wanted: Vec<(String, String)> =
            wanted.iter().map(|(name, status)| ((*name).to_owned(), (*status).to_owned())).collect();
        // Every log line is a reason to look again; a change of the members always writes one.
        let (text, changed) = &*self.output.0;
        let mut seen = 0;
        loop {
            let members = client.members();
            if members == wanted {
                return;
            }
            let guard = text.lock().expect("no panic");
            let (guard, result) =
                changed.wait_timeout_while(guard, PATIENCE, |text| text.len() == seen).expect("no panic");
            assert!(!result.timed_out(), "members are {members:?}, not {wanted:?}");
            seen = guard.len();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.controls.send(Control::Kill);
            // A panic of the agent is a failure of its own; here another one may be under way already.
            let _ = thread.join();
        }
    }
}
