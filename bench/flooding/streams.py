"""Floods of connections, to the gossip port or the RPC port."""
import errno
import os
import random
import select
import socket
import struct
import time

from flooding.rpc import Rpc

# Connections of one source address, so that no port is used twice.
PER_SOURCE = 2000


class Crowd:
    """Many connections to one address; each may have something to say."""

    def __init__(self, number, to):
        self.number, self.to, self.made = number, to, 0
        self.open, self.poll = {}, select.epoll()
        self.counts = {"opened": 0, "refused": 0, "ended": 0, "most": 0, "bytes": 0}

    def connect(self):
        one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.bind((f"127.78.{150 + self.number}.{self.made // PER_SOURCE % 250 + 1}", 0))
        self.made += 1
        code = one.connect_ex(self.to)
        if code not in (0, errno.EINPROGRESS):
            self.counts["refused"] += 1
            one.close()
            return
        self.open[one.fileno()] = [one, None, False]
        self.poll.register(one.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)

    def look(self, wait, ready=lambda one: None):
        """What the system says: `ready` gets each connection that stands for the first time."""
        for number, what in self.poll.poll(wait):
            entry = self.open.get(number)
            if entry is None:
                continue
            one, _, stands = entry
            if what & (select.EPOLLHUP | select.EPOLLERR):
                self.drop(number, "ended" if stands else "refused")
                continue
            if what & select.EPOLLOUT and not stands:
                entry[2] = True
                self.counts["opened"] += 1
                ready(entry)
            if what & (select.EPOLLIN | select.EPOLLRDHUP) and not self.read(one):
                self.drop(number, "ended")
        self.counts["most"] = max(self.counts["most"], sum(entry[2] for entry in self.open.values()))

    @staticmethod
    def read(one):
        try:
            while True:
                if not one.recv(65536):
                    return False
        except BlockingIOError:
            return True
        except OSError:
            return False

    def drop(self, number, why):
        self.counts[why] += 1
        self.open.pop(number)[0].close()

    def say(self, number, data):
        """Sends; what does not go at once is not sent."""
        try:
            self.counts["bytes"] += self.open[number][0].send(data)
        except BlockingIOError:
            pass
        except OSError:
            self.drop(number, "ended")

    def close(self):
        for one, _, _ in self.open.values():
            one.close()
        self.open.clear()
        self.poll.close()
        return self.counts


def opens(number, until, to, total):
    """Opens `total` connections, as many at one time as it takes, and lets go of all at the end."""
    crowd = Crowd(number, to)
    while crowd.made < total and time.monotonic() < until:
        for _ in range(min(64, total - crowd.made)):
            crowd.connect()
        crowd.look(0)
    while time.monotonic() < until:
        crowd.look(0.1)
    return crowd.close()


def hold(crowd, until, count, first, again, every):
    """Keeps `count` connections open that say `first`, and then something of `again` every so many seconds."""
    said = 0.0
    while time.monotonic() < until:
        for _ in range(min(64, count - len(crowd.open))):
            crowd.connect()
        crowd.look(0.02, first)
        if time.monotonic() - said >= every:
            said = time.monotonic()
            for at in list(crowd.open):
                if crowd.open[at][2]:
                    crowd.say(at, again(crowd.open[at]))
    return crowd.close()


def loris(number, until, to, count, start):
    """A byte a second of what could be the start of something."""
    def again(entry):
        entry[1] = (entry[1] or 0) + 1
        return start[entry[1] - 1:entry[1]] or b"\x00"
    return hold(Crowd(number, to), until, count, lambda entry: None, again, 1.0)


def half_close(number, until, to, count, start):
    """Says something, closes its half, and waits."""
    rng = random.Random(number)

    def first(entry):
        try:
            entry[0].send(start[:rng.randrange(len(start) + 1)])
            entry[0].shutdown(socket.SHUT_WR)
        except OSError:
            pass
    return hold(Crowd(number, to), until, count, first, lambda entry: b"", 3600)


def huge(number, until, to, count, start, chunk, every):
    """Announces much and sends it in pieces."""
    piece = os.urandom(chunk)

    def first(entry):
        try:
            entry[0].send(start)
        except OSError:
            pass
    return hold(Crowd(number, to), until, count, first, lambda entry: piece, every)


def join(number, until, through, victim):
    """An honest member asks the victim for everything again and again, as who joins does."""
    rpc, counts = Rpc(through), {"joins": 0, "joins failed": 0}
    while time.monotonic() < until:
        try:
            counts["joins"] += rpc.call("join", Existing=[victim], Replay=False)["Num"]
        except RuntimeError:
            rpc.read()
            counts["joins failed"] += 1
        time.sleep(0.2)
    return counts
