# SPDX-License-Identifier: GPL-3.0-or-later
"""However Culvert is taken out of a cluster or of a node, nothing of it is left, and pods talk in the clear again."""

import json
import re

import pytest

from cluster import CHART
from lib import wait_for
from plane import POD_RANGE, START_S

pytestmark = [pytest.mark.group("second cluster"), pytest.mark.long]

POD_TO_POD = f"tcp and src net {POD_RANGE} and dst net {POD_RANGE}"
# Objects that come and go by themselves; requests for certificates are thrown away by Kubernetes within the hour.
PASSING = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io", "certificatesigningrequests.certificates.k8s.io"}


@pytest.fixture(scope="module")
def cluster(bare_cluster):
    cluster = bare_cluster
    cluster.run_pod("client", "n1")
    cluster.run_pod("server", "n2", "nginx", "-g", "daemon off;")
    cluster.before = {name: state_of(node) for name, node in cluster.nodes.items()}
    cluster.objects_before = objects_of(cluster)
    yield cluster
    cluster.delete_pods()


@pytest.fixture
def installed(cluster):
    """A cluster in which Culvert is installed and works."""
    cluster.install("--create-namespace")
    with cluster.capture(POD_TO_POD) as plain:
        fetch(cluster)
        assert plain.packets() == []
    return cluster


def state_of(node):
    """What Culvert could leave on a node, in the words of the tools that show it."""
    def words(*command):
        return node.run(*command, check=False).stdout

    return {
        "devices": sorted(line.split()[0] for line in words("ip", "-br", "link").splitlines()),
        "rules": words("ip", "rule") + words("ip", "-6", "rule"),
        "routes": sorted(line for family in ("-4", "-6") for line in words("ip", family, "route", "show", "table", "77").splitlines()),
        "programs": words("bpftool", "net"),
        "pins": words("find", "/sys/fs/bpf", "-mindepth", "1"),
        "namespaces": len(words("lsns", "-n", "-t", "net").splitlines()),
        "files": words("find", "/run/culvert", "-mindepth", "1"),
    }


def objects_of(cluster):
    """All objects of all kinds that can be listed, but leases of the cluster's own parts."""
    api = cluster.api
    places = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in api.call("GET", "/apis")["groups"])]
    found = set()
    for place in places:
        for kind in api.call("GET", place)["resources"]:
            group = place.removeprefix("/apis/").rpartition("/")[0] if place.startswith("/apis/") else ""
            name = f"{kind['name']}.{group}".rstrip(".")
            if "list" not in kind["verbs"] or name in PASSING:
                continue
            for item in api.call("GET", f"{place}/{kind['name']}")["items"]:
                at = item["metadata"].get("namespace", ""), item["metadata"]["name"]
                if kind["name"] != "leases" or "culvert" in at[0]:
                    found.add((name, *at))
    return found


def fetch(cluster):
    address = cluster.pod("server")["status"]["podIP"]
    return wait_for(lambda: cluster.exec("client", "curl", "-sS", "-m", "10", f"http://{address}/", check=False).stdout.strip(), "an answer", START_S, 0.1)


def expect_gone(cluster, nodes=None):
    """Nothing of it is on the nodes, and what pods say is on the wire again."""
    for name in nodes or cluster.nodes:
        node = cluster.nodes[name]
        wait_for(lambda: state_of(node) == cluster.before[name], lambda: f"a clean {name}: {differences(cluster.before[name], state_of(node))}", START_S, 0.2)
    with cluster.capture(POD_TO_POD) as plain:
        fetch(cluster)
        wait_for(plain.packets, "plain packets")


def differences(before, now):
    return {key: (before[key], now[key]) for key in before if before[key] != now[key]}


def expect_no_objects(cluster):
    cluster.kubectl("delete", "namespace", "culvert", "--ignore-not-found", "--wait", timeout=300)  # Helm leaves what --create-namespace made
    wait_for(lambda: objects_of(cluster) == cluster.objects_before, lambda: f"the objects of before: {objects_of(cluster) ^ cluster.objects_before}", START_S, 0.5)


def test_helm_uninstall(installed):
    installed.helm("uninstall", "culvert", "--namespace", "culvert")
    expect_gone(installed)
    expect_no_objects(installed)


def test_helm_uninstall_without_hooks(installed):
    installed.helm("uninstall", "culvert", "--namespace", "culvert", "--no-hooks")
    expect_gone(installed)
    expect_no_objects(installed)


def test_a_deleted_namespace(installed):
    installed.kubectl("delete", "namespace", "culvert", "--wait", timeout=300)
    expect_gone(installed)
    # What lies outside of the namespace goes as the documentation says.
    installed.kubectl("delete", "namespace", "culvert-nodes", "--wait", timeout=300)
    installed.kubectl("delete", "clusterrole,clusterrolebinding,flowschema,prioritylevelconfiguration", "-l", "app.kubernetes.io/name=culvert")
    expect_no_objects(installed)


def keep_away_from_n2(cluster):
    """No pod of Culvert is there any more; the issuer goes to the other node."""
    cluster.api.patch("v1", "nodes", "n2", {"metadata": {"labels": {"culvert": "no"}}})
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "culvert", "operator": "NotIn", "values": ["no"]}]}]}}}
    cluster.helm("upgrade", "culvert", CHART, "--namespace", "culvert", "--set-json", f"daemon.affinity={json.dumps(affinity)}",
                 "--set-json", 'identity.issuer.nodeSelector={"kubernetes.io/hostname":"n1"}')
    wait_for(lambda: {pod["spec"].get("nodeName") for pod in cluster.api.list("v1", "pods", "culvert")} == {"n1"}, "the end of Culvert's pods on n2", START_S, 0.2)


def test_a_node_that_is_taken_out(installed):
    installed.api.patch("v1", "nodes", "n2", {"metadata": {"annotations": {"culvert.dev/enrolled": "false"}}})
    keep_away_from_n2(installed)
    expect_gone(installed, ["n2"])
    installed.wait_for_daemons(nodes=["n1"])
    installed.helm("uninstall", "culvert", "--namespace", "culvert")
    installed.api.patch("v1", "nodes", "n2", {"metadata": {"annotations": {"culvert.dev/enrolled": None}, "labels": {"culvert": None}}})
    expect_gone(installed)
    expect_no_objects(installed)


def test_a_node_is_cleaned_by_the_job_of_the_documentation(installed):
    keep_away_from_n2(installed)
    assert differences(installed.before["n2"], state_of(installed.nodes["n2"]))  # nobody said that the node is to be left: it refuses
    text = (CHART.parent.parent / "docs" / "kubernetes.md").read_text()
    job = next(block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if "name: culvert-remove" in block)
    installed.kubectl("apply", "-f", "-", stdin=job.replace("NODE", "n2"))
    wait_for(lambda: installed.api.get("batch/v1", "jobs", "culvert-remove", "culvert")["status"].get("succeeded"), "the job", START_S, 0.2)
    node = installed.nodes["n2"]
    wait_for(lambda: state_of(node) == installed.before["n2"], lambda: f"a clean n2: {differences(installed.before['n2'], state_of(node))}", START_S, 0.2)
    installed.wait_for_daemons(nodes=["n1"])  # else its pod may be deleted before it has ever run, and nobody cleans n1
    installed.helm("uninstall", "culvert", "--namespace", "culvert")
    installed.api.patch("v1", "nodes", "n2", {"metadata": {"labels": {"culvert": None}}})
    expect_gone(installed)
    expect_no_objects(installed)
