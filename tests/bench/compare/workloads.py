# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: each workload runs a load generator in the client pod over one subject, and returns figures by key."""

import abc
import contextlib
import json
import math
import pathlib
import re
import subprocess
import time
import typing

from lib import Failure, wait_for
from mesh import program

from .crowd import Crowd
from .subjects import Culvert, cpu_s, pss_kib, strangers
from .topology import BODIES, BULK, CONNECTIONS, HTTP, PINGPONG

SOCKET_CACHES = re.compile(r"(TCP|TCPv6|sock_inode_cache|filp)$")
IDLE_S = 30  # so often a tunnel without streams asks whether the other side lives
RTT_US, LONG_RTTS_US = 1000, (20000, 100000)  # that the wire adds: another rack, another place, another continent
FLOWING_BYTES = 20 << 20  # a bulk stream that has moved so much is under way


class Figure(typing.NamedTuple):
    key: str
    title: str
    unit: str
    is_higher_better: bool = False
    is_kept: bool = True  # steady enough to be compared with another run's


class Workload(abc.ABC):
    """group: the word that chooses it. delay_us: the round trip that the wire adds."""

    group = None
    is_once = False  # not in every round

    def __init__(self, name, title, delay_us=0):
        self.name, self.title, self.delay_us = name, title, delay_us

    def figure(self, part, title, unit, is_higher_better=False):
        return Figure(f"{self.name}.{part}", f"{self.title}: {title}", unit, is_higher_better, not part.startswith("p99"))

    def suits(self, subject):
        """Does it say anything of this subject?"""
        return True

    @abc.abstractmethod
    def figures(self):
        """All that run() returns, in the order of the table; the first is what the workload is for."""

    @abc.abstractmethod
    def run(self, subject, seconds):
        """{part of the key: value}"""


@contextlib.contextmanager
def spending(subject):
    """with spending(subject) as spent: ...; afterwards spent() is the CPU that both daemons used within."""
    before, used = subject.cpu_s(), []
    yield lambda: used[0]
    used.append(subject.cpu_s() - before)


def words(text):
    """Lines "name value unit" of our own generators."""
    return {name: float(value) for name, value, *_ in (line.split() for line in text.splitlines())}


def ask(subject, generator, port, *arguments, seconds):
    address, port = subject.target(port)
    return words(subject.network.client.run(program(generator), "ask", address, port, seconds, *arguments, timeout=seconds + 120).stdout)


class Busy(Failure):
    """The server of iperf3 has another client."""


class Bulk(Workload):
    """iperf3. On a long wire slow start and the growth of windows take their time, which is not what is asked: so many round trips go before the time that
    counts, and that has as many at least. There the client paces its packets too, above what buffers of the kernel's size can reach: what comes in one burst
    for each round trip leaves plain's receive window where it began (Linux 6.18: what still lies in the queue when the first part is read counts against it)."""

    group = "bulk"
    ROUND_TRIPS = 50
    PACE = ("--fq-rate", "4G")
    BUSY_S = 60  # the server of iperf3 has one client at a time, and on a long wire the last one's end is late

    def __init__(self, streams, is_down, delay_us=0):
        way, rtt = "down" if is_down else "up", f", {delay_us / 1000:g} ms" if delay_us else ""
        super().__init__(f"bulk-{streams}-{way}{f'-{delay_us}us' if delay_us else ''}", f"{streams} stream{'s' * (streams > 1)} {way}{rtt}", delay_us)
        self.streams, self.is_down = streams, is_down
        self.before_s = math.ceil(delay_us * self.ROUND_TRIPS / 1e6) if delay_us > RTT_US else 0

    def figures(self):
        return [self.figure("rate", "rate", "Gbit/s", True), self.figure("cpu", "CPU of both daemons", "s/GB")]

    def run(self, subject, seconds):
        seconds = max(seconds, self.before_s)
        options = (*(("-O", self.before_s, *self.PACE) if self.before_s else ()), *(("-R",) if self.is_down else ()))
        end = time.monotonic() + self.BUSY_S
        while True:
            try:
                with spending(subject) as spent:
                    rate, moved = bulk_ended(bulk_begun(subject, seconds, self.streams, *options))
                return {"rate": rate, "cpu": spent() / (moved / 1e9)}
            except Busy:
                if time.monotonic() > end:
                    raise
                time.sleep(1)


