# SPDX-License-Identifier: GPL-3.0-or-later
"""Promise 2: nothing leaves a node in the clear, whenever a daemon is killed, ended or started; and promise 4: what is cut off shows as a reset, never as an end."""

import contextlib
import signal
import socket
import threading
import time

import pytest

from flows import BLOCK, MARKER, PORTS, Flows, connected, is_connected, is_served
from lib import DEADLINE_S, wait_for
from mesh import Mesh, read_all


@pytest.fixture(scope="module")
def shared():
    with Mesh() as m:
        yield m


@pytest.fixture
def mesh(shared):
    """Two daemons that run, and a capture of all that the test does; its end proves that nothing was in the clear."""
    if not all(daemon.is_running() for daemon in shared.daemons):
        shared.reset()
    with shared.capture() as capture:
        yield shared
    assert not capture.leaked, capture.leaked[:5]
    assert not capture.holds(MARKER), "payload on the wire"
    assert capture.tunnel, "nothing went through the tunnel, so the test has tested nothing"


@pytest.fixture(params=["one", "two"])
def victim(request, mesh):
    return getattr(mesh, request.param)


def other(mesh, daemon):
    return mesh.two if daemon is mesh.one else mesh.one


# kill -9

def test_killed_in_full_flow_both_pods_are_reset_and_a_new_connection_waits_for_the_restart(mesh, victim):
    with Flows(mesh) as flows, mesh.net.b1.listen(next(PORTS)) as at_b, mesh.net.a1.listen(next(PORTS)) as at_a:
        flows.wait_moving()
        victim.kill()
        flows.assert_all_reset()
        fresh = [mesh.net.a1.begin(mesh.net.b1.v4, at_b.getsockname()[1]), mesh.net.b1.begin(mesh.net.a1.v6, at_a.getsockname()[1])]
        wait_for(lambda: "waiting" in [stream["state"] for stream in other(mesh, victim).streams()], "the living node to hold a connection")
        assert not any(is_connected(s) for s in fresh)
        victim.start()
        assert victim.counters().get(("refused", "out", "refused")), "the SYN met no program while nobody was there"
        for s, listener in zip(fresh, (at_b, at_a)):
            is_served(s, listener)


