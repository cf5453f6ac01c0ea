# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a cluster: a node whose daemon can not start, an issuer that is away, certificates and authorities that change."""

import re

import pytest

from lib import wait_for
from plane import POD_RANGE, START_S

POD_TO_POD = f"tcp and src net {POD_RANGE} and dst net {POD_RANGE}"


@pytest.fixture
def cluster(bare_cluster):
    """A client on n1 and a server on n2, and Culvert not installed yet."""
    bare_cluster.run_pod("client", "n1")
    bare_cluster.run_pod("server", "n2", "nginx", "-g", "daemon off;")
    yield bare_cluster
    bare_cluster.delete_pods()
    bare_cluster.uninstall()


def fetch(cluster):
    address = cluster.pod("server")["status"]["podIP"]
    return wait_for(lambda: cluster.exec("client", "curl", "-sS", "-m", "10", f"http://{address}/", check=False).stdout.strip(), "an answer", START_S, 0.1)


def test_a_node_whose_daemon_can_not_start_keeps_its_connections(cluster):
    node = cluster.nodes["n2"]
    node.run("ip", "link", "add", "culvert0", "type", "bridge")  # the name is taken by something that is not ours to delete
    try:
        cluster.install("--create-namespace", wait=False)
        cluster.wait_for_daemons(nodes=["n1"])
        wait_for(lambda: "culvert needs the name" in cluster.daemon_log("n2"), "the reason in the log of n2", START_S, 0.2)
        with cluster.capture(POD_TO_POD) as plain:
            fetch(cluster)
            wait_for(plain.packets, "plain packets")
        assert [record["metadata"]["name"] for record in cluster.api.list("coordination.k8s.io/v1", "leases", "culvert-nodes")] == ["n1"]
        assert re.search(r"n2\b.*not enrolled|not enrolled.*\bn2\b|2 nodes, 1 enrolled", cluster.ctl("n1", "status"))
    finally:
        node.run("ip", "link", "del", "culvert0")
    cluster.wait_for_daemons()
    with cluster.capture(POD_TO_POD) as plain:
        fetch(cluster)
        assert plain.packets() == []


def test_certificates_and_what_is_trusted_change_while_pods_talk(cluster):
    cluster.install("--create-namespace", "--set", "identity.issuer.certificateLifetime=60s")

    def certificates():
        return {node: cluster.status(node, "certs") for node in cluster.nodes}

    before = certificates()
    assert all(len(of["authorities"]) == 1 for of in before.values())
    cluster.kubectl("exec", "-n", "culvert", "deploy/culvert-issuer", "--", "culvert-issuer", "--rotate")
    with cluster.capture(POD_TO_POD) as plain:
        def are_changed():
            fetch(cluster)
            return all(of["serial"] != before[node]["serial"] and len(of["authorities"]) == 2 for node, of in certificates().items())

        wait_for(are_changed, lambda: f"new certificates, and both authorities: {certificates()}", START_S, 0.2)
        fetch(cluster)
        assert plain.packets() == []


def test_what_exists_goes_on_while_the_issuer_is_away(cluster):
    cluster.install("--create-namespace")
    cluster.kubectl("scale", "-n", "culvert", "deployment/culvert-issuer", "--replicas=0")
    wait_for(lambda: not cluster.api.list("v1", "pods", "culvert", labelSelector="app.kubernetes.io/component=issuer"), "the end of the issuer", START_S, 0.2)
    cluster.kubectl("delete", "pod", "-n", "culvert", cluster.daemons()["n1"]["metadata"]["name"])
    cluster.wait_for_daemons()  # the new pod has the node's files
    with cluster.capture(POD_TO_POD) as plain:
        fetch(cluster)
        assert plain.packets() == []
