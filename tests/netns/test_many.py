# SPDX-License-Identifier: GPL-3.0-or-later
"""Very many connections, and the same ports again and again: all are answered, all are closed, and nothing is left of them."""

import contextlib
import resource
import selectors
import socket
import threading

import pytest

from lib import DEADLINE_S, wait_for
from mesh import Mesh, read_all, serve
from traffic import ending, outcome, read_exactly, reset

PORT = 8080
AT_ONCE = 5000


@pytest.fixture(scope="module")
def mesh():
    most = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4 * AT_ONCE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Mesh() as m:
        yield m


def nothing_left(mesh):
    for daemon in mesh.daemons:
        wait_for(lambda: not daemon.status()["streams_open"] and not daemon.streams(), lambda: f"{daemon.status()['streams_open']} streams to be gone")
        memory = daemon.status()["memory"]
        assert (memory["granted_bytes"], memory["buffered_bytes"]) == (0, 0)
        assert set(daemon.ended()) <= {"finished", "pod_reset"}, daemon.ended()


class Echo:
    """Answers every connection of its listeners, in one thread, and counts them: at its end each was closed."""

    def __init__(self, *listeners):
        self.taken = self.closed = 0
        self._selector = selectors.DefaultSelector()
        self._stop, self._wake = socket.socketpair()
        self._selector.register(self._stop, selectors.EVENT_READ)
        for listener in listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _accept(self, listener):
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                self._selector.register(connection, selectors.EVENT_READ, self._answer)
                self.taken += 1

    def _answer(self, connection):
        with contextlib.suppress(ConnectionResetError):
            data = connection.recv(1 << 16)
            if data:
                connection.sendall(data)
                return
        self._selector.unregister(connection)
        connection.close()
        self.closed += 1

    def stop(self):
        self._wake.send(b"x")
        self._thread.join()
        self._stop.close()
        self._wake.close()


def test_5000_connections_at_once(mesh):
    net = mesh.net
    ways = [(net.a1, net.b1, 4), (net.a2, net.b1, 6), (net.b2, net.a1, 4), (net.b1, net.a2, 6)]
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(pod.listen(PORT, backlog=AT_ONCE)) for pod in (net.a1, net.a2, net.b1)]
        echo = Echo(*listeners)
        clients = []
        for number in range(AT_ONCE):
            client, server, version = ways[number % len(ways)]
            clients.append(stack.enter_context(client.connect(server.address(version), PORT)))
        for number, client in enumerate(clients):
            client.sendall(b"question %d" % number)
        for number, client in enumerate(clients):
            question = b"question %d" % number
            assert read_exactly(client, len(question)) == question
        assert echo.taken == AT_ONCE
        for daemon in mesh.daemons:
            assert daemon.status()["streams_open"] == AT_ONCE
            assert daemon.show("streams", "--limit", AT_ONCE)["total"] == AT_ONCE
        for client in clients:
            client.shutdown(socket.SHUT_WR)
        for client in clients:
            assert ending(client) == "end"
        wait_for(lambda: echo.closed == AT_ONCE, lambda: f"{AT_ONCE - echo.closed} connections to be closed")
        echo.stop()
    nothing_left(mesh)


def test_2000_connections_one_after_another_from_few_ports(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    before = mesh.one.status()["streams_total"]
    a1.sysctl(**{"net.ipv4.ip_local_port_range": "40000 40499"})
    ports = set()
    try:
        with b1.listen(PORT) as listener:
            server = serve(listener, lambda c, a: c.sendall(c.recv(100)), count=2000)  # closes first, so that no client keeps its port
            for number in range(2000):
                with a1.connect((b1.v4, b1.v6)[number % 2], PORT) as client:
                    ports.add(client.getsockname()[1])
                    question = b"question %d" % number
                    client.sendall(question)
                    assert read_all(client) == question
            server.join()
    finally:
        a1.sysctl(**{"net.ipv4.ip_local_port_range": "32768 60999"})
    assert len(ports) <= 500
    assert mesh.one.status()["streams_total"] - before == 2000
    nothing_left(mesh)


def close_client_first(client, server):
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b""
    server.close()
    assert read_all(client) == b""
    client.close()


def close_server_first(client, server):
    close_client_first(server, client)


def close_by_reset(client, server):
    reset(client)
    assert ending(server) == "ECONNRESET"
    server.close()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("close", [close_client_first, close_server_first, close_by_reset])
def test_one_source_port_30_times_at_once_after_the_close(mesh, close, version):
    a1, b1 = mesh.net.a1, mesh.net.b1
    # The client's own kernel keeps the port of who closes first; told so, it gives it away at once.
    a1.sysctl(**{"net.ipv4.tcp_tw_reuse": 1, "net.ipv4.tcp_tw_reuse_delay": 1})
    with a1.inside():
        quick = close is not close_client_first or _has_reuse_delay()
    if not quick:
        pytest.skip("this kernel keeps a client's port for at least a second")
    with b1.listen(PORT, address=b1.address(version)) as listener:
        listener.settimeout(DEADLINE_S)
        for number in range(30):
            client = a1.connect(b1.address(version), PORT, source_port=40123)
            client.sendall(b"%02d" % number)
            server, peer = listener.accept()
            server.settimeout(DEADLINE_S)
            assert read_exactly(server, 2) == b"%02d" % number
            assert peer[1] == 40123
            server.sendall(b"yes")
            assert read_exactly(client, 3) == b"yes"
            close(client, server)
    nothing_left(mesh)


def _has_reuse_delay():
    return outcome(open, "/proc/sys/net/ipv4/tcp_tw_reuse_delay") != "ENOENT"
