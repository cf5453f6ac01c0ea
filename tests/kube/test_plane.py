# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' own control plane does what the other tests rely on."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from plane import RUN_NETNS, Api, ApiError, ControlPlane, sweep, wait_for


def test_nodes_and_pods_look_as_kubelets_leave_them(plane):
    plane.add_node("look1", ["10.9.0.1"], ["10.9.1.0/24"])
    pod = plane.add_pod("look", node="look1", ip=["10.9.1.7", "fd09:1::7"])
    assert pod["spec"]["nodeName"] == "look1"
    assert [entry["ip"] for entry in pod["status"]["podIPs"]] == ["10.9.1.7", "fd09:1::7"]
    assert plane.kubectl("get", "pod", "look", "-o", "jsonpath={.status.podIP}").stdout == "10.9.1.7"
    assert [node["metadata"]["name"] for node in plane.api.list("v1", "nodes", fieldSelector="metadata.name=look1")] == ["look1"]


def test_a_token_is_bound_to_its_pod_and_sees_what_its_account_may(plane):
    plane.create_namespace("bound")
    pod = plane.add_pod("p", node="n9", namespace="bound")
    api = Api(plane, token=plane.token("bound", "default", pod=("p", pod["metadata"]["uid"])))
    with pytest.raises(ApiError) as refused:
        api.list("v1", "pods", "bound")
    assert refused.value.code == 403
    plane.api.delete("v1", "pods", "p", "bound", grace_s=0)
    wait_for(lambda: api.request("GET", "/api/v1/namespaces/bound/pods")[0] == 401, "the end of the token")  # the server remembers it for 10 s


def test_what_the_server_forgot_is_gone_and_old_tokens_are_worth_nothing():
    with ControlPlane() as plane:
        first = plane.add_node("n1")["metadata"]["resourceVersion"]
        token = plane.token("default", "default")
        plane.add_node("n2")
        plane.compact()
        code, answer = plane.api.request("GET", f"/api/v1/nodes?watch=1&resourceVersion={first}&timeoutSeconds=5")
        event = json.loads(answer)
        assert (code, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
        plane.rotate_account_keys()
        assert Api(plane, token=token).request("GET", "/api")[0] == 401


def test_nothing_is_left_after_the_test_was_killed():
    program = textwrap.dedent("""
        import sys
        sys.path.insert(0, sys.argv[1])
        from plane import ControlPlane
        plane = ControlPlane()
        print(plane.name, *(process.pid for process in plane._processes.values()), flush=True)
        sys.stdin.read()
    """)
    child = subprocess.Popen([sys.executable, "-c", program, pathlib.Path(__file__).parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        name, *pids = child.stdout.readline().split()
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
    wait_for(lambda: not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids), "the end of its processes")
    sweep()
    assert not (RUN_NETNS / f"{name}-cp").exists()
    assert not pathlib.Path("/dev/shm", name).exists()
