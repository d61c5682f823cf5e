"""What is measured while a flood goes on, and the bounds."""
import re
import select
import socket
import time

from flooding import wire
from flooding.agents import PORT
from flooding.rpc import Rpc

MIB = 1024
EVERY, MEMORY_EVERY = 0.02, 0.25
# An answer that takes longer is as good as none.
ANSWER_MS_MAX = 100
MEMORY_MAX = 8 * MIB
# core/src/limits.rs: STREAMS_BYTES_MAX. The allocator may keep what streams had, to be used again.
STREAMS_MAX = 64 * MIB + MEMORY_MAX
# A kind of line may be written a few times at once; then once a second.
LINES_AT_ONCE = {"WARN": 10, "ERR": 10, "INFO": 10}
MORE_AT_ONCE = {"Accepted client": 600, "Dropping event to ipc.client": 60}
SETTLE = 25
# A ping without an ack for so long was lost: a flood fills the socket's buffer, and the kernel drops what finds no room.
PING_LOST = 1.0
STAMP = re.compile(r"^ *\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (.*?)(?: \(and (\d+) more like it\))?$", re.M)


def kinds(log):
    """Lines by kind, without numbers and addresses: (level, text) to count."""
    found = {}
    for level, text, _ in STAMP.findall(log):
        kind = (level, re.sub(r"'[^']*'|\"[^\"]*\"", "'-'", re.sub(r"\d+(?:[.:]\d+)*", "N", text))[:90])
        found[kind] = found.get(kind, 0) + 1
    return found


def part(times, share):
    """The time within which that share of all was."""
    times = sorted(times) or [float("inf")]
    return round(times[int(len(times) * share)], 1)


class Pings:
    """Pings in the clear from an address that sends nothing else, one at a time."""

    def __init__(self, victim):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.78.98.1", 0))
        self.socket.connect((victim.ip, PORT))
        self.seq, self.sent, self.took, self.lost = 1 << 20, None, [], 0

    def wait(self, seconds):
        """Sends one if none is on its way, and passes the time."""
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            if self.sent is not None and now - self.sent > PING_LOST:
                self.sent, self.lost = None, self.lost + 1
            if now >= end:
                return
            if self.sent is None:
                self.seq, self.sent = self.seq + 1, now
                self.socket.send(wire.ping("", self.seq))
            if select.select([self.socket], [], [], end - now)[0] and wire.pack(self.seq) in self.socket.recv(65536):
                self.took.append((time.monotonic() - self.sent) * 1000)
                self.sent = None
                time.sleep(max(0.0, end - time.monotonic()))


