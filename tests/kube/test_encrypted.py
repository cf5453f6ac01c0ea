# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed by the real Helm with no values: what pods of two nodes say to each other is encrypted, and nobody notices."""

import re

import pytest

from cluster import is_pod_ready
from images import TOOLS_IMAGE
from lib import wait_for
from plane import POD_RANGE, START_S

pytestmark = [pytest.mark.group("first cluster"), pytest.mark.long]

# TCP between pods as it would be without Culvert; between two nodes it would have to pass eth0.
POD_TO_POD = f"tcp and src net {POD_RANGE} and dst net {POD_RANGE}"
TUNNEL = "tcp port 7117"


def web(node):
    """nginx in a Deployment behind a ClusterIP Service, with probes by its kubelet."""
    labels = {"app": "web"}
    probe = {"httpGet": {"port": 80, "path": "/probe"}, "periodSeconds": 1}
    container = {"name": "nginx", "image": TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["nginx", "-g", "daemon off;"],
                 "readinessProbe": probe, "livenessProbe": {**probe, "failureThreshold": 3}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "nodeSelector": {"kubernetes.io/hostname": node},
                                                         "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}}
    return [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
             "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": labels, "ports": [{"port": 80}]}}]


@pytest.fixture(scope="module")
def cluster(bare_cluster):
    cluster = bare_cluster
    cluster.notes = cluster.install("--create-namespace")
    cluster.apply(*web("n2"))
    for node in cluster.nodes:
        cluster.run_pod(f"client-{node}", node)
    wait_for(lambda: server(cluster), "nginx", START_S, 0.1)
    yield cluster
    cluster.kubectl("delete", "deployment,service", "web")
    cluster.delete_pods()
    cluster.uninstall()


def server(cluster):
    """The running pod behind the Service, or None."""
    pods = [pod for pod in cluster.api.list("v1", "pods", "default", labelSelector="app=web") if "deletionTimestamp" not in pod["metadata"] and is_pod_ready(pod)]
    return pods[0] if len(pods) == 1 else None


def fetch(cluster, client, path="/", check=True):
    """What nginx answers through its Service: the client's address and port, as it sees them. Again where the Service is not there yet."""
    address = cluster.api.get("v1", "services", "web", "default")["spec"]["clusterIP"]

    def answer():
        return cluster.exec(client, "curl", "-sS", "-m", "20", f"http://{address}{path}", check=False).stdout.strip()

    return wait_for(answer, f"an answer to {client}", START_S, 0.1) if check else answer()


def reach(cluster, client, node, instead_of):
    """Until what the client asks of the Service comes to its pod on that node: the one before answers for as long as it lives and kube-proxy knows no other."""
    pod = wait_for(lambda: (pod := server(cluster)) and node_of(pod) == node and pod["metadata"]["uid"] != instead_of["metadata"]["uid"] and pod,
                   f"the pod on {node}", START_S, 0.1)
    path = f"/{pod['metadata']['uid']}"
    wait_for(lambda: fetch(cluster, client, path, check=False) and re.search(rf"{path} 200$", cluster.kubectl("logs", pod["metadata"]["name"]).stdout, re.MULTILINE),
             f"{client} to reach the pod on {node}", START_S, 0.1)
    return pod


def between_nodes(cluster):
    """Of POD_TO_POD what is not within one node, where nothing is encrypted."""
    ranges = [node.pod_ranges()[0] for node in cluster.nodes.values()]
    return f"{POD_TO_POD} and not ({' or '.join(f'src net {pods} and dst net {pods}' for pods in ranges)})"


def node_of(pod):
    return pod["spec"]["nodeName"]


def address_of(pod):
    return pod["status"]["podIP"]


def test_every_node_enrols_itself_with_a_record_that_its_node_owns(cluster):
    records = cluster.api.list("coordination.k8s.io/v1", "leases", "culvert-nodes")
    assert {record["metadata"]["name"] for record in records} == set(cluster.nodes)
    for record in records:
        (owner,) = record["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Node", record["metadata"]["name"]) and not owner.get("blockOwnerDeletion")


def test_helm_tells_how_to_see_that_it_works(cluster):
    assert "culvertctl status" in cluster.notes
    for node in cluster.nodes:
        assert "ready" in cluster.ctl(node, "status")


