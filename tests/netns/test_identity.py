# SPDX-License-Identifier: GPL-3.0-or-later
"""Promise 3: both ends prove who they are. Every certificate that is not right, as a node's own and as its peer's; addresses that a node has no right to."""

import contextlib
import shutil
import socket
import ssl
import struct
import threading

import pytest

from flows import BLOCK, is_connecting, is_served
from lib import DEADLINE_S, TUNNEL_PORT, run, wait_for
from mesh import Mesh, program, read_all, serve
from pki import CLIENT, NAME, SERVER, authority, issue, put

PORT = 8080
MARKER = b"this-must-not-be-read-by-anybody-else"


@pytest.fixture(scope="module")
def shared():
    with Mesh() as m:
        authority(m.folder / "other-ca", "Somebody Else's CA")
        run(program("culvertctl"), "ca", "init", m.folder / "same-name-ca")
        yield m


@pytest.fixture
def mesh(shared):
    shared.reset()
    return shared


def exchange(client, server, message=b"hello"):
    """One connection, there and back."""
    with server.listen(PORT) as listener:
        echo = serve(listener, lambda c, a: c.sendall(read_all(c)))
        with client.connect(server.v4, PORT) as connection:
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == message
        echo.join()


# A node's own certificate. Each of these spoils a folder that is good for node1; then the sentence that it must get.

def made(*names, ca="ca", **options):
    """Another certificate and key, of another authority than ca.crt holds where ca says so."""
    def spoil(mesh, folder):
        issue(mesh.folder / ca, folder, *(names or [NAME + "node1"]), **options)
        put(folder / "ca.crt", (mesh.folder / "ca" / "ca.crt").read_bytes())
    return spoil


def nameless(mesh, folder):
    issue(mesh.folder / "ca", folder)


def other_key(mesh, folder):
    issue(mesh.folder / "ca", mesh.folder / "other-key", NAME + "node1")
    put(folder / "tls.key", (mesh.folder / "other-key" / "tls.key").read_bytes())


def emptied(name):
    return lambda mesh, folder: put(folder / name, b"")


def cut(name):
    return lambda mesh, folder: put(folder / name, (folder / name).read_bytes()[:100])


def without(name):
    return lambda mesh, folder: (folder / name).unlink()


OWN = {
    "of another authority": (made(ca="other-ca"), "tls.crt: the certificate was issued by /CN=Somebody Else's CA, which is no valid authority of ca.crt (it holds /CN=Culvert CA)"),
    "of another authority with the same name": (made(ca="same-name-ca"), "tls.crt: the certificate was issued by /CN=Culvert CA, which is no valid authority of ca.crt"),
    "expired": (made(valid_days=(-30, -1)), "tls.crt: line 1: the certificate expired on "),
    "not yet valid": (made(valid_days=(1, 30)), "tls.crt: line 1: the certificate is not valid before "),
    "of another node": (made(NAME + "node3"), f"tls.crt: the certificate is for {NAME}node3, this node's must be for {NAME}node1"),
    "of another kind of name": (made("DNS:node1"), f"tls.crt: the certificate is for DNS:node1, this node's must be for {NAME}node1"),
    "wildcard URI": (made(NAME + "*"), f"tls.crt: the certificate holds the wildcard {NAME}*, which names no single node"),
    "wildcard DNS beside the right name": (made(NAME + "node1", "DNS:*.example"), "tls.crt: the certificate holds the wildcard DNS:*.example, which names no single node"),
    "without a name": (nameless, "tls.crt: the certificate holds no URI or DNS name"),
    "without server usage": (made(usages=[CLIENT]), "tls.crt: the certificate has clientAuth alone, both extended key usages serverAuth and clientAuth are needed"),
    "without client usage": (made(usages=[SERVER]), "tls.crt: the certificate has serverAuth alone, both extended key usages serverAuth and clientAuth are needed"),
    "without usages": (made(usages=[]), "tls.crt: the certificate has neither of them, both extended key usages serverAuth and clientAuth are needed"),
    "key of another certificate": (other_key, "tls.key: line 1: the private key does not belong to the certificate in tls.crt"),
    "empty certificate": (emptied("tls.crt"), "tls.crt: is empty: PEM blocks (-----BEGIN ...) should be in it"),
    "empty key": (emptied("tls.key"), "tls.key: is empty: PEM blocks (-----BEGIN ...) should be in it"),
    "empty authorities": (emptied("ca.crt"), "ca.crt: is empty: PEM blocks (-----BEGIN ...) should be in it"),
    "cut certificate": (cut("tls.crt"), "tls.crt: line 1: is cut: the block that begins here has no -----END line"),
    "cut key": (cut("tls.key"), "tls.key: line 1: is cut: the block that begins here has no -----END line"),
    "missing certificate": (without("tls.crt"), "tls.crt: is missing"),
    "missing key": (without("tls.key"), "tls.key: is missing"),
    "missing authorities": (without("ca.crt"), "ca.crt: is missing"),
}