def bulk_begun(subject, seconds, streams=1, *options):
    address, port = subject.target(BULK)
    command = ["iperf3", "-c", address, "-p", port, "-t", seconds, "-P", streams, "-J", *options]
    return subject.network.client.popen(*command, stdout=subprocess.PIPE, text=True)


def bulk_ended(process):
    """Gbit/s that arrived within the time, and bytes that were sent: what went before the time that counts, and what was still under way at its end, cost
    their CPU too."""
    output = process.communicate(timeout=120)[0]
    try:
        told = json.loads(output)
        if not told["start"]["connected"]:
            raise Busy(f"iperf3: {told.get('error')}")
        before = sum(interval["sum"]["bytes"] for interval in told["intervals"] if interval["sum"]["omitted"])
        return told["end"]["sum_received"]["bits_per_second"] / 1e9, told["end"]["sum_sent"]["bytes"] + before
    except (ValueError, KeyError):
        raise Failure(f"iperf3 ended with {process.returncode}: {output[-500:]}") from None


class PingPong(Workload):
    """One connection, a message and its answer; alone, or beside a bulk stream by the same way. limit: the bulk stream's Gbit/s, 0: as fast as it can."""

    def __init__(self, size, beside=False, limit=0, delay_us=0):
        what = f"ping-pong {size} B"
        if beside:
            what += f" beside bulk at {limit} Gbit/s" if limit else " beside bulk"
        if delay_us:
            what += f", {delay_us / 1000:g} ms"
        name = f"pingpong-{size}" + (f"-beside{limit or ''}" if beside else "") + (f"-{delay_us}us" if delay_us else "")
        super().__init__(name, what, delay_us)
        self.group = "beside" if beside else "pingpong"
        self.size, self.beside, self.limit = size, beside, limit

    def figures(self):
        found = [self.figure(part, part, "us") for part in ("p50", "p99", "p99.9")]
        if self.beside:
            found.append(self.figure("bulk", "rate of the bulk", "Gbit/s", True))
        return found

    def run(self, subject, seconds):
        bulk = None
        if self.beside:
            before = subject.network.wire_bytes()
            # longer than the ping-pong, however slowly that begins
            bulk = bulk_begun(subject, seconds + 1, 1, *(("-b", f"{self.limit}G") if self.limit else ()))
            wait_for(lambda: subject.network.wire_bytes() - before > FLOWING_BYTES, "the bulk stream to flow")
        told = ask(subject, "bench_pingpong", PINGPONG, self.size, seconds=seconds)
        found = {part: told[part] for part in ("p50", "p99", "p99.9")}
        if bulk:
            found["bulk"] = bulk_ended(bulk)[0]
        return found


class Http(Workload):
    """wrk over connections that stay, to nginx in the server pod. They are opened within the measured time, which is longer where they are many."""

    group = "http"
    UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}
    SAYS = re.compile(r"50%\s+(?P<p50>[\d.]+)(?P<p50_unit>[a-z]+).*99%\s+(?P<p99>[\d.]+)(?P<p99_unit>[a-z]+).*\s(?P<count>\d+) requests in.*"
                      r"Requests/sec:\s+(?P<rate>[\d.]+)", re.DOTALL)

    def __init__(self, connections, size):
        super().__init__(f"http-{size}-{connections}", f"HTTP {size if size < 1024 else f'{size // 1024} Ki'}{'' if size >= 1024 else ' '}B, {connections} connections")
        self.connections, self.size = connections, size

    def figures(self):
        return [self.figure("rate", "rate", "1/s", True), self.figure("p50", "p50", "us"), self.figure("p99", "p99", "us"),
                self.figure("cpu", "CPU of both daemons", "ms/1000")]

    def run(self, subject, seconds):
        address, port = subject.target(HTTP)
        seconds += self.connections // 256
        with spending(subject) as spent:
            told = subject.network.client.run("wrk", "-t", 1, "-c", self.connections, "-d", f"{seconds}s", "--latency", f"http://{address}:{port}/{self.size}",
                                              timeout=seconds + 120).stdout
        said = self.SAYS.search(told)
        if not said or int(said["count"]) == 0 or "Non-2xx" in told:
            raise Failure(f"wrk: {told}")
        times = {part: float(said[part]) * self.UNITS[said[f"{part}_unit"]] for part in ("p50", "p99")}
        return {"rate": float(said["rate"]), "cpu": spent() / int(said["count"]) * 1e6, **times}


