# SPDX-License-Identifier: GPL-3.0-or-later
"""Permissive mode, where the daemon holds SYNs: one that finds no tunnel in time leaves the node in the clear, itself and not only when its client sends it
again; what finds one goes into it."""

import contextlib
import socket

import pytest

from counted import counted, first_syns, kernel_counters
from lib import PLAIN, SERVICES, TUNNEL_PORT, Shape, wait_for
from mesh import Mesh, read_all, serve
from traffic import MESSAGE, ask, echo, outcome, talk

VERSIONS = (4, 6)
PORT = 8080
SHAPES = (Shape("routed", "direct", "iptables"), Shape("bridged", "vxlan", "nft"), Shape("routed", "tun", "legacy"), Shape("routed", "rule", "iptables"))

pytestmark = pytest.mark.skipif(PLAIN, reason="no daemon, nothing is held")


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def mesh(request):
    with Mesh(request.param, capture={"mode": "permissive"}) as made:
        yield made


@contextlib.contextmanager
def no_tunnel(mesh):
    """Nothing comes to the tunnels' ports, so that a node waits for one."""
    for host in mesh.net.nodes:
        for tool in ("iptables", "ip6tables"):
            host.run(tool, "-w", "-I", "INPUT", "-p", "tcp", "--dport", TUNNEL_PORT, "-j", "DROP")
    for daemon in mesh.daemons:  # none of an earlier test is left
        daemon.kill()
        daemon.start()
    try:
        yield
    finally:
        for host in mesh.net.nodes:
            for tool in ("iptables", "ip6tables"):
                host.run(tool, "-w", "-D", "INPUT", "-p", "tcp", "--dport", TUNNEL_PORT, "-j", "DROP")


def check(c, client, server):
    """What left is the very SYN that its client sent first; all that followed passed, and was counted, and nothing was diverted."""
    held = [one.pop(("held", "out", "refused"), 0) for one in (c.one, c.two)]
    sent, passed = (first_syns(c.sent(client, server, packets)) for packets in (c.at[client], c.clear))
    assert sent == passed and len(sent) >= len(VERSIONS)
    assert sum(held) >= len(sent)


def test_what_finds_no_tunnel_passes_itself(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with no_tunnel(mesh):
        with counted(mesh, a1) as c:
            for version in VERSIONS:
                assert talk(a1, b1, b1.address(version), echo, ask)[1] == MESSAGE
        check(c, a1, b1)
        c.check("permissive", a1, b1)
        assert c.diverted == [0, 0]
        # a closed port is refused by its own kernel
        for version in VERSIONS:
            with b1.listen() as listener:
                port = listener.getsockname()[1]
            assert outcome(a1.connect, b1.address(version), port) == "ECONNREFUSED"


def test_behind_a_service_too(mesh):
    """Netfilter has had its say: the endpoint is chosen, and its answers are translated back."""
    a1, b1, one = mesh.net.a1, mesh.net.b1, SERVICES["one"]
    with no_tunnel(mesh), b1.listen(one.target) as listener:
        server = serve(listener, echo, count=len(VERSIONS))
        for address in (one.v4, one.v6):
            with a1.connect(address, one.port) as connection:
                assert ask(connection) == MESSAGE
        server.join()
        assert kernel_counters(mesh.one)["permissive", "out", "passed"] > 0
        assert mesh.one.events()["syns_held"] >= len(VERSIONS)


def test_it_stays_in_the_clear_when_a_tunnel_comes_and_the_next_takes_that(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(b1.listen(PORT))
        server = serve(listener, echo, count=len(VERSIONS))
        with no_tunnel(mesh):
            older = [stack.enter_context(a1.connect(b1.address(version), PORT)) for version in VERSIONS]
        mesh.wait_up()
        with counted(mesh, a1) as c:
            for connection in older:
                connection.sendall(MESSAGE)
                connection.shutdown(socket.SHUT_WR)
                assert read_all(connection) == MESSAGE
        server.join()
        c.check("permissive", a1, b1)
    with counted(mesh, a1) as c:
        for version in VERSIONS:
            assert talk(a1, b1, b1.address(version), echo, ask)[1] == MESSAGE
    assert not c.clear
    assert (c.one, c.two) == ({}, {})
    assert c.diverted[0] > 0


def test_both_ways_at_once(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with no_tunnel(mesh):
        with counted(mesh, a1, b1) as c:
            for client, server in ((a1, b1), (b1, a1)):
                for version in VERSIONS:
                    assert talk(client, server, server.address(version), echo, ask)[1] == MESSAGE
        for client, server in ((a1, b1), (b1, a1)):
            sent, passed = (first_syns(c.sent(client, server, packets)) for packets in (c.at[client], c.clear))
            assert sent == passed and len(sent) == len(VERSIONS)
    wait_for(lambda: not mesh.one.streams() and not mesh.two.streams(), "nothing to be left of them")
