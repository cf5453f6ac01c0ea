# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose API server runs on one of its nodes, and lets no pod be made that a webhook on the other node has not admitted: it comes back by itself,
whatever dies. If the node's own traffic were refused while its daemon is dead, that would be a circle: no daemon without a pod, no pod without the webhook."""

import contextlib

import pytest

from cluster import is_pod_ready
from lib import Failure, wait_for
from plane import POD_RANGE, START_S
from webhook import PORT, Webhook

pytestmark = [pytest.mark.group("full cluster"), pytest.mark.long]

POD_TO_POD = f"tcp and src net {POD_RANGE} and dst net {POD_RANGE}"


@pytest.fixture(scope="module")
def cluster(full_cluster):
    """etcd, the API server and a client on n1; the webhook and a server on n2."""
    cluster = full_cluster
    cluster.run_pod("client", "n1")
    cluster.run_pod("server", "n2", "nginx", "-g", "daemon off;")
    cluster.webhook = Webhook(cluster, "n2")
    yield cluster
    cluster.webhook.remove()
    cluster.delete_pods()


def fetch(cluster):
    address = cluster.pod("server")["status"]["podIP"]
    answer = wait_for(lambda: cluster.exec("client", "curl", "-sS", "-m", "10", f"http://{address}/", check=False).stdout.strip(), "an answer", START_S, 0.1)
    assert answer.rpartition(":")[0] == cluster.pod("client")["status"]["podIP"]


def expect_encrypted(cluster):
    with cluster.capture(POD_TO_POD) as plain, cluster.capture("tcp port 7117") as tunnel:
        fetch(cluster)
        wait_for(tunnel.packets, "the tunnel's packets")
        assert plain.packets() == []


def counted(cluster, node, name):
    """Packets of one class, as the kernel of a node has counted them."""
    return sum(int(entry["packets"]) for entry in cluster.status(node)["counters"] if entry["name"] == name)


def test_while_the_webhook_is_away_no_pod_is_made(cluster):
    assert "culvert" not in cluster.webhook.admitted()
    with cluster.webhook.unreachable():
        assert not cluster.webhook.may_create()


def test_the_daemon_beside_the_api_server_is_made_again(cluster):
    node, before = cluster.nodes["n1"], cluster.daemons()["n1"]["metadata"]
    server = cluster.pod("server")["status"]["podIP"]
    with cluster.capture(POD_TO_POD) as plain, cluster.capture(f"tcp port {PORT} and src host {node.address}") as asked, node.kubelet_stopped():
        node.kill("culvertd")
        cluster.api.delete("v1", "pods", before["name"], "culvert", grace_s=0)
        made = wait_for(lambda: cluster.daemons().get("n1"), "a new pod for the daemon", START_S, 0.1)
        assert made["metadata"]["uid"] != before["uid"]
        assert not node.pids("culvertd")
        assert "culvert" in cluster.webhook.admitted()
        wait_for(asked.packets, "the API server's question on the wire")
        # That pods' connections are refused at the same time is what makes it worth something.
        with cluster.network("client") as client, pytest.raises(TimeoutError):
            client.connect(server, 80, timeout=2)
    cluster.wait_for_daemons()
    assert plain.packets() == []
    expect_encrypted(cluster)


def test_all_nodes_go_off_and_come_back(cluster):
    """Both at once, with all that was in their kernels and in their memory, and Culvert's pods have to be made anew. The daemons are kept from starting for a
    while, so that the window that docs/security.md names is there: two nodes that boot together, and neither has a program yet."""
    before = {pod["metadata"]["uid"] for pod in cluster.daemons().values()}
    assert all(pins(node) for node in cluster.nodes.values())
    for node in cluster.nodes.values():
        node.power_off()
    for node in cluster.nodes.values():
        node.plug()
        node.ns.ip("link add culvert0 type bridge")  # a name that the daemon needs, and does not take from a stranger
        node.power_on()
        if node.has_servers():
            assert not cluster.webhook.may_create()
            for pod in cluster.daemons().values():
                cluster.api.delete("v1", "pods", pod["metadata"]["name"], "culvert", grace_s=0)
    for name, node in cluster.nodes.items():
        wait_for(lambda: "culvert needs the name" in cluster.daemon_log(name), lambda: f"the daemon of {name} to be kept back:\n{cluster.daemon_log(name)}",
                 START_S, 0.5)
        assert pins(node) == []
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in cluster.daemons().values())
    with contextlib.ExitStack() as stack:
        client, server = (stack.enter_context(running(cluster, name)) for name in ("client", "server"))
        listener = stack.enter_context(server.listen(9000))
        with cluster.capture(POD_TO_POD) as plain:
            older = stack.enter_context(client.connect(server.v4, 9000))
            far = stack.enter_context(listener.accept()[0])
            wait_for(plain.packets, "the connection in the clear")
        # The first node that is back takes nothing in the clear from the other's pods: their first packets are all that gets out.
        cluster.nodes["n1"].ns.ip("link del culvert0")
        wait_for(lambda: is_guarded(cluster, "n1"), lambda: f"the programs of n1:\n{cluster.daemon_log('n1')}", START_S, 0.5)
        refused = counted(cluster, "n1", "refused")
        with client.listen(9001), cluster.capture(f"{POD_TO_POD} and port 9001") as plain:
            with pytest.raises(TimeoutError):
                server.connect(client.v4, 9001, timeout=2)
            wait_for(plain.packets, "the first packets")
            assert all("Flags [S]," in line for line in plain.packets())
        wait_for(lambda: counted(cluster, "n1", "refused") > refused, "what n1 counts as refused")
        cluster.nodes["n2"].ns.ip("link del culvert0")
        cluster.wait_for_daemons()
        expect_encrypted(cluster)
        # It goes on as what it is, and is counted.
        packets = {name: counted(cluster, name, "older") for name in cluster.nodes}
        older.sendall(b"older")
        assert far.recv(100) == b"older"
        for name in cluster.nodes:
            wait_for(lambda: counted(cluster, name, "older") > packets[name], f"what {name} counts as older")
    assert {record["metadata"]["name"] for record in cluster.api.list("coordination.k8s.io/v1", "leases", "culvert-nodes")} == set(cluster.nodes)


def is_guarded(cluster, name):
    """The programs of a node are on its edge, and hold the other one for joined."""
    if not any(path.endswith("link_eth0_ingress") for path in pins(cluster.nodes[name])):
        return False
    peers = cluster.status(name, "peers").get("peers", ())
    return bool(peers) and all(peer["pair"] == "joined" for peer in peers)


def pins(node):
    """What is pinned on a node: maps, and the links that hold the programs."""
    return [path for path in node.run("find", "/sys/fs/bpf", "-mindepth", "1", "-type", "f").stdout.split() if "/culvert/" in path]


def running(cluster, name):
    """The network of a pod after its node was off: it has a new address."""
    def found():
        pod = cluster.pod(name)
        try:
            return cluster.network(name) if is_pod_ready(pod) else None
        except Failure:  # what is said of it is from before
            return None

    return wait_for(found, f"pod {name}", START_S, 0.2)
