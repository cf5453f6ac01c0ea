# SPDX-License-Identifier: GPL-3.0-or-later
"""Culvert on a test topology: an authority, a nodes file, a daemon on each of the two nodes; captures of the wire; and proof that nothing is left behind."""

import contextlib
import errno
import ipaddress
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from lib import BPFFS, DEADLINE_S, HERE, PLAIN, RUN_NETNS, TUNNEL_PORT, Failure, Net, Shape, ensure_bpffs, run, wait_for

BIN = pathlib.Path(os.environ.get("CULVERT_BIN_DIR", HERE.parent.parent / "build" / "release"))
# Of <linux/if_packet.h> and its neighbours; Python has no names for them.
SO_RCVBUFFORCE, SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_MR_PROMISC, ETH_P_ALL, ARPHRD_ETHER = 33, 263, 1, 6, 1, 3, 1
POD_NETS = (ipaddress.ip_network("10.88.0.0/16"), ipaddress.ip_network("fd88::/16"))


def program(name):
    path = BIN / name
    if not path.exists():
        raise Failure(f"{path} is not there: build it first, or set CULVERT_BIN_DIR")
    return path


def nodes_yaml(entries):
    """entries: (name, addresses, prefixes of pods)."""
    return "nodes:\n" + "".join(f"- name: {name}\n  addresses: {json.dumps(addresses)}\n  pods: {json.dumps(pods)}\n" for name, addresses, pods in entries)


def addresses_of(host, shape):
    """Every address that a node uses as a source of its own, as the nodes file must list them."""
    n = host.number
    addresses = [host.v4, host.v6]
    if shape.pods == "bridged":
        addresses += [f"10.88.{n}.1", f"fd88:{n}::1"]
    addresses += {"vxlan": [f"10.88.{n}.0"], "tun": [f"10.98.0.{n}"], "rule": [f"10.97.0.{n}", f"fd97::{n}"]}.get(shape.wire, [])
    return addresses


