# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams that carry as much as they can."""

import contextlib
import hashlib
import random
import socket
import subprocess
import threading

from lib import DEADLINE_S, Failure, wait_for


@contextlib.contextmanager
def sink(pod, port):
    """An iperf3 that takes what a client of it sends. It listens."""
    server = pod.popen("iperf3", "-s", "-p", port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: pod.run("ss", "-Hltn", f"sport = {port}").stdout, "iperf3 to listen")
        yield
    finally:
        server.kill()
        server.wait()


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


class Stuck:
    """A writer whose reader does not read until told to. The length is more than all buffers and windows on the way take of a reader that never read."""

    PERIOD = 999_983  # what is written repeats itself so; no buffer has such a length

    def __init__(self, writer, reader, seed=0, length=16 << 20):
        self._reader, self.length = reader, length
        self._block = random.Random(seed).randbytes(self.PERIOD)
        self.written = 0
        self._thread = threading.Thread(target=self._write, args=(writer,), daemon=True)
        self._thread.start()

    def _write(self, writer):
        view = memoryview(self._block)
        writer.settimeout(None)
        with contextlib.suppress(OSError):
            while self.written < self.length:
                at = self.written % self.PERIOD
                self.written += writer.send(view[at:at + min(1 << 16, self.length - self.written)])
            writer.shutdown(socket.SHUT_WR)

    def read(self):
        """All of it arrives."""
        at = 0
        while piece := self._reader.recv(1 << 18):
            here = at % self.PERIOD
            assert piece == (self._block[here:here + len(piece)] + self._block)[:len(piece)], f"other bytes after {at}"
            at += len(piece)
        self._thread.join(DEADLINE_S)
        assert at == self.written == self.length


def wait_stuck(stuck):
    """Until none of them gets a byte further."""
    last = [None]

    def stands():
        now = [s.written for s in stuck]
        stood, last[0] = now == last[0], now
        return stood

    wait_for(stands, "the streams to stand still", interval=0.3)
    assert all(0 < s.written < s.length for s in stuck), [s.written for s in stuck]


def open_pair(client, server, version, stack):
    """Both ends of a connection that has carried a byte."""
    with server.listen(address=server.address(version)) as listener:
        here = stack.enter_context(client.connect(server.address(version), listener.getsockname()[1]))
        here.sendall(b"x")
        there = stack.enter_context(listener.accept()[0])
    there.settimeout(DEADLINE_S)
    assert there.recv(1) == b"x"
    return here, there
