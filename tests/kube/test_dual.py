# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods and Services with addresses of both families: IPv6 is encrypted as IPv4 is, and shows the same real addresses."""

import functools

import pytest

from lib import wait_for
from plane import POD_RANGE, POD_RANGE_V6, START_S
from traffic import outcome

pytestmark = [pytest.mark.group("full cluster"), pytest.mark.long]

PLAIN = f"tcp and (src net {POD_RANGE} and dst net {POD_RANGE} or src net {POD_RANGE_V6} and dst net {POD_RANGE_V6})"
WAYS = [("n1", "n2"), ("n2", "n1")]
FAMILIES = ["v4", "v6"]


@pytest.fixture(scope="module")
def cluster(full_cluster):
    """nginx on each node behind a Service of both families."""
    cluster = full_cluster
    for name in cluster.nodes:
        cluster.run_pod(f"web-{name}", name, "nginx", "-g", "daemon off;", labels={"app": f"web-{name}"})
        cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"web-{name}"},
                       "spec": {"selector": {"app": f"web-{name}"}, "ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"}})
    yield cluster
    cluster.kubectl("delete", "service", *(f"web-{name}" for name in cluster.nodes))
    cluster.delete_pods()


def of_family(addresses, family):
    (found,) = [address for address in addresses if (":" in address) == (family == "v6")]
    return found


def pod_address(cluster, node, family):
    return of_family([entry["ip"] for entry in cluster.pod(f"web-{node}")["status"]["podIPs"]], family)


def service_address(cluster, node, family):
    return of_family(cluster.api.get("v1", "services", f"web-{node}", "default")["spec"]["clusterIPs"], family)


def with_port(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def fetch(cluster, node, address):
    """The client's address that nginx sees, asked from the pod on a node. Again where the Service is not there yet."""
    answer = wait_for(lambda: cluster.exec(f"web-{node}", "curl", "-gsS", "-m", "20", f"http://{with_port(address, 80)}/", check=False).stdout.strip(), f"an answer of {address}", START_S, 0.1)
    return answer.rpartition(":")[0].strip("[]")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("address_of", [pod_address, service_address])
def test_real_addresses_and_nothing_of_it_on_the_wire(cluster, family, address_of):
    with cluster.capture(PLAIN) as plain, cluster.capture("tcp port 7117") as tunnel:
        for client, server in WAYS:
            assert fetch(cluster, client, address_of(cluster, server, family)) == pod_address(cluster, client, family)
        wait_for(tunnel.packets, "the tunnel's packets")
        assert plain.packets() == []


def test_addresses_of_both_families_are_shown(cluster):
    for client, server in WAYS:
        with cluster.network(f"web-{client}") as near, cluster.network(f"web-{server}") as far, far.listen(9000) as listener:
            for family in FAMILIES:
                with near.connect(getattr(far, family), 9000) as connection, listener.accept()[0]:
                    shown = {(stream["client"], stream["server"]) for stream in cluster.status(client, "streams")["streams"]}
                    assert (with_port(getattr(near, family), connection.getsockname()[1]), with_port(getattr(far, family), 9000)) in shown


def test_without_a_daemon_neither_family_gets_out(cluster):
    node = cluster.nodes["n1"]
    started = cluster.daemons()["n1"]["status"]["containerStatuses"][0]["restartCount"]
    with cluster.network("web-n1") as near, cluster.network("web-n2") as far, cluster.capture(PLAIN) as plain:
        with node.kubelet_stopped():
            node.kill("culvertd")
            for family in FAMILIES:
                with pytest.raises(TimeoutError):
                    near.connect(getattr(far, family), 80, timeout=1)
                # The daemon on the other side may take it, and wait for a tunnel.
                if not isinstance(taken := outcome(functools.partial(far.connect, timeout=1), getattr(near, family), 80), str):
                    taken.close()
        wait_for(lambda: cluster.daemons()["n1"]["status"]["containerStatuses"][0]["restartCount"] > started, "a new daemon", START_S, 0.2)
        cluster.wait_for_daemons()
        for family in FAMILIES:
            assert fetch(cluster, "n1", pod_address(cluster, "n2", family)) == pod_address(cluster, "n1", family)
        assert plain.packets() == []
