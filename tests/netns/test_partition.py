# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire is cut. What TCP would survive, streams survive, with every byte; a peer that comes back as another, or not in time, costs its streams, visibly and
with that reason."""

import contextlib
import signal
import socket
import threading
import time

import pytest

from lib import TUNNEL_PORT, wait_for
from load import Load, open_pair
from mesh import Mesh, read_all
from traffic import ending, outcome, read_exactly, talk

PORT = 8080
CUT_S = 30


def states(mesh):
    return [mesh.one.peers()["node2"]["state"], mesh.two.peers()["node1"]["state"]]


def say_late(client, address):
    """While the wire is cut the node itself may find that it has no way to the other, and say so to its pods."""
    while isinstance(connection := outcome(client.connect, address, PORT), str):
        assert connection in ("EHOSTUNREACH", "ETIMEDOUT")
    with connection:
        connection.sendall(b"late")


@pytest.mark.long
def test_a_cut_of_30_s_under_load_loses_no_stream_and_no_byte():
    with Mesh() as mesh, contextlib.ExitStack() as stack:
        a1, a2, b1, b2 = mesh.net.a1, mesh.net.a2, mesh.net.b1, mesh.net.b2
        mesh.net.b.sysctl(**{"net.ipv4.tcp_rmem": "4096 131072 262144"})  # less than the streams' credit, so that the tunnel's window can be closed
        loads = []
        for seed, (client, server, version) in enumerate([(a1, b1, 4), (b2, a2, 6), (a2, b2, 4)]):
            here, there = open_pair(client, server, version, stack)
            for end in (here, there):
                end.settimeout(None)  # they are silent for longer than a test waits elsewhere
            loads += [Load(here, there, seed), Load(there, here, seed + 100)]
        for load in loads:
            load.wait_more()
        quiet = open_pair(b1, a1, 4, stack)

        # One direction is cut while it flows, the other while the receiver's window is closed: then the kernel probes, and must not give up.
        mesh.two.signal(signal.SIGSTOP)
        tunnel_sockets = ["ss", "-tno", f"( dport = :{TUNNEL_PORT} or sport = :{TUNNEL_PORT} )"]
        wait_for(lambda: "persist" in mesh.net.a.run(*tunnel_sockets).stdout, "the window to be closed")
        begin = time.monotonic()
        mesh.net.cut(mesh.net.b)
        mesh.two.signal(signal.SIGCONT)
        wait_for(lambda: states(mesh) == ["suspect", "suspect"], lambda: f"both to be suspect: {states(mesh)}")
        with b2.listen(PORT) as listener:
            late = threading.Thread(target=say_late, args=(a1, b2.v4), daemon=True)  # waits for a tunnel
            late.start()
            # the length of the cut is what this test is about
            time.sleep(max(0, begin + CUT_S - time.monotonic()))
            assert states(mesh) == ["suspect", "suspect"], states(mesh)
            assert mesh.one.status()["streams_open"] >= 4
            mesh.net.cut(mesh.net.b, False)
            wait_for(lambda: states(mesh) == ["up", "up"], lambda: f"both to be up: {states(mesh)}", timeout=120)
            with listener.accept()[0] as there:
                assert read_exactly(there, 4) == b"late"
            late.join()

        for load in loads:
            load.wait_more()
        for load in loads:
            load.finish()
        for one, other in (quiet, quiet[::-1]):
            one.sendall(b"still here")
            assert read_exactly(other, 10) == b"still here"
        for daemon in mesh.daemons:
            assert set(daemon.ended()) <= {"finished"}


def test_pods_find_out_that_the_other_node_is_gone(mesh):
    """By their own keepalive and their own timeout, each on its side; and what was only cut for a moment goes on."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    with contextlib.ExitStack() as stack:
        probing, there = open_pair(a1, b1, 4, stack)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 4)):
            probing.setsockopt(socket.IPPROTO_TCP, option, value)
        probing.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        _, writing = open_pair(a1, b1, 6, stack)
        writing.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4000)
        patient = open_pair(b1, a1, 4, stack)
        mesh.net.cut(mesh.net.b)
        # what its own node took before that found out is not missed by the pod's kernel, so it writes on
        wait_for(lambda: outcome(writing.send, b"is anybody there?") == "ETIMEDOUT", "the writer to find out")
        assert ending(probing) == "ETIMEDOUT"
        for daemon in mesh.daemons:
            assert daemon.counters()["silent", "out", "refused"] > 0
        mesh.net.cut(mesh.net.b, False)
        for one, other in (patient, patient[::-1]):
            one.sendall(b"still here")
            assert read_exactly(other, 10) == b"still here"


@pytest.fixture(scope="module")
def mesh():
    with Mesh(tunnel={"peer_timeout": "15s"}) as m:
        yield m


def test_a_peer_that_restarted_behind_the_cut_costs_its_old_streams_at_once(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with contextlib.ExitStack() as stack:
        pairs = [open_pair(a1, b1, version, stack) for version in (4, 6)]
        before = mesh.one.ended()
        mesh.net.cut(mesh.net.b)
        mesh.two.kill()
        for _, there in pairs:
            assert ending(there) == "ECONNRESET"
        mesh.two.start()
        assert len(mesh.one.streams()) == 2  # nobody could tell it
        mesh.net.cut(mesh.net.b, False)
        for here, _ in pairs:
            assert ending(here) == "ECONNRESET"
        wait_for(lambda: not mesh.one.streams(), "the streams to be gone")
        ended = {reason: count - before.get(reason, 0) for reason, count in mesh.one.ended().items() if count != before.get(reason, 0)}
        assert sum(ended.values()) == 2 and set(ended) <= {"peer_restarted", "tunnel_lost"}, ended
    assert talk(a1, b1, b1.v4, lambda c, _: c.sendall(b"new"), read_all)[1] == b"new"


@pytest.mark.long
def test_a_peer_that_is_silent_for_peer_timeout_costs_its_streams(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with contextlib.ExitStack() as stack:
        pairs = [open_pair(a1, b1, 4, stack), open_pair(b1, a1, 6, stack)]
        before = [daemon.ended().get("peer_timeout", 0) for daemon in mesh.daemons]
        mesh.net.cut(mesh.net.b)
        try:
            for pair in pairs:
                for end in pair:
                    assert ending(end) == "ECONNRESET"
        finally:
            mesh.net.cut(mesh.net.b, False)
        assert [daemon.ended().get("peer_timeout", 0) - count for daemon, count in zip(mesh.daemons, before)] == [2, 2]
    for client, server in ((a1, b1), (b1, a1)):
        assert talk(client, server, server.v4, lambda c, _: c.sendall(b"new"), read_all)[1] == b"new"
