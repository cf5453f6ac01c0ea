# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reflectors tell is what the API server says, whatever happens to the server, the connection and the credentials."""

import base64
import json
import signal
import subprocess
import threading

import pytest

from follower import PROGRAM, Follower
from plane import PLANE_ADDRESS, SERVER_PORT, Authority, ControlPlane

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@pytest.fixture(scope="module")
def plane():
    """A control plane without objects of other tests: these compare all that there is."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def own_plane():
    """A control plane that these tests stop, restart and compact."""
    with ControlPlane() as plane:
        yield plane


def _request_pem():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node1")])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_each_kind_with_its_fields(plane):
    plane.create_namespace("fields", {"culvert.dev/mode": "disabled"})
    node = plane.add_node("fields1", ["10.9.7.1", "fd09:7::1"], ["10.9.71.0/24"], annotations={"culvert.dev/enrolled": "perhaps"})
    plane.add_pod("web", node="fields1", ip=["10.9.71.5", "fd09:71::5"], namespace="fields")
    owner = {"apiVersion": "v1", "kind": "Node", "name": "fields1", "uid": node["metadata"]["uid"]}
    plane.api.create("coordination.k8s.io/v1", "leases", {"metadata": {"name": "fields1", "ownerReferences": [owner],
                                                                       "annotations": {"culvert.dev/port": "7117", "culvert.dev/settings": "ab12"}}}, "fields")
    pem = _request_pem()
    plane.api.create("certificates.k8s.io/v1", "certificatesigningrequests", {
        "metadata": {"name": "fields1"}, "spec": {"request": base64.b64encode(pem).decode(), "signerName": "culvert.dev/node", "usages": ["client auth"]}})
    with Follower(plane, "nodes", "pods", "namespaces", "records", "endpoints", "requests") as follower:
        follower.wait_current()
        follower.wait_same()
        assert follower.get("endpoints", "default/kubernetes")["endpoints"] == f"{PLANE_ADDRESS}:{SERVER_PORT}"
        assert follower.get("nodes", "/fields1")["addresses"] == "10.9.7.1,fd09:7::1"
        assert follower.lines("fault nodes /fields1 ", 'metadata.annotations[culvert.dev/enrolled]: "perhaps"')
        pod = follower.get("pods", "fields/web")
        assert (pod["node"], pod["addresses"], pod["phase"]) == ("fields1", "10.9.71.5,fd09:71::5", "2")
        assert follower.get("namespaces", "/fields")["opted_out"] == "1"
        record = follower.get("records", "fields/fields1")
        assert (record["node_uid"], record["port"], record["settings"]) == (node["metadata"]["uid"], "7117", "ab12")
        request = follower.get("requests", "/fields1")
        assert (request["signer"], request["username"], request["pem"], request["approved"]) == ("culvert.dev/node", "admin", str(len(pem)), "0")
        approval = plane.api.get("certificates.k8s.io/v1", "certificatesigningrequests", "fields1")
        approval["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]}
        plane.api.replace("certificates.k8s.io/v1", "certificatesigningrequests", approval, part="approval")
        follower.wait(lambda: follower.get("requests", "/fields1")["approved"] == "1", "the approval")
        plane.api.delete("v1", "pods", "web", "fields")
        follower.wait(lambda: "deleting" in follower.get("pods", "fields/web"), "a pod that ends")
        plane.api.delete("v1", "pods", "web", "fields", grace_s=0)
        follower.wait(lambda: follower.get("pods", "fields/web") is None, "the end of a pod")
        follower.wait_same()


def test_lists_in_pages(plane):
    plane.create_namespace("pages")
    for number in range(11):
        plane.add_pod(f"page{number}", node="n1", namespace="pages")
    with Follower(plane, "pods", page=3) as follower:
        follower.wait_current()
        follower.wait_same()
        assert follower.lists["pods"] == 1
        plane.api.delete("v1", "pods", "page3", "pages", grace_s=0)
        follower.wait_same()


def test_all_calls_share_one_connection(plane):
    with Follower(plane, "nodes", "pods", "namespaces", "records", "requests") as follower:
        follower.wait_current()
        sockets = plane.ns.run("ss", "-Htnp", "state", "established", "dport", "=", ":6443").stdout.splitlines()
        assert len([line for line in sockets if f"pid={follower.process.pid}," in line]) == 1


def _stir(plane, stop, errors, thread, names=8):
    """Creates, changes and deletes pods of few names, again and again, through every failure of the server."""
    done = 0
    while not stop.is_set():
        name = f"stir{thread}-{done % names}"
        try:
            plane.add_pod(name, node=f"n{done % 3}", ip=f"10.8.{thread}.{done % 250 + 1}", namespace="stir")
            plane.api.patch("v1", "pods", name, {"metadata": {"labels": {"turn": str(done)}}}, "stir")
            if done % 3:
                plane.api.delete("v1", "pods", name, "stir", grace_s=0)
        except Exception as error:  # the server is away, or the name is still taken from the last turn
            errors.append(error)
            try:
                plane.api.delete("v1", "pods", name, "stir", grace_s=0)
            except Exception:
                stop.wait(0.2)
        done += 1


def test_objects_come_and_go_under_restarts(own_plane):
    plane = own_plane
    plane.create_namespace("stir")
    stop, errors = threading.Event(), []
    with Follower(plane, "pods", "namespaces") as follower:
        follower.wait_current()
        threads = [threading.Thread(target=_stir, args=(plane, stop, errors, number)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            for kill in (False, True):
                events = len(follower.lines("put pods stir/"))
                follower.wait(lambda: len(follower.lines("put pods stir/")) > events + 50, "pods that change")
                plane.restart_api(kill)
                follower.wait_current()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        follower.wait_current()
        follower.wait_same()
        assert follower.truth("pods"), "pods are left"
        assert follower.lines("gone pods stir/")


def test_what_vanished_while_nobody_looked_is_removed(own_plane):
    plane = own_plane
    plane.create_namespace("compact")
    for number in range(6):
        plane.add_pod(f"p{number}", node="n1", namespace="compact")
    with Follower(plane, "pods") as follower:
        follower.wait_current()
        follower.wait_same()
        old = follower.get("pods", "compact/p2")["uid"]
        follower.process.send_signal(signal.SIGSTOP)
        try:
            plane.restart_api(kill=True)  # its connection is gone, so nothing of what follows waits for it in the kernel
            for name in ("p1", "p2", "p3"):
                plane.api.delete("v1", "pods", name, "compact", grace_s=0)
            plane.add_pod("p2", node="n2", namespace="compact")
            plane.compact()
        finally:
            follower.process.send_signal(signal.SIGCONT)
        follower.wait(lambda: follower.lists["pods"] == 2, "a new list")
        follower.wait_current()
        follower.wait_same()
        assert follower.get("pods", "compact/p1") is None
        assert follower.get("pods", "compact/p2")["uid"] != old
        assert follower.lines("state pods", "fell behind")
        # Nothing was forgotten in between: no pod went before the new list was there.
        assert not follower.lines("gone pods compact/")


def _account(plane, tmp_path, name):
    """A service account's folder as a pod has it, with no rights."""
    plane.create_account("default", name)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "ca.crt").write_bytes(plane.authority.crt().read_bytes())
    (folder / "token").write_text(plane.token("default", name))
    (folder / "namespace").write_text("default")
    return folder


