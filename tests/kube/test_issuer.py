# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer over a real API server: what it signs, what it denies and how it says so, and that nothing is lost or made twice, whenever it is killed."""

import base64
import datetime
import itertools
import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from issuing import ANSWER_S, BIN, BUNDLE, CERTIFICATES, OWN_RIGHTS, Denied, Site, cluster_rights
from plane import Api, wait_for

_numbers = itertools.count()


@pytest.fixture
def site(plane):
    return Site(plane, f"issue-{next(_numbers)}")


def subject(pem):
    return x509.load_pem_x509_certificate(pem if isinstance(pem, bytes) else pem.encode()).subject.rfc4514_string()


def verify(site, tmp_path, certificate, authorities=None):
    """By openssl, against what is published, for both ends of a connection."""
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "ca.crt").write_text("".join(authorities or site.bundle()))
    for purpose in ("sslserver", "sslclient"):
        subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", tmp_path / "ca.crt", tmp_path / "tls.crt"], check=True,
                       stdout=subprocess.DEVNULL)


def test_a_node_gets_its_certificate(site, tmp_path):
    with site.issuer("--owner-account", "culvert-issuer") as issuer:
        pod = site.add_daemon("n1")
        request = site.ask(pod, site.name("n1"))
        certificate = x509.load_pem_x509_certificate(site.answer(request))
        verify(site, tmp_path, site.answer(request))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [name.value for name in names] == [site.name("n1").removeprefix("URI:")]
        usages = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        assert usages == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
        with pytest.raises(x509.ExtensionNotFound):
            certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert certificate.not_valid_after - certificate.not_valid_before == datetime.timedelta(hours=24, minutes=5)
        condition = site.find(request)["status"]["conditions"][0]
        assert (condition["type"], condition["message"]) == ("Approved", "its pod runs on node n1")
        issuer.wait_until_well()
        state = issuer.state()[0]
        assert "signed:   1\n" in state and "denied:   0\n" in state
        # Both go with their owner.
        for plural, name in (("secrets", "culvert-issuer"), ("configmaps", BUNDLE)):
            owners = site.plane.api.get("v1", plural, name, site.namespace)["metadata"]["ownerReferences"]
            assert [(owner["kind"], owner["name"]) for owner in owners] == [("ServiceAccount", "culvert-issuer")]
        assert issuer.stop() == 0
    assert "BEGIN" not in issuer.text()  # no key, no certificate in the log


def test_requests_made_while_it_was_away_are_answered(site):
    pods = [site.add_daemon(f"n{number}") for number in range(5)]
    requests = [site.ask(pod, site.name(pod["spec"]["nodeName"])) for pod in pods]
    with site.issuer() as issuer:
        serials = {x509.load_pem_x509_certificate(site.answer(request)).serial_number for request in requests}
        assert len(serials) == len(requests)
        # One that somebody approved by hand is judged all the same.
        wrong = site.ask(pods[0], site.name("n9"), usages=["client auth"])
        with pytest.raises(Denied, match="WrongUsages"):
            site.answer(wrong)
        assert issuer.stop() == 0


@pytest.mark.parametrize("name", ["a?b", "a#b", "a b", "a&b=1", "aö"])
def test_a_request_with_an_odd_name_holds_nobody_up(site, name):
    """Whoever may make a request may choose its name; nodes wait behind it."""
    site.plane.api.create(*CERTIFICATES, {"metadata": {"name": f"{name}-{site.namespace}"}, "spec": {
        "request": base64.b64encode(site.make_request(site.name("n1"))[0]).decode(), "signerName": site.signer, "usages": ["client auth"]}})
    request = site.ask(site.add_daemon("n1"), site.name("n1"))
    with site.issuer() as issuer:
        assert site.answer(request)

        def verdict():
            odd, = (found for found in site.plane.api.list(*CERTIFICATES) if found["metadata"]["name"] == f"{name}-{site.namespace}")
            return [(condition["type"], condition["reason"]) for condition in odd.get("status", {}).get("conditions", [])]

        wait_for(verdict, lambda: f"a verdict:\n{issuer.text()[-3000:]}", ANSWER_S)
        assert verdict() == [("Denied", "WrongRequester")]


