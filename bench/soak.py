#!/usr/bin/env python3
"""Churns five real agents for as long as told, and looks at what should not grow and what should not happen.

    bench/soak.py --serf target/release/serf --seconds 3600

n1 and n2 live all the time and are measured: memory of its own (anonymous pages), descriptors, children that nobody has waited for. n3, n4 and n5 are
killed, leave and come back; events, queries and tags go through all of them. A member that n1 or n2 says has failed although
nobody has killed it is a false failure. Agents are encrypted, keep snapshots and run an event handler, on 127.77.0.1 to 127.77.0.5.
Exit code 1: something grew or was wrong. Python 3.8+ alone.
"""
import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

KEY = "HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8="
WITNESSES, ALL = ("n1", "n2"), ("n1", "n2", "n3", "n4", "n5")
WARM_UP = 60
# Growth of the second half that is noise: an allocator keeps what a burst has taken. In the first half what is remembered of
# events and queries fills up.
SLOPE_MAX_KIB_PER_HOUR, DESCRIPTORS_MAX = 64, 4
# How long after a kill its failure may be told.
DETECTION = 90


class Agent:
    def __init__(self, serf, folder, name):
        self.serf, self.folder, self.name = serf, folder, name
        self.ip = f"127.77.0.{name[1:]}"
        self.rpc = f"-rpc-addr={self.ip}:7373"
        self.process = None
        self.killed = []

    def start(self, peers):
        log = open(self.path("log"), "ab")
        joins = [f"-retry-join={peer.ip}:7946" for peer in peers if peer is not self]
        words = ["agent", f"-node={self.name}", f"-bind={self.ip}:7946", self.rpc, "-snapshot=" + self.path("snapshot"), "-rejoin",
                 "-encrypt=" + KEY, "-event-handler=user:tick=cat >/dev/null", "-event-handler=query:load=echo 1", "-log-level=info"]
        self.process = subprocess.Popen([self.serf] + words + joins, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def path(self, kind):
        return os.path.join(self.folder, f"{self.name}.{kind}")

    def ask(self, *words):
        return subprocess.run([self.serf, *words, self.rpc], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)

    def kill(self):
        self.killed.append(time.time())
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def leave(self):
        self.ask("leave")
        self.process.wait(timeout=60)
        self.process = None

    def memory(self):
        """In kB; pages of the program are shared by as many agents as there are just now, and so do not count."""
        text = open(f"/proc/{self.process.pid}/smaps_rollup").read()
        return int(re.search(r"^Anonymous:\s+(\d+)", text, re.M).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def zombies(self):
        children = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "stat="], stdout=subprocess.PIPE, text=True)
        return sum(line.startswith("Z") for line in children.stdout.split())

    def failures(self):
        """What it has said of others: (seconds since 1970, name)."""
        found = []
        for line in open(self.path("log"), errors="replace"):
            match = re.search(r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[INFO\] serf: EventMemberFailed: (\S+)", line)
            if match:
                found.append((time.mktime(time.strptime(match.group(1), "%Y/%m/%d %H:%M:%S")), match.group(2)))
        return found


def slope(samples):
    """Least squares, per hour."""
    if len(samples) < 2:
        return 0.0
    times, values = [t for t, _ in samples], [v for _, v in samples]
    mid, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mid) ** 2 for t in times)
    return 3600 * sum((t - mid) * (v - mean) for t, v in samples) / spread if spread else 0.0


def deed(rng, agents, down, counts):
    """One thing that operators, users or accidents do."""
    up = [agent for agent in agents.values() if agent.process]
    what = rng.choice(["event", "event", "event", "query", "tags", "kill", "leave", "back", "back"])
    churned = [agent for agent in up if agent.name not in WITNESSES]
    if what == "event":
        rng.choice(up).ask("event", "tick", str(rng.random()))
    elif what == "query":
        rng.choice(up).ask("query", "-timeout=2s", "load")
    elif what == "tags":
        rng.choice(up).ask("tags", "-set", f"round={rng.randrange(1000)}")
    elif what == "kill" and len(churned) > 1:
        agent = rng.choice(churned)
        agent.kill()
        down.append(agent)
    elif what == "leave" and len(churned) > 1:
        agent = rng.choice(churned)
        agent.leave()
        down.append(agent)
    elif what == "back" and down:
        down.pop(0).start(agents.values())
    else:
        return
    counts[what] = counts.get(what, 0) + 1


def play(arguments, folder):
    rng = random.Random(arguments.seed)
    agents = {name: Agent(arguments.serf, folder, name) for name in ALL}
    down, counts, samples, descriptors, zombies = [], {}, {name: [] for name in WITNESSES}, {name: [] for name in WITNESSES}, 0
    try:
        for agent in agents.values():
            agent.start(agents.values())
        begun, said = time.time(), 0
        while time.time() - begun < arguments.seconds:
            time.sleep(arguments.every)
            deed(rng, agents, down, counts)
            passed = time.time() - begun
            for name in WITNESSES:
                agent = agents[name]
                if agent.process.poll() is not None:
                    sys.exit(f"{name} has ended by itself: {open(agent.path('log'), errors='replace').read()[-2000:]}")
                zombies = max(zombies, agent.zombies())
                if passed >= WARM_UP:
                    samples[name].append((passed, agent.memory()))
                    descriptors[name].append(agent.descriptors())
            if passed - said >= 60:
                said = passed
                print(f"{passed:.0f} s: {counts}, " + ", ".join(f"{n} {agents[n].memory()} kB" for n in WITNESSES), file=sys.stderr)
        while down:
            down.pop(0).start(agents.values())
        deadline = time.time() + 90
        while (alive := agents["n1"].ask("members", "-status=alive").stdout.count("alive")) < len(ALL) and time.time() < deadline:
            time.sleep(1)
        false = [(name, who) for name in WITNESSES for when, who in agents[name].failures()
                 if not any(0 <= when + 1 - killed <= DETECTION for killed in agents[who].killed)]
    finally:
        for agent in agents.values():
            if agent.process:
                agent.process.kill()
                agent.process.wait()
    return {"seconds": arguments.seconds, "seed": arguments.seed, "deeds": counts, "alive at the end": alive, "false failures": false,
            "zombies": zombies,
            **{name: {"own memory, kB": [samples[name][0][1], samples[name][-1][1]] if samples[name] else [],
                      "slope KiB/h": round(slope(samples[name][len(samples[name]) // 2:]), 1),
                      "descriptors": [min(descriptors[name], default=0), max(descriptors[name], default=0)]} for name in WITNESSES}}


def faults(found):
    """What of it must not be."""
    if found["alive at the end"] != len(ALL):
        yield f"{found['alive at the end']} of {len(ALL)} members are alive at the end"
    if found["false failures"]:
        yield f"false failures: {found['false failures']}"
    if found["zombies"] > 1:
        yield f"{found['zombies']} children at one time that nobody waited for"
    for name in WITNESSES:
        # A slope over minutes is the warm-up's.
        if found["seconds"] >= 1800 and found[name]["slope KiB/h"] > SLOPE_MAX_KIB_PER_HOUR:
            yield f"{name} grows by {found[name]['slope KiB/h']} KiB an hour"
        low, high = found[name]["descriptors"]
        if high - low > DESCRIPTORS_MAX + 8:
            yield f"{name} holds {low} to {high} descriptors"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serf", required=True, help="the program")
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between deeds")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = play(arguments, folder)
    print(json.dumps(found, indent=2))
    problems = list(faults(found))
    for problem in problems:
        print(f"FAILED {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
