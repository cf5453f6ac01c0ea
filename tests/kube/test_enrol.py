# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is where and who is enrolled, from a real API server: records, the ways out, addresses that come and move, and what TERM does."""

import socket

import pytest

from kubemesh import DAEMONSET, LEASES, NAMESPACE, RECORDS, KubeMesh, bound
from lib import DEADLINE_S, wait_for
from mesh import serve
from traffic import MESSAGE, ask, echo, ending, talk


def meet(client, server, address=None, source=None):
    """A whole connection; the server sees the client's own address."""
    options = {"before": bound(source)} if source else {}
    seen, answer = talk(client, server, address or server.v4, lambda s, peer: (peer, echo(s, peer))[0], ask, **options)
    assert answer == MESSAGE
    assert seen[0] == (source or client.v4)


def meets_encrypted(mesh, *arguments):
    with mesh.capture() as capture:
        meet(*arguments)
    assert capture.tunnel and not capture.leaked and not capture.holds(MESSAGE)


def meets_in_the_clear(mesh, *arguments):
    with mesh.capture() as capture:
        meet(*arguments)
    assert capture.leaked and capture.holds(MESSAGE)


def sees(daemon, enrolled):
    wait_for(lambda: daemon.enrolled() == enrolled, lambda: f"{daemon.host.node_name} to see {enrolled} enrolled:\n{daemon.log()[-2000:]}")


def not_enrolled(daemon, other):
    wait_for(lambda: daemon.peers()[other]["pair"] == "not enrolled", f"{daemon.host.node_name} to hold {other} for not enrolled")


def annotate(mesh, node, value):
    mesh.api.patch("v1", "nodes", node, {"metadata": {"annotations": {"culvert.dev/enrolled": value}}})


@pytest.fixture(scope="module")
def whole(plane):
    with KubeMesh(plane) as made:
        yield made


@pytest.fixture
def mesh(whole):
    yield whole
    whole.restore()


def test_both_enrol_and_talk_encrypted(mesh):
    for name in ("node1", "node2"):
        record = mesh.record(name)
        owner, = record["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Node", name)
        assert "blockOwnerDeletion" not in owner and "controller" not in owner
        assert record["metadata"]["annotations"]["culvert.dev/port"] == "7117"
        assert owner["uid"] == mesh.api.get("v1", "nodes", name)["metadata"]["uid"]
    meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)
    meets_encrypted(mesh, mesh.net.b2, mesh.net.a2)
    cluster = mesh.one.cluster()
    assert cluster["is_synced"] and cluster["is_current"] and cluster["enrolment"] == "enrolled" and not cluster["missing"]
    assert {entry["what"]: int(entry["objects"]) for entry in cluster["followed"]}["nodes"] == 2
    assert mesh.one.ctl("check", check=False).returncode == 0, mesh.one.ctl("check", check=False).stdout


def test_a_node_that_is_annotated_is_out_until_it_is_annotated_no_more(mesh):
    annotate(mesh, "node2", "false")
    for daemon, other in zip(mesh.daemons, ("node2", "node1")):
        sees(daemon, 1)
        not_enrolled(daemon, other)
    meets_in_the_clear(mesh, mesh.net.a1, mesh.net.b1)
    assert mesh.two.cluster()["enrolment"] == "out" and "culvert.dev/enrolled" in mesh.two.cluster()["enrolment_detail"]
    assert mesh.two.status()["is_ready"]
    annotate(mesh, "node2", None)
    mesh.wait_enrolled()
    meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)


def test_a_record_that_is_deleted_is_made_again_only_by_a_restart(mesh):
    mesh.api.delete(LEASES, "leases", "node2", RECORDS)
    for daemon, other in zip(mesh.daemons, ("node2", "node1")):
        sees(daemon, 1)
        not_enrolled(daemon, other)
    meets_in_the_clear(mesh, mesh.net.b1, mesh.net.a1)
    wait_for(lambda: mesh.two.cluster()["enrolment"] == "out", "node2 to be out")
    assert "was deleted" in mesh.two.cluster()["enrolment_detail"]
    assert mesh.record("node2") is None
    assert mesh.two.end() == 0
    mesh.two.start()
    mesh.wait_enrolled()
    meets_encrypted(mesh, mesh.net.b1, mesh.net.a1)


def test_a_node_that_is_replaced_waits_for_the_end_of_its_old_record(mesh):
    old = mesh.record("node2")["metadata"]["uid"]
    mesh.api.delete("v1", "nodes", "node2")
    sees(mesh.one, 1)
    mesh.add_node(mesh.b)
    wait_for(lambda: "earlier Node object" in mesh.two.cluster()["enrolment_detail"], lambda: f"the old record to be seen:\n{mesh.two.log()[-2000:]}")
    assert not mesh.two.status()["is_ready"] and mesh.record("node2")["metadata"]["uid"] == old
    mesh.api.delete(LEASES, "leases", "node2", RECORDS)  # as the garbage collector does
    mesh.wait_enrolled()
    assert mesh.record("node2")["metadata"]["uid"] != old
    meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)


