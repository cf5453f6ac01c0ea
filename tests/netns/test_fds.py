# SPDX-License-Identifier: GPL-3.0-or-later
"""No file descriptors left: accepting pauses and says so, running streams go on, and who waited is served as soon as there is room."""

import contextlib
import os
import select
import selectors
import socket
import threading

import pytest

from lib import DEADLINE_S, finish, wait_for
from mesh import Mesh

MESSAGE = b"is anybody there?"
SPARE = 24  # descriptors for streams, beyond what a daemon with a tunnel has open
MANY = 60


@pytest.fixture(scope="module")
def shared():
    with Mesh() as m:
        yield m


class Echo:
    """Sends back what comes on each of many connections."""

    def __init__(self, pod):
        self._selector = selectors.DefaultSelector()
        self._listener = pod.listen()
        self.port = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stop = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        while not self._stop:
            for key, _ in self._selector.select(0.1):
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._selector.register(connection, selectors.EVENT_READ)
                    continue
                data = b""
                with contextlib.suppress(OSError):
                    data = key.fileobj.recv(65536)
                    key.fileobj.sendall(data)
                if not data:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop = True
        self._thread.join(DEADLINE_S)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()


def ask(connection):
    connection.sendall(MESSAGE)
    assert connection.recv(len(MESSAGE), socket.MSG_WAITALL) == MESSAGE


def limited(shared, daemon):
    """The daemon anew, with room for a few streams beside its tunnel."""
    shared.reset()
    with Echo(shared.net.b1) as echo, shared.net.a1.connect(shared.net.b1.v4, echo.port) as connection:
        ask(connection)
        usual = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
    daemon.kill()
    daemon.start(limit_files=usual + SPARE)


@pytest.mark.long
def test_accepting_pauses_running_streams_go_on_and_who_waits_is_served_when_others_have_gone(shared):
    one, net = shared.one, shared.net
    limited(shared, one)
    with Echo(net.b1) as echo, contextlib.ExitStack() as stack:
        running = stack.enter_context(net.a1.connect(net.b1.v4, echo.port))
        ask(running)
        others = [stack.enter_context(net.a1.connect(net.b1.v4, echo.port)) for _ in range(MANY)]
        one.wait_log("no more connections for now: raise the limit of open files")
        line = next(line for line in one.log().splitlines() if "no more connections" in line)
        assert "level=warn" in line and "Too many open files" in line
        for _ in range(10):
            ask(running)
        for connection in others:  # the first ones have a stream; each that goes makes room for one that waits
            ask(connection)
            connection.close()
        ask(running)
        with net.a1.connect(net.b1.v4, echo.port) as late:
            ask(late)
        assert one.events()["accept_pauses"] >= 1
        assert set(one.ended()) <= {"finished"}, one.ended()


def test_a_node_without_descriptors_takes_its_peers_streams_when_others_have_gone(shared):
    """The clients hear nothing meanwhile, as from a server that is too busy to answer, and their kernels try again."""
    one, two, net = shared.one, shared.two, shared.net
    limited(shared, two)
    with Echo(net.b1) as echo, contextlib.ExitStack() as stack:
        running = stack.enter_context(net.a1.connect(net.b1.v4, echo.port))
        ask(running)
        tunnels = one.events()["tunnels_opened"]
        waiting = [stack.enter_context(net.a1.begin(net.b1.v4, echo.port)) for _ in range(MANY)]
        wait_for(lambda: one.ended().get("no_resources", 0) >= MANY - SPARE, "streams to be refused")
        connected = select.select([], waiting, [], 0)[1]
        assert SPARE // 2 <= len(connected) <= SPARE
        ask(running)
        while waiting:  # each that goes makes room for one that waits
            ready = select.select([], waiting, [], DEADLINE_S)[1]
            assert ready, f"{len(waiting)} clients are still waiting"
            for connection in ready:
                with finish(connection):
                    ask(connection)
                waiting.remove(connection)
        ask(running)
        assert one.events()["tunnels_opened"] == tunnels, "one tunnel carried all of it"
