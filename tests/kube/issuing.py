# SPDX-License-Identifier: GPL-3.0-or-later
"""The issuer on a control plane: its namespace, accounts and rights as docs/identity.md lists them, running issuers, and requests as a daemon makes them.

    site = Site(plane, "culvert")                 # namespace, accounts culvert and culvert-issuer, rights
    with site.issuer("--certificate-lifetime", "10m") as issuer:
        pod = site.add_daemon("n1")               # a daemon's pod on node n1
        request = site.ask(pod, site.name("n1"))  # the name of a CertificateSigningRequest made with that pod's token
        certificate = site.answer(request)        # PEM; or Denied with reason and message
"""

import base64
import itertools
import os
import pathlib
import re
import signal
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from plane import Api, ApiError, Failure, ending_with_us, wait_for

BIN = pathlib.Path(os.environ.get("CULVERT_BIN_DIR", pathlib.Path(__file__).resolve().parents[2] / "build" / "release"))
USAGES = ["digital signature", "client auth", "server auth"]
CERTIFICATES = ("certificates.k8s.io/v1", "certificatesigningrequests")
RBAC = "rbac.authorization.k8s.io/v1"
SECRET, BUNDLE = "culvert-issuer", "culvert-ca"
ANSWER_S = 60

_numbers = itertools.count()


def rules(*rows):
    """(group, resources, verbs, names) of each rule."""
    return [{"apiGroups": [group], "resources": list(resources), "verbs": list(verbs), **({"resourceNames": list(names)} if names else {})}
            for group, resources, verbs, names in rows]


def cluster_rights(signer):
    """docs/identity.md, "The rights that it needs", as far as they are the cluster's."""
    return {"culvert-issuer": rules(
        ("certificates.k8s.io", ["certificatesigningrequests"], ["get", "list", "watch"], []),
        ("certificates.k8s.io", ["certificatesigningrequests/approval", "certificatesigningrequests/status"], ["patch"], []),
        ("certificates.k8s.io", ["signers"], ["approve", "sign"], [signer]),
    ), "culvert": rules(("certificates.k8s.io", ["certificatesigningrequests"], ["create", "get"], []))}


OWN_RIGHTS = {
    "culvert-issuer": rules(
        ("", ["secrets"], ["create"], []),
        ("", ["secrets"], ["get", "patch"], [SECRET]),
        ("", ["configmaps"], ["create"], []),
        ("", ["configmaps"], ["get", "patch"], [BUNDLE]),
        ("", ["pods"], ["get"], []),
        ("", ["serviceaccounts"], ["get"], ["culvert-issuer"]),
    ),
    "culvert": rules(("", ["configmaps"], ["get"], [BUNDLE])),
}


class Denied(Failure):
    """A request that was denied, or failed."""

    def __init__(self, condition):
        super().__init__(f"{condition['type']} {condition['reason']}: {condition.get('message')}")
        self.reason, self.message = condition["reason"], condition.get("message", "")


