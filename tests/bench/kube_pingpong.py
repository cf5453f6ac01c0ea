#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the data path notice that pods come and go? A ping-pong between pods of two nodes over Culvert, in turns beside no change and beside 200 pods a second
that go or come, each of which is another view for the workers and another entry in the kernel's map.

    CULVERT_BIN_DIR=build/release tests/bench/kube_pingpong.py [--nodes 500] [--pods 30000] [--rate 200] [--seconds 5] [--rounds 9]

Prints a line "name value unit" for each figure: the median over the rounds, "quiet" and "busy".
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "netns"))
from lib import Failure, wait_for  # noqa: E402
from mesh import Mesh, program  # noqa: E402
from replay import RECORDS, Replay  # noqa: E402

PORT = 7000
# What is measured runs before all that shares the machine, and before the stand-in: else the figures are those of the others.
FAVOURED = ("chrt", "--rr", "1")
FIGURES = ("p50", "p99", "p99.9", "longest")


def follow(daemon, url):
    """The daemon's nodes come from the API server at url."""
    kubeconfig = daemon.config.with_suffix(".kubeconfig")
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "none"}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))
    kubeconfig.chmod(0o600)
    daemon.write_config()
    whole = json.loads(daemon.config.read_text())
    whole["nodes"] = {"kubernetes": {"kubeconfig": str(kubeconfig), "namespace": "culvert", "records_namespace": RECORDS}}
    daemon.config.write_text(json.dumps(whole))


def events(daemon):
    return next(int(entry["events"]) for entry in daemon.status()["cluster"]["followed"] if entry["what"] == "pods")


def cpu_s(pid):
    """Of the main thread, which follows the cluster."""
    fields = pathlib.Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def favour(pid):
    """All threads alike, so that what follows the cluster and what carries streams are to each other as they always are."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))


def ping_pong(client, server, seconds):
    ended = client.run(*FAVOURED, program("bench_pingpong"), "ask", server.v4, PORT, seconds, timeout=seconds + 60)
    return {name: float(value) for name, value, *_ in (line.split() for line in ended.stdout.splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--pods", type=int, default=30000)
    parser.add_argument("--rate", type=int, default=200, help="changes a second")
    parser.add_argument("--seconds", type=int, default=5, help="of each turn")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()

    with Mesh(start=False) as mesh:
        replay = Replay(mesh.net.nodes, options.nodes, options.pods)
        try:
            for daemon in mesh.daemons:
                follow(daemon, replay.serve(daemon.host))
                daemon.start(wait=False)
            for daemon, other in zip(mesh.daemons, ("node2", "node1")):
                daemon.wait_ready()
                wait_for(lambda: other in daemon.peers(), f"{daemon.host.node_name} to know {other}")
                favour(daemon.process.pid)
            server = mesh.net.b1.popen(*FAVOURED, program("bench_pingpong"), "answer", PORT, stdout=subprocess.PIPE, text=True)
            server.stdout.readline()
            measure(mesh, replay, options)
        finally:
            replay.close()


def measure(mesh, replay, options):
    client, server = mesh.net.a1, mesh.net.b1
    with mesh.capture() as capture:
        ping_pong(client, server, 1)
    if capture.leaked or not capture.tunnel:
        raise Failure("the ping-pong does not go through the tunnel")
    turns = {"quiet": [], "busy": []}
    heard, spent = 0, 0.0
    for _ in range(options.rounds):
        for name, rate in (("quiet", 0), ("busy", options.rate)):
            before, cpu = [events(daemon) for daemon in mesh.daemons], cpu_s(mesh.one.process.pid)
            with replay.changing(rate):
                turns[name].append(ping_pong(client, server, options.seconds))
            if rate:
                for daemon, count in zip(mesh.daemons, before):
                    wait_for(lambda: events(daemon) - count > 0.9 * rate * options.seconds, f"{daemon.host.node_name} to hear of the changes")
                heard += events(mesh.one) - before[0]
                spent += cpu_s(mesh.one.process.pid) - cpu
    print(f"nodes {options.nodes}\npods {options.pods}\nrounds {options.rounds}")
    print(f"changes {heard / options.rounds / options.seconds:.0f} 1/s")
    print(f"main-thread {spent / options.rounds / options.seconds * 100:.1f} %")
    for figure in FIGURES:
        quiet, busy = (statistics.median(turn[figure] for turn in turns[name]) for name in ("quiet", "busy"))
        print(f"quiet-{figure} {quiet:.0f} us")
        print(f"busy-{figure} {busy:.0f} us")
    for name, all_turns in turns.items():
        each = " ".join(f"{turn['p99']:.0f}" for turn in all_turns)
        print(f"{name}-p99-of-each {each} us")


if __name__ == "__main__":
    main()
