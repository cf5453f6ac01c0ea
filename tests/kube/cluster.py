# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Kubernetes: the control plane of plane.py with its controllers, and nodes with containerd, kubelet and kube-proxy. About 30 s for two nodes.

    n1: 10.250.0.11   n2: 10.250.0.12       each in namespaces of its own (network, mount, process ids, host name, IPC), eth0 on the control plane's bridge
    pods by the CNI plug-ins ptp and host-local, out of the range that the controller-manager gives to the node; routes between the nodes

    with Cluster() as cluster:
        cluster.nodes["n1"].run("ip", "addr")        # on the node, in all of its namespaces
        cluster.apply({...}); cluster.kubectl(...); cluster.api ...
        cluster.run_pod("web", "n2", "nginx", "-g", "daemon off;"); cluster.exec("web", "ls")
        with cluster.network("web") as network: network.connect(...)     # sockets of the test's own in a pod
        cluster.helm("install", "culvert", ...)
        cluster.nodes["n1"].power_off(); cluster.nodes["n1"].power_on()
"""

import concurrent.futures
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import socket
import subprocess

from images import PAUSE, TOOLS_IMAGE, make_culvert, make_pause, make_tools
from lib import Failure, Namespace, run, wait_for
from plane import PLANE_ADDRESS, PLANE_ADDRESS_V6, POLL_S, SERVER_PORT, START_S, ControlPlane, cgroup_hierarchies, ending_with_us, programs, remove_cgroup

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE.parent.parent / "deploy" / "chart"
_numbers = itertools.count()


class Node:
    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.name = f"n{number}"
        self.address, self.address_v6 = f"10.250.0.1{number}", f"fd50::1{number}"
        self.folder = cluster.disk / self.name
        self.group = f"{cluster.name}-{self.name}"
        self._init = None
        self.pid = None
        self.ns = None

    def has_servers(self):
        return self.cluster.server_node == self.name

    def write_settings(self):
        plane, folder = self.cluster, self.folder
        (folder / "images").mkdir(parents=True)
        (folder / "net.d").mkdir()
        for archive in plane.archives:
            os.link(archive, folder / "images" / archive.name)
        (folder / "address").write_text(self.address)
        server = f"https://{plane.server_address}:{SERVER_PORT}"
        shutil.copy(plane.kubeconfig(f"system:node:{self.name}", ["system:nodes"], server=server), folder / "kubelet.kubeconfig")
        shutil.copy(plane.kubeconfig("system:kube-proxy", server=server), folder / "kube-proxy.kubeconfig")
        # No machine-wide score, profile or page limit can be set where the tests run.
        (folder / "containerd.toml").write_text(f'''version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "{folder / 'net.d'}"
''')
        (folder / "kubelet.json").write_text(json.dumps({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(plane.authority.crt())}},
            "authorization": {"mode": "Webhook"}, "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{self.group}", "featureGates": plane.gates, "failSwapOn": False, "oomScoreAdj": 0,
            "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local", "syncFrequency": "2s", "registerNode": True,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"}}))
        (folder / "kube-proxy.json").write_text(json.dumps({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": "iptables",
            "clusterCIDR": ",".join(plane.pod_ranges), "featureGates": plane.gates,
            "clientConnection": {"kubeconfig": str(folder / "kube-proxy.kubeconfig")}, "hostnameOverride": self.name, "oomScoreAdj": 0,
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}}))

    def plug(self):
        """Its network, with nobody in it."""
        self.ns = Namespace(self.group)
        self.cluster.wire.ip(f"link add {self.name} type veth peer name eth0 netns {self.group}", f"link set {self.name} master br0 up")
        # Somebody's metadata service is asked for at this address; nobody is there, and it is told at once.
        self.ns.ip(f"addr add {self.address}/24 dev eth0", "link set eth0 up", f"route add default via {PLANE_ADDRESS}", "route add unreachable 169.254.0.0/16")
        self.ns.sysctl(**{"net.ipv4.ip_forward": 1})
        if self.cluster.is_dual_stack:
            self.ns.ip(f"addr add {self.address_v6}/64 dev eth0 nodad", f"-6 route add default via {PLANE_ADDRESS_V6}")
            self.ns.sysctl(**{"net.ipv6.conf.all.forwarding": 1})
        if self.has_servers():
            self.cluster.ns = self.ns

    def power_on(self):
        """Also of a node that was only plugged; with etcd and the API server, where they are this node's."""
        if self.ns is None:
            self.plug()
        is_first = not (self.folder / "init.log").exists()
        for hierarchy in cgroup_hierarchies():
            group = hierarchy / self.group
            group.mkdir(exist_ok=True)
            for value in ("cpuset.cpus", "cpuset.mems"):
                if (group / value).exists():
                    (group / value).write_text((hierarchy / value).read_text())
        environment = {**os.environ, "PATH": f"{self.cluster.node_programs / 'bin'}:{self.cluster.bin}:/usr/sbin:/usr/bin:/sbin:/bin"}
        with open(self.folder / "init.log", "ab") as log:
            self._init = subprocess.Popen(
                ending_with_us("nsenter", f"--net=/run/netns/{self.group}", "--", "unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child",
                               "--mount-proc", HERE / "node-init.sh", self.folder, self.name, self.cluster.node_programs / "cni"),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)
        children = pathlib.Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        self.pid = int(wait_for(lambda: children.read_text().split() if self._init.poll() is None else self._dead(), f"the first process of {self.name}")[0])
        if not is_first:
            if self.has_servers():
                self.cluster.start_all()
            self.add_routes()

    def _dead(self):
        raise Failure(f"{self.name} did not start:\n{(self.folder / 'init.log').read_text(errors='replace')[-3000:]}")

    def power_off(self):
        """At once, as by its switch: processes, mounts, devices and rules are gone, its disk stays."""
        if self.has_servers():
            self.cluster.kill_all()
        if self._init is not None:
            self._init.kill()
            self._init.wait()
            self._init = None
            wait_for(lambda: not os.path.exists(f"/proc/{self.pid}"), f"the end of {self.name}")
        if self.ns is not None:
            # The kernel keeps a namespace for as long as something unsent lies in a socket of it; the cable is out at once.
            run("ip", "-n", self.cluster.wire.name, "link", "del", self.name, check=False)
            self.ns.close()
            self.ns = None
        for hierarchy in cgroup_hierarchies():
            if (hierarchy / self.group).exists():
                remove_cgroup(hierarchy / self.group)

    def command(self, *words):
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-u", "-i", "--", "env",
                f"PATH={self.cluster.node_programs / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin", *[str(word) for word in words]]

    def run(self, *words, **options):
        return run(*self.command(*words), **options)

    def pids(self, program):
        return self.run("pidof", program, check=False).stdout.split()

    def kill(self, program):
        """All its processes at once; returns when they are gone."""
        self.run("kill", "-9", *(gone := self.pids(program)))
        wait_for(lambda: set(gone).isdisjoint(self.pids(program)), f"the end of {program} on {self.name}")

    @contextlib.contextmanager
    def kubelet_stopped(self):
        """Nothing that ends on the node is started again meanwhile."""
        (pid,) = self.pids("kubelet")
        self.run("kill", "-STOP", pid)
        try:
            yield
        finally:
            self.run("kill", "-CONT", pid)

    def popen(self, *words, **options):
        """A process in the node's network with the machine's files; a child of ours, so that it is ended by its own id."""
        return self.ns.popen(*ending_with_us(*words), **options)

    def log(self, name):
        return (self.folder / "log" / f"{name}.log").read_text(errors="replace")

    def state(self):
        """What is said of a node that does not become ready."""
        conditions = (self.cluster.api.find("v1", "nodes", self.name) or {"status": {}})["status"].get("conditions", [])
        log = self.log("kubelet").splitlines() if (self.folder / "log" / "kubelet.log").exists() else ["no log of kubelet"]
        return "\n".join([self.name, json.dumps(conditions), (self.folder / "init.log").read_text(errors="replace")[-2000:], *log[-25:]])

    def pod_ranges(self):
        """By family, IPv4 first."""
        return wait_for(lambda: (self.cluster.api.find("v1", "nodes", self.name) or {"spec": {}})["spec"].get("podCIDRs"), lambda: f"pods' ranges of {self.name}",
                        START_S, POLL_S)

    def way_to_pods(self):
        """For `ip`: how the others reach this node's pods."""
        return [f"{'-6 ' if ':' in pods else ''}route replace {pods} via {node}" for pods, node in zip(self.pod_ranges(), (self.address, self.address_v6))]

    def configure_network(self):
        """What a CNI's own DaemonSet does: its list for containerd, and the ways to the other nodes' pods."""
        plugins = [{"type": "ptp", "ipMasq": False, "mtu": 1500,
                    "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}] for pods in self.pod_ranges()],
                             "routes": [{"dst": "::/0" if ":" in pods else "0.0.0.0/0"} for pods in self.pod_ranges()]}},
                   {"type": "portmap", "capabilities": {"portMappings": True}}]
        # Written in its place: containerd overlooks a file that comes by rename.
        (self.folder / "net.d" / "10-pods.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}))
        self.add_routes()
        self.cluster.wire.ip(*self.way_to_pods())

    def add_routes(self):
        for other in self.cluster.nodes.values():
            if other is not self:
                self.ns.ip(*other.way_to_pods())

    def is_ready(self):
        node = self.cluster.api.find("v1", "nodes", self.name)
        return node is not None and any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))