class Issuer:
    """A running culvert-issuer; kill() is a crash."""

    def __init__(self, site, arguments):
        self.site = site
        self.folder = site.plane.folder / f"issuer-{next(_numbers)}"
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.arguments = ["--namespace", site.namespace, "--signer", site.signer, "--peer-name", site.template, "--state-directory", str(self.folder), *arguments]
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = self.site.plane.ns.popen(*ending_with_us(BIN / "culvert-issuer", "--kubeconfig", self.site.issuer_config, *self.arguments),
                                                    stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def text(self):
        return self.log.read_text(errors="replace")

    def state(self):
        """What --state prints, and whether it says that all is well."""
        done = subprocess.run([BIN / "culvert-issuer", "--state", "--state-directory", self.folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        return done.stdout, done.returncode == 0

    def wait_for_log(self, pattern, count=1):
        wait_for(lambda: len(re.findall(pattern, self.text())) >= count, lambda: f"{pattern} in the issuer's log:\n{self.text()[-3000:]}", ANSWER_S)

    def wait_until_well(self):
        wait_for(lambda: self.state()[1], lambda: f"a good state:\n{self.state()[0]}\n{self.text()[-3000:]}", ANSWER_S)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Site:
    """A namespace with what the chart would put there."""

    def __init__(self, plane, namespace):
        self.plane, self.namespace = plane, namespace
        self.signer = f"culvert.dev/{namespace}"  # its own, so that sites of other tests are left alone
        self.template = f"URI:spiffe://cluster.local/ns/{namespace}/node/{{node}}"
        if not plane.api.find("v1", "namespaces", namespace):
            plane.create_namespace(namespace)
        for account in ("culvert", "culvert-issuer"):
            plane.create_account(namespace, account)
            self.grant(account)
        self.issuer_config = plane.kubeconfig(f"issuer-{namespace}", token=plane.token(namespace, "culvert-issuer"))

    def grant(self, account):
        name, subject = f"{self.namespace}-{account}", [{"kind": "ServiceAccount", "name": account, "namespace": self.namespace}]
        api = self.plane.api
        api.create(RBAC, "clusterroles", {"metadata": {"name": name}, "rules": cluster_rights(self.signer)[account]})
        api.create(RBAC, "clusterrolebindings", {"metadata": {"name": name}, "subjects": subject,
                                                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}})
        api.create(RBAC, "roles", {"metadata": {"name": account}, "rules": OWN_RIGHTS[account]}, self.namespace)
        api.create(RBAC, "rolebindings", {"metadata": {"name": account}, "subjects": subject,
                                          "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}}, self.namespace)

    def issuer(self, *arguments):
        return Issuer(self, arguments)

    def name(self, node):
        return self.template.replace("{node}", node)

    def add_daemon(self, node, account="culvert", **options):
        """A daemon's pod on a node, which needs no Node object here."""
        return self.plane.add_pod(f"culvert-{next(_numbers)}", node=node, namespace=self.namespace, account=account, host_network=True,
                                  labels={"app.kubernetes.io/name": "culvert", "app.kubernetes.io/component": "daemon"}, **options)

    def token_of(self, pod, account="culvert"):
        return self.plane.token(self.namespace, account, pod=(pod["metadata"]["name"], pod["metadata"]["uid"]))

    @staticmethod
    def make_request(name, extensions=()):
        """A PKCS#10 request in PEM, and its key."""
        kind, _, text = name.partition(":")
        key = ec.generate_private_key(ec.SECP256R1())
        san = x509.UniformResourceIdentifier(text) if kind == "URI" else x509.DNSName(text)
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(x509.SubjectAlternativeName([san]), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key

    def ask(self, pod, name, usages=USAGES, signer=None, token=None, request=None, **spec):
        """Sends a request with the pod's token; its name."""
        if request is None:
            request = self.make_request(name)[0]
        body = {"metadata": {"name": f"culvert-test-{next(_numbers)}"},
                "spec": {"request": base64.b64encode(request).decode(), "signerName": signer or self.signer, "usages": list(usages), **spec}}
        return Api(self.plane, token=token or self.token_of(pod)).create(*CERTIFICATES, body)["metadata"]["name"]

    def find(self, request):
        return self.plane.api.get(*CERTIFICATES, request)

    def answer(self, request):
        """The certificate, once it is there."""
        def answered():
            status = self.find(request).get("status", {})
            for condition in status.get("conditions", []):
                if condition["type"] in ("Denied", "Failed"):
                    raise Denied(condition)
            return status.get("certificate")

        return base64.b64decode(wait_for(answered, f"the certificate of {request}", ANSWER_S))

    def bundle(self):
        """The trusted authorities, each as PEM text; None where there is no ConfigMap."""
        found = self.plane.api.find("v1", "configmaps", BUNDLE, self.namespace)
        return None if found is None else re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", found["data"]["ca.crt"], re.S)

    def secret(self):
        found = self.plane.api.find("v1", "secrets", SECRET, self.namespace)
        return None if found is None else {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


__all__ = ["ANSWER_S", "ApiError", "BIN", "BUNDLE", "CERTIFICATES", "Denied", "Issuer", "SECRET", "Site", "USAGES"]
