# SPDX-License-Identifier: GPL-3.0-or-later
"""Many nodes that are played by one thread: each has its own certificate and a tunnel to node1's daemon, says HELLO, answers PING, and wants nothing."""

import os
import selectors
import ssl
import struct
import threading

from lib import TUNNEL_PORT, Failure

HEAD = struct.Struct("!BBHI")  # type, flags, length, stream: docs/protocol.md
HELLO, PING, GOAWAY = 1, 9, 10
ANSWER = 1
CREDIT_BYTES = 32768
STREAMS_MAX = 1000
TUNNEL_CREDIT_BYTES = 1 << 30


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def hello(name):
    """proto/tunnel.proto's Hello, of a node that holds the pair joined."""
    def text(number, value):
        return varint(number << 3 | 2) + varint(len(value)) + value

    def whole(number, value):
        return varint(number << 3) + varint(value)

    message = text(1, name.encode()) + varint(2 << 3 | 1) + os.urandom(7) + b"\1" + whole(4, CREDIT_BYTES) + whole(5, STREAMS_MAX)
    message += whole(6, TUNNEL_CREDIT_BYTES) + text(7, os.urandom(16)) + whole(12, 1) + whole(13, 1)
    return HEAD.pack(HELLO, 0, len(message), 0) + message


class Tunnel:
    """One, up when the constructor returns."""

    def __init__(self, subject, name):
        identity = subject.folder / "ca" / name
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # its name is a URI, and who it is was not the question
        context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
        context.load_verify_locations(identity / "ca.crt")
        context.set_alpn_protocols(["culvert/1"])
        network = subject.network
        self.socket = context.wrap_socket(network.two.connect(network.one.v4, TUNNEL_PORT))
        self._waiting = b""
        self.socket.sendall(hello(name))
        while HELLO not in self.frames():
            continue
        self.socket.setblocking(False)

    def frames(self):
        """The types of the frames that came; PING is answered."""
        try:
            piece = self.socket.recv(1 << 16)
        except ssl.SSLWantReadError:
            return []
        if not piece:
            raise Failure("the daemon closed a tunnel")
        self._waiting += piece
        found = []
        while len(self._waiting) >= HEAD.size:
            kind, flags, length, _ = HEAD.unpack_from(self._waiting)
            if len(self._waiting) < HEAD.size + length:
                break
            payload, self._waiting = self._waiting[HEAD.size:HEAD.size + length], self._waiting[HEAD.size + length:]
            if kind == GOAWAY:
                raise Failure(f"the daemon ended a tunnel: {payload[6:].decode(errors='replace')}")
            if kind == PING and not flags & ANSWER:
                self.socket.sendall(HEAD.pack(PING, ANSWER, len(payload), 0) + payload)
            found.append(kind)
        return found


class Crowd:
    """with Crowd(subject, names) as crowd: all tunnels are up, and stay."""

    def __init__(self, subject, names):
        self._failure = None
        self._stop, self._wake = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._tunnels = []
        self._thread = threading.Thread(target=self._answer, daemon=True)
        try:
            for name in names:
                self._tunnels.append(Tunnel(subject, name))
                self._selector.register(self._tunnels[-1].socket, selectors.EVENT_READ, self._tunnels[-1])
        except BaseException:
            self._close()
            raise
        self._thread.start()

    def _answer(self):
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.data is None:
                        return
                    key.data.frames()
        except (OSError, Failure) as failure:
            self._failure = failure

    def check(self):
        if self._failure:
            raise self._failure

    def _close(self):
        for tunnel in self._tunnels:
            tunnel.socket.close()
        self._selector.close()
        os.close(self._stop)
        os.close(self._wake)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.write(self._wake, b"x")
        self._thread.join()
        self._close()
