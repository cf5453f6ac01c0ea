# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a stream ended, and whose word it was: culvertctl streams --ended and the log tell it, on both nodes."""

import itertools
import re
import socket

import pytest

from lib import DEADLINE_S, PLAIN, Shape, wait_for
from mesh import Mesh, addresses_of, read_all
from scrape import ROOT
from traffic import outcome, reset

PORTS = itertools.count(8000)  # one a test: by it the streams are told apart

pytestmark = pytest.mark.skipif(PLAIN, reason="no daemon, nothing tells")


@pytest.fixture(scope="module")
def mesh():
    with Mesh(Shape("bridged", "direct", "iptables"), log={"level": "debug"}) as made:
        yield made


def named(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def tell(mesh, server, **expected):
    """Both nodes tell of one stream to this server, with these words: one for both, or one for each. Returns what they tell."""
    told = []
    for i, daemon in enumerate(mesh.daemons):
        found = wait_for(lambda: [s for s in daemon.show("streams", "--ended")["streams"] if s["server"] == server], f"{daemon.host.node_name} to tell of {server}")
        words = {"role": ("client", "server")[i], "peer": ("node2", "node1")[i], **{key: value if isinstance(value, str) else value[i] for key, value in expected.items()}}
        assert len(found) == 1 and {key: found[0][key] for key in words} == words, found
        line = next(line for line in daemon.log().splitlines() if 'event="stream ended"' in line and f"server={server} " in line)
        assert f" reason={words['reason']} by={words['by']} " in line and f" client={found[0]['client']} " in line, line
        told.append(found[0])
    return told


def carry(mesh, version, end):
    """One connection from a1 to b1, a question of 8 bytes, an answer of 3, and then the end. Returns the server's name."""
    a1, b1, port = mesh.net.a1, mesh.net.b1, next(PORTS)
    with b1.listen(port) as listener, a1.connect(b1.address(version), port) as client:
        served, _ = listener.accept()
        with served:
            served.settimeout(DEADLINE_S)
            client.sendall(b"question")
            assert served.recv(8, socket.MSG_WAITALL) == b"question"
            served.sendall(b"yes")
            assert client.recv(3, socket.MSG_WAITALL) == b"yes"
            end(client, served)
    return named(b1.address(version), port)


def in_order(first, second):
    first.shutdown(socket.SHUT_WR)
    assert read_all(second) == b""


ENDS = {
    "client ends": (lambda client, served: in_order(client, served), "finished", "client"),
    "server ends": (lambda client, served: in_order(served, client), "finished", "server"),
    "client resets": (lambda client, _: reset(client), "pod_reset", "client"),
    "server resets": (lambda _, served: reset(served), "pod_reset", "server"),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_pod_that_ended_it_is_named(mesh, version, how):
    end, reason, by = ENDS[how]
    one, two = tell(mesh, carry(mesh, version, end), reason=reason, by=by, cause="")
    assert one["client"] == two["client"] == named(mesh.net.a1.address(version), int(one["client"].rsplit(":", 1)[1]))
    assert (one["sent_bytes"], one["received_bytes"], two["sent_bytes"], two["received_bytes"]) == (8, 3, 3, 8)
    if reason == "pod_reset":
        assert one["state"] == two["state"] == "open"


def test_a_refusal_is_the_servers(mesh, version):
    port = next(PORTS)
    assert outcome(mesh.net.a1.connect, mesh.net.b1.address(version), port) == "ECONNREFUSED"
    tell(mesh, named(mesh.net.b1.address(version), port), reason="refused", by="server")


def test_an_icmp_error_is_told_with_its_sender(mesh, version):
    a1, b1, port = mesh.net.a1, mesh.net.b1, next(PORTS)
    with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version), "prohibited"):
        outcome(a1.connect, b1.address(version), port)
    kind = {4: "3/13", 6: "1/1"}[version]
    one, two = tell(mesh, named(b1.address(version), port), by="network", reason=("host_unreachable" if version == 4 else "prohibited"))
    for told in (one, two):
        match = re.fullmatch(rf"ICMP {kind} from (\S+)", told["cause"])
        assert match and match[1] in addresses_of(mesh.net.b, mesh.shape)
    assert f'cause="{one["cause"]}"' in mesh.one.log()


def test_a_client_that_gives_up_is_named(mesh, version):
    a1, b1, port = mesh.net.a1, mesh.net.b1, next(PORTS)
    with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version)):
        waiting = a1.begin(b1.address(version), port)
        wait_for(lambda: [s["state"] for s in mesh.two.streams()] == ["dialing"], "the far side to try")
        waiting.close()
        tell(mesh, named(b1.address(version), port), reason="client_gone", by="client", state=("opening", "dialing"))


def test_the_newest_is_first_and_a_storm_of_one_reason_leaves_the_others(mesh):
    a1, b1, port = mesh.net.a1, mesh.net.b1, next(PORTS)
    before = mesh.one.show("streams", "--ended")["streams"]
    for _ in range(3 * 32):
        assert outcome(a1.connect, b1.v4, port) == "ECONNREFUSED"
    storm = wait_for(lambda: (s := mesh.one.show("streams", "--ended")["streams"]) and sum(e["server"] == named(b1.v4, port) for e in s) >= 32 and s, "the storm to show")
    assert all(e["reason"] == "refused" for e in storm[:32])
    ages = [e["ended_ms"] for e in storm]
    assert ages == sorted(ages)

    def others(streams):
        return {(e["client"], e["server"], e["reason"], e["worker"]) for e in streams if e["reason"] != "refused"}

    assert others(before) <= others(storm)
    shown = mesh.one.show("streams", "--ended", "--limit", "5")
    assert len(shown["streams"]) == 5 and shown["total"] == len(storm)
    assert not mesh.one.show("streams", "--ended", "nobody")["streams"]
    table = mesh.one.ctl("streams", "--ended", "--limit", "5").stdout.splitlines()
    assert table[0].split()[:3] == ["AGO", "REASON", "BY"] and table[-1] == f"5 of {len(storm)} streams; more with --limit"


def test_a_node_that_is_killed_is_a_tunnel_lost(mesh):
    def kill(client, _):
        mesh.two.kill()
        assert outcome(client.recv, 1) == "ECONNRESET"

    server = carry(mesh, 4, kill)
    found = wait_for(lambda: [s for s in mesh.one.show("streams", "--ended")["streams"] if s["server"] == server], "node1 to tell of it")
    assert [(s["reason"], s["by"], s["state"]) for s in found] == [("tunnel_lost", "node", "open")]
    mesh.two.start()


def test_the_docs_say_of_every_reason_what_to_do(mesh):
    section = (ROOT / "docs" / "operations.md").read_text().split("## Why a stream ended\n")[1].split("\n## ")[0]
    protocol = (ROOT / "docs" / "protocol.md").read_text().split("## 10. Reasons\n")[1].split("\n## ")[0]
    row = re.compile(r"^\|(?: \d+ \|)? `([a-z_]+)` \|", re.MULTILINE)
    assert row.findall(section) == row.findall(protocol) and len(row.findall(section)) > 20
