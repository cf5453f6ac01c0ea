# SPDX-License-Identifier: GPL-3.0-or-later
"""From one way to connect to the other, by a reload or by another daemon: no SYN goes where nobody reads it."""

import pytest

from lib import PLAIN, finish, wait_for
from mesh import Mesh, serve
from traffic import MESSAGE, ask, echo, outcome, talk

VERSIONS = (4, 6)
PORT = 8080

pytestmark = pytest.mark.skipif(PLAIN, reason="no daemon, nothing is held")


@pytest.fixture(scope="module")
def whole():
    with Mesh() as made:
        yield made


@pytest.fixture
def mesh(whole):
    whole.reset()
    return whole


def write(daemon, connect):
    daemon.write_config(capture={"connect": connect})


def reload(daemon, connect):
    write(daemon, connect)
    daemon.signal(1)
    wait_for(lambda: daemon.status()["connect"] == connect, f"connect: {connect} to be in force")


def again(daemon, connect, **options):
    """Another daemon in its place."""
    daemon.kill()
    write(daemon, connect)
    daemon.start(**options)


def free_port(pod):
    with pod.listen() as listener:
        return listener.getsockname()[1]


def check(mesh, connect):
    """Connections go on, each by its first SYN; and that of a closed port ends as the setting says."""
    a1, b1 = mesh.net.a1, mesh.net.b1
    for version in VERSIONS:
        held, unheld = (mesh.one.events()[name] for name in ("syns_held", "syns_unheld"))
        for _ in range(8):
            assert talk(a1, b1, b1.address(version), echo, ask)[1] == MESSAGE
        assert mesh.one.events()["syns_held"] == held + (8 if connect == "faithful" else 0)
        assert mesh.one.events()["syns_unheld"] == unheld
        refused = outcome(a1.connect, b1.address(version), free_port(b1))
        if connect == "faithful":
            assert refused == "ECONNREFUSED"
        else:
            assert refused != "ECONNREFUSED"  # it was accepted, and reset a moment later
    assert not [key for key in mesh.one.counters() if key[0] == "unheld"]


def test_by_a_reload_and_back(mesh):
    check(mesh, "faithful")
    reload(mesh.one, "optimistic")
    check(mesh, "optimistic")
    reload(mesh.one, "faithful")
    check(mesh, "faithful")


def test_by_another_daemon_and_back(mesh):
    check(mesh, "faithful")
    again(mesh.one, "optimistic")
    check(mesh, "optimistic")
    again(mesh.one, "faithful")
    check(mesh, "faithful")


def test_a_daemon_that_can_not_hold_after_one_that_held(mesh):
    """What the first has left of rings is not used, and the setting is refused for as long as this daemon runs."""
    check(mesh, "faithful")
    again(mesh.one, "optimistic", without="net_raw")
    check(mesh, "optimistic")
    write(mesh.one, "faithful")
    mesh.one.signal(1)
    mesh.one.wait_log("kept the old configuration")
    assert "CAP_NET_RAW" in mesh.one.log()
    check(mesh, "optimistic")
    again(mesh.one, "faithful")
    check(mesh, "faithful")


def test_a_daemon_that_can_not_hold_and_should_does_not_start(mesh):
    mesh.one.kill()
    mesh.one.start(wait=False, without="net_raw")
    assert mesh.one.process.wait(60) != 0
    assert "CAP_NET_RAW is needed, or capture.connect: optimistic" in mesh.one.log()


def test_by_a_daemon_with_fewer_workers(mesh):
    again(mesh.one, "faithful")
    mesh.one.kill()
    mesh.one.write_config(tunnel={"workers": 8})
    mesh.one.start()
    check(mesh, "faithful")
    mesh.one.kill()
    mesh.one.write_config(tunnel={"workers": 1})
    mesh.one.start()
    check(mesh, "faithful")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_waits_goes_on_when_nothing_is_held_any_more(mesh, version):
    a1, b1 = mesh.net.a1, mesh.net.b1
    with mesh.net.deny(mesh.net.b, a1.address(version), b1.address(version)):
        waiting = a1.begin(b1.address(version), PORT)
        wait_for(lambda: [s["state"] for s in mesh.two.streams()] == ["dialing"], "the far side to try")
        reload(mesh.one, "optimistic")
    with b1.listen(PORT) as listener:
        thread = serve(listener, echo)
        with finish(waiting) as connection:
            assert ask(connection) == MESSAGE
        thread.join()
