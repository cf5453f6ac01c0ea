# SPDX-License-Identifier: GPL-3.0-or-later
"""Who waits how long: silence of every kind, and what goes on after it."""

import functools
import select
import socket
import threading

from lib import wait_for
from scene import PATIENCE_S, POD, case, outcome, read_until, rest_of, timed, write_until

# The first probe after 2 s, then one a second: given up after 5 s.
KEEPALIVE = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 2), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
             (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3))
USER_TIMEOUT = ((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3000),)
LONGER_S = 20  # than any of these, also where a slow machine has made the first retransmission late
LONG_S = 120  # the same where a node has first to find out that its pod does not answer: it asks after 20 s


def set_options(connection, options):
    for option in options:
        connection.setsockopt(*option)


def exchange(here, there):
    here.sendall(b"are you there?")
    there.sendall(there.recv(100).upper())
    return "goes on" if here.recv(100) == b"ARE YOU THERE?" else "wrong answer"


def answered_after(seconds, s):
    """The client waits, with keepalive, for a server that thinks so long."""
    here, there = s.confirmed_pair()
    set_options(here, KEEPALIVE)
    here.sendall(b"?")
    there.recv(1)
    here.settimeout(1)
    waited = threading.Event()
    answer = s.in_background(lambda: waited.wait(seconds) or there.sendall(b"!"))
    poll = select.poll()
    poll.register(here, select.POLLIN)
    early = bool(poll.poll((seconds - 1) * 1000))
    here.settimeout(PATIENCE_S)
    said = outcome(here.recv, 1)
    answer.result()
    return f"{'something came early' if early else 'nothing comes before'}, then {said}"


case("time", "a server that answers after 8 s, the client probes it by keepalive")(functools.partial(answered_after, 8))
case("time", "a server that answers after 5 minutes", is_long=True)(functools.partial(answered_after, 300))


def idle_beyond_conntrack(first, s):
    """What a long idle time leaves of a connection in the nodes: nothing."""
    here, there = s.confirmed_pair()
    for host in s.net.nodes:
        host.run("conntrack", "-D", "-f", "ipv4" if s.version == 4 else "ipv6", "-p", "tcp", "--orig-port-dst", s.port, check=False)
    for end in (here, there):
        end.settimeout(PATIENCE_S)
    return outcome(exchange, *((here, there) if first == "client" else (there, here)))


for _first in ("client", "server"):
    case("time", f"idle for longer than conntrack remembers, then the {_first} goes on")(functools.partial(idle_beyond_conntrack, _first))


def hears(connection, how):
    """What one side hears of the other's silence, by one of its ways to find out."""
    if how == "keepalive":
        set_options(connection, KEEPALIVE)
        return read_until(connection, LONG_S)[1]  # the time runs since the last packet, of which the scene does not know when it was
    if how == "writing on and on":
        return write_until(connection, pause_s=1, patience_s=LONG_S)
    if how == "reading":
        return rest_of(connection, LONGER_S)
    if how == "TCP_USER_TIMEOUT":
        set_options(connection, USER_TIMEOUT)
    connection.sendall(b"is anybody there?")
    return rest_of(connection, LONGER_S) if how == "TCP_USER_TIMEOUT" else read_until(connection, LONGER_S)[1]


WAYS_TO_FIND_OUT = ("keepalive", "TCP_USER_TIMEOUT", "writing", "writing on and on", "reading")


def pod_deleted(who, how, s):
    """Its interface goes, with everything that it would have said."""
    here, there = s.confirmed_pair()
    gone, left = (s.client, there) if who == "client" else (s.server, here)
    gone.host.run("ip", "link", "del", gone.veth)
    return hears(left, how)


for _who, _other in (("server", "client"), ("client", "server")):
    for _how in WAYS_TO_FIND_OUT:
        case("time", f"the {_who}'s pod is deleted, the {_other} finds out by {_how}", own_pods=True, ways=(POD,))(functools.partial(pod_deleted, _who, _how))


@case("time", "TCP_USER_TIMEOUT against a server that reads nothing")
def full_window(s):
    here, _ = s.confirmed_pair()
    set_options(here, USER_TIMEOUT)
    here.settimeout(30)
    said, at = timed(fill, here)
    return f"{said or 'everything was taken'}" if at == "after about 30 s" else f"{said} {at}"


def fill(connection):
    piece = b"f" * (1 << 20)
    for _ in range(200):
        connection.sendall(piece)


def wire_cut(who, how, s):
    """A node is off, or its cable is out: nothing comes from there any more."""
    here, there = s.confirmed_pair()
    s.wire.meet(s, "cut")
    return hears(here if who == "client" else there, how)


for _who, _other in (("server", "client"), ("client", "server")):
    for _how in WAYS_TO_FIND_OUT:
        case("time", f"the {_who}'s node is off, the {_other} finds out by {_how}", phase="cut", ways=(POD,))(functools.partial(wire_cut, _who, _how))


@case("time", "connect to a pod whose node is off", phase="cut")
def connect_to_cut(s):
    with s.listen():
        s.wire.meet(s, "cut")
        return s.fate()


def cut_for_a_while(doing, s):
    """Nobody gives up before the wire is back."""
    for pod in (s.client, s.server):
        pod.sysctl(**{"net.ipv4.tcp_retries2": 15, "net.ipv4.tcp_syn_retries": 6})
    here, there = s.confirmed_pair()
    s.wire.meet(s, "cut")
    if doing == "sends":
        here.sendall(b"are you there?")
        s.wire.meet(s, "mended")
        there.sendall(there.recv(100).upper())
        return "goes on" if here.recv(100) == b"ARE YOU THERE?" else "wrong answer"
    if doing == "connects":
        with s.listen() as listener:
            begun = s.begun()
            s.wire.meet(s, "mended")
            there = s.keep(listener.accept()[0])
            begun.settimeout(60)
            wait_for(lambda: outcome(begun.getpeername) != "ENOTCONN", "the connection")
            return exchange(begun, there)
    if doing == "is idle":
        s.wire.meet(s, "mended")
        return exchange(here, there)
    there.sendall(b"the last words")
    there.close()
    s.wire.meet(s, "mended")
    return rest_of(here, 30).replace("after about 1 s", "at once").replace("after about 3 s", "at once").replace("after about 6 s", "at once")


for _doing, _text in (("sends", "the client sends meanwhile"), ("is idle", "nobody sends meanwhile"), ("connects", "the client connects meanwhile"),
                      ("ends", "the server ends meanwhile")):
    case("time", f"the wire is cut for a while, {_text}", phase="cut", own_pods=True)(functools.partial(cut_for_a_while, _doing))
