# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is where and who is enrolled, from a real API server: records, the two ways out, what is missing at the start, and what TERM does."""

import pytest

from kubemesh import DAEMONSET, LEASES, NAMESPACE, RECORDS, KubeMesh
from lib import wait_for
from mesh import read_all
from traffic import talk

MESSAGE = b"said by one pod to another"


def echo(connection, _):
    connection.sendall(read_all(connection))


def ask(connection):
    connection.sendall(MESSAGE)
    connection.shutdown(1)
    return read_all(connection)


def meet(client, server):
    """A whole connection; the server sees the client's own address."""
    seen, answer = talk(client, server, server.v4, lambda s, peer: (peer, echo(s, peer))[0], ask)
    assert answer == MESSAGE
    assert seen[0] == client.v4


@pytest.fixture(scope="module")
def whole(plane):
    with KubeMesh(plane) as made:
        yield made


@pytest.fixture
def mesh(whole):
    yield whole
    for daemon in whole.daemons:
        if not daemon.is_running():
            daemon.start()


def test_both_enrol_and_talk_encrypted(mesh):
    for name, node in (("node1", mesh.a), ("node2", mesh.b)):
        record = mesh.record(name)
        owner, = record["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Node", name)
        assert "blockOwnerDeletion" not in owner and "controller" not in owner
        assert record["metadata"]["annotations"]["culvert.dev/port"] == "7117"
        assert owner["uid"] == mesh.api.get("v1", "nodes", name)["metadata"]["uid"]
    with mesh.capture() as capture:
        meet(mesh.net.a1, mesh.net.b1)
        meet(mesh.net.b2, mesh.net.a2)
    assert capture.tunnel and not capture.leaked and not capture.holds(MESSAGE)
