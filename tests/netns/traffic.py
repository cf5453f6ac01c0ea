# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods say to each other in the tests."""

import contextlib
import errno
import os
import socket
import struct
import threading

from lib import DEADLINE_S
from mesh import read_all, serve


def outcome(act, *arguments):
    """What a call came to: its value, or the name of its errno."""
    try:
        return act(*arguments)
    except TimeoutError:  # a socket's own deadline has no errno
        return "ETIMEDOUT"
    except OSError as failure:
        return errno.errorcode[failure.errno]


def read_exactly(connection, length):
    """So many bytes; fewer only where the end came before."""
    data = bytearray()
    while len(data) < length:
        piece = connection.recv(min(length - len(data), 1 << 18))
        if not piece:
            break
        data += piece
    return bytes(data)


MESSAGE = b"said by one pod to another"


def echo(connection, _):
    connection.sendall(read_all(connection))


def ask(connection):
    """What an echo answers to the message."""
    connection.sendall(MESSAGE)
    connection.shutdown(socket.SHUT_WR)
    return read_all(connection)


def ending(connection):
    """How a connection ends for its reader: "end" or the name of an errno; what comes before is read and dropped."""
    while True:
        piece = outcome(connection.recv, 1 << 16)
        if piece == b"":
            return "end"
        if isinstance(piece, str):
            return piece


def reset(connection):
    """Ends a connection by RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def talk(client, server, address, serving, asking, port=0, connect_port=None, **connecting):
    """One connection from client to a server in a pod that listens on port (0: any), reached by address and connect_port (None: the same port).
    What serving(connection, its peer) and asking(connection) returned."""
    said = []
    with server.listen(port) as listener:

        def handle(connection, peer):
            connection.settimeout(DEADLINE_S)
            said.append(serving(connection, (peer[0].removeprefix("::ffff:"), peer[1])))

        thread = serve(listener, handle)
        with client.connect(address, connect_port or listener.getsockname()[1], **connecting) as connection:
            answer = asking(connection)
        thread.join()
    return said[0], answer


class WhoAmI(contextlib.AbstractContextManager):
    """Servers on one port of several pods; each says its pod's name, and the address and port that it sees."""

    def __init__(self, port, **pods):
        self._listeners = [pod.listen(port) for pod in pods.values()]
        for name, listener in zip(pods, self._listeners):
            threading.Thread(target=self._serve, args=(name, listener), daemon=True).start()

    @staticmethod
    def _serve(name, listener):
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(f"{name} {peer[0].removeprefix('::ffff:')} {peer[1]}".encode())

    def __exit__(self, *_):
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            listener.close()


def who(client, address, port, **connecting):
    """What a WhoAmI behind an address answers: (pod, address, port), and the port that the client used."""
    with client.connect(address, port, **connecting) as connection:
        own = connection.getsockname()[1]
        pod, seen, seen_port = b"".join(iter(lambda: connection.recv(4096), b"")).decode().split()
    return (pod, seen, int(seen_port)), own


def marker():
    """Bytes that occur nowhere else."""
    return b"marker-" + os.urandom(24).hex().encode()
