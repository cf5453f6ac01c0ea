# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' own view of the wire: all that was sent is in it, however long nobody looks, or it says that something is missing."""

import os

import pytest

from lib import Failure, Namespace
from mesh import Capture

PACKETS = 3000  # in one go
PORT = 9


@pytest.fixture
def wire():
    """A namespace whose device w1 sees what is sent to 10.1.0.2."""
    space = Namespace(f"cv{os.getpid()}capture")
    space.ip("link add w0 type veth peer name w1", "link set w1 up", "addr add 10.1.0.1/24 dev w0", "link set w0 up",
             "neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev w0")
    yield space
    space.close()


def captured(space):
    """What was sent, and what of it a capture shows."""
    sent = [b"%d" % n for n in range(PACKETS)]
    capture = Capture(None, [(space, "w1")])
    with space.udp("10.1.0.1") as s:
        for data in sent:
            s.sendto(data, ("10.1.0.2", PORT))
    capture.stop()
    return sent, [p.payload for p in capture.packets if p.protocol == "udp" and p.destination_port == PORT]


def test_all_that_was_sent_is_in_a_capture(wire):
    sent, seen = captured(wire)
    assert seen == sent


def test_a_capture_that_lost_packets_says_so(wire, monkeypatch):
    monkeypatch.setattr(Capture, "ROOM_BYTES", 65536)
    with pytest.raises(Failure, match="the capture lost [0-9]+ of 3[0-9]+ packets on w1"):
        captured(wire)