def own_cases(function):
    return pytest.mark.parametrize("spoil, sentence", OWN.values(), ids=OWN.keys())(function)


@own_cases
def test_start_refuses_a_bad_certificate_with_one_clear_sentence(shared, tmp_path, spoil, sentence):
    daemon = shared.one
    identity = shutil.copytree(daemon.identity, tmp_path / "identity")
    spoil(shared, identity)
    config = tmp_path / "culvert.yaml"
    config.write_text(f"node: node1\nruntime_directory: {daemon.runtime}-second\nidentity: {{directory: {identity}}}\nnodes: {{file: {daemon.nodes}}}\n")
    done = shared.net.a.run(program("culvertd"), "--config", config, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"culvertd: {identity}/{sentence}")
    assert done.stderr.count("\n") == 1 and done.stdout == ""


@pytest.fixture(scope="module")
def running(shared):
    """Node1 with a tunnel, for all cases of a reload."""
    shared.reset()
    exchange(shared.net.a1, shared.net.b1)
    return shared


@own_cases
def test_reload_keeps_the_old_certificate_and_says_why(running, tmp_path, spoil, sentence):
    daemon, before = running.one, running.one.show("certs")
    good = shutil.copytree(daemon.identity, tmp_path / "good")
    try:
        spoil(running, daemon.identity)
        # files are replaced one after the other, so another fault may show for a moment
        wait_for(lambda: sentence in daemon.show("certs")["error"], lambda: f"culvertctl certs to say {sentence!r}: {daemon.show('certs')['error']!r}")
        assert f"{daemon.identity}/{sentence}" in daemon.log().replace('\\"', '"')
        assert "kept the old certificates" in daemon.log()
        assert sentence in " ".join(daemon.ctl("certs").stdout.split())
        now = daemon.show("certs")
        assert (now["serial"], now["sha256"], now["generation"]) == (before["serial"], before["sha256"], before["generation"])
        check = daemon.ctl("check", check=False)
        assert check.returncode == 1 and sentence in " ".join(check.stdout.split())
        exchange(running.net.a1, running.net.b1)
    finally:
        shutil.copytree(good, daemon.identity, dirs_exist_ok=True)
    wait_for(lambda: daemon.show("certs")["error"] == "", "the good certificate to be taken again")
    assert daemon.show("certs")["serial"] == before["serial"]


# The peer's certificate, shown by somebody at node2's place who speaks TLS as well as OpenSSL does. First what node1 says as the client, then as the server.

UNKNOWN_CA = "the other node's certificate was issued by an authority that ca.crt does not hold"
USAGES = "the other node's certificate lacks an extended key usage, serverAuth and clientAuth are both needed"
PEER = {
    "of another authority": (dict(ca="other-ca"), UNKNOWN_CA, UNKNOWN_CA),
    "of another authority with the same name": (dict(ca="same-name-ca"), "the other node's certificate ", "the other node's certificate "),
    "expired": (dict(valid_days=(-30, -1)), "the other node's certificate expired on ", "the other node's certificate expired on "),
    "not yet valid": (dict(valid_days=(1, 30)), "the other node's certificate is not valid before ", "the other node's certificate is not valid before "),
    "without server usage": (dict(usages=[CLIENT]), USAGES, USAGES),
    "without client usage": (dict(usages=[SERVER]), USAGES, USAGES),
    "without usages": (dict(usages=[]), USAGES, USAGES),
    "of another node": (dict(names=[NAME + "node3"]), f"the peer's certificate names spiffe://cluster.local/ns/culvert/node/node3 (1 names); node node2 must have ",
                        'certificate names node "node3", and no node of the cluster has that name'),
    "of this node itself": (dict(names=[NAME + "node1"]), "the peer's certificate names spiffe://cluster.local/ns/culvert/node/node1 (1 names); node node2 must have ",
                            "HELLO names another node than the certificate"),
    "wildcard": (dict(names=[NAME + "*"]), "the peer's certificate names spiffe://cluster.local/ns/culvert/node/* (1 names); node node2 must have ", "is a wildcard"),
    "of two nodes": (dict(names=[NAME + "node2", NAME + "node3"]), "(2 names); node node2 must have ", "exactly one would be right"),
    "of another kind of name": (dict(names=["DNS:node2"]), "the peer's certificate names node2 (1 names); node node2 must have ", "certificate has no URI name"),
    "without a name": (dict(names=[]), "the peer's certificate names nobody (0 names); node node2 must have ", "certificate has no URI name"),
}