class Watch:
    """The victim during one flood."""

    def __init__(self, cluster):
        self.cluster, self.victim = cluster, cluster.victim
        self.pings = None if cluster.sealed else Pings(cluster.victim)
        self.client = Rpc(self.victim.ip)
        time.sleep(0.2)
        self.before = {"memory": self.victim.memory(), "descriptors": self.victim.descriptors(), "dropped": self.victim.dropped(),
                       "cpu": self.victim.cpu()}
        if cluster.rested is None:
            cluster.rested = self.before["memory"]
        self.logs = {agent: agent.log_size() for agent in cluster.agents}
        self.answers, self.most, self.unanswered = [], 0, None
        self.begun = time.monotonic()

    def follow(self, senders, seconds):
        """Asks and measures until the senders are done."""
        measured = 0.0
        while senders.running():
            now = time.monotonic()
            if now > self.begun + seconds + 120:
                raise SystemExit("the senders do not end")
            try:
                self.client.call("stats")
            except (OSError, ConnectionError) as problem:
                self.unanswered = self.unanswered or repr(problem)
                time.sleep(0.5)
            else:
                self.answers.append((time.monotonic() - now) * 1000)
            if now - measured >= MEMORY_EVERY:
                measured = now
                self.most = max(self.most, self.victim.memory())
            (self.pings.wait if self.pings else time.sleep)(EVERY)
        self.seconds = time.monotonic() - self.begun
        self.cpu = self.victim.cpu() - self.before["cpu"]

    def settle(self):
        """Waits until descriptors are back."""
        time.sleep(1.2)  # What is left to say of the flood is said after a second.
        self.read_log()
        end = time.monotonic() + SETTLE
        while (descriptors := self.victim.descriptors()) > self.before["descriptors"] and time.monotonic() < end:
            time.sleep(0.2)
        self.after = {"memory": self.victim.memory(), "descriptors": descriptors}

    def read_log(self):
        self.log = self.victim.log(self.logs[self.victim])
        self.logged = time.monotonic() - self.begun

    def found(self, counts):
        """The numbers of the flood."""
        lines = kinds(self.log)
        accepted = sum(count for (_, kind), count in lines.items() if "Accepted client" in kind)
        happened = sum(count for (_, kind), count in lines.items() if "Received event" in kind)
        rest = {kind: count for kind, count in lines.items() if not re.search("Accepted client|Received event", kind[1])}
        worst = max(rest, key=rest.get, default=None)
        sent = counts.get("sent", 0)
        pings = self.pings and {"acks": len(self.pings.took), "lost": self.pings.lost, "p99 ms": part(self.pings.took, 0.99)}
        return {"seconds": round(self.seconds, 1), "sent/s": round(sent / self.seconds), "opened": counts.get("opened", 0),
                "at once": counts.get("most", 0),
                "taken/s": round((sent - (self.victim.dropped() - self.before["dropped"])) / self.seconds) if sent else 0,
                "cpu %": round(100 * self.cpu / self.seconds),
                "p50 ms": part(self.answers, 0.5), "p99 ms": part(self.answers, 0.99), "pings": pings,
                "ack ms": pings["p99 ms"] if pings else "",
                "memory +KiB": self.most - self.before["memory"], "after +KiB": self.after["memory"] - self.cluster.rested,
                "lines of a kind": rest.get(worst, 0), "that kind": " ".join(worst) if worst else "", "accepted lines": accepted,
                "event lines": happened, "descriptors": [self.before["descriptors"], self.after["descriptors"]],
                "failures": self.failures(), "unanswered": self.unanswered, "counts": counts}

    def failures(self):
        """Who said of whom that it failed: all agents live all the time, so it is false."""
        return [f"{agent.name}: {who}" for agent in self.cluster.agents
                for who in re.findall(r"EventMemberFailed: (\S+)", agent.log(self.logs[agent]))]

    def problems(self, found, memory_max, ack_ms_max):
        """The bounds that are broken."""
        if found["failures"]:
            yield f"false failures: {', '.join(found['failures'])}"
        if found["unanswered"]:
            yield f"a client of before was not answered: {found['unanswered']}"
        if found["p99 ms"] > ANSWER_MS_MAX:
            yield f"one of a hundred answers takes {found['p99 ms']} ms or more, {ANSWER_MS_MAX} are allowed"
        if found["pings"] and found["ack ms"] > ack_ms_max:
            yield f"one of a hundred acks takes {found['ack ms']} ms or more, {ack_ms_max} are allowed"
        if found["memory +KiB"] > memory_max:
            yield f"memory grows by {found['memory +KiB']} KiB, {memory_max} are allowed"
        if found["after +KiB"] > STREAMS_MAX:
            yield f"{found['after +KiB']} KiB more are held than before the first flood, {STREAMS_MAX} are allowed"
        if found["descriptors"][1] > found["descriptors"][0]:
            yield f"{found['descriptors'][0]} descriptors before, {found['descriptors'][1]} after"
        for (level, kind), count in kinds(self.log).items():
            at_once = next((most for part, most in MORE_AT_ONCE.items() if part in kind), LINES_AT_ONCE.get(level, 0))
            most = at_once + self.logged + 1
            if count > most and "Received event" not in kind and level in LINES_AT_ONCE:
                yield f"{count} lines like this in {self.logged:.0f} s: [{level}] {kind}"
        for key in found["counts"]:
            if key.startswith("sender failed"):
                yield key
