# SPDX-License-Identifier: GPL-3.0-or-later
"""A node gets its certificate from the issuer over a real API server, renews it, follows what is trusted, and says what is wrong. The daemon's part of it runs
alone (kube_identity), so that no interception is needed."""

import itertools
import os
import re
import signal
import stat
import subprocess

import pytest
from cryptography import x509

from issuing import ANSWER_S, BIN, BUNDLE, CERTIFICATES, Site, cluster_rights
from plane import ending_with_us, wait_for

RBAC = "rbac.authorization.k8s.io/v1"
_numbers = itertools.count()


@pytest.fixture
def site(plane):
    return Site(plane, f"node-{next(_numbers)}")


class Node:
    """kube_identity with the token of a daemon's pod on a node."""

    def __init__(self, site, node, name=None, folder=None, pod=None):
        self.site, self.node = site, node
        self.pod = pod or site.add_daemon(node)
        self.work = site.plane.folder / f"node-{next(_numbers)}"
        self.work.mkdir()
        self.folder = folder or self.work / "identity"
        self.log = self.work / "log"
        self.config = site.plane.kubeconfig(f"node-{self.pod['metadata']['uid']}", token=site.token_of(self.pod))
        self.name = name or site.name(node)
        self.process = None

    def __enter__(self):
        with open(self.log, "wb") as log:  # of this run alone
            self.process = self.site.plane.ns.popen(*ending_with_us(
                BIN / "kube_identity", "--kubeconfig", self.config, "--node", self.node, "--namespace", self.site.namespace, "--signer", self.site.signer,
                "--name", self.name, "--directory", self.folder), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.text()

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern, count=1, seconds=ANSWER_S):
        wait_for(lambda: len(re.findall(pattern, self.text())) >= count, lambda: f"{pattern}:\n{self.text()[-3000:]}", seconds)

    def wait_for_certificate(self, number=1, seconds=ANSWER_S):
        self.wait_for(rf"resting has=1 issued={number} request= error=\n", seconds=seconds)

    def certificate(self):
        return x509.load_pem_x509_certificate((self.folder / "tls.crt").read_bytes())

    def authorities(self):
        return (self.folder / "ca.crt").read_text()

    def verify(self):
        for purpose in ("sslserver", "sslclient"):
            subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", self.folder / "ca.crt", self.folder / "tls.crt"], check=True,
                           stdout=subprocess.DEVNULL)


def requests_of(site):
    return [item for item in site.plane.api.list(*CERTIFICATES) if item["spec"]["signerName"] == site.signer]


def test_a_certificate_and_a_restart(site):
    with site.issuer(), Node(site, "n1") as node:
        node.wait_for_certificate()
        node.verify()
        names = node.certificate().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [f"URI:{name.value}" for name in names] == [site.name("n1")]
        key = node.folder / "tls.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600 and stat.S_IMODE(node.folder.stat().st_mode) == 0o700
        public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], stdout=subprocess.PIPE, check=True).stdout
        assert public == subprocess.run(["openssl", "x509", "-in", node.folder / "tls.crt", "-noout", "-pubkey"], stdout=subprocess.PIPE, check=True).stdout
        assert len({os.readlink(node.folder / name).split("/")[0] for name in ("tls.crt", "tls.key", "ca.crt")}) == 1
        serial = node.certificate().serial_number
        request = requests_of(site)[0]
        assert re.fullmatch(r"culvert-n1-[0-9a-f]{8}", request["metadata"]["name"])
        # Started again it goes on with what is there, and asks nobody.
    before = len(requests_of(site))
    with node:
        node.wait_for(r"resting has=1 issued=0 request= error=\n")
        assert node.certificate().serial_number == serial
    assert len(requests_of(site)) == before
    assert "PRIVATE" not in node.text()


def test_files_of_another_node_are_replaced(site):
    with site.issuer():
        with Node(site, "n1") as node:
            node.wait_for_certificate()
        with Node(site, "n2", folder=node.folder) as other:
            other.wait_for_certificate()
            assert f"the certificate is for {site.name('n1')}, this node's must be for {site.name('n2')}" in other.text()
            other.verify()


