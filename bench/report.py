#!/usr/bin/env python3
"""What Villein costs, beside its peers: prints docs/performance.md's tables as measured here.

    bench/report.py core                     instructions (valgrind), time and allocations (divan) of the core
    bench/report.py simulator                sim speed and sim sweep
    bench/report.py large                    scale-10k and heal-1k: minutes, and up to 16 GiB
    bench/report.py agents --rounds 5        real agents beside Debian's `serf` (agent_bench.py): hours
    bench/report.py commands                 `serf members` of both programs against one agent with 100 members

Python 3.8+ alone; `core` wants valgrind, `agents` and `commands` want `serf` (Debian's package), `large` and `commands` GNU
time. Everything is built here. Ratios are what counts: absolute figures are this machine's.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
CASES = ["ping", "sealed-ping", "ack", "known", "fresh", "old-event", "new-event", "digest", "push-pull",
         "learn"]
# performance.md's figures of the same work, in microseconds: memberlist in Go, foca, al8n's core, N = 1,000.
PEERS = {"ping": "32 / 0.40 / 0.53", "known": "24 / 4.6 / 2.9", "fresh": "112 / 25 / -", "ack": "2.4-6 / 0.33 / -",
         "new-event": "7.1 / - / -", "old-event": "3.4 / - / -", "push-pull": "2,900 / - / -"}


def run(*words, **options):
    return subprocess.run(words, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def built(package, name):
    run("cargo", "build", "--release", "--locked", "-p", package, stderr=subprocess.DEVNULL)
    return os.path.join(TARGET, "release", name)


def table(head, rows):
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[place]) for row in [head] + rows) for place in range(len(head))]
    for row in [head, ["-" * width for width in widths]] + rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    print(flush=True)


def instructions(count, case, members):
    """Instructions of one round: the difference of two runs, divided by how many rounds lie between them."""
    few, many = (20, 70) if case in ("push-pull", "learn") and members > 100 else (200, 1200)
    totals = []
    for times in (few, many):
        with tempfile.NamedTemporaryFile() as out:
            words = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", count, case, str(times)]
            text = subprocess.run(words + [str(members)], cwd=ROOT, check=True, text=True, stderr=subprocess.PIPE).stderr
        totals.append(int(re.search(r"Collected : (\d+)", text).group(1)))
    return (totals[1] - totals[0]) / (many - few)


def medians():
    """Medians and allocations of divan's tree, by case and number of members."""
    text = run("cargo", "bench", "--locked", "-p", "villein-bench", stderr=subprocess.DEVNULL)
    found, case, members, wants = {}, None, None, False
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split("│", line.strip("│ "))]
        top = re.match(r"^[├╰]─ (\w+)", line)
        if top:
            case = top.group(1)
        row = re.search(r"[├╰]─ (\d+)\s+[\d.]+ \wss?", line.replace("µ", "m"))
        if row and case and not top:
            members = int(row.group(1))
            found[case, members] = [cells[-4], None]
        name = re.search(r"(?:^|\s)(alloc|grow):", line)
        if name:
            wants = name.group(1) == "alloc"
        elif wants and members is not None:
            found[case, members][1] = cells[-4] or cells[-3]
            wants = False
    return found


def core():
    count = built("villein-bench", "count")
    sizes = (10, 100, 1_000, 10_000)
    rows = [[case] + [f"{instructions(count, case, size):,.0f}" for size in sizes] for case in CASES]
    print("Instructions of one round, by the number of members\n")
    table(["case"] + [f"N = {size:,}" for size in sizes], rows)
    names = {"known": "eight_known_updates", "fresh": "eight_fresh_updates", "old-event": "event_heard_before"}
    found, rows = medians(), []
    for case in CASES:
        name = names.get(case, case.replace("-", "_"))
        cells = [found.get((name, size), ["-", None]) for size in sizes]
        rows.append([case] + [cell[0] for cell in cells] + [cells[2][1] or "0", PEERS.get(case, "-")])
    print("Median time of one round, allocations, and the peers' time in us (Go / foca / al8n, N = 1,000)\n")
    table(["case"] + [f"N = {size:,}" for size in sizes] + ["allocations", "peers"], rows)


def simulator():
    sim = built("villein-sim", "sim")
    print("Quiet clusters, after their first push/pull\n")
    for nodes, seconds in ((100, 600), (1_000, 180), (10_000, 30)):
        print(run(sim, "speed", "--nodes", str(nodes), "--seconds", str(seconds)), flush=True)
    with tempfile.TemporaryDirectory() as out:
        text = run(sim, "sweep", "--seeds", "0..2000", "--jobs", "1", "--format=json", "--out", out)
    end = [json.loads(line) for line in text.splitlines()][-1]
    print(json.dumps(end))


def timed(*words):
    """Output, CPU seconds and peak memory in kB of a command."""
    with tempfile.NamedTemporaryFile("r") as out:
        text = run("/usr/bin/time", "-o", out.name, "-f", "%U %S %M %e", *words)
        user, system, peak, wall = out.read().split()[-4:]
    return text, float(user) + float(system), int(peak), float(wall)


def large():
    sim = built("villein-sim", "sim")
    rows = []
    for name in ("heal-1k", "scale-10k"):
        text, cpu, peak, _ = timed(sim, "run", f"scenarios/{name}.toml")
        verdict = [line for line in text.splitlines() if line.startswith(("ok ", "FAILED"))]
        rows.append([name, f"{cpu / 60:.1f}", f"{peak / 2**20:.1f}", " ".join(verdict).replace("ok        ", "")])
    table(["scenario", "CPU-minutes", "GiB", "verdict"], rows)


def agents(arguments):
    ours = built("villein", "serf")
    out = os.path.join(TARGET, "agents.json")
    subprocess.run([sys.executable, os.path.join(ROOT, "bench", "agent_bench.py"), "--a", arguments.serf, "--b", ours,
                    "--label-a", "go", "--label-b", "ours", "--sizes", arguments.sizes, "--rounds", str(arguments.rounds),
                    "--idle", str(arguments.idle), "--out", out], check=True)
    print(open(os.path.splitext(out)[0] + ".md").read())


def commands(arguments):
    """Both programs' `members` against the same agent of ours, which knows 100 members by a push/pull of its own."""
    ours, rows = built("villein", "serf"), []
    script = os.path.join(ROOT, "bench", "hundred.sh")
    for label, program in (("go", arguments.serf), ("ours", ours)):
        text = run("unshare", "-rn", "bash", script, ours, program, str(arguments.times))
        runs = [[float(word) for word in line.split()] for line in text.splitlines()]
        rows.append([label] + [statistics.median(run[place] for run in runs) for place in range(2)])
    rows.append(["ours/go"] + [f"{rows[1][place] / rows[0][place]:.2f}" for place in (1, 2)])
    table(["program", "peak memory, kB", "CPU and waiting, ms"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["core", "simulator", "large", "agents", "commands"])
    parser.add_argument("--serf", default="/usr/bin/serf")
    parser.add_argument("--sizes", default="25,100")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=int, default=180, help="seconds; push/pulls of 100 members come every 90")
    parser.add_argument("--times", type=int, default=21)
    arguments = parser.parse_args()
    {"core": core, "simulator": simulator, "large": large, "agents": lambda: agents(arguments),
     "commands": lambda: commands(arguments)}[arguments.what]()


if __name__ == "__main__":
    main()