def _allow(plane, name, resources=("pods",)):
    rules = [{"apiGroups": [""], "resources": list(resources), "verbs": ["list", "watch"]}]
    rbac = "rbac.authorization.k8s.io"
    plane.api.create(f"{rbac}/v1", "clusterroles", {"metadata": {"name": name}, "rules": rules})
    plane.api.create(f"{rbac}/v1", "clusterrolebindings", {
        "metadata": {"name": name}, "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]})


def test_a_missing_right_is_named_and_mended(plane, tmp_path):
    folder = _account(plane, tmp_path, "rightless")
    with Follower(plane, "pods", account=folder) as follower:
        follower.wait(lambda: follower.state["pods"].get("forbidden") == "1", "a refusal")
        error = follower.state["pods"]["error"]
        assert 'GET /api/v1/pods: 403: pods is forbidden: User "system:serviceaccount:default:rightless" cannot list resource "pods"' in error
        _allow(plane, "rightless")
        follower.wait_current()
        follower.wait_same()


def test_a_token_that_is_worth_nothing_any_more_is_read_again(own_plane, tmp_path):
    plane = own_plane
    folder = _account(plane, tmp_path, "rotated")
    _allow(plane, "rotated")
    with Follower(plane, "pods", account=folder) as follower:
        follower.wait_current()
        plane.rotate_account_keys()
        follower.wait(lambda: "401" in follower.state["pods"].get("error", ""), "the refusal of the old token")
        assert follower.snapshot("pods") == follower.truth("pods")
        new = folder / "new"
        new.write_text(plane.token("default", "rotated"))
        new.rename(folder / "token")
        follower.wait_current()
        plane.add_pod("after-rotation", node="n1")
        follower.wait_same()


def test_a_token_that_changes_in_time_is_never_noticed(plane, tmp_path):
    folder = _account(plane, tmp_path, "renewed")
    _allow(plane, "renewed")
    with Follower(plane, "pods", account=folder) as follower:
        follower.wait_current()
        new = folder / "new"
        new.write_text(plane.token("default", "renewed"))
        new.rename(folder / "token")
        plane.add_pod("renewed", node="n1")
        follower.wait_same()
        assert not follower.lines("state pods", "current=0")


@pytest.mark.parametrize("is_namesake", [True, False], ids=["namesake", "stranger"])
def test_an_authority_of_another_is_refused_until_it_is_mended(plane, tmp_path, is_namesake):
    name = f"strange-{is_namesake}".lower()
    folder = _account(plane, tmp_path, name)
    _allow(plane, name)
    # Of the same name, as when a cluster was made anew, and of another one.
    other = Authority(tmp_path / "other")
    (folder / "ca.crt").write_bytes(other.crt().read_bytes() if is_namesake else other.issue("stranger", "stranger").crt("stranger").read_bytes())
    with Follower(plane, "pods", account=folder) as follower:
        follower.wait(lambda: "https://127.0.0.1:6443: its certificate is not good for us" in follower.state["pods"].get("error", ""), "a refusal")
        assert follower.state["pods"]["synced"] == "0"
        (folder / "ca.new").write_bytes(plane.authority.crt().read_bytes())
        (folder / "ca.new").rename(folder / "ca.crt")
        follower.wait_current()
        follower.wait_same()


def _variant(plane, tmp_path, change):
    config = json.loads(plane.kubeconfig().read_text())
    change(config)
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    return path


def test_an_address_of_ipv6_and_another_name_in_the_certificate(plane, tmp_path):
    def change(config):
        config["clusters"][0]["cluster"].update({"server": "https://[::1]:6443", "tls-server-name": "kubernetes.default"})

    with Follower(plane, "nodes", kubeconfig=_variant(plane, tmp_path, change)) as follower:
        follower.wait_current()
        follower.wait_same()

    def wrong(config):
        config["clusters"][0]["cluster"].update({"server": "https://[::1]:6443", "tls-server-name": "elsewhere"})

    with Follower(plane, "nodes", kubeconfig=_variant(plane, tmp_path, wrong)) as follower:
        follower.wait(lambda: "elsewhere" in follower.state["nodes"].get("error", ""), "a refusal of the name")


def test_a_name_is_looked_up(plane, tmp_path):
    def change(config):
        config["clusters"][0]["cluster"]["server"] = "https://localhost:6443/"

    with Follower(plane, "nodes", kubeconfig=_variant(plane, tmp_path, change)) as follower:
        follower.wait_current()
        follower.wait_same()


def test_a_server_that_is_not_there_is_waited_for(own_plane):
    plane = own_plane
    plane.stop_api()
    try:
        with Follower(plane, "nodes", "pods") as follower:
            follower.wait(lambda: "Failed to connect" in follower.state["pods"].get("error", ""), "a refused connection")
            assert follower.state["pods"]["synced"] == "0"
            plane.start_api()
            follower.wait_current()
            follower.wait_same()
    finally:
        if "kube-apiserver" not in plane._processes:
            plane.start_api()


def test_without_a_pod_or_a_file_it_says_what_is_missing(tmp_path):
    def said(*arguments, **environment):
        done = subprocess.run(["env", "-i", *[f"{key}={value}" for key, value in environment.items()], PROGRAM, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stdout

    assert "KUBERNETES_SERVICE_HOST is not set" in said("pods")
    assert f"{tmp_path}/token: can not be opened" in said("--service-account", tmp_path, KUBERNETES_SERVICE_HOST="10.0.0.1", KUBERNETES_SERVICE_PORT="443")
    assert f"{tmp_path}/config: can not be opened" in said("--kubeconfig", tmp_path / "config")
