# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the comparison takes place: the two nodes of tests/netns with retries and timeouts shortened, an address of a Service for every pod, pods that a case
may break, and addresses behind which there is nothing."""

import itertools
import threading

from lib import DEADLINE_S, Failure, Pod, run
from mesh import Mesh

# How long a program waits for what does not answer is a setting of its pod, the same in every mesh. tcp_retries2: an unanswered write is given up after about 6 s.
POD_SETTINGS = {"net.ipv4.tcp_syn_retries": 2, "net.ipv4.tcp_retries2": 4, "net.ipv4.tcp_fastopen": 3, "net.ipv4.ip_unprivileged_port_start": 0,
                "net.ipv4.icmp_ratelimit": 0, "net.ipv6.icmp.ratelimit": 0}
# Cases run side by side: a node that says "unreachable" to one of them must not be silent to the next.
NODE_SETTINGS = {"net.ipv4.icmp_ratelimit": 0, "net.ipv4.icmp_msgs_per_sec": 100000, "net.ipv4.icmp_msgs_burst": 100000, "net.ipv6.icmp.ratelimit": 0}

SERVICES = {4: "10.96.1.{}", 6: "fd96:1::{}"}
# In the prefix of node2's pods. quiet: nothing is there, and the node drops it, as Calico's blackhole route does. neighbour: on a link of the node, and nobody
# answers there, as behind a bridge of pods. The others: a route of the node says so.
NOBODY = {4: {"quiet": "10.88.2.240", "late": "10.88.2.{}", "neighbour": "10.88.2.250", "unreachable": "10.88.2.241", "prohibit": "10.88.2.242"},
          6: {"quiet": "fd88:2::f240", "late": "fd88:2::{}", "neighbour": "fd88:2::f:250", "unreachable": "fd88:2::f241", "prohibit": "fd88:2::f242"}}
# The same, but the client's node says so and nothing leaves it.
NOBODY_HERE = {4: {"unreachable": "10.88.2.243", "prohibit": "10.88.2.244"}, 6: {"unreachable": "fd88:2::f243", "prohibit": "fd88:2::f244"}}


class Place:
    """A mesh. transport: "plain" (no daemon anywhere), or the mode in which Culvert answers a client's SYN."""

    def __init__(self, transport):
        self.transport = transport
        sections = {} if transport == "plain" else {"capture": {"connect": transport}}
        self.mesh = Mesh(start=False, **sections)
        try:
            self.net = self.mesh.net
            self._indexes, self._lock, self._is_closed = itertools.count(3), threading.Lock(), False
            self._prepare()
            if transport != "plain":
                for daemon in self.mesh.daemons:
                    daemon.start(wait=False)
                for daemon in self.mesh.daemons:
                    daemon.wait_ready()
        except BaseException:
            self.mesh.close(check=False)
            raise

    def _prepare(self):
        for host in self.net.nodes:
            host.sysctl(**NODE_SETTINGS)
            host.ip(f"route add blackhole {host.pod_prefixes[0]}", f"-6 route add blackhole {host.pod_prefixes[1]}")
            for pod in host.pods:
                self._settle(pod)
            self._loosen(host)
        b = self.net.b
        b.ip("link add dead0 type veth peer name dead1", "link set dead1 up", "link set dead0 up", "addr add 10.88.2.249/29 dev dead0",
             "addr add fd88:2::f:249/112 dev dead0 nodad")
        for host, nobody in ((b, NOBODY), (self.net.a, NOBODY_HERE)):
            for version, by_kind in nobody.items():
                host.ip(*(f"{'-6 ' if version == 6 else ''}route add {kind} {by_kind[kind]}" for kind in ("unreachable", "prohibit")))
        for version in (4, 6):
            for kind, address in NOBODY[version].items():
                if "{}" not in address:
                    self.serve(version, nobody_service(version, kind), address)
            for kind, address in NOBODY_HERE[version].items():
                self.serve(version, nobody_service(version, kind + " here"), address)

    def _loosen(self, host):
        """Makes a wire asynchronous, as every real one is: packets are received by a thread of the kernel, so that no answer comes while the call that sent the question
        is still in the kernel of the same CPU. A veth does so only with GRO, and only where its other end does not send what is to be cut later."""
        for index, lan in enumerate(self.net.lans):
            self.net.w.run("ethtool", "-K", f"{lan[0]}{index}{host.letter}", "tso", "off")
            host.run("ethtool", "-K", f"eth{index}", "gro", "on")
            # by ip, which mounts the namespace's /sys
            run("ip", "netns", "exec", host.name, "sh", "-c", f"echo 1 > /sys/class/net/eth{index}/threaded")

    def _settle(self, pod):
        pod.sysctl(**POD_SETTINGS)
        if pod.host is self.net.b:
            for version in (4, 6):
                self.serve(version, service_of(pod, version), pod.address(version))

    def serve(self, version, service, address):
        """The Service's address leads to this one, with any TCP port."""
        target = address if version == 4 else f"[{address}]"
        for host in self.net.nodes:
            host.run(self.net._iptables(version), "-w", "-t", "nat", "-A", "KUBE-SERVICES", "-d", service, "-p", "tcp", "-j", "DNAT", "--to-destination", target)

    def pods_of_its_own(self):
        """A client and a server pod that nobody else uses."""
        with self._lock:
            if self._is_closed:
                raise Failure("the place is being taken down")
            index = next(self._indexes)
            made = [self.net._add(Pod, self.net.name, host, index) for host in self.net.nodes]
        for pod in made:
            if index >= 100:  # the usual addresses are used up
                pod.v4 = f"10.88.{pod.host.number}.{index - 80}"
            self.net._plug(pod)
            self._settle(pod)
        return made

    def close(self, check=True):
        with self._lock:
            self._is_closed = True
        self.mesh.close(check=check)


class Wire:
    """The wire between the nodes, cut for all scenes of a phase together: once all of them have met "cut", and mended once all have met "mended"."""

    def __init__(self, net, scenes):
        self._net, self._scenes, self._met, self._done, self._change = net, scenes, {"cut": set(), "mended": set()}, set(), threading.Condition()

    def meet(self, scene, what, wait=True):
        with self._change:
            self._met[what].add(scene)
            if len(self._met[what]) == self._scenes and what not in self._done:
                self._net.cut(self._net.b, what == "cut")
                self._done.add(what)
                self._change.notify_all()
            if wait and not self._change.wait_for(lambda: what in self._done, 3 * DEADLINE_S):
                raise Failure(f"not all scenes came so far that the wire could be {what}")

    def leave(self, scene):
        """It waits for nothing any more."""
        for what in ("cut", "mended"):
            self.meet(scene, what, wait=False)


def service_of(pod, version):
    return SERVICES[version].format(pod.index)


_KINDS = ["quiet", "neighbour", "unreachable", "prohibit", "unreachable here", "prohibit here"]


def nobody_service(version, kind):
    return SERVICES[version].format(200 + _KINDS.index(kind))
