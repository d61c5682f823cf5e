//! Networks of a test's own, where multicast disturbs nobody, and a disk that is soon full.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

use crate::process::{Process, Program};

/// Namespaces; they are gone with the process that holds them.
struct Namespace {
    holder: Child,
    /// Which ones, beside that of users, as `nsenter` calls it.
    kind: &'static str,
    /// The holder ends when this is closed.
    _held: ChildStdin,
}

impl Namespace {
    /// `enter` are the words that start a program where the namespace is to be made.
    fn new(enter: &[String], flags: &str, kind: &'static str) -> Result<Self, String> {
        let mut words = enter.to_vec();
        words.extend(["unshare", flags, "sh", "-c", "echo up; exec cat"].map(str::to_owned));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut holder = command.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
        let held = holder.stdin.take().expect("a pipe");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        let namespace = Self { holder, kind, _held: held };
        match read {
            Ok(_) if line == "up\n" => Ok(namespace),
            Ok(_) | Err(_) => Err(format!("{} says {line:?}", words.join(" "))),
        }
    }

    /// The words that start a program in the namespaces.
    fn enter(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "-U", self.kind, "--preserve-credentials", "-t", &target].map(str::to_owned).into()
    }

    fn command(&self, program: Command) -> Command {
        let enter = self.enter();
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).arg(program.get_program()).args(program.get_args());
        command.env_remove("SERF_RPC_ADDR").env_remove("SERF_RPC_AUTH").env_remove("SERF_RPC_AUTH_FILE");
        command
    }

    fn run(&self, line: &str) -> Result<(), String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]);
        let output = self.command(shell).output().map_err(|error| format!("nsenter: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Fails only when it has ended, which is what is wanted.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A failure where `CI` is true.
fn not_permitted<T>(what: &str, reason: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no {what}: {reason}");
    println!("skipped: no {what}: {reason}");
    None
}

/// Two hosts on a cable: 10.43.0.1 and 10.43.0.2, each with an interface `cable`, and one without addresses, `loose`.
pub(crate) struct Hosts([Namespace; 2]);

impl Hosts {
    /// `None` where the machine does not permit it; that is a failure where `CI` is true.
    pub(crate) fn new() -> Option<Self> {
        match Self::try_new() {
            Ok(hosts) => Some(hosts),
            Err(reason) => not_permitted("network namespaces", &reason),
        }
    }

    fn try_new() -> Result<Self, String> {
        let one = Namespace::new(&[], "-rn", "-n")?;
        let two = Namespace::new(&one.enter(), "-n", "-n")?;
        one.run(&format!("ip link add cable type veth peer name cable netns {}", two.holder.id()))?;
        for (namespace, ip) in [(&one, "10.43.0.1"), (&two, "10.43.0.2")] {
            for line in [
                "ip link set lo up",
                &format!("ip address add {ip}/24 dev cable"),
                // Otherwise IPv6 only works after a while, and the original gives up until the next minute.
                "echo 0 >/proc/sys/net/ipv6/conf/cable/accept_dad",
                "ip link set cable up",
                "ip route add default dev cable",
                "ip link add loose type veth peer name end",
            ] {
                namespace.run(line)?;
            }
        }
        Ok(Self([one, two]))
    }

    /// Starts an agent on one of the hosts.
    pub(crate) fn agent(&self, program: &Program, host: usize, name: &str, words: &[&str]) -> Process {
        let mut line = vec!["agent", "-node", name, "-log-level=debug"];
        line.extend(words);
        Process::spawn(&mut self.0[host].command(program.command(&line)))
    }

    /// Runs a line of shell on one of the hosts.
    pub(crate) fn run(&self, host: usize, line: &str) {
        self.0[host].run(line).expect("is permitted");
    }

    /// What a command of ours prints that asks the agent on a host.
    pub(crate) fn ask(&self, host: usize, words: &[&str]) -> String {
        let output = self.0[host].command(Program::Ours.command(words)).output().expect("the binary starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A file system of a few pages, in memory, that only programs started here see.
pub(crate) struct SmallDisk {
    namespace: Namespace,
    directory: TempDir,
}

impl SmallDisk {
    /// `None` where the machine does not permit it; that is a failure where `CI` is true.
    pub(crate) fn new(pages: usize) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mounted = Namespace::new(&[], "-rm", "-m").and_then(|namespace| {
            let path = directory.path().display();
            namespace.run(&format!("mount -t tmpfs -o size={} small {path}", 4096 * pages)).map(|()| namespace)
        });
        match mounted {
            Ok(namespace) => Some(Self { namespace, directory }),
            Err(reason) => not_permitted("mount namespaces", &reason),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a command that sees the disk.
    pub(crate) fn spawn(&self, command: Command) -> Process {
        Process::spawn(&mut self.namespace.command(command))
    }

    /// Runs a line of shell in the directory.
    pub(crate) fn run(&self, line: &str) {
        self.namespace.run(&format!("cd {} && {line}", self.directory.path().display())).expect("is permitted");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let mut cat = Command::new("cat");
        cat.arg(self.path(name));
        let output = self.namespace.command(cat).output().expect("cat starts");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}