class Daemon:
    """One culvertd, on one node."""

    def __init__(self, mesh, host):
        self.mesh, self.host = mesh, host
        self.runtime = pathlib.Path("/run") / f"{mesh.net.name}-{host.node_name}"
        self.pins = BPFFS / self.runtime.name
        self.config = mesh.folder / f"{host.node_name}.yaml"
        self.identity = mesh.folder / "ca" / host.node_name
        self.nodes = mesh.folder / f"nodes-{host.node_name}.yaml"
        self.log_path = mesh.folder / f"{host.node_name}.log"
        self.process = None

    def write_config(self, **sections):
        """sections: capture={...}, tunnel={...} and so on, over the usual ones. JSON is YAML."""
        whole = {"node": self.host.node_name, "runtime_directory": str(self.runtime), "identity": {"directory": str(self.identity)},
                 "nodes": {"file": str(self.nodes)}}
        for key, value in sections.items():
            whole[key] = {**whole.get(key, {}), **value} if isinstance(value, dict) else value
        self.config.write_text(json.dumps(whole, indent=1) + "\n")

    def start(self, wait=True, environment=None, limit_files=None, without=None):
        """without: a capability that it does not have."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        command = [program("culvertd"), "--config", self.config]
        if limit_files:
            # root could raise it again
            command = ["setpriv", "--bounding-set=-sys_resource", "--", "prlimit", f"--nofile={limit_files}", "--", *command]
        if without:
            command = ["setpriv", f"--bounding-set=-{without}", "--", *command]
        with open(self.log_path, "ab") as log:
            self.process = self.host.popen(*command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(environment or {})})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise Failure(f"culvertd on {self.host.node_name} ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            return self.ctl("check", check=False).returncode in (0, 1) and self.status()["is_ready"]

        wait_for(ready, lambda: f"{self.host.node_name} to be ready:\n{self.log()[-3000:]}", interval=0.05)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def preferred(self):
        """Gets a processor before all that wants one, for what has to be in time: a busy machine's schedule is not what is tested. Niceness is not enough,
        since it may count only among the processes of one session."""
        threads = [int(thread) for thread in os.listdir(f"/proc/{self.process.pid}/task")]
        for thread in threads:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
        try:
            yield self
        finally:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))

    def end(self, timeout=60):
        """TERM, and its exit status."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def remove(self):
        """Takes out all that a daemon left."""
        return self.host.run(program("culvertd"), "--config", self.config, "--remove")

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, text, count=1):
        """Waits until the log has text so many times."""
        return wait_for(lambda: self.log().count(text) >= count, lambda: f"the log of {self.host.node_name} to say {text!r}:\n{self.log()[-3000:]}")

    # What it shows

    def ctl(self, *words, check=True):
        """culvertctl. On a busy machine an answer may come too late for it: then it asks again."""
        def done():
            asked = run(program("culvertctl"), "--socket", self.runtime / "status.sock", *words, check=False)
            return None if asked.returncode != 0 and "did not answer" in asked.stderr else asked

        asked = wait_for(done, lambda: f"{self.host.node_name} to answer culvertctl {' '.join(map(str, words))}", timeout=2 * DEADLINE_S)
        if check and asked.returncode != 0:
            raise Failure(f"culvertctl {' '.join(map(str, words))}: exit {asked.returncode}\n{asked.stdout}{asked.stderr}")
        return asked

    def show(self, *words):
        asked = self.ctl("-o", "json", *words, check=False)
        if not asked.stdout:
            raise Failure(f"culvertctl {' '.join(map(str, words))}: exit {asked.returncode}\n{asked.stderr}")
        return json.loads(asked.stdout)

    def status(self):
        return self.show("status")

    def peers(self):
        return {peer["name"]: peer for peer in self.show("peers")["peers"]}

    def streams(self):
        return self.show("streams")["streams"]

    def counters(self):
        """{(class, "in" or "out", "passed" or "refused"): packets}, without zeros."""
        found = {}
        for counter in self.show("counters")["counters"]:
            if counter["packets"]:
                way, verdict = "in" if counter["is_ingress"] else "out", "refused" if counter["is_refused"] else "passed"
                found[counter["name"], way, verdict] = counter["packets"]
        return found

    def ended(self):
        """Streams that ended, by reason."""
        return {entry["reason"]: entry["streams"] for entry in self.status()["ended"]}

    def events(self):
        return {entry["name"]: entry["count"] for entry in self.status()["events"]}


