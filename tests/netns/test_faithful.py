# SPDX-License-Identifier: GPL-3.0-or-later
"""connect: faithful. A client hears what the server's side says, and nothing before; and what it costs to flood."""

import contextlib
import itertools
import random
import socket
import threading
import time

import pytest

from lib import DEADLINE_S, PLAIN, Shape, finish, wait_for
from mesh import Capture, Mesh, addresses_of, serve
from test_edge_packets import SYN, TCP, ipv4, tcp
from traffic import MESSAGE, ask, echo, outcome, talk

PORT = 8080
FLOOD_SYNS = 20000
FLOOD_BURST = 200  # a processor's queue of packets from virtual devices holds 1,000 (net.core.netdev_max_backlog), the nodes' own among them
FORGED_SYNS = 500

pytestmark = pytest.mark.skipif(PLAIN, reason="no daemon, nothing is held")


@pytest.fixture(scope="module")
def mesh():
    with Mesh(Shape("bridged", "direct", "iptables")) as made:
        yield made


@contextlib.contextmanager
def watching(mesh, pod):
    """What the pod's own capture shows."""
    capture = Capture(mesh, [(pod, "eth0")])
    try:
        yield capture
    finally:
        capture.stop()


def flags_seen(capture, client, server):
    """The TCP flags of what the client saw from the server."""
    return [p.flags for p in capture.packets if p.protocol == "tcp" and (p.source, p.destination) == (server, client)]


def free_port(pod):
    with pod.listen() as listener:
        return listener.getsockname()[1]


def test_a_closed_port_is_refused_and_never_open(mesh, version):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with watching(mesh, a1) as capture:
        assert outcome(a1.connect, b1.address(version), free_port(b1)) == "ECONNREFUSED"
    assert flags_seen(capture, a1.address(version), b1.address(version)) == [0x14]  # one RST, ACK


def test_an_address_that_nobody_has_is_unreachable(mesh, version):
    """The server's node asks its bridge for the address, and nobody answers: its error is the client's."""
    nobody = mesh.net.b1.address(version).rsplit("." if version == 4 else ":", 1)[0] + (".99" if version == 4 else ":99")
    assert outcome(mesh.net.a1.connect, nobody, PORT) == "EHOSTUNREACH"


REJECTIONS = {("unreachable", 4): (3, 3), ("unreachable", 6): (1, 4), ("prohibited", 4): (3, 13), ("prohibited", 6): (1, 1)}


@pytest.mark.parametrize("how", ("unreachable", "prohibited"))
def test_a_rejection_on_the_servers_node_is_its_own_icmp_error(mesh, version, how):
    """Type, code and who says it, as the client's capture would show them without us."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version), how), watching(mesh, a1) as capture:
        outcome(a1.connect, b1.address(version), PORT)
    errors = [(tuple(p.payload[:2]), p.source) for p in capture.packets if p.protocol == "icmp" and p.destination == a1.address(version) and p.payload[0] in (1, 3)]
    assert [error for error, _ in errors] == [REJECTIONS[how, version]]
    assert errors[0][1] in addresses_of(mesh.net.b, mesh.shape)
    assert flags_seen(capture, a1.address(version), b1.address(version)) == []


def test_nothing_of_the_server_is_said_before_it_has_answered(mesh, version):
    """Its answer is held up: the client's SYN has none meanwhile."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    with b1.listen(PORT) as listener:
        with watching(mesh, a1) as capture:
            with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version)):
                waiting = a1.begin(b1.address(version), PORT)
                wait_for(lambda: [s["state"] for s in mesh.two.streams()] == ["dialing"], "the far side to try")
            with finish(waiting) as connection:
                served, _ = listener.accept()
                with served:
                    served.sendall(MESSAGE)
                    assert connection.recv(100) == MESSAGE
        assert flags_seen(capture, a1.address(version), b1.address(version))[0] == 0x12


def test_a_client_that_gives_up_ends_the_attempt(mesh, version):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with b1.listen(PORT) as listener:
        with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version)):
            waiting = a1.begin(b1.address(version), PORT)
            wait_for(lambda: [s["state"] for s in mesh.two.streams()] == ["dialing"], "the far side to try")
            waiting.close()
            wait_for(lambda: not mesh.one.streams() and not mesh.two.streams(), "both sides to give up")
        listener.settimeout(2)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert mesh.one.ended()["client_gone"] >= 1


def test_a_server_that_comes_up_late_is_reached_by_the_same_connect(mesh, version):
    a1, b1 = mesh.net.a1, mesh.net.b1
    before = mesh.one.events()["syns_held"]
    with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version)):
        waiting = a1.begin(b1.address(version), PORT)
        wait_for(lambda: [s["state"] for s in mesh.two.streams()] == ["dialing"], "the far side to try")
        listener = b1.listen(PORT)  # before the far side's next SYN comes through, which would be refused
    with listener:
        thread = serve(listener, echo)
        with finish(waiting) as connection:
            assert ask(connection) == MESSAGE
        thread.join()
    assert mesh.one.events()["syns_held"] == before + 1