def peer_cases(function):
    return pytest.mark.parametrize("options, as_client, as_server", PEER.values(), ids=PEER.keys())(function)


def impostor_context(mesh, role, ca="ca", names=(NAME + "node2",), **options):
    folder = issue(mesh.folder / ca, mesh.folder / "impostor", *names, **options)
    context = ssl.SSLContext(role)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(mesh.folder / "ca" / "ca.crt")
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["culvert/1"])
    return context


@pytest.fixture
def alone(shared):
    """Node1 without node2, each time anew: what it logs about failures is limited, and its back-off grows."""
    for daemon in shared.daemons:
        if daemon.is_running():
            daemon.kill()
    shared.one.log_path.unlink(missing_ok=True)
    shared.issue("node1")
    shared.write_nodes()
    shared.one.write_config()
    shared.one.start()
    return shared


@contextlib.contextmanager
def impostor(space, context):
    """Serves TLS at node2's place. Yields what came in under TLS, a list that grows."""
    heard = []
    with space.listen(TUNNEL_PORT) as listener:
        def work():
            with contextlib.suppress(OSError):  # the listener is closed at the end
                while True:
                    raw, _ = listener.accept()
                    with raw, contextlib.suppress(OSError):
                        with context.wrap_socket(raw, server_side=True) as connection:
                            heard.append(connection.recv(65536))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield heard
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


@peer_cases
def test_no_tunnel_to_an_impostor_and_its_certificates_fault_is_named(alone, options, as_client, as_server):
    one, net = alone.one, alone.net
    with impostor(net.b, impostor_context(alone, ssl.PROTOCOL_TLS_SERVER, **options)) as heard, net.a1.begin(net.b1.v4, PORT) as client:
        wait_for(lambda: as_client in one.peers()["node2"]["last_error"], lambda: f"node1 to say {as_client!r}: {one.peers()['node2']}")
        one.wait_log(as_client)
        assert one.peers()["node2"]["state"] != "up" and one.events()["tunnels_opened"] == 0
        assert is_connecting(client)
    assert not any(heard), "an impostor was told something"


def hello(node):
    """A HELLO as docs/protocol.md has it."""
    body = (b"\x0a" + bytes([len(node)]) + node.encode()  # node
            + b"\x11" + struct.pack("<Q", 4711)  # incarnation
            + b"\x20\x80\x80\x01"  # initial credit: 16384
            + b"\x28\x80\x02"  # streams: 256
            + b"\x30\x80\x80\x40"  # credit of the tunnel: 1 MiB
            + b"\x3a\x10" + bytes(range(16)))  # id of the tunnel
    return struct.pack("!BBHI", 1, 0, len(body), 0) + body


@peer_cases
def test_an_impostor_that_connects_is_refused_and_its_certificates_fault_is_named(alone, options, as_client, as_server):
    one, context, answer = alone.one, impostor_context(alone, ssl.PROTOCOL_TLS_CLIENT, **options), b""
    with alone.net.b.connect(alone.net.a.v4, TUNNEL_PORT) as raw, contextlib.suppress(ssl.SSLError, ConnectionResetError):
        with context.wrap_socket(raw) as connection:
            connection.sendall(hello("node2"))
            answer = read_all(connection)
    wait_for(lambda: one.events()["handshakes_refused"] == 1, lambda: f"the refusal to be counted: {one.events()}")
    assert as_server in one.log().replace('\\"', '"')
    assert one.events()["tunnels_opened"] == 0 and one.peers()["node2"]["tunnels"] == 0
    if answer:  # TLS itself was good, so the answer is one GOAWAY that says why, and nothing else
        kind, _, length, stream = struct.unpack("!BBHI", answer[:8])
        assert (kind, stream, len(answer)) == (10, 0, 8 + length)
        assert as_server[:200] in answer[14:].decode()


