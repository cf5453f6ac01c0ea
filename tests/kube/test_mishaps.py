# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong in a cluster: a node whose daemon can not start, an issuer that is away, certificates and authorities that change."""

import base64
import contextlib
import datetime
import re
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from lib import wait_for
from plane import POD_RANGE, START_S
from traffic import read_exactly

pytestmark = [pytest.mark.group("first cluster"), pytest.mark.long]

POD_TO_POD = f"tcp and src net {POD_RANGE} and dst net {POD_RANGE}"


@pytest.fixture
def cluster(bare_cluster):
    """A client on n1 and a server on n2, and Culvert not installed yet."""
    bare_cluster.run_pod("client", "n1")
    bare_cluster.run_pod("server", "n2", "nginx", "-g", "daemon off;")
    yield bare_cluster
    bare_cluster.delete_pods()
    bare_cluster.uninstall()


def fetch(cluster):
    address = cluster.pod("server")["status"]["podIP"]
    return wait_for(lambda: cluster.exec("client", "curl", "-sS", "-m", "10", f"http://{address}/", check=False).stdout.strip(), "an answer", START_S, 0.1)


def test_a_node_whose_daemon_can_not_start_keeps_its_connections(cluster):
    node = cluster.nodes["n2"]
    node.run("ip", "link", "add", "culvert0", "type", "bridge")  # the name is taken by something that is not ours to delete
    try:
        cluster.install("--create-namespace", wait=False)
        cluster.wait_for_daemons(nodes=["n1"])
        wait_for(lambda: "culvert needs the name" in cluster.daemon_log("n2"), "the reason in the log of n2", START_S, 0.2)
        with cluster.capture(POD_TO_POD) as plain:
            fetch(cluster)
            wait_for(plain.packets, "plain packets")
        assert [record["metadata"]["name"] for record in cluster.api.list("coordination.k8s.io/v1", "leases", "culvert-nodes")] == ["n1"]
        assert re.search(r"n2\b.*not enrolled|not enrolled.*\bn2\b|2 nodes, 1 enrolled", cluster.ctl("n1", "status"))
    finally:
        node.run("ip", "link", "del", "culvert0")
    cluster.wait_for_daemons()
    with cluster.capture(POD_TO_POD) as plain:
        fetch(cluster)
        assert plain.packets() == []


def secret(cluster):
    """What the issuer keeps, as texts by their keys."""
    found = cluster.api.get("v1", "secrets", "culvert-issuer", "culvert")
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def is_taken_for_n2(cluster, folder, authority):
    """Who has an authority's key makes a certificate for n2, and from there a tunnel to n1: is it taken? authority is certificate and key as PEM."""
    certificate, key = x509.load_pem_x509_certificate(authority[0].encode()), serialization.load_pem_private_key(authority[1].encode(), None)
    own, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.utcnow()
    leaf = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(certificate.subject).public_key(own.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=1)).not_valid_after(now + datetime.timedelta(minutes=10))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/culvert/node/n2")]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key()), critical=False).sign(key, hashes.SHA256()))
    pem = folder / "stolen.pem"
    pem.write_bytes(leaf.public_bytes(serialization.Encoding.PEM)
                    + own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["culvert/1"])
    context.load_cert_chain(pem)
    with cluster.nodes["n2"].ns.connect(cluster.nodes["n1"].address, 7117) as raw:
        try:
            with context.wrap_socket(raw) as wrapped:
                with contextlib.suppress(OSError):  # it may have hung up already; what it said is there to be read all the same
                    socket.socket.shutdown(wrapped, socket.SHUT_WR)  # of the connection alone: who was taken for n2 so far is hung up on for that
                while wrapped.recv(1 << 16):
                    pass
            return True
        except ssl.SSLError as error:
            assert error.reason and "ALERT" in error.reason, error
            return False


def test_the_authority_is_replaced_while_pods_talk(cluster, tmp_path):
    """From the mark in the Secret to the day when what the old authority signed is worth nothing. A stream of each certificate lives until the next one is
    used; no stream outlives the certificates of its tunnel."""
    cluster.install("--create-namespace", "--set", "identity.issuer.certificateLifetime=45s")

    def state():
        return {node: {**cluster.status(node, "certs"), "issuer": issuer(node)} for node in cluster.nodes}

    def issuer(node):
        return cluster.nodes[node].run("openssl", "x509", "-noout", "-issuer", "-in", "/run/culvert/identity/tls.crt").stdout.strip()

    def mark(**values):
        """What waits for clocks that differ and for nodes that are away: here are none."""
        cluster.api.patch("v1", "secrets", "culvert-issuer", {"stringData": {key.replace("_", "."): value for key, value in values.items()}}, "culvert")

    begin, old = state(), (secret(cluster)["ca.crt"], secret(cluster)["ca.key"])
    assert all(len(of["authorities"]) == 1 for of in begin.values())
    assert is_taken_for_n2(cluster, tmp_path, old)
    with contextlib.ExitStack() as stack:
        client, server = (stack.enter_context(cluster.network(name)) for name in ("client", "server"))
        plain = stack.enter_context(cluster.capture(POD_TO_POD))
        listener = stack.enter_context(server.listen(9000))

        def connect():
            return stack.enter_context(client.connect(server.v4, 9000)), stack.enter_context(listener.accept()[0])

        stream, serials = connect(), {of["serial"] for of in begin.values()}

        def wait_talking(condition, what):
            def turn():
                nonlocal stream, serials
                for one, other in (stream, stream[::-1]):
                    one.sendall(b"still here")
                    assert read_exactly(other, 10) == b"still here"
                now = state()
                if serials.isdisjoint(of["serial"] for of in now.values()):
                    stream, serials = connect(), {of["serial"] for of in now.values()}
                return condition(now)

            wait_for(turn, lambda: f"{what}: {state()}", START_S, 0.2)

        cluster.kubectl("exec", "-n", "culvert", "deploy/culvert-issuer", "--", "culvert-issuer", "--rotate")
        wait_talking(lambda now: all(len(of["authorities"]) == 2 for of in now.values()) and secret(cluster).get("next.since"), "both authorities")
        assert all(of["issuer"] == begin[node]["issuer"] for node, of in state().items())
        mark(next_since="1")
        wait_talking(lambda now: all(of["issuer"] != begin[node]["issuer"] for node, of in now.items()), "certificates of the new authority")
        assert secret(cluster)["ca.key"] != old[1] and secret(cluster)["old.crt"] == old[0]
        mark(old_until="1")
        wait_talking(lambda now: all(len(of["authorities"]) == 1 for of in now.values()), "the end of the trust in the old authority")
        assert "old.crt" not in secret(cluster)
        assert not is_taken_for_n2(cluster, tmp_path, old)
        assert is_taken_for_n2(cluster, tmp_path, (secret(cluster)["ca.crt"], secret(cluster)["ca.key"]))
        fetch(cluster)
        assert plain.packets() == []


def test_what_exists_goes_on_while_the_issuer_is_away(cluster):
    cluster.install("--create-namespace")
    cluster.kubectl("scale", "-n", "culvert", "deployment/culvert-issuer", "--replicas=0")
    wait_for(lambda: not cluster.api.list("v1", "pods", "culvert", labelSelector="app.kubernetes.io/component=issuer"), "the end of the issuer", START_S, 0.2)
    cluster.kubectl("delete", "pod", "-n", "culvert", cluster.daemons()["n1"]["metadata"]["name"])
    cluster.wait_for_daemons()  # the new pod has the node's files
    with cluster.capture(POD_TO_POD) as plain:
        fetch(cluster)
        assert plain.packets() == []
