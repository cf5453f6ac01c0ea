# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests on Kubernetes share: one control plane for the tests that need no node, and one cluster for those that do."""

import os

import pytest

from cluster import Cluster
from plane import ControlPlane


@pytest.fixture(scope="session")
def plane():
    """The control plane of all tests that only add to it; who stops or breaks it makes one of its own."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def bare_cluster():
    """Two nodes with Culvert's image, on which it is not installed. Who uses it leaves it as it was."""
    with Cluster(build=os.environ["CULVERT_BIN_DIR"]) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def full_cluster():
    """Two nodes, on the first of which the API server runs; pods and Services have addresses of both families, and Culvert is installed."""
    with Cluster(build=os.environ["CULVERT_BIN_DIR"], server_node="n1", dual_stack=True) as cluster:
        cluster.install("--create-namespace")
        yield cluster


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """The daemons' logs beside a failure of a test on nodes."""
    report = (yield).get_result()
    cluster = item.funcargs.get("cluster") or item.funcargs.get("installed")
    if report.failed and hasattr(cluster, "daemons"):
        for node in cluster.nodes:
            report.sections.append((f"log of the daemon on {node}", cluster.daemon_log(node)[-6000:]))
