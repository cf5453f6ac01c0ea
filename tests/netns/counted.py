# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernels of both nodes counted, held against a capture of the same traffic."""

import contextlib
import json
import re
import struct
import time

from lib import HERE, run
from mesh import Capture

CLASSES = [name.lower() for name in re.findall(r"^\tCLASS_(\w+),", (HERE.parent.parent / "bpf" / "shared.h").read_text(), re.MULTILINE)]
TUNNEL, CARRIER = "tunnel", "carrier"
QUIET_READINGS = 5  # so many equal readings of the counters, 40 ms apart, are the end of the traffic
BEGIN_S = 1  # so long the beginning waits for what was under way; some traffic goes on


def kernel_counters(daemon):
    """{(class, "in" or "out", "passed" or "refused"): packets} from the pinned map itself: it is there when no daemon is."""
    path = daemon.pins / "counters"
    if not path.exists():
        return {}
    found = {}
    for entry in json.loads(run("bpftool", "-j", "map", "dump", "pinned", path).stdout):
        packets = sum(value["value"]["packets"] for value in entry["formatted"]["values"])
        index = entry["formatted"]["key"]
        if packets:
            found[CLASSES[index // 4], ("out", "in")[index // 2 % 2], ("passed", "refused")[index % 2]] = packets
    return found


def _difference(later, earlier):
    return {key: count - earlier.get(key, 0) for key, count in later.items() if count != earlier.get(key, 0)}


def _without(reading, *names):
    return {key: count for key, count in reading.items() if key[0] not in names}


def _syn_itself(packet):
    """What is in a SYN from its sequence number on, but for the checksum, which a pod leaves to its device. Its timestamp is another each time that it is sent."""
    at = packet.whole.index(struct.pack("!HH", packet.source_port, packet.destination_port))
    end = at + (packet.whole[at + 12] >> 4) * 4
    return packet.whole[at + 4:at + 16] + packet.whole[at + 18:end]


def first_syns(packets):
    """{(client, its port): the first SYN of that connection}"""
    return {(p.source, p.source_port): _syn_itself(p) for p in reversed(packets) if p.is_syn}


class Counted:
    """packets: what was on the wire. at: what each of some pods sent and received, where none of our programs is; at_pod: that of the first, which is a1 where
    nobody says another. one, two: what each node's kernel counted meanwhile, but for the tunnel; diverted: packets that each put into the tunnel."""

    def __init__(self, mesh, *pods):
        self._mesh = mesh
        # A packet that crosses the beginning, such as the last ACK of a handshake, would be on the wire and not counted, or the other way round.
        self._wait_quiet(BEGIN_S)
        self._outer = self._readings()
        self._wire = Capture(mesh)
        self._pods = {pod: Capture(mesh, [(pod.host, pod.veth)]) for pod in pods or [mesh.net.a1]}
        self._inner = self._readings()

    def _readings(self):
        return [kernel_counters(daemon) for daemon in self._mesh.daemons]

    def _wait_quiet(self, limit_s=float("inf")):
        quiet, last, end = 0, self._readings(), time.monotonic() + limit_s
        while quiet < QUIET_READINGS and time.monotonic() < end:
            time.sleep(0.04)
            now = self._readings()
            quiet = quiet + 1 if [_without(r, CARRIER) for r in now] == [_without(r, CARRIER) for r in last] else 0
            last = now

    def stop(self):
        inner = self._readings()
        self._wait_quiet()
        self._wire.stop(settle_s=0)
        for capture in self._pods.values():
            capture.stop(settle_s=0)
        self.packets, self.at = self._wire.packets, {pod: capture.packets for pod, capture in self._pods.items()}
        self.at_pod = next(iter(self.at.values()))
        whole = [_difference(later, earlier) for later, earlier in zip(self._readings(), self._outer)]
        inner = [_difference(later, earlier) for later, earlier in zip(inner, self._inner)]
        self.carrier = [{way: (i.get((CARRIER, way, "passed"), 0), w.get((CARRIER, way, "passed"), 0)) for way in ("in", "out")}
                        for i, w in zip(inner, whole)]
        self.diverted = [w.get((TUNNEL, "out", "passed"), 0) for w in whole]
        self.one, self.two = (_without(w, CARRIER, TUNNEL) for w in whole)

    @property
    def clear(self):
        """TCP on the wire that is not the tunnel's."""
        return [p for p in self.packets if p.protocol == "tcp" and not p.is_tunnel]

    def sent(self, source, destination, packets=None):
        """TCP from one place to another, of both families; on the wire, or among other packets."""
        return [p for p in (self.clear if packets is None else packets)
                if p.protocol == "tcp" and p.source in (source.v4, source.v6) and p.destination in (destination.v4, destination.v6)]

    def check(self, name, first, second, protocol="tcp", refused_by=(), counts_two=True):
        """All that passed in the clear between two places, first on the first node, is of one class, and each node counted as many packets each way as the
        wire carried; nothing else was counted. refused_by: nodes whose ingress refused what came. counts_two: the second node runs a daemon or its programs."""
        ends = [(place.v4, place.v6) for place in (first, second)]
        out, back = (len([p for p in self.packets if p.protocol == protocol and p.source in a and p.destination in b]) for a, b in (ends, ends[::-1]))
        assert out + back > 0, "the wire carried nothing of it, so there is nothing to compare"
        verdict = ["refused" if node in refused_by else "passed" for node in (1, 2)]
        one = {(name, "out", "passed"): out, (name, "in", verdict[0]): back}
        two = {(name, "in", verdict[1]): out, (name, "out", "passed"): back}
        passes_two = counts_two and second in (self._mesh.net.b, *self._mesh.net.b.pods)
        for counted_there, carried in ((self.one, one), (self.two, two if passes_two else {})):
            carried = {key: count for key, count in carried.items() if count}
            assert counted_there == carried, f"the kernel counted {counted_there}, the wire carried {carried}"

    def check_carrier(self):
        """The tunnels' own packets: their number is known only to lie between two readings, since a tunnel never falls silent."""
        for host, ways in zip(self._mesh.net.nodes, self.carrier):
            own = (host.v4, host.v6)
            for way, (least, most) in ways.items():
                seen = len([p for p in self.packets if p.is_tunnel and (p.source if way == "out" else p.destination) in own])
                assert least <= seen <= most, f"{host.node_name} counted {least} to {most} packets of tunnels {way}, the wire carried {seen}"


@contextlib.contextmanager
def counted(mesh, *pods):
    """with counted(mesh) as c: traffic; the figures are there afterwards."""
    c = Counted(mesh, *pods)
    try:
        yield c
    finally:
        c.stop()
