#!/usr/bin/env python3
"""Floods a real agent in every way that a stranger can, and looks at what it costs.

    bench/flood.py --serf target/release/serf --seconds 10

The victim is one of three agents (encrypted, with a ring of three keys, or in the clear; with a snapshot and a handler) on
127.78.N.1 to 127.78.N.3. Datagrams come as fast as this machine sends them, connections as many as it takes. Measured of the victim:
what came through, how long the answer to an RPC client takes that was there before and, in the clear, the ack to a stranger's ping, memory of its own (anonymous pages) at its most, and afterwards beside before the first flood,
descriptors, and lines of the log by kind; and whether anybody says of anybody that it has failed. Exit code 1: a bound is broken.
Figures want an otherwise idle machine. Linux, Python 3.8+ alone.
"""
import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time

from flooding import datagrams, events, streams
from flooding.agents import KEYS, OTHER_KEY, PORT, Agent, Cluster, tap
from flooding.senders import Senders
from flooding.watch import ANSWER_MS_MAX, MEMORY_MAX, STREAMS_MAX, Watch

RPC_PORT = 7373
SEALED = ["random", "long random", "mutated", "replayed", "wrong key", "wrong key" + datagrams.FROM_MANY,
          "wrong key" + datagrams.FROM_MEMBER, "plaintext"]
PLAIN = ["random", "mutated", "replayed", "typed random", "accusations", "nested compounds", "full compounds", "LZW bombs", "pings",
         "acks for nobody", "indirect pings"]
GOSSIP_START = b"\x0a\x01\x40\x00\x00\x01"  # An encrypted message of 20 MiB.
RPC_START = b"\x82\xa7Command\xdb\x00\x0f\x00\x00"  # A text of 960 KiB.
STREAMS = {
    "opens": lambda to, start: (streams.opens, to, 5_000),
    "slow-loris": lambda to, start: (streams.loris, to, 1_000, start),
    "half-close": lambda to, start: (streams.half_close, to, 500, start),
    "too huge": lambda to, start: (streams.huge, to, 600, start.replace(b"\x00", b"\x7f"), 1 << 10, 0.5),
    "huge, slow": lambda to, start: (streams.huge, to, 600, start, 1 << 10, 0.5),
    "huge, fast": lambda to, start: (streams.huge, to, 600, start, 1 << 20, 0.1),
}
COLUMNS = ["flood", "sent/s", "taken/s", "opened", "at once", "cpu %", "p50 ms", "p99 ms", "ack ms", "memory +KiB", "after +KiB", "lines of a kind",
           "accepted lines", "descriptors", "failures"]


