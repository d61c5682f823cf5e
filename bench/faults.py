#!/usr/bin/env python3
"""Refuses the k-th call that a real agent makes on its files, for every k, and looks whether it lives through that.

    bench/faults.py --serf target/release/serf

Under strace, which must be installed, an agent with a tags file, a keyring file and a snapshot is asked to change tags and keys and to tell
events. In each run a call on these files (open, write, fsync, fdatasync, ftruncate, rename) is refused with ENOSPC, EIO, EROFS or EACCES: the k-th of
its kind, or all from the k-th on. strace counts by thread, and an agent starts one when there is something to write, so that most runs refuse more
than one call. The agent must stay a member, give the reason of each refusal, and say at most once that the snapshot cannot be written; after a
SIGKILL the files hold what was acknowledged, or what was refused since: where only the directory could not be synced the new content stands. The
next agent, on a disk that is well, must show that and do everything. The agents are at 127.79.1.1. Exit code 1: something is otherwise.
Python 3.8+ alone.
"""
import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from agent_bench import Conn, RPCError
from kills import changed, same_ring

IP = "127.79.1.1"
CALLS = ("openat", "write", "fsync", "fdatasync", "ftruncate", "rename")
ERRORS = {"ENOSPC": "no space left on device", "EIO": "input/output error", "EROFS": "read-only file system", "EACCES": "permission denied"}
KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(2)]
TROUBLE = "[ERR] serf: Failed to update snapshot: "


class Fault(Exception):
    """Something that must not be."""


