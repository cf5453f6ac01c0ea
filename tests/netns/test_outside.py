# SPDX-License-Identifier: GPL-3.0-or-later
"""What Culvert leaves alone works as before, and is counted: UDP and ICMP between pods, hosts that are not enrolled, pods of one node."""

import socket

import pytest

from counted import counted, kernel_counters
from lib import DEADLINE_S, Shape
from mesh import Mesh, read_all
from traffic import talk

PORT = 8080


@pytest.fixture(scope="module")
def mesh():
    with Mesh() as m:
        yield m


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def version(request):
    return request.param


def echo(connection, _):
    connection.sendall(read_all(connection))


def ask(question):
    def asking(connection):
        connection.sendall(question)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)

    return asking


def test_udp_between_pods_passes_and_is_counted(mesh, version):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with counted(mesh) as c, b1.udp(b1.address(version), PORT) as server, a1.udp(a1.address(version)) as client:
        for number in range(7):
            client.sendto(b"question %d" % number, (b1.address(version), PORT))
            question, peer = server.recvfrom(100)
            assert (question, peer[0]) == (b"question %d" % number, a1.address(version))
            server.sendto(question.upper(), peer)
            assert client.recv(100) == b"QUESTION %d" % number
    c.check("udp", a1, b1, protocol="udp")
    assert c.one["udp", "out", "passed"] == 7
    assert c.diverted == [0, 0]


@pytest.mark.parametrize("size", [56, 4000])
def test_icmp_between_pods_passes_whole_and_is_counted(mesh, version, size):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with counted(mesh) as c:
        for _ in range(3):
            assert a1.ping(b1.address(version), size, timeout=DEADLINE_S)
    c.check("icmp", a1, b1, protocol="icmp")
    assert c.one["icmp", "out", "passed"] == 3 * (1 if size < 1400 else 3)


def test_a_connection_to_a_host_that_is_not_enrolled_passes_and_is_counted(mesh, version):
    a1, x1 = mesh.net.a1, mesh.net.x1
    with counted(mesh) as c:
        seen, answer = talk(a1, x1, x1.address(version), lambda s, peer: (peer, echo(s, peer))[0], ask(b"in the clear"))
    assert seen[0] == a1.address(version)
    assert answer == b"in the clear"
    c.check("outside", a1, x1)
    assert any(b"in the clear" in p.payload for p in c.clear)
    assert c.diverted == [0, 0]


def test_a_connection_from_a_host_that_is_not_enrolled_passes_and_is_counted(mesh, version):
    a1, x1 = mesh.net.a1, mesh.net.x1
    with counted(mesh) as c:
        seen, answer = talk(x1, a1, a1.address(version), lambda s, peer: (peer, echo(s, peer))[0], ask(b"in the clear"))
    assert seen[0] == x1.address(version)
    assert answer == b"in the clear"
    c.check("outside", a1, x1)
    assert c.diverted == [0, 0]


def test_udp_and_icmp_to_hosts_outside_are_not_ours_to_count(mesh, version):
    a1, x1 = mesh.net.a1, mesh.net.x1
    with counted(mesh) as c, x1.udp(x1.address(version), PORT) as server, a1.udp(a1.address(version)) as client:
        client.sendto(b"question", (x1.address(version), PORT))
        assert server.recv(100) == b"question"
        assert a1.ping(x1.address(version), timeout=DEADLINE_S)
    assert [p for p in c.packets if p.protocol == "udp" and p.payload == b"question"]
    assert (c.one, c.two) == ({}, {})


def test_the_nodes_own_traffic_to_other_hosts_is_not_touched(mesh, version):
    a, x = mesh.net.a, mesh.net.x
    with counted(mesh) as c:
        for client, server in ((a, x), (x, a), (a, mesh.net.b)):
            assert talk(client, server, server.address(version), echo, ask(b"hello"))[1] == b"hello"
    assert len([p for p in c.clear if p.payload == b"hello"]) == 6
    assert (c.one, c.two, c.diverted) == ({}, {}, [0, 0])


@pytest.mark.parametrize("shape", ["routed", "bridged"])
def test_pods_of_one_node_never_meet_culvert(shape):
    """On a mesh that has carried nothing, every counter of the first node stays 0."""
    with Mesh(Shape(pods=shape)) as fresh:
        a1, a2 = fresh.net.a1, fresh.net.a2
        for version in (4, 6):
            assert talk(a1, a2, a2.address(version), echo, ask(b"neighbour" * 1000))[1] == b"neighbour" * 1000
            assert a1.ping(a2.address(version), timeout=DEADLINE_S)
        assert kernel_counters(fresh.one) == {}
        assert fresh.one.counters() == {}


def test_the_status_shows_what_the_kernel_counted(mesh):
    a1, x1 = mesh.net.a1, mesh.net.x1
    talk(a1, x1, x1.v4, echo, ask(b"hello"))
    shown = {key: count for key, count in mesh.one.counters().items() if key[0] != "carrier"}
    assert shown == {key: count for key, count in kernel_counters(mesh.one).items() if key[0] != "carrier"}
    assert shown["outside", "out", "passed"] > 0


def test_a_stream_in_the_tunnel_beside_it_is_counted_apart(mesh, version):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with counted(mesh) as c, b1.udp(b1.address(version), PORT) as there, a1.udp(a1.address(version)) as here:

        def asking(connection):
            connection.sendall(b"encrypted")
            here.sendto(b"not encrypted", (b1.address(version), PORT))
            assert there.recv(100) == b"not encrypted"
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

        assert talk(a1, b1, b1.address(version), echo, asking, port=PORT)[1] == b"encrypted"
    c.check("udp", a1, b1, protocol="udp")
    assert c.diverted[0] == len([p for p in c.at_pod if p.protocol == "tcp" and p.source == a1.address(version)])
    assert not c.clear
    assert [p.payload for p in c.packets if b"encrypted" in p.whole] == [b"not encrypted"]
    c.check_carrier()
