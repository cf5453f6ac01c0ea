# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods do not notice: addresses, who speaks first, half-close, resets, on every kind of pod and wire; and nothing of it is readable on the wire."""

import os
import socket

import pytest

from lib import PLAIN, Shape, wait_for
from mesh import Mesh, read_all
from traffic import ending, marker, outcome, read_exactly, reset, talk

SHAPES = [pytest.param(Shape("routed", "direct", "iptables"), marks=pytest.mark.threads, id="routed-direct-iptables"), Shape("routed", "direct", "legacy"),
          Shape("bridged", "direct", "nft"), Shape("routed", "vxlan", "nft"), Shape("bridged", "vxlan", "iptables"), Shape("routed", "tun", "iptables"),
          Shape("bridged", "tun", "nft"), Shape("routed", "rule", "nft"), Shape("bridged", "rule", "iptables")]
BIG = os.urandom(3_000_000)  # more than every buffer on the way


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def mesh(request):
    with Mesh(request.param) as made:
        yield made


@pytest.fixture(params=(("a1", "b1"), ("b1", "a1")), ids=lambda pair: "to".join(pair))
def pair(mesh, request):
    client, server = request.param
    return mesh.net.pod(client), mesh.net.pod(server)


def test_both_pods_see_each_others_address_and_port(pair, version):
    client, server = pair

    def serving(connection, peer):
        connection.sendall(connection.recv(100))
        return peer, connection.getsockname()[0].removeprefix("::ffff:")

    def asking(connection):
        connection.sendall(b"hello")
        return connection.getsockname()[:2], connection.getpeername()[0], connection.recv(100)

    (seen, own), (me, it, echo) = talk(client, server, server.address(version), serving, asking)
    assert echo == b"hello"
    assert seen == me and me[0] == client.address(version)
    assert own == it == server.address(version)


def test_a_server_that_speaks_first_is_heard(pair, version):
    client, server = pair

    def serving(connection, _):
        connection.sendall(b"220 at your service\r\n")
        return connection.recv(100)

    def asking(connection):
        greeting = connection.recv(100)
        connection.sendall(b"QUIT\r\n")
        return greeting

    assert talk(client, server, server.address(version), serving, asking) == (b"QUIT\r\n", b"220 at your service\r\n")


def test_the_answer_comes_whole_after_the_client_ended_its_side(pair, version):
    client, server = pair

    def serving(connection, _):
        question = read_all(connection)
        connection.sendall(BIG)
        return question

    def asking(connection):
        connection.sendall(BIG)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)

    question, answer = talk(client, server, server.address(version), serving, asking)
    assert question == BIG and answer == BIG


def test_the_client_goes_on_after_the_server_ended_its_side(pair, version):
    client, server = pair

    def serving(connection, _):
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)

    def asking(connection):
        end = connection.recv(1)
        connection.sendall(BIG)
        return end

    assert talk(client, server, server.address(version), serving, asking) == (BIG, b"")


def test_a_reset_of_the_client_is_a_reset_at_the_server(pair, version):
    client, server = pair

    def serving(connection, _):
        connection.sendall(connection.recv(10))
        return ending(connection)

    def asking(connection):
        connection.sendall(b"x")
        connection.recv(10)  # the server is there
        reset(connection)

    assert talk(client, server, server.address(version), serving, asking)[0] == "ECONNRESET"


def test_a_reset_of_the_server_is_a_reset_at_the_client(pair, version):
    client, server = pair

    def serving(connection, _):
        connection.recv(10)
        reset(connection)

    def asking(connection):
        connection.sendall(b"x")
        return ending(connection)

    assert talk(client, server, server.address(version), serving, asking)[1] == "ECONNRESET"


def test_nobody_listens_is_a_refusal(pair, version):
    client, server = pair
    with server.listen() as listener:
        port = listener.getsockname()[1]  # free from here on
    assert outcome(client.connect, server.address(version), port) == "ECONNREFUSED"


def test_nothing_of_a_conversation_is_readable_on_the_wire(mesh, pair, version):
    client, server = pair
    question, answer = marker(), marker()

    def serving(connection, _):
        got = read_exactly(connection, len(question))
        connection.sendall(answer)
        return got

    def asking(connection):
        connection.sendall(question)
        return read_exactly(connection, len(answer))

    with mesh.capture() as capture:
        assert talk(client, server, server.address(version), serving, asking) == (question, answer)
    if PLAIN:  # so the check can fail
        assert capture.leaked and capture.holds(question) and capture.holds(answer)
        return
    assert capture.leaked == []
    assert not capture.holds(question) and not capture.holds(answer)
    assert capture.tunnel


@pytest.mark.skipif(PLAIN, reason="no daemon, no counters")
def test_the_kernel_counted_no_pod_to_pod_tcp_in_the_clear(mesh):
    for daemon in mesh.daemons:
        counters = daemon.counters()
        assert counters["tunnel", "out", "passed"] > 0
        clear = {key: packets for key, packets in counters.items() if key[0] in ("older", "permissive", "unknown", "not_enrolled", "bypass") and key[2] == "passed"}
        assert clear == {}


@pytest.mark.skipif(PLAIN, reason="no daemon, no streams")
@pytest.mark.skipif(PLAIN, reason="no daemon, no peers")
def test_with_a_nodes_file_a_pair_is_joined_from_the_start(mesh):
    for node, other in ((mesh.one, "node2"), (mesh.two, "node1")):
        peer = node.peers()[other]
        assert (peer["pair"], peer["pair_there"], peer["enrolled_there"], peer["is_enrolled_different"]) == ("joined", "joined", 2, False)
        assert not [key for key in node.counters() if key[0] in ("joining", "not_enrolled")]


def test_no_stream_is_left_when_all_have_ended(mesh):
    for daemon in mesh.daemons:
        wait_for(lambda: daemon.streams() == [], lambda: f"no stream on {daemon.host.node_name}: {daemon.streams()}")


@pytest.mark.skipif(PLAIN, reason="no daemon to end")
def test_daemons_without_streams_end_in_order(mesh):
    for daemon in mesh.daemons:
        assert daemon.end() == 0, daemon.log()[-3000:]
