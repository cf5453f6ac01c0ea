# SPDX-License-Identifier: GPL-3.0-or-later
"""Promise 2: what each mode does with each kind of TCP, at egress and at ingress, with the peer's daemon up, down and never started. The kernels' counters equal a
capture of the same traffic, class by class."""

import contextlib
import socket

import pytest

from counted import counted, first_syns, kernel_counters
from lib import DEADLINE_S, finish, wait_for
from mesh import Mesh, read_all, serve
from test_edge_packets import ACK, PSH, SYN, TCP, ipv4, ipv6, send, tcp
from traffic import MESSAGE, ask, echo, ending, outcome, read_exactly, reset, talk

VERSIONS = (4, 6)
MODES = ["permissive", "strict", "lockdown"]
PORT, EXCLUDED_PORT = 8080, 9100
CAPTURE = {"cluster_pods": ["10.88.3.0/24", "fd88:3::/64"], "exclude": ["10.88.2.12/32", "fd88:2::12/128", f"tcp/{EXCLUDED_PORT}"]}


def capture_of(mode):
    return {"capture": {**CAPTURE, "mode": mode}}


@pytest.fixture(scope="module", params=MODES)
def whole(request):
    """Both daemons, with a tunnel between them."""
    with Mesh(**capture_of(request.param)) as made:
        made.mode = request.param
        warm_up(made)
        yield made


@pytest.fixture
def mesh(whole):
    for daemon in whole.daemons:
        if not daemon.is_running():
            daemon.start()
    warm_up(whole)
    return whole


@pytest.fixture(scope="module", params=MODES)
def half(request):
    """The second node is listed, and its daemon has never run."""
    with Mesh(start=False, **capture_of(request.param)) as made:
        made.mode = request.param
        made.one.start()
        yield made


def warm_up(mesh):
    talk(mesh.net.a1, mesh.net.b1, mesh.net.b1.v4, echo, ask)
    for daemon, peer in zip(mesh.daemons, ("node2", "node1")):
        wait_for(lambda: daemon.peers()[peer]["state"] == "up", "the tunnel to be up")
        wait_for(lambda: not daemon.streams(), "the first stream to be gone")


def meet(client, server, port=PORT):
    """A whole connection of each family, that must come about; the server sees the client."""
    for version in VERSIONS:
        seen, answer = talk(client, server, server.address(version), lambda s, peer: (peer, echo(s, peer))[0], ask, port=port)
        assert answer == MESSAGE
        assert seen[0] == client.address(version)


@contextlib.contextmanager
def knocking(client, server, port=PORT):
    """A connection of each family that is begun while somebody listens, and that nobody answers."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(server.listen(port))
        begun = []
        for version in VERSIONS:
            s = stack.enter_context(client.socket(socket.AF_INET6 if version == 6 else socket.AF_INET))
            s.setblocking(False)
            assert outcome(s.connect, (server.address(version), port)) == "EINPROGRESS"
            begun.append(s)
        yield
        for s in begun:
            assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert outcome(s.getpeername) == "ENOTCONN"


def syns(packets):
    return [p for p in packets if p.is_syn]


def refuses(daemon, name, way, client, server):
    """Knocks until daemon has counted both SYNs."""
    key = (name, way, "refused")
    before = kernel_counters(daemon).get(key, 0)
    with knocking(client, server):
        wait_for(lambda: kernel_counters(daemon).get(key, 0) >= before + len(VERSIONS), f"{key} to be counted")


def check_dropped_at_egress(c, name, source, destination):
    """Nothing of it was on the wire; all that the pod sent was dropped, and counted."""
    assert not c.clear
    assert c.one == {(name, "out", "refused"): len(syns(c.sent(source, destination, c.at_pod)))}
    assert not c.two


def check_held(c, source, destination):
    """The daemon held the SYNs, since there was no tunnel, and let the very same go on. Takes that out of the count."""
    held = c.one.pop(("held", "out", "refused"))
    sent, passed = (syns(c.sent(source, destination, packets)) for packets in (c.at_pod, c.clear))
    assert len(VERSIONS) <= held <= len(sent)
    assert first_syns(sent) == first_syns(passed)


def lose(mesh, daemon):
    daemon.kill()
    other, name = (mesh.one, "node2") if daemon is mesh.two else (mesh.two, "node1")
    wait_for(lambda: other.peers()[name]["state"] != "up", "the loss to be seen")


@contextlib.contextmanager
def waiting_streams(daemon, client, server):
    """A stream of each family whose client waits in connect() for the peer."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(client.begin(server.address(version), PORT)) for version in VERSIONS]
        wait_for(lambda: [s["state"] for s in daemon.streams()] == ["waiting"] * len(VERSIONS), "the streams to wait for the peer")
        yield streams


# Both daemons run


