# SPDX-License-Identifier: GPL-3.0-or-later
"""The budget counts credit that was granted: streams that were fast and fall idle give it back to those that are fast now; where it is used up, new streams are
refused, and running ones go on."""

import contextlib
import pathlib
import random
import resource
import select
import socket
import threading

import pytest

from lib import DEADLINE_S, finish, wait_for
from load import Load, Stuck, open_pair, wait_stuck
from mesh import Mesh, read_all
from traffic import read_exactly, talk

MIB = 1 << 20
IDLE_STREAMS = 2000
BUDGET = 48 * MIB
BATCH = 250       # as many as the budget has room for at once: each begins with 32 KiB
BURST = 256 << 10  # a fast stream's, enough for its window to grow
SMALL_BUDGET = 2 * MIB
MOST_STREAMS = 2 * SMALL_BUDGET // (32 << 10)
PORT = 8080


@pytest.fixture(scope="module", autouse=True)
def many_files():
    most = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 8 * IDLE_STREAMS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def memory(daemon):
    return daemon.status()["memory"]


def is_sanitized(daemon):
    """A sanitizer keeps freed memory and pads what is used: then what is resident is not the daemon's own."""
    return any(sanitizer in pathlib.Path(f"/proc/{daemon.process.pid}/maps").read_text() for sanitizer in ("libasan", "libtsan"))


def resident_bytes(daemon):
    for line in pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


def stream_of(daemon, client):
    """What the daemon shows of the stream of this client's socket (IPv4)."""
    ends = tuple(f"{address}:{port}" for address, port in (client.getsockname(), client.getpeername()))
    return next(s for s in daemon.show("streams", "--limit", 65536)["streams"] if (s["client"], s["server"]) == ends)


def burst(pairs, data):
    """All of them carry data at once, there and back."""
    for turn in (lambda p: p, lambda p: p[::-1]):
        ways = [turn(pair) for pair in pairs]
        threads = [threading.Thread(target=one.sendall, args=(data,), daemon=True) for one, _ in ways]
        for thread in threads:
            thread.start()
        for _, other in ways:
            assert read_exactly(other, len(data)) == data
        for thread in threads:
            thread.join(DEADLINE_S)


@pytest.mark.long
def test_2000_streams_that_were_fast_leave_room_for_a_new_one():
    data = random.Random(1).randbytes(BURST)
    with Mesh(tunnel={"memory": f"{BUDGET // MIB}MiB"}) as mesh, contextlib.ExitStack() as stack:
        net = mesh.net
        ways = [(net.a1, net.b1, 4), (net.b1, net.a1, 4), (net.a2, net.b2, 6), (net.b2, net.a2, 6)]
        idle, most = [], [0, 0]

        def settled():
            return all(memory(daemon)["granted_bytes"] <= BUDGET // 2 for daemon in mesh.daemons)

        while len(idle) < IDLE_STREAMS:
            batch = [open_pair(*ways[number % len(ways)], stack) for number in range(BATCH)]
            burst(batch, data)
            most = [max(m, memory(daemon)["granted_bytes"]) for m, daemon in zip(most, mesh.daemons)]
            idle += batch
            wait_for(settled, lambda: f"credit to come back: {[memory(daemon) for daemon in mesh.daemons]}")
        assert max(most) <= BUDGET
        assert all(s > BATCH * (32 << 10) for s in most), f"no window has grown: {most}"
        for daemon in mesh.daemons:
            assert daemon.status()["streams_open"] == IDLE_STREAMS
            assert daemon.ended() == {}

        # the new one, both ways
        here, there = open_pair(net.a1, net.b2, 4, stack)
        loads = [Load(here, there, seed=1), Load(there, here, seed=2)]
        for daemon in mesh.daemons:
            wait_for(lambda: stream_of(daemon, here)["window_bytes"] >= 2 * MIB, lambda: f"the new stream's window to grow: {stream_of(daemon, here)}")
        for load in loads:
            load.wait_more(64 * MIB)
        for daemon in mesh.daemons:
            assert memory(daemon)["granted_bytes"] <= BUDGET
            assert daemon.status()["streams_open"] == IDLE_STREAMS + 1
        for load in loads:
            load.finish()

        for number, (one, other) in enumerate(idle):
            for end, far in ((one, other), (other, one)):
                end.sendall(b"%06d" % number)
                assert read_exactly(far, 6) == b"%06d" % number
        for daemon in mesh.daemons:
            assert set(daemon.ended()) <= {"finished"}
            assert is_sanitized(daemon) or resident_bytes(daemon) <= BUDGET


def test_over_the_budget_new_streams_are_refused_and_running_ones_go_on():
    with Mesh(tunnel={"memory": f"{SMALL_BUDGET // MIB}MiB"}) as mesh, contextlib.ExitStack() as stack:
        net = mesh.net
        running = open_pair(net.a1, net.b1, 4, stack)
        listener = stack.enter_context(net.b1.listen(PORT, address=net.b1.v4))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        stuck = []
        # Each takes its 32 KiB with what its pod does not read, and that can not be asked back.
        for number in range(MOST_STREAMS):
            client = stack.enter_context(net.a1.begin(net.b1.v4, PORT))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
            if wait_for(lambda: select.select([listener], [], [], 0.1)[0] or mesh.one.ended(), "it to be taken or refused") != [listener]:
                break
            server = stack.enter_context(listener.accept()[0])
            finish(client)
            server.settimeout(DEADLINE_S)
            stuck.append(Stuck(client, server, number, 6 * MIB))
        else:
            raise AssertionError(f"{MOST_STREAMS} streams of 32 KiB were taken under a budget of {SMALL_BUDGET}")
        wait_stuck(stuck)
        assert memory(mesh.two)["granted_bytes"] <= SMALL_BUDGET
        assert set(mesh.one.ended()) == set(mesh.two.ended()) == {"over_budget"}

        for number in range(200):
            for one, other in (running, running[::-1]):
                one.sendall(b"%06d" % number)
                assert read_exactly(other, 6) == b"%06d" % number
        assert not select.select([], [client], [], 0)[1]  # who was refused has heard nothing, and tries again

        for s in stuck:
            s.read()
        finish(client)
        assert talk(net.a2, net.b1, net.b1.v4, lambda c, _: c.sendall(b"room again"), read_all)[1] == b"room again"
        assert is_sanitized(mesh.two) or resident_bytes(mesh.two) <= 64 * MIB


def test_a_client_that_has_said_all_holds_no_credit():
    with Mesh() as mesh, contextlib.ExitStack() as stack:
        here, there = open_pair(mesh.net.a1, mesh.net.b1, 4, stack)
        load = Load(here, there, seed=1)
        load.wait_more()
        assert memory(mesh.two)["granted_bytes"] > 0
        load.finish()  # the client's half; the answer is still to come
        wait_for(lambda: memory(mesh.two)["granted_bytes"] == 0, lambda: f"all credit to be given back: {memory(mesh.two)}")
        there.sendall(b"the answer")
        assert read_exactly(here, 10) == b"the answer"