class Mesh:
    """The topology with its daemons. As a context: starts both, and at the end proves that nothing is left."""

    def __init__(self, shape=Shape(), start=True, **sections):
        ensure_bpffs()
        self.shape = shape
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-test-"))
        self.net = Net(shape)
        self.daemons = ()
        try:
            run(program("culvertctl"), "ca", "init", self.folder / "ca")
            self.issue("node1", "node2")
            self.one, self.two = self.daemons = tuple(Daemon(self, host) for host in self.net.nodes)
            self.write_nodes()
            for daemon in self.daemons:
                daemon.write_config(**sections)
                if start and not PLAIN:
                    daemon.start(wait=False)
            for daemon in self.daemons:
                if start and not PLAIN:
                    daemon.wait_ready()
        except BaseException:
            self.close(check=False)
            raise

    def issue(self, *nodes, **options):
        """Certificates from the mesh's authority; options: out, days, name."""
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        run(program("culvertctl"), "ca", "issue", *words, self.folder / "ca", *nodes)

    def reset(self, **sections):
        """Both daemons anew, with empty logs and these settings, the usual nodes, and good certificates."""
        for daemon in self.daemons:
            if daemon.is_running():
                daemon.kill()
            shutil.rmtree(daemon.identity, ignore_errors=True)
        self.issue("node1", "node2")
        self.write_nodes()
        for daemon in self.daemons:
            daemon.log_path.unlink(missing_ok=True)
            daemon.write_config(**sections)
            daemon.start(wait=False)
        for daemon in self.daemons:
            daemon.wait_ready()

    def usual_nodes(self):
        return [(host.node_name, addresses_of(host, self.shape), list(host.pod_prefixes)) for host in self.net.nodes]

    def write_nodes(self, entries=None, daemon=None):
        """The nodes file of one daemon, or of both, by rename as a careful writer does it."""
        for d in [daemon] if daemon else self.daemons:
            fresh = d.nodes.with_suffix(".new")
            fresh.write_text(nodes_yaml(entries or self.usual_nodes()))
            fresh.rename(d.nodes)

    def wait_up(self):
        """Until a tunnel is up, which needs a stream first."""
        wait_for(lambda: self.one.peers()["node2"]["state"] == "up", "the tunnel to be up")

    @contextlib.contextmanager
    def capture(self):
        """with mesh.capture() as c: ...; afterwards c.packets."""
        c = Capture(self)
        try:
            yield c
        finally:
            c.stop()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for daemon in self.daemons:
                print(f"--- log of {daemon.host.node_name}\n{daemon.log()[-6000:]}")
        self.close(check=kind is None)

    def close(self, check=True):
        left = []
        try:
            for daemon in self.daemons:
                if daemon.is_running():
                    daemon.kill()
                if daemon.process is not None:
                    daemon.remove()
            if check:
                left = self.left_behind()
        finally:
            self.net.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        if left:
            raise Failure("left behind: " + "; ".join(left))

    def left_behind(self):
        """What is still there of daemons that were taken out."""
        left = []
        for daemon in self.daemons:
            if daemon.pins.exists():
                left.append(f"pins {daemon.pins}")
            if daemon.runtime.exists():
                left.append(f"folder {daemon.runtime}: {os.listdir(daemon.runtime)}")
            for what, command in (("devices", "ip -br link show"), ("rules", "ip rule"), ("routes", "ip route show table all")):
                text = daemon.host.run(*command.split()).stdout
                if "culvert" in text or "169.254.77" in text:
                    left.append(f"{what} of {daemon.host.node_name}: {text}")
            for link in json.loads(daemon.host.run("ip", "-j", "link", "show").stdout):
                tc = daemon.host.run("tc", "filter", "show", "dev", link["ifname"], "egress", check=False).stdout
                net = daemon.host.run("bpftool", "-j", "net", "show", "dev", link["ifname"], check=False).stdout
                if "edge_" in tc or "edge_" in net:
                    left.append(f"a program on {link['ifname']} of {daemon.host.node_name}")
        return left


class Packet:
    """What a test asks of a packet on the wire."""

    __slots__ = ("protocol", "source", "destination", "source_port", "destination_port", "flags", "payload", "whole")

    def __init__(self, whole, protocol, source, destination, ports, flags, payload):
        self.whole, self.protocol, self.source, self.destination, self.flags, self.payload = whole, protocol, source, destination, flags, payload
        self.source_port, self.destination_port = ports

    def __repr__(self):
        return f"{self.protocol} {self.source}:{self.source_port} > {self.destination}:{self.destination_port} flags {self.flags:#x} {len(self.payload)} B"

    @property
    def is_tunnel(self):
        return self.protocol == "tcp" and TUNNEL_PORT in (self.source_port, self.destination_port)

    @property
    def is_syn(self):
        return self.flags & 0x12 == 0x02  # without ACK

    @property
    def is_pod_to_pod(self):
        return all(any(ipaddress.ip_address(a) in net for net in POD_NETS) for a in (self.source, self.destination))


def _parse(frame, hardware):
    """A Packet, or None for what is not IP. Looks into VXLAN, so that what an overlay carries counts too."""
    if hardware == ARPHRD_ETHER:
        (ether,) = struct.unpack_from("!H", frame, 12)
        at = 14
    else:  # raw IP
        ether, at = (0x0800 if frame[0] >> 4 == 4 else 0x86DD), 0
    if ether == 0x0800:
        number, source, destination = frame[at + 9], frame[at + 12:at + 16], frame[at + 16:at + 20]
        end = at + struct.unpack_from("!H", frame, at + 2)[0]
        at += (frame[at] & 15) * 4
    elif ether == 0x86DD:
        number, source, destination = frame[at + 6], frame[at + 8:at + 24], frame[at + 24:at + 40]
        end = at + 40 + struct.unpack_from("!H", frame, at + 4)[0]
        at += 40
        if number == 44:  # a fragment
            number = frame[at]
            at += 8
    else:
        return None
    source, destination = str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination))
    protocol = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}.get(number, str(number))
    ports, flags = (0, 0), 0
    if protocol in ("tcp", "udp"):
        ports = struct.unpack_from("!HH", frame, at)
    if protocol == "tcp":
        flags = frame[at + 13]
        at += (frame[at + 12] >> 4) * 4
    elif protocol == "udp":
        at += 8
        if ports[1] == 8472:
            return _parse(frame[at + 8:], ARPHRD_ETHER)
    return Packet(frame, protocol, source, destination, ports, flags, frame[at:max(end, at)])