def test_its_own_daemon_comes_back_while_it_waits(mesh, version):
    """The SYN that waited is forgotten; the client's kernel sends the next."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version)):
        waiting = a1.begin(b1.address(version), PORT)
        wait_for(lambda: mesh.one.streams(), "the SYN to be held")
        mesh.one.kill()
        mesh.one.start()
        listener = b1.listen(PORT)  # before a SYN of the far side comes through, which would be refused
    with listener:
        thread = serve(listener, echo)
        with finish(waiting) as connection:
            assert ask(connection) == MESSAGE
        thread.join()


def syns(source, destination, count):
    """SYNs from random ports, as a flood has them."""
    ports = random.Random(7).sample(range(1024, 65536), count)
    return [ipv4(source, destination, TCP, tcp(source, destination, SYN, ports=(port, PORT))) for port in ports]


def taken(events):
    return events["syns_held"] + events["syns_unheld"]


@pytest.mark.alone  # a kernel keeps the last ACK back for 200 ms: a daemon that gets no processor for so long is late, hence also preferred()
def test_a_flood_of_one_pod_holds_up_no_other_and_gives_no_server_a_connection(mesh):
    flooder, client, server = mesh.net.a1, mesh.net.a2, mesh.net.b1
    endless = itertools.cycle(syns(flooder.v4, server.v4, FLOOD_SYNS))
    raw = flooder.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    # A flood is not answered: the pod's own kernel would end what its server accepts.
    flooder.run("iptables", "-w", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP")
    took, accepted = [], []

    def flood():
        """As fast as the daemon takes them: what is faster fills a queue that the tunnel's packets go through too, and these are lost. On a busy machine
        they may come so slowly that most find a place, and are no flood: so it goes on until enough have found none."""
        end = time.monotonic() + DEADLINE_S
        events = mesh.one.events()
        while events["syns_unheld"] <= FLOOD_SYNS // 2 and time.monotonic() < end:
            wanted, burst_end = taken(events) + FLOOD_BURST, time.monotonic() + 0.05  # one that is held already is not counted again
            for packet in itertools.islice(endless, FLOOD_BURST):
                outcome(raw.sendto, packet, (server.v4, 0))
            events = mesh.one.events()
            while taken(events) < wanted and time.monotonic() < burst_end:
                events = mesh.one.events()

    with mesh.one.preferred(), mesh.two.preferred(), raw, server.listen(PORT, backlog=1024) as listener:

        def note(connection, peer):
            accepted.append(peer[0].removeprefix("::ffff:"))
            echo(connection, peer)

        stop = threading.Event()
        acceptor = threading.Thread(target=accept_all, args=(listener, note, stop), daemon=True)
        acceptor.start()
        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        while flooding.is_alive():
            with client.connect(server.v4, PORT) as connection:
                assert ask(connection) == MESSAGE
            took.append(client.v4)
        flooding.join()
        wait_for(lambda: not mesh.two.streams(), "the server's side to be rid of the flood")
        stop.set()
        acceptor.join()
    flooder.run("iptables", "-w", "-F", "OUTPUT")
    assert took
    assert accepted.count(client.v4) == len(took)
    assert mesh.one.events()["syns_unheld"] > FLOOD_SYNS // 2
    # What is held asks the server, and its handshake there is never completed.
    assert accepted.count(flooder.v4) == 0
    assert mesh.one.ended()["client_gone"] >= 256


def accept_all(listener, handle, stop):
    listener.settimeout(0.2)
    while not stop.is_set():
        try:
            connection, peer = listener.accept()
        except TimeoutError:
            continue
        threading.Thread(target=lambda c=connection, p=peer: (outcome(handle, c, p), c.close()), daemon=True).start()


def test_who_forges_a_neighbours_address_uses_up_none_of_its_places():
    """Where the network lets a pod send under another's address. The neighbour's connections are held as ever, so that a closed port is refused."""
    with Mesh(Shape("routed")) as mesh:
        forger, neighbour, asked, server = mesh.net.a1, mesh.net.a2, mesh.net.b1, mesh.net.b2
        mesh.net.a.sysctl(**{f"net.ipv4.conf.{forger.veth}.rp_filter": 0})
        stop = threading.Event()
        packets = syns(neighbour.v4, asked.v4, 2 * FORGED_SYNS)

        def forge():
            with forger.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
                for packet in itertools.cycle(packets):
                    outcome(raw.sendto, packet, (asked.v4, 0))
                    if stop.is_set():
                        return

        # What was forged waits for its server, and is more than one pod may have.
        with mesh.net.deny(mesh.net.b, neighbour.v4, asked.v4):
            forging = threading.Thread(target=forge, daemon=True)
            forging.start()
            try:
                wait_for(lambda: mesh.one.events()["syns_unheld"] > FORGED_SYNS, "the forger's places to be used up")
                held = mesh.one.events()["syns_held"]
                for _ in range(16):
                    assert outcome(neighbour.connect, server.v4, free_port(server)) == "ECONNREFUSED"
                    assert talk(neighbour, server, server.v4, echo, ask)[1] == MESSAGE
                assert mesh.one.events()["syns_held"] >= held + 32
            finally:
                stop.set()
                forging.join()


def test_optimistic_says_yes_at_once(mesh):
    client, b1 = mesh.net.a1, mesh.net.b1
    for daemon in mesh.daemons:
        daemon.write_config(capture={"connect": "optimistic"})
        daemon.signal(1)
    wait_for(lambda: all(daemon.status()["connect"] == "optimistic" for daemon in mesh.daemons), "the setting to be in force")
    with mesh.net.deny(mesh.net.b, client.v4, b1.v4):
        with client.connect(b1.v4, PORT):  # nobody answers there
            pass
    for daemon in mesh.daemons:
        daemon.write_config()
        daemon.signal(1)
    wait_for(lambda: all(daemon.status()["connect"] == "faithful" for daemon in mesh.daemons), "the setting to be in force")
    assert outcome(client.connect, b1.v4, free_port(b1)) == "ECONNREFUSED"
