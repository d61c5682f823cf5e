#!/usr/bin/env python3
"""Kills a real agent with SIGKILL while its tags, keys and members change, and looks whether its files keep what it has acknowledged.

    bench/kills.py --serf target/release/serf --rounds 2000

Each round starts the agent `victim` with a tags file, a keyring file and a snapshot, lets it find the others again by the snapshot, changes
one thing (in turn tags, keys, members) and kills it at a drawn time behind a drawn number of acknowledgements; then the files are read. An
acknowledged `tags`, `install-key`, `use-key` or `remove-key` must be in its file. A member that has come or gone is acknowledged when it was
seen in `members` and a change of tags that was asked for after that was acknowledged: records go to the disk in their order. One that was
seen and not confirmed so is counted by itself. The next round's agent must read the files and show the same tags. Now and then the snapshot is
made so long that it is written anew in the next round. All agents are encrypted, on 127.79.0.1 to 127.79.0.4, the victim keeps its port.

Exit code 1: something acknowledged is lost, or a file cannot be read. Python 3.8+ alone.
"""
import argparse
import base64
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

from agent_bench import Conn, RPCError

KINDS = ("tags", "keys", "members")
RECORD = re.compile(rb"alive: \S+ [\d.]+:\d+|not-alive: \S+|# failed: \S+ [\d.]+:\d+|(clock|event-clock|query-clock|# incarnation): \d+|leave")
COMPACTION_BYTES = 128 << 10
# Between the last acknowledgement and the kill; a change takes one to a few milliseconds.
BEYOND = 0.004


class Loss(Exception):
    """Something that must not be."""


def wait_for(what, holds, limit=20.0, pause=0.002, must=True):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(pause)
    if not must:
        return False
    raise SystemExit(f"waited {limit:.0f} s for {what}")


