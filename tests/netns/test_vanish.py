# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod falls silent: its node finds out, and what the other pod sends meanwhile is as lost as it would be on the wire, until the silent one answers again."""

import contextlib
import pathlib
import socket

import pytest

from lib import DEADLINE_S, run, wait_for
from load import open_pair
from mesh import Mesh
from traffic import ending, outcome, read_exactly


@pytest.fixture(scope="module")
def mesh():
    with Mesh() as m:
        yield m


@contextlib.contextmanager
def silent(mesh, pod, other, version):
    """A policy of its node drops all that the pod says to the other."""
    with mesh.net.deny(pod.host, pod.address(version), other.address(version)):
        yield


def dropped(daemon):
    return daemon.counters().get(("silent", "out", "refused"), 0)


def wait_for_more(value, before, what):
    wait_for(lambda: value() > before, lambda: f"{what}: {value()}")


@contextlib.contextmanager
def gives_up_soon(daemon):
    """The kernel of its private namespace, in which the workers' threads live, sends to a pod 4 times and not 15 times."""
    tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")
    private = next(task for task in tasks.iterdir() if (task / "ns/net").readlink() != (tasks.parent / "ns/net").readlink())

    def retries(count):
        run("nsenter", f"--net={private}/ns/net", "sysctl", "-qw", f"net.ipv4.tcp_retries2={count}")

    retries(4)
    try:
        yield
    finally:
        retries(15)


@pytest.mark.parametrize("gone", ("server", "client"))
def test_what_a_silent_pod_can_not_get_waits_until_it_answers(mesh, version, gone):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with contextlib.ExitStack() as stack:
        here, there = open_pair(a1, b1, version, stack)
        pod, other, left, lost = (b1, a1, here, there) if gone == "server" else (a1, b1, there, here)
        node, other_node = (mesh.two, mesh.one) if gone == "server" else (mesh.one, mesh.two)
        found, lost_packets = node.events()["pods_silent"], dropped(other_node)
        sent = 0
        with silent(mesh, pod, other, version):
            left.sendall(b"?")
            wait_for_more(lambda: node.events()["pods_silent"], found, "the pod's node to find out")

            def writes():
                nonlocal sent
                sent += left.send(b"!")
                return dropped(other_node)

            wait_for_more(writes, lost_packets, "the other's packets to be dropped")
        assert read_exactly(lost, sent + 1) == b"?" + b"!" * sent
        lost.sendall(b"still here")
        assert read_exactly(left, 10) == b"still here"
        left.sendall(b"so am I")
        assert read_exactly(lost, 7) == b"so am I"


def test_two_silent_pods_that_answer_again_go_on(mesh, version):
    """Neither node may drop what its own pod answers."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    with contextlib.ExitStack() as stack:
        here, there = open_pair(a1, b1, version, stack)
        found = [daemon.events()["pods_silent"] for daemon in mesh.daemons]
        # they do not hear: so each node has something to say to its pod that is not acknowledged
        with mesh.net.deny(b1.host, a1.address(version), b1.address(version)), mesh.net.deny(a1.host, b1.address(version), a1.address(version)):
            here.sendall(b"from the client")
            there.sendall(b"from the server")
            for daemon, before in zip(mesh.daemons, found):
                wait_for_more(lambda daemon=daemon: daemon.events()["pods_silent"], before, "a pod's node to find out")
        assert read_exactly(there, 15) == b"from the client"
        assert read_exactly(here, 15) == b"from the server"


def test_nothing_is_left_of_a_connection_that_its_pod_gave_up(mesh, version):
    """Its kernel says nothing when TCP_USER_TIMEOUT is over: the node asks, and hears it."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    with contextlib.ExitStack() as stack:
        here, there = open_pair(a1, b1, version, stack)
        here.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3000)
        with silent(mesh, b1, a1, version):
            wait_for(lambda: outcome(here.send, b"is anybody there?") == "ETIMEDOUT", "the client to find out")
            for daemon in mesh.daemons:
                wait_for(lambda daemon=daemon: not daemon.streams(), "the stream to be gone", timeout=2 * DEADLINE_S)
        assert ending(there) == "ECONNRESET"


@pytest.mark.parametrize("gone", ("server", "client"))
def test_a_node_that_gives_its_pod_up_says_so(mesh, version, gone):
    """The other pod, which has nothing under way that could time out, is reset, and both nodes know why and whose silence it was."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    node = mesh.two if gone == "server" else mesh.one
    with contextlib.ExitStack() as stack, gives_up_soon(node):
        here, there = open_pair(a1, b1, version, stack)
        client = here.getsockname()
        pod, other, left = (b1, a1, here) if gone == "server" else (a1, b1, there)
        with silent(mesh, pod, other, version):
            left.sendall(b"?")
            assert ending(left) == "ECONNRESET"
        for daemon in mesh.daemons:
            ended = [s for s in daemon.show("streams", "--ended")["streams"] if s["client"].endswith(f":{client[1]}") and s["reason"] == "timed_out"]
            assert [s["by"] for s in ended] == [gone], ended
