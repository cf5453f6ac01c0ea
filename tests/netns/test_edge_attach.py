# SPDX-License-Identifier: GPL-3.0-or-later
"""Our programs on the node's devices: first in order or not ready, by tcx and by clsact, on devices that come and go, and in force while no daemon is there."""

import contextlib
import socket

import pytest

from lib import Shape, run, wait_for
from mesh import Capture, Mesh
from traffic import ending, outcome, read_exactly, talk

CLSACT = {"CULVERT_CLSACT": "1"}


def echo(client, server, version, text=b"hello"):
    """One connection with a few bytes each way, all the way to its orderly end."""

    def serving(connection, _):
        connection.sendall(read_exactly(connection, len(text)))
        return ending(connection)

    def asking(connection):
        connection.sendall(text)
        answer = read_exactly(connection, len(text))
        connection.shutdown(socket.SHUT_WR)
        return answer, ending(connection)

    end, answer = talk(client, server, server.address(version), serving, asking)
    assert (end, answer) == ("end", (text, "end"))


def edges(daemon):
    """{name: device} of the devices that our programs are on."""
    return {device["name"]: device for device in daemon.status()["devices"] if device["is_attached"]}


@contextlib.contextmanager
def open_connection(client, server):
    """A connection over plain forwarding, and its server's end."""
    with server.listen() as listener:
        with client.connect(server.v4, listener.getsockname()[1]) as near:
            far, _ = listener.accept()
            with far:
                far.settimeout(60)
                yield near, far


def exchange(near, far, text):
    near.sendall(text)
    assert read_exactly(far, len(text)) == text
    far.sendall(text)
    assert read_exactly(near, len(text)) == text


@pytest.mark.long
@pytest.mark.parametrize("shape", [Shape("routed", "direct", "none"), Shape("bridged", "vxlan", "iptables"), Shape("routed", "tun", "nft")], ids=str)
def test_by_clsact_all_is_as_by_tcx(shape):
    with Mesh(shape, start=False) as mesh:
        for daemon in mesh.daemons:
            daemon.start(environment=CLSACT)
            assert edges(daemon)
            assert all(device["how"] == "clsact" and device["is_first"] for device in edges(daemon).values())
        with mesh.capture() as wire:
            for version in (4, 6):
                echo(mesh.net.a1, mesh.net.b1, version)
                echo(mesh.net.b2, mesh.net.a1, version)
            with mesh.net.b1.listen() as listener, mesh.net.a1.connect(mesh.net.b1.v4, listener.getsockname()[1]) as client:
                server, _ = listener.accept()
                with server:
                    exchange(client, server, b"before")
                    mesh.one.kill()
                    assert ending(client) == "ECONNRESET"
            # Nobody there: refused by the filters alone, in silence.
            assert outcome(lambda: mesh.net.a1.connect(mesh.net.b1.v4, 8080, timeout=1.5)) == "ETIMEDOUT"
            mesh.one.start(environment=CLSACT)
            echo(mesh.net.a1, mesh.net.b1, 4)
        assert wire.tunnel and not wire.leaked


def test_a_filter_before_ours_keeps_the_node_from_ready():
    with Mesh(Shape("routed", "direct", "none"), start=False) as mesh:
        host = mesh.one.host
        host.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        host.run("tc", "filter", "add", "dev", "eth0", "egress", "pref", "1", "bpf", "bytecode", "1,6 0 0 0,", "flowid", "1:1")
        mesh.one.start(wait=False, environment=CLSACT)
        mesh.one.wait_log("device not attached")
        wait_for(lambda: mesh.one.ctl("check", check=False).returncode == 1, "the check to see it")
        status = mesh.one.status()
        assert not status["is_ready"]
        assert "preference 1" in next(device for device in status["devices"] if device["name"] == "eth0")["detail"]
        # Gone, and something about the device changes: tried again.
        host.run("tc", "filter", "del", "dev", "eth0", "egress", "pref", "1")
        host.ip("link set eth0 mtu 1480", "link set eth0 mtu 1500")
        mesh.one.wait_ready()
        host.run("tc", "qdisc", "show", "dev", "eth0")