class Capture:
    """All packets on every place where the wire can be seen, or on the places (namespace, device) that are given; it has begun when the constructor returns.

    By packet sockets, which keep what comes until stop() reads it. The ring of a tcpdump that hands over each packet at once has eight places where the device
    is not Ethernet, since each has room for the largest packet: it loses what comes while it has no processor."""

    ROOM_BYTES = 1 << 29  # what is not used costs nothing
    LARGEST_BYTES = 1 << 19  # of TCP as the kernel cuts it, at most

    def __init__(self, mesh, places=None):
        self.packets = []
        self._sockets = []
        for space, device in places or mesh.net.places_of_capture():
            s = space.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._sockets.append((s, f"{device} of {space.name}"))
            with space.inside():
                index = socket.if_nametoindex(device)
            s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, self.ROOM_BYTES)
            # A bridge shows what it forwards only so.
            s.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("=iHH8s", index, PACKET_MR_PROMISC, 0, b""))
            s.bind((device, ETH_P_ALL))

    def stop(self, settle_s=0.2):
        """What was sent before this call is in packets afterwards."""
        time.sleep(settle_s)  # from the sender to the wire; nothing tells when the last one has come
        sockets, self._sockets = self._sockets, []
        lost = []
        for s, place in sockets:
            with s:
                received, dropped = struct.unpack("=II", s.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
                if dropped:
                    lost.append(f"{dropped} of {received} packets on {place}")
                self._read(s, received - dropped)
        if lost:
            raise Failure(f"the capture lost {', '.join(lost)}")

    def _read(self, s, count):
        """So many, which are in its queue: what comes meanwhile stays there."""
        buffer = bytearray(self.LARGEST_BYTES)
        s.setblocking(False)
        while count:
            try:
                length, (_, _, _, hardware, _) = s.recvfrom_into(buffer)
            except OSError as failure:
                if failure.errno != errno.ENETDOWN:  # said once, of a device that is gone; what came before is still there
                    raise
                continue
            count -= 1
            packet = _parse(bytes(memoryview(buffer)[:length]), hardware)
            if packet is not None:
                self.packets.append(packet)

    @property
    def tunnel(self):
        return [p for p in self.packets if p.is_tunnel]

    @property
    def leaked(self):
        """Pod-to-pod TCP in the clear, payload or not."""
        return [p for p in self.packets if p.protocol == "tcp" and p.is_pod_to_pod and not p.is_tunnel]

    def holds(self, text):
        return any(text in p.whole for p in self.packets)


def serve(listener, handle, count=1):
    """A server in a thread: handle(connection, address) for each of count connections. join() raises what went wrong in it."""
    failures = []

    def work():
        try:
            for _ in range(count):
                connection, address = listener.accept()
                with connection:
                    handle(connection, address)
        except BaseException as failure:  # noqa: BLE001 - handed to the test
            failures.append(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    original = thread.join

    def join(timeout=60):
        original(timeout)
        if thread.is_alive():
            raise Failure("the server did not come to its end")
        if failures:
            raise failures[0]

    thread.join = join
    return thread


def read_all(connection):
    """Everything up to the orderly end."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def log_fields(line):
    """The fields of one line of a daemon's log."""
    return {key: value.strip('"') for key, value in re.findall(r'(\w+)=("[^"]*"|\S+)', line)}
