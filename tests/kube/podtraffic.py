# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections between pods that never rest, and what became of each.

    with Traffic([(client, server), ...]) as traffic:     # networks of pods; from each to each: one stream that lives, and short ones in a row
        traffic.wait_for_more()                           # each way has carried both kinds since the call
    traffic.tally                                         # Tally(opened=..., finished=..., lost=..., ...)
"""

import collections
import contextlib
import os
import socket
import threading

from lib import DEADLINE_S, wait_for

PORT = 9000
MESSAGE_BYTES = 1000
PAUSE_S = 0.05  # between two messages


class Lost(Exception):
    """How a connection was lost."""


class Traffic:
    def __init__(self, pairs):
        self.tally = collections.Counter()
        self.wrong = []  # bytes that were not those that were sent
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._listeners, self._threads = [], []
        self._carried = collections.Counter()
        self._ways = [(way, kind) for way in range(len(pairs)) for kind in ("long", "short")]
        for server in {id(server): server for _, server in pairs}.values():
            listener = server.listen(PORT)
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        for way, kind in self._ways:
            thread = threading.Thread(target=self._run, args=(way, kind, *pairs[way]), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._echo, args=(listener.accept()[0],), daemon=True).start()

    @staticmethod
    def _echo(connection):
        with connection, contextlib.suppress(OSError):
            while piece := connection.recv(1 << 16):
                connection.sendall(piece)

    def _count(self, what):
        with self._lock:
            self.tally[what] += 1

    def _run(self, way, kind, client, server):
        while not self._stop.is_set():
            try:
                self._connection(way, kind, client, server)
                self._count(f"{kind} finished")
            except Lost as lost:
                self._count(f"{kind} {lost}")
                self._stop.wait(PAUSE_S)

    def _connection(self, way, kind, client, server):
        try:
            connection = client.connect(server.v4, PORT)
        except OSError as error:
            raise Lost("not connected") from error
        self._count(f"{kind} opened")
        with connection:
            try:
                while True:
                    self._say(connection)
                    with self._lock:
                        self._carried[way, kind] += 1
                    if self._stop.wait(PAUSE_S) or kind == "short":
                        break
                connection.shutdown(socket.SHUT_WR)
                if connection.recv(1):
                    self.wrong.append("bytes that nobody sent")
            except OSError as error:
                raise Lost("reset") from error

    def _say(self, connection):
        sent, got = os.urandom(MESSAGE_BYTES), bytearray()
        connection.sendall(sent)
        while len(got) < len(sent):
            piece = connection.recv(1 << 16)
            if not piece:
                raise Lost("ended in order")  # in the middle of what it had to say: nothing may end so
            got += piece
        if got != sent:
            self.wrong.append("other bytes than were sent")

    def wait_for_more(self):
        with self._lock:
            before = collections.Counter(self._carried)
        wait_for(lambda: all(self._carried[way] > before[way] + 2 for way in self._ways), lambda: f"traffic every way: {before}, {self._carried}", 2 * DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
