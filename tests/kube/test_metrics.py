# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dashboard sees of a daemon that follows a real API server, and of one that can not."""

import concurrent.futures

import pytest

from kubemesh import KubeMesh
from lib import wait_for
from plane import ControlPlane
from scrape import Scrape, curl, metrics_of_docs


@pytest.fixture(scope="module")
def mesh():
    """A control plane of its own: it is stopped."""
    with ControlPlane() as plane, KubeMesh(plane) as made:
        yield made


def test_a_cluster_has_figures_of_its_own_and_the_docs_list_them(mesh):
    scrape = Scrape(mesh.one)
    cluster = mesh.one.cluster()
    _, everywhere, in_a_cluster = metrics_of_docs()
    asked_for = {name for name in in_a_cluster if name.startswith("culvert_certificate")}  # only with identity.signer
    assert {name for name in scrape.types if name.startswith("culvert_")} == everywhere | (in_a_cluster - asked_for)
    assert scrape["culvert_kubernetes_current"] == 1 and scrape["culvert_enrolled"] == 1
    assert scrape["culvert_nodes_enrolled"] == 2
    followed = {entry["what"]: entry for entry in cluster["followed"]}
    assert scrape.by("culvert_kubernetes_objects", "kind") == {kind: int(entry["objects"]) for kind, entry in followed.items()}
    assert set(scrape.by("culvert_kubernetes_following", "kind").values()) == {1}
    assert set(scrape.by("culvert_kubernetes_forbidden", "kind").values()) == {0}
    assert all(count > 0 for count in scrape.by("culvert_kubernetes_received_bytes_total", "kind").values())
    assert curl(mesh.one, "/readyz")[0] == 200 and curl(mesh.one, "/livez")[0] == 200


def test_more_nodes_than_may_follow_all_pods_are_said(mesh):
    label = {"made-for": "size"}
    limit = int(Scrape(mesh.one)["culvert_kubernetes_nodes_limit"])

    def add(number):
        mesh.api.create("v1", "nodes", {"metadata": {"name": f"other-{number}", "labels": label}})

    def sees(nodes):
        wait_for(lambda: int(mesh.one.cluster()["nodes"]) == nodes, f"{nodes} nodes to be seen")
        return mesh.one.cluster()["is_too_large"], f"MORE THAN {limit} NODES" in mesh.one.ctl("status").stdout

    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(add, range(limit - 2)))
        assert sees(limit) == (False, False)
        assert mesh.one.ctl("check", check=False).returncode == 0, mesh.one.ctl("check", check=False).stdout
        add(limit)
        assert sees(limit + 1) == (True, True)
        failed = mesh.one.ctl("check", check=False)
        assert failed.returncode == 1 and f"there are more than {limit} nodes" in failed.stdout
        assert mesh.one.status()["is_ready"]  # it is said, and goes on
    finally:
        mesh.api.call("DELETE", mesh.api.path("v1", "nodes") + "?labelSelector=made-for%3Dsize")
    assert sees(2) == (False, False)


def test_an_api_server_that_is_away_shows_and_the_daemon_stays_ready(mesh):
    before = Scrape(mesh.one).by("culvert_kubernetes_events_total", "kind")
    mesh.add_pod("seen", mesh.b, "10.88.2.60")
    wait_for(lambda: Scrape(mesh.one).by("culvert_kubernetes_events_total", "kind")["pods"] > before["pods"], "the pod to be seen")
    mesh.plane.stop_api(kill=True)
    scrape = wait_for(lambda: (s := Scrape(mesh.one))["culvert_kubernetes_current"] == 0 and s, "the loss to show")
    assert scrape["culvert_enrolled"] == 1 and scrape["culvert_nodes_enrolled"] == 2
    assert curl(mesh.one, "/readyz")[0] == 200 and curl(mesh.one, "/livez")[0] == 200
    mesh.plane.start_api()
    wait_for(lambda: Scrape(mesh.one)["culvert_kubernetes_current"] == 1, "the API server to be followed again")


def test_before_the_first_list_it_lives_and_says_what_is_missing(mesh):
    """Nothing to serve yet: the pages are there all the same."""
    one = mesh.one
    mesh.plane.stop_api(kill=True)
    one.kill()
    one.start(wait=False)
    wait_for(lambda: one.ctl("status", check=False).returncode == 0, "the daemon to answer")
    code, _, body = curl(one, "/readyz")
    assert code == 503 and body == f"not ready: {one.status()['reason']}\n"
    assert curl(one, "/livez")[0] == 200
    scrape = Scrape(one)
    assert scrape["culvert_ready"] == 0 and scrape["culvert_nodes"] == 0 and scrape["culvert_workers"] == 0
    mesh.plane.start_api()
    wait_for(lambda: curl(one, "/readyz")[0] == 200, "the daemon to be ready")
