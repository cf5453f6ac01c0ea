# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that carry as much as they can."""

import contextlib
import hashlib
import random
import socket
import threading

from lib import DEADLINE_S, Failure, wait_for


class Load:
    """One direction of a stream: sends as fast as it can until told to stop; the bytes of both ends are compared."""

    def __init__(self, sender, receiver, seed):
        self.sender, self.receiver = sender, receiver
        self.received = 0
        self.sums = {}
        self._stop = threading.Event()
        self._random = random.Random(seed)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self):
        digest = hashlib.sha256()
        block = self._random.randbytes(1 << 16)
        number = 0
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                piece = block[: 1 + number * 4099 % len(block)] + number.to_bytes(8, "big")
                self.sender.sendall(piece)
                digest.update(piece)
                number += 1
            self.sender.shutdown(socket.SHUT_WR)
            self.sums["sent"] = digest.hexdigest()

    def _receive(self):
        digest = hashlib.sha256()
        with contextlib.suppress(OSError):
            while piece := self.receiver.recv(1 << 16):
                digest.update(piece)
                self.received += len(piece)
            self.sums["received"] = digest.hexdigest()

    def wait_more(self, length=4 << 20):
        """Until so many more bytes have arrived."""
        goal = self.received + length
        wait_for(lambda: self.received >= goal or len(self.sums) == 2, lambda: f"{goal - self.received} more bytes")
        assert self.received >= goal, "the stream has ended"

    def finish(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
            if thread.is_alive():
                raise Failure("the stream did not come to its end")
        assert self.sums["sent"] == self.sums["received"]


def open_pair(client, server, version, stack):
    """Both ends of a connection that has carried a byte."""
    with server.listen(address=server.address(version)) as listener:
        here = stack.enter_context(client.connect(server.address(version), listener.getsockname()[1]))
        here.sendall(b"x")
        there = stack.enter_context(listener.accept()[0])
    there.settimeout(DEADLINE_S)
    assert there.recv(1) == b"x"
    return here, there
