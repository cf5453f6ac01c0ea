# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from files follows the files, however they are written; what is bad is refused and the old stays; running streams never notice."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import threading
import time

import pytest

from lib import DEADLINE_S, finish, run, wait_for
from mesh import Mesh, log_fields, nodes_yaml, program, read_all, serve
from pki import NAME, issue, revoke

PORT = 8080


@pytest.fixture(scope="module")
def shared():
    with Mesh() as m:
        yield m


class Volume:
    """A folder whose files change all at once, in one of the ways in which they do."""

    def __init__(self, folder, way):
        self.folder, self.way = folder, way
        self._generation = 0
        folder.mkdir()

    def write(self, files):
        getattr(self, f"_{self.way}")(files)

    def _in_place(self, files):
        for name, data in files.items():
            (self.folder / name).write_bytes(data)

    def _rename(self, files):
        for name, data in files.items():
            fresh = self.folder / f".{name}.fresh"
            fresh.write_bytes(data)
            fresh.rename(self.folder / name)

    def _data_link(self, files):
        """As the kubelet writes a ConfigMap, a Secret or a projected volume."""
        old = self.folder / f"..generation{self._generation}"
        self._generation += 1
        fresh = self.folder / f"..generation{self._generation}"
        fresh.mkdir()
        for name, data in files.items():
            (fresh / name).write_bytes(data)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        (self.folder / "..data_tmp").symlink_to(fresh.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        shutil.rmtree(old, ignore_errors=True)


class Transfer:
    """A stream that carries bytes to a pod and back all the while."""

    def __init__(self, client, server):
        self.received = 0
        self._stop = False
        self._sent, self._came = hashlib.sha256(), hashlib.sha256()
        self._failures = []
        with server.listen() as listener:
            self._client = client.connect(server.v4, listener.getsockname()[1])
            self._server, _ = listener.accept()
        self._server.settimeout(DEADLINE_S)
        self._threads = [threading.Thread(target=self._guard, args=[work], daemon=True) for work in (self._send, self._echo, self._receive)]
        for thread in self._threads:
            thread.start()

    def _guard(self, work):
        try:
            work()
        except OSError as failure:
            self._failures.append(failure)

    def _send(self):
        block, count = os.urandom(8192), 0
        while not self._stop:
            data = count.to_bytes(8, "big") + block
            self._client.sendall(data)
            self._sent.update(data)
            count += 1
            time.sleep(0.002)
        self._client.shutdown(socket.SHUT_WR)

    def _echo(self):
        while data := self._server.recv(65536):
            self._server.sendall(data)
        self._server.shutdown(socket.SHUT_WR)

    def _receive(self):
        while data := self._client.recv(65536):
            self._came.update(data)
            self.received += len(data)

    def wait_moving(self):
        before = self.received
        wait_for(lambda: self._failures or self.received > before + 100_000, "the stream to go on")
        assert not self._failures, self._failures

    def finish(self):
        self.wait_moving()
        self._stop = True
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()
        assert not self._failures, self._failures
        assert self._came.digest() == self._sent.digest(), "bytes were lost or changed"

    def close(self):
        self._stop = True
        for s in (self._client, self._server):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._client.close()
        self._server.close()


@contextlib.contextmanager
def transfer(mesh):
    """Around a test: a stream that must come to its end whole, with the right checksum."""
    t = Transfer(mesh.net.a1, mesh.net.b2)
    try:
        t.wait_moving()
        yield t
        t.finish()
    finally:
        t.close()


def exchange(client, server):
    with server.listen(PORT) as listener:
        echo = serve(listener, lambda c, a: c.sendall(read_all(c)))
        with client.connect(server.v4, PORT) as connection:
            connection.sendall(b"hello")
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b"hello"
        echo.join()


def reload_of(daemon, what):
    return next(entry for entry in daemon.status()["reloads"] if entry["what"] == what)


NODE3 = ("node3", ["10.99.0.33"], ["10.88.33.0/24"])
ways = pytest.mark.parametrize("way", ["in_place", "rename", "data_link"])


@ways
def test_a_new_nodes_file_is_taken_and_a_bad_one_is_not(shared, tmp_path, way):
    one, usual = shared.one, shared.usual_nodes()
    volume = Volume(tmp_path / "nodes", way)
    volume.write({"nodes.yaml": nodes_yaml(usual).encode()})
    shared.reset()
    one.kill()
    one.write_config(nodes={"file": str(volume.folder / "nodes.yaml")})
    one.start()
    with transfer(shared) as running:
        for count, nodes in ((3, [*usual, NODE3]), (2, usual), (3, [*usual, NODE3])):
            volume.write({"nodes.yaml": nodes_yaml(nodes).encode()})
            wait_for(lambda: one.status()["nodes"] == count, lambda: f"{count} nodes: {one.log()[-500:]}")
            running.wait_moving()
        assert one.log().count('event="new nodes"') == 3
        assert set(one.peers()) == {"node2", "node3"}
        good = reload_of(one, "nodes")

        for text, sentence in ((b"", f"{volume.folder}/nodes.yaml:1: nothing in it; nodes: with a list of nodes would be right"),
                               (b"nodes: [", f"{volume.folder}/nodes.yaml:"),
                               (nodes_yaml(usual[1:]).encode(), f'this node, "node1", is not among the 1 nodes')):
            volume.write({"nodes.yaml": text})
            wait_for(lambda: sentence in reload_of(one, "nodes")["error"], lambda: f"{sentence!r}: {reload_of(one, 'nodes')}")
            assert "kept the old nodes" in one.log() and sentence in one.log().replace('\\"', '"')
            assert one.status()["nodes"] == 3 and reload_of(one, "nodes")["generation"] == good["generation"]
            assert one.ctl("check", check=False).returncode == 1
            running.wait_moving()
        exchange(shared.net.a2, shared.net.b1)

        volume.write({"nodes.yaml": nodes_yaml(usual).encode()})
        wait_for(lambda: one.status()["nodes"] == 2, "the good file to be taken")
        assert reload_of(one, "nodes")["error"] == "" and one.ctl("check").returncode == 0
    assert set(one.ended()) == {"finished"}


def identity_files(folder):
    return {name: (folder / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")}


@ways
def test_new_certificates_are_used_for_new_tunnels_and_bad_ones_are_not_taken(shared, tmp_path, way):
    one, two = shared.daemons
    volume = Volume(tmp_path / "identity", way)
    shared.reset()
    volume.write(identity_files(one.identity))
    one.kill()
    one.write_config(identity={"directory": str(volume.folder)})
    one.start()
    first = one.show("certs")
    with transfer(shared) as running:
        assert two.peers()["node1"]["certificate_serial"] == first["serial"]
        volume.write(identity_files(issue(shared.folder / "ca", tmp_path / "second", NAME + "node1")))
        wait_for(lambda: one.show("certs")["serial"] != first["serial"] and not one.show("certs")["error"], lambda: f"new certificates: {one.log()[-500:]}")
        second = one.show("certs")
        assert second["generation"] > first["generation"] and 'event="new certificates"' in one.log()
        exchange(shared.net.a2, shared.net.b1)
        exchange(shared.net.b1, shared.net.a2)
        wait_for(lambda: two.peers()["node1"]["certificate_serial"] == second["serial"], "node2 to see the new certificate")
        running.wait_moving()  # on the old tunnel, which goes with its last stream
        assert 'event="tunnel drains" peer=node2 reason=finished streams=1' in one.log()
        assert 'event="tunnel closed"' not in one.log()

        volume.write(identity_files(issue(shared.folder / "ca", tmp_path / "bad", NAME + "node9")))
        sentence = f"the certificate is for {NAME}node9, this node's must be for {NAME}node1"
        wait_for(lambda: sentence in one.show("certs")["error"], lambda: f"{sentence!r}: {one.show('certs')['error']!r}")
        assert "kept the old certificates" in one.log() and sentence in one.log()
        assert one.show("certs")["serial"] == second["serial"]
        exchange(shared.net.a2, shared.net.b1)

        volume.write(identity_files(tmp_path / "second"))
        wait_for(lambda: one.show("certs")["error"] == "", "the good files to be taken as good again")
    assert set(one.ended()) == {"finished"} and set(two.ended()) == {"finished"}
    one.wait_log('event="tunnel closed" peer=node2 reason=finished')


@contextlib.contextmanager
def idle_stream(client, server):
    """Both ends of a stream that is open on a tunnel."""
    with server.listen(PORT) as listener:
        here = client.connect(server.v4, PORT)
        there, _ = listener.accept()
        with here, there:
            here.sendall(b"x")
            assert there.recv(1) == b"x"
            for s in (here, there):
                s.settimeout(DEADLINE_S)
            yield here, there


def assert_reset(*sockets):
    for s in sockets:
        with pytest.raises(ConnectionResetError):
            s.recv(1)


def test_an_authority_is_replaced_without_a_break_and_cuts_who_still_relies_on_it_when_it_goes(shared, tmp_path):
    """Both are trusted, then the nodes change over, then the old one goes: as an operator rotates it."""
    one, two, net = shared.one, shared.two, shared.net
    shared.reset()
    run(program("culvertctl"), "ca", "init", tmp_path / "next-ca")
    both = (shared.folder / "ca" / "ca.crt").read_bytes() + (tmp_path / "next-ca" / "ca.crt").read_bytes()
    volumes = {}
    for daemon in shared.daemons:
        volumes[daemon] = Volume(tmp_path / daemon.host.node_name, "data_link")
        volumes[daemon].write(identity_files(daemon.identity))
        daemon.kill()
        daemon.write_config(identity={"directory": str(volumes[daemon].folder)})
        daemon.start()
    with idle_stream(net.a2, net.b1) as old:
        with transfer(shared):
            for daemon in shared.daemons:
                volumes[daemon].write({**identity_files(daemon.identity), "ca.crt": both})
                wait_for(lambda: len(daemon.show("certs")["authorities"]) == 2, "two authorities")
            for daemon in shared.daemons:
                name, before = daemon.host.node_name, daemon.show("certs")["serial"]
                volumes[daemon].write({**identity_files(issue(tmp_path / "next-ca", tmp_path / f"next-{name}", NAME + name)), "ca.crt": both})
                wait_for(lambda: daemon.show("certs")["serial"] != before, "the next authority's certificate")
                exchange(net.b1, net.a2)
        assert set(one.ended()) == {"finished"} and set(two.ended()) == {"finished"}
        for daemon in shared.daemons:
            volumes[daemon].write(identity_files(tmp_path / f"next-{daemon.host.node_name}"))
            wait_for(lambda: len(daemon.show("certs")["authorities"]) == 1, "the old authority to go")
        assert_reset(*old)
    assert one.ended()["certificate"] == 1
    exchange(net.a2, net.b1)
    exchange(net.b1, net.a2)


def test_a_revoked_node_is_cut_at_once_and_stays_out(shared, tmp_path):
    one, two, net = shared.one, shared.two, shared.net
    shared.reset()
    revoke(shared.folder / "ca", one.identity / "crl.pem", "1234")
    wait_for(lambda: one.show("certs")["has_crl"], lambda: f"the list to be taken: {one.show('certs')}")
    with idle_stream(net.a1, net.b1) as ends:
        revoke(shared.folder / "ca", one.identity / "crl.pem", "1234", two.show("certs")["serial"])
        assert_reset(*ends)
    assert one.ended() == {"certificate": 1}
    with net.b1.begin(net.a1.v4, PORT) as waiting, net.a1.listen(PORT) as listener:
        wait_for(lambda: "is revoked by crl.pem" in one.log(), lambda: f"node1 to say why:\n{one.log()}")
        assert one.peers()["node2"]["state"] != "up"
        shared.issue("node2")  # a new certificate, and all is well
        finish(waiting).sendall(b"hello")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(5, socket.MSG_WAITALL) == b"hello"


def test_an_address_that_moves_to_another_node_resets_its_streams_and_no_others(shared):
    one, net = shared.one, shared.net
    shared.reset()
    node1, (name2, addresses2, _) = shared.usual_nodes()
    with transfer(shared), idle_stream(net.a1, net.b1) as ends:
        shared.write_nodes([node1, (name2, addresses2, [net.b2.v4 + "/32"]), ("node3", ["10.99.0.33"], [net.b1.v4 + "/32"])], one)
        assert_reset(*ends)
        assert one.ended() == {"moved": 1}
        assert shared.two.ended() == {"moved": 1}


def test_a_node_taken_out_of_the_file_loses_its_tunnel_and_its_streams(shared):
    one, two, net = shared.one, shared.two, shared.net
    shared.reset()
    with idle_stream(net.a1, net.b1) as ends:
        shared.write_nodes(shared.usual_nodes()[:1], one)
        assert_reset(*ends)
    assert one.peers() == {} and one.ended() == {"peer_removed": 1}
    line = next(line for line in one.log().splitlines() if 'event="tunnel closed"' in line)
    assert log_fields(line)["peer"] == "node2" and log_fields(line)["reason"] == "peer_removed"
    wait_for(lambda: two.peers()["node1"]["state"] != "up", "node2 to see its end")
    shared.write_nodes()
    wait_for(lambda: "node2" in one.peers(), "node2 to be a peer again")
    exchange(net.a1, net.b1)
    exchange(net.b1, net.a1)


# HUP

def hup(daemon, event, count=1):
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.log().count(f'event="{event}"') == count, lambda: f"{event}:\n{daemon.log()[-1000:]}")


def reaches_the_node(mesh):
    """A pod's connection to the other node's own address, which strict passes and lockdown refuses."""
    with mesh.net.b.listen(PORT) as listener:
        before = mesh.one.counters()
        with contextlib.suppress(TimeoutError):
            mesh.net.a1.connect(mesh.net.b.v4, PORT, timeout=0.5).close()
            return True
        assert mesh.one.counters()["refused", "out", "refused"] > before.get(("refused", "out", "refused"), 0)
    return False


def test_hup_changes_the_mode_and_refuses_a_bad_file(shared):
    one = shared.one
    shared.reset()
    with transfer(shared) as running:
        assert one.status()["mode"] == "strict" and reaches_the_node(shared)
        one.write_config(capture={"mode": "lockdown"})
        hup(one, "new configuration")
        assert one.status()["mode"] == "lockdown" and not reaches_the_node(shared)
        running.wait_moving()

        one.write_config(capture={"mode": "open"})
        hup(one, "kept the old configuration")
        sentence = 'capture.mode: "open" is not known; permissive or strict or lockdown would be right'
        assert sentence in reload_of(one, "settings")["error"] and sentence in one.log().replace('\\"', '"')
        assert one.status()["mode"] == "lockdown" and not reaches_the_node(shared)

        one.write_config()
        hup(one, "new configuration", 2)
        assert one.status()["mode"] == "strict" and reload_of(one, "settings")["error"] == ""
        # What loosens is taken by what leaves a minute after it was taken by what arrives: the other node may not have heard of it.
        assert not reaches_the_node(shared)
        wait_for(lambda: "the mode is in force for what leaves and what arrives" in one.log(), "the other direction to follow", 180)
        assert reaches_the_node(shared)
    assert set(one.ended()) == {"finished"}


def test_hup_names_what_only_a_restart_changes_and_takes_the_rest(shared):
    one = shared.one
    shared.reset()
    with transfer(shared):
        one.write_config(tunnel={"port": 7118}, log={"level": "debug"})
        hup(one, "new configuration")
        lines = [log_fields(line) for line in one.log().splitlines() if "this setting changes with a restart only" in line]
        assert [line["key"] for line in lines] == ["tunnel"]
        exchange(shared.net.a2, shared.net.b1)
        assert "level=debug" in one.log()
    one.write_config()


def test_hup_without_a_change_disturbs_nothing(shared):
    one = shared.one
    shared.reset()
    with transfer(shared):
        before, serial = one.events()["tunnels_opened"], one.show("certs")["serial"]
        hup(one, "new configuration")
        exchange(shared.net.a2, shared.net.b1)
        assert one.show("certs")["serial"] == serial and one.events()["tunnels_opened"] == before
    assert one.ended() == {"finished": 2}
