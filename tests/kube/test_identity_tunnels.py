# SPDX-License-Identifier: GPL-3.0-or-later
"""Two daemons whose certificates come from the issuer: nothing carries before they have them; certificates and the authority change under a running stream;
the issuer dies, and what is there goes on until its end and comes back by itself."""

import contextlib

import pytest

from issuing import BUNDLE, SECRET, Site
from kubemesh import NAMESPACE, KubeMesh
from lib import run, wait_for
from mesh import program, read_all, serve
from plane import PLANE_ADDRESS, SERVER_PORT
from traffic import read_exactly, talk

MESSAGE = b"this must not be read on the wire"
PORT = 8080
LONG_S = 150  # several lives of a certificate, on a busy machine
RBAC = "rbac.authorization.k8s.io/v1"


class IssuedMesh(KubeMesh):
    """Each daemon with the token of its own pod. Of rights its account has all: which it needs is tested elsewhere."""

    def __init__(self, plane, site):
        super().__init__(plane, start=False, enrol=False)
        try:
            self.site = site
            self.api.create(RBAC, "clusterrolebindings", {
                "metadata": {"name": self.net.name}, "subjects": [{"kind": "ServiceAccount", "name": "culvert", "namespace": NAMESPACE}],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}})
            for daemon in self.daemons:
                pod = self.site.add_daemon(daemon.host.node_name)
                daemon.kubeconfig = plane.kubeconfig(f"daemon-{pod['metadata']['uid']}", token=self.site.token_of(pod),
                                                     server=f"https://{PLANE_ADDRESS}:{SERVER_PORT}")
                daemon.identity = daemon.runtime / "identity"
                daemon.write_config(identity={"directory": str(daemon.identity), "signer": self.site.signer, "peer_name": self.site.template})
                daemon.start(wait=False)
        except BaseException:
            self.close(check=False)
            raise

    def wait_ready(self):
        for daemon in self.daemons:
            daemon.wait_ready()
        self.wait_enrolled()

    def meet(self):
        """A whole connection each way, and none of it readable on the wire."""
        with self.capture() as capture:
            for client, server in ((self.net.a1, self.net.b1), (self.net.b2, self.net.a2)):
                def answer(connection, peer):
                    connection.sendall(read_all(connection))
                    return peer

                def ask(connection):
                    connection.sendall(MESSAGE)
                    connection.shutdown(1)
                    return read_all(connection)

                seen, echoed = talk(client, server, server.v4, answer, ask)
                assert echoed == MESSAGE and seen[0] == client.v4
        assert capture.tunnel and not capture.leaked and not capture.holds(MESSAGE)


def issuance(daemon):
    return daemon.show("certs")["issuance"]


def certificate_issuer(daemon):
    return run("openssl", "x509", "-noout", "-issuer", "-in", daemon.identity / "tls.crt").stdout.strip()


@contextlib.contextmanager
def stream(mesh):
    """A connection that is asked again and again; the function says and hears one thing over it."""
    with mesh.net.b1.listen(PORT) as listener:
        echo = serve(listener, lambda c, _: [c.sendall(data) for data in iter(lambda: c.recv(65536), b"")])
        with mesh.net.a1.connect(mesh.net.b1.v4, PORT) as connection:
            def say(text):
                connection.sendall(text)
                assert read_exactly(connection, len(text)) == text

            say(b"begin")
            yield say
            say(b"end")
        echo.join()


def wait_saying(say, condition, what):
    """As wait_for, and the stream is used all the time."""
    def turn():
        say(b"still here")
        return condition()

    return wait_for(turn, what, LONG_S)


@pytest.fixture(scope="module")
def site(plane):
    return Site(plane, NAMESPACE)


@pytest.fixture
def mesh(plane, site):
    with IssuedMesh(plane, site) as made:
        yield made
    for plural, name in (("secrets", SECRET), ("configmaps", BUNDLE)):  # the next begins with nothing
        plane.api.delete("v1", plural, name, NAMESPACE)


def test_certificates_and_authority_change_under_a_stream(mesh):
    """From nothing to a certificate, then a rotation: every certificate that is used is of another authority in the end, and one stream has lived through it."""
    for daemon in mesh.daemons:
        wait_for(lambda: "no certificate: there is no ConfigMap" in daemon.status()["reason"], lambda: f"what is missing:\n{daemon.status()['reason']}", LONG_S)
        assert not daemon.status()["is_ready"]
    with mesh.site.issuer("--certificate-lifetime", "40s", "--trust-delay", "5s") as issuer:
        mesh.wait_ready()
        mesh.meet()
        shown = issuance(mesh.one)
        assert shown["signer"] == mesh.site.signer and shown["issued"] == 1 and not shown["error"] and shown["renewal_s"] > shown["since_s"]
        assert f"signer {mesh.site.signer}" in mesh.one.ctl("certs").stdout
        first = {daemon: certificate_issuer(daemon) for daemon in mesh.daemons}
        assert len(set(first.values())) == 1
        serial = mesh.one.peers()["node2"]["certificate_serial"]
        with stream(mesh) as say:
            mesh.plane.ns.run(program("culvert-issuer"), "--kubeconfig", mesh.site.issuer_config, "--namespace", NAMESPACE, "--rotate")
            wait_saying(say, lambda: all(len(daemon.show("certs")["authorities"]) == 2 for daemon in mesh.daemons), "both authorities in force")
            assert {daemon: certificate_issuer(daemon) for daemon in mesh.daemons} == first
            wait_saying(say, lambda: all(certificate_issuer(daemon) != first[daemon] for daemon in mesh.daemons),
                        lambda: f"certificates of the new authority:\n{issuer.text()[-2000:]}")
            wait_saying(say, lambda: mesh.one.peers()["node2"]["certificate_serial"] != serial, "a tunnel of the new certificates")
        mesh.meet()
    # Nothing but what ended well.
    for daemon in mesh.daemons:
        assert set(daemon.ended()) == {"finished"}, daemon.ended()


def test_without_an_issuer_everything_goes_on_to_its_end_and_comes_back(mesh):
    with mesh.site.issuer("--certificate-lifetime", "30s") as issuer:
        mesh.wait_ready()
        mesh.meet()
        issuer.kill()
        # A daemon that starts again has its files, and needs nobody.
        serial = mesh.two.show("certs")["serial"]
        mesh.two.kill()
        mesh.two.start()
        assert mesh.two.show("certs")["serial"] == serial
        mesh.meet()
        # Renewal is due and nobody answers: said, and what is there is used.
        wait_for(lambda: "has no answer yet" in issuance(mesh.one)["error"], lambda: f"the missing answer: {issuance(mesh.one)}", LONG_S)
        if mesh.one.status()["is_ready"]:
            check = mesh.one.ctl("check", check=False)
            assert check.returncode == 1 and "can not be had or renewed" in check.stdout
        wait_for(lambda: not mesh.one.status()["is_ready"], "the end of the certificate", LONG_S)
        assert "expired" in mesh.one.status()["reason"]
        issuer.start()
        for daemon in mesh.daemons:
            wait_for(lambda: daemon.status()["is_ready"], lambda: f"a certificate: {issuance(daemon)}", LONG_S)
        mesh.meet()
        assert not issuance(mesh.one)["error"]
