# SPDX-License-Identifier: GPL-3.0-or-later
"""A tunnel to another place shares one connection's buffers among all streams: it has large ones. A tunnel to another rack is left to the kernel."""

import contextlib
import re
import subprocess

import pytest

from lib import PLAIN, TUNNEL_PORT, wait_for
from load import Load
from mesh import Mesh, program

PORT = 8080
ONE_WAY_US = 10000
LARGE_BYTES = 64 << 20
BULK_BYTES = 4 << 20  # far more than goes by the link for light streams

pytestmark = pytest.mark.skipif(PLAIN, reason="no daemon, no tunnel")


@contextlib.contextmanager
def long_wire(net):
    """node2 is 20 ms of round trip away."""
    net.w.ip("link add far type veth peer name near", "link set near master lan0", "link set far up", "link set near up", "link set l0b nomaster")
    delay = net.w.popen(program("bench_delay"), "l0b", "far", ONE_WAY_US, stdout=subprocess.PIPE, text=True)
    try:
        assert delay.stdout.readline() == "listening\n"
        yield
    finally:
        delay.kill()
        delay.wait()
        delay.stdout.close()
        net.w.ip("link del far", "link set l0b master lan0")


def buffers_of(daemon):
    """(receive, send) of each of its tunnels' sockets, in bytes."""
    lines = daemon.host.run("ss", "-Htnm", "state", "established", f"( sport = {TUNNEL_PORT} or dport = {TUNNEL_PORT} )").stdout
    return [tuple(map(int, found)) for found in re.findall(r"skmem:\(r\d+,rb(\d+),t\d+,tb(\d+)", lines)]


@contextlib.contextmanager
def both_links(mesh):
    """A stream that has had the tunnel's second link made."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(mesh.net.b1.listen(PORT))
        client = stack.enter_context(mesh.net.a1.connect(mesh.net.b1.address(4), PORT))
        load = Load(client, stack.enter_context(listener.accept()[0]), 0)
        load.wait_more(BULK_BYTES)
        wait_for(lambda: all(len(buffers_of(daemon)) == 2 for daemon in mesh.daemons), "both links")
        yield
        load.finish()


def test_a_long_tunnel_has_large_buffers():
    with Mesh(start=False) as mesh, long_wire(mesh.net):
        for daemon in mesh.daemons:
            daemon.start()
        with both_links(mesh):
            for daemon in mesh.daemons:
                assert all(size == LARGE_BYTES for pair in buffers_of(daemon) for size in pair)


def test_a_short_one_has_the_kernels():
    with Mesh() as mesh, both_links(mesh):
        for daemon in mesh.daemons:
            assert all(size < LARGE_BYTES for pair in buffers_of(daemon) for size in pair)
