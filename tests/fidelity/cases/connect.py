# SPDX-License-Identifier: GPL-3.0-or-later
"""How a connection begins, and how it does not."""

import errno
import functools
import select
import socket

from lib import DEADLINE_S, wait_for
from places import NOBODY, NOBODY_HERE, nobody_service
from scene import PATIENCE_S, POD, SERVICE, case, count, outcome, read_until, reset, rest_of, tcp_info, timed

MESSAGE = b"a question from one pod to another"


def exchange(here, there):
    """A message each way."""
    here.sendall(MESSAGE)
    there.sendall(there.recv(100)[::-1])
    return "answered" if here.recv(100) == MESSAGE[::-1] else "wrong answer"


@case("connect", "open port", sees="begin")
def open_port(s):
    with s.listen() as listener:
        attempt = s.connect()
        there = s.keep(listener.accept()[0])
        return f"{attempt.story}, {exchange(attempt.socket, there)}"


@case("connect", "closed port", sees="begin")
def closed_port(s):
    return s.fate()


def polled(s):
    """What poll and SO_ERROR say of a connection that was begun."""
    poll = select.poll()
    poll.register(s, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    events, at = timed(poll.poll, PATIENCE_S * 1000)
    if not events:
        return "poll says nothing"
    names = [name for name in ("IN", "OUT", "RDHUP", "ERR", "HUP") if events[0][1] & getattr(select, f"POLL{name}")]
    said = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    again = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return f"poll says {'+'.join(names)} {at}, SO_ERROR {errno.errorcode.get(said, said)}, then {errno.errorcode.get(again, again)}"


@case("connect", "open port, by a non-blocking connect and poll")
def open_port_by_poll(s):
    with s.listen():
        return polled(s.begun())


@case("connect", "closed port, by a non-blocking connect and poll")
def closed_port_by_poll(s):
    here = s.client_socket()
    here.setblocking(False)
    said = outcome(here.connect, (s.address, s.port))
    if said == "ECONNREFUSED":  # the answer came before the call returned, which is chance
        return "poll says OUT+RDHUP+ERR+HUP at once, SO_ERROR ECONNREFUSED, then 0".replace("OUT", "IN+OUT")
    return polled(here)


@case("connect", "rejected by the server's node, by a non-blocking connect and poll")
def rejected_by_poll(s):
    with s.listen(), s.rule(s.net.b, "-j", "REJECT", "--reject-with", "icmp-host-prohibited" if s.version == 4 else "icmp6-addr-unreachable"):
        return polled(s.begun())


@case("connect", "what a program can do with a socket whose connect was refused")
def after_a_refusal(s):
    here = s.client_socket()
    said = [timed(here.connect, (s.address, s.port))[0] or "connected"]
    if said == ["connected"]:
        read_until(here)
    said += [outcome(here.send, b"x"), outcome(here.recv, 1), outcome(here.getpeername)]
    with s.listen() as listener:
        said.append(outcome(here.connect, (s.address, s.port)) or "connected")
        if said[-1] == "connected":
            listener.accept()[0].close()
    connect, send, receive, name, second = (word if isinstance(word, str) else "no error" for word in said)
    return f"connect: {connect}, send: {send}, receive: {receive}, getpeername: {name}, connect again: {second}"


def nobody(table, kind, s):
    named = kind if table is NOBODY else kind + " here"
    return s.fate(address=table[s.version][kind] if s.way == POD else nobody_service(s.version, named))


for _name, _table, _kind in (("no such address, and silence", NOBODY, "quiet"), ("no such address on a link of the server's node", NOBODY, "neighbour"),
                             ("the server's node has a route that says unreachable", NOBODY, "unreachable"),
                             ("the server's node has a route that says prohibited", NOBODY, "prohibit"),
                             ("the client's node has a route that says unreachable", NOBODY_HERE, "unreachable"),
                             ("the client's node has a route that says prohibited", NOBODY_HERE, "prohibit")):
    # own pods: a node is slow to say the same to one pod again and again, and that limit is no setting of a namespace
    case("connect", _name, sees="begin", own_pods=True)(functools.partial(nobody, _table, _kind))


@case("connect", "an address that appears a moment later", own_pods=True)
def late_address(s):
    """The server's address is taken away with its route, as if its pod had not started yet."""
    family = [] if s.version == 4 else ["-6"]
    length = 32 if s.version == 4 else 128
    route = [*family, "route", "del", f"{s.server.address(s.version)}/{length}"]
    s.server.host.run("ip", *route)
    with s.listen() as listener:
        here = s.begun()
        s.wait_sent_again(here)
        s.server.host.run("ip", *(word if word != "del" else "add" for word in route), "dev", s.server.veth)
        story = polled(here)
        there = s.keep(listener.accept()[0])
        here.settimeout(DEADLINE_S)
        return f"{story.partition(' at')[0].partition(' after')[0]}, {exchange(here, there)}"


@case("connect", "a listener that appears a moment later")
def late_listener(s):
    """A program that tries again."""
    stories = [s.fate()]
    with s.listen() as listener:
        attempt = s.connect()
        there = s.keep(listener.accept()[0])
        stories.append(f"{attempt.story}, {exchange(attempt.socket, there)}")
    return "; ".join(stories)


@case("connect", "a listener whose queue is full")
def full_queue(s):
    with s.listen(backlog=0):
        fill(s)
        return s.fate()


def fill(s):
    """The server's pod itself fills its queue: one connection more than the backlog."""
    own = s.keep(s.server.socket(s.family))
    own.connect((s.server.address(s.version), s.port))


@case("connect", "a listener whose queue is full, and is emptied a moment later")
def emptied_queue(s):
    with s.listen(backlog=0) as listener:
        fill(s)
        here = s.begun()
        s.wait_sent_again(here)
        listener.accept()[0].close()
        wait_for(lambda: tcp_info(here).state == 1, "the connection")
        there = s.keep(listener.accept()[0])
        here.settimeout(DEADLINE_S)
        return exchange(here, there)


REJECTIONS = {4: ("icmp-net-unreachable", "icmp-host-unreachable", "icmp-port-unreachable", "icmp-proto-unreachable", "icmp-net-prohibited", "icmp-host-prohibited",
                  "icmp-admin-prohibited", "tcp-reset"),
              6: ("icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-port-unreachable", "icmp6-policy-fail", "icmp6-reject-route", "tcp-reset")}


def rejected(node, kind, s):
    with s.listen(), s.rule(getattr(s.net, node), "-j", "REJECT", "--reject-with", kind):
        return s.fate()


for _node, _whose in (("a", "client's"), ("b", "server's")):
    for _kind in dict.fromkeys(REJECTIONS[4] + REJECTIONS[6]):
        _versions = tuple(version for version, kinds in REJECTIONS.items() if _kind in kinds)
        case("connect", f"rejected by a policy of the {_whose} node: {_kind}", versions=_versions, sees="begin")(functools.partial(rejected, _node, _kind))


def dropped(node, s):
    with s.listen(), s.rule(getattr(s.net, node), "-j", "DROP"):
        return s.fate()


def dropped_at_first(node, s):
    with s.listen() as listener:
        with s.rule(getattr(s.net, node), "-j", "DROP"):
            here = s.begun()
            s.wait_sent_again(here)
        story = polled(here)
        there = s.keep(listener.accept()[0])
        here.settimeout(DEADLINE_S)
        return f"{story.partition(' at')[0].partition(' after')[0]}, {exchange(here, there)}"


for _node, _whose in (("a", "client's"), ("b", "server's")):
    case("connect", f"dropped by a policy of the {_whose} node", sees="begin")(functools.partial(dropped, _node))
    case("connect", f"dropped by a policy of the {_whose} node, which goes a moment later")(functools.partial(dropped_at_first, _node))


@case("connect", "simultaneous open", ways=(POD,))
def simultaneous_open(s):
    """Both pods have sent their SYN before the other's arrives: a policy drops the first of each."""
    there_port = s.next_port()
    program = s.net._iptables(s.version)
    rules = [(host, ["-p", "tcp", "-s", one.address(s.version), "--dport", str(port), "-j", "DROP"])
             for host, one, port in ((s.net.a, s.client, s.port), (s.net.b, s.server, there_port))]
    ends = []
    for host, words in rules:
        host.run(program, "-w", "-I", "POLICY", *words)
    try:
        for pod, other, own, port in ((s.client, s.server, there_port, s.port), (s.server, s.client, s.port, there_port)):
            end = s.keep(pod.socket(s.family))
            end.bind((pod.address(s.version), own))
            end.setblocking(False)
            outcome(end.connect, (other.address(s.version), port))
            ends.append(end)
    finally:
        for host, words in rules:
            host.run(program, "-w", "-D", "POLICY", *words)
    stories = [polled(end).partition(", SO_ERROR ")[2].partition(",")[0] or "silence" for end in ends]
    if stories != ["0", "0"]:
        return f"SO_ERROR of one: {stories[0]}, of the other: {stories[1]}"
    for end in ends:
        end.settimeout(PATIENCE_S)
    return f"both connected, {outcome(exchange, *ends)}"


@case("connect", "connected and closed at once", sees="end")
def close_at_once(s):
    with s.listen() as listener:
        s.connect().socket.close()
        there = s.keep(listener.accept()[0])
        return f"the server has a connection, then {rest_of(there)}"


@case("connect", "connected and reset at once, as a health check does", sees="end")
def reset_at_once(s):
    with s.listen() as listener:
        reset(s.connect().socket)
        there = s.keep(listener.accept()[0])
        return f"the server has a connection, then {rest_of(there)}"


@case("connect", "the client gives up before an answer, which a policy holds up")
def given_up(s):
    """The policy goes when the client has gone: its server must see nothing of it."""
    with s.listen() as listener:
        with s.rule(s.net.b, "-j", "DROP"):
            here = s.begun()
            s.wait_sent_again(here)
            here.close()
        listener.settimeout(PATIENCE_S)
        said = outcome(listener.accept)
        if said == "ETIMEDOUT":
            return "the server sees nothing"
        return f"the server has a connection, then {rest_of(s.keep(said[0]))}"


@case("connect", "the client gives up before an answer, and a policy had dropped the answer")
def given_up_answered(s):
    """The server's SYN-ACK is lost, the client goes, and what is sent again meets nobody."""
    program = s.net._iptables(s.version)
    words = ["-p", "tcp", "-s", s.server.address(s.version), "--sport", str(s.port), "-j", "DROP"]
    with s.listen() as listener:
        s.net.b.run(program, "-w", "-I", "POLICY", *words)
        try:
            here = s.begun()
            s.wait_sent_again(here)
            here.close()
        finally:
            s.net.b.run(program, "-w", "-D", "POLICY", *words)
        listener.settimeout(PATIENCE_S)
        said = outcome(listener.accept)
        if said == "ETIMEDOUT":
            return "the server sees nothing"
        return f"the server has a connection, then {rest_of(s.keep(said[0]))}"


def chosen(s, port):
    with s.listen() as listener:
        attempt = s.connect(source_port=port)
        there, peer = listener.accept()
        s.keep(there)
        return f"{attempt.story}, the server sees {'that port' if peer[1] == port else 'another port'}, {exchange(attempt.socket, there)}"


@case("connect", "the client chooses its port")
def chosen_port(s):
    return chosen(s, s.next_port())


@case("connect", "the client chooses a port below 1024")
def chosen_low_port(s):
    return chosen(s, {(4, POD): 881, (4, SERVICE): 882, (6, POD): 883, (6, SERVICE): 884}[s.version, s.way])


TCP_FASTOPEN, MSG_FASTOPEN, SYN_DATA_ACKED = 23, 0x20000000, 32


@case("connect", "TCP Fast Open is asked for", own_pods=True)
def fast_open(s):
    """The first connection gets a cookie, the second sends its data with the SYN."""
    said = []
    with s.listen(before=lambda l: l.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)) as listener:
        for _ in range(2):
            here = s.client_socket()
            sent = outcome(here.sendto, MESSAGE, MSG_FASTOPEN, (s.address, s.port))
            there = s.keep(listener.accept()[0])
            there.settimeout(DEADLINE_S)
            whole = there.recv(100) == MESSAGE
            there.sendall(b"!")
            here.recv(1)
            said.append(f"{sent} bytes sent, {'whole' if whole else 'not whole'}, {'' if tcp_info(here).options & SYN_DATA_ACKED else 'not '}with the SYN")
            here.close()
            there.close()
    return "; then ".join(said)


