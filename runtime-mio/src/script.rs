//! One run of an event handler's script: its process, its pipes, what it said and how it ended.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Waker};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGSEGV, SIGTERM, SIGTRAP,
    SIGUSR1, SIGUSR2,
};
use villein_core::Time;
use villein_core::log::GoDuration;

use crate::address::errno_text;
use crate::limits::{SCRIPT_OUTPUT_BYTES_MAX, SCRIPT_READS_PER_TURN};
use crate::tokens::Source;

/// Starting a process and waiting for it needs far less.
const STACK_BYTES: usize = 128 << 10;

/// A script that runs.
pub(crate) struct Script {
    /// As it is configured.
    pub(crate) line: String,
    pub(crate) started: Time,
    /// Whether it was said that it is slow.
    pub(crate) said_slow: bool,
    input: Option<Input>,
    output: Output,
    tail: Tail,
    ended: Receiver<io::Result<ExitStatus>>,
    /// The process, for as long as nobody has waited for its end: its number may then be another's.
    process: Arc<Mutex<Option<Pid>>>,
    /// How long it may run; `None`: for ever.
    limit: Option<Duration>,
    /// Whether that is over.
    overran: bool,
    /// Whether it was killed for that.
    killed: bool,
}

/// A script that has ended.
pub(crate) struct Ended {
    pub(crate) line: String,
    pub(crate) started: Time,
    /// Why it is no success, in Go's words.
    pub(crate) problem: Option<String>,
    /// The last that it said, on both outputs.
    pub(crate) output: Vec<u8>,
    /// Bytes that it said.
    pub(crate) total: u64,
    /// The outputs, if something that the script left behind still holds them.
    pub(crate) left_open: Option<Output>,
}

impl Script {
    /// Runs `line`. A thread starts the process and waits for it, and wakes the loop at its end. One with a `limit` has a
    /// process group of its own, which is killed when the time is over.
    ///
    /// # Errors
    /// There is no pipe or no thread for it, or the line names no program.
    pub(crate) fn start(
        line: String,
        environment: Vec<(OsString, OsString)>,
        input: Box<[u8]>,
        pipes: [u64; 2],
        (registry, waker): (&Registry, &Arc<Waker>),
        (now, limit): (Time, Option<Duration>),
    ) -> io::Result<Self> {
        let [input_id, output_id] = pipes;
        let (stdin, writer) = io::pipe()?;
        let (reader, stdout) = io::pipe()?;
        let mut command = command_of(&line)?;
        command.envs(environment);
        if limit.is_some() {
            command.process_group(0);
        }
        command.stdin(stdin).stderr(stdout.try_clone()?).stdout(stdout);
        let output = Output::new(output_id, reader, registry)?;
        let mut input = Input::new(input_id, writer, input, registry)?;
        let (sender, ended) = sync_channel(1);
        let waker = Arc::clone(waker);
        let process = Arc::new(Mutex::new(None));
        let started = Arc::clone(&process);
        thread::Builder::new().name("script".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let child = command.spawn();
            // Our copies of the script's ends: with them its output would never end.
            drop(command);
            // Nobody listens where the agent has ended; the process is waited for all the same.
            let _ = sender.send(child.and_then(|child| wait(child, &started)));
            let _ = waker.wake();
        })?;
        // Most input fits into the pipe at once; the script then has it even if the agent ends now.
        let input = input.write().then_some(input);
        Ok(Self {
            line,
            started: now,
            said_slow: false,
            input,
            output,
            tail: Tail::default(),
            ended,
            process,
            limit,
            overran: false,
            killed: false,
        })
    }

    /// The system says that a pipe is ready.
    pub(crate) fn ready(&mut self, pipe: u64) {
        if let Some(input) = self.input.as_mut().filter(|input| input.id == pipe) {
            input.writable = true;
        }
        self.output.note(pipe);
    }

    /// Whether there is something to do that the system does not tell of.
    pub(crate) const fn is_ready(&self) -> bool {
        self.output.readable
    }

    /// When it has run long enough; `None`: it may go on, or was told to end.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.limit.filter(|_| !self.overran).map(|limit| self.started + limit)
    }

    /// Writes and reads what the pipes take and have, with at most so many reads, and kills it when its time is over; gives
    /// how the process ended, once it has.
    pub(crate) fn progress(&mut self, now: Time, reads: usize, buffer: &mut [u8]) -> Option<io::Result<ExitStatus>> {
        if self.deadline().is_some_and(|deadline| now >= deadline)
            && let Some(process) = *self.process.lock().unwrap_or_else(PoisonError::into_inner)
        {
            self.overran = true;
            // It may have gone into another group; one that neither reaches may do what we must not.
            let group = kill_process_group(process, Signal::KILL).is_ok();
            self.killed = kill_process(process, Signal::KILL).is_ok() || group;
        }
        self.input.take_if(|input| !input.write());
        self.output.read(reads, buffer, |bytes| self.tail.push(bytes));
        match self.ended.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(io::Error::other("nobody waits for the process"))),
        }
    }

    /// Puts together what is to be said of a script that has ended.
    pub(crate) fn end(mut self, result: io::Result<ExitStatus>, buffer: &mut [u8]) -> Ended {
        // What the process wrote is in the pipe now.
        self.output.readable = true;
        self.output.read(SCRIPT_READS_PER_TURN, buffer, |bytes| self.tail.push(bytes));
        let problem = match result {
            Ok(status) if status.success() => None,
            Ok(status) => Some(match self.limit.filter(|_| self.killed) {
                Some(limit) => format!("{}: it ran longer than {}", status_text(status), GoDuration(limit)),
                None => status_text(status),
            }),
            Err(error) => Some(format!("fork/exec {}: {}", program_of(&self.line), errno_text(&error))),
        };
        let Self { line, started, tail, output, .. } = self;
        let left_open = (!output.ended).then_some(output);
        Ended { line, started, problem, output: tail.bytes.into(), total: tail.total, left_open }
    }
}