def is_pod_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


class PodNetwork(Namespace):
    """The network of a pod that runs, for sockets of the test's own in it: they need neither the API server nor the kubelet."""

    def __init__(self, node, addresses):
        self.processes = []
        for path in pathlib.Path(f"/proc/{node.pid}/root/run/netns").iterdir():
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if self._has(addresses[0]):
                self.v4, self.v6 = (next((address for address in addresses if (":" in address) == is_v6), None) for is_v6 in (False, True))
                return
            os.close(self._fd)
        raise Failure(f"no network of {node.name} has the address {addresses[0]}")

    def _has(self, address):
        with self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
            try:
                s.bind((address, 0))
            except OSError:
                return False
        return True

    def close(self):
        os.close(self._fd)


class Capture:
    """What passes the wires of all nodes, by tcpdump on each node's eth0."""

    def __init__(self, cluster, words):
        self._cluster, self._words, self._running = cluster, words, []

    def __enter__(self):
        for node in self._cluster.nodes.values():
            path = node.folder / f"capture-{next(_numbers)}.pcap"
            process = node.popen("tcpdump", "-i", "eth0", "-n", "-U", "-w", path, self._words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            self._running.append((node, path, process))
            for line in process.stderr:
                if "listening on" in line:
                    break
        return self

    def packets(self):
        """What was seen so far, a line each, with its node's name."""
        lines = []
        for node, path, _ in self._running:
            lines += [f"{node.name}: {line}" for line in run("tcpdump", "-n", "-r", path, check=False).stdout.splitlines()]
        return lines

    def __exit__(self, *_):
        for _, _, process in self._running:
            process.terminate()
            process.wait()
            process.stderr.close()


class Cluster(ControlPlane):
    def __init__(self, nodes=2, build=None, server_options=(), server_node=None, dual_stack=False):
        """build: the folder of a build of Culvert, whose image is then on the nodes. server_node: etcd, the API server and the controllers run on this node,
        and are off when it is; else they have a place of their own."""
        self.nodes = {}
        self.build = build
        self.server_node = server_node
        (self.node_programs,) = programs("node")
        (self.helm_programs,) = programs("helm")
        self._nodes_wanted = nodes
        super().__init__(controllers=True, server_options=server_options, dual_stack=dual_stack)

    def _build(self):
        self.disk = pathlib.Path("/tmp") / self.name
        self.disk.mkdir()
        self.archives = [self.disk / "pause.tar", self.disk / "tools.tar", *([self.disk / "culvert.tar"] if self.build else [])]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            images = [pool.submit(make_pause, self.archives[0], self.bin / "pause"), pool.submit(make_tools, self.archives[1])]
            if self.build:
                images.append(pool.submit(make_culvert, self.archives[2], self.build))
            super()._build()
            for image in images:
                image.result()
        for node in self.nodes.values():
            node.write_settings()
            node.power_on()
        for node in self.nodes.values():
            node.configure_network()
        self.wait_for_nodes()

    def _make_network(self):
        super()._make_network()
        self.nodes = {node.name: node for node in (Node(self, number) for number in range(1, self._nodes_wanted + 1))}
        if self.server_node:
            self.nodes[self.server_node].plug()
            self.server_address = self.nodes[self.server_node].address

    def wait_for_nodes(self):
        wait_for(lambda: all(node.is_ready() for node in self.nodes.values()),
                 lambda: "the nodes to be ready:\n" + "\n".join(node.state() for node in self.nodes.values() if not node.is_ready()), START_S, POLL_S)

    def close(self):
        for node in self.nodes.values():
            node.power_off()
        super().close()
        shutil.rmtree(getattr(self, "disk", "/nonexistent"), ignore_errors=True)

    # --- objects

    def apply(self, *objects, namespace="default"):
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def pod(self, name, namespace="default"):
        return self.api.find("v1", "pods", name, namespace)

    def wait_for_pod(self, name, namespace="default"):
        def is_ready():
            pod = self.pod(name, namespace)
            return pod if pod is not None and is_pod_ready(pod) else None

        return wait_for(is_ready, lambda: f"pod {name}: {json.dumps((self.pod(name, namespace) or {}).get('status'))}", START_S, POLL_S)

    def run_pod(self, name, node, *command, namespace="default", labels=(), **container):
        """A pod of the tests' tools on a node; waits until it is ready."""
        self.apply(self.tools_pod(name, node, *command, labels=labels, **container), namespace=namespace)
        return self.wait_for_pod(name, namespace)

    @staticmethod
    def tools_pod(name, node, *command, labels=(), **container):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": dict(labels)},
                "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
                         "containers": [{"name": "c", "image": TOOLS_IMAGE, "imagePullPolicy": "Never", "command": list(command) or ["sleep", "100000"], **container}]}}

    def delete_pods(self, namespace="default"):
        """The pods that no controller makes again; waits until they are gone."""
        for pod in self.api.list("v1", "pods", namespace):
            self.api.delete("v1", "pods", pod["metadata"]["name"], namespace, grace_s=0)
        wait_for(lambda: not self.api.list("v1", "pods", namespace), f"the end of the pods in {namespace}", START_S, POLL_S)

    def network(self, name, namespace="default"):
        """A context: the network of a pod that runs."""
        pod = self.pod(name, namespace)
        return contextlib.closing(PodNetwork(self.nodes[pod["spec"]["nodeName"]], [entry["ip"] for entry in pod["status"]["podIPs"]]))

    def exec(self, pod, *command, namespace="default", check=True, timeout=120):
        return self.kubectl("exec", "-n", namespace, pod, "--", *command, check=check, timeout=timeout)

    # --- Culvert

    def install(self, *options, name="culvert", namespace="culvert", wait=True):
        """helm install with the chart and no values but those of options; waits until every daemon is ready. Helm's output."""
        done = self.helm("install", name, CHART, "--namespace", namespace, *options)
        if wait:
            self.wait_for_daemons(namespace)
        return done.stdout

    def uninstall(self, *options, name="culvert", namespace="culvert"):
        """helm uninstall, and the namespace that --create-namespace made; waits until nothing of it is left."""
        self.helm("uninstall", name, "--namespace", namespace, *options)
        # A namespace that is deleted with pods in it is looked at again only after half of their grace.
        wait_for(lambda: not self.api.list("v1", "pods", namespace), f"the end of the pods in {namespace}", START_S, POLL_S)
        self.kubectl("delete", "namespace", namespace, "--wait", timeout=300)

    def daemons(self, namespace="culvert"):
        """The daemons' pods by their nodes; not those that are ending."""
        pods = self.api.list("v1", "pods", namespace, labelSelector="app.kubernetes.io/component=daemon")
        return {pod["spec"]["nodeName"]: pod for pod in pods if pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]}

    def daemon_log(self, node, namespace="culvert", previous=False):
        pod = self.daemons(namespace).get(node)
        if pod is None:
            return "no pod"
        return self.kubectl("logs", "-n", namespace, pod["metadata"]["name"], *(["--previous"] if previous else []), check=False).stdout

    def wait_for_daemons(self, namespace="culvert", nodes=None):
        nodes = set(nodes or self.nodes)

        def are_ready():
            pods = self.daemons(namespace)
            return nodes <= set(pods) and all(is_pod_ready(pods[node]) for node in nodes)

        def logs():
            return "\n".join(f"{node}: {json.dumps(pod['status'])[:1500]}\n{self.daemon_log(node, namespace)[-3000:]}" for node, pod in self.daemons(namespace).items())

        wait_for(are_ready, lambda: f"the daemons of {nodes}:\n{logs()}", START_S, POLL_S)

    def ctl(self, node, *words, namespace="culvert", check=True):
        """culvertctl in the daemon's pod on a node."""
        return self.kubectl("exec", "-n", namespace, self.daemons(namespace)[node]["metadata"]["name"], "--", "culvertctl", *words, check=check).stdout

    def status(self, node, command="status"):
        return json.loads(self.ctl(node, "-o", "json", command, check=False))

    def capture(self, *filter_words):
        return Capture(self, " ".join(filter_words))

    def helm(self, *arguments, check=True, timeout=300):
        """Helm with its own folders below the test's."""
        home = self.folder / "helm"
        return run("env", f"HOME={home}", f"HELM_CACHE_HOME={home}", f"HELM_CONFIG_HOME={home}", f"HELM_DATA_HOME={home}", self.helm_programs / "helm",
                   f"--kubeconfig={self.kubeconfig()}", *arguments, ns=self.ns, check=check, timeout=timeout)
