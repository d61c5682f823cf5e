"""Agents as processes, in clusters, and what the system says of them."""
import os
import re
import select
import signal
import socket
import subprocess
import time

from flooding.rpc import Rpc

# The first seals what is sent; the attacked agent has all three.
KEYS = ["HvY8ubRZMgafUOWvrOadwOckVa1wN3QWAo46FVKbVN8=", "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=",
        "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4="]
OTHER_KEY = "l4ZkaypGLT8AsB0LBldthw=="
PORT = 7946
PATIENCE = 60


class Agent:
    """One real agent."""

    def __init__(self, serf, folder, name, ip, words):
        self.serf, self.name, self.ip, self.words = serf, name, ip, words
        self.log_path = os.path.join(folder, f"{name}.log")
        self.snapshot = os.path.join(folder, f"{name}.snapshot")
        self.process, self.rpc_ip = None, ip

    def start(self, joins=(), bind=None):
        """Starts it; with `bind` it listens there and still tells others its own address."""
        self.rpc_ip = bind or self.ip
        words = ["agent", f"-node={self.name}", f"-bind={self.rpc_ip}:{PORT}", f"-rpc-addr={self.rpc_ip}:7373",
                 f"-snapshot={self.snapshot}",
                 "-event-handler=user:tick=cat >/dev/null", "-log-level=info", "-retry-interval=1s", *self.words]
        words += [f"-advertise={self.ip}:{PORT}"] if bind else []
        words += [f"-retry-join={ip}:{PORT}" for ip in joins]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([self.serf, *words], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.client = Rpc(self.rpc_ip, patience=PATIENCE)
        return self

    def stop(self, how=signal.SIGKILL):
        if self.process:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def wait_for(self, wanted):
        """Waits until it knows these members to be alive."""
        end = time.monotonic() + PATIENCE
        while True:
            members = self.client.call("members")["Members"]
            alive = {member["Name"].decode() for member in members if member["Status"] == b"alive"}
            if alive == set(wanted):
                return
            if time.monotonic() > end:
                raise SystemExit(f"{self.name} knows {sorted(alive)}, not {sorted(wanted)}; it says:\n{self.log()[-3000:]}")
            time.sleep(0.1)

    def log(self, start=0):
        with open(self.log_path, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    def log_size(self):
        return os.path.getsize(self.log_path)

    def memory(self):
        """Anonymous pages in KiB."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            return int(re.search(r"^Anonymous:\s+(\d+)", file.read(), re.M).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu(self):
        """Seconds of a processor that it has had."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def dropped(self):
        """Datagrams that its socket had no room for."""
        wanted = f"{socket.inet_aton(self.rpc_ip)[::-1].hex().upper()}:{PORT:04X}"
        with open("/proc/net/udp") as file:
            return sum(int(line.split()[-1]) for line in file if line.split()[1] == wanted)


class Cluster:
    """Three agents; the first is the victim."""

    def __init__(self, serf, folder, net, prefix, words, victim_words):
        self.agents = [Agent(serf, folder, f"{prefix}{n}", f"127.78.{net}.{n}", victim_words if n == 1 else words)
                       for n in (1, 2, 3)]
        self.victim, self.packets, self.sealed, self.rested = self.agents[0], [], bool(words), None

    def start(self, record_for):
        """Forms the cluster. Before that the victim lives for some seconds behind a socket of ours, which copies what it is sent."""
        first, *others = self.agents
        names = {agent.name for agent in self.agents}
        self.packets = tap(first, others, record_for)
        first.start(joins=[others[0].ip])
        for agent in self.agents:
            agent.wait_for(names)
        return self

    def stop(self):
        for agent in self.agents:
            agent.stop()


def tap(first, others, seconds):
    """Starts the agents, the first behind a socket that passes on what comes: what came in so many seconds. Then it leaves."""
    held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    held.bind((first.ip, PORT))
    behind = first.ip[:first.ip.rindex(".")] + ".101"
    others[0].start()
    for agent in others[1:]:
        agent.start(joins=[others[0].ip])
    first.start(joins=[others[0].ip], bind=behind)
    packets, end, fired = [], time.monotonic() + seconds, 0
    while time.monotonic() < end:
        if select.select([held], [], [], 0.1)[0]:
            packet = held.recv(65536)
            packets.append(packet)
            held.sendto(packet, (behind, PORT))
        elif fired < 20:
            others[fired % len(others)].client.call("event", Name=f"recorded-{fired}", Payload=b"x" * 100, Coalesce=False)
            fired += 1
    held.close()
    first.client.call("leave")
    first.process.wait(timeout=PATIENCE)
    if len(packets) < 20:
        raise SystemExit(f"only {len(packets)} packets could be recorded")
    return packets