@case("connect", "the server accepts only what has data (TCP_DEFER_ACCEPT)")
def deferred(s):
    with s.listen(before=lambda l: l.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)) as listener:
        attempt = s.connect()
        listener.settimeout(0.5)
        early = outcome(listener.accept)
        attempt.socket.sendall(MESSAGE)
        listener.settimeout(DEADLINE_S)
        there = s.keep(listener.accept()[0])
        there.settimeout(DEADLINE_S)
        return f"{attempt.story}, {'not accepted' if early == 'ETIMEDOUT' else 'accepted'} before the data, {count(len(there.recv(100)), 'byte')} with it"


@case("connect", "the listener is closed with the connection in its queue", sees="end")
def dropped_queue(s):
    listener = s.listen()
    attempt = s.connect()
    # the connection is in the queue as soon as it can be accepted
    wait_readable(listener)
    listener.close()
    return f"{attempt.story}, then {rest_of(attempt.socket)}"


def wait_readable(s):
    poll = select.poll()
    poll.register(s, select.POLLIN)
    if not poll.poll(DEADLINE_S * 1000):
        raise AssertionError("nothing came")


@case("connect", "200 connections at once")
def many(s):
    with s.listen() as listener:
        begun = [s.begun() for _ in range(200)]
        served = [s.keep(listener.accept()[0]) for _ in begun]
        for there in served:
            there.sendall(b"!")
        for here in begun:
            here.settimeout(DEADLINE_S)
        return f"{sum(here.recv(1) == b'!' for here in begun)} are answered"
