# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' own cluster is one: pods of two nodes reach each other, and the API server reaches the kubelets."""

import pytest

from lib import wait_for
from plane import START_S

pytestmark = [pytest.mark.group("second cluster"), pytest.mark.long]


@pytest.fixture(scope="module")
def cluster(bare_cluster):
    bare_cluster.run_pod("client", "n1")
    yield bare_cluster
    bare_cluster.delete_pods()
    bare_cluster.api.delete("v1", "services", "web", "default")


def test_pods_of_two_nodes_reach_each_other(cluster):
    pod = cluster.run_pod("server", "n2", "nginx", "-g", "daemon off;")
    assert "1 packets received" in cluster.exec("client", "ping", "-c", "1", pod["status"]["podIP"]).stdout
    answer = cluster.exec("client", "curl", "-s", "--retry", "10", "--retry-connrefused", f"http://{pod['status']['podIP']}/").stdout
    assert answer.rpartition(":")[0] == cluster.pod("client")["status"]["podIP"]


def test_a_service_is_reached_through_kube_proxy(cluster):
    cluster.run_pod("web", "n2", "socat", "TCP-LISTEN:8080,fork,reuseaddr", "SYSTEM:echo $SOCAT_PEERADDR", labels={"app": "web"})
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}})
    service = cluster.api.get("v1", "services", "web", "default")["spec"]["clusterIP"]
    answer = wait_for(lambda: cluster.exec("client", "socat", "-T5", "-", f"TCP:{service}:80,connect-timeout=5", check=False).stdout.strip(), "an answer of the Service", START_S, 0.2)
    assert answer == cluster.pod("client")["status"]["podIP"]


def test_a_node_that_was_off_comes_back_with_its_pods(cluster):
    def started():
        return cluster.pod("client")["status"]["containerStatuses"][0]["restartCount"]

    before, node = started(), cluster.nodes["n1"]
    node.power_off()
    node.power_on()
    wait_for(lambda: started() > before, "the pod's new start", START_S, 0.2)
    assert "1 packets received" in wait_for(lambda: cluster.exec("client", "ping", "-c", "1", cluster.nodes["n2"].address, check=False).stdout, "the pod", START_S, 0.2)