class Connections(Workload):
    """Open, ask, close: so many at a time."""

    group = "connections"

    def __init__(self, at_once, delay_us=0):
        super().__init__(f"connections-{at_once}{f'-{delay_us}us' if delay_us else ''}",
                         f"new connections, {at_once} at a time{f', {delay_us / 1000:g} ms' if delay_us else ''}", delay_us)
        self.at_once = at_once

    def figures(self):
        return [self.figure("rate", "rate", "1/s", True), self.figure("p50", "first byte p50", "us"), self.figure("p99", "first byte p99", "us"),
                self.figure("cpu", "CPU of both daemons", "us each")]

    def run(self, subject, seconds):
        with spending(subject) as spent:
            told = ask(subject, "bench_connections", CONNECTIONS, self.at_once, seconds=seconds)
        if told["broken"] * 100 > told["count"]:
            raise Failure(f"{told['broken']:.0f} connections were broken, {told['count']:.0f} answered")
        return {"rate": told["rate"], "p50": told["p50"], "p99": told["p99"], "cpu": spent() / told["count"] * 1e6}


def socket_caches():
    """{name: bytes in use}"""
    lines = [line.split() for line in pathlib.Path("/proc/slabinfo").read_text().splitlines()[2:]]
    return {name: int(active) * int(size) for name, active, _, size, *_ in lines if SOCKET_CACHES.match(name)}