def test_a_service_shows_the_real_client_and_nothing_of_it_is_on_the_wire(cluster):
    with cluster.capture(POD_TO_POD) as plain, cluster.capture(TUNNEL) as tunnel:
        seen = [fetch(cluster, "client-n1", f"/request{i}") for i in range(20)]
        wait_for(lambda: tunnel.packets(), "the tunnel's packets")
        assert plain.packets() == []
    address = address_of(cluster.pod("client-n1"))
    assert {line.rpartition(":")[0] for line in seen} == {address}
    log = cluster.kubectl("logs", server(cluster)["metadata"]["name"]).stdout
    assert len(re.findall(rf"^{re.escape(address)}:\d+ /request\d+ 200$", log, re.M)) == 20


def test_both_nodes_proved_their_names(cluster):
    assert "URI:spiffe://cluster.local/ns/culvert/node/n2" in cluster.ctl("n1", "peers")
    assert "TLSv1.3" in cluster.ctl("n1", "peers")


def test_the_authority_is_in_a_secret_that_nothing_mounts(cluster):
    assert cluster.api.find("v1", "secrets", "culvert-issuer", "culvert") is not None
    for pod in cluster.api.list("v1", "pods", "culvert"):
        assert not any("secret" in volume for volume in pod["spec"]["volumes"])


def test_kubelets_probes_and_kubectl_work(cluster):
    pod = server(cluster)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    log = cluster.kubectl("logs", pod["metadata"]["name"]).stdout
    assert re.search(r"/probe 200$", log, re.M)
    assert cluster.exec(pod["metadata"]["name"], "cat", "/proc/1/comm").stdout.strip() == "nginx"
    forward = cluster.ns.popen(cluster.bin / "kubectl", f"--kubeconfig={cluster.kubeconfig()}", "port-forward", pod["metadata"]["name"], "18080:80")
    try:
        got = wait_for(lambda: cluster.ns.run("curl", "-s", "-m", "5", "http://127.0.0.1:18080/forward", check=False).stdout, "port-forward", 30, 0.1)
    finally:
        forward.terminate()
        forward.wait()
    assert got.startswith("127.0.0.1:")


def test_a_pod_that_is_made_again_on_another_node_is_reached_there(cluster):
    pod = server(cluster)
    with cluster.capture(between_nodes(cluster)) as plain:
        for client, node in (("client-n2", "n1"), ("client-n1", "n2")):
            cluster.apply(web(node)[0])
            pod = reach(cluster, client, node, instead_of=pod)
            assert fetch(cluster, client).rpartition(":")[0] == address_of(cluster.pod(client))
        assert plain.packets() == []


def test_a_daemon_that_is_killed_lets_nothing_out_and_comes_back(cluster):
    node = cluster.nodes["n1"]
    before = cluster.daemons()["n1"]["status"]["containerStatuses"][0]["restartCount"]
    with cluster.capture(POD_TO_POD) as plain:
        node.run("kill", "-9", node.run("pidof", "culvertd").stdout.strip())
        fetch(cluster, "client-n1", check=False)
        wait_for(lambda: cluster.daemons()["n1"]["status"]["containerStatuses"][0]["restartCount"] > before, "a new daemon", START_S, 0.1)
        cluster.wait_for_daemons()
        assert fetch(cluster, "client-n1").rpartition(":")[0] == address_of(cluster.pod("client-n1"))
        assert plain.packets() == []


def test_a_rolling_restart_lets_nothing_out(cluster):
    before = {pod["metadata"]["uid"] for pod in cluster.daemons().values()}
    with cluster.capture(POD_TO_POD) as plain:
        cluster.kubectl("rollout", "restart", "-n", "culvert", "daemonset/culvert")

        def are_new():
            pods = cluster.daemons().values()
            return len(pods) == len(cluster.nodes) and all(pod["metadata"]["uid"] not in before and is_pod_ready(pod) for pod in pods)

        while not are_new():
            fetch(cluster, "client-n1", check=False)
        assert fetch(cluster, "client-n1").rpartition(":")[0] == address_of(cluster.pod("client-n1"))
        assert plain.packets() == []
    assert {record["metadata"]["name"] for record in cluster.api.list("coordination.k8s.io/v1", "leases", "culvert-nodes")} == set(cluster.nodes)


def test_daemons_were_refused_nothing_by_the_api_server(cluster):
    for node in cluster.nodes:
        assert "forbidden" not in cluster.daemon_log(node)
