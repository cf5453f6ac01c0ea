# SPDX-License-Identifier: GPL-3.0-or-later
"""Lockdown where the API server runs on a node: pods reach it there, by the word of its own Service, and nothing else of that node."""

import contextlib
import ipaddress
import json
import socket

import pytest

from counted import kernel_counters
from kubemesh import KubeMesh
from lib import run, wait_for
from plane import SERVER_PORT, ControlPlane
from traffic import MESSAGE, ask, echo, outcome, talk

NODE2 = "10.99.0.2"  # where the API server says it is


@pytest.fixture(scope="module")
def mesh():
    with ControlPlane(server_options=[f"--advertise-address={NODE2}"]) as plane, KubeMesh(plane, capture={"mode": "lockdown"}) as made:
        assert made.b.v4 == NODE2
        yield made


def reach(client, server, port):
    seen, answer = talk(client, server, server.v4, lambda s, peer: (peer, echo(s, peer))[0], ask, port=port)
    assert answer == MESSAGE and seen[0] == client.v4


@contextlib.contextmanager
def knocking(client, server, port):
    with server.listen(port), client.socket(socket.AF_INET) as s:
        s.setblocking(False)
        assert outcome(s.connect, (server.v4, port)) == "EINPROGRESS"
        yield
        assert outcome(s.getpeername) == "ENOTCONN"


def refuses(mesh, client, server, port):
    count = lambda: kernel_counters(mesh.one).get(("refused", "out", "refused"), 0)
    before = count()
    with knocking(client, server, port):
        wait_for(lambda: count() > before, f"port {port} to be refused")


def servers(daemon):
    """The addresses in the kernel's map."""
    dump = json.loads(run("bpftool", "-j", "map", "dump", "pinned", daemon.pins / "api_servers").stdout)
    found = [ipaddress.ip_address(bytes(entry["formatted"]["key"]["addr"])) for entry in dump]
    return [str(address.ipv4_mapped or address) for address in found]


def test_the_api_server_is_reached_and_nothing_else_of_its_node(mesh):
    a1, node2 = mesh.net.a1, mesh.b
    reach(a1, node2, SERVER_PORT)
    for daemon, way in ((mesh.one, "out"), (mesh.two, "in")):
        assert kernel_counters(daemon)["to_node", way, "passed"] > 0
    refuses(mesh, a1, node2, SERVER_PORT + 1)
    with mesh.capture() as capture:
        reach(a1, mesh.net.b1, SERVER_PORT)  # a pod's port of that number is a pod's
    assert capture.tunnel and not capture.leaked
    # A daemon that starts again knows it before it carries anything; while none is there the kernel does.
    mesh.one.kill()
    reach(a1, node2, SERVER_PORT)
    mesh.one.start()
    mesh.wait_enrolled()
    reach(a1, node2, SERVER_PORT)


def test_an_api_server_that_moves_is_followed(mesh):
    a1, endpoints = mesh.net.a1, ("v1", "endpoints", "kubernetes")
    mesh.plane.server_options.append("--advertise-address=192.0.2.1")
    mesh.plane.restart_api()
    try:
        wait_for(lambda: [a["ip"] for s in mesh.api.get(*endpoints, "default").get("subsets", ()) for a in s["addresses"]] == ["192.0.2.1"],
                 "the API server to say its new address", 90)
        wait_for(lambda: "10.99.0.2" not in servers(mesh.one), "node1 to hear of it")
        refuses(mesh, a1, mesh.b, SERVER_PORT)
    finally:
        mesh.plane.server_options.pop()
        mesh.plane.restart_api()