def test_a_new_pod_is_encrypted_and_one_that_is_gone_opens_nothing(mesh):
    address = mesh.address(mesh.net.b1, 50)
    mesh.add_pod("late", mesh.b, address)
    meets_encrypted(mesh, mesh.net.a1, mesh.net.b1, address)
    meets_encrypted(mesh, mesh.net.b1, mesh.net.a1, None, address)
    mesh.delete_pod("late")
    for daemon in mesh.daemons:
        wait_for(lambda: int(daemon.cluster()["ended_addresses"]) == 1, "the address to be kept")
    with mesh.capture() as capture, mesh.net.b1.listen() as listener:
        begun = mesh.net.a1.socket()
        begun.setblocking(False)
        begun.connect_ex((address, listener.getsockname()[1]))
        refused = lambda: sum(count for (name, way, verdict), count in mesh.one.counters().items() if verdict == "refused" and way == "out")
        wait_for(lambda: refused() or any(s["state"] == "waiting" for s in mesh.one.streams()), "the connection to be held or refused")
        begun.close()
    assert not capture.leaked


def test_streams_of_an_address_that_moves_are_reset_and_its_new_owner_gets_nothing(mesh):
    net = mesh.net
    address = mesh.address(net.a2, 60)
    mesh.add_pod("moves", mesh.a, address)
    with net.a2.listen() as old, net.b1.listen(old.getsockname()[1]) as new, net.b2.listen() as server:
        server_moves = net.b2.connect(address, old.getsockname()[1])
        old_end, _ = old.accept()
        client_moves = net.a2.connect(net.b2.v4, server.getsockname()[1], before=bound(address))
        server_end, _ = server.accept()
        for end in (old_end, server_end):
            end.settimeout(DEADLINE_S)
        for here, there in ((server_moves, old_end), (client_moves, server_end)):
            here.sendall(MESSAGE)
            assert there.recv(len(MESSAGE)) == MESSAGE
        # The pod is gone, and one on the other node has its address.
        mesh.delete_pod("moves")
        mesh.plug(net.b1, address)
        mesh.unplug(net.a2, address, net.b1)
        mesh.add_pod("moved", mesh.b, address)
        assert ending(server_moves) == "ECONNRESET"
        assert ending(server_end) == "ECONNRESET"
        new.settimeout(0)
        with pytest.raises(BlockingIOError):
            new.accept()
        for end in (server_moves, old_end, client_moves, server_end):
            end.close()
    mesh.delete_pod("moved")


def test_what_contradicts_is_refused_and_listed(mesh):
    mesh.add_pod("liar", mesh.b, mesh.a.v4)
    mesh.add_pod("thief", mesh.b, mesh.net.a1.v4)
    try:
        wait_for(lambda: len(mesh.one.cluster()["refusals"]) == 2, "both to be refused")
        said = {entry["object"]: entry["text"] for entry in mesh.one.cluster()["refusals"]}
        assert "is an address of node node1" in said["pod default/liar"]
        assert f"is taken already, by pod default/{mesh.net.a1.name} on node node1" in said["pod default/thief"]
        meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)
    finally:
        for name in ("liar", "thief"):
            mesh.delete_pod(name)
    wait_for(lambda: not mesh.one.cluster()["refusals"], "nothing to be refused any more")


def test_a_node_that_keeps_up_a_false_address_gets_it_from_no_daemon_that_starts(mesh):
    def says(addresses):
        node = mesh.api.get("v1", "nodes", "node2")
        node["status"]["addresses"] = addresses
        mesh.api.replace("v1", "nodes", node, part="status")

    def refusal():
        return {entry["object"]: entry["text"] for entry in mesh.one.cluster()["refusals"]}.get("node node2", "")

    usual = mesh.api.get("v1", "nodes", "node2")["status"]["addresses"]
    says([*usual, {"type": "InternalIP", "address": mesh.net.a1.v4}])
    try:
        wait_for(lambda: f"{mesh.net.a1.v4} is taken already" in refusal(), "it to be refused")
        assert mesh.one.end() == 0
        mesh.one.start()
        mesh.wait_enrolled()
        assert f"{mesh.net.a1.v4} is taken already, by pod default/{mesh.net.a1.name} on node node1" in refusal()
        meets_encrypted(mesh, mesh.net.a1, mesh.net.b1)
    finally:
        says(usual)
    wait_for(lambda: not refusal(), "nothing to be refused any more")


