# SPDX-License-Identifier: GPL-3.0-or-later
"""The path's MTU shrinks under way: at a pod's device, and on the wire between the nodes. Running streams go on in smaller packets, and new ones come up."""

import contextlib

import pytest

from load import Load, open_pair
from mesh import Mesh, read_all
from traffic import talk

SMALL = 1300


@pytest.fixture
def mesh():
    with Mesh() as m:
        yield m


def set_mtu(space, device, mtu):
    space.ip(f"link set {device} mtu {mtu}")


@contextlib.contextmanager
def loads(mesh, pairs):
    """Both directions of a connection of each pair and family, before and after what the test does."""
    with contextlib.ExitStack() as stack:
        running = []
        for client, server in pairs:
            for version in (4, 6):
                here, there = open_pair(client, server, version, stack)
                running += [Load(here, there, seed=1), Load(there, here, seed=2)]
        for load in running:
            load.wait_more()
        yield
        for load in running:
            load.wait_more()
        for load in running:
            load.finish()
    for daemon in mesh.daemons:
        assert set(daemon.ended()) <= {"finished"}, daemon.ended()


def check_new_streams(mesh):
    """Large answers both ways, since a hole in the path shows only in full packets."""
    large = b"large" * 100_000
    for client, server in ((mesh.net.a1, mesh.net.b1), (mesh.net.b1, mesh.net.a1)):
        for version in (4, 6):
            assert talk(client, server, server.address(version), lambda c, _: c.sendall(large), read_all)[1] == large
            assert talk(client, server, server.address(version), lambda c, _: read_all(c), lambda c: c.sendall(large))[0] == large


def test_a_pods_device_shrinks_under_way(mesh):
    net = mesh.net
    with loads(mesh, [(net.a1, net.b1), (net.b2, net.a2)]):
        for pod in (net.a1, net.b2):
            set_mtu(pod, "eth0", SMALL)
            set_mtu(pod.host, pod.veth, SMALL)
    check_new_streams(mesh)


def test_the_way_to_a_pod_shrinks_under_way(mesh):
    """On the node, not at its device: the far side's packets are too long, and the node tells the client, whose packets they seem to be. It must reach our socket."""
    net = mesh.net
    with loads(mesh, [(net.a1, net.b1), (net.b2, net.a2)]):
        for pod in (net.b1, net.a2):
            pod.host.ip(f"route change {pod.v4}/32 dev {pod.veth} mtu lock {SMALL}", f"-6 route change {pod.v6}/128 dev {pod.veth} mtu lock {SMALL}")
    check_new_streams(mesh)


def test_the_wire_shrinks_under_way(mesh):
    """A device of the nodes: their own kernels know it at once."""
    net = mesh.net
    with loads(mesh, [(net.a1, net.b1), (net.b2, net.a2)]):
        for host in net.nodes:
            set_mtu(host, "eth0", SMALL)
    check_new_streams(mesh)
