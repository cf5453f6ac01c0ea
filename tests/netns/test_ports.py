# SPDX-License-Identifier: GPL-3.0-or-later
"""Source ports belong to the pod: any may be used, below 1024 too, again and again, and by two pods at once."""

import contextlib
import socket
import threading

import pytest

from lib import PLAIN, Shape, wait_for
from mesh import Mesh
from traffic import ending, outcome, read_exactly, reset

PORT = 8080
AGAIN = 20  # times that one source port is used in a row


@pytest.fixture(scope="module")
def mesh():
    with Mesh(Shape("routed", "direct", "iptables")) as made:
        yield made


class Server:
    """Echoes one message a connection; then it waits for the client to end it, or ends it itself. Notes the ports that came."""

    def __init__(self, pod, ends_first=False):
        self.ports, self.failures, self._ends_first, self._listener = [], [], ends_first, pod.listen(PORT)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self.ports.append(peer[1])
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.sendall(connection.recv(100))
            if self._ends_first:
                connection.shutdown(socket.SHUT_WR)
            ending(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def connect(client, address, source_port, port=PORT):
    """Waits where the client's own kernel still holds the port by the connection before, as it does without us."""

    def attempt():
        made = outcome(client.connect, address, port, source_port)
        if made in ("EADDRNOTAVAIL", "EADDRINUSE"):
            return None
        assert not isinstance(made, str), made
        return made

    return wait_for(attempt, f"port {source_port} to be free in the client pod")


def echoes(connection, text=b"hello"):
    connection.sendall(text)
    return read_exactly(connection, len(text)) == text


@pytest.mark.parametrize("source_port", (1, 22, 700, 1023))
def test_a_client_may_use_a_port_below_1024(mesh, version, source_port):
    with Server(mesh.net.b1) as server, connect(mesh.net.a1, mesh.net.b1.address(version), source_port) as connection:
        assert echoes(connection)
        assert server.ports == [source_port]


@pytest.mark.parametrize("timestamps", (1, 0), ids=("timestamps", "plain"))
@pytest.mark.parametrize("order", ("client", "server", "reset"))
def test_a_source_port_is_used_again_at_once(mesh, version, order, timestamps):
    """Also towards a server pod without TCP timestamps, where TIME_WAIT of ours would stand in the way for a minute."""
    client, pod = mesh.net.a2, mesh.net.b2
    if PLAIN and order == "client" and timestamps == 0:
        pytest.skip("the client's own kernel keeps the port for a minute")  # it takes it again by timestamps only; with us it has them
    source_port = 20000 + 100 * version + 10 * ("client", "server", "reset").index(order) + timestamps
    pod.sysctl(**{"net.ipv4.tcp_timestamps": timestamps})
    try:
        with Server(pod, ends_first=order == "server") as server:
            for _ in range(AGAIN):
                with connect(client, pod.address(version), source_port) as connection:
                    assert echoes(connection)
                    if order == "server":
                        assert ending(connection) == "end"
                    elif order == "reset":
                        reset(connection)
            assert server.ports == [source_port] * AGAIN
    finally:
        pod.sysctl(**{"net.ipv4.tcp_timestamps": 1})


def test_two_pods_use_the_same_source_port_to_one_server(mesh, version):
    address = mesh.net.b1.address(version)
    with Server(mesh.net.b1) as server, connect(mesh.net.a1, address, 30001) as first, connect(mesh.net.a2, address, 30001) as second:
        assert echoes(first, b"first") and echoes(second, b"second")
        assert server.ports == [30001, 30001]


def test_one_source_port_to_two_servers_at_once(mesh, version):
    with Server(mesh.net.b1) as first_server, Server(mesh.net.b2) as second_server:
        with connect(mesh.net.a1, mesh.net.b1.address(version), 30002) as first, connect(mesh.net.a1, mesh.net.b2.address(version), 30002) as second:
            assert echoes(first, b"first") and echoes(second, b"second")
            assert first_server.ports == second_server.ports == [30002]


def test_one_source_port_to_a_pod_and_to_its_service_at_once(mesh, version):
    """To the server both would be the same connection: conntrack gives one of them another port, and both work."""
    service = "10.96.0.11" if version == 4 else "fd96::11"
    with Server(mesh.net.b1) as server:
        with connect(mesh.net.a1, mesh.net.b1.address(version), 30003) as first, connect(mesh.net.a1, service, 30003, 80) as second:
            assert echoes(first, b"first") and echoes(second, b"second")
            assert len(server.ports) == len(set(server.ports)) == 2 and 30003 in server.ports


def test_a_connection_to_and_from_the_same_port_numbers_both_ways_at_once(mesh, version):
    with Server(mesh.net.a1), Server(mesh.net.b1):
        with connect(mesh.net.a1, mesh.net.b1.address(version), 30004) as there, connect(mesh.net.b1, mesh.net.a1.address(version), 30004) as back:
            assert echoes(there, b"there") and echoes(back, b"back")
