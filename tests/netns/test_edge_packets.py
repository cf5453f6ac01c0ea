# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod or a machine on the wire may send that is no ordinary TCP: pieces, headers that can not be walked, tunnels of its own, forged plaintext. In strict
mode none of it carries TCP between pods past us, and each is counted."""

import contextlib
import errno
import ipaddress
import socket
import struct

import pytest

from lib import Shape, wait_for
from mesh import Capture, Mesh

TCP, UDP, SCTP, IPIP, GRE, FRAGMENT, DEST_OPTIONS = 6, 17, 132, 4, 47, 44, 60
SYN, ACK, PSH = 0x02, 0x10, 0x08
MARK = b"not-to-be-seen"


@pytest.fixture(scope="module")
def mesh():
    # Without rules nothing joins the pieces of a packet on the way, and without learning nothing passes as older than us.
    with Mesh(Shape("routed", "direct", "none"), capture={"older_flows": "reset"}) as made:
        for pod in (made.net.a1, made.net.x1):
            pod.ping(made.net.b1.v4)
        yield made


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp(source, destination, flags, payload=b"", ports=(40001, 8080)):
    head = struct.pack("!HHIIBBHHH", *ports, 1000, 1000 if flags & ACK else 0, 0x50, flags, 8192, 0, 0)
    s, d = ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed
    pseudo = s + d + (struct.pack("!BBH", 0, TCP, len(head + payload)) if len(s) == 4 else struct.pack("!II", len(head + payload), TCP))
    return head[:16] + struct.pack("!H", checksum(pseudo + head + payload)) + head[18:] + payload


def ipv4(source, destination, protocol, body, fragment=0, number=77):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), number, fragment, 64, protocol, 0, socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def ipv6(source, destination, next_header, body):
    return struct.pack("!IHBB", 6 << 28, len(body), next_header, 64) + ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + body


def send(space, packet):
    """A whole IP packet by the namespace's routes."""
    is_v6 = packet[0] >> 4 == 6
    with space.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        address = str(ipaddress.ip_address(packet[24:40] if is_v6 else packet[16:20]))
        raw.sendto(packet, (address, 0))


@contextlib.contextmanager
def watched(mesh, daemon, key, count):
    """The wire while packets are sent that daemon must count under key, so many."""
    before = daemon.counters().get(key, 0)
    wire = Capture(mesh)
    yield wire
    wait_for(lambda: daemon.counters().get(key, 0) >= before + count, lambda: f"{count} packets of {key}: {daemon.counters()}")
    wire.stop()
    assert daemon.counters()[key] == before + count


def test_pieces_of_tcp_do_not_leave(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    whole = tcp(a1.v4, b1.v4, ACK | PSH, MARK * 4)
    cut = 32
    with watched(mesh, mesh.one, ("unclassifiable", "out", "refused"), 3) as wire:
        send(a1, ipv4(a1.v4, b1.v4, TCP, whole[:cut], fragment=0x2000))
        send(a1, ipv4(a1.v4, b1.v4, TCP, whole[cut:], fragment=cut // 8))
        send(a1, ipv6(a1.v6, b1.v6, FRAGMENT, struct.pack("!BBHI", TCP, 0, cut // 8 << 3, 77) + MARK))
    assert not wire.holds(MARK) and not wire.leaked


def test_extension_headers_are_walked_or_the_packet_does_not_leave(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    segment = tcp(a1.v6, b1.v6, ACK | PSH, MARK)
    padding = b"\x01\x04\0\0\0\0"  # PadN
    with watched(mesh, mesh.one, ("unclassifiable", "out", "refused"), 1) as wire:
        send(a1, ipv6(a1.v6, b1.v6, DEST_OPTIONS, (bytes([DEST_OPTIONS, 0]) + padding) * 8 + bytes([TCP, 0]) + padding + segment))
    assert not wire.holds(MARK)
    # One that is walked is TCP like any other: of no flow, so the private namespace answers it.
    with watched(mesh, mesh.one, ("refused", "out", "refused"), 1) as wire:
        send(a1, ipv6(a1.v6, b1.v6, DEST_OPTIONS, bytes([TCP, 0]) + padding + segment))
    assert not wire.holds(MARK)


def test_a_pods_own_tunnel_carries_no_tcp_to_pods(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    inner = ipv4(a1.v4, b1.v4, TCP, tcp(a1.v4, b1.v4, ACK | PSH, MARK))
    ethernet = bytes(12) + struct.pack("!H", 0x0800)
    with watched(mesh, mesh.one, ("bypass", "out", "refused"), 3) as wire:
        with a1.udp(a1.v4) as vxlan:
            vxlan.sendto(struct.pack("!II", 0x08000000, 7 << 8) + ethernet + inner, (b1.v4, 4789))
        send(a1, ipv4(a1.v4, b1.v4, IPIP, inner))
        send(a1, ipv4(a1.v4, mesh.net.b.v4, GRE, struct.pack("!HH", 0, 0x0800) + inner))
    assert not wire.holds(MARK)


def test_other_protocols_pass(mesh):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with watched(mesh, mesh.one, ("other", "out", "passed"), 1) as wire:
        send(a1, ipv4(a1.v4, b1.v4, SCTP, MARK))
    assert wire.holds(MARK)
    with watched(mesh, mesh.two, ("udp", "in", "passed"), 2) as wire:
        for version in (4, 6):
            with a1.udp(a1.address(version)) as sender, b1.udp(b1.address(version)) as receiver:
                sender.sendto(MARK, receiver.getsockname()[:2])
                assert receiver.recv(100) == MARK
    assert len([p for p in wire.packets if p.protocol == "udp" and p.payload == MARK]) == 2


@pytest.mark.parametrize("version", (4, 6))
def test_forged_plaintext_does_not_arrive(mesh, version):
    """A machine on the wire that sends under the address of an enrolled node's pod."""
    victim, claimed, liar = mesh.net.a1, mesh.net.b1, mesh.net.x
    at_pod = Capture(mesh, [(mesh.net.a, victim.veth)])
    source, destination = claimed.address(version), victim.address(version)
    with watched(mesh, mesh.one, ("refused", "in", "refused"), 3) as wire:
        for flags, payload in ((SYN, b""), (ACK | PSH, MARK), (SYN | ACK, b"")):
            segment = tcp(source, destination, flags, payload)
            send(liar, ipv4(source, destination, TCP, segment) if version == 4 else ipv6(source, destination, TCP, segment))
    at_pod.stop()
    assert wire.holds(MARK)  # it was sent
    assert not [p for p in at_pod.packets if p.protocol == "tcp"]


def test_a_stale_route_makes_no_loop(mesh):
    """The other node takes a stream for a pod of its own that has gone, and its route leads back to us."""
    b = mesh.net.b
    gone = "10.88.2.99"
    with mesh.capture() as wire:
        b.ip(f"route add {gone}/32 via {mesh.net.a.v4}")
        try:
            with mesh.net.a1.socket() as client:
                client.setblocking(False)
                assert client.connect_ex((gone, 8080)) == errno.EINPROGRESS
                wait_for(lambda: mesh.two.counters().get(("loop", "out", "refused"), 0), "the first SYN to be dropped")
        finally:
            b.ip(f"route del {gone}/32")
    assert not wire.leaked
