#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes with two pods each, a third host that is not enrolled with a pod of its own, and the wires between them.

    w (the switch): bridges lan0 (and lan1 where there is a second uplink)
      |            |            |
      a: node1     b: node2     x: not enrolled     each a network namespace, eth0 on lan0
      a1 a2        b1 b2        x1                  their pods

Every namespace is named after an id that begins with the process id; devices live inside the namespaces, so their names need not be unique.
As a program: `lib.py up --id X [--pods routed] [--wire direct] [--rules iptables]` and `lib.py down --id X`.
"""

import argparse
import contextlib
import ctypes
import errno
import fcntl
import itertools
import os
import pathlib
import select
import socket
import struct
import subprocess
import sys
import time
import typing

HERE = pathlib.Path(__file__).resolve().parent
PLAIN = os.environ.get("CULVERT_PLAIN") == "1"  # no daemons: the tests of the tests
RUN_NETNS = pathlib.Path("/run/netns")
BPFFS = pathlib.Path("/sys/fs/bpf")

POD_SPACE = {4: "10.88.0.0/16", 6: "fd88::/16"}
TUNNEL_PORT = 7117
MASQUERADE_MARK = "0x4000/0x4000"  # kube-proxy's
DEADLINE_S = int(os.environ.get("CULVERT_DEADLINE_S", 60))  # how long anything may take before a test calls it lost; generous, since the machine may be busy

_libc = ctypes.CDLL(None, use_errno=True)
_HOME = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Failure(AssertionError):
    """Something that the test needed did not happen."""


def run(*command, check=True, stdin=None, ns=None, timeout=DEADLINE_S):
    """Runs a program to its end; its output as text. In a namespace by nsenter and never by `ip netns exec`, which hides the bpffs."""
    words = [str(word) for word in command]
    if ns is not None:
        words = ["nsenter", f"--net={RUN_NETNS / ns.name}", "--", *words]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_for(condition, what, timeout=DEADLINE_S, interval=0.02):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {timeout} s in vain for {what() if callable(what) else what}")
        time.sleep(interval)


def ensure_bpffs():
    if not os.path.ismount(BPFFS):
        run("mount", "-t", "bpf", "bpf", BPFFS)


class Namespace:
    """One network namespace. Sockets made inside it stay in it, whatever thread uses them later."""

    # Debian's defaults are looser; a strict node is the harder case.
    SETTINGS = {"net.ipv4.tcp_congestion_control": "reno", "net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0,
                "net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.conf.default.rp_filter": 1, "net.ipv4.conf.all.rp_filter": 0}

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        self._fd = os.open(RUN_NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
        self.processes = []
        self.sysctl(**self.SETTINGS)
        self.ip("link set lo up")

    @contextlib.contextmanager
    def inside(self):
        """The calling thread, and only it, is in the namespace for a while."""
        self._setns(self._fd)
        try:
            yield self
        finally:
            self._setns(_HOME)

    @staticmethod
    def _setns(fd):
        if _libc.setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")

    def run(self, *command, **options):
        return run(*command, ns=self, **options)

    def ip(self, *lines):
        """Lines of `ip`, in one batch; those that begin with -6 in a second one."""
        for family in ("", "-6 "):
            batch = [line.removeprefix("-6 ") for line in lines if line.startswith("-6 ") == bool(family)]
            if batch:
                run("ip", *family.split(), "-n", self.name, "-batch", "-", stdin="\n".join(batch) + "\n")

    def sysctl(self, **values):
        with self.inside():
            for key, value in values.items():
                path = pathlib.Path("/proc/sys") / key.replace(".", "/")
                if path.exists():
                    path.write_text(str(value))

    def popen(self, *command, **options):
        process = subprocess.Popen(["nsenter", f"--net={RUN_NETNS / self.name}", "--", *[str(word) for word in command]], **options)
        self.processes.append(process)
        return process

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        with self.inside():
            return socket.socket(family, kind, protocol)

    def listen(self, port=0, backlog=1024, address=None):
        """A listening socket; without an address on every one, of both families."""
        s = self.socket(socket.AF_INET6 if address is None or ":" in address else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address is None:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind((address or "::", port))
        s.listen(backlog)
        return s

    def connect(self, address, port, source_port=0, timeout=DEADLINE_S, before=None):
        s = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            s.settimeout(timeout)
            if source_port:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("", source_port))
            if before:
                before(s)
            s.connect((address, port))
        except BaseException:
            s.close()
            raise
        return s

    def begin(self, address, port):
        """A connection that is under way; finish() waits for it."""
        s = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        s.setblocking(False)
        error = s.connect_ex((address, port))
        if error not in (0, errno.EINPROGRESS):
            s.close()
            raise OSError(error, os.strerror(error))
        return s

    def udp(self, address, port=0):
        s = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(DEADLINE_S)
        s.bind((address, port))
        return s

    def ping(self, address, size=56, timeout=1):
        """One echo request of so many bytes; whether the answer came, whole."""
        family, protocol, request, answer = ((socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129) if ":" in address else (socket.AF_INET, socket.IPPROTO_ICMP, 8, 0))
        payload = os.urandom(size)
        with self.socket(family, socket.SOCK_DGRAM, protocol) as s:
            s.settimeout(timeout)
            try:
                s.sendto(struct.pack("!BBHHH", request, 0, 0, 0, 1) + payload, (address, 0))
                reply = s.recv(65536)
            except OSError:
                return False
        return reply[0] == answer and reply[8:] == payload

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        os.close(self._fd)
        run("ip", "netns", "del", self.name)


class Host(Namespace):
    """A node, or the third host."""

    def __init__(self, prefix, letter, number):
        super().__init__(f"{prefix}-{letter}")
        self.letter, self.number = letter, number
        self.node_name = f"node{number}"
        self.v4, self.v6 = f"10.99.0.{number}", f"fd99::{number}"
        self.pod_prefixes = (f"10.88.{number}.0/24", f"fd88:{number}::/64")
        self.pods = []

    def address(self, version):
        return self.v4 if version == 4 else self.v6


class Pod(Namespace):
    def __init__(self, prefix, host, index):
        super().__init__(f"{prefix}-{host.letter}{index}")
        self.host, self.index = host, index
        self.veth = f"cali{index}"
        self.v4, self.v6 = f"10.88.{host.number}.1{index}", f"fd88:{host.number}::1{index}"
        host.pods.append(self)

    def address(self, version):
        return self.v4 if version == 4 else self.v6


def finish(connection, timeout=DEADLINE_S):
    """The end of what begin() began: connected, or the error that connect() would have given."""
    if not select.select([], [connection], [], timeout)[1]:
        raise TimeoutError("the connection is still under way")
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    connection.settimeout(timeout)
    return connection


class Shape(typing.NamedTuple):
    """A topology. pods: routed (a /32 on a veth each, as Calico), bridged (cni0). wire: direct, vxlan (as Flannel), tun (a layer-3 device), rule (a second
    uplink that only `ip rule from` leads to, as on AWS). rules: iptables, legacy, nft or none: like kube-proxy's and a policy agent's."""

    pods: str = "routed"
    wire: str = "direct"
    rules: str = "iptables"

    def __str__(self):
        return "-".join(self)


class Service(typing.NamedTuple):
    v4: str
    v6: str
    port: int
    node_port: int  # 0: none
    endpoints: tuple  # names of pods
    target: int


# web: endpoints on both nodes; one: a single remote endpoint, so that its choice is no chance; self: a1 behind its own address (hairpin).
SERVICES = {
    "web": Service("10.96.0.10", "fd96::10", 80, 30080, ("b1", "b2", "a2"), 8080),
    "one": Service("10.96.0.11", "fd96::11", 80, 30081, ("b1",), 8080),
    "self": Service("10.96.0.12", "fd96::12", 80, 0, ("a1",), 8080),
}

_ids = itertools.count()


class Net:
    """The whole topology of a shape. close() takes all of it out again."""

    def __init__(self, shape=Shape(), name=None):
        self.shape = shape
        self.name = name or f"cv{os.getpid()}n{next(_ids)}"
        self.mtu = {"direct": 1500, "vxlan": 1450, "tun": 1400, "rule": 1500}[shape.wire]
        self._all = []
        self._tunnel = None
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _add(self, kind, *arguments):
        made = kind(*arguments)
        self._all.append(made)
        return made

    def _build(self):
        self.w = self._add(Namespace, f"{self.name}-w")
        self.a = self._add(Host, self.name, "a", 1)
        self.b = self._add(Host, self.name, "b", 2)
        self.x = self._add(Host, self.name, "x", 3)
        self.nodes = (self.a, self.b)
        self.a1, self.a2 = (self._add(Pod, self.name, self.a, index) for index in (1, 2))
        self.b1, self.b2 = (self._add(Pod, self.name, self.b, index) for index in (1, 2))
        self.x1 = self._add(Pod, self.name, self.x, 1)
        self.lans = ["lan0", "lan1"] if self.shape.wire == "rule" else ["lan0"]
        for index, lan in enumerate(self.lans):
            self.w.ip(f"link add {lan} type bridge mcast_snooping 0", f"link set {lan} up")
            for host in (self.a, self.b, self.x):
                self._uplink(host, lan, index)
        for host in (self.a, self.b, self.x):
            loose = 2 if self.shape.wire == "rule" else 1
            host.sysctl(**{"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
            for device in ("eth0", "eth1"):
                host.sysctl(**{f"net.ipv4.conf.{device}.rp_filter": loose})
            if self.shape.pods == "bridged" and host is not self.x:
                host.ip("link add cni0 type bridge", f"addr add 10.88.{host.number}.1/24 dev cni0",
                        f"addr add fd88:{host.number}::1/64 dev cni0 nodad", "link set cni0 up")
            for pod in host.pods:
                self._plug(pod)
        # the world behind x; proxy ARP answers a pod only for what it has a route to
        self.x.ip("link add world0 type bridge", "link set world0 up", "route add default dev world0", "-6 route add default dev world0")
        self._wire()
        for host in self.nodes:
            self._rules(host)
        for pod in (self.a1, self.b1, self.x1):  # neighbours resolved, so that a test meets only its own packets
            for version in (4, 6):
                other = self.b1 if pod is not self.b1 else self.a1
                wait_for(lambda: pod.ping(other.address(version)), f"{pod.name} to reach {other.name} over IPv{version}")

    def _uplink(self, host, lan, index):
        port, device, subnet = f"{lan[0]}{index}{host.letter}", f"eth{index}", 99 - 2 * index
        self.w.ip(f"link add {port} type veth peer name {device} netns {host.name}", f"link set {port} master {lan} up")
        host.ip(f"addr add 10.{subnet}.0.{host.number}/24 dev {device}", f"addr add fd{subnet}::{host.number}/64 dev {device} nodad",
                f"link set {device} up")

    def _plug(self, pod):
        host, veth = pod.host, pod.veth
        host.ip(f"link add {veth} mtu {self.mtu} type veth peer name eth0 mtu {self.mtu} netns {pod.name}", f"link set {veth} up")
        if self.shape.pods == "bridged" and host is not self.x:
            host.ip(f"link set {veth} master cni0")
            run("bridge", "-n", host.name, "link", "set", "dev", veth, "hairpin", "on")
            pod.ip(f"addr add {pod.v4}/24 dev eth0", f"addr add {pod.v6}/64 dev eth0 nodad", "link set eth0 up",
                   f"route add default via 10.88.{host.number}.1", f"-6 route add default via fd88:{host.number}::1")
            return
        host.sysctl(**{f"net.ipv4.conf.{veth}.proxy_arp": 1, f"net.ipv4.neigh.{veth}.proxy_delay": 0})
        host.ip(f"addr add fe80::1/64 dev {veth} nodad")
        pod.ip(f"addr add {pod.v4}/32 dev eth0", f"addr add {pod.v6}/128 dev eth0 nodad", "link set eth0 up",
               "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1", "-6 route add default via fe80::1 dev eth0")
        host.ip(f"route add {pod.v4}/32 dev {veth}", f"-6 route add {pod.v6}/128 dev {veth}")

    def _wire(self):
        wire = self.shape.wire
        for host, other in ((self.a, self.b), (self.b, self.a)):
            i, o = host.number, other.number
            if wire == "direct":
                host.ip(f"route add {other.pod_prefixes[0]} via {other.v4}", f"-6 route add {other.pod_prefixes[1]} via {other.v6}")
            elif wire == "rule":
                # the main table knows another way, so that only the rule leads to eth1
                host.ip(f"route add {other.pod_prefixes[0]} via {other.v4}", f"-6 route add {other.pod_prefixes[1]} via {other.v6}",
                        f"route add default via 10.97.0.3 dev eth1 table 100", f"-6 route add default via fd97::3 dev eth1 table 100",
                        f"route add {other.pod_prefixes[0]} via 10.97.0.{o} dev eth1 table 100",
                        f"-6 route add {other.pod_prefixes[1]} via fd97::{o} dev eth1 table 100",
                        f"rule add to {host.pod_prefixes[0]} lookup main pref 512", f"-6 rule add to {host.pod_prefixes[1]} lookup main pref 512",
                        f"rule add from {host.pod_prefixes[0]} lookup 100 pref 1536", f"-6 rule add from {host.pod_prefixes[1]} lookup 100 pref 1536")
            elif wire == "vxlan":
                host.ip(f"link add flannel.1 address 0a:58:f1:00:00:0{i} mtu {self.mtu} type vxlan id 1 local {host.v4} dev eth0 dstport 8472 nolearning",
                        f"addr add 10.88.{i}.0/32 dev flannel.1", f"addr add fe80::f:{i}/64 dev flannel.1 nodad", "link set flannel.1 up",
                        f"neigh add 10.88.{o}.0 lladdr 0a:58:f1:00:00:0{o} dev flannel.1 nud permanent",
                        f"neigh add fe80::f:{o} lladdr 0a:58:f1:00:00:0{o} dev flannel.1 nud permanent",
                        f"route add {other.pod_prefixes[0]} via 10.88.{o}.0 dev flannel.1 onlink",
                        f"-6 route add {other.pod_prefixes[1]} via fe80::f:{o} dev flannel.1")
                run("bridge", "-n", host.name, "fdb", "append", f"0a:58:f1:00:00:0{o}", "dev", "flannel.1", "dst", other.v4)
        if wire == "tun":
            ends = []
            for host, other in ((self.a, self.b), (self.b, self.a)):
                with host.inside():
                    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
                    fcntl.ioctl(end, 0x400454CA, struct.pack("16sH22x", b"tunl0", 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
                ends.append(end)
                host.ip(f"link set tunl0 mtu {self.mtu} up", f"addr add 10.98.0.{host.number}/32 dev tunl0",
                        f"route add 10.98.0.{other.number} dev tunl0", f"route add {other.pod_prefixes[0]} dev tunl0", f"-6 route add {other.pod_prefixes[1]} dev tunl0")
            self._tunnel = subprocess.Popen([sys.executable, HERE / "tunpair.py", *map(str, ends)], pass_fds=ends, start_new_session=True,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for end in ends:
                os.close(end)
        subnet = 97 if wire == "rule" else 99
        for host in self.nodes:
            host.ip(f"route add {self.x.pod_prefixes[0]} via {self.x.v4}", f"-6 route add {self.x.pod_prefixes[1]} via {self.x.v6}",
                    f"route add default via {self.x.v4}", f"-6 route add default via {self.x.v6}")
            self.x.ip(f"route add {host.pod_prefixes[0]} via 10.{subnet}.0.{host.number}",
                      f"-6 route add {host.pod_prefixes[1]} via fd{subnet}::{host.number}")

    # Rules as kube-proxy and a policy agent write them

    def pod(self, name):
        return getattr(self, name)

    def _rules(self, host):
        if self.shape.rules == "nft":
            host.run("nft", "-f", "-", stdin=self._nft_rules())
        elif self.shape.rules != "none":
            for version in (4, 6):
                host.run(self._iptables(version) + "-restore", stdin=self._iptables_rules(version))

    def _iptables(self, version):
        return ("iptables" if version == 4 else "ip6tables") + {"iptables": "-nft", "legacy": "-legacy"}[self.shape.rules]

    def _iptables_rules(self, version):
        space, host_bits = POD_SPACE[version], 32 if version == 4 else 128
        bracket = (lambda a: a) if version == 4 else (lambda a: f"[{a}]")
        nat = [":KUBE-SERVICES -", ":KUBE-POSTROUTING -", ":KUBE-MARK-MASQ -", "-A PREROUTING -j KUBE-SERVICES", "-A OUTPUT -j KUBE-SERVICES",
               "-A POSTROUTING -j KUBE-POSTROUTING", f"-A KUBE-POSTROUTING -m mark ! --mark {MASQUERADE_MARK} -j RETURN",
               "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0", "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
               "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"]
        for name, service in SERVICES.items():
            name, address = name.upper(), service.v4 if version == 4 else service.v6
            nat += [f":SVC-{name} -", f":EXT-{name} -", f"-A KUBE-SERVICES -d {address}/{host_bits} -p tcp --dport {service.port} -j SVC-{name}",
                    f"-A SVC-{name} ! -s {space} -d {address}/{host_bits} -p tcp --dport {service.port} -j KUBE-MARK-MASQ",
                    f"-A EXT-{name} -j KUBE-MARK-MASQ", f"-A EXT-{name} -j SVC-{name}"]
            for index, endpoint in enumerate(service.endpoints):
                pod, left = self.pod(endpoint).address(version), len(service.endpoints) - index
                chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
                nat += [f":SEP-{name}-{index} -", f"-A SVC-{name} {chance}-j SEP-{name}-{index}", f"-A SEP-{name}-{index} -s {pod}/{host_bits} -j KUBE-MARK-MASQ",
                        f"-A SEP-{name}-{index} -p tcp -j DNAT --to-destination {bracket(pod)}:{service.target}"]
        for name, service in SERVICES.items():
            if service.node_port:
                nat.append(f"-A KUBE-SERVICES -p tcp --dport {service.node_port} -m addrtype --dst-type LOCAL -j EXT-{name.upper()}")
        chains = [line for line in nat if line.startswith(":")]
        rest = [line for line in nat if not line.startswith(":")]
        policy = [":FORWARD DROP [0:0]", ":POLICY -", ":KUBE-FORWARD -", "-A FORWARD -j POLICY", "-A FORWARD -j KUBE-FORWARD",
                  "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP", f"-A KUBE-FORWARD -m mark --mark {MASQUERADE_MARK} -j ACCEPT",
                  "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", f"-A FORWARD -s {space} -j ACCEPT",
                  f"-A FORWARD -d {space} -j ACCEPT"]
        return "\n".join(["*nat", *chains, *rest, "COMMIT", "*filter", *policy, "COMMIT", ""])

    def _nft_rules(self):
        text = ["table inet netpol {", "chain forward { type filter hook forward priority -10; policy accept;", "}", "}",
                "table inet cni {", "chain forward { type filter hook forward priority 0; policy drop;", "ct state invalid drop",
                "ct state established,related accept"]
        text += [f"{family} {way}addr {POD_SPACE[version]} accept" for version, family in ((4, "ip"), (6, "ip6")) for way in "sd"]
        text += ["}", "}"]
        for version, family in ((4, "ip"), (6, "ip6")):
            text.append(f"table {family} kube-proxy {{")
            entry = []
            for name, service in SERVICES.items():
                address = service.v4 if version == 4 else service.v6
                choice = ", ".join(f"{index} : goto ep_{name}_{index}" for index in range(len(service.endpoints)))
                for index, endpoint in enumerate(service.endpoints):
                    pod = self.pod(endpoint).address(version)
                    target = f"{pod}:{service.target}" if version == 4 else f"[{pod}]:{service.target}"
                    text += [f"chain ep_{name}_{index} {{", f"{family} saddr {pod} meta mark set mark or 0x4000", f"meta l4proto tcp dnat to {target}", "}"]
                text += [f"chain svc_{name} {{", f"{family} saddr != {POD_SPACE[version]} {family} daddr {address} meta mark set mark or 0x4000",
                         f"numgen random mod {len(service.endpoints)} vmap {{ {choice} }}", "}",
                         f"chain ext_{name} {{", "meta mark set mark or 0x4000", f"goto svc_{name}", "}"]
                entry.append(f"{family} daddr {address} tcp dport {service.port} goto svc_{name}")
                if service.node_port:
                    entry.append(f"fib daddr type local tcp dport {service.node_port} goto ext_{name}")
            text += ["chain services {", *entry, "}", "chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump services", "}",
                     "chain output { type nat hook output priority -100; policy accept; jump services", "}",
                     "chain postrouting { type nat hook postrouting priority srcnat; policy accept;", "meta mark & 0x4000 == 0 return",
                     "meta mark set mark xor 0x4000", "masquerade fully-random", "}", "}"]
        return "\n".join(text) + "\n"

    @contextlib.contextmanager
    def deny(self, host, source, destination, how="drop"):
        """A policy on host against TCP from source to destination (addresses). how: drop, reset, unreachable or prohibited."""
        version = 6 if ":" in source else 4
        if self.shape.rules == "nft":
            family = "ip" if version == 4 else "ip6"
            icmp = "icmp" if version == 4 else "icmpv6"
            verdict = {"drop": "drop", "reset": "reject with tcp reset", "unreachable": f"reject with {icmp} type port-unreachable",
                       "prohibited": f"reject with {icmp} type admin-prohibited"}[how]
            host.run("nft", "insert", "rule", "inet", "netpol", "forward", *f"{family} saddr {source} {family} daddr {destination} meta l4proto tcp".split(),
                     *verdict.split())
            undo = ["nft", "flush", "chain", "inet", "netpol", "forward"]
        else:
            with_ = {"unreachable": ("icmp-port-unreachable", "icmp6-port-unreachable"), "prohibited": ("icmp-admin-prohibited", "icmp6-adm-prohibited"),
                     "reset": ("tcp-reset", "tcp-reset")}
            verdict = ["DROP"] if how == "drop" else ["REJECT", "--reject-with", with_[how][0 if version == 4 else 1]]
            rule = ["-s", source, "-d", destination, "-p", "tcp", "-j", *verdict]
            host.run(self._iptables(version), "-w", "-A", "POLICY", *rule)
            undo = [self._iptables(version), "-w", "-D", "POLICY", *rule]
        try:
            yield
        finally:
            host.run(*undo)

    # The wire

    def cut(self, host, is_cut=True):
        """The switch stops forwarding host's frames, or forwards them again; the host's own link stays up, as with a fault further away."""
        for index, lan in enumerate(self.lans):
            run("bridge", "-n", self.w.name, "link", "set", "dev", f"{lan[0]}{index}{host.letter}", "state", 0 if is_cut else 3)

    def places_of_capture(self):
        """Where all that passes between the hosts can be seen: (namespace, device)."""
        places = [(self.w, lan) for lan in self.lans]
        if self.shape.wire == "tun":
            places.append((self.a, "tunl0"))  # its packets never meet the switch
        return places

    def close(self):
        if self._tunnel is not None:
            self._tunnel.kill()
            self._tunnel.wait()
            self._tunnel = None
        while self._all:
            self._all.pop().close()


def _up(arguments):
    """For the demo's and the benchmarks' shells: the topology stays after this process."""
    net = Net(Shape(arguments.pods, arguments.wire, arguments.rules), name=arguments.id)
    if net._tunnel is not None:
        (pathlib.Path("/run") / f"{arguments.id}.tunpair").write_text(str(net._tunnel.pid))
    for namespace in net._all:
        print(namespace.name)


def _down(arguments):
    pid_file = pathlib.Path("/run") / f"{arguments.id}.tunpair"
    if pid_file.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text()), 9)
        pid_file.unlink()
    for path in RUN_NETNS.glob(f"{arguments.id}-*"):
        run("ip", "netns", "del", path.name)


def main():
    parser = argparse.ArgumentParser(description="Builds or removes the test topology.")
    commands = parser.add_subparsers(required=True)
    up = commands.add_parser("up")
    up.add_argument("--pods", choices=("routed", "bridged"), default="routed")
    up.add_argument("--wire", choices=("direct", "vxlan", "tun", "rule"), default="direct")
    up.add_argument("--rules", choices=("iptables", "legacy", "nft", "none"), default="iptables")
    up.set_defaults(act=_up)
    down = commands.add_parser("down")
    down.set_defaults(act=_down)
    for command in (up, down):
        command.add_argument("--id", required=True, help="first part of the namespaces' names")
    arguments = parser.parse_args()
    arguments.act(arguments)


if __name__ == "__main__":
    main()
