# SPDX-License-Identifier: GPL-3.0-or-later
"""A case of the comparison, and a scene: one run of it, at one place, over one IP version, by one way to the server.

A case is a function of a scene that returns what happened in one line of plain words. What it says must be the same at each run: times are told in classes, counts
only where they are exact. It tells everything that a program could notice, and nothing else.
"""

import contextlib
import dataclasses
import errno
import itertools
import socket
import subprocess
import threading
import time
import typing

from lib import DEADLINE_S, Failure, wait_for
from traffic import outcome, reset

from places import service_of

POD, SERVICE = "pod", "Service"
PATIENCE_S = 8  # longer than a pod's own TCP waits for an answer to a SYN or to data; who has heard nothing until then hears nothing
# The borders between classes of time lie far from what a kernel's timers make: 0.2 s, 1 s, 3 s, 6 s.
TIMES = ((0.75, "at once"), (2.1, "after about 1 s"), (4.6, "after about 3 s"), (11, "after about 6 s"), (25, "after about 15 s"), (60, "after about 30 s"))

CASES = []


@dataclasses.dataclass(frozen=True)
class Case:
    """phase: "together" (beside all others), "heavy" (few at a time), "cut" (while the wire between the nodes is cut). sees: whether the beginning ("begin") or
    the end ("end") of its connections as tcpdump in the client's pod sees it belongs to the outcome."""

    group: str
    name: str
    act: typing.Callable
    versions: tuple = (4, 6)
    ways: tuple = (POD, SERVICE)
    phase: str = "together"
    sees: str = ""
    is_long: bool = False
    own_pods: bool = False
    variants: tuple = None  # (version, way) pairs, where not all of both

    def scenes(self):
        return self.variants or tuple(itertools.product(self.versions, self.ways))


def case(group, name, **options):
    def add(act):
        if any(known.name == name for known in CASES):
            raise ValueError(f"two cases are called {name!r}")
        CASES.append(Case(group, name, act, **options))
        return act

    return add


def when(seconds):
    return next((text for limit, text in TIMES if seconds < limit), "after more than 60 s")


def timed(act, *arguments):
    """What a call came to (its value, or the name of its errno), and when."""
    begin = time.monotonic()
    value = outcome(act, *arguments)
    return value, when(time.monotonic() - begin)


def count(number, what):
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def read_until(connection, patience_s=PATIENCE_S):
    """(bytes, how it went on: "end", the name of an errno, or "silence", and when)."""
    got, begin = bytearray(), time.monotonic()
    connection.settimeout(patience_s)
    while True:
        try:
            piece = connection.recv(1 << 18)
        except TimeoutError as failure:
            how = "ETIMEDOUT" if failure.errno == errno.ETIMEDOUT else "silence"
            break
        except OSError as failure:
            how = errno.errorcode[failure.errno]
            break
        if not piece:
            how = "end"
            break
        got += piece
    return bytes(got), how, "" if how == "silence" else when(time.monotonic() - begin)


def rest_of(connection, patience_s=PATIENCE_S):
    """The same in words."""
    got, how, at = read_until(connection, patience_s)
    return (f"{count(len(got), 'byte')}, " if got else "") + f"{how} {at}".rstrip()


def write_until(connection, piece=b"x", pause_s=0.1, patience_s=DEADLINE_S):
    """Writes little pieces until it fails, and says how."""
    end = time.monotonic() + patience_s
    connection.settimeout(patience_s)
    while time.monotonic() < end:
        said = outcome(connection.send, piece)
        if isinstance(said, str):
            return said
        time.sleep(pause_s)  # a slow writer: what is to be seen needs an answer from the network
    return "no error"


def is_acknowledged(connection):
    return tcp_info(connection).unacked == 0


class TcpInfo(typing.NamedTuple):
    state: int
    retransmits: int
    probes: int
    options: int
    snd_mss: int
    rcv_mss: int
    unacked: int
    total_retrans: int
    bytes_acked: int
    bytes_received: int


def tcp_info(connection):
    data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    words = [int.from_bytes(data[at:at + 4], "little") for at in range(8, 104, 4)]
    wide = [int.from_bytes(data[at:at + 8], "little") for at in (120, 128)]
    # after eight single bytes: rto, ato, snd_mss, rcv_mss, unacked, sacked, lost, retrans, fackets, 4 times, pmtu, ...
    return TcpInfo(data[0], data[2], data[3], data[5], words[2], words[3], words[4], words[23], *wide)