/// What stands before a program and its arguments that need no shell.
const ARGV: &str = "argv:";
const SHELL: &str = "/bin/sh";

/// The program that runs a line.
fn program_of(line: &str) -> &str {
    match line.strip_prefix(ARGV) {
        Some(words) => words.split_whitespace().next().unwrap_or_default(),
        None => SHELL,
    }
}

/// Why the program of a line cannot be told what it is run for, as Go says of a program that the system does not start.
pub(crate) fn refused(line: &str, problem: &io::Error) -> io::Error {
    let program = program_of(line);
    io::Error::new(ErrorKind::InvalidInput, format!("fork/exec {program}: invalid argument: {problem}"))
}

/// A line is the shell's; behind `argv:` stand a program and its arguments, with blanks between and none in them.
fn command_of(line: &str) -> io::Result<Command> {
    let mut command = Command::new(program_of(line));
    match line.strip_prefix(ARGV) {
        Some(words) if words.trim().is_empty() => {
            return Err(io::Error::new(ErrorKind::InvalidInput, "argv: names no program"));
        }
        Some(words) => command.args(words.split_whitespace().skip(1)),
        None => command.arg("-c").arg(line),
    };
    Ok(command)
}

/// Waits for the end of a process, whose number is told as long as it is its own.
fn wait(mut child: Child, process: &Mutex<Option<Pid>>) -> io::Result<ExitStatus> {
    let lock = || process.lock().unwrap_or_else(PoisonError::into_inner);
    let pid = Pid::from_child(&child);
    *lock() = Some(pid);
    // The number stays taken until the end is asked for; an interrupted wait goes on.
    while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
    let mut process = lock();
    *process = None;
    child.wait()
}

/// The pipe into a script.
struct Input {
    id: u64,
    pipe: PipeWriter,
    bytes: Box<[u8]>,
    written: usize,
    writable: bool,
}

