# SPDX-License-Identifier: GPL-3.0-or-later
"""A webhook that admits every pod, served over TLS by a pod of the tests' tools: while the API server does not reach it, nobody can make a pod.

    webhook = Webhook(cluster, "n2")     # its Secret, pod and Service, and the configuration with failurePolicy: Fail
    webhook.admitted()                   # the namespaces of the pods that it was asked about, one after the other
    with webhook.unreachable(): ...      # its Service leads nowhere
    webhook.remove()
"""

import base64
import contextlib

from images import TOOLS_IMAGE
from lib import wait_for
from plane import START_S, ApiError

NAME, NAMESPACE, PORT = "webhook", "default", 8443
CONFIGURATIONS = "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations"
LABELS = {"app": NAME}
# One request and its answer a connection.
SCRIPT = r"""#!/bin/sh
length=0
while IFS= read -r line; do
	line=${line%"$(printf '\r')"}
	case $line in
	[Cc]ontent-[Ll]ength:*) length=${line#*: } ;;
	'') break ;;
	esac
done
review=$(head -c "$length")
uid=$(echo "$review" | sed 's/.*"request":{"uid":"\([^"]*\)".*/\1/')
echo "$review" | sed 's/.*"resource":"pods"},[^{]*"namespace":"\([^"]*\)".*/admitted \1/' >&2
answer="{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{\"uid\":\"$uid\",\"allowed\":true}}"
printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' ${#answer} "$answer"
"""


class Webhook:
    def __init__(self, cluster, node):
        self._cluster = cluster
        authority = cluster.authority.issue(NAME, NAME, hosts=[f"{NAME}.{NAMESPACE}.svc"])
        files = {"server.pem": authority.crt(NAME).read_text() + authority.key(NAME).read_text(), "answer.sh": SCRIPT}
        pod = cluster.tools_pod(NAME, node, "socat", f"OPENSSL-LISTEN:{PORT},reuseaddr,fork,cert=/files/server.pem,verify=0", "EXEC:/files/answer.sh", labels=LABELS,
                                volumeMounts=[{"name": "files", "mountPath": "/files"}], readinessProbe={"tcpSocket": {"port": PORT}, "periodSeconds": 1})
        pod["spec"]["volumes"] = [{"name": "files", "secret": {"secretName": NAME, "defaultMode": 0o500}}]
        cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "stringData": files}, pod,
                      {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": {"selector": LABELS, "ports": [{"port": 443, "targetPort": PORT}]}})
        cluster.wait_for_pod(NAME)
        service = {"name": NAME, "namespace": NAMESPACE, "path": "/"}
        webhook = {"name": f"{NAME}.culvert.test", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
                   "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                   "clientConfig": {"service": service, "caBundle": base64.b64encode(authority.crt().read_bytes()).decode()}}
        cluster.api.create(*CONFIGURATIONS, {"metadata": {"name": NAME}, "webhooks": [webhook]})
        wait_for(lambda: self.may_create() and self.admitted(), "the webhook to be asked", START_S, 0.2)

    def may_create(self):
        """Could a pod be made now? Asked of the API server, which then makes none."""
        try:
            self._cluster.api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", {"metadata": {"name": "any"}, "spec": {
                "containers": [{"name": "c", "image": TOOLS_IMAGE}]}})
        except ApiError as error:
            assert "failed calling webhook" in str(error), error
            return False
        return True

    def admitted(self):
        log = self._cluster.kubectl("logs", NAME, check=False).stdout
        return [line.split()[1] for line in log.splitlines() if line.startswith("admitted ")]

    @contextlib.contextmanager
    def unreachable(self):
        """Pods can not be made meanwhile."""
        def lead(labels):
            self._cluster.api.patch("v1", "services", NAME, {"spec": {"selector": {"app": labels}}}, NAMESPACE)

        lead("nobody")
        wait_for(lambda: not self.may_create(), "the webhook to be out of reach", START_S, 0.2)
        try:
            yield
        finally:
            lead(NAME)
            wait_for(self.may_create, "the webhook to be back", START_S, 0.2)

    def remove(self):
        self._cluster.api.delete(*CONFIGURATIONS, NAME)
        self._cluster.kubectl("delete", "secret,service", NAME)
