# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as kube-proxy makes them: ClusterIP, NodePort, hairpin; and the node's own connections to pods, as kubelet's probes are."""

import pytest

from lib import PLAIN, SERVICES, Shape
from mesh import Mesh
from traffic import WhoAmI, read_exactly, who

SHAPES = [Shape("routed", "direct", "iptables"), Shape("routed", "direct", "legacy"), Shape("bridged", "direct", "nft"), Shape("bridged", "vxlan", "nft"),
          Shape("routed", "rule", "iptables")]
MANY = 40  # by chance one of three endpoints is never taken: 1 in 10 million


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def mesh(request):
    with Mesh(request.param) as made:
        with WhoAmI(8080, a1=made.net.a1, a2=made.net.a2, b1=made.net.b1, b2=made.net.b2):
            yield made


def cluster_ip(name, version):
    service = SERVICES[name]
    return service.v4 if version == 4 else service.v6


def test_a_service_on_both_nodes_shows_every_endpoint_the_clients_own_address(mesh, version):
    for client in (mesh.net.a1, mesh.net.b1):
        address, endpoints = cluster_ip("web", version), set()
        for _ in range(MANY):
            (pod, seen, port), own = who(client, address, 80)
            endpoints.add(pod)
            if client is mesh.net.b1 and pod == "b1":
                assert seen != address  # itself, masqueraded
            else:
                assert (seen, port) == (client.address(version), own)
        assert endpoints == set(SERVICES["web"].endpoints)


def test_the_client_sees_the_services_address_and_not_the_pods(mesh, version):
    with mesh.net.a1.connect(cluster_ip("one", version), 80) as connection:
        assert connection.getpeername()[:2] == (cluster_ip("one", version), 80)
        assert read_exactly(connection, 2) == b"b1"


def test_a_pod_reaches_itself_behind_its_service(mesh, version):
    (pod, seen, _), _ = who(mesh.net.a1, cluster_ip("self", version), 80)
    assert pod == "a1" and seen != mesh.net.a1.address(version)


def test_the_node_itself_reaches_a_service_and_a_pod_of_the_other_node(mesh, version):
    for host, name in ((mesh.net.a, "b1"), (mesh.net.b, "a1")):
        (pod, _, _), _ = who(host, mesh.net.pod(name).address(version), 8080)
        assert pod == name
    (pod, _, _), _ = who(mesh.net.a, cluster_ip("one", version), 80)
    assert pod == "b1"


def test_the_node_itself_reaches_its_own_pods(mesh, version):
    for pod in (mesh.net.a1, mesh.net.b2):
        (_, _, _), _ = who(pod.host, pod.address(version), 8080)


def test_a_node_port_serves_a_client_outside(mesh, version):
    (pod, _, _), _ = who(mesh.net.x, mesh.net.a.address(version), SERVICES["one"].node_port)
    assert pod == "b1"
    (pod, _, _), _ = who(mesh.net.x, mesh.net.b.address(version), SERVICES["one"].node_port)
    assert pod == "b1"


def test_a_node_port_of_its_own_node_serves_a_pod(mesh, version):
    (pod, _, _), _ = who(mesh.net.a1, mesh.net.a.address(version), SERVICES["one"].node_port)
    assert pod == "b1"


def test_a_node_port_of_the_other_node_serves_a_pod(mesh, version):
    if mesh.shape.wire != "direct":
        return  # the answer leaves by another device than the question came in by, and is dropped without Culvert too
    (pod, seen, _), _ = who(mesh.net.a1, mesh.net.b.address(version), SERVICES["one"].node_port)
    assert pod == "b1" and seen != mesh.net.a1.address(version)  # masqueraded, as kube-proxy does it


def test_what_a_service_answers_is_not_readable_on_the_wire(mesh, version):
    with mesh.capture() as capture:
        (pod, seen, port), _ = who(mesh.net.a1, cluster_ip("one", version), 80)
    answer = f"{pod} {seen} {port}".encode()
    if PLAIN:  # so the check can fail
        assert capture.leaked and capture.holds(answer)
        return
    assert capture.leaked == [] and not capture.holds(answer)
    assert capture.tunnel
