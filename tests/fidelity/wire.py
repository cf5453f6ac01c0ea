# SPDX-License-Identifier: GPL-3.0-or-later
"""What tcpdump sees in a pod, and how a connection's packets are told in one line."""

import ipaddress
import os
import signal
import socket
import struct
import subprocess
import time
import typing

from lib import Failure, wait_for

FIN, SYN, RST, ACK = 1, 2, 4, 16
ERRORS = {4: {(3, 0): "net unreachable", (3, 1): "host unreachable", (3, 2): "protocol unreachable", (3, 3): "port unreachable", (3, 9): "net prohibited",
              (3, 10): "host prohibited", (3, 13): "admin prohibited", (11, 0): "time exceeded"},
          6: {(1, 0): "no route", (1, 1): "admin prohibited", (1, 3): "address unreachable", (1, 4): "port unreachable", (1, 5): "policy fail",
              (1, 6): "reject route", (3, 0): "time exceeded"}}


LINK_OF_NOBODY = ("10.88.2.249", "fd88:2::f:249")  # node2's address on it: which of its own a node takes is its choice


class Seen(typing.NamedTuple):
    """One packet. error: an ICMP error's name, then ports and flags are those of the packet that it is about."""

    source: str
    destination: str
    ports: tuple
    flags: int
    length: int
    hops: int
    tos: int
    error: str


def _tcp(data, at, end):
    ports = struct.unpack_from("!HH", data, at)
    if at + 14 > len(data):  # the piece that an ICMP error gives back
        return ports, 0, 0
    return ports, data[at + 13], max(end - at - (data[at + 12] >> 4) * 4, 0)


def _parse(frame):
    """A Seen, or None for what is neither TCP nor an ICMP error about TCP."""
    (ether,) = struct.unpack_from("!H", frame, 12)
    packet = frame[14:]
    if ether == 0x0800:
        version, protocol, at = 4, packet[9], (packet[0] & 15) * 4
        source, destination, hops, tos, end = packet[12:16], packet[16:20], packet[8], packet[1], struct.unpack_from("!H", packet, 2)[0]
    elif ether == 0x86DD:
        version, protocol, at = 6, packet[6], 40
        source, destination, hops, end = packet[8:24], packet[24:40], packet[7], 40 + struct.unpack_from("!H", packet, 4)[0]
        tos = struct.unpack_from("!H", packet, 0)[0] >> 4 & 0xFF
    else:
        return None
    source, destination = (str(ipaddress.ip_address(raw)) for raw in (source, destination))
    if protocol == 6:
        return Seen(source, destination, *_tcp(packet, at, end), hops, tos, "")
    if protocol not in (1, 58) or (protocol == 1) != (version == 4):
        return None
    error = ERRORS[version].get((packet[at], packet[at + 1]))
    inner = at + 8
    if error is None or packet[inner + (9 if version == 4 else 6)] != 6:
        return None
    ports, flags, _ = _tcp(packet, inner + ((packet[inner] & 15) * 4 if version == 4 else 40), 0)
    return Seen(source, destination, ports, flags, 0, hops, tos, error)


class Tap:
    """tcpdump in a pod; it has begun when the constructor returns. seen: by port of the server, after stop()."""

    def __init__(self, pod, net, folder):
        self.pod, self.seen, self._path = pod, {}, folder / f"{pod.name}-{time.monotonic_ns()}.pcap"
        self.names = {address: host.node_name for host in net.nodes for address in (host.v4, host.v6)}
        self.names.update(dict.fromkeys(LINK_OF_NOBODY, net.b.node_name))
        self._process = pod.popen("tcpdump", "-i", "eth0", "-w", self._path, "-s", "192", "-B", "16384", "--immediate-mode", "-U", "tcp or icmp or icmp6",
                                  stderr=subprocess.PIPE, text=True)
        while (line := self._process.stderr.readline()) and "listening on" not in line:
            pass
        if not line:
            raise Failure(f"tcpdump does not start in {pod.name}")

    def stop(self):
        """All that was sent before is seen afterwards: a ping is waited for, since nothing else tells when a packet has come to tcpdump."""
        marker = os.urandom(32)
        with self.pod.socket(kind=socket.SOCK_DGRAM, protocol=socket.IPPROTO_ICMP) as s:
            s.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, 1) + marker, (self.pod.host.v4, 0))
        wait_for(lambda: marker in self._tail(), f"tcpdump in {self.pod.name} to see the last packet")
        self._process.send_signal(signal.SIGINT)
        self._process.communicate()
        data = self._path.read_bytes()
        at = 24
        while at + 16 <= len(data):
            (length,) = struct.unpack_from("<I", data, at + 8)
            packet = _parse(data[at + 16:at + 16 + length]) if length >= 54 else None
            at += 16 + length
            if packet is not None:
                for port in packet.ports:
                    self.seen.setdefault(port, []).append(packet)

    def _tail(self):
        with open(self._path, "rb") as file:
            file.seek(max(self._path.stat().st_size - 65536, 0))
            return file.read()


def answer_to_syn(packets, port, names):
    """How the first connection to a server's port began, as the client's pod saw it."""
    first = next((p for p in packets if p.ports[1] == port and p.flags & SYN and not p.error), None)
    if first is None:
        return "no SYN"
    count = sum(1 for p in packets if p.ports == first.ports and p.flags & SYN and not p.error)
    back = next((p for p in packets if (p.error and p.ports == first.ports) or (p.ports == first.ports[::-1] and p.flags & (SYN | RST))), None)
    if back is None:
        answer = "no answer"
    elif back.error:
        answer = f"ICMP {back.error} by {names.get(back.source, 'the address itself' if back.source == first.destination else back.source)}"
    else:
        answer = "RST" if back.flags & RST else "SYN-ACK"
    return f"{'1 SYN' if count == 1 else 'several SYNs'}, {answer}"  # how many in so many seconds is chance


def marks(client, server, port):
    """TOS and hops of the first data each way, where they arrive."""
    there = next((p for p in server if p.ports[1] == port and p.length), None)
    here = next((p for p in client if p.ports[0] == port and p.length), None)
    tell = lambda p: f"TOS {p.tos:#x}, {64 - p.hops} hops" if p else "nothing"  # noqa: E731
    return f"at the server: {tell(there)}, at the client: {tell(here)}"


def endings(packets, port):
    """Who ended the connections to a server's port, and how, in the order of the first of each."""
    said = []
    for p in packets:
        if p.error or port not in p.ports:
            continue
        who = "client" if p.ports[1] == port else "server"
        for flag, name in ((FIN, "FIN"), (RST, "RST")):
            word = f"{name} of the {who}"
            if p.flags & flag and word not in said:
                said.append(word)
    return ", ".join(said) or "no end"