def test_a_good_stranger_at_node2s_place_is_taken(alone):
    """The two tests above can fail: with a good certificate the same client gets its HELLO answered."""
    context = impostor_context(alone, ssl.PROTOCOL_TLS_CLIENT)
    with alone.net.b.connect(alone.net.a.v4, TUNNEL_PORT) as raw, context.wrap_socket(raw) as connection:
        connection.sendall(hello("node2"))
        assert connection.recv(1) == b"\x01"
        wait_for(lambda: alone.one.peers()["node2"]["state"] == "up", "node1 to have a tunnel")


# Whole nodes

def refused_ca(mesh):
    """Node2 has a certificate of another authority, and trusts both."""
    issue(mesh.folder / "other-ca", mesh.two.identity, NAME + "node2")
    put(mesh.two.identity / "ca.crt", (mesh.folder / "other-ca" / "ca.crt").read_bytes() + (mesh.folder / "ca" / "ca.crt").read_bytes())
    mesh.two.write_config()


def refused_name(mesh):
    """Node2 does not look at names, not even at its own, which is node3's."""
    issue(mesh.folder / "ca", mesh.two.identity, NAME + "node3")
    mesh.two.write_config(identity={"peer_name": "shared"})


@pytest.mark.long
@pytest.mark.parametrize("spoil, at_one, at_two", [
    (refused_ca, UNKNOWN_CA, "reason=certificate"),
    (refused_name, "node3", 'certificate names node "node3", and no node of the cluster has that name'),
], ids=["of another authority", "of another node"])
def test_clients_wait_without_a_leak_while_node2s_certificate_is_refused_and_go_on_when_it_is_mended(mesh, spoil, at_one, at_two):
    one, two, net = mesh.one, mesh.two, mesh.net
    two.kill()
    spoil(mesh)
    two.start()
    with mesh.capture() as capture, net.a1.listen(PORT) as at_a, net.b1.listen(PORT) as at_b:
        with net.a1.begin(net.b1.v4, PORT) as from_a, net.b1.begin(net.a1.v6, PORT) as from_b:
            one.wait_log(at_one)
            wait_for(lambda: at_two in two.log().replace('\\"', '"'), lambda: f"node2 to say {at_two!r}:\n{two.log()}")
            wait_for(lambda: one.peers()["node2"]["last_error"] and two.peers()["node1"]["last_error"], "both to show why")
            assert one.peers()["node2"]["streams_waiting"] == 1 and two.peers()["node1"]["streams_waiting"] == 1
            assert is_connecting(from_a) and is_connecting(from_b)
            two.end()
            mesh.issue("node2")
            two.write_config()
            two.start()
            is_served(from_a, at_b)
            is_served(from_b, at_a)
    assert not capture.leaked and not capture.holds(BLOCK[:64])
    assert capture.tunnel


