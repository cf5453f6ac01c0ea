# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is who, and what a socket says of its connection."""

import functools
import socket
import time

from lib import DEADLINE_S, wait_for
from scene import POD, case, count, outcome, read_until, reset, tcp_info, when

SO_MARK = 36


@case("addresses", "getpeername and getsockname on both sides")
def names(s):
    here, there = s.pair()
    client, server = s.client.address(s.version), s.server.address(s.version)
    words = {client: "the client pod", server: "the server pod", s.address: s.case_address}
    tell = lambda name: words.get(name[0], name[0])  # noqa: E731
    is_same = here.getsockname()[1] == there.getpeername()[1] and here.getpeername()[1] == there.getsockname()[1] == s.port
    return (f"client: {tell(here.getsockname())} to {tell(here.getpeername())}; server: {tell(there.getpeername())} to {tell(there.getsockname())}; "
            f"{'the same ports' if is_same else 'other ports'}")


def bound_and_connected(s, port):
    """A connection, the name of an error, or None where the port is not free yet."""
    here = s.client_socket(source_port=port)
    said = outcome(here.connect, (s.address, s.port))
    if said is None:
        return here
    here.close()
    return None if said == "EADDRNOTAVAIL" else said


def again(how, s):
    """The same four numbers, ten times. The client's own kernel may still wait for a last packet of the one before, and says EADDRNOTAVAIL until then."""
    port, said = s.next_port(), []
    with s.listen() as listener:
        for _ in range(10):
            begin = time.monotonic()
            here = wait_for(lambda: bound_and_connected(s, port), "the port to be free")
            said.append(f"connected {when(time.monotonic() - begin)}" if isinstance(here, socket.socket) else here)
            if isinstance(here, str):
                continue
            there = s.keep(listener.accept()[0])
            there.sendall(b"!")
            here.recv(1)
            if how == "a reset":
                reset(here)
                read_until(there)
                there.close()
            else:
                there.close()
                read_until(here)
                here.close()
    return ", ".join(f"{said.count(word)} times {word}" for word in dict.fromkeys(said))


for _how in ("an end by the server", "a reset"):
    case("addresses", f"the same addresses and ports again at once, after {_how}")(functools.partial(again, _how))


def through_all_ports(number, range_size, s):
    """One connection after another to one port; the server ends each. The client has fewer ports than connections."""
    s.client.sysctl(**{"net.ipv4.ip_local_port_range": f"40000 {40000 + range_size - 1}"})
    said = {}
    with s.listen() as listener:
        listener.settimeout(DEADLINE_S)

        def serve():
            while True:
                try:
                    there, _ = listener.accept()
                except OSError:
                    return
                with there:
                    there.sendall(b"!")

        server = s.in_background(serve)
        for _ in range(number):
            here = s.client.socket(s.family)
            word = outcome(here.connect, (s.address, s.port)) or "connected"
            if word == "connected":
                word = "connected and served" if outcome(here.recv, 1) == b"!" else "connected and not served"
                outcome(here.recv, 1)
            here.close()
            said[word] = said.get(word, 0) + 1
        listener.shutdown(socket.SHUT_RDWR)
        server.result()
    return ", ".join(f"{number:,} {word}" for word, number in said.items())


case("addresses", "3,000 connections one after another from 1,000 ports", own_pods=True)(functools.partial(through_all_ports, 3000, 1000))
case("addresses", "60,000 connections one after another from 20,000 ports", own_pods=True, is_long=True, phase="heavy",
     variants=((4, "Service"), (6, "pod")))(functools.partial(through_all_ports, 60000, 20000))

OPTIONS = {1: "timestamps", 2: "SACK", 4: "window scale", 8: "ECN", 16: "ECN seen"}


def options_of(connection):
    bits = tcp_info(connection).options
    return "+".join(name for bit, name in OPTIONS.items() if bits & bit) or "no options"


