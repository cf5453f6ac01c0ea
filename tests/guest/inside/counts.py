#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside a guest whose nanosecond is one instruction (guest.py's COUNTED): what Culvert's daemons run for work that is the same each time. counts.py WORKERS:
a hub and four peers, each with so many workers, and names that spread the peers evenly over the hub's. Writes a line of JSON to the second serial line.

What a thread ran is read while it does not run (there is one processor), so it is exact. counts.py WORKERS sharing: the daemons are built with
tests/lib/sharing.c, and the hub's report goes to the second serial line."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import types
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "netns"))

from lib import Failure, Namespace, ensure_bpffs, run, wait_for  # noqa: E402
from mesh import Daemon, nodes_yaml, program  # noqa: E402

HUB = "node1"
# The first W of them have W different workers, of two and of four: view_home_worker.
PEERS = ("node8", "node11", "node2", "node7")
PORT = 8000
BULK_BYTES = 4 << 20


class Kind(typing.NamedTuple):
    """connections, warm-up and exchanges of each, bytes up and down of one exchange."""

    connections: int
    warm: int
    count: int
    up: int
    down: int


# The same for all numbers of workers, over all peers; and as much for each worker: a peer, and its connections.
SPREAD = {"up": Kind(8, 1, 8, BULK_BYTES, 1), "down": Kind(8, 1, 8, 16, BULK_BYTES), "requests": Kind(32, 20, 625, 128, 128)}
EACH = {"up": Kind(4, 1, 8, BULK_BYTES, 1), "down": Kind(4, 1, 8, 16, BULK_BYTES), "requests": Kind(32, 20, 300, 128, 128)}
# Less of it, where each access is noted.
SHARED = {"up": Kind(8, 1, 2, BULK_BYTES, 1), "down": Kind(8, 1, 2, 16, BULK_BYTES), "requests": Kind(32, 20, 100, 128, 128)}
SHARING = pathlib.Path("/run/sharing")
SETTLE_S = 0.2  # acknowledgements and windows that are under way; of the guest's time, which passes at once where nothing happens


class Node(Namespace):
    """A node with a pod. All names here are of one letter and a number."""

    def __init__(self, name, number):
        super().__init__(f"n{number}")
        self.node_name, self.number = name, number
        self.v4, self.pod_v4, self.pods_v4 = f"172.30.{number}.2", f"10.88.{number}.10", f"10.88.{number}.0/24"
        self.sysctl(**{"net.ipv4.ip_forward": 1})
        self.pod = Namespace(f"p{number}")
        self.ip(f"link add pod0 type veth peer name eth0 netns {self.pod.name}", f"addr add 10.88.{number}.1/24 dev pod0", "link set pod0 up")
        self.pod.ip(f"addr add {self.pod_v4}/24 dev eth0", "link set eth0 up", f"route add default via 10.88.{number}.1")


def wire(hub, peer):
    """A wire of their own."""
    hub.ip(f"link add w{peer.number} type veth peer name wire0 netns {peer.name}", f"addr add 172.30.{peer.number}.1/24 dev w{peer.number}",
           f"link set w{peer.number} up", f"route add {peer.pods_v4} via {peer.v4}")
    peer.ip(f"addr add {peer.v4}/24 dev wire0", "link set wire0 up", f"route add {hub.pods_v4} via 172.30.{peer.number}.1")


def threads(process):
    """{thread id: (name, instructions, times that it got the processor)} of a process."""
    found = {}
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        ran, _, turns = (task / "schedstat").read_text().split()
        found[int(task.name)] = ((task / "comm").read_text().strip(), int(ran), int(turns))
    return found


def whole():
    """What all threads of the machine ran."""
    line = next(line for line in pathlib.Path("/proc/schedstat").read_text().splitlines() if line.startswith("cpu0 "))
    return int(line.split()[7])