def test_a_node_that_speaks_for_another_nodes_pod_is_refused_counted_and_named(mesh):
    """Node1 believes that the upper half of node2's pods is its own, as a thief of its key would say. Its pods' connections are open at once, so that each is
    one stream: held ones come again with each SYN."""
    mesh.reset(capture={"connect": "optimistic"})
    one, two, net = mesh.one, mesh.two, mesh.net
    theirs = "10.88.2.200"
    (name1, addresses1, pods1), (name2, addresses2, _) = mesh.usual_nodes()
    mesh.write_nodes([(name1, addresses1, pods1 + ["10.88.2.128/25", "10.88.77.0/24"]), (name2, addresses2, ["10.88.2.0/25"])], one)
    one.wait_log("new nodes")
    for address in (theirs, "10.88.77.5"):
        net.a1.ip(f"addr add {address}/32 dev eth0")
        net.a.ip(f"route add {address}/32 dev {net.a1.veth}")
    try:
        with net.b1.listen(PORT) as listener, mesh.capture() as capture:
            bind = lambda address: lambda s: s.bind((address, 0))  # noqa: E731
            with net.a1.connect(net.b1.v4, PORT, before=bind(theirs)) as foreign, net.a1.connect(net.b1.v4, PORT, before=bind("10.88.77.5")) as unknown:
                for client in (foreign, unknown):
                    client.sendall(MARKER)
                for client in (foreign, unknown):
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
            two.wait_log("a node spoke for another node's pod")
            line = next(line for line in two.log().splitlines() if "a node spoke for another node's pod" in line)
            assert "warn" in line and "peer=node1" in line and f"client={theirs}:" in line
            assert two.events()["foreign_claims"] == 1
            assert two.ended() == {"foreign_address": 1, "unknown_address": 1}
            assert one.ended() == {"foreign_address": 1, "unknown_address": 1}
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
        assert not capture.leaked and not capture.holds(MARKER)
        exchange(net.a1, net.b1)  # its own pods are served as ever
    finally:
        for address in (theirs, "10.88.77.5"):
            net.a.ip(f"route del {address}/32 dev {net.a1.veth}")
            net.a1.ip(f"addr del {address}/32 dev eth0")


def test_an_address_that_node2_does_not_know_yet_waits_for_its_nodes_file(mesh):
    mesh.reset(capture={"connect": "optimistic"})  # the connection is open before anybody knows it
    one, two, net = mesh.one, mesh.two, mesh.net
    (name1, addresses1, pods1), second = mesh.usual_nodes()
    more = [(name1, addresses1, pods1 + ["10.88.77.0/24"]), second]
    mesh.write_nodes(more, one)
    one.wait_log("new nodes")
    net.a1.ip("addr add 10.88.77.5/32 dev eth0")
    net.a.ip(f"route add 10.88.77.5/32 dev {net.a1.veth}")
    net.b.ip(f"route add 10.88.77.0/24 via {net.a.v4}")
    try:
        with net.b1.listen(PORT) as listener, net.a1.connect(net.b1.v4, PORT, before=lambda s: s.bind(("10.88.77.5", 0))) as client:
            client.sendall(MARKER)
            wait_for(lambda: [s["state"] for s in two.streams()] == ["judging"], "node2 to hold the stream")
            mesh.write_nodes(more, two)
            connection, address = listener.accept()
            with connection:
                assert address[0] == "::ffff:10.88.77.5"
                assert connection.recv(len(MARKER), socket.MSG_WAITALL) == MARKER
                connection.sendall(MARKER)
            assert read_all(client) == MARKER
        assert two.events()["foreign_claims"] == 0
    finally:
        net.b.ip(f"route del 10.88.77.0/24 via {net.a.v4}")
        net.a.ip(f"route del 10.88.77.5/32 dev {net.a1.veth}")
        net.a1.ip("addr del 10.88.77.5/32 dev eth0")


def test_one_certificate_for_all_works_and_status_says_that_names_prove_nothing(mesh):
    for daemon in mesh.daemons:
        daemon.kill()
        issue(mesh.folder / "ca", daemon.identity, "DNS:culvert.example")
        daemon.write_config(identity={"peer_name": "shared"})
        daemon.start()
    exchange(mesh.net.a1, mesh.net.b1)
    exchange(mesh.net.b1, mesh.net.a1)
    for daemon in mesh.daemons:
        assert daemon.status()["is_shared_identity"] is True
        assert "ONE IDENTITY FOR ALL NODES: addresses are not proven" in daemon.ctl("status").stdout
    assert mesh.one.peers()["node2"]["certificate_name"] == "DNS:culvert.example"


def test_nodes_are_known_by_dns_names_where_the_template_says_so(mesh):
    for daemon in mesh.daemons:
        daemon.kill()
        mesh.issue(daemon.host.node_name, name="DNS:{node}")
        daemon.write_config(identity={"peer_name": "DNS:{node}"})
        daemon.start()
    exchange(mesh.net.a1, mesh.net.b1)
    exchange(mesh.net.b1, mesh.net.a1)
    assert mesh.one.status()["is_shared_identity"] is False
    assert mesh.one.peers()["node2"]["certificate_name"] == "DNS:node2"
