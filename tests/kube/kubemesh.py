# SPDX-License-Identifier: GPL-3.0-or-later
"""Two daemons that follow a real API server: the topology of tests/netns, a control plane that its nodes reach over their uplinks, and the objects that
kubelets and controllers would make, made by hand.

    with KubeMesh(plane) as mesh:                # both daemons run and are enrolled; the pods a1, a2, b1, b2 are in the API
        mesh.add_pod("late", mesh.b, "10.88.2.50")
        mesh.enrolled("node1")                   # who is enrolled, as a daemon sees it
"""

import contextlib
import json
import pathlib
import queue
import shutil
import socket
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "netns"))
from lib import Net, Shape, ensure_bpffs, run, wait_for  # noqa: E402
from mesh import Daemon, Mesh, program  # noqa: E402

from plane import PLANE_ADDRESS, SERVER_PORT  # noqa: E402

NAMESPACE, RECORDS, DAEMONSET = "culvert", "culvert-nodes", "culvert"
GATEWAY = "10.99.0.250"  # the control plane on the nodes' wire
LEASES = "coordination.k8s.io/v1"


class KubeDaemon(Daemon):
    """A daemon with nodes.kubernetes; its kubeconfig may lead over a proxy."""

    def __init__(self, mesh, host):
        super().__init__(mesh, host)
        self.kubeconfig = mesh.kubeconfig()

    def write_config(self, **sections):
        kubernetes = {"kubeconfig": str(self.kubeconfig), "namespace": NAMESPACE, "records_namespace": RECORDS, "daemonset": DAEMONSET,
                      **sections.pop("kubernetes", {})}
        super().write_config(**sections)
        whole = json.loads(self.config.read_text())
        whole["nodes"] = {"kubernetes": kubernetes}
        self.config.write_text(json.dumps(whole, indent=1) + "\n")

    def cluster(self):
        return self.status()["cluster"]

    def enrolled(self):
        """How many nodes it sees enrolled."""
        return int(self.cluster()["enrolled"])

    def wait_followed(self):
        """Until it hears of every change. After an API server that was away each watch is opened again in a time of its own, up to 30 s later."""
        def is_so():
            cluster = self.cluster()
            return cluster["is_current"] and all(entry["is_current"] for entry in cluster["followed"])

        wait_for(is_so, lambda: f"{self.host.node_name} to follow the API server:\n{self.log()[-2000:]}", timeout=120)


def bound(address):
    """For connect(before=...): the connection comes from this address."""
    return lambda s: s.bind((address, 0))


