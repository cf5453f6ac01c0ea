# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods whose devices have BIG TCP send packets larger than 64 KB. They reach the daemon whole, over the pair too."""

import json
import os
import re
import socket
import struct

import pytest

from lib import PLAIN, Failure
from load import sink
from mesh import Mesh

PORT = 8080
LARGE_BYTES = 196608
MOVED_BYTES = 256 << 20
MEAN_BYTES_MIN = 65536  # what is cut goes at 1,514 bytes
GSO_IPV4_MAX_SIZE, GRO_IPV4_MAX_SIZE = 63, 64  # IFLA_..., Linux 6.3; Debian 12's iproute2 has no word for them
RTM_NEWLINK, REQUEST_ACK = 16, 0x5

pytestmark = pytest.mark.skipif(PLAIN, reason="no daemon, no pair")


def make_large(place):
    """Each device of the namespace but the loopback and the daemon's own."""
    with place.inside(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        for index, name in socket.if_nameindex():
            if name == "lo" or name.startswith("culvert"):
                continue
            attributes = b"".join(struct.pack("=HHI", 8, kind, LARGE_BYTES) for kind in (GSO_IPV4_MAX_SIZE, GRO_IPV4_MAX_SIZE))
            body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + attributes
            link.send(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, REQUEST_ACK, 1, 0) + body)
            code = struct.unpack_from("=i", link.recv(65536), 16)[0]
            if code:
                raise Failure(f"{name} of {place.name} takes no large packets: {code}")


def has_large_packets():
    return tuple(map(int, re.match(r"(\d+)\.(\d+)", os.uname().release).groups())) >= (6, 3)


def sent_over_pair(host):
    """(packets, bytes) from the node to the daemon."""
    sent = json.loads(host.run("ip", "-j", "-s", "link", "show", "culvert0").stdout)[0]["stats64"]["tx"]
    return sent["packets"], sent["bytes"]


@pytest.mark.skipif(not has_large_packets(), reason="BIG TCP for IPv4 came with Linux 6.3")
def test_large_packets_are_not_cut():
    with Mesh() as mesh:
        a1, b1 = mesh.net.a1, mesh.net.b1
        for place in (a1, b1, *mesh.net.nodes):
            make_large(place)
        with sink(b1, PORT):
            before = sent_over_pair(mesh.one.host)
            a1.run("iperf3", "-c", b1.address(4), "-p", PORT, "-n", MOVED_BYTES)
            packets, length = (now - then for now, then in zip(sent_over_pair(mesh.one.host), before))
    assert length >= MOVED_BYTES // 2
    assert length / packets >= MEAN_BYTES_MIN