def test_pods_of_two_enrolled_nodes_meet_in_the_tunnel(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with counted(mesh) as c:
        meet(a1, b1)
        meet(b1, a1)
    assert not c.clear
    assert (c.one, c.two) == ({}, {})
    assert c.diverted[0] == len(c.sent(a1, b1, c.at_pod)) > 0
    assert c.diverted[1] > 0
    assert not any(MESSAGE in p.whole for p in c.packets)
    c.check_carrier()


def test_a_node_reaches_a_pod_of_another_node_by_the_tunnel(mesh):
    with counted(mesh) as c:
        meet(mesh.net.a, mesh.net.b1)
    assert not c.clear
    assert (c.one, c.two) == ({}, {})


def test_a_pod_to_another_nodes_own_address(mesh):
    a1, b = mesh.net.a1, mesh.net.b
    with counted(mesh) as c:
        if mesh.mode == "lockdown":
            refuses(mesh.one, "refused", "out", a1, b)
        else:
            meet(a1, b)
    if mesh.mode == "lockdown":
        check_dropped_at_egress(c, "refused", a1, b)
    else:
        c.check("to_node", a1, b)


def test_a_pod_to_the_pod_space_where_nobody_owns_the_address(mesh):
    a1, x1 = mesh.net.a1, mesh.net.x1
    with counted(mesh) as c:
        if mesh.mode == "permissive":
            meet(a1, x1)
        else:
            refuses(mesh.one, "unknown", "out", a1, x1)
    if mesh.mode == "permissive":
        c.check("unknown", a1, x1)
    else:
        check_dropped_at_egress(c, "unknown", a1, x1)


def test_a_pod_from_the_pod_space_where_nobody_owns_the_address(mesh):
    a1, x1 = mesh.net.a1, mesh.net.x1
    with counted(mesh) as c:
        if mesh.mode == "permissive":
            meet(x1, a1)
        else:
            refuses(mesh.one, "unknown", "in", x1, a1)
    if mesh.mode == "permissive":
        c.check("unknown", a1, x1)
    else:
        c.check("unknown", a1, x1, refused_by=(1,))
        assert not c.sent(x1, a1, c.at_pod)


def test_the_world_outside_passes_in_every_mode(mesh):
    with counted(mesh) as c:
        meet(mesh.net.a1, mesh.net.x)
        meet(mesh.net.x, mesh.net.a1)
    c.check("outside", mesh.net.a1, mesh.net.x)


def test_excluded_ports_and_addresses_pass_in_every_mode(mesh):
    a1, b1, b2 = mesh.net.a1, mesh.net.b1, mesh.net.b2
    with counted(mesh) as c:
        meet(a1, b1, EXCLUDED_PORT)
    c.check("excluded", a1, b1)
    with counted(mesh) as c:
        meet(a1, b2)
        meet(b2, a1)
    c.check("excluded", a1, b2)


def forged(source, destination, flags, ports, payload=b""):
    segment = tcp(source, destination, flags, payload, ports)
    return ipv6(source, destination, TCP, segment) if ":" in source else ipv4(source, destination, TCP, segment)


def test_a_forged_syn_in_the_clear(mesh):
    """From a machine on the wire, under the address of an enrolled node's pod."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    passes = mesh.mode == "permissive"
    key = ("permissive", "in", "passed") if passes else ("refused", "in", "refused")
    before = kernel_counters(mesh.one).get(key, 0)
    with counted(mesh) as c, a1.listen(PORT):
        for version in VERSIONS:
            send(mesh.net.x, forged(b1.address(version), a1.address(version), SYN, (40001, PORT)))
        wait_for(lambda: kernel_counters(mesh.one).get(key, 0) >= before + len(VERSIONS), f"{key} to be counted")
    assert c.one[key] == len(syns(c.sent(b1, a1))) == len(VERSIONS)
    assert len(syns(c.sent(b1, a1, c.at_pod))) == (len(VERSIONS) if passes else 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_forged_segment_in_the_middle_of_a_stream(mesh, version):
    """Under the addresses and ports of a running stream. Only permissive mode lets it in; the stream goes on in each."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    passes = mesh.mode == "permissive"
    key = ("older", "in", "passed") if passes else ("refused", "in", "refused")
    with b1.listen(PORT) as listener:
        server = serve(listener, echo)
        with a1.connect(b1.address(version), PORT) as client:
            client.sendall(MESSAGE)
            wait_for(lambda: mesh.two.streams() and mesh.two.streams()[0]["received_bytes"] == len(MESSAGE), "the message to arrive")
            before = kernel_counters(mesh.one).get(key, 0)
            with counted(mesh) as c:
                send(mesh.net.x, forged(b1.address(version), a1.address(version), ACK | PSH, (PORT, client.getsockname()[1]), b"forged"))
                wait_for(lambda: kernel_counters(mesh.one).get(key, 0) > before, f"{key} to be counted")
            assert c.one == {key: 1}
            assert [p.payload for p in c.clear] == [b"forged"]
            if not passes:  # else netfilter judges it next
                assert not any(p.payload == b"forged" for p in c.at_pod)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == MESSAGE
        server.join()


# The peer's daemon, or the own one, is not there


def test_peer_down_and_up_again(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    lose(mesh, mesh.two)
    with counted(mesh) as c:
        if mesh.mode == "permissive":
            meet(a1, b1)
        else:
            with b1.listen(PORT) as listener:
                server = serve(listener, echo, count=len(VERSIONS))
                with waiting_streams(mesh.one, a1, b1) as streams:
                    mesh.two.start()
                    for stream in streams:
                        finish(stream).sendall(MESSAGE)
                        stream.shutdown(socket.SHUT_WR)
                        assert read_all(stream) == MESSAGE
                server.join()
    if mesh.mode == "permissive":
        check_held(c, a1, b1)
        c.check("permissive", a1, b1)
    else:
        assert not c.clear
        assert (c.one, c.two) == ({}, {})


def test_own_daemon_down(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    mesh.one.kill()
    with counted(mesh) as c:
        if mesh.mode == "permissive":
            meet(a1, b1)
        else:
            refuses(mesh.one, "refused", "out", a1, b1)
    if mesh.mode == "permissive":
        c.check("permissive", a1, b1)
    else:
        check_dropped_at_egress(c, "refused", a1, b1)


def test_from_a_node_to_a_pod_while_the_peer_is_down(mesh):
    a, b1 = mesh.net.a, mesh.net.b1
    lose(mesh, mesh.two)
    with counted(mesh) as c:
        if mesh.mode != "lockdown":
            meet(a, b1)
        else:
            with b1.listen(PORT), waiting_streams(mesh.one, a, b1) as streams:
                for stream in streams:
                    reset(stream)
    if mesh.mode != "lockdown":
        c.check("host", a, b1)
    else:
        assert not c.clear
        assert (c.one, c.two) == ({}, {})


# The peer's daemon has never run: its pods' traffic comes in the clear


def test_never_started_peer_is_not_reached_in_the_clear(half):
    a1, b1 = half.net.a1, half.net.b1
    with counted(half) as c:
        if half.mode == "permissive":
            meet(a1, b1)
        else:
            with b1.listen(PORT), waiting_streams(half.one, a1, b1) as streams:
                for stream in streams:
                    reset(stream)
    if half.mode == "permissive":
        check_held(c, a1, b1)
        c.check("permissive", a1, b1, counts_two=False)
    else:
        assert not c.clear
        assert c.one == {}


@pytest.mark.parametrize("client, server, name, refusing", [
    ("b1", "a1", "permissive", ("strict", "lockdown")), ("b", "a1", "host", ("lockdown",)), ("b1", "a", "to_node", ("lockdown",))],
    ids=["pod-to-pod", "node-to-pod", "pod-to-node"])
def test_plaintext_of_a_peer_that_was_never_started(half, client, server, name, refusing):
    client, server = getattr(half.net, client), getattr(half.net, server)
    with counted(half) as c:
        if half.mode in refusing:
            refuses(half.one, "refused", "in", client, server)
        else:
            meet(client, server)
    if half.mode in refusing:
        c.check("refused", server, client, refused_by=(1,), counts_two=False)
        assert not c.sent(client, server, c.at_pod)
    else:
        c.check(name, server, client, counts_two=False)


# Older than the daemons


@pytest.mark.parametrize("mode, older, is_kept", [("permissive", "keep", True), ("strict", "keep", True), ("strict", "reset", False), ("lockdown", "keep", False)])
def test_a_connection_that_is_older_than_the_daemons(mode, older, is_kept):
    with Mesh(start=False, capture={"mode": mode, "older_flows": older}) as mesh:
        a1, b1 = mesh.net.a1, mesh.net.b1
        with contextlib.ExitStack() as stack:
            pairs = []
            for version in VERSIONS:
                listener = stack.enter_context(b1.listen(PORT, address=b1.address(version)))
                client = stack.enter_context(a1.connect(b1.address(version), PORT))
                server = stack.enter_context(listener.accept()[0])
                server.settimeout(DEADLINE_S)
                client.sendall(MESSAGE)
                assert read_exactly(server, len(MESSAGE)) == MESSAGE
                pairs.append((client, server))
            for daemon in mesh.daemons:
                daemon.start(wait=False)
            for daemon in mesh.daemons:
                daemon.wait_ready()
            for client, server in pairs:
                with counted(mesh) as c:
                    if is_kept:
                        for one, other in ((client, server), (server, client)):
                            one.sendall(MESSAGE)
                            assert read_exactly(other, len(MESSAGE)) == MESSAGE
                        client.close()
                        assert read_all(server) == b""
                        server.close()
                    else:
                        client.sendall(MESSAGE)
                        assert ending(client) == "ECONNRESET"
                        server.sendall(MESSAGE)
                        assert ending(server) == "ECONNRESET"
                if is_kept:
                    c.check("older", a1, b1)
                    assert c.diverted == [0, 0]
                else:
                    assert not c.clear
                    assert c.one == {("refused", "out", "refused"): len(c.sent(a1, b1, c.at_pod))}
                    assert set(c.two) == {("refused", "out", "refused")}
            meet(a1, b1, PORT + 1)
