# SPDX-License-Identifier: GPL-3.0-or-later
"""From an earlier build to this one and back, by helm upgrade and helm rollback, under traffic both ways: the two builds carry it side by side, nothing is
on the wire in the clear, and what is lost is only what crosses a daemon that is replaced."""

import contextlib
import json
import os

import pytest

import builds
from cluster import CHART, is_pod_ready
from images import CULVERT
from lib import wait_for
from plane import POD_RANGE, START_S
from podtraffic import Traffic

pytestmark = [pytest.mark.group("second cluster"), pytest.mark.long]

POD_TO_POD = f"tcp and src net {POD_RANGE} and dst net {POD_RANGE}"
PINS = "/sys/fs/bpf/culvert"
DRAIN = "tunnel.drainTimeout=3s"


@pytest.fixture(scope="module", params=["previous", "other_layout"])
def before(request):
    """The build from which the upgrade comes."""
    try:
        return builds.previous() if request.param == "previous" else builds.other_layout(os.environ["CULVERT_BIN_DIR"])
    except builds.Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def cluster(bare_cluster, before):
    """The earlier build is installed, with its own chart; pods on both nodes."""
    cluster = bare_cluster
    for node in cluster.nodes.values():
        node.run("ctr", "-n", "k8s.io", "images", "import", before.archive)
    for name in cluster.nodes:
        cluster.run_pod(f"pod-{name}", name)
    cluster.helm("install", "culvert", before.chart, "--namespace", "culvert", "--create-namespace", "--set", f"image.tag={before.tag},{DRAIN}")
    cluster.wait_for_daemons()
    wait_for(lambda: all(peer["pair"] == "joined" for name in cluster.nodes for peer in cluster.status(name, "peers")["peers"]), "the pair to be joined",
             START_S, 0.2)
    yield cluster
    cluster.uninstall()
    cluster.delete_pods()


def version_of_maps(node):
    """What the pinned maps of a node say of their layout."""
    (entry,) = json.loads(node.run("bpftool", "-j", "map", "dump", "pinned", f"{PINS}/settings").stdout)
    return int.from_bytes(bytes(int(byte, 16) for byte in entry["value"][:4]), "little")


def links(node):
    """The pinned links that hold the programs on the node's edge; one that is made anew is another file."""
    return node.run("stat", "-c", "%n %i", *(f"{PINS}/link_eth0_{way}" for way in ("egress", "ingress"))).stdout


def images(cluster):
    return {name: pod["spec"]["containers"][0]["image"].partition(":")[2] for name, pod in cluster.daemons().items() if is_pod_ready(pod)}


def change(cluster, traffic, tag, begin):
    """One node, then traffic between the two builds, then the other."""
    begin()
    # The second node waits until it is told.
    cluster.kubectl("patch", "-n", "culvert", "daemonset/culvert", "-p", '{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}')

    def replaced():
        return [name for name, image in images(cluster).items() if image == tag]

    def has_begun():
        return [pod for pod in cluster.api.list("v1", "pods", "culvert", labelSelector="app.kubernetes.io/component=daemon")
                if "deletionTimestamp" in pod["metadata"] or pod["spec"]["containers"][0]["image"].endswith(f":{tag}")]

    if not has_begun():
        cluster.kubectl("delete", "pod", "-n", "culvert", cluster.daemons()["n1"]["metadata"]["name"], "--wait=false")
    wait_for(lambda: len(images(cluster)) == 2 and len(replaced()) == 1, lambda: f"one node with {tag}: {images(cluster)}", START_S, 0.2)
    traffic.wait_for_more()
    assert len(replaced()) == 1
    (other,) = set(cluster.nodes) - set(replaced())
    cluster.kubectl("delete", "pod", "-n", "culvert", cluster.daemons()[other]["metadata"]["name"], "--wait=false")
    wait_for(lambda: len(replaced()) == 2, lambda: f"both nodes with {tag}: {images(cluster)}", START_S, 0.2)
    traffic.wait_for_more()


def test_upgrade_and_rollback(cluster, before, record_property):
    maps = {node: version_of_maps(node) for node in cluster.nodes.values()}
    held = {node: links(node) for node in cluster.nodes.values()}
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(cluster.network(f"pod-{name}")) for name in cluster.nodes)
        plain = stack.enter_context(cluster.capture(POD_TO_POD))
        tunnel = stack.enter_context(cluster.capture("tcp port 7117"))
        with Traffic([(one, two), (two, one)]) as traffic:
            traffic.wait_for_more()
            change(cluster, traffic, CULVERT.rpartition(":")[2], lambda: cluster.helm("upgrade", "culvert", CHART, "--namespace", "culvert", "--set", DRAIN))
            assert all(version_of_maps(node) == builds.layout() for node in cluster.nodes.values())
            change(cluster, traffic, before.tag, lambda: cluster.helm("rollback", "culvert", "1", "--namespace", "culvert"))
            assert {node: version_of_maps(node) for node in cluster.nodes.values()} == maps
            # Programs were replaced under their links: at no moment was there none.
            assert {node: links(node) for node in cluster.nodes.values()} == held
        assert plain.packets() == []
        assert tunnel.packets()
    record_property("connections", json.dumps(traffic.tally))
    print(f"{before.tag}: {dict(traffic.tally)}")
    assert traffic.wrong == []
    # No end that looks orderly in the middle; new connections wait, and those that are short find the time of the drain enough. Each of the two streams is
    # reset by each daemon that is replaced, once: two nodes, there and back.
    assert set(traffic.tally) <= {"short opened", "short finished", "long opened", "long finished", "long reset"}
    assert traffic.tally["long reset"] <= 2 * 2 * 2