class SlowProxy:
    """A way to the API server inside a node's namespace. What the server says comes delay_s later; what it is asked does not wait."""

    def __init__(self, plane, host, delay_s=0.0):
        self.delay_s = delay_s
        self._plane = plane
        self._listener = host.listen(address="127.0.0.1")
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_open = True
        self._ends = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while self._is_open:
            try:
                near, _ = self._listener.accept()
                far = self._plane.ns.connect("127.0.0.1", SERVER_PORT, timeout=None)
            except OSError:
                continue
            self._ends |= {near, far}
            chunks = queue.SimpleQueue()
            for work in (lambda near=near, far=far: self._pump(near, far), lambda far=far, chunks=chunks: self._read(far, chunks),
                         lambda near=near, chunks=chunks: self._write(near, chunks)):
                threading.Thread(target=work, daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _read(self, far, chunks):
        piece = b"begin"
        while piece:
            try:
                piece = far.recv(1 << 16)
            except OSError:
                piece = b""
            chunks.put((time.monotonic() + self.delay_s, piece))

    @staticmethod
    def _write(near, chunks):
        with contextlib.suppress(OSError):
            while True:
                due, piece = chunks.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not piece:
                    near.shutdown(socket.SHUT_WR)
                    return
                near.sendall(piece)

    def close(self):
        self._is_open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for end in (self._listener, *self._ends):
            end.close()


class KubeMesh(Mesh):
    """The two daemons, the plane's objects for them, and an end that leaves nothing, in the API neither."""

    def __init__(self, plane, shape=Shape(), start=True, enrol=True, **sections):
        ensure_bpffs()
        self.plane, self.api, self.shape = plane, plane.api, shape
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-test-"))
        self.net = Net(shape)
        self.daemons = ()
        self.a, self.b = self.net.nodes
        try:
            self._join()
            run(program("culvertctl"), "ca", "init", self.folder / "ca")
            self.issue("node1", "node2")
            self._objects()
            self.one, self.two = self.daemons = tuple(KubeDaemon(self, host) for host in self.net.nodes)
            for daemon in self.daemons:
                daemon.write_config(**sections)
                if start:
                    daemon.start(wait=False)
            for daemon in self.daemons:
                if start:
                    daemon.wait_ready()
            if start and enrol:
                self.wait_enrolled()
        except BaseException:
            self.close(check=False)
            raise

    def _join(self):
        """The plane's namespace on the wire of the nodes."""
        port = f"{self.net.name}p"
        run("ip", "-n", self.net.w.name, "link", "add", port, "type", "veth", "peer", "name", port, "netns", self.plane.ns.name)
        self.net.w.ip(f"link set {port} master lan0 up")
        self.plane.ns.ip(f"addr add {GATEWAY}/24 dev {port}", f"link set {port} up")
        self.port = port
        for host in self.net.nodes:
            host.ip(f"route add {PLANE_ADDRESS}/32 via {GATEWAY}")

    def kubeconfig(self, **options):
        return self.plane.kubeconfig(server=f"https://{PLANE_ADDRESS}:{SERVER_PORT}", **options)

    def _objects(self):
        for name in (NAMESPACE, RECORDS):
            if not self.api.find("v1", "namespaces", name):
                self.plane.create_namespace(name)
        if not self.api.find("apps/v1", "daemonsets", DAEMONSET, NAMESPACE):
            self.create_daemonset()
        for host in self.net.nodes:
            self.add_node(host)
            for pod in host.pods:
                self.add_pod(pod.name, host, [pod.v4, pod.v6])

    def create_daemonset(self):
        labels = {"app": "culvert"}
        self.api.create("apps/v1", "daemonsets", {"metadata": {"name": DAEMONSET}, "spec": {
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}}}},
            NAMESPACE)

    def address(self, pod, last):
        """One more address of a pod's namespace, as a new pod on its node would have it: nobody has told the API of it."""
        number = pod.host.number
        address = f"10.88.{number}.{last}"
        self.plug(pod, address)
        return address

    @staticmethod
    def plug(pod, address):
        pod.ip(f"addr add {address}/32 dev eth0")
        pod.host.ip(f"route replace {address}/32 dev {pod.veth}")

    def unplug(self, pod, address, to):
        """The address is another node's: its route leads there."""
        pod.host.ip(f"route replace {address}/32 via {to.host.v4}")

    def add_node(self, host):
        return self.plane.add_node(host.node_name, [host.v4, host.v6], list(host.pod_prefixes))

    def add_pod(self, name, host, ip, **options):
        return self.plane.add_pod(name, node=host.node_name, ip=ip, **options)

    def delete_pod(self, name):
        self.api.delete("v1", "pods", name, "default", grace_s=0)

    def record(self, node):
        return self.api.find(LEASES, "leases", node, RECORDS)

    def restore(self):
        """As a test found it: both daemons run, hear of every change, and are joined."""
        for daemon in self.daemons:
            if not daemon.is_running():
                daemon.start()
        for daemon in self.daemons:
            daemon.wait_followed()
        self.wait_enrolled()

    def wait_enrolled(self):
        for daemon, other in zip(self.daemons, ("node2", "node1")):
            wait_for(lambda: daemon.enrolled() == 2 and daemon.peers()[other]["pair"] == "joined",
                     lambda: f"{daemon.host.node_name} to be joined with {other}:\n{daemon.log()[-2000:]}")

    def close(self, check=True):
        try:
            super().close(check)
        finally:
            self._forget()

    def _forget(self):
        for namespace, version, plural in ((None, "v1", "nodes"), ("default", "v1", "pods"), (RECORDS, LEASES, "leases"),
                                           (NAMESPACE, "apps/v1", "daemonsets")):
            for item in self.api.list(version, plural, namespace):
                self.api.delete(version, plural, item["metadata"]["name"], namespace, grace_s=0)
        shutil.rmtree(self.folder, ignore_errors=True)