def refuse(site, wanted, request):
    with pytest.raises(Denied) as denied:
        site.answer(request)
    assert denied.value.reason == wanted
    return denied.value.message


def test_everything_else_is_denied_and_told_why(site):
    pod = site.add_daemon("n1")
    stranger = site.add_daemon("n1", account="default")
    ended = site.add_daemon("n1", phase="Failed")
    site.plane.api.create("rbac.authorization.k8s.io/v1", "clusterrolebindings", {
        "metadata": {"name": f"{site.namespace}-default"}, "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": site.namespace}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{site.namespace}-culvert"}})
    with site.issuer() as issuer:
        text = refuse(site, "WrongName", site.ask(pod, site.name("n2")))
        assert f"runs on node n1, whose name is {site.name('n1')}" in text
        text = refuse(site, "WrongRequester", site.ask(stranger, site.name("n1"), token=site.token_of(stranger, "default")))
        assert f"only system:serviceaccount:{site.namespace}:culvert" in text
        refuse(site, "UnboundToken", site.ask(pod, site.name("n1"), token=site.plane.token(site.namespace, "culvert")))
        refuse(site, "PodEnded", site.ask(ended, site.name("n1")))
        refuse(site, "WrongUsages", site.ask(pod, site.name("n1"), usages=["digital signature", "server auth"]))
        authority = site.make_request(site.name("n1"), [x509.BasicConstraints(ca=True, path_length=None)])[0]
        assert "CA:TRUE" in refuse(site, "BadRequest", site.ask(pod, site.name("n1"), request=authority))
        # Its pod goes before the issuer looks.
        issuer.stop()
        request = site.ask(pod, site.name("n1"))
        replaced = site.add_daemon("n1")
        asked = site.ask(replaced, site.name("n1"))
        site.plane.api.delete("v1", "pods", pod["metadata"]["name"], site.namespace, grace_s=0)
        site.plane.api.delete("v1", "pods", replaced["metadata"]["name"], site.namespace, grace_s=0)
        site.plane.add_pod(replaced["metadata"]["name"], node="n1", namespace=site.namespace, account="culvert")
        issuer.start()
        refuse(site, "PodGone", request)
        refuse(site, "PodReplaced", asked)
        # Another signer's requests are none of ours.
        other = site.ask(replaced, site.name("n1"), signer="example.org/other", token=site.token_of(site.add_daemon("n1")))
        good = site.add_daemon("n1")
        site.answer(site.ask(good, site.name("n1")))
        assert "conditions" not in site.find(other).get("status", {})
        state = issuer.state
        wait_for(lambda: "denied:   2\n" in state()[0] and "PodGone             1\n" in state()[0], lambda: f"the counts:\n{state()[0]}", ANSWER_S)


def test_what_somebody_else_approved_is_not_signed_for_that(site):
    pod = site.add_daemon("n1")
    wrong, right = site.ask(pod, site.name("n2")), site.ask(pod, site.name("n1"))
    for request in (wrong, right):
        found = site.find(request)
        found["status"]["conditions"] = [{"type": "Approved", "status": "True", "reason": "ByHand", "message": "by hand"}]
        site.plane.api.replace(*CERTIFICATES, found, part="approval")
    with site.issuer():
        assert "runs on node n1" in refuse(site, "WrongName", wrong)
        assert [condition["type"] for condition in site.find(wrong)["status"]["conditions"]] == ["Approved", "Failed"]
        assert site.answer(right)


def test_two_at_once_make_one_authority(site, tmp_path):
    for _ in range(2):
        with site.issuer() as one, site.issuer() as other:
            pods = [site.add_daemon(f"n{number}") for number in range(6)]
            requests = [site.ask(pod, site.name(pod["spec"]["nodeName"])) for pod in pods]
            issuers = {x509.load_pem_x509_certificate(site.answer(request)).issuer.rfc4514_string() for request in requests}
            one.wait_until_well()
            other.wait_until_well()
        assert issuers == {subject(site.secret()["ca.crt"])}
        assert len(site.bundle()) == 1
        for request in requests:
            verify(site, tmp_path, site.answer(request))
        # Once more from nothing.
        for plural, name in (("secrets", "culvert-issuer"), ("configmaps", BUNDLE)):
            site.plane.api.delete("v1", plural, name, site.namespace)


def test_a_rotation_keeps_both_trusted(site, tmp_path):
    pod = site.add_daemon("n1")
    with site.issuer("--certificate-lifetime", "10m", "--trust-delay", "3s") as issuer:
        old = site.answer(site.ask(pod, site.name("n1")))
        first = subject(site.secret()["ca.crt"])
        asked = site.plane.ns.run(BIN / "culvert-issuer", "--kubeconfig", site.issuer_config, "--namespace", site.namespace, "--rotate")
        assert "asked for a new authority" in asked.stdout
        issuer.wait_for_log("step=switch")
        assert len(site.bundle()) == 2
        new = site.answer(site.ask(pod, site.name("n1")))
        assert x509.load_pem_x509_certificate(old).issuer.rfc4514_string() == first
        assert x509.load_pem_x509_certificate(new).issuer.rfc4514_string() == subject(site.secret()["ca.crt"]) != first
        for certificate in (old, new):
            verify(site, tmp_path, certificate)
        assert set(site.secret()) == {"ca.crt", "ca.key", "old.crt", "old.until", "longest"}
        wait_for(lambda: "old:" in issuer.state()[0], "the old authority in the state", ANSWER_S)
        issuer.wait_until_well()


def strace():
    return shutil.which("strace") or pytest.skip("strace is missing")


def test_killed_at_each_of_its_writes(site, tmp_path):
    """A first start, two requests, and a rotation; the issuer is killed at its first write to the API server or its log, started again and killed at the
    second, and so on. In the end everything is as if it had never been killed."""
    tracer = strace()
    pods = [site.add_daemon("n1"), site.add_daemon("n2")]
    requests = [site.ask(pods[0], site.name("n1")), site.ask(pods[1], site.name("n2"))]
    wrong = site.ask(pods[0], site.name("n2"))
    issuer = site.issuer("--certificate-lifetime", "10m", "--trust-delay", "0s")
    command = [BIN / "culvert-issuer", "--kubeconfig", site.issuer_config, *issuer.arguments]

    def run_until_write(number):
        """Whether it was killed; else it had come to rest before."""
        calls = "write,sendto,sendmsg,writev"
        with open(issuer.log, "ab") as log:
            process = site.plane.ns.popen(tracer, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={number}",
                                          *command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            return wait_for(lambda: process.poll() is not None and "killed" or issuer.state()[1] and is_done() and "rested", "its end", ANSWER_S) == "killed"
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()

    first = None

    def is_done():
        secret = site.secret()
        return bool(secret) and "old.crt" in secret and all(site.find(request).get("status", {}).get("certificate") for request in requests)

    for number in itertools.count(1):
        assert number < 200
        if not run_until_write(number):
            break
        secret = site.secret()
        if secret and first is None:
            first = subject(secret["ca.crt"])
            site.plane.ns.run(BIN / "culvert-issuer", "--kubeconfig", site.issuer_config, "--namespace", site.namespace, "--rotate")
        if secret:
            # Whatever signs now or next is never out of what is published for longer than it takes to publish; what was signed verifies.
            for request in requests:
                if site.find(request).get("status", {}).get("certificate"):
                    verify(site, tmp_path, site.answer(request))
    assert number > 10, "it was hardly ever killed"
    secret = site.secret()
    assert subject(secret["old.crt"]) == first
    assert "next.crt" not in secret and "rotate" not in secret
    assert len(site.bundle()) == 2
    for request in requests:
        verify(site, tmp_path, site.answer(request))
    with pytest.raises(Denied, match="WrongName"):
        site.answer(wrong)


def test_what_is_wrong_is_said_and_mended(site):
    api = site.plane.api
    roles = "rbac.authorization.k8s.io/v1", "roles"
    api.patch(*roles, "culvert-issuer", {"rules": [rule for rule in OWN_RIGHTS["culvert-issuer"] if "secrets" not in rule["resources"]]}, site.namespace)
    with site.issuer() as issuer:
        issuer.wait_for_log("a right is missing: .*secrets")
        wait_for(lambda: "trouble:  the Secret of the authority can not be read: a right is missing" in issuer.state()[0], "the trouble in the state", ANSWER_S)
        assert not issuer.state()[1]
        api.patch(*roles, "culvert-issuer", {"rules": OWN_RIGHTS["culvert-issuer"]}, site.namespace)
        issuer.wait_until_well()
        # A Secret that was damaged is left alone, and nothing is signed meanwhile.
        good = site.plane.api.get("v1", "secrets", "culvert-issuer", site.namespace)["data"]["ca.key"]
        api.patch("v1", "secrets", "culvert-issuer", {"data": {"ca.key": "aGVsbG8="}}, site.namespace)
        issuer.wait_for_log("can not be used, and is left alone: ca.key")
        pod = site.add_daemon("n1")
        request = site.ask(pod, site.name("n1"))
        api.patch("v1", "secrets", "culvert-issuer", {"data": {"ca.key": good}}, site.namespace)
        assert site.answer(request)
        # Who writes into the ConfigMap is overruled.
        bundle = site.bundle()
        api.patch("v1", "configmaps", BUNDLE, {"data": {"ca.crt": "hello"}}, site.namespace)
        issuer.stop()
        issuer.start()
        wait_for(lambda: site.bundle() == bundle, "the bundle as it was", ANSWER_S)


def test_signing_needs_the_right_for_this_signer(site):
    """Without it the request stays open, and the issuer says which right is missing."""
    api = site.plane.api
    name = f"{site.namespace}-culvert-issuer"
    rights = cluster_rights(site.signer)["culvert-issuer"]
    api.patch("rbac.authorization.k8s.io/v1", "clusterroles", name, {"rules": [rule for rule in rights if "signers" not in rule["resources"]]})
    pod = site.add_daemon("n1")
    with site.issuer() as issuer:
        request = site.ask(pod, site.name("n1"))
        issuer.wait_for_log(f"a request can not be approved: a right is missing: .*{site.signer}")
        api.patch("rbac.authorization.k8s.io/v1", "clusterroles", name, {"rules": rights})
        assert site.answer(request)


def test_daemons_have_no_more_rights_than_they_need(site):
    pod = site.add_daemon("n1")
    with site.issuer() as issuer:
        issuer.wait_until_well()
        daemon = Api(site.plane, token=site.token_of(pod))
        assert daemon.get("v1", "configmaps", BUNDLE, site.namespace)
        for path in (f"/api/v1/namespaces/{site.namespace}/secrets/culvert-issuer", f"/api/v1/namespaces/{site.namespace}/configmaps/other"):
            assert daemon.request("GET", path)[0] == 403


@pytest.mark.parametrize("arguments, wanted", [
    (["--certificate-lifetime", "1d"], "--certificate-lifetime \"1d\" is no duration, such as 90s, 30m or 24h"),
    (["--certificate-lifetime", "1s"], "must be 20s to 2160h"),
    (["--authority-lifetime", "24h"], "--authority-lifetime must be at least 192h"),
    (["--peer-name", "URI:spiffe://a/b"], "has no {node}"),
    (["--peer-name", "shared"], "a template with {node} is right"),
    (["--signer", "node"], "--signer \"node\" is no signer's name"),
    (["--signer", "kubernetes.io/kubelet-serving"], "belongs to Kubernetes itself"),
    (["--account", "Culvert"], "--account \"Culvert\" is no name"),
    (["--log-level", "loud"], "debug, info, warn or error"),
    (["--rotate", "--state"], "exclude each other"),
    (["more"], "unexpected argument \"more\""),
])
def test_wrong_flags(arguments, wanted):
    done = subprocess.run([BIN / "culvert-issuer", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and wanted in done.stderr
