# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes with a pod each. What is measured runs on them; a subject (subjects.py) is what carries the pods' connections from one node to the other.

    client ------- node1 ======= node2 ------- server        four network namespaces, veth pairs with segmentation offload, MTU 1500      
    10.245.1.10    172.30.0.1    172.30.0.2    10.245.2.10

With a delay the wire leads through a fifth namespace in which bench_delay holds every packet back. Pinned, node1 and its pod have the first processor and
node2 and its pod the last one, and each node's packets are received on its own: two nodes of one core. Names begin with the process id.
"""

import itertools
import os
import pathlib
import subprocess

from lib import RUN_NETNS, Failure, Namespace, run, wait_for
from mesh import program

BULK, PINGPONG, CONNECTIONS, HTTP = 5201, 7001, 7002, 8080
PORTS = (BULK, PINGPONG, CONNECTIONS, HTTP)  # what the server pod listens on, and a proxy carries
BODIES = (128, 16384)
# A namespace may only have what the machine allows everybody, and reno is always among that.
CONGESTION = "cubic" if "cubic" in pathlib.Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split() else "reno"

_ids = itertools.count()


class Place(Namespace):
    """A namespace whose programs run on the processors that it has, before others of the machine."""

    # Ports enough for a run of short connections, whose clients end first; a port may come again after a second.
    SETTINGS = {"net.ipv4.tcp_congestion_control": CONGESTION, "net.ipv4.ip_forward": 1, "net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.conf.default.rp_filter": 1,
                "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.ip_local_port_range": "10000 65535", "net.ipv4.tcp_tw_reuse": 1,
                "net.ipv4.tcp_max_syn_backlog": 8192, "net.core.somaxconn": 8192}

    def __init__(self, name, processors, nice):
        super().__init__(name)
        self.processors = processors
        self._before = ["taskset", "-c", ",".join(map(str, processors)), "nice", "-n", str(nice)]

    def popen(self, *command, **options):
        return super().popen(*self._before, *command, **options)

    def run(self, *command, **options):
        return super().run(*self._before, *command, **options)

    def receive_here(self, device):
        """What arrives by a veth is else handled on the sender's processor."""
        mask = sum(1 << number for number in self.processors)
        run("ip", "netns", "exec", self.name, "sh", "-c", f"echo {mask:x} > /sys/class/net/{device}/queues/rx-0/rps_cpus")


class Node(Place):
    def __init__(self, network, number, processors, nice):
        super().__init__(f"{network}-n{number}", processors, nice)
        self.number, self.node_name = number, f"node{number}"
        self.v4 = f"172.30.0.{number}"
        self.pods_v4, self.gateway_v4, self.pod_v4 = (f"10.245.{number}.{rest}" for rest in ("0/24", "1", "10"))
        self.pod = Place(f"{network}-p{number}", processors, nice)


class Network:
    """All of it, with the servers in their pod. close() takes it out again."""

    def __init__(self, folder, delay_us=0, pinned=True, nice=-10):
        self.name = f"cvb{os.getpid()}n{next(_ids)}"
        self.folder, self.delay_us, self.pinned = folder, delay_us, pinned
        self._spaces = []
        allowed = sorted(os.sched_getaffinity(0))
        try:
            self.nodes = tuple(self._node(number, [allowed[place]] if pinned else allowed, nice) for number, place in ((1, 0), (2, -1)))
            self.one, self.two = self.nodes
            self.client, self.server = self.one.pod, self.two.pod
            self._plug_pods()
            self._wire(allowed, nice)
            self._route()
            self._serve()
        except BaseException:
            self.close()
            raise

    def _node(self, number, processors, nice):
        node = Node(self.name, number, processors, nice)
        self._spaces += [node.pod, node]
        return node

    def _plug_pods(self):
        for node in self.nodes:
            node.ip(f"link add pod0 type veth peer name eth0 netns {node.pod.name}", f"addr add {node.gateway_v4}/24 dev pod0", "link set pod0 up")
            node.pod.ip(f"addr add {node.pod_v4}/24 dev eth0", "link set eth0 up", f"route add default via {node.gateway_v4}")
            self._receive_here(node, "pod0")
            self._receive_here(node.pod, "eth0")

    def _wire(self, allowed, nice):
        if not self.delay_us:
            self.one.ip(f"link add wire0 type veth peer name wire0 netns {self.two.name}")
        else:
            between = Place(f"{self.name}-w", allowed, nice)
            self._spaces.append(between)
            for node in self.nodes:
                between.ip(f"link add to{node.number} type veth peer name wire0 netns {node.name}", f"link set to{node.number} up")
        for node in self.nodes:
            node.ip(f"addr add {node.v4}/24 dev wire0", "link set wire0 up")
            self._receive_here(node, "wire0")
        if self.delay_us:
            self._listening(between, program("bench_delay"), "to1", "to2", self.delay_us // 2)

    def _route(self):
        for node, other in (self.nodes, self.nodes[::-1]):
            node.ip(f"route add {other.pods_v4} via {other.v4} dev wire0")
        wait_for(lambda: self.client.ping(self.two.pod_v4), "the client to reach the server")

    def _receive_here(self, place, device):
        if self.pinned:
            place.receive_here(device)

    def _listening(self, place, *command):
        """A program that says a line once it can be used."""
        process = place.popen(*command, stdout=subprocess.PIPE, text=True)
        if not process.stdout.readline():
            raise Failure(f"{' '.join(map(str, command))} ended with {process.wait()}")

    def _serve(self):
        self._listening(self.server, program("bench_pingpong"), "answer", PINGPONG)
        self._listening(self.server, program("bench_connections"), "answer", CONNECTIONS)
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.server.popen("iperf3", "-s", "-p", BULK, **quiet)
        self.server.popen("nginx", "-c", self._pages(), "-e", self.folder / f"{self.name}-nginx.log", **quiet)
        for port in (BULK, HTTP):
            wait_for(lambda: self._answers(port), f"the server's port {port} to be there")

    def _answers(self, port):
        try:
            self.server.connect(self.two.pod_v4, port).close()
        except OSError:
            return False
        return True

    def _pages(self):
        """nginx's settings: a page of each size, and connections that stay."""
        root = self.folder / f"{self.name}-pages"
        root.mkdir()
        for size in BODIES:
            (root / str(size)).write_bytes(b"x" * size)
        settings = root.with_suffix(".conf")
        settings.write_text(f"""daemon off; master_process off; pid {root}.pid; worker_rlimit_nofile 20000;
events {{ worker_connections 8000; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; keepalive_timeout 1h; open_file_cache max=16;
server {{ listen {HTTP} backlog=4096; root {root}; }} }}
""")
        return settings

    def wire_bytes(self):
        """What node1 sent and received on the wire."""
        lines = self.one.run("cat", "/proc/net/dev").stdout.splitlines()
        fields = next(line for line in lines if line.strip().startswith("wire0:")).split(":")[1].split()
        return int(fields[0]) + int(fields[8])

    def close(self):
        for space in reversed(self._spaces):
            space.close()
        self._spaces = []
        for path in RUN_NETNS.glob(f"{self.name}-*"):  # one whose making was interrupted
            run("ip", "netns", "del", path.name, check=False)


def processors(pinned):
    """For a person."""
    count = len(os.sched_getaffinity(0))
    return f"each node and its pod on one of {count} cores" if pinned else f"both nodes on all {count} cores"