class Agent:
    def __init__(self, serf, folder, name, host):
        self.serf, self.folder, self.name, self.ip = serf, folder, name, f"127.79.0.{host}"
        self.process = self.conn = None

    def path(self, kind):
        return os.path.join(self.folder, f"{self.name}.{kind}")

    def start(self, words):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen(
                [self.serf, "agent", f"-node={self.name}", f"-bind={self.ip}:7946", f"-rpc-addr={self.ip}:7373", "-profile=local",
                 f"-keyring-file={self.path('keyring')}", "-log-level=info", *words],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def connect(self):
        def connected():
            try:
                self.conn = Conn((self.ip, 7373))
                return True
            except (OSError, RPCError):
                if self.process.poll() is not None:
                    tail = open(self.path("log"), errors="replace").read()[-1500:]
                    raise Loss(f"{self.name} does not start any more (exit code {self.process.returncode}):\n{tail}")
                return False
        wait_for(f"{self.name}'s RPC server", connected)

    def members(self):
        rows = self.conn.call("members")["Members"]
        text = lambda value: value.decode() if isinstance(value, bytes) else value
        return {text(row["Name"]): (text(row["Status"]), {key: text(value) for key, value in row["Tags"].items()}) for row in rows}

    def status(self, name):
        return self.members().get(name, ("none", {}))[0]

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.conn:
            self.conn.close()
            self.conn = None


def changed(ring, change):
    """A ring, primary first, after a change."""
    command, key = change or ("none", None)
    others = [other for other in ring if other != key]
    if command == "use-key":
        return [key] + others
    if command == "install-key":
        return others + [key] if ring[0] != key else ring
    return others if command == "remove-key" and ring[0] != key else ring


def same_ring(one, other):
    return one[0] == other[0] and sorted(one) == sorted(other)


class Run:
    def __init__(self, arguments, folder):
        self.rng = random.Random(arguments.seed)
        self.serf, self.folder = arguments.serf, folder
        self.victim = Agent(arguments.serf, folder, "victim", 1)
        self.standing = Agent(arguments.serf, folder, "standing", 2)
        self.comers = [Agent(arguments.serf, folder, f"comer{number}", 3 + number) for number in range(2)]
        self.tags, self.keys, self.pending = {}, [self.new_key()], None
        self.write(self.victim.path("keyring"), self.keys)
        self.write(self.victim.path("tags"), {})
        self.counts = {"kills": {kind: 0 for kind in KINDS}, "acknowledged changes checked": {kind: 0 for kind in KINDS},
                       "killed with a change under way": 0, "that change was kept": 0, "snapshot written anew": 0,
                       "keys not changed everywhere": 0, "clusters begun anew": 0, "members seen but not confirmed": 0, "of these recorded": 0, "lost": 0}
        self.moments = [0] * 5
        self.count = 0

    @staticmethod
    def write(path, value):
        with open(path, "w") as file:
            json.dump(value, file)

    def new_key(self):
        return base64.b64encode(self.rng.getrandbits(256).to_bytes(32, "big")).decode()

    def read(self, kind):
        path = self.victim.path(kind)
        try:
            return json.load(open(path))
        except (OSError, ValueError) as error:
            raise Loss(f"{path} cannot be read: {error}: {open(path, 'rb').read()[:400] if os.path.exists(path) else 'gone'}")

    # -- a round ----------------------------------------------------------------

    def start(self):
        victim = self.victim
        victim.start([f"-tags-file={victim.path('tags')}", f"-snapshot={victim.path('snapshot')}", "-rejoin"])
        victim.connect()
        shown = victim.members()["victim"][1]
        if shown != self.tags:
            raise Loss(f"the agent shows the tags {shown}, its file had {self.tags}")
        live = {victim.name, self.standing.name, *(comer.name for comer in self.comers if comer.process)}
        current = lambda: {name for name, (status, _) in victim.members().items() if status in ("alive", "leaving")}
        if not wait_for("", lambda: current() == live, limit=8.0, must=False):
            # A change of keys that was under way when its agent was killed can leave members without a common key. Not what is tested here.
            self.counts["clusters begun anew"] += 1
            for agent in (self.standing, *self.comers):
                agent.kill()
            self.begin()
            victim.conn.call("join", {"Existing": [f"{self.standing.ip}:7946"], "Replay": False})
            wait_for("the victim to find the others", lambda: victim.status("standing") == "alive")

    def begin(self):
        """Another member, which stays."""
        shutil.copy(self.victim.path("keyring"), self.standing.path("keyring"))
        self.standing.start([])
        self.standing.connect()

    def shoot(self):
        """Kills at a drawn moment; says whether answers came until then, which count."""
        beyond = self.rng.random() * BEYOND
        self.moments[int(beyond / BEYOND * len(self.moments))] += 1
        # A sleep is too coarse.
        end = time.monotonic() + beyond
        while time.monotonic() < end:
            pass
        conn, self.victim.conn = self.victim.conn, None
        self.victim.kill()
        answers = []
        try:
            while True:
                answers += conn.feed()
        except (OSError, RPCError):
            conn.close()
        if any(error and command.endswith("-key") for _, command, error, _ in answers):
            self.counts["keys not changed everywhere"] += 1
            return 0
        return self.accepted(answers)

    @staticmethod
    def accepted(answers):
        for _, command, error, body in answers:
            if error:
                raise SystemExit(f"{command} is refused: {error} {body}")
        return len(answers)

    def tag_change(self, tags):
        """A request and what it makes of the tags; no state comes twice."""
        self.count += 1
        tags = dict(tags, count=str(self.count))
        gone = f"k{self.rng.randrange(5)}"
        tags.pop(gone, None)
        value = {"count": tags["count"]}
        name = f"k{self.rng.randrange(5)}"
        value[name] = tags[name] = "v" * self.rng.randrange(1, 40) + str(self.rng.randrange(1000))
        return {"Tags": value, "DeleteTags": [gone]}, tags

    def change_tags(self):
        """Asks for many changes at once, so that some are always under way."""
        states, before = [self.tags], self.rng.randrange(6)
        for _ in range(before + 24):
            body, tags = self.tag_change(states[-1])
            states.append(tags)
            self.victim.conn.send("tags", body)
        acknowledged = 0
        while acknowledged < before:
            acknowledged += self.accepted(self.victim.conn.feed())
        acknowledged += self.shoot()
        self.found_tags(states, acknowledged)

    def found_tags(self, states, acknowledged):
        self.tags = self.read("tags")
        if self.tags not in states:
            raise Loss(f"the tags file is the state after none of the changes: {self.tags}")
        found = states.index(self.tags)
        if found < acknowledged:
            raise Loss(f"{acknowledged} changes of tags were acknowledged, {found} are in the file")
        self.checked("tags", acknowledged)
        self.under_way(len(states) - 1 > acknowledged, found > acknowledged)

    def change_keys(self):
        """One change after the other, as an operator rotates; the last one is under way."""
        earlier, rings, before = self.pending, [self.keys], self.rng.randrange(1, 5)
        for number in range(before + 1):
            ring = rings[-1]
            if number == 0:
                # A change of the primary key may have been under way when the last agent was killed: now it is the same everywhere.
                change = ("use-key", ring[0])
            elif len(ring) > len(rings[-2]):
                change = ("use-key", ring[-1])
            elif len(ring) > 1 and (len(ring) > 2 or number % 3 == 0):
                change = ("remove-key", ring[1])
            else:
                change = ("install-key", self.new_key())
            rings.append(changed(ring, change))
            self.victim.conn.send(change[0], {"Key": change[1]})
            acknowledged, answers = number, []
            while number < before and not answers:
                answers = self.victim.conn.feed()
            self.pending = change
            if any(error for _, _, error, _ in answers):
                # Not every member did it, or said so in time: nothing is promised, here as well.
                self.counts["keys not changed everywhere"] += 1
                break
        acknowledged += self.shoot()
        self.keys = self.read("keyring")
        # What was under way an hour ago, so to speak, may come late from another member.
        rings = [same_ring(ring, self.keys) or same_ring(changed(ring, earlier), self.keys) for ring in rings]
        if not any(rings[acknowledged:]):
            raise Loss(f"{acknowledged} changes of keys were acknowledged, the ring is {self.keys}; states that it is: {rings}")
        self.checked("keys", acknowledged)
        self.under_way(acknowledged < len(rings) - 1, not rings[acknowledged])

    def found_keys(self):
        """In a round without changes of keys the ring stays, but for the change that was under way when it was changed last."""
        ring = self.read("keyring")
        if not (same_ring(ring, self.keys) or same_ring(ring, changed(self.keys, self.pending))):
            raise Loss(f"the ring was {self.keys} and is {ring}; {self.pending} was under way")
        self.keys = ring

    def change_members(self):
        """Members come and go; then tags change, which says that what was seen before is on the disk."""
        seen = []
        for comer in self.rng.sample(self.comers, self.rng.randrange(1, 3)):
            if comer.process:
                comer.conn.send("leave")
                wanted = "left"
            else:
                shutil.copy(self.victim.path("keyring"), comer.path("keyring"))
                comer.start([f"-join={self.victim.ip}:7946", "-snapshot=" + comer.path("snapshot")])
                wanted = "alive"
            wait_for(f"{comer.name} {wanted}", lambda: self.victim.status(comer.name) == wanted)
            seen.append((comer, wanted))
        states = [self.tags]
        confirmed = self.rng.random() < 0.7
        for _ in range(2):
            body, tags = self.tag_change(states[-1])
            states.append(tags)
            self.victim.conn.send("tags", body)
        acknowledged = 0
        while confirmed and not acknowledged:
            acknowledged += self.accepted(self.victim.conn.feed())
        acknowledged += self.shoot()
        self.found_tags(states, acknowledged)
        alive = self.snapshot()
        for comer, wanted in seen:
            there = (comer.name in alive) == (wanted == "alive")
            if acknowledged and not there:
                raise Loss(f"{comer.name} was seen {wanted}, which was confirmed, and the snapshot has alive: {sorted(alive)}")
            if acknowledged:
                self.checked("members", 1)
            else:
                self.counts["members seen but not confirmed"] += 1
                self.counts["of these recorded"] += there
            if wanted == "alive":
                comer.connect()
            else:
                comer.process.wait(timeout=20)
                comer.kill()

    def snapshot(self):
        """The members that the snapshot has alive; every line of it must be a record, but for one that does not end."""
        content = open(self.victim.path("snapshot"), "rb").read()
        lines, alive = content.split(b"\n"), set()
        lines.pop()
        for line in lines:
            if not RECORD.fullmatch(line):
                raise Loss(f"the snapshot has the line {line!r}")
            kind, _, rest = line.partition(b": ")
            name = rest.split(b" ")[0].decode()
            if kind == b"alive":
                alive.add(name)
            elif kind in (b"not-alive", b"# failed"):
                alive.discard(name)
        return alive

    def lengthen(self):
        """Makes the snapshot so long that the next agent writes it anew, after some records or some hundred."""
        path = self.victim.path("snapshot")
        content = open(path, "rb").read()
        clocks = re.findall(rb"^query-clock: \d+\n", content, re.M)
        if clocks and content.endswith(b"\n"):
            missing = COMPACTION_BYTES - self.rng.randrange(200) - len(content)
            with open(path, "ab") as file:
                file.write(clocks[-1] * max(missing // len(clocks[-1]), 0))
            return os.path.getsize(path)
        return None

    def checked(self, kind, count):
        self.counts["acknowledged changes checked"][kind] += count

    def under_way(self, is_one, was_kept):
        self.counts["killed with a change under way"] += is_one
        self.counts["that change was kept"] += was_kept

    def play(self, rounds):
        begun, said, long = time.monotonic(), time.monotonic(), None
        self.begin()
        # The first life has nobody to find again.
        with open(self.victim.path("snapshot"), "w") as file:
            file.write(f"alive: standing {self.standing.ip}:7946\n")
        for number in range(rounds):
            kind = KINDS[number % len(KINDS)]
            self.start()
            {"tags": self.change_tags, "keys": self.change_keys, "members": self.change_members}[kind]()
            self.counts["kills"][kind] += 1
            self.snapshot()
            if kind != "keys":
                self.found_keys()
            left = [name for name in os.listdir(self.folder) if name.startswith("victim.") and
                    name.split(".", 1)[1] not in ("log", "tags", "keyring", "snapshot", "tags.new", "keyring.new", "snapshot.new")]
            if left:
                raise Loss(f"left behind: {left}")
            self.counts["snapshot written anew"] += long is not None and os.path.getsize(self.victim.path("snapshot")) < long
            long = self.lengthen() if self.rng.random() < 0.25 else None
            if time.monotonic() - said > 60:
                said = time.monotonic()
                print(f"{number + 1} rounds in {said - begun:.0f} s", file=sys.stderr)
        return time.monotonic() - begun

    def stop(self):
        for agent in (self.victim, self.standing, *self.comers):
            agent.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serf", required=True, help="the program")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="a directory for the agents' files and logs if something is lost")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, problem, begun = Run(arguments, folder), None, time.monotonic()
        try:
            run.play(arguments.rounds)
        except Loss as loss:
            problem = str(loss)
            if arguments.keep:
                shutil.copytree(folder, arguments.keep)
            run.counts["lost"] += 1
        finally:
            run.stop()
        seconds = time.monotonic() - begun
    step = BEYOND * 1000 / len(run.moments)
    rounds = sum(run.counts["kills"].values())
    print(json.dumps({
        "rounds": rounds, "seed": arguments.seed, **run.counts,
        "kills by milliseconds after the last acknowledgement waited for":
            {f"{number * step:.1f} to {(number + 1) * step:.1f}": count for number, count in enumerate(run.moments)},
        "seconds": round(seconds, 1), "seconds a round": round(seconds / max(rounds, 1), 3)}, indent=2))
    if problem:
        print(f"FAILED {problem}")
    elif run.counts["clusters begun anew"] * 50 > rounds:
        problem = True
        print("FAILED the members lost each other too often")
    elif run.counts["killed with a change under way"] * 2 < rounds:
        problem = True
        print("FAILED too few kills had a change under way")
    sys.exit(1 if problem else 0)


if __name__ == "__main__":
    main()