def holder_of(connection):
    """A process that holds a connection, which the caller then closes: killing the process is what a killed program is to the kernel."""
    process = subprocess.Popen(["sleep", "infinity"], pass_fds=[connection.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    connection.close()
    return process


class Attempt(typing.NamedTuple):
    """What connect() came to. socket: None where it failed."""

    socket: typing.Optional[socket.socket]
    story: str


class Scene(contextlib.AbstractContextManager):
    _ports = itertools.count(10000)
    _ports_lock = threading.Lock()

    def __init__(self, what, place, version, way, wire=None):
        """wire: in the phase "cut", the one that is cut."""
        self.case, self.place, self.version, self.way, self.wire = what, place, version, way, wire
        self.net, self.port = place.net, self.next_port()
        self._open = contextlib.ExitStack()

    def __enter__(self):
        pods = self.place.pods_of_its_own() if self.case.own_pods else (self.net.a2, self.net.b2) if self.case.phase == "heavy" else (self.net.a1, self.net.b1)
        self.client, self.server = pods
        return self

    def __exit__(self, *_):
        if self.wire is not None:
            self.wire.leave(self)
        self._open.close()

    @classmethod
    def next_port(cls):
        """Nobody else has it, and no kernel gives it to a client."""
        with cls._ports_lock:
            port = next(cls._ports)
        if port >= 32000:
            raise Failure("no port is left for another scene")
        return port

    @property
    def case_address(self):
        """The same in words."""
        return "the Service" if self.way == SERVICE else "the server pod"

    @property
    def address(self):
        """Where the client finds the server."""
        return service_of(self.server, self.version) if self.way == SERVICE else self.server.address(self.version)

    def keep(self, thing):
        """Closed with the scene: a socket, or a process that is killed."""
        if isinstance(thing, subprocess.Popen):
            self._open.callback(lambda: (thing.kill(), thing.wait()))
        else:
            self._open.callback(thing.close)
        return thing

    def listen(self, backlog=1024, before=None, port=None):
        s = self.keep(self.server.socket(self.family))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if before:
            before(s)
        s.bind((self.server.address(self.version), port or self.port))
        s.listen(backlog)
        s.settimeout(DEADLINE_S)
        return s

    @property
    def family(self):
        return socket.AF_INET if self.version == 4 else socket.AF_INET6

    def client_socket(self, source_port=0, before=None):
        s = self.keep(self.client.socket(self.family))
        if source_port:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((self.client.address(self.version), source_port))
        if before:
            before(s)
        return s

    def connect(self, address=None, **options):
        """A blocking connect, as most programs do it."""
        s = self.client_socket(**options)
        said, at = timed(s.connect, (address or self.address, self.port))
        if isinstance(said, str):
            s.close()
            return Attempt(None, f"{said} {at}")
        return Attempt(s, f"connected {at}")

    def fate(self, **options):
        """The whole story of a connection that nobody should serve."""
        attempt = self.connect(**options)
        return attempt.story if attempt.socket is None else f"{attempt.story}, then {rest_of(attempt.socket)}"

    def begun(self, address=None, **options):
        """A socket whose connect() has begun, and waits for nothing."""
        s = self.client_socket(**options)
        s.setblocking(False)
        said = outcome(s.connect, (address or self.address, self.port))
        if said not in (None, "EINPROGRESS"):
            raise Failure(f"connect said {said}")
        return s

    def wait_sent_again(self, s):
        """Until the kernel has sent the SYN of a begun connection a second time, or has an answer."""
        wait_for(lambda: tcp_info(s).state != 2 or tcp_info(s).retransmits > 0, "a second SYN")

    def pair(self, before=None, before_listen=None, **options):
        """Two ends of a new connection: the client's and the server's."""
        with self.listen(before=before_listen) as listener:
            here = self.connect(before=before, **options)
            if here.socket is None:
                raise Failure(f"a connection to a listener: {here.story}")
            there, _ = listener.accept()
        for s in (here.socket, self.keep(there)):
            s.settimeout(DEADLINE_S)
        return here.socket, there

    def confirmed_pair(self, **options):
        """The same, and a byte has crossed each way, so that nothing of the connection's beginning is under way any more."""
        here, there = self.pair(**options)
        here.sendall(b"?")
        there.recv(1)
        there.sendall(b"!")
        here.recv(1)
        return here, there

    @contextlib.contextmanager
    def rule(self, host, *words, chain="POLICY"):
        """A rule of iptables on a node about packets from the client to the server of this scene, while the context lasts. Leaving it early is welcome."""
        program = self.net._iptables(self.version)
        match = ["-s", self.client.address(self.version), "-d", self.server.address(self.version), "-p", "tcp", "--dport", str(self.port)]
        host.run(program, "-w", "-I", chain, *match, *words)
        try:
            yield
        finally:
            host.run(program, "-w", "-D", chain, *match, *words)

    def in_background(self, act, *arguments):
        """A thread; .result() is what act returned, and raises what it raised."""
        said = []

        def work():
            try:
                said.append((act(*arguments), None))
            except BaseException as failure:  # noqa: BLE001 - handed to who asks
                said.append((None, failure))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()

        def result():
            thread.join(3 * DEADLINE_S)
            if not said:
                raise Failure("a thread of the scene did not come to its end")
            if said[0][1] is not None:
                raise said[0][1]
            return said[0][0]

        thread.result = result
        return thread


__all__ = ["CASES", "POD", "SERVICE", "PATIENCE_S", "Case", "Scene", "case", "count", "holder_of", "is_acknowledged", "outcome", "read_until", "reset", "rest_of",
           "tcp_info", "timed", "when", "write_until"]