class Floods:
    """The clusters, made when they are wanted, and the floods on them."""

    def __init__(self, arguments, folder):
        self.arguments, self.folder, self.clusters, self.foreign = arguments, folder, {}, None

    def cluster(self, kind):
        if kind not in self.clusters:
            folder = os.path.join(self.folder, kind)
            os.mkdir(folder)
            if kind == "sealed":
                ring = os.path.join(folder, "ring")
                with open(ring, "w") as file:
                    json.dump(KEYS, file)
                cluster = Cluster(self.arguments.serf, folder, 0, "n", ["-encrypt=" + KEYS[0]], ["-keyring-file=" + ring])
            else:
                cluster = Cluster(self.arguments.serf, folder, 2, "p", [], [])
            self.clusters[kind] = cluster
            cluster.start(self.arguments.record)
            if kind == "clear" and not datagrams.answers(cluster.victim.ip, "127.78.99.1"):
                raise SystemExit("a compressed ping is not answered: the floods of compressed messages would flood nobody")
            print(f"recorded {len(cluster.packets)} packets of the {kind} cluster", file=sys.stderr)
        return self.clusters[kind]

    def recorded(self, kind, flood):
        """The packets that a flood is made from."""
        if flood == "plaintext":
            return self.cluster("clear").packets
        if flood.startswith("wrong key"):
            if not self.foreign:
                folder = os.path.join(self.folder, "foreign")
                os.mkdir(folder)
                pair = [Agent(self.arguments.serf, folder, f"f{n}", f"127.78.1.{n}", ["-encrypt=" + OTHER_KEY]) for n in (1, 2)]
                try:
                    self.foreign = tap(pair[0], pair[1:], self.arguments.record)
                finally:
                    for agent in pair:
                        agent.stop()
            return self.foreign
        return self.cluster(kind).packets

    def floods(self):
        """Each flood: its name, and how it is played."""
        for kind, names in (("sealed", SEALED), ("clear", PLAIN)):
            for name in names:
                yield f"{kind}: {name}", lambda kind=kind, name=name: self.datagrams(kind, name)
        yield "rpc: events", self.events
        for kind, name in (("sealed", "long random"), ("clear", "LZW bombs")):
            yield f"{kind}: all at once", lambda kind=kind, name=name: self.all_at_once(kind, name)
        for service, port, start, most in (("rpc", RPC_PORT, RPC_START, MEMORY_MAX), ("gossip", PORT, GOSSIP_START, STREAMS_MAX)):
            for name, work in STREAMS.items():
                play = lambda port=port, start=start, most=most, work=work: self.streams(port, start, most, work)
                yield f"{service}: {name}", play

    def datagrams(self, kind, name):
        recorded, victim = self.recorded(kind, name), self.cluster(kind).victim
        watch = Watch(self.cluster(kind))
        return self.finish(watch, [(datagrams.send, victim.ip, name, 1, recorded)] * self.arguments.senders, MEMORY_MAX)

    def streams(self, port, start, memory_max, work):
        cluster = self.cluster("sealed")
        watch = Watch(cluster)
        jobs = [work((cluster.victim.ip, port), start)] * 2
        if port == PORT:
            jobs += [(streams.join, cluster.agents[2].ip, cluster.victim.ip)]
        return self.finish(watch, jobs, memory_max)

    def all_at_once(self, kind, name):
        """Datagrams that cost much while neither port has room for a connection."""
        recorded, victim = self.recorded(kind, name), self.cluster(kind).victim
        watch = Watch(self.cluster(kind))
        jobs = [(datagrams.send, victim.ip, name, 1, recorded)] * self.arguments.senders
        jobs += [(streams.loris, (victim.ip, port), 1_000, start) for port, start in ((PORT, GOSSIP_START), (RPC_PORT, RPC_START))]
        # Of a ping that comes while the socket's buffer is full nothing is known.
        return self.finish(watch, jobs, MEMORY_MAX, ack_ms_max=3 * ANSWER_MS_MAX)

    def events(self):
        cluster, seconds = self.cluster("sealed"), self.arguments.seconds
        watch = Watch(cluster)
        everybody = events.everybody()
        jobs = [(events.work, cluster.victim.ip, seconds, self.arguments.rate, everybody)] * events.PROCESSES
        found, problems = self.finish(watch, jobs, MEMORY_MAX)
        # Slow clients are told in turn, one a second.
        for _ in range(events.SLOW + 5):
            wrong = list(events.problems(found["counts"], watch.log))
            if not wrong:
                break
            time.sleep(1)
            watch.read_log()
        problems += wrong
        found["counts"] = {key: value for key, value in found["counts"].items() if not key.startswith("slow seen by")}
        return found, problems

    def finish(self, watch, jobs, memory_max, ack_ms_max=ANSWER_MS_MAX):
        senders = Senders(self.arguments.seconds, jobs)
        try:
            watch.follow(senders, self.arguments.seconds)
        finally:
            senders.end()
        watch.settle()
        found = watch.found(dict(senders.counts))
        return found, list(watch.problems(found, memory_max, ack_ms_max))

    def stop(self):
        for cluster in self.clusters.values():
            cluster.stop()


def cell(found, column):
    value = found[column]
    if column == "descriptors":
        return f"{value[0]}-{value[1]}"
    return str(len(value)) if column == "failures" else str(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serf", required=True, help="the program")
    parser.add_argument("--seconds", type=int, default=10, help="of each flood")
    parser.add_argument("--only", action="append", help="floods whose name has this in it; can be given several times")
    parser.add_argument("--senders", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="processes that send datagrams")
    parser.add_argument("--rate", type=int, default=300, help="events a second in 'rpc: events'")
    parser.add_argument("--record", type=int, default=4, help="seconds of recording real packets")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows, broken = [], []
    with tempfile.TemporaryDirectory() as folder:
        floods = Floods(arguments, folder)
        try:
            for name, play in floods.floods():
                if arguments.only and not any(part in name for part in arguments.only):
                    continue
                found, problems = play()
                found = {"flood": name, **found, "problems": problems}
                rows.append(found)
                broken += [f"{name}: {problem}" for problem in problems]
                if sys.stdout.isatty() or arguments.json:
                    print(f"{name}: {'; '.join(problems) or 'ok'}", file=sys.stderr)
                else:
                    cells = [f"{column} {cell(found, column)}" for column in COLUMNS[1:]]
                    print(f"{name}: {', '.join(cells)}, most of [{found['that kind']}]", flush=True)
                extra = {key: value for key, value in found["counts"].items() if key not in ("sent", "opened", "most")}
                if extra and not arguments.json:
                    print(f"    {extra}", flush=True)
        finally:
            floods.stop()
    if arguments.json:
        print(json.dumps(rows, indent=2))
    elif sys.stdout.isatty():
        table = [COLUMNS] + [[cell(row, column) for column in COLUMNS] for row in rows]
        widths = [max(map(len, column)) for column in zip(*table)]
        for line in table:
            padded = [text.rjust(width) for text, width in zip(line, widths)]
            print("  ".join([line[0].ljust(widths[0])] + padded[1:]))
    for problem in broken:
        print(f"FAILED {problem}", file=sys.stderr if arguments.json else sys.stdout)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