def test_devices_come_and_go():
    with Mesh(Shape("routed", "direct", "none")) as mesh:
        a, b = mesh.net.nodes
        echo(mesh.net.a1, mesh.net.b1, 4)
        # A second wire between the nodes, with a name that a BPF file system would not take, and the pods' traffic moves to it.
        a.ip(f"link add eth9.7 type veth peer name eth9.7 netns {b.name}")
        for host, other in ((a, b), (b, a)):
            host.sysctl(**{"net.ipv4.conf.eth9/7.rp_filter": 2, "net.ipv4.conf.eth0.rp_filter": 2})
            host.ip(f"addr add 10.55.0.{host.number}/24 dev eth9.7", f"addr add fd55::{host.number}/64 dev eth9.7 nodad", "link set eth9.7 up")
        for host, other in ((a, b), (b, a)):
            host.ip(f"route replace {other.pod_prefixes[0]} via 10.55.0.{other.number}", f"-6 route replace {other.pod_prefixes[1]} via fd55::{other.number}")
        new_wire = Capture(mesh, [(a, "eth9.7")])
        with mesh.capture() as wire:
            for version in (4, 6):
                echo(mesh.net.a1, mesh.net.b1, version)
                echo(mesh.net.b1, mesh.net.a2, version)
            assert mesh.net.a1.ping(mesh.net.b1.v4)
        new_wire.stop()
        assert not wire.leaked and not new_wire.leaked
        assert any(p.protocol == "icmp" for p in new_wire.packets)  # so the traffic would have gone there
        for daemon in mesh.daemons:
            assert set(edges(daemon)) == {"eth0", "eth9.7"}
            assert daemon.ctl("check", check=False).returncode in (0, 1) and daemon.status()["is_ready"]
        # And away again.
        for host, other in ((a, b), (b, a)):
            host.ip(f"route replace {other.pod_prefixes[0]} via {other.v4}", f"-6 route replace {other.pod_prefixes[1]} via {other.v6}")
        a.ip("link del eth9.7")
        for daemon in mesh.daemons:
            wait_for(lambda: set(edges(daemon)) == {"eth0"}, "the device to be forgotten")
            assert not [pin for pin in daemon.pins.iterdir() if "eth9" in pin.name]
        echo(mesh.net.a1, mesh.net.b1, 4)


def test_a_new_pod_is_served_at_once():
    with Mesh(Shape("routed", "direct", "none")) as mesh:
        a, pod = mesh.net.a, mesh.net.a2
        a.ip(f"link del {pod.veth}")
        wait_for(lambda: pod.veth not in [device["name"] for device in mesh.one.status()["devices"]], "the pod's device to go")
        with mesh.capture() as wire:
            mesh.net._plug(pod)
            echo(pod, mesh.net.b1, 4)
            echo(mesh.net.b1, pod, 4)
        assert wire.tunnel and not wire.leaked
        assert set(edges(mesh.one)) == {"eth0"}


def test_flows_from_before_us_live_through_everything():
    with Mesh(Shape("routed", "direct", "iptables"), start=False) as mesh:
        with open_connection(mesh.net.a1, mesh.net.b1) as (near, far):
            exchange(near, far, b"plain")
            for daemon in mesh.daemons:
                daemon.start()
            exchange(near, far, b"older")
            mesh.one.kill()
            exchange(near, far, b"dead")
            mesh.one.start()
            exchange(near, far, b"again")
            assert mesh.one.counters()["older", "out", "passed"] > 0 and mesh.two.counters()["older", "in", "passed"] > 0
            with mesh.capture() as wire:
                echo(mesh.net.a1, mesh.net.b1, 4)
                exchange(near, far, b"marked")
            port = near.getsockname()[1]
            assert wire.leaked and all(port in (p.source_port, p.destination_port) for p in wire.leaked)


def test_older_flows_can_be_reset():
    with Mesh(Shape("routed", "direct", "iptables"), start=False, capture={"older_flows": "reset"}) as mesh:
        with open_connection(mesh.net.a1, mesh.net.b1) as (near, far):
            exchange(near, far, b"plain")
            for daemon in mesh.daemons:
                daemon.start()
            with mesh.capture() as wire:
                near.sendall(b"secret")
                assert ending(near) == "ECONNRESET"
            assert not wire.holds(b"secret")
            assert mesh.one.counters()["refused", "out", "refused"] > 0


def test_pins_and_programs_stay_over_a_restart():
    with Mesh(Shape("routed", "direct", "none")) as mesh:
        def link_ids():
            """The ids of the links that hold our programs on eth0."""
            return sorted(run("bpftool", "link", "show", "pinned", mesh.one.pins / f"link_eth0_{way}").stdout.split(":")[0] for way in ("egress", "ingress"))

        before = link_ids()
        mesh.one.kill()
        assert link_ids() == before
        mesh.one.start()
        assert link_ids() == before
        assert mesh.one.end() == 0
        assert link_ids() == before
        assert outcome(lambda: mesh.net.a1.connect(mesh.net.b1.v4, 8080, timeout=1.5)) == "ETIMEDOUT"
        mesh.one.start()
        echo(mesh.net.a1, mesh.net.b1, 6)
        mesh.one.end()
        mesh.one.remove()
        assert not mesh.one.pins.exists()


def test_the_host_by_an_overlays_address_that_no_nodes_file_names():
    """Flannel's address of a node lies in the range of its pods: what comes from it is a pod's for the other node, and so it is carried as a pod's."""
    with Mesh(Shape("bridged", "vxlan", "none"), start=False) as mesh:
        mesh.write_nodes([(host.node_name, [host.v4, host.v6], list(host.pod_prefixes)) for host in mesh.net.nodes])
        for daemon in mesh.daemons:
            daemon.start()
        with mesh.capture() as wire:
            echo(mesh.net.a, mesh.net.b1, 4)
            echo(mesh.net.a, mesh.net.b1, 6)
            echo(mesh.net.b, mesh.net.a1, 4)
        assert wire.tunnel and not wire.leaked
        assert not [key for daemon in mesh.daemons for key in daemon.counters() if key[2] == "refused"]