impl Input {
    fn new(id: u64, pipe: PipeWriter, bytes: Box<[u8]>, registry: &Registry) -> io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        register(pipe.as_raw_fd(), id, Interest::WRITABLE, registry)?;
        Ok(Self { id, pipe, bytes, written: 0, writable: true })
    }

    /// Whether there is more to write. A script need not read what it is given.
    fn write(&mut self) -> bool {
        while self.writable {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                return false;
            }
            match self.pipe.write(rest) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// The pipe from a script.
pub(crate) struct Output {
    id: u64,
    pipe: PipeReader,
    readable: bool,
    /// Whether nobody holds the other end any more.
    ended: bool,
}

impl Output {
    pub(crate) fn new(id: u64, pipe: PipeReader, registry: &Registry) -> io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        register(pipe.as_raw_fd(), id, Interest::READABLE, registry)?;
        Ok(Self { id, pipe, readable: false, ended: false })
    }

    /// The system says that a pipe is ready.
    pub(crate) const fn note(&mut self, pipe: u64) {
        self.readable |= self.id == pipe && !self.ended;
    }

    /// Whether there may be more that the system does not tell of.
    pub(crate) const fn is_ready(&self) -> bool {
        self.readable
    }

    /// Throws away what is said, with at most so many reads; true at the end.
    pub(crate) fn discard(&mut self, reads: usize, buffer: &mut [u8]) -> bool {
        self.read(reads, buffer, |_| ());
        self.ended
    }

    fn read(&mut self, reads: usize, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
        for _ in 0..reads {
            if !self.readable || self.ended {
                return;
            }
            match self.pipe.read(buffer) {
                Ok(0) => (self.readable, self.ended) = (false, true),
                Ok(len) => take(buffer.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => (self.readable, self.ended) = (false, true),
            }
        }
    }
}

/// A closed pipe leaves the poll by itself: nobody else has our end.
fn register(pipe: RawFd, id: u64, interest: Interest, registry: &Registry) -> io::Result<()> {
    registry.register(&mut SourceFd(&pipe), Source::Script(id).token(), interest)
}

/// The end of what was said.
#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    total: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.bytes.extend(bytes.iter().skip(bytes.len().saturating_sub(SCRIPT_OUTPUT_BYTES_MAX)));
        self.bytes.drain(..self.bytes.len().saturating_sub(SCRIPT_OUTPUT_BYTES_MAX));
    }
}

/// How a process ended, as Go says it.
fn status_text(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or_default());
    };
    let dumped = if status.core_dumped() { " (core dumped)" } else { "" };
    match SIGNALS.iter().find(|(number, _)| *number == signal) {
        Some((_, name)) => format!("signal: {name}{dumped}"),
        None => format!("signal: signal {signal}{dumped}"),
    }
}

/// Go's names of the signals that end processes.
const SIGNALS: [(i32, &str); 15] = [
    (SIGHUP, "hangup"),
    (SIGINT, "interrupt"),
    (SIGQUIT, "quit"),
    (SIGILL, "illegal instruction"),
    (SIGTRAP, "trace/breakpoint trap"),
    (SIGABRT, "aborted"),
    (SIGBUS, "bus error"),
    (SIGFPE, "floating point exception"),
    (SIGKILL, "killed"),
    (SIGUSR1, "user defined signal 1"),
    (SIGSEGV, "segmentation fault"),
    (SIGUSR2, "user defined signal 2"),
    (SIGPIPE, "broken pipe"),
    (SIGALRM, "alarm clock"),
    (SIGTERM, "terminated"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept() {
        let mut tail = Tail::default();
        tail.push(b"abc");
        assert_eq!((tail.total, tail.bytes.len()), (3, 3));
        tail.push(&[b'x'; SCRIPT_OUTPUT_BYTES_MAX - 3]);
        assert!(
            tail.bytes.len() == SCRIPT_OUTPUT_BYTES_MAX && tail.bytes.front() == Some(&b'a'),
            "the limit is reached"
        );
        tail.push(&[b'x'; SCRIPT_OUTPUT_BYTES_MAX]);
        tail.push(b"end");
        assert_eq!(tail.total, 2 * SCRIPT_OUTPUT_BYTES_MAX as u64 + 3);
        let bytes: Vec<u8> = tail.bytes.into();
        assert!(bytes.len() == SCRIPT_OUTPUT_BYTES_MAX && bytes.starts_with(b"x") && bytes.ends_with(b"xend"));
    }

    #[test]
    fn of_a_script_that_talks_so_much_is_read_in_one_turn() {
        let poll = mio::Poll::new().expect("a poll");
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut output = Output::new(0, reader, poll.registry()).expect("registers");
        writer.write_all(&[b'x'; SCRIPT_READS_PER_TURN + 1]).expect("there is room");
        output.note(0);
        let mut read = 0;
        for total in [SCRIPT_READS_PER_TURN, SCRIPT_READS_PER_TURN + 1] {
            // One byte at a time.
            output.read(SCRIPT_READS_PER_TURN, &mut [0], |bytes| read += bytes.len());
            assert_eq!((read, output.is_ready()), (total, total == SCRIPT_READS_PER_TURN));
        }
    }

    #[test]
    fn an_end_is_told_in_gos_words() {
        for (raw, text) in
            [(3 << 8, "exit status 3"), (9, "signal: killed"), (11 | 0x80, "signal: segmentation fault (core dumped)")]
        {
            assert_eq!(status_text(ExitStatus::from_raw(raw)), text);
        }
    }
}