@pytest.mark.parametrize("count", [0, 7])
def test_killed_while_connections_are_made_each_is_whole_or_fails(mesh, victim, count):
    """So many short connections are through when the kill comes; others are under way."""
    outcomes, stop = [], threading.Event()
    listeners = {pod: pod.listen(next(PORTS)) for pod in (mesh.net.a1, mesh.net.b1)}

    def answer(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(read_all(connection))

    def ask(client, server):
        while not stop.is_set():
            try:
                with client.connect(server.v4, listeners[server].getsockname()[1], timeout=0.2) as s:
                    s.settimeout(DEADLINE_S)
                    s.sendall(BLOCK)
                    s.shutdown(socket.SHUT_WR)
                    outcomes.append("whole" if read_all(s) == BLOCK else "cut, and a clean end")
            except TimeoutError:
                outcomes.append("not made")
            except (ConnectionResetError, BrokenPipeError):
                outcomes.append("reset")
            except OSError as error:  # ENOTCONN: reset between two calls
                outcomes.append("reset" if error.errno == 107 else repr(error))

    workers = [threading.Thread(target=answer, args=[listener], daemon=True) for listener in listeners.values()]
    workers += [threading.Thread(target=ask, args=pods, daemon=True) for pods in ((mesh.net.a1, mesh.net.b1), (mesh.net.b1, mesh.net.a1)) for _ in range(2)]
    for worker in workers:
        worker.start()
    wait_for(lambda: outcomes.count("whole") >= count, lambda: f"connections: {outcomes}", interval=0.001)
    victim.kill()
    wait_for(lambda: "not made" in outcomes, lambda: f"a connection that is not made: {outcomes[-9:]}")
    victim.start()
    through = outcomes.count("whole")
    wait_for(lambda: outcomes.count("whole") > through + 3, lambda: f"connections after the restart: {outcomes[-9:]}")
    stop.set()
    for worker in workers[2:]:
        worker.join(DEADLINE_S)
        assert not worker.is_alive(), outcomes[-9:]
    for listener in listeners.values():
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    assert set(outcomes) <= {"whole", "reset", "not made"}, set(outcomes)


@pytest.mark.parametrize("after_s", [0.01, 0.03, 0.08])
def test_killed_while_it_starts(mesh, victim, after_s):
    victim.kill()
    client, server = (mesh.net.a1, mesh.net.b1) if victim is mesh.one else (mesh.net.b1, mesh.net.a1)
    with server.listen(next(PORTS)) as first, server.listen(next(PORTS)) as second:
        fresh = client.begin(server.v4, first.getsockname()[1])
        victim.start(wait=False)
        time.sleep(after_s)  # no condition to wait for: this is the moment itself
        victim.kill()
        with contextlib.suppress(OSError):
            fresh.send(MARKER)
        more = client.begin(server.v6, second.getsockname()[1])
        victim.start()
        is_served(more, second)
        fresh.close()  # taken by the first, or by the second, or not yet


def test_killed_while_it_drains(mesh, victim):
    with Flows(mesh, 1) as flows:
        flows.wait_moving()
        victim.signal(signal.SIGTERM)
        victim.wait_log("ending")
        flows.wait_moving()
        victim.kill()
        flows.assert_all_reset()


def test_a_response_that_was_cut_off_never_looks_whole(mesh, victim):
    """The client has ended its half and waits for the answer; an end now would be taken for an empty answer."""
    client, server = connected(mesh.net.a1, mesh.net.b1)
    with client, server:
        client.sendall(MARKER)
        client.shutdown(socket.SHUT_WR)
        assert read_all(server) == MARKER
        server.sendall(MARKER)
        assert client.recv(len(MARKER), socket.MSG_WAITALL) == MARKER
        victim.kill()
        client.settimeout(DEADLINE_S)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        server.settimeout(DEADLINE_S)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                server.sendall(MARKER)
                time.sleep(0.01)


def test_a_restart_works_while_finished_streams_of_the_dead_daemon_drain(mesh, victim):
    """The pod beside the victim does not read, so the daemon's socket is full of bytes of a stream that is over; they go with it, as a reset."""
    far, near = (mesh.net.b1, mesh.net.a1) if victim is mesh.one else (mesh.net.a1, mesh.net.b1)
    with near.listen(next(PORTS)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client = far.connect(near.v4, listener.getsockname()[1])
        slow, _ = listener.accept()
    with slow, client:
        slow.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        client.sendall(BLOCK)
        client.shutdown(socket.SHUT_WR)
        wait_for(lambda: any(s["state"] == "closing" for s in victim.streams()), lambda: f"the stream to drain: {victim.streams()}")
        victim.kill()
        victim.start()
        fresh_client, fresh_server = connected(far, near)
        with fresh_client, fresh_server:
            fresh_client.sendall(MARKER)
            assert fresh_server.recv(len(MARKER), socket.MSG_WAITALL) == MARKER
        slow.settimeout(DEADLINE_S)
        got = 0
        with pytest.raises(ConnectionResetError):
            while data := slow.recv(65536):
                got += len(data)
            assert got == len(BLOCK), "cut, and a clean end"
            raise ConnectionResetError  # all had arrived before the kill, which is as good


# Start

@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_daemons_may_start_in_any_order(mesh, order):
    for daemon in mesh.daemons:
        daemon.kill()
    first, second = (getattr(mesh, name) for name in order)
    with mesh.net.b1.listen(next(PORTS)) as at_b, mesh.net.a1.listen(next(PORTS)) as at_a:
        fresh = [mesh.net.a1.begin(mesh.net.b1.v4, at_b.getsockname()[1]), mesh.net.b1.begin(mesh.net.a1.v4, at_a.getsockname()[1])]
        first.start()
        assert not is_connected(fresh[first is mesh.one])
        second.start()
        for s, listener in zip(fresh, (at_b, at_a)):
            is_served(s, listener)


# TERM

def test_term_lets_running_streams_finish_and_the_next_daemon_serves_who_came_meanwhile(mesh, victim):
    client, server = connected(mesh.net.a1, mesh.net.b1)
    with client, server, mesh.net.a2.listen(next(PORTS)) as at_a, mesh.net.b2.listen(next(PORTS)) as at_b:
        client.sendall(BLOCK)
        victim.signal(signal.SIGTERM)
        living = other(mesh, victim)
        wait_for(lambda: living.peers()[victim.host.node_name]["state"] == "draining", "the living node to know")
        fresh = [mesh.net.a2.begin(mesh.net.b2.v4, at_b.getsockname()[1]), mesh.net.b2.begin(mesh.net.a2.v4, at_a.getsockname()[1])]
        behind_the_victim = fresh[victim is mesh.two]
        echo = threading.Thread(target=lambda: (server.sendall(read_all(server)), server.shutdown(socket.SHUT_WR)), daemon=True)
        echo.start()
        for _ in range(10):
            client.sendall(BLOCK)
        assert victim.is_running()
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == 11 * BLOCK
        echo.join(DEADLINE_S)
        assert victim.process.wait(DEADLINE_S) == 0
        assert "drain_timeout is over" not in victim.log()[-2000:]
        assert not is_connected(behind_the_victim)
        victim.start()
        for s, listener in zip(fresh, (at_b, at_a)):
            is_served(s, listener)


def test_streams_that_are_not_over_at_drain_timeout_are_reset(shared, mesh, victim):
    shared.reset(tunnel={"drain_timeout": "300ms"})
    with Flows(mesh, 1) as flows:
        flows.wait_moving()
        assert victim.end() == 0
        flows.assert_all_reset()
    assert "drain_timeout is over: the streams that are left are reset" in victim.log()
    assert other(mesh, victim).ended() == {"draining": 4}
    shared.reset()


def test_after_term_strict_refuses_until_a_daemon_is_there_again(mesh):
    for daemon in mesh.daemons:
        assert daemon.end() == 0
    with mesh.net.b1.listen(next(PORTS)) as first, mesh.net.b1.listen(next(PORTS)) as second:
        fresh = [(mesh.net.a1.begin(mesh.net.b1.address(version), listener.getsockname()[1]), listener) for listener, version in ((first, 4), (second, 6))]
        assert mesh.net.a1.ping(mesh.net.b1.v4), "only TCP is held"
        assert not any(is_connected(s) for s, _ in fresh)
        for daemon in mesh.daemons:
            daemon.start()
        assert mesh.one.counters()["refused", "out", "refused"] >= 2
        for s, listener in fresh:
            is_served(s, listener)


def test_remove_takes_everything_out_and_pods_talk_in_the_clear(shared):
    """And the capture shows it: so the checks of all tests above can fail."""
    client, server = connected(shared.net.a1, shared.net.b1)  # there are flows in the kernel's maps
    client.close()
    server.close()
    for daemon in shared.daemons:
        assert daemon.end() == 0
        daemon.remove()
    assert shared.left_behind() == []
    with shared.capture() as capture:
        for version in (4, 6):
            client, server = connected(shared.net.a1, shared.net.b1, version)
            with client, server:
                client.sendall(MARKER)
                assert server.recv(len(MARKER), socket.MSG_WAITALL) == MARKER
    assert capture.leaked and capture.holds(MARKER) and not capture.tunnel
    shared.reset()
    with shared.capture() as capture:
        client, server = connected(shared.net.a1, shared.net.b1)
        with client, server:
            client.sendall(MARKER)
            assert server.recv(len(MARKER), socket.MSG_WAITALL) == MARKER
    assert not capture.leaked and not capture.holds(MARKER)