def kernel_kib():
    """What the kernel holds for sockets, their files, and threads' stacks, on the whole machine. Not buffers, which are empty on an idle connection, and not what
    other parts of the kernel have in the same caches, such as epoll's entries."""
    for name in socket_caches():
        with contextlib.suppress(OSError):  # what was freed and is still at hand would count as used
            pathlib.Path("/sys/kernel/slab", name, "shrink").write_text("1")
    threads = re.search(r"^KernelStack:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)[1]
    return sum(socket_caches().values()) // 1024 + int(threads)


def used_while_idle(subject, seconds):
    """CPU of one daemon, per cent of a core."""
    time.sleep(1)  # what was just done comes to its end
    with spending(subject) as spent:
        time.sleep(seconds)
    return 100 * spent() / seconds / 2


class IdleConnections(Workload):
    """So many connections that each asked once, and then stay. Both ends of every connection on the way are on this machine, so the kernel's memory is that of
    the pods' sockets too: plain's is theirs alone."""

    group = "idle"
    is_once = True

    def __init__(self, count):
        super().__init__(f"idle-{count}", f"{count:,} idle connections")
        self.count = count

    def figures(self):
        return [self.figure("pss", "memory of both daemons", "KiB each"), self.figure("kernel", "the kernel's for sockets, pods' too", "KiB each")]

    def run(self, subject, seconds):
        pss, kernel = subject.pss_kib(), kernel_kib()
        client = subject.network.client.popen(program("bench_connections"), "hold", *subject.target(CONNECTIONS), self.count,
                                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if not client.stdout.readline():
                raise Failure(f"{self.count} connections could not be opened")
            found = {"kernel": (kernel_kib() - kernel) / self.count}
            if subject.processes():
                found["pss"] = (subject.pss_kib() - pss) / self.count
        finally:
            client.stdin.close()
            client.wait(60)
        return found


class Rest(Workload):
    """A daemon that has nothing to do."""

    group = "rest"
    is_once = True

    def __init__(self):
        super().__init__("rest", "nothing to do")

    def suits(self, subject):
        return bool(subject.processes())

    def figures(self):
        return [self.figure("pss", "memory of one daemon", "MiB"), self.figure("cpu", "CPU of one daemon", "% of a core")]

    def run(self, subject, seconds):
        return {"cpu": used_while_idle(subject, max(seconds, 5)), "pss": subject.pss_kib() / 1024 / 2}


class Strangers(Workload):
    """A node that knows very many others: what they cost while nothing is said to them."""

    group = "nodes"
    is_once = True

    def __init__(self, count):
        super().__init__(f"nodes-{count}", f"{count:,} nodes known")
        self.count = count

    def suits(self, subject):
        return isinstance(subject, Culvert)

    def figures(self):
        return [self.figure("pss", "memory of one daemon", "MiB"), self.figure("cpu", "CPU of one idle daemon", "% of a core"),
                self.figure("p50", "ping-pong 64 B, p50", "us"), self.figure("rate", "new connections, 64 at a time", "1/s", True)]

    def run(self, subject, seconds):
        subject.restart(strangers(self.count - 2))
        try:
            found = {"cpu": used_while_idle(subject, max(seconds, 5)), "pss": subject.pss_kib() / 1024 / 2}
            found["p50"] = ask(subject, "bench_pingpong", PINGPONG, 64, seconds=seconds)["p50"]
            found["rate"] = ask(subject, "bench_connections", CONNECTIONS, 64, seconds=seconds)["rate"]
        finally:
            subject.restart([])
        return found


class Tunnels(Workload):
    """A node with a tunnel to each of very many others, which a Crowd plays."""

    group = "tunnels"
    is_once = True

    def __init__(self, count):
        super().__init__(f"tunnels-{count}", f"{count:,} idle tunnels")
        self.count = count

    def suits(self, subject):
        return isinstance(subject, Culvert)

    def figures(self):
        return [self.figure("pss", "memory of the daemon", "KiB each"), self.figure("kernel", "the kernel's for sockets of both ends", "KiB each"),
                self.figure("handshake", "CPU of the daemon", "ms for one to begin"), self.figure("cpu", "CPU of the daemon with all of them idle", "% of a core")]

    def run(self, subject, seconds):
        listed = strangers(self.count)
        names = [name for name, *_ in listed]
        subject.restart(listed)
        subject.issue(names)
        try:
            daemon = subject.daemons[0]
            pid = daemon.process.pid
            pss, kernel, cpu = pss_kib(pid), kernel_kib(), cpu_s(pid)
            with Crowd(subject, names) as crowd:
                wait_for(lambda: daemon.status()["peers_up"] >= self.count, "the daemon to have all tunnels up")
                found = {"pss": (pss_kib(pid) - pss) / self.count, "kernel": (kernel_kib() - kernel) / self.count, "handshake": (cpu_s(pid) - cpu) / self.count * 1e3}
                time.sleep(1)
                cpu = cpu_s(pid)
                time.sleep(IDLE_S)
                found["cpu"] = 100 * (cpu_s(pid) - cpu) / IDLE_S
                crowd.check()
        finally:
            subject.restart([])
        return found


QUICK = (Bulk(1, False), PingPong(64), PingPong(64, beside=True), Http(64, 128), Connections(1), Connections(64))
FULL = (*(Bulk(streams, is_down) for streams in (1, 8, 64) for is_down in (False, True)),
        PingPong(64), PingPong(1024), PingPong(64, beside=True), PingPong(64, beside=True, limit=1),
        *(Http(connections, size) for size in BODIES for connections in (64, 512)),
        Connections(1), Connections(64),
        Bulk(1, False, RTT_US), PingPong(64, delay_us=RTT_US), Connections(1, RTT_US), *(Bulk(streams, False, rtt_us) for rtt_us in LONG_RTTS_US for streams in (1, 8)),
        # The last ones leave sockets behind that the kernel keeps for a while.
        Rest(), Strangers(5000), Tunnels(1000), IdleConnections(1000), IdleConnections(9500))
