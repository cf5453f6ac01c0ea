# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not there when a daemon wants it: the API server for a while, its word about a new pod for some seconds, a right, a certificate. All goes on, or
waits and then goes on by itself; nothing leaves in the clear."""

import threading

import pytest

from counted import counted, kernel_counters
from kubemesh import KubeMesh, SlowProxy, bound
from lib import DEADLINE_S, wait_for
from plane import ControlPlane
from test_edge_packets import SYN, TCP, ipv4, send, tcp
from test_enrol import MESSAGE, ask, echo, meets_encrypted
from traffic import ending, talk

pytestmark = [pytest.mark.group("weather"), pytest.mark.long]

# What passes unencrypted between pods, by the kernel's own count.
CLEAR = ("not_enrolled", "joining", "older", "permissive", "unknown", "bypass", "excluded")


@pytest.fixture(scope="module")
def own_plane():
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def whole(own_plane):
    with KubeMesh(own_plane) as made:
        yield made


@pytest.fixture
def mesh(whole):
    yield whole
    whole.restore()


# How late a watch is, and how clients connect: with faithful a refused SYN would come again, so that only optimistic shows that each wait is long enough.
WEATHERS = [(0, "faithful"), (5, "faithful"), (5, "optimistic")]


def clear_packets(mesh):
    return sum(count for daemon in mesh.daemons for (name, _, verdict), count in kernel_counters(daemon).items() if name in CLEAR and verdict == "passed")


def test_all_goes_on_while_the_api_server_is_away(mesh):
    net, plane = mesh.net, mesh.plane
    with net.b1.listen() as listener:
        stream = net.a1.connect(net.b1.v4, listener.getsockname()[1])
        there, _ = listener.accept()
        there.settimeout(DEADLINE_S)
        plane.stop_api()
        try:
            for daemon in mesh.daemons:
                wait_for(lambda: not daemon.cluster()["is_current"], "the API server to be missed")
                cluster = daemon.cluster()
                assert cluster["is_synced"] and cluster["missing"] and int(cluster["since_s"]) > 0
                assert daemon.status()["is_ready"]
            for _ in range(3):
                stream.sendall(MESSAGE)
                assert there.recv(len(MESSAGE)) == MESSAGE
            meets_encrypted(mesh, net.a2, net.b2)
            meets_encrypted(mesh, net.b1, net.a1)
        finally:
            plane.start_api()
        for daemon in mesh.daemons:
            daemon.wait_followed()
        stream.sendall(MESSAGE)
        assert there.recv(len(MESSAGE)) == MESSAGE
        stream.close()
        assert ending(there) == "end"
        there.close()
    address = mesh.address(net.a1, 70)
    mesh.add_pod("after", mesh.a, address)
    meets_encrypted(mesh, net.b2, net.a1, address)
    mesh.delete_pod("after")


def test_a_daemon_that_starts_while_the_api_server_is_away_waits_closed(mesh):
    net, plane = mesh.net, mesh.plane
    plane.stop_api()
    try:
        mesh.one.kill()
        mesh.one.start(wait=False)
        wait_for(lambda: mesh.one.ctl("status", check=False).returncode == 0, "the status to be there at once")
        assert not mesh.one.status()["is_ready"]
        wait_for(lambda: mesh.one.cluster()["missing"], "it to say what is missing")
        before = clear_packets(mesh)
        with mesh.capture() as capture, net.b1.listen() as listener:
            begun = net.a1.socket()
            begun.setblocking(False)
            begun.connect_ex((net.b1.v4, listener.getsockname()[1]))
            refused = lambda: sum(count for (name, way, verdict), count in kernel_counters(mesh.one).items() if verdict == "refused" and way == "out")
            wait_for(refused, "the SYN to be refused")
            plane.start_api()
            mesh.one.wait_ready()
            begun.settimeout(DEADLINE_S)
            wait_for(lambda: begun.connect_ex((net.b1.v4, listener.getsockname()[1])) in (0, 106), "the SYN to be tried again and taken")
            begun.close()
        assert not capture.leaked and clear_packets(mesh) == before
    finally:
        if "kube-apiserver" not in plane._processes:
            plane.start_api()
    for daemon in mesh.daemons:
        daemon.wait_followed()


def test_at_the_end_no_answer_means_a_restart(mesh):
    mesh.plane.stop_api()
    try:
        assert mesh.one.end(timeout=90) == 0
        assert "this is a restart" in mesh.one.log() and "no answer about the" in mesh.one.log()
        assert mesh.one.pins.exists()
    finally:
        mesh.plane.start_api()


@pytest.mark.parametrize("delay_s, connect", WEATHERS)
@pytest.mark.parametrize("new", ["client", "server"])
@pytest.mark.parametrize("late", ["near", "far"])
def test_a_pod_of_ten_milliseconds_is_late_at_most(mesh, new, late, delay_s, connect):
    """A pod is added and at once it connects, or is connected to, while the watch of its own node (near) or of the other (far) is late. Each packet that a pod
    sent was counted once: as diverted, or as refused because nobody knew yet whose address it is for."""
    pod, other = mesh.net.a2, mesh.net.b2
    daemon = mesh.one if late == "near" else mesh.two
    restarted = (daemon,) if connect == "faithful" else mesh.daemons
    number = 100 + WEATHERS.index((delay_s, connect)) + 10 * ["client", "server"].index(new) + 20 * ["near", "far"].index(late)
    proxy = SlowProxy(mesh.plane, daemon.host)
    usual = daemon.kubeconfig
    try:
        daemon.kubeconfig = mesh.plane.kubeconfig(server=proxy.url)
        for one in restarted:
            one.write_config(capture={"connect": connect})
            assert one.end() == 0
        mesh.restore()
        meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)  # a tunnel is there
        fresh = mesh.plane.add_pod(f"fresh-{number}", node=mesh.a.node_name, phase="Pending")
        proxy.delay_s = delay_s
        with counted(mesh, pod, other) as c:
            address = mesh.address(pod, number)
            told = threading.Thread(target=mesh.plane.set_pod, args=(fresh, address))
            told.start()
            options = {"before": bound(address)} if new == "client" else {}
            client, server, goal = (pod, other, other.v4) if new == "client" else (other, pod, address)
            seen, answer = talk(client, server, goal, lambda s, peer: (peer, echo(s, peer))[0], ask, **options)
            told.join()
        assert answer == MESSAGE and seen[0] == (address if new == "client" else other.v4)
        assert not [p for p in c.clear if p.is_pod_to_pod] and not any(MESSAGE in p.whole for p in c.packets)
        refused = []
        for counts, diverted, place, own in ((c.one, c.diverted[0], pod, address), (c.two, c.diverted[1], other, other.v4)):
            sent = [p for p in c.at[place] if p.protocol == "tcp" and p.source == own]
            refused.append(counts.pop(("unknown", "out", "refused"), 0))
            assert not counts
            assert diverted > 0 and diverted + refused[-1] == len(sent)
            assert refused[-1] <= max(0, sum(p.is_syn for p in sent) - 1)
        # Only the node of a client refuses SYNs, and only to a pod that it does not know: certainly to one of which it hears late.
        assert refused[0] == 0 and (new == "server" or refused[1] == 0)
        assert refused[1] > 0 or delay_s == 0 or (new, late) != ("server", "far")
        c.check_carrier()
    finally:
        proxy.delay_s = 0
        daemon.kubeconfig = usual
        for one in restarted:
            one.write_config()
            one.end()
        proxy.close()
        mesh.delete_pod(f"fresh-{number}")


def test_plaintext_to_a_pod_that_nobody_has_named_yet_is_refused(mesh):
    """From a machine on the wire, under the address of an enrolled node's pod; the node's own routes tell it whose it is."""
    pod, other, port = mesh.net.a2, mesh.net.b1, 8080
    address = mesh.address(pod, 91)
    key = ("refused", "in", "refused")
    before = kernel_counters(mesh.one).get(key, 0)
    with counted(mesh, pod) as c, pod.listen(port):
        send(mesh.net.x, ipv4(other.v4, address, TCP, tcp(other.v4, address, SYN, ports=(40001, port))))
        wait_for(lambda: kernel_counters(mesh.one).get(key, 0) > before, lambda: f"it to be counted: {kernel_counters(mesh.one)}")
    assert len([p for p in c.clear if p.destination == address]) == 1
    assert (c.one, c.two) == ({key: 1}, {})
    assert not [p for p in c.at_pod if p.destination == address]


def test_a_right_that_is_missing_is_said_and_missed_no_more(mesh):
    api, usual = mesh.api, mesh.two.kubeconfig
    mesh.two.end()
    mesh.two.kubeconfig = mesh.kubeconfig(user="small", groups=["few-rights"])
    mesh.two.write_config()
    mesh.two.start(wait=False)
    try:
        wait_for(lambda: mesh.two.ctl("status", check=False).returncode == 0, "the status to be there at once")
        wait_for(lambda: "cannot list resource" in mesh.two.status()["reason"], lambda: f"the missing right to be named: {mesh.two.log()[-1500:]}")
        assert mesh.two.pins.exists()
        rules = [{"apiGroups": [""], "resources": ["nodes", "pods", "namespaces"], "verbs": ["get", "list", "watch"]},
                 {"apiGroups": [""], "resources": ["endpoints"], "resourceNames": ["kubernetes"], "verbs": ["list", "watch"]},
                 {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch", "create"]},
                 {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["get"]}]
        api.create("rbac.authorization.k8s.io/v1", "clusterroles", {"metadata": {"name": "small"}, "rules": rules})
        api.create("rbac.authorization.k8s.io/v1", "clusterrolebindings", {"metadata": {"name": "small"}, "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "small"}, "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "few-rights"}]})
        wait_for(lambda: mesh.two.status()["is_ready"], lambda: f"it to recover:\n{mesh.two.log()[-2000:]}", timeout=150)
        meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)
    finally:
        mesh.two.kubeconfig = usual
        mesh.two.write_config()
        mesh.two.end()


def test_a_certificate_that_is_missing_is_said_and_missed_no_more(mesh):
    mesh.two.end()
    aside = mesh.two.identity.with_suffix(".aside")
    mesh.two.identity.rename(aside)
    mesh.two.start(wait=False)
    wait_for(lambda: mesh.two.ctl("status", check=False).returncode == 0, "the status to be there at once")
    wait_for(lambda: "no certificate" in mesh.two.status()["reason"], lambda: f"the certificate to be missed: {mesh.two.log()[-1500:]}")
    assert mesh.two.pins.exists() and mesh.two.cluster()["is_synced"]
    aside.rename(mesh.two.identity)
    mesh.two.wait_ready()
    mesh.wait_enrolled()
    meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)