@case("addresses", "TCP_INFO: options, largest segment, and how much was acknowledged")
def info(s):
    here, there = s.confirmed_pair()
    here.sendall(b"q" * 100_000)
    total = 0
    while total < 100_000:
        total += len(there.recv(1 << 18))
    there.sendall(b"!")
    here.recv(1)
    wait_for(lambda: tcp_info(here).unacked == tcp_info(there).unacked == 0, "all to be acknowledged")
    said = []
    for name, end in (("client", here), ("server", there)):
        i = tcp_info(end)
        said.append(f"{name}: {options_of(end)}, MSS {i.snd_mss} of {end.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)}, "
                    f"{i.bytes_acked - 1 if name == 'client' else i.bytes_acked} acknowledged, {i.bytes_received} received")
    return "; ".join(said)


def without(which, s):
    """A pod that has switched an option of TCP off: what both sides say they have agreed on."""
    s.client.sysctl(**{f"net.ipv4.{which}": 0})
    here, there = s.confirmed_pair()
    return f"client: {options_of(here)}, server: {options_of(there)}"


for _which, _what in (("tcp_timestamps", "timestamps"), ("tcp_sack", "selective acknowledgement"), ("tcp_window_scaling", "window scaling")):
    case("addresses", f"the client's pod has no {_what}", own_pods=True, ways=(POD,))(functools.partial(without, _which))


@case("addresses", "both pods ask for ECN", own_pods=True, ways=(POD,))
def ecn(s):
    for pod in (s.client, s.server):
        pod.sysctl(**{"net.ipv4.tcp_ecn": 1})
    here, there = s.confirmed_pair()
    return f"client: {options_of(here)}, server: {options_of(there)}"


def with_mtu(client, server, s):
    for pod, mtu in ((s.client, client), (s.server, server)):
        pod.ip(f"link set eth0 mtu {mtu}")
        pod.host.ip(f"link set {pod.veth} mtu {mtu}")
    here, there = s.confirmed_pair()
    said = [f"the client's MSS {here.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)}, the server's {there.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)}"]
    for sender, reader in ((here, there), (there, here)):
        done = s.in_background(sender.sendall, b"m" * 1_000_000)
        got = 0
        while got < 1_000_000:
            got += len(reader.recv(1 << 18))
        done.result()
        said.append(count(got, "byte"))
    return ", ".join(said)


for _client, _server in ((1300, 1500), (1500, 1300), (9000, 1500), (1500, 9000), (9000, 9000)):
    case("addresses", f"MTU {_client} at the client's pod, {_server} at the server's", own_pods=True)(functools.partial(with_mtu, _client, _server))


def segment_asked(who, s):
    ask = lambda end: end.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 600)  # noqa: E731
    here, there = s.pair(**({"before": ask} if who == "client" else {"before_listen": ask}))
    here.sendall(b"s" * 5000)
    got = 0
    while got < 5000:
        got += len(there.recv(5000))
    return (f"the client's MSS {here.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)}, the server's {there.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)}")


for _who in ("client", "server"):
    case("addresses", f"the {_who} asks for small segments (TCP_MAXSEG)", ways=(POD,))(functools.partial(segment_asked, _who))


@case("addresses", "TOS that each side sets, and the hops, as the other pod sees them", sees="hops")
def tos(s):
    def mark(end, value):
        if s.version == 4:
            end.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, value)
        else:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, value)

    here, there = s.pair(before=lambda end: mark(end, 0x48))
    mark(there, 0x88)
    here.sendall(b"?")
    there.recv(1)
    there.sendall(b"!")
    here.recv(1)
    return "exchanged"


@case("addresses", "SO_MARK of the client is seen by its pod's own rules, and by nobody else's")
def mark(s):
    program = s.net._iptables(s.version)
    for pod, chain, match in ((s.client, "OUTPUT", "--dport"), (s.server, "INPUT", "--dport")):
        pod.run(program, "-w", "-A", chain, "-p", "tcp", match, s.port, "-m", "mark", "--mark", "0x77")
    s.pair(before=lambda end: end.setsockopt(socket.SOL_SOCKET, SO_MARK, 0x77))
    said = []
    for name, pod, chain in (("client", s.client, "OUTPUT"), ("server", s.server, "INPUT")):
        lines = pod.run(program, "-w", "-vnxL", chain).stdout.splitlines()
        packets = next(line.split()[0] for line in lines if f"dpt:{s.port}" in line)
        said.append(f"{name}: {'seen' if int(packets) > 0 else 'not seen'}")
    return ", ".join(said)
