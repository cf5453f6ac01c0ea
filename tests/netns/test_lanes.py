# SPDX-License-Identifier: GPL-3.0-or-later
"""When a worker is full of the traffic of two nodes, another one makes a tunnel too, and takes new streams."""

import contextlib
import subprocess

import pytest

from lib import PLAIN, wait_for
from load import Load, sink
from mesh import Mesh
from traffic import MESSAGE, ask, echo, talk

WORKERS = 4
FLOOD_PORT, PORT = 5201, 8080
FULL_S = 120  # beside others' work a worker gets its core late

pytestmark = pytest.mark.skipif(PLAIN, reason="no daemon, no tunnel")


@pytest.fixture(scope="module")
def whole():
    with Mesh(tunnel={"workers": WORKERS}) as made:
        yield made


@pytest.fixture
def mesh(whole):
    whole.reset(tunnel={"workers": WORKERS})
    return whole


@contextlib.contextmanager
def flood(mesh):
    """As much as goes, from one pod of node1 to one of node2."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    with sink(b1, FLOOD_PORT):
        client = a1.popen("iperf3", "-c", b1.address(4), "-p", FLOOD_PORT, "-P", 4, "-t", 600, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            client.kill()
            client.wait()


def is_flood(stream):
    return stream["server"].endswith(f":{FLOOD_PORT}")


def workers_of(daemon, node):
    """Of its tunnels, where one is up."""
    peer = daemon.peers()[node]
    return set(peer["tunnel_workers"]) if peer["state"] == "up" else set()


def wait_for_lane(mesh):
    wait_for(lambda: len(workers_of(mesh.one, "node2")) >= 2, lambda: f"a second tunnel; {mesh.one.status()['full_workers']} are full", timeout=FULL_S)
    wait_for(lambda: len(workers_of(mesh.two, "node1")) >= 2, "node2 to have it on another worker as well")


class Many:
    """Streams of which every byte is compared."""

    def __init__(self, mesh, stack):
        self._mesh, self._stack = mesh, stack
        self._listener = stack.enter_context(mesh.net.b1.listen(PORT))
        self.loads = []

    def add(self):
        client = self._stack.enter_context(self._mesh.net.a1.connect(self._mesh.net.b1.address(4), PORT))
        server = self._stack.enter_context(self._listener.accept()[0])
        self.loads.append(Load(client, server, len(self.loads)))

    def has_left_the_flood(self):
        """One more; is any of them on a worker that the flood is not on?"""
        self.add()
        streams = self._mesh.one.streams()
        floods = {stream["worker"] for stream in streams if is_flood(stream)}
        return any(stream["worker"] not in floods for stream in streams if not is_flood(stream))


@pytest.mark.threads
def test_another_worker_takes_new_streams(mesh):
    with flood(mesh), contextlib.ExitStack() as stack:
        wait_for_lane(mesh)
        many = Many(mesh, stack)
        wait_for(many.has_left_the_flood, "a stream on another worker", interval=0.2)
        for load in many.loads:
            load.wait_more(1 << 18)
            load.finish()
        assert mesh.one.peers()["node2"]["tunnels"] <= WORKERS
        assert len({stream["worker"] for stream in mesh.two.streams()}) >= 2
    assert not any(daemon.events()["handshakes_refused"] for daemon in mesh.daemons)


def test_all_tunnels_come_back_after_a_kill(mesh):
    with flood(mesh), contextlib.ExitStack() as stack:
        wait_for_lane(mesh)
        many = Many(mesh, stack)
        wait_for(many.has_left_the_flood, "a stream on another worker", interval=0.2)
        workers = workers_of(mesh.one, "node2")
        mesh.two.kill()
        mesh.two.start()
        wait_for(lambda: not mesh.one.streams(), "every stream to be reset")
    assert not any(len(load.sums) == 2 and load.sums["sent"] != load.sums["received"] for load in many.loads)
    wait_for(lambda: workers_of(mesh.one, "node2") >= workers, "the tunnels to be made anew")
    for _ in range(2 * WORKERS):
        assert talk(mesh.net.a1, mesh.net.b1, mesh.net.b1.address(4), echo, ask)[1] == MESSAGE


def test_one_tunnel_where_the_setting_says_so(mesh):
    mesh.reset(tunnel={"workers": WORKERS, "tunnels_per_peer": 1})
    with flood(mesh):
        wait_for(lambda: mesh.one.status()["full_workers"], "a worker to be full", timeout=FULL_S)
        goal = mesh.one.status()["workers_busy_ms"] + 3000
        wait_for(lambda: mesh.one.status()["workers_busy_ms"] >= goal, "it to have gone on for some seconds")
        assert mesh.one.peers()["node2"]["tunnels"] == 1
