# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes that are enrolled while their pods talk, with a real API server: what began before lives on, what begins meanwhile is never refused, what
begins afterwards is encrypted; and what ends a pair, and what does not."""

import contextlib
import socket
import threading

import pytest

from kubemesh import KubeMesh
from lib import wait_for
from traffic import read_exactly

PORT = 9000
BEFORE, WHILE, AFTER = b"said before both were enrolled", b"said while they joined", b"said when they had joined"


@contextlib.contextmanager
def echoes(*pods):
    """A server on each pod that says back what it hears, to as many as come."""
    listeners = [pod.listen(PORT) for pod in pods]

    def answer(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept(listener):
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    for listener in listeners:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
    try:
        yield
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def say(connection, text):
    connection.sendall(text)
    assert read_exactly(connection, len(text)) == text


class Callers:
    """New connections, one after the other, both ways, until the end; each must be answered."""

    def __init__(self, *ways):
        self.done, self.failures, self._is_over = [0] * len(ways), [], threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(i, *way), daemon=True) for i, way in enumerate(ways)]
        for thread in self._threads:
            thread.start()

    def _call(self, i, client, server):
        try:
            while not self._is_over.wait(0.02):
                with client.connect(server.v4, PORT) as connection:
                    say(connection, WHILE)
                self.done[i] += 1
        except (OSError, AssertionError) as failure:
            self.failures.append((client.name, server.name, self.done[i], failure))

    def end(self):
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures
        assert all(self.done), self.done

    def went_on(self, count=5):
        """Some more have come through."""
        goals = [done + count for done in self.done]
        wait_for(lambda: self.failures or all(done >= goal for done, goal in zip(self.done, goals)), lambda: f"connections: {self.done}")
        assert not self.failures


def pair_of(daemon, other):
    peer = daemon.peers().get(other, {})
    return peer.get("pair"), peer.get("pair_there")


def wait_joined(mesh):
    for daemon, other in ((mesh.one, "node2"), (mesh.two, "node1")):
        wait_for(lambda: pair_of(daemon, other) == ("joined", "joined"), lambda: f"{daemon.host.node_name}: {daemon.peers()}\n{daemon.log()[-2000:]}")


def refused(mesh):
    return {key: count for daemon in mesh.daemons for key, count in daemon.counters().items() if key[2] == "refused"}


def counted(daemon, name):
    return sum(count for key, count in daemon.counters().items() if key[0] == name)


@pytest.fixture
def mesh(plane):
    with KubeMesh(plane, start=False) as made:
        made.one.start(wait=False)
        made.one.wait_ready()
        yield made


def test_a_pair_joins_under_way(mesh):
    a, b = mesh.net.a1, mesh.net.b1
    with echoes(a, b), a.connect(b.v4, PORT) as out, b.connect(a.v4, PORT) as back:
        for connection in (out, back):
            say(connection, BEFORE)
        assert pair_of(mesh.one, "node2")[0] == "not enrolled"
        assert counted(mesh.one, "not_enrolled") > 0
        callers = Callers((a, b), (b, a))
        callers.went_on()
        mesh.two.start(wait=False)
        mesh.two.wait_ready()
        mesh.wait_enrolled()
        wait_joined(mesh)
        callers.went_on()
        callers.end()
        for connection in (out, back):
            say(connection, BEFORE)
        assert not refused(mesh)
        for daemon in mesh.daemons:
            assert counted(daemon, "older") > 0 and counted(daemon, "tunnel") > 0
        with mesh.capture() as capture, a.connect(b.v4, PORT) as new, b.connect(a.v4, PORT) as other:
            for connection in (new, other):
                say(connection, AFTER)
        assert capture.tunnel and not capture.leaked and not capture.holds(AFTER)

        # A daemon that dies and comes back finds its pair as it was; the connections from before never notice.
        before = [counted(daemon, "joining") for daemon in mesh.daemons]
        mesh.one.kill()
        for connection in (out, back):
            say(connection, BEFORE)
        mesh.one.start(wait=False)
        mesh.one.wait_ready()
        wait_joined(mesh)
        with a.connect(b.v4, PORT) as new:
            say(new, AFTER)
        assert [counted(daemon, "joining") for daemon in mesh.daemons] == before


def test_a_node_that_is_taken_out_keeps_its_streams_and_joins_again(mesh):
    a, b = mesh.net.a1, mesh.net.b1
    mesh.two.start(wait=False)
    mesh.two.wait_ready()
    mesh.wait_enrolled()
    with echoes(a, b):
        callers = Callers((a, b), (b, a))
        wait_joined(mesh)
        with a.connect(b.v4, PORT) as stream:
            say(stream, AFTER)
            mesh.api.patch("v1", "nodes", "node2", {"metadata": {"annotations": {"culvert.dev/enrolled": "false"}}})
            for daemon, other in ((mesh.one, "node2"), (mesh.two, "node1")):
                wait_for(lambda: pair_of(daemon, other)[0] == "not enrolled", lambda: f"{daemon.host.node_name}: {daemon.peers()}")
            callers.went_on()
            say(stream, AFTER)
            plain = counted(mesh.one, "not_enrolled")
            assert plain > 0
            with a.connect(b.v4, PORT) as older:
                say(older, BEFORE)
                mesh.api.patch("v1", "nodes", "node2", {"metadata": {"annotations": {"culvert.dev/enrolled": None}}})
                mesh.wait_enrolled()
                wait_joined(mesh)
                callers.went_on()
                say(older, BEFORE)
                say(stream, AFTER)
        callers.end()
        with mesh.capture() as capture, a.connect(b.v4, PORT) as new:
            say(new, AFTER)
        assert capture.tunnel and not capture.leaked