class Work:
    """bench_work, warm when the constructor returns."""

    def __init__(self, hub, peers, kind):
        self.exchanges = kind.connections * kind.count
        self.bytes = self.exchanges * (kind.up + kind.down)
        self.process = hub.pod.popen(program("bench_work"), "ask", PORT, *kind, *(peer.pod_v4 for peer in peers),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._wait("warm")

    def _wait(self, word):
        said = self.process.stdout.readline().strip()
        if said != word:
            raise Failure(f"bench_work said {said!r} and not {word!r}")
        time.sleep(SETTLE_S)

    def make(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._wait("done")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def since(before, daemons):
    """[{thread's name: (instructions, times that it got the processor)}] of daemons."""
    return [{name: (ran - old[thread][1], turns - old[thread][2]) for thread, (name, ran, turns) in threads(daemon.process).items()}
            for daemon, old in zip(daemons, before)]


def measure(nodes, kind, asked):
    """What one kind of work cost, with these peers."""
    work = Work(nodes[0], asked, kind)
    daemons = [node.daemon for node in nodes]
    before, whole_before = [threads(daemon.process) for daemon in daemons], whole()
    work.make()
    whole_ran = whole() - whole_before
    hub, *peers = since(before, daemons)
    work.close()
    return {"exchanges": work.exchanges, "bytes": work.bytes, "whole": whole_ran, "threads": hub,
            **{f"hub_{what}": sum(of[place] for of in hub.values()) for place, what in enumerate(("ran", "turns"))},
            **{f"peers_{what}": sum(of[place] for peer in peers for of in peer.values()) for place, what in enumerate(("ran", "turns"))}}


def note(flag):
    """In place: the hub has the byte in its memory, and dies (SIGBUS) where it looks at it while the file is empty."""
    with open(SHARING, "r+b") as byte:
        byte.write(flag)


@contextlib.contextmanager
def noted():
    """What the hub's threads touch meanwhile goes into its report."""
    note(b"1")
    try:
        yield
    finally:
        note(b"0")


def share(nodes):
    """The report of the hub's daemon."""
    hub, *peers = nodes
    for kind in SHARED.values():
        work = Work(hub, peers, kind)
        with noted():
            work.make()
        work.close()
    hub.daemon.end()
    return SHARING.with_suffix(".report").read_text()


def start(nodes, workers):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-counts-"))
    run(program("culvertctl"), "ca", "init", folder / "ca")
    run(program("culvertctl"), "ca", "issue", folder / "ca", *(node.node_name for node in nodes))
    listed = nodes_yaml([(node.node_name, [node.v4] if node is not nodes[0] else [f"172.30.{peer.number}.1" for peer in nodes[1:]], [node.pods_v4])
                         for node in nodes])
    for node in nodes:
        node.daemon = Daemon(types.SimpleNamespace(net=types.SimpleNamespace(name="counts"), folder=folder), node)
        node.daemon.nodes.write_text(listed)
        node.daemon.write_config(tunnel={"workers": workers, "tunnels_per_peer": 1}, metrics={"listen": ""})
        node.daemon.start(wait=False, environment={"CULVERT_SHARING": SHARING} if node is nodes[0] else None)
    for node in nodes:
        node.daemon.wait_ready()


def report(text):
    with open("/dev/ttyS1", "w", encoding="utf-8") as results:
        results.write(text)


def main():
    workers = int(sys.argv[1])
    ensure_bpffs()
    hub, *peers = nodes = [Node(name, number) for number, name in enumerate((HUB, *PEERS), 1)]
    for peer in peers:
        wire(hub, peer)
        server = peer.pod.popen(program("bench_work"), "answer", PORT, stdout=subprocess.PIPE, text=True)
        server.stdout.readline()
    for peer in peers:
        wait_for(lambda: hub.pod.ping(peer.pod_v4), f"{peer.node_name}'s pod to be reached")
    SHARING.write_text("0")
    start(nodes, workers)
    if sys.argv[2:] == ["sharing"]:
        report(share(nodes))
        return
    status = hub.daemon.status()
    result = {"workers": workers, "sealed_by": status["sealed_by"], "version": status["version"], "kernel": os.uname().release}
    result["spread"] = {name: measure(nodes, kind, peers) for name, kind in SPREAD.items()}
    result["each"] = {name: measure(nodes, kind._replace(connections=kind.connections * workers), peers[:workers]) for name, kind in EACH.items()}
    for works in (result["spread"], result["each"]):
        for work in works.values():
            busy = [ran for name, (ran, _) in work["threads"].items() if name.startswith("culvert-")]
            if len(busy) != workers or min(busy) * 2 * workers < sum(busy):
                raise Failure(f"the peers do not spread over the workers: {work['threads']}")
    report(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
