# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent arrives, and how a connection ends is what the other side hears."""

import fcntl
import functools
import hashlib
import os
import select
import socket
import struct
import termios

from lib import DEADLINE_S, wait_for
from scene import POD, SERVICE, case, count, holder_of, is_acknowledged, outcome, read_until, reset, rest_of, write_until

BLOCK = os.urandom(1 << 20)
SIZES = (1, 1447, 1448, 1449, 4096, 16383, 16384, 16385, 32768, 65535, 65536, 65537, 131072, 262144, 1048575, 1048576, 1048577)


def send_all(connection, length):
    """So many bytes of BLOCK, over and over."""
    block, sent = memoryview(BLOCK), 0
    while sent < length:
        at = sent % len(BLOCK)
        sent += connection.send(block[at:at + length - sent])


def expected(length):
    whole, rest = divmod(length, len(BLOCK))
    digest = hashlib.sha256()
    for _ in range(whole):
        digest.update(BLOCK)
    digest.update(BLOCK[:rest])
    return digest.digest()


def take(connection, length):
    """Reads so many bytes; whether they are those of send_all, in words."""
    digest, left, buffer = hashlib.sha256(), length, bytearray(1 << 20)
    while left > 0:
        got = connection.recv_into(buffer, min(left, len(buffer)))
        if got == 0:
            return f"{count(length - left, 'byte')} and the end"
        digest.update(memoryview(buffer)[:got])
        left -= got
    return "whole" if digest.digest() == expected(length) else "wrong bytes"


@case("data", "1 byte each way")
def one_byte(s):
    here, there = s.pair()
    here.sendall(b"a")
    got = there.recv(10)
    there.sendall(b"b")
    return f"server: {got}, client: {here.recv(10)}"


@case("data", "messages of exact buffer sizes, each answered by as many bytes")
def exact_sizes(s):
    here, there = s.pair()

    def serve():
        for size in SIZES:
            if (said := take(there, size)) != "whole":
                return f"{size} bytes: {said}"
            send_all(there, size)
        return "whole"

    server = s.in_background(serve)
    for size in SIZES:
        send_all(here, size)
        if (said := take(here, size)) != "whole":
            return f"{size} bytes: {said}"
    return f"{len(SIZES)} sizes, {server.result()}"


@case("data", "20 MB both ways at the same time")
def both_ways(s):
    here, there = s.pair()
    length = 20 << 20
    senders = [s.in_background(send_all, end, length) for end in (here, there)]
    readers = [s.in_background(take, end, length) for end in (here, there)]
    for sender in senders:
        sender.result()
    return f"to the client: {readers[0].result()}, to the server: {readers[1].result()}"


@case("data", "1 GB", phase="heavy", variants=((4, SERVICE), (6, POD)))
def one_gigabyte(s):
    here, there = s.pair()
    sender = s.in_background(send_all, here, 1 << 30)
    said = take(there, 1 << 30)
    sender.result()
    return said


def half_closed(who, s):
    """One side ends its half, then the other sends 5 MB and ends."""
    here, there = s.pair()
    first, second = (here, there) if who == "client" else (there, here)
    first.sendall(b"the last words")
    first.shutdown(socket.SHUT_WR)
    got, how, _ = read_until(second, DEADLINE_S)
    sender = s.in_background(send_all, second, 5 << 20)
    said = take(first, 5 << 20)
    sender.result()
    second.close()
    return f"hears {count(len(got), 'byte')} and {how}; its 5 MB arrive {said}, then {rest_of(first)}"


for _who in ("client", "server"):
    case("data", f"the {_who} ends its half, the other side goes on")(functools.partial(half_closed, _who))


def urgent(inline, s):
    """What a server reads around a byte that was sent urgently."""
    here, there = s.confirmed_pair()
    if inline:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    here.sendall(b"abc")
    here.send(b"!", socket.MSG_OOB)
    here.sendall(b"def")
    here.shutdown(socket.SHUT_WR)
    poll = select.poll()
    poll.register(there, select.POLLRDHUP)
    poll.poll(DEADLINE_S * 1000)  # all is there
    poll.modify(there, select.POLLPRI)
    said = ["poll says PRI" if poll.poll(0) else "poll does not say PRI"]
    if not inline:
        said.append(f"urgent: {outcome(there.recv, 1, socket.MSG_OOB)}")
    pieces = []
    while piece := there.recv(100):
        mark = struct.unpack("i", fcntl.ioctl(there, SIOCATMARK, b"\0\0\0\0"))[0]
        pieces.append(f"{piece}{', then the mark' if mark else ''}")
    return "; ".join(said + pieces)


SIOCATMARK = 0x8905
for _inline in (False, True):
    case("data", f"urgent data{', read inline' if _inline else ''}")(functools.partial(urgent, _inline))


