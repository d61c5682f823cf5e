//! The agent's side of one RPC connection, played from a script.

use std::io::{BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::msgpack::{Value, map, text};

/// A command that the agent expects, and what it does then.
pub(crate) struct Step {
    command: &'static str,
    has_body: bool,
    answer: Answer,
}

/// What the agent does about a command.
pub(crate) enum Answer {
    /// A header with an error text, empty for success, and whatever follows it.
    Reply { error: &'static str, then: Vec<Value> },
    /// Closes the connection without a word.
    Close,
    /// Expects no command; waits until the client closes the connection.
    Wait,
}

impl Step {
    pub(crate) fn ok(command: &'static str) -> Self {
        Self::refused(command, "")
    }

    pub(crate) fn refused(command: &'static str, error: &'static str) -> Self {
        Self::with(command, Answer::Reply { error, then: Vec::new() })
    }

    /// Success and a body.
    pub(crate) fn body(command: &'static str, body: Value) -> Self {
        Self::with(command, Answer::Reply { error: "", then: vec![body] })
    }

    /// No command: waits until the client is gone.
    pub(crate) fn idle() -> Self {
        Self::with("", Answer::Wait)
    }

    pub(crate) fn with(command: &'static str, answer: Answer) -> Self {
        let has_body = !matches!(command, "stats" | "leave" | "members" | "list-keys");
        Self { command, has_body, answer }
    }
}

/// An agent that is waiting for its one client, or has it.
pub(crate) struct FakeAgent {
    pub(crate) address: String,
    commands: Receiver<&'static str>,
    thread: JoinHandle<Vec<Value>>,
}

impl FakeAgent {
    /// Listens on a loopback address. After its last step the agent closes the connection.
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.77.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (heard, commands) = sync_channel(steps.len());
        Self { address, commands, thread: thread::spawn(move || serve(&listener, steps, &heard)) }
    }

    /// Waits until the agent has answered a command of this name.
    pub(crate) fn wait_for(&self, command: &str) {
        while self.commands.recv().expect("the client gives the command") != command {}
    }

    /// The bodies that came with the commands, in order; `Nil` for a command without one.
    pub(crate) fn bodies(self) -> Vec<Value> {
        self.thread.join().expect("the client kept to the script")
    }
}

fn serve(listener: &TcpListener, steps: Vec<Step>, heard: &SyncSender<&'static str>) -> Vec<Value> {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut requests = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut bodies = Vec::new();
    for step in steps {
        if let Answer::Wait = step.answer {
            assert!(Value::read(&mut requests).is_err(), "the client sent more than expected");
            break;
        }
        let header = Value::read(&mut requests).expect("a header");
        assert_eq!(*header.field("Command"), text(step.command));
        bodies.push(if step.has_body { Value::read(&mut requests).expect("a body") } else { Value::Nil });
        let Answer::Reply { error, then } = step.answer else { break };
        let mut bytes = Vec::new();
        map([("Error", text(error)), ("Seq", header.field("Seq").clone())]).encode(&mut bytes);
        then.iter().for_each(|value| value.encode(&mut bytes));
        stream.write_all(&bytes).expect("the client reads");
        // Most tests do not listen.
        let _ = heard.send(step.command);
    }
    // A client that has already gone is what most of them are by now.
    match stream.shutdown(Shutdown::Both) {
        Err(error) if error.kind() != ErrorKind::NotConnected => panic!("{error}"),
        Ok(()) | Err(_) => bodies,
    }
}