def test_a_node_with_another_mode_is_named(mesh):
    mesh.two.write_config(capture={"mode": "permissive"})
    try:
        assert mesh.two.end() == 0
        mesh.two.start()
        meet(mesh.net.a1, mesh.net.b1)  # it says so when a tunnel is made
        for daemon, other in zip(mesh.daemons, ("node2", "node1")):
            wait_for(lambda: daemon.peers()[other]["has_other_settings"], f"{other} to be named")
        assert "node2: its capture.mode is another" in mesh.one.ctl("peers").stdout
        assert mesh.one.cluster()["other_settings"] == [{"node": "node2", "is_by_record": False}]
    finally:
        mesh.two.write_config()
        mesh.two.end()
        mesh.two.start()
    meet(mesh.net.a1, mesh.net.b1)
    wait_for(lambda: not mesh.one.peers()["node2"]["has_other_settings"], "node2 to be as all are")


def test_a_mode_that_changes_while_a_tunnel_is_up_is_told(mesh):
    meet(mesh.net.a1, mesh.net.b1)
    opened = mesh.one.events()["tunnels_opened"]
    try:
        for mode, others in (("permissive", [{"node": "node2", "is_by_record": False}]), ("strict", [])):
            mesh.two.write_config(capture={"mode": mode})
            mesh.two.signal(1)
            wait_for(lambda: mesh.one.cluster()["other_settings"] == others, f"node1 to hear of {mode}")
        assert mesh.one.events()["tunnels_opened"] == opened
    finally:
        mesh.two.write_config()
        mesh.two.signal(1)


def test_a_node_that_was_enrolled_with_another_mode_is_named_by_its_record(mesh):
    uid = mesh.plane.add_node("node3", ["192.0.2.3"])["metadata"]["uid"]
    mesh.api.create(LEASES, "leases", {"metadata": {
        "name": "node3", "annotations": {"culvert.dev/settings": f"{3:016x}", "culvert.dev/port": "7117"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "node3", "uid": uid}]}}, RECORDS)
    try:
        wait_for(lambda: mesh.one.cluster()["other_settings"] == [{"node": "node3", "is_by_record": True}], "node3 to be named by its record")
        assert "node3, when it was enrolled" in mesh.one.ctl("status").stdout
    finally:
        mesh.api.delete(LEASES, "leases", "node3", RECORDS)
        mesh.api.delete("v1", "nodes", "node3")
    wait_for(lambda: mesh.one.cluster()["other_settings"] == [], "node3 to be forgotten")


def test_a_restart_stays_closed_and_streams_get_their_time(mesh):
    with mesh.net.b1.listen() as listener:
        stream = mesh.net.a1.connect(mesh.net.b1.v4, listener.getsockname()[1])
        there, _ = listener.accept()
        mesh.one.signal(15)
        mesh.one.wait_log("this is a restart")
        stream.sendall(MESSAGE)
        assert there.recv(len(MESSAGE)) == MESSAGE
        for end in (stream, there):
            end.shutdown(socket.SHUT_WR)
        for end in (stream, there):
            assert ending(end) == "end"
            end.close()
        assert mesh.one.process.wait(60) == 0
        assert mesh.one.pins.exists()
        with mesh.capture() as capture:
            begun = mesh.net.a1.socket()
            begun.setblocking(False)
            begun.connect_ex((mesh.net.b1.v4, listener.getsockname()[1]))
            mesh.one.start()
            begun.settimeout(60)
            wait_for(lambda: begun.connect_ex((mesh.net.b1.v4, listener.getsockname()[1])) in (0, 106), "the SYN to be tried again and taken")
            begun.close()
        assert not capture.leaked


@pytest.mark.parametrize("how", ["DaemonSet", "annotation"])
def test_a_node_that_is_taken_out_goes_plain_then_clean(mesh, how):
    if how == "DaemonSet":
        mesh.api.delete("apps/v1", "daemonsets", DAEMONSET, NAMESPACE)
    else:
        annotate(mesh, "node1", "false")
        not_enrolled(mesh.two, "node1")
        annotate(mesh, "node1", "false")
    try:
        if how == "DaemonSet":
            # All of Culvert goes, node after node.
            for daemon in mesh.daemons:
                daemon.signal(15)
            for daemon in mesh.daemons:
                assert daemon.process.wait(60) == 0
            gone = mesh.daemons
        else:
            assert mesh.one.end() == 0
            gone = (mesh.one,)
        for daemon in gone:
            assert "everything of Culvert is taken out of this node" in daemon.log()
            assert not daemon.pins.exists() and not daemon.runtime.exists()
            assert "culvert" not in daemon.host.run("ip", "-br", "link", "show").stdout
        meets_in_the_clear(mesh, mesh.net.a1, mesh.net.b1)
        meets_in_the_clear(mesh, mesh.net.b1, mesh.net.a1)
    finally:
        if how == "DaemonSet":
            mesh.create_daemonset()
            # Their records are still there: a node that comes back is enrolled at once.
        else:
            annotate(mesh, "node1", None)
