# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections between pods whose ends are watched: text that must not be on the wire, and cuts that must not look like ends."""

import selectors
import socket
import threading
import time

from lib import DEADLINE_S, Failure, wait_for
from mesh import read_all, serve

MARKER = b"secret-of-the-pods-that-nobody-else-may-read;"
BLOCK = MARKER * 400
PORTS = iter(range(9000, 9999))


def connected(client, server, version=4):
    """Two ends of a new connection between pods."""
    with server.listen(next(PORTS)) as listener:
        here = client.connect(server.address(version), listener.getsockname()[1])
        listener.settimeout(DEADLINE_S)
        there, _ = listener.accept()
    return here, there


def is_connected(s):
    try:
        s.getpeername()
    except OSError:
        return False
    return True


def is_connecting(s):
    """Neither connected nor refused nor given up."""
    return not is_connected(s) and s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def is_served(s, listener):
    """That a connection from begin() comes to its server, and carries bytes both ways, whole."""
    echo = serve(listener, lambda c, a: c.sendall(read_all(c)))
    s.settimeout(DEADLINE_S)
    wait_for(lambda: is_connected(s), "the connection to be made")
    s.sendall(BLOCK)
    s.shutdown(socket.SHUT_WR)
    assert read_all(s) == BLOCK
    echo.join()
    s.close()


class Flows:
    """Connections that carry bytes both ways all the time, until they are reset. One thread, so that the first error of a socket is seen where it can not be missed."""

    def __init__(self, mesh, count=2):
        net, self.ends, self.received = mesh.net, {}, {}
        self._selector, self._stop = selectors.DefaultSelector(), False
        pairs = {f"{client.veth} of {client.host.node_name}, IPv{version}, {n}": connected(client, server, version)
                 for client, server in ((net.a1, net.b1), (net.b2, net.a2)) for version in (4, 6) for n in range(count)}
        for name, pair in pairs.items():
            for side, s in zip(("client", "server"), pair):
                s.setblocking(False)
                self.received[f"{name}, {side}"] = 0
                self._selector.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE, (f"{name}, {side}", [0]))
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        while self._selector.get_map() and not self._stop:
            for key, events in self._selector.select(0.1):
                name, sent = key.data
                try:
                    if events & selectors.EVENT_READ:
                        self._read(name, key.fileobj)
                    if events & selectors.EVENT_WRITE and name not in self.ends:
                        at = sent[0] % len(MARKER)
                        sent[0] += key.fileobj.send(BLOCK[at:])
                except BlockingIOError:
                    pass
                except OSError as error:
                    self.ends[name] = type(error).__name__
                if name in self.ends:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
            time.sleep(0.002)  # enough traffic for a test, and cores left for the daemons

    def _read(self, name, s):
        data = s.recv(len(BLOCK))
        at = self.received[name] % len(MARKER)
        if not data:
            self.ends[name] = "a clean end"
        elif data != (MARKER + BLOCK)[at:at + len(data)]:
            self.ends[name] = "wrong bytes"
        self.received[name] += len(data)

    def wait_moving(self, more=len(BLOCK)):
        """Until every end has received so much more."""
        before = dict(self.received)
        wait_for(lambda: all(self.received[name] >= before[name] + more for name in before), lambda: f"traffic on all: {self.received} {self.ends}")

    def assert_all_reset(self):
        self._thread.join(DEADLINE_S)
        if self._thread.is_alive():
            raise Failure(f"still open: {set(self.received) - set(self.ends)}")
        bad = {name: end for name, end in self.ends.items() if end not in ("ConnectionResetError", "BrokenPipeError")}
        assert not bad, bad

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop = True
        self._thread.join(DEADLINE_S)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
