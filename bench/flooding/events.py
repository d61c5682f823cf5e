"""RPC clients that watch events, fast and slow ones, while events are fired."""
import re
import select
import time

from flooding.rpc import Rpc
from flooding.senders import CONTEXT

NUMBER = re.compile(rb"#(\d{8})#")
FILLER = b"." * 160
FAST, SLOW, PROCESSES = 224, 32, 4
# What a slow client's kernel takes is little, and so is what the agent's kernel keeps for it.
SLOW_BUFFER, SLOW_SEGMENT = 4096, 536
# How long a client is read from after the last event.
QUIET = 3


def work(number, until, victim, seconds, rate, everybody):
    """The first process fires, the second has the slow clients, the others the fast ones."""
    if number == 0:
        return fire(victim, seconds, rate, everybody)
    if number == 1:
        return watch_slowly(victim, seconds, everybody)
    return watch(victim, seconds, FAST // (PROCESSES - 2), everybody)


def everybody():
    return CONTEXT.Barrier(PROCESSES)


def fire(victim, seconds, rate, everybody):
    one = Rpc(victim)
    everybody.wait()
    begun, fired = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        if fired < (time.monotonic() - begun) * rate:
            one.call("event", Name="flood", Payload=b"#%08d#" % fired + FILLER, Coalesce=False)
            fired += 1
        else:
            time.sleep(0.002)
    return {"fired": fired}


class Watcher:
    """A client with a stream, and what it has seen."""

    def __init__(self, victim, source, slow=False):
        self.rpc = Rpc(victim, source=source, small=(SLOW_BUFFER, SLOW_SEGMENT) if slow else None)
        self.rpc.call("stream", Type="user:flood")
        self.tail, self.seen, self.gaps, self.expected, self.closed = self.rpc.data, 0, 0, 0, False

    def read(self):
        chunk = self.rpc.socket.recv(1 << 18)
        if not chunk:
            self.closed = True
            return
        self.tail += chunk
        end = 0
        for match in NUMBER.finditer(self.tail):
            number, end = int(match.group(1)), match.end()
            self.gaps += number != self.expected
            self.expected = number + 1
            self.seen += 1
        self.tail = self.tail[end:]


def read_until_quiet(watchers, until):
    poll = select.epoll()
    by_number = {one.rpc.socket.fileno(): one for one in watchers}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    heard = time.monotonic()
    while time.monotonic() < max(until, heard) + QUIET:
        for number, _ in poll.poll(0.1):
            one = by_number[number]
            before = one.seen
            one.read()
            if one.seen > before:
                heard = time.monotonic()
            if one.closed:
                poll.unregister(number)
    poll.close()


def watch(victim, seconds, count, everybody):
    watchers = [Watcher(victim, "127.78.241.1") for _ in range(count)]
    everybody.wait()
    read_until_quiet(watchers, time.monotonic() + seconds)
    return {"fast": count, "seen": sum(one.seen for one in watchers), "gaps": sum(one.gaps for one in watchers),
            "closed": sum(one.closed for one in watchers)}


def watch_slowly(victim, seconds, everybody):
    watchers = [Watcher(victim, "127.78.242.1", slow=True) for _ in range(SLOW)]
    everybody.wait()
    time.sleep(seconds + 1)
    read_until_quiet(watchers, time.monotonic())
    return {"slow": SLOW, "slow closed": sum(one.closed for one in watchers),
            **{"slow seen by " + one.rpc.name(): one.seen for one in watchers}}


DROPPED = re.compile(r"agent\.ipc: Dropping event to ipc\.client: ([0-9.:]+)(?: \(and (\d+) more like it\))?$", re.M)


def problems(counts, log):
    """What is wrong with who has seen what; and how many each slow client is told that it missed."""
    fired, told = counts.get("fired", 0), {}
    for peer, more in DROPPED.findall(log):
        told[peer] = told.get(peer, 0) + 1 + int(more or 0)
    if counts.get("seen") != fired * FAST or counts.get("gaps") or counts.get("closed"):
        yield (f"of {fired} events {FAST} fast clients have seen {counts.get('seen')} in all, with {counts.get('gaps')} gaps, "
               f"{counts.get('closed')} clients were closed")
    missed = {key[len("slow seen by "):]: fired - seen for key, seen in counts.items() if key.startswith("slow seen by ")}
    if not any(missed.values()):
        yield "the slow clients have missed nothing: the flood was too short"
    wrong = {peer: (count, told.get(peer, 0)) for peer, count in missed.items() if count != told.get(peer, 0)}
    if wrong:
        peer, (count, said) = next(iter(wrong.items()))
        yield f"{len(wrong)} of {SLOW} slow clients are not told what they missed: {peer} missed {count}, the log says {said}"
    counts["missed by slow clients"], counts["told"] = sum(missed.values()), sum(told.values())
