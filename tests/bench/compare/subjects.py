# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared: ways by which a pod's connection gets from one node to the other. Each is started on a Network, and says where a client finds a port
of the server pod. Ours takes the pods' packets by itself; a proxy is spared that: its client connects to it."""

import abc
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import time

from lib import Failure, run, wait_for
from mesh import Daemon, nodes_yaml, program

from .topology import CONNECTIONS, PORTS

CIPHER = "TLS_AES_128_GCM_SHA256"
ETH_P_ALL = 3
FAR_PORT = 20000  # a proxy of node2 listens so much above the port that it carries


def descendants(pid):
    """The process and all that it started."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in descendants(int(child)))]


def cpu_s(pid):
    """CPU that a process used, its threads that are gone too: the scheduler's own sum."""
    return time.clock_gettime((~pid << 3) | 2)


def pss_kib(pid):
    return int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])


class Subject(abc.ABC):
    """One way. start() returns when a pod's connection is carried, stop() when nothing is left of it."""

    name = title = None
    package = None  # Debian's, whose version the report names
    hides = True  # what it carries can not be read on the wire
    missing = staticmethod(lambda: None)  # why it can not run here

    def __init__(self, network, folder):
        self.network, self.folder = network, folder
        self.running = []
        folder.mkdir(parents=True, exist_ok=True)

    def start(self):
        try:
            self.begin()
            wait_for(self._carries, f"{self.name} to carry a connection", interval=0.05)
            if self._is_seen() == self.hides:
                raise Failure(f"what {self.name} carries is {'' if self.hides else 'not '}seen on the wire")
        except BaseException:
            self.stop()
            raise

    @abc.abstractmethod
    def begin(self):
        """Starts it."""

    def stop(self):
        for process in self.running:
            if process.poll() is None:
                process.terminate()
        for process in self.running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = []

    def target(self, port):
        """Where a client in the client pod finds the server's port."""
        return self.network.two.pod_v4, port

    def check_running(self):
        for process in self.running:
            if process.poll() is not None:
                raise Failure(f"{self.name} ended with {process.returncode}: {self.log()[-2000:]}")
        return True

    def _carries(self):
        self.check_running()
        try:
            with self.network.client.connect(*self.target(CONNECTIONS), timeout=5) as connection:
                connection.sendall(b"are you there?")
                return bool(connection.recv(64))
        except OSError:
            return False

    def _is_seen(self):
        """Is a text that one pod says to the other seen between the nodes?"""
        text = os.urandom(16).hex().encode()
        with self.network.one.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as tap:
            tap.bind(("wire0", ETH_P_ALL))
            tap.setblocking(False)
            with self.network.client.connect(*self.target(CONNECTIONS)) as connection:
                connection.sendall(text)
                connection.recv(64)
            packets = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    packets.append(tap.recv(1 << 16))
        return any(text in packet for packet in packets)

    def launch(self, node, *command):
        with open(self.folder / f"{node.node_name}.log", "ab") as log:
            process = node.popen(*command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def log(self):
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def processes(self):
        return [pid for process in self.running for pid in descendants(process.pid)]

    def cpu_s(self):
        """Of both nodes' daemons together."""
        return sum(cpu_s(pid) for pid in self.processes())

    def pss_kib(self):
        """Of both nodes' daemons together."""
        return sum(pss_kib(pid) for pid in self.processes())


class Plain(Subject):
    """The pods' packets as they are: what the network costs by itself."""

    name, title, hides = "plain", "plain", False

    def begin(self):
        pass


def strangers(count):
    """Nodes that are only listed: (name, addresses, prefixes of pods), at most 25,600."""
    return [(f"stranger{index}", [f"172.31.{index // 250}.{index % 250 + 1}"], [f"10.{100 + index // 256}.{index % 256}.0/24"]) for index in range(count)]


class Culvert(Subject):
    connect = None

    def __init__(self, network, folder):
        super().__init__(network, folder)
        self.net = network  # mesh.Daemon's word for it
        self.daemons = []
        self.listed = []  # nodes beside the two

    def restart(self, listed):
        """Anew, with other nodes beside the two."""
        self.stop()
        self.listed = listed
        self.start()

    def issue(self, names):
        run(program("culvertctl"), "ca", "issue", self.folder / "ca", *names)

    def begin(self):
        if not (self.folder / "ca").exists():
            run(program("culvertctl"), "ca", "init", self.folder / "ca")
            self.issue(node.node_name for node in self.network.nodes)
        nodes = [(node.node_name, [node.v4], [node.pods_v4]) for node in self.network.nodes]
        self.daemons = [Daemon(self, node) for node in self.network.nodes]
        for daemon in self.daemons:
            daemon.nodes.write_text(nodes_yaml(nodes + self.listed))
            daemon.write_config(capture={"connect": self.connect})
            self.running.append(daemon.start(wait=False).process)
        for daemon in self.daemons:
            daemon.wait_ready()

    def start(self):
        super().start()
        if self.daemons[0].peers()["node2"]["state"] != "up":
            raise Failure("the pods' connection did not go through a tunnel")

    def stop(self):
        super().stop()
        for daemon in self.daemons:
            daemon.remove()
        self.daemons = []


class Faithful(Culvert):
    """A client's connect() returns when the server's side has accepted: the default."""

    name, title, connect = "culvert", "Culvert", "faithful"


class Optimistic(Culvert):
    """A client's connect() returns at once."""

    name, title, connect = "optimistic", "Culvert, optimistic", "optimistic"


class Proxies(Subject):
    """A pair of TLS proxies with certificates of one authority; each checks the other's, and node1 also node2's name. A thread for each processor of the node.
    A subclass writes the settings of one of them: for each port where it listens, where it connects to, and on which side of it TLS is."""

    program = None

    def target(self, port):
        return self.network.one.gateway_v4, port

    def begin(self):
        if not (self.folder / "ca").exists():
            run(program("culvertctl"), "ca", "init", self.folder / "ca")
            run(program("culvertctl"), "ca", "issue", "--name", "DNS:{node}", self.folder / "ca", "node1", "node2")
        one, two = self.network.nodes
        near = [(f"{one.gateway_v4}:{port}", f"{two.v4}:{port + FAR_PORT}") for port in PORTS]
        far = [(f"{two.v4}:{port + FAR_PORT}", f"{two.pod_v4}:{port}") for port in PORTS]
        for node, ways, is_client in ((two, far, False), (one, near, True)):
            identity = self.folder / "ca" / node.node_name
            (identity / "both.pem").write_text((identity / "tls.crt").read_text() + (identity / "tls.key").read_text())
            settings = self.folder / f"{node.node_name}.conf"
            settings.write_text(self.settings(node, identity, ways, is_client))
            self.launch(node, *self.command(settings))

    @abc.abstractmethod
    def settings(self, node, identity, ways, is_client):
        """The text of the settings file; ways: pairs of addresses, listening and connecting; is_client: TLS is where it connects to, else where it listens."""

    @abc.abstractmethod
    def command(self, settings):
        """How it is started in the foreground."""


class Haproxy(Proxies):
    name = title = package = "haproxy"

    def settings(self, node, identity, ways, is_client):
        tls = f"ssl crt {identity}/both.pem ca-file {identity}/ca.crt verify required ssl-min-ver TLSv1.3 ciphersuites {CIPHER}"
        listen, connect = ("", f" {tls} verifyhost node2") if is_client else (f" {tls}", "")
        text = f"global\n nbthread {len(node.processors)}\n maxconn 9900\ndefaults\n mode tcp\n timeout connect 10s\n timeout client 1h\n timeout server 1h\n"
        for source, destination in ways:
            text += f"listen {source}\n bind {source}{listen}\n server s {destination}{connect}\n"
        return text

    def command(self, settings):
        return "haproxy", "-db", "-q", "-f", settings


class Nginx(Proxies):
    name, title, package = "nginx", "nginx stream", "libnginx-mod-stream"

    def settings(self, node, identity, ways, is_client):
        if is_client:
            tls = (f"proxy_ssl on; proxy_ssl_certificate {identity}/tls.crt; proxy_ssl_certificate_key {identity}/tls.key; proxy_ssl_verify on; "
                   f"proxy_ssl_trusted_certificate {identity}/ca.crt; proxy_ssl_name node2; proxy_ssl_protocols TLSv1.3; "
                   f"proxy_ssl_conf_command Ciphersuites {CIPHER};")
        else:
            tls = (f"ssl_certificate {identity}/tls.crt; ssl_certificate_key {identity}/tls.key; ssl_verify_client on; "
                   f"ssl_client_certificate {identity}/ca.crt; ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {CIPHER};")
        servers = "".join(f"server {{ listen {source}{'' if is_client else ' ssl'} backlog=4096; proxy_pass {destination}; }}\n" for source, destination in ways)
        return (f"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off; worker_processes {len(node.processors)}; worker_rlimit_nofile 20000;\n"
                f"pid {self.folder}/{node.node_name}.pid; error_log {self.folder}/{node.node_name}.log error;\nevents {{ worker_connections 19900; }}\n"
                f"stream {{ proxy_timeout 1h; {tls}\n{servers}}}\n")

    def command(self, settings):
        return "nginx", "-c", settings, "-e", "stderr"


class Stunnel(Proxies):
    name, title, package = "stunnel", "stunnel", "stunnel4"

    def settings(self, node, identity, ways, is_client):
        text = f"foreground = yes\npid =\nsyslog = no\ndebug = err\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\nsslVersionMin = TLSv1.3\nciphersuites = {CIPHER}\n"
        for source, destination in ways:
            text += (f"[{source}]\nclient = {'yes' if is_client else 'no'}\naccept = {source}\nconnect = {destination}\ncert = {identity}/tls.crt\n"
                     f"key = {identity}/tls.key\nCAfile = {identity}/ca.crt\nverifyChain = yes\n{'checkHost = node2' if is_client else 'requireCert = yes'}\n")
        return text

    def command(self, settings):
        return "stunnel4", settings


class WireGuardGo(Subject):
    """WireGuard in user space, over TUN devices: the kernel's is another matter. $WIREGUARD_GO, or what is in the path."""

    name, title, package = "wireguard-go", "wireguard-go", "wireguard-go"
    PORT = 51820
    MTU = 1420

    @staticmethod
    def binary():
        return os.environ.get("WIREGUARD_GO") or shutil.which("wireguard-go")

    @staticmethod
    def missing():
        if not WireGuardGo.binary() or run(WireGuardGo.binary(), "--version", check=False).returncode != 0:
            return "there is no wireguard-go that runs"
        try:
            os.close(os.open("/dev/net/tun", os.O_RDWR))
        except OSError as failure:
            return f"no TUN device can be made here: {failure}"
        return None

    def begin(self):
        keys = [run("wg", "genkey").stdout for _ in self.network.nodes]
        public = [run("wg", "pubkey", stdin=key).stdout.strip() for key in keys]
        for index, node in enumerate(self.network.nodes):
            other = self.network.nodes[1 - index]
            device = self._device(node)
            self.launch(node, "env", f"GOMAXPROCS={len(node.processors)}", self.binary(), "-f", device)
            wait_for(lambda: self.check_running() and node.run("wg", "show", device, check=False).returncode == 0, f"{device} to be there")
            secret = self.folder / f"{device}.key"
            secret.touch(0o600)
            secret.write_text(keys[index])
            node.run("wg", "set", device, "private-key", secret, "listen-port", self.PORT, "peer", public[1 - index], "allowed-ips", other.pods_v4,
                     "endpoint", f"{other.v4}:{self.PORT}")
            node.ip(f"link set {device} mtu {self.MTU} up", f"route replace {other.pods_v4} dev {device}")

    def stop(self):
        for index, node in enumerate(self.network.nodes):
            other = self.network.nodes[1 - index]
            node.ip(f"route replace {other.pods_v4} via {other.v4} dev wire0")
        super().stop()

    def _device(self, node):
        return f"wg{os.getpid()}{'ab'[node.number - 1]}"


ALL = (Plain, Faithful, Optimistic, Haproxy, Nginx, Stunnel, WireGuardGo)


def version(kind):
    """For a person."""
    if issubclass(kind, Culvert):
        return run(program("culvertd"), "--version").stdout.strip()
    if kind is WireGuardGo and WireGuardGo.binary():
        return run(WireGuardGo.binary(), "--version").stdout.splitlines()[0]
    if kind.package:
        return run("dpkg-query", "-W", "-f", "${Package} ${Version}", kind.package, check=False).stdout
    return f"Linux {os.uname().release}"