def reset_after_data(who, s):
    here, there = s.confirmed_pair()
    sender, reader = (here, there) if who == "client" else (there, here)
    sender.sendall(b"y" * 1000)
    wait_for(lambda: is_acknowledged(sender), "the data to be there")
    reset(sender)
    poll = select.poll()
    poll.register(reader, 0)
    poll.poll(DEADLINE_S * 1000)  # the reset is there
    first = rest_of(reader)
    return f"{first}, then {rest_of(reader)}; send: {outcome(reader.send, b'x')}"


def reset_idle(who, s):
    here, there = s.confirmed_pair()
    first, second = (here, there) if who == "client" else (there, here)
    reset(first)
    return f"{rest_of(second)}, then {rest_of(second)}; send: {outcome(second.send, b'x')}"


def reset_under_writes(who, s):
    """The other side is blocked in a write."""
    here, there = s.confirmed_pair()
    first, second = (here, there) if who == "client" else (there, here)
    writer = s.in_background(outcome, send_all, second, 1 << 30)
    second_is_blocked(second)
    reset(first)
    return f"the blocked write says {writer.result()}, the next {outcome(second.send, b'x')}"


def second_is_blocked(connection):
    """The send buffer is full, and stays so while nothing more is taken by the kernel on the other side."""

    def queued():
        return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0\0\0\0"))[0]

    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    wait_for(lambda: queued() > 0 and not poll.poll(0) and not poll.poll(300), "a full send buffer")


for _who in ("client", "server"):
    case("data", f"SO_LINGER 0 by the {_who}, idle", sees="end")(functools.partial(reset_idle, _who))
    case("data", f"SO_LINGER 0 by the {_who}, after data that the other side has not read", sees="end")(functools.partial(reset_after_data, _who))
    case("data", f"SO_LINGER 0 by the {_who}, while the other side is blocked in a write")(functools.partial(reset_under_writes, _who))


def closed_unread(who, s):
    """It closes with data unread, after an answer."""
    here, there = s.confirmed_pair()
    first, second = (here, there) if who == "client" else (there, here)
    second.sendall(b"z" * 1000)
    poll = select.poll()
    poll.register(first, select.POLLIN)
    poll.poll(DEADLINE_S * 1000)
    first.sendall(b"an answer")
    wait_for(lambda: is_acknowledged(first), "the answer to be there")
    first.close()
    return f"{rest_of(second)}, then {rest_of(second)}; send: {outcome(second.send, b'x')}"


def closed_read(who, s):
    """It closes with everything read: the other side hears the end, and only writing tells it more."""
    here, there = s.confirmed_pair()
    first, second = (here, there) if who == "client" else (there, here)
    second.sendall(b"z" * 1000)
    take_any(first, 1000)
    first.sendall(b"an answer")
    first.close()
    said = rest_of(second)
    writes = write_until(second)
    return f"{said}; writes after it end with {writes}, then {outcome(second.recv, 1)}"


def take_any(connection, length):
    while length > 0:
        length -= len(connection.recv(length))


for _who in ("client", "server"):
    case("data", f"the {_who} closes with data unread", sees="end")(functools.partial(closed_unread, _who))
    case("data", f"the {_who} closes with everything read, and the other side writes", sees="end")(functools.partial(closed_read, _who))

IN_FLIGHT = 200_000


def killed(who, doing, s):
    """A process is killed while it sends (the kernel still has its bytes, and the other side reads only then), or while bytes for it are unread."""
    here, there = s.confirmed_pair()
    victim, other = (here, there) if who == "client" else (there, here)
    if doing == "sending":
        victim.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * IN_FLIGHT)
        victim.sendall(BLOCK[:IN_FLIGHT])
    else:
        other.sendall(BLOCK[:IN_FLIGHT // 10])
        poll = select.poll()
        poll.register(victim, select.POLLIN)
        poll.poll(DEADLINE_S * 1000)
    holder = s.keep(holder_of(victim))
    holder.kill()
    holder.wait()
    got, how, at = read_until(other)
    is_whole = "" if not got else " whole" if got == BLOCK[:len(got)] else " wrong"
    if doing == "sending":
        return f"{count(len(got), 'byte')}{is_whole}, {how} {at}".rstrip()
    return f"{how} {at}, send: {outcome(other.send, b'x')}"


for _who in ("client", "server"):
    for _doing in ("sending", "reading"):
        case("data", f"the {_who}'s process is killed while it is {_doing}")(functools.partial(killed, _who, _doing))


def blocked_reader(s):
    """A process that is stopped reads nothing: the writer is held up, and all arrives when it goes on."""
    here, there = s.confirmed_pair()
    length = 64 << 20
    writer = s.in_background(send_all, here, length)
    second_is_blocked(here)
    said = take(there, length)
    writer.result()
    return f"the writer is held up, then 64 MB arrive {said}"


case("data", "the server's process is stopped and goes on")(blocked_reader)