class Agent:
    def __init__(self, serf, folder, inject=None):
        self.folder = folder
        names = [os.path.join(folder, name) for name in ("tags", "keyring", "snapshot")]
        command = [serf, "agent", "-node=faulty", f"-bind={IP}:7946", f"-rpc-addr={IP}:7373", "-profile=local", "-log-level=info",
                   f"-tags-file={names[0]}", f"-keyring-file={names[1]}", f"-snapshot={names[2]}"]
        if inject:
            # Only calls on these files count; a directory is synced by its descriptor.
            paths = [word for name in names for word in ("-P", name, "-P", name + ".new")] + ["-P", folder]
            command = ["strace", "-f", "-q", "-o", os.path.join(folder, "trace"), "-e", f"trace={','.join(CALLS)}", *paths,
                       "-e", inject, *command]
        self.log = os.path.join(folder, "log")
        self.process = subprocess.Popen(command, stdout=open(self.log, "wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try:
                self.conn = Conn((IP, 7373))
                return
            except (OSError, RPCError):
                if self.process.poll() is not None or time.monotonic() > end:
                    self.end()
                    raise
                time.sleep(0.005)

    def change(self, command, body):
        """Why it is refused, or None."""
        sequence = self.conn.send(command, body)
        while True:
            for number, _, error, body in self.conn.feed():
                if number == sequence:
                    return (error + " " + str(body)) if error else None

    def logged(self):
        return open(self.log, errors="replace").read()

    def end(self):
        # strace ends with what it traces, and not the other way round.
        children = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid="], stdout=subprocess.PIPE, text=True).stdout.split()
        for child in children:
            os.kill(int(child), 9)
        if not children:
            self.process.kill()
        self.process.wait()


def changes(number):
    """What an agent is asked for; each is one call or more on each file."""
    yield "tags", {"Tags": {"a": str(number)}, "DeleteTags": []}
    yield "event", {"Name": "e", "Payload": b"", "Coalesce": False}
    yield "install-key", {"Key": KEYS[1]}
    yield "tags", {"Tags": {"b": str(number)}, "DeleteTags": ["a"]}
    yield "event", {"Name": "e", "Payload": b"", "Coalesce": False}
    yield "use-key", {"Key": KEYS[1]}
    yield "use-key", {"Key": KEYS[0]}
    yield "remove-key", {"Key": KEYS[1]}


def prepare(folder):
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    for name, value in (("tags", {"role": "web"}), ("keyring", [KEYS[0]])):
        with open(os.path.join(folder, name), "w") as file:
            json.dump(value, file)
    open(os.path.join(folder, "snapshot"), "w").close()


def counted(serf, folder):
    """Calls of each kind in a run without faults, at most per thread: that is how strace counts."""
    prepare(folder)
    agent = Agent(serf, folder, "inject=chroot:error=EIO")
    for command, body in changes(1):
        if error := agent.change(command, body):
            raise Fault(f"without a fault {command} is refused: {error}")
    agent.end()
    counts = {}
    for line in open(os.path.join(folder, "trace"), errors="replace"):
        if match := re.match(r"(\d+) +(\w+)\(", line):
            counts.setdefault(match.group(2), {}).setdefault(match.group(1), 0)
            counts[match.group(2)][match.group(1)] += 1
    return {call: max(threads.values()) for call, threads in counts.items() if call in CALLS}


def live(serf, folder, call, error, when, totals):
    prepare(folder)
    try:
        agent = Agent(serf, folder, f"inject={call}:error={error}:when={when}")
    except (OSError, RPCError):
        # Refused at the start: an agent that cannot read its files or open its snapshot must not begin.
        log = open(os.path.join(folder, "log"), errors="replace").read()
        if ERRORS[error] not in log:
            raise Fault(f"it does not start, and does not say why: {log[-400:]}")
        totals["starts refused"] += 1
        return
    try:
        # What each file may hold: what was acknowledged last, and what was refused since.
        tags, rings, refused = [{"role": "web"}], [[KEYS[0]]], 0
        for command, body in changes(1):
            why = agent.change(command, body)
            if command == "tags":
                new = {name: value for name, value in {**tags[0], **body["Tags"]}.items() if name not in body["DeleteTags"]}
                tags = [new] if why is None else tags + [new]
            elif command.endswith("-key"):
                # What the file did not take is in the ring nevertheless, as upstream has it.
                new = changed(rings[-1], (command, body["Key"]))
                rings = [new] if why is None else rings + [new]
            if why is not None:
                refused += 1
                if command == "tags" and ERRORS[error] not in why or command.endswith("-key") and ERRORS[error] not in why:
                    raise Fault(f"{command} is refused without the reason: {why}")
        totals["changes refused"] += refused
        shown = agent.conn.call("members")["Members"]
        if len(shown) != 1 or shown[0]["Status"] != b"alive":
            raise Fault(f"it is no member any more: {shown}")
        log = agent.logged()
        said = log.count(TROUBLE)
        totals["snapshots not written"] += said > 0
        # A disk that takes one call and refuses the next is in trouble, out of it and in trouble again.
        if said > 1 + log.count("the snapshot is written again"):
            raise Fault(f"it is said {said} times that the snapshot cannot be written")
        injected = open(os.path.join(folder, "trace"), errors="replace").read().count("(INJECTED)")
        totals["calls refused"] += injected
    finally:
        agent.end()
    ring, kept = (json.load(open(os.path.join(folder, name))) for name in ("keyring", "tags"))
    if kept not in tags or not any(same_ring(ring, other) for other in rings):
        raise Fault(f"acknowledged was {tags[0]} and {rings[0]}, the files hold {kept} and {ring}")
    # The disk is well again: the next agent reads the files, shows what they hold, and does what is asked for.
    agent = Agent(serf, folder)
    try:
        shown = {name: value.decode() for name, value in agent.conn.call("members")["Members"][0]["Tags"].items()}
        if shown != kept:
            raise Fault(f"the next agent shows {shown}, the file holds {kept}")
        for command, body in changes(2):
            if why := agent.change(command, body):
                raise Fault(f"the next agent refuses {command}: {why}")
        if json.load(open(os.path.join(folder, "keyring"))) != [KEYS[0]]:
            raise Fault("the keyring file has other keys than were acknowledged")
        left = set(os.listdir(folder)) - {"tags", "keyring", "snapshot", "snapshot.new", "log", "trace"}
        if left:
            raise Fault(f"left behind: {left}")
    finally:
        agent.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serf", required=True, help="the program")
    arguments = parser.parse_args()
    if not shutil.which("strace"):
        sys.exit("strace is not installed")
    totals = {"runs": 0, "calls refused": 0, "changes refused": 0, "snapshots not written": 0, "starts refused": 0}
    begun, problems = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        counts = counted(arguments.serf, folder)
        for call, count in counts.items():
            for number in range(1, count + 1):
                for error in ERRORS:
                    for when in (f"{number}", f"{number}+"):
                        try:
                            live(arguments.serf, folder, call, error, when, totals)
                        except Fault as fault:
                            problems.append(f"{call} {error} when={when}: {fault}")
                        totals["runs"] += 1
    print(json.dumps({"calls on the files, per thread": counts, **totals, "seconds": round(time.monotonic() - begun, 1)}, indent=2))
    if totals["calls refused"] < totals["runs"] - totals["starts refused"]:
        problems.append("some faults did not happen")
    for problem in problems:
        print(f"FAILED {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