def test_an_issuer_that_comes_late(site):
    with site.issuer() as issuer:
        issuer.wait_until_well()
    with Node(site, "n1") as node:
        node.wait_for(r"waiting has=0 .* error=the request culvert-n1-\w+ has no answer yet: does culvert-issuer run in the namespace")
        with site.issuer():
            node.wait_for_certificate()
            assert len(requests_of(site)) == 1  # the same request


def test_no_issuer_was_ever_there(site):
    with Node(site, "n1") as node:
        node.wait_for(rf"has=0 .* error=there is no ConfigMap {site.namespace}/{BUNDLE}: culvert-issuer publishes there whom to trust")
        with site.issuer():
            node.wait_for_certificate()


def test_a_denial_is_told_with_its_reason(site):
    with site.issuer(), Node(site, "n2", pod=site.add_daemon("n1")) as node:
        node.wait_for(r"error=the request culvert-n2-\w+ was denied: it asks for the name .*/n2, but its pod .* runs on node n1")
        assert not node.folder.exists()


def test_a_missing_right_is_named_and_mended(site):
    api, name = site.plane.api, f"{site.namespace}-culvert"
    api.patch(RBAC, "clusterroles", name, {"rules": []})
    with site.issuer(), Node(site, "n1") as node:
        node.wait_for(r"error=a certificate can not be asked for: a right is missing: .*certificatesigningrequests.* cannot create")
        api.patch(RBAC, "clusterroles", name, {"rules": cluster_rights(site.signer)["culvert"]})
        node.wait_for_certificate()


def test_what_is_there_is_used_while_no_api_server_answers(site):
    with site.issuer(), Node(site, "n1") as node:
        node.wait_for_certificate()
    good = node.config.read_text()
    node.config.write_text(good.replace("127.0.0.1:6443", "127.0.0.1:6444"))  # nobody listens there
    with node:
        node.wait_for(r"resting has=1 issued=0 request= error=the ConfigMap culvert-ca can not be read: the API server does not answer")
        node.verify()
    node.config.write_text(good)
    with node:
        node.wait_for(r"resting has=1 issued=0 request= error=\n")


def test_renewal_and_a_new_authority(site):
    """Certificates of 40 s: renewed after some 27 s. A rotation meanwhile: first the bundle alone changes, then the next certificate comes from the new
    authority. Then the Secret is deleted, as one does with an authority whose key was stolen: all get new certificates at once."""
    with site.issuer("--certificate-lifetime", "40s", "--trust-delay", "5s") as issuer, Node(site, "n1") as node, Node(site, "n2") as other:
        node.wait_for_certificate()
        first = node.certificate()
        site.plane.ns.run(BIN / "culvert-issuer", "--kubeconfig", site.issuer_config, "--namespace", site.namespace, "--rotate")
        wait_for(lambda: node.authorities().count("BEGIN") == 2, lambda: f"two authorities:\n{node.text()}", ANSWER_S)
        # The same certificate and key, in another generation.
        assert node.certificate() == first
        node.verify()
        node.wait_for_certificate(2)
        other.wait_for_certificate(2)
        node.verify()
        second = node.certificate()
        assert second.serial_number != first.serial_number and second.public_key() != first.public_key()
        assert second.issuer != first.issuer
        # Each trusts the other's, old and new.
        for one, two in ((node, other), (other, node)):
            subprocess.run(["openssl", "verify", "-CAfile", one.folder / "ca.crt", two.folder / "tls.crt"], check=True, stdout=subprocess.DEVNULL)
        site.plane.api.delete("v1", "secrets", "culvert-issuer", site.namespace)
        issuer.wait_for_log("the Secret of the authority is gone")
        wait_for(lambda: node.certificate().issuer not in (first.issuer, second.issuer), lambda: f"a certificate of the new authority:\n{node.text()}", ANSWER_S)
        assert "does not go with the authorities that are published" in node.text()
        node.verify()
