# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod that does not read stops its own stream and nothing else, and a busy stream leaves the others their turns."""

import contextlib

import pytest

from lib import wait_for
from load import Load, Stuck, open_pair, wait_stuck
from mesh import Mesh
from traffic import read_exactly

MEMORY = 64 << 20
REQUESTS = 200


@pytest.fixture(scope="module")
def mesh():
    with Mesh(tunnel={"memory": f"{MEMORY >> 20}MiB"}) as m:
        yield m


def exchange(pair, count=REQUESTS, size=1000):
    """Requests and answers, one after another."""
    here, there = pair
    for number in range(count):
        for one, other in ((here, there), (there, here)):
            message = number.to_bytes(8, "big") * (size // 8)
            one.sendall(message)
            assert read_exactly(other, len(message)) == message


def check_memory(mesh):
    for daemon in mesh.daemons:
        memory = daemon.status()["memory"]
        assert memory["budget_bytes"] == MEMORY
        assert memory["buffered_bytes"] <= memory["granted_bytes"] <= MEMORY, memory


@pytest.mark.long
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("reads_not", ["server", "client"])
def test_one_stuck_stream_beside_busy_ones(mesh, reads_not, version):
    net = mesh.net
    with contextlib.ExitStack() as stack:
        here, there = open_pair(net.a1, net.b1, version, stack)
        busy = [open_pair(net.a1, net.b1, version, stack), open_pair(net.a2, net.b1, 4, stack), open_pair(net.b1, net.a1, 6, stack)]
        bulk_ends = [open_pair(net.a1, net.b1, version, stack), open_pair(net.b1, net.a1, version, stack)]
        stuck = Stuck(here, there) if reads_not == "server" else Stuck(there, here)
        wait_stuck([stuck])
        stood_at = stuck.written

        bulk = [Load(*ends, seed=7) for ends in (bulk_ends[0], bulk_ends[0][::-1], bulk_ends[1])]
        for pair in busy:
            exchange(pair)
        for load in bulk:
            load.wait_more(32 << 20)
            load.finish()
        assert stuck.written == stood_at
        check_memory(mesh)
        stuck.read()


def test_many_stuck_streams_beside_a_busy_one(mesh):
    net = mesh.net
    with contextlib.ExitStack() as stack:
        busy = open_pair(net.a2, net.b2, 4, stack)
        stuck = []
        for number in range(24):
            here, there = open_pair(net.a1, net.b1, 4 if number % 2 else 6, stack)
            stuck.append(Stuck(here, there, number) if number % 4 < 2 else Stuck(there, here, number))
        wait_stuck(stuck)
        check_memory(mesh)
        exchange(busy)
        with contextlib.ExitStack() as bulk_stack:
            load = Load(*open_pair(net.a1, net.b1, 4, bulk_stack), seed=3)
            load.wait_more(16 << 20)
            load.finish()
        check_memory(mesh)
        exchange(busy, 20)
        for s in stuck:
            s.read()
    wait_for(lambda: not mesh.one.streams() and not mesh.two.streams(), "the streams to be gone")
    for daemon in mesh.daemons:
        memory = daemon.status()["memory"]
        assert (memory["granted_bytes"], memory["buffered_bytes"]) == (0, 0)


@pytest.mark.parametrize("version", [4, 6])
def test_a_request_beside_a_bulk_stream_gets_its_turns(mesh, version):
    """On average a request and its answer wait for less than a quarter of the bulk stream's largest window; behind all that it has to say they would wait forever."""
    net = mesh.net
    with contextlib.ExitStack() as stack:
        request = open_pair(net.a1, net.b1, version, stack)
        here, there = open_pair(net.a1, net.b1, version, stack)
        loads = [Load(here, there, seed=1), Load(there, here, seed=2)]
        for load in loads:
            load.wait_more(16 << 20)
        before = sum(load.received for load in loads)
        exchange(request)
        carried = sum(load.received for load in loads) - before
        for load in loads:
            load.wait_more()
            load.finish()
    assert carried / REQUESTS < 4 << 20
