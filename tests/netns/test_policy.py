# SPDX-License-Identifier: GPL-3.0-or-later
"""NetworkPolicies work on both nodes: by the pods' real addresses, before a byte arrives, with the errors that a pod would get anyway."""

import threading

import pytest

from lib import PLAIN, Shape, wait_for
from mesh import Mesh
from traffic import WhoAmI, ending, outcome, read_exactly, who

SHAPES = [Shape("routed", "direct", "iptables"), Shape("bridged", "vxlan", "nft"), Shape("routed", "direct", "legacy")]
PORT = 8080


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def mesh(request):
    with Mesh(request.param) as made:
        yield made


class Doorman:
    """A server in b1 that notes who came, and sends back what it reads."""

    def __init__(self, pod):
        self.seen, self._listener, self._open = [], pod.listen(PORT), []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self.seen.append(peer[0].removeprefix("::ffff:"))
            self._open.append(connection)
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection):
        while isinstance(piece := outcome(connection.recv, 4096), bytes) and piece:
            outcome(connection.sendall, piece)

    def close(self):
        self._listener.shutdown(2)
        self._listener.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def doorman(mesh):
    made = Doorman(mesh.net.b1)
    yield made
    made.close()


def in_background(act, *arguments):
    """Begins a call that may take as long as TCP retries; .result() waits for what it came to."""
    said = []
    thread = threading.Thread(target=lambda: said.append(outcome(act, *arguments)), daemon=True)
    thread.start()
    thread.result = lambda: wait_for(lambda: said, "a connection that was held up")[0]
    return thread


def says(connection, text):
    connection.sendall(text)
    return read_exactly(connection, len(text))


def allowed_pod_is_served(mesh, version, doorman):
    with mesh.net.a1.connect(mesh.net.b1.address(version), PORT) as connection:
        assert says(connection, b"allowed") == b"allowed"


@pytest.mark.parametrize("where", ("a", "b"))
def test_a_pod_that_is_denied_is_never_seen_and_comes_in_when_the_policy_goes(mesh, version, doorman, where):
    client, server = mesh.net.a2, mesh.net.b1
    with mesh.net.deny(mesh.net.pod(where), client.address(version), server.address(version)):
        waiting = in_background(lambda: client.connect(server.address(version), PORT))
        for _ in range(5):
            allowed_pod_is_served(mesh, version, doorman)
        assert set(doorman.seen) == {mesh.net.a1.address(version)}
    with waiting.result() as connection:  # TCP tries again
        assert says(connection, b"now") == b"now"
    assert client.address(version) in doorman.seen


NATIVE = {("reset", 4): "ECONNREFUSED", ("reset", 6): "ECONNREFUSED", ("unreachable", 4): "ECONNREFUSED", ("unreachable", 6): "ECONNREFUSED",
          ("prohibited", 4): "EHOSTUNREACH", ("prohibited", 6): "EACCES"}


@pytest.mark.parametrize("how", ("reset", "unreachable", "prohibited"))
def test_a_rejection_on_the_clients_node_is_the_error_that_it_always_was(mesh, version, doorman, how):
    client, server = mesh.net.a2, mesh.net.b1
    with mesh.net.deny(mesh.net.a, client.address(version), server.address(version), how):
        assert outcome(client.connect, server.address(version), PORT) == NATIVE[how, version]
        allowed_pod_is_served(mesh, version, doorman)
    assert client.address(version) not in doorman.seen


@pytest.mark.parametrize("how", ("reset", "unreachable", "prohibited"))
def test_a_rejection_on_the_servers_node_is_the_error_that_it_always_was(mesh, version, doorman, how):
    client, server = mesh.net.a2, mesh.net.b1
    with mesh.net.deny(mesh.net.b, client.address(version), server.address(version), how):
        assert outcome(client.connect, server.address(version), PORT) == NATIVE[how, version]
        allowed_pod_is_served(mesh, version, doorman)
    assert client.address(version) not in doorman.seen


@pytest.mark.parametrize("where", ("a", "b"))
def test_a_policy_holds_up_a_connection_that_is_open_already(mesh, version, doorman, where):
    client, server = mesh.net.a2, mesh.net.b1
    with client.connect(server.address(version), PORT) as connection:
        assert says(connection, b"before") == b"before"
        with mesh.net.deny(mesh.net.pod(where), client.address(version), server.address(version)):
            connection.sendall(b"meanwhile")
            for _ in range(5):
                allowed_pod_is_served(mesh, version, doorman)
            connection.setblocking(False)
            assert outcome(connection.recv, 100) == "EAGAIN"
        connection.settimeout(60)
        assert read_exactly(connection, len(b"meanwhile")) == b"meanwhile"


def test_a_policy_sees_the_real_address_behind_a_service(mesh, version):
    """Denied by the pod's address, although it asked for the Service's."""
    client, server, service = mesh.net.a2, mesh.net.b1, "10.96.0.11" if version == 4 else "fd96::11"
    with WhoAmI(PORT, b1=server):
        (pod, seen, _), _ = who(client, service, 80)
        assert (pod, seen) == ("b1", client.address(version))
        with mesh.net.deny(mesh.net.b, client.address(version), server.address(version), "reset"):
            connection = outcome(client.connect, service, 80)
            assert connection in ("ECONNREFUSED", "ECONNRESET") or ending(connection) == "ECONNRESET"
        (pod, _, _), _ = who(client, service, 80)
        assert pod == "b1"


@pytest.mark.skipif(PLAIN, reason="no daemon, no counters")
def test_what_a_policy_refuses_is_never_sent_in_the_clear_instead(mesh):
    for daemon in mesh.daemons:
        assert not [key for key in daemon.counters() if key[0] in ("older", "permissive", "unknown", "not_enrolled", "bypass")]
