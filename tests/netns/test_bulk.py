# SPDX-License-Identifier: GPL-3.0-or-later
"""Promise 4: every byte arrives once and in order, both ways at once, also when there are many."""

import contextlib
import hashlib
import random
import socket
import threading

import pytest

from lib import DEADLINE_S, Failure
from mesh import Mesh

BLOCK = 1 << 20


@pytest.fixture(scope="module")
def mesh():
    with Mesh() as m:
        yield m


class Way:
    """One direction of a connection: so many bytes in blocks that all differ, then the end."""

    def __init__(self, source, sink, total, seed):
        self._sums = {}
        block = random.Random(seed).randbytes(BLOCK)
        self._threads = [threading.Thread(target=self._guard, args=(work,), daemon=True) for work in (lambda: self._send(source, block, total), lambda: self._read(sink))]
        self.received = 0
        for thread in self._threads:
            thread.start()

    def _guard(self, work):
        try:
            work()
        except OSError as failure:
            self._sums[threading.get_ident()] = failure

    def _send(self, source, block, total):
        digest = hashlib.sha256()
        block = bytearray(block)
        for number in range(total // BLOCK):
            block[:8] = number.to_bytes(8, "big")
            digest.update(block)
            source.sendall(block)
        source.shutdown(socket.SHUT_WR)
        self._sums["sent"] = digest.hexdigest()

    def _read(self, sink):
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(BLOCK))
        while length := sink.recv_into(buffer):
            digest.update(buffer[:length])
            self.received += length
        self._sums["received"] = digest.hexdigest()

    def check(self, total):
        for thread in self._threads:
            thread.join(10 * DEADLINE_S)
            if thread.is_alive():
                raise Failure(f"not at its end after {self.received} of {total} bytes")
        assert self.received == total, self._sums
        assert self._sums["sent"] == self._sums["received"]


def copy_both_ways(mesh, ends, total):
    """ends: (client pod, server pod, IP version) for each connection. All of them at once, so many bytes each way."""
    with contextlib.ExitStack() as stack:
        ways = []
        for number, (client, server, version) in enumerate(ends):
            with server.listen(address=server.address(version)) as listener:
                here = stack.enter_context(client.connect(server.address(version), listener.getsockname()[1]))
                there = stack.enter_context(listener.accept()[0])
            here.settimeout(DEADLINE_S)
            there.settimeout(DEADLINE_S)
            ways += [Way(here, there, total, 2 * number), Way(there, here, total, 2 * number + 1)]
        for way in ways:
            way.check(total)


def carried(mesh):
    status = mesh.one.status()
    return status["sent_bytes"], status["received_bytes"]


@pytest.mark.parametrize("version, total, connections", [pytest.param(4, 1 << 30, 1, id="1GB", marks=pytest.mark.long), pytest.param(6, 64 << 20, 1, id="64MB-ipv6"),
                                                         pytest.param(4, 32 << 20, 8, id="8x32MB")])
def test_equal_checksums_both_ways_at_once(mesh, version, total, connections):
    a1, a2, b1, b2 = mesh.net.a1, mesh.net.a2, mesh.net.b1, mesh.net.b2
    before = carried(mesh)
    choices = [(a1, b1, version), (b1, a2, version), (a2, b2, version), (b2, a1, version)]
    copy_both_ways(mesh, [choices[number % 4] for number in range(connections)], total)
    assert [now - then for now, then in zip(carried(mesh), before)] == [total * connections] * 2
    assert set(mesh.one.ended()) | set(mesh.two.ended()) == {"finished"}
