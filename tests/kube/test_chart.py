# SPDX-License-Identifier: GPL-3.0-or-later
"""What the chart promises, read from what Helm makes of it: rights, rendering, refusals, and each of its options."""

import json
import re

import pytest
import yaml

from chart import CHART, NAMESPACE, helm, render, template
from plane import ControlPlane

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
SOURCES = {
    "issuer": {},
    "certManager": {"identity.certManager.issuerName": "culvert"},
    "podCertificate": {"identity.podCertificate.signerName": "example.com/node", "identity.peerName": "DNS:{node}"},
    "secret": {"identity.secret.name": "culvert-identity"},
    "hostPath": {"identity.hostPath.path": "/var/lib/spiffe/culvert"},
}


@pytest.fixture(scope="module")
def plain():
    return render()


def with_source(source, *options):
    return render(*options, **{key.replace(".", "__"): value for key, value in {"identity.source": source, **SOURCES[source]}.items()})


def pods(objects):
    return [body["spec"]["template"]["spec"] for body in objects.all if body["kind"] in ("DaemonSet", "Deployment")]


# --- rendering


def test_it_renders_the_same_bytes_twice():
    assert template().stdout == template().stdout


def test_lint_finds_nothing():
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART).stdout


@pytest.mark.parametrize("source", SOURCES)
def test_lint_finds_nothing_with_any_source_of_identity(source):
    words = [f"--set-json={key}={json.dumps(value)}" for key, value in {"identity.source": source, **SOURCES[source]}.items()]
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, *words).stdout


def test_no_function_makes_keys_or_chance():
    text = "".join(path.read_text() for path in (CHART / "templates").iterdir())
    assert not re.search(r"genCA|genSelfSigned|genSigned|genPrivateKey|rand[A-Z]|uuidv4|\bnow\b|\blookup\b|derivePassword|htpasswd|bcrypt", text)


# --- what a daemon's pod may do


def test_the_daemon_has_three_capabilities_and_is_not_privileged(plain):
    (container,) = plain.daemon["containers"]
    rights = container["securityContext"]
    assert rights["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN", "NET_RAW"]}
    assert rights["privileged"] is False and rights["allowPrivilegeEscalation"] is False and rights["readOnlyRootFilesystem"] is True
    assert plain.daemon["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_each_capability_has_its_reason_beside_it():
    lines = (CHART / "templates" / "daemonset.yaml").read_text().splitlines()
    for name in ("NET_ADMIN", "SYS_ADMIN", "NET_RAW"):
        at = next(i for i, line in enumerate(lines) if line.strip() == f"- {name}")
        assert lines[at - 1].strip().startswith("#")


def test_the_daemon_is_on_the_nodes_network_and_in_no_other_namespace_of_it(plain):
    assert plain.daemon["hostNetwork"] is True
    assert not plain.daemon.get("hostPID") and not plain.daemon.get("hostIPC") and not plain.daemon.get("shareProcessNamespace")
    assert not any("ports" in container for container in plain.daemon["containers"])


def test_what_it_sees_of_the_node_is_three_folders(plain):
    assert {volume["hostPath"]["path"] for volume in plain.daemon["volumes"] if "hostPath" in volume} == {"/run/culvert", "/sys/fs/bpf", "/proc/sys/net"}
    (container,) = plain.daemon["containers"]
    assert all("mountPropagation" not in mount for mount in container["volumeMounts"])
    # AppArmor's default profile refuses writing at the kernel's own places.
    assert not any(mount["mountPath"].startswith(("/sys", "/proc")) for mount in container["volumeMounts"])


def test_the_daemon_goes_to_every_linux_node_that_can_run_it(plain):
    assert plain.daemon["tolerations"] == [{"operator": "Exists"}]
    assert plain.daemon["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert plain.daemon["priorityClassName"] == "system-node-critical"
    (term,) = plain.daemon["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}]


def test_affinity_that_is_given_is_joined_with_the_architectures():
    wanted = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in ("a", "b")]}}}
    objects = render(daemon__affinity=wanted, image__architectures=["amd64", "arm64"], daemon__nodeSelector={"pool": "web"})
    terms = objects.daemon["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [[expression["key"] for expression in term["matchExpressions"]] for term in terms] == [["zone", "kubernetes.io/arch"]] * 2
    assert objects.daemon["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "web"}


def test_probes_ask_the_daemon_at_its_own_address(plain):
    (container,) = plain.daemon["containers"]
    assert container["readinessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 9117, "path": "/readyz"}
    assert container["livenessProbe"]["httpGet"] == {"host": "127.0.0.1", "port": 9117, "path": "/livez"}
    (container,) = render(metrics__address="::").daemon["containers"]
    assert container["readinessProbe"]["httpGet"]["host"] == "::1"


def test_every_pod_has_bounds_and_its_own_token(plain):
    assert len(pods(plain)) == 2
    for spec in pods(plain):
        assert spec["automountServiceAccountToken"] is False
        assert all(container["resources"]["requests"] and container["resources"]["limits"] for container in spec["containers"])
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "api-access"]
        token = volume["projected"]["sources"][0]["serviceAccountToken"]
        assert token["path"] == "token" and 600 <= token["expirationSeconds"] <= 7200
    assert all(body["automountServiceAccountToken"] is False for body in plain.all if body["kind"] == "ServiceAccount")


def test_the_memory_of_connections_fits_into_the_limit():
    unit = {"Mi": 1, "Gi": 1024}
    limit, budget = VALUES["daemon"]["resources"]["limits"]["memory"], VALUES["tunnel"]["memory"].removesuffix("B")
    assert int(budget[:-2]) * unit[budget[-2:]] * 2 <= int(limit[:-2]) * unit[limit[-2:]]


def test_a_rolling_update_takes_as_many_nodes_as_it_is_told():
    assert render().find("DaemonSet")["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
    assert render(daemon__maxUnavailable="10%").find("DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "10%"


@pytest.mark.parametrize("drain, seconds", [("30s", 45), ("500ms", 16), ("2m", 135), ("1h", 3615), ("0s", 15)])
def test_a_pod_that_ends_gets_the_drain_time_and_more(drain, seconds):
    assert render(tunnel__drainTimeout=drain).daemon["terminationGracePeriodSeconds"] == seconds


def test_the_issuer_is_a_plain_process(plain):
    spec = plain.find("Deployment", "culvert-issuer")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert not spec.get("hostNetwork") and spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    rights = container["securityContext"]
    assert rights["capabilities"] == {"drop": ["ALL"]} and rights["readOnlyRootFilesystem"] is True and rights["allowPrivilegeEscalation"] is False
    assert not any("secret" in volume or "hostPath" in volume for volume in spec["volumes"])  # nothing mounts the authority


def test_in_lockdown_the_issuer_reaches_the_api_server():
    """As a pod it would be refused the way to another node's address: no certificate, so no tunnel, for ever."""
    spec = render(capture__mode="lockdown", api__host="10.0.0.1").find("Deployment", "culvert-issuer")["spec"]["template"]["spec"]
    assert spec["hostNetwork"] is True and not any("ports" in container for container in spec["containers"])
    assert {"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"} in spec["containers"][0]["env"]


def test_app_armor_is_asked_for_only_where_it_is_known():
    def profile(version):
        return render("--kube-version", version).daemon["containers"][0]["securityContext"].get("appArmorProfile")

    assert profile("1.29.0") is None and profile("1.30.0") == {"type": "RuntimeDefault"}


# --- rights at the API server


def test_daemons_may_read_who_is_where_and_enrol_themselves(plain):
    assert plain.rules("ClusterRole", "culvert") == {
        ("", "nodes", ()): {"get", "list", "watch"}, ("", "pods", ()): {"list", "watch"}, ("", "namespaces", ()): {"list", "watch"},
        ("", "endpoints", ("kubernetes",)): {"list", "watch"}, ("certificates.k8s.io", "certificatesigningrequests", ()): {"create", "get"}}
    assert plain.rules("Role", "culvert", "culvert-nodes") == {("coordination.k8s.io", "leases", ()): {"get", "list", "watch", "create"}}
    assert plain.rules("Role", "culvert", NAMESPACE) == {
        ("apps", "daemonsets", ("culvert",)): {"get"}, ("", "configmaps", ("culvert-ca",)): {"get"}}


def test_the_issuer_may_sign_for_its_own_signer_and_touch_its_own_objects(plain):
    assert plain.rules("ClusterRole", "culvert-issuer") == {
        ("certificates.k8s.io", "certificatesigningrequests", ()): {"get", "list", "watch"},
        ("certificates.k8s.io", "certificatesigningrequests/approval", ()): {"patch"},
        ("certificates.k8s.io", "certificatesigningrequests/status", ()): {"patch"},
        ("certificates.k8s.io", "signers", ("culvert.dev/node",)): {"approve", "sign"}}
    assert plain.rules("Role", "culvert-issuer", NAMESPACE) == {
        ("", "pods", ()): {"get"}, ("", "secrets", ()): {"create"}, ("", "secrets", ("culvert-issuer",)): {"get", "patch"},
        ("", "configmaps", ()): {"create"}, ("", "configmaps", ("culvert-ca",)): {"get", "patch"},
        ("", "serviceaccounts", ("culvert-issuer",)): {"get"}}


@pytest.mark.parametrize("source", SOURCES)
def test_no_right_is_wider_than_it_says(source):
    for body in with_source(source).all:
        for rule in body.get("rules", ()) if body["kind"] in ("Role", "ClusterRole") else ():
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "issuer"])
def test_without_the_issuer_nobody_may_ask_or_sign(source):
    objects = with_source(source)
    assert not objects.has("Deployment")
    assert not any("certificates.k8s.io" in rule["apiGroups"] for body in objects.all if body["kind"] in ("Role", "ClusterRole") for rule in body["rules"])


def test_each_rule_has_its_reason_beside_it():
    for name in ("rbac.yaml", "issuer.yaml"):
        lines = [line for line in (CHART / "templates" / name).read_text().splitlines() if not line.strip().startswith("{{")]
        for at, line in enumerate(lines):
            if line.startswith("  - apiGroups:"):
                before = lines[at - 1].strip()
                assert before.startswith("#") or before.startswith("verbs:"), f"{name}: {line}"
        assert any(line.strip().startswith("#") for line in lines)


def test_records_have_a_namespace_of_their_own():
    objects = render(cluster__recordsNamespace="records")
    assert objects.find("Namespace")["metadata"]["name"] == "records"
    assert objects.config["nodes"]["kubernetes"]["records_namespace"] == "records"
    assert ("coordination.k8s.io", "leases", ()) in objects.rules("Role", "culvert", "records")


def test_the_policy_on_records_is_there_where_the_server_has_it():
    assert not render("--kube-version", "1.29.0").has("ValidatingAdmissionPolicy")
    assert not render("--kube-version", "1.30.0", admissionPolicy__enabled=False).has("ValidatingAdmissionPolicy")
    objects = render("--kube-version", "1.30.0")
    policy = objects.find("ValidatingAdmissionPolicy")["spec"]
    assert policy["failurePolicy"] == "Fail"
    assert policy["matchConditions"][0]["expression"] == 'request.userInfo.username == "system:serviceaccount:culvert:culvert"'
    assert '[object.metadata.name]' in policy["validations"][0]["expression"]
    assert objects.find("ValidatingAdmissionPolicyBinding")["spec"] == {"policyName": "culvert-records", "validationActions": ["Deny"]}


def test_daemons_have_a_level_of_their_own_at_the_api_server():
    objects = render()
    schema = objects.find("FlowSchema")
    assert schema["spec"]["rules"][0]["subjects"] == [{"kind": "ServiceAccount", "serviceAccount": {"name": "culvert", "namespace": NAMESPACE}}]
    assert objects.find("PriorityLevelConfiguration")["apiVersion"] == schema["apiVersion"] == "flowcontrol.apiserver.k8s.io/v1"
    assert not render(flowSchema__enabled=False).has("FlowSchema")


# --- where certificates come from


def test_the_issuer_signs_what_daemons_ask_for(plain):
    assert plain.config["identity"] == {"directory": "/run/culvert/identity", "signer": "culvert.dev/node",
                                        "peer_name": "URI:spiffe://cluster.local/ns/culvert/node/{node}"}
    (container,) = plain.find("Deployment", "culvert-issuer")["spec"]["template"]["spec"]["containers"]
    assert "--peer-name=URI:spiffe://cluster.local/ns/culvert/node/{node}" in container["args"]


def test_cert_managers_volume_asks_for_a_name_of_the_pod_and_both_usages():
    objects = with_source("certManager")
    attributes = objects.volume("identity")["csi"]["volumeAttributes"]
    assert objects.volume("identity")["csi"]["driver"] == "csi.cert-manager.io"
    assert attributes["csi.cert-manager.io/uri-sans"] == "spiffe://cluster.local/ns/${POD_NAMESPACE}/pod/${POD_UID}"
    assert attributes["csi.cert-manager.io/key-usages"] == "digital signature,server auth,client auth"
    assert objects.config["identity"]["peer_name"] == "URI:spiffe://cluster.local/ns/culvert/pod/{pod_uid}"


def test_a_pod_certificate_and_its_bundle_are_one_volume():
    sources = with_source("podCertificate").volume("identity")["projected"]["sources"]
    assert sources[0]["podCertificate"]["signerName"] == "example.com/node" and sources[0]["podCertificate"]["credentialBundlePath"] == "tls.pem"
    assert sources[1]["clusterTrustBundle"] == {"signerName": "example.com/node", "labelSelector": {}, "path": "ca.crt"}


def test_one_secret_for_all_is_said_to_be_shared():
    objects = with_source("secret")
    assert objects.config["identity"] == {"directory": "/etc/culvert/identity", "peer_name": "shared"}
    assert objects.volume("identity")["secret"]["secretName"] == "culvert-identity"


def test_a_nodes_own_folder_is_mounted_for_reading():
    objects = with_source("hostPath")
    assert objects.volume("identity")["hostPath"] == {"path": "/var/lib/spiffe/culvert", "type": "Directory"}
    (mount,) = [mount for mount in objects.daemon["containers"][0]["volumeMounts"] if mount["name"] == "identity"]
    assert mount["readOnly"] is True


# --- options


def test_settings_reach_the_daemon():
    config = render(capture__mode="lockdown", capture__devices=["eth0", "bond0"], capture__exclude=["10.1.0.0/16", "tcp/9100"], capture__olderFlows="reset",
                    tunnel__port=7118, log__level="debug", metrics__address="0.0.0.0").config
    assert config["capture"] == {"devices": ["eth0", "bond0"], "mode": "lockdown", "connect": "faithful", "older_flows": "reset", "cluster_pods": [],
                                 "exclude": ["10.1.0.0/16", "tcp/9100"]}
    assert config["tunnel"]["port"] == 7118 and config["log"]["level"] == "debug" and config["metrics"]["listen"] == "0.0.0.0:9117"


def test_other_settings_are_other_pods():
    def mark(**values):
        return render(**values).find("DaemonSet")["spec"]["template"]["metadata"]["annotations"]["culvert.dev/config"]

    assert mark() == mark() != mark(log__level="debug")


def test_image_by_tag_by_digest_and_with_pull_secrets():
    digest = "sha256:" + "0" * 64
    (container,) = render().daemon["containers"]
    assert container["image"] == "localhost/culvert:0.1.0"
    objects = render(image__repository="registry.example.com/culvert", image__digest=digest, image__pullSecrets=["pull"])
    assert objects.daemon["containers"][0]["image"] == f"registry.example.com/culvert@{digest}"
    assert all(spec["imagePullSecrets"] == [{"name": "pull"}] for spec in pods(objects))


def test_metrics_have_a_service_and_a_pod_monitor():
    objects = render(metrics__address="0.0.0.0", metrics__service={"enabled": True}, metrics__podMonitor={"enabled": True, "labels": {"release": "prometheus"}})
    service = objects.find("Service")["spec"]
    assert service["clusterIP"] == "None" and service["ports"][0]["port"] == 9117 and service["publishNotReadyAddresses"] is True
    monitor = objects.find("PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["replacement"] == "${1}:9117"
    assert not render().has("Service") and not render().has("PodMonitor")


def test_more_arguments_environment_and_capabilities():
    objects = render(daemon__extraArgs=["--check"], daemon__extraEnv=[{"name": "CULVERT_CLSACT", "value": "1"}], daemon__extraCapabilities=["SYS_RESOURCE"],
                     api__host="10.0.0.1")
    (container,) = objects.daemon["containers"]
    assert container["args"][-1] == "--check" and {"name": "CULVERT_CLSACT", "value": "1"} in container["env"]
    assert {"name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1"} in container["env"]
    assert container["securityContext"]["capabilities"]["add"][-1] == "SYS_RESOURCE"


@pytest.fixture(scope="module")
def plane():
    """A control plane without the namespace of the records, which other tests make by hand: Helm takes only what is its own."""
    with ControlPlane() as plane:
        yield plane


def test_notes_say_how_to_see_that_it_works(plane):
    def notes_of(*options):
        return helm("install", "culvert", CHART, "--namespace", NAMESPACE, "--dry-run=client", f"--kubeconfig={plane.kubeconfig()}", *options, ns=plane.ns
                    ).stdout.partition("NOTES:")[2]

    notes = notes_of()
    for words in ("rollout status daemonset/culvert", "culvertctl status", "pod-security.kubernetes.io/enforce=privileged", "7117"):
        assert words in notes
    assert "All nodes share one name" in notes_of("--set", "identity.source=secret,identity.secret.name=x")


# --- values and refusals


def leaves(tree, path=()):
    for key, value in tree.items():
        if isinstance(value, dict) and value and path + (key,) not in {("daemon", "resources"), ("identity", "issuer", "resources")}:
            yield from leaves(value, path + (key,))
        else:
            yield path + (key,)


def test_each_value_has_a_comment_before_it():
    lines = (CHART / "values.yaml").read_text().splitlines()
    for path in leaves(VALUES):
        indent = "  " * (len(path) - 1)
        at = [i for i, line in enumerate(lines) if line.startswith(f"{indent}{path[-1]}:")]
        assert at and all(lines[i - 1].startswith(f"{indent}#") for i in at), ".".join(path)


def test_the_schema_knows_each_value_and_closes_each_object():
    for path in leaves(VALUES):
        node = SCHEMA
        for key in path:
            assert node["additionalProperties"] is False
            node = node["properties"][key]


@pytest.mark.parametrize("key, value", [
    ("captrue", {}), ("capture.mod", "strict"), ("capture.mode", "strickt"), ("capture.connect", "yes"), ("capture.devices", "eth0"), ("capture.devices", []),
    ("capture.exclude", ["10.1.0.0"]), ("capture.exclude", ["udp/53"]), ("capture.exclude", ["10.1.0.0/33"]), ("capture.clusterPods", ["tcp/80"]),
    ("capture.olderFlows", "drop"), ("tunnel.port", 0), ("tunnel.port", 65536), ("tunnel.port", "7117"), ("tunnel.workers", 9), ("tunnel.tunnelsPerPeer", 5), ("tunnel.memory", "256Mi"),
    ("tunnel.peerTimeout", "0s"), ("tunnel.peerTimeout", 120), ("tunnel.drainTimeout", "soon"), ("identity.source", "vault"), ("identity.peerName", "node"),
    ("identity.peerName", "URI:spiffe://x/all"), ("identity.trustDomain", "Cluster Local"), ("identity.issuer.replicas", 0), ("identity.issuer.replicas", 2),
    ("identity.issuer.certificateLifetime", "1d"), ("identity.podCertificate.maxExpirationSeconds", 60), ("identity.podCertificate.keyType", "RSA1024"),
    ("identity.hostPath.path", "etc/x"), ("cluster.recordsNamespace", "Culvert_Nodes"), ("cluster.podRanges", "all"), ("cluster.allowPodOptOut", "true"),
    ("metrics.address", "localhost"), ("metrics.port", -1), ("metrics.service.enabled", "yes"), ("log.level", "verbose"), ("image.repository", ""),
    ("image.tag", "a b"), ("image.digest", "sha256:12"), ("image.pullPolicy", "Sometimes"), ("image.architectures", []), ("image.architectures", ["s390x"]),
    ("daemon.maxUnavailable", 0), ("daemon.maxUnavailable", "110%"), ("daemon.extraCapabilities", ["CAP-X"]), ("daemon.appArmorProfile", "Complain"),
    ("daemon.nodeSelector", {"a": 1}), ("flowSchema.enable", True), ("api.port", 0),
])
def test_a_wrong_value_is_refused_by_its_name(key, value):
    done = template(values={key: value}, check=False)
    assert done.returncode != 0
    assert key.rpartition(".")[2] in done.stderr


@pytest.mark.parametrize("values, sentence", [
    ({"identity.source": "certManager"}, "identity.certManager.issuerName names no issuer"),
    ({"identity.source": "podCertificate"}, "identity.podCertificate.signerName names no signer"),
    ({"identity.source": "podCertificate", "identity.podCertificate.signerName": "a.example/b"}, "identity.peerName must say it"),
    ({"identity.source": "secret"}, "identity.secret.name names none"),
    ({"identity.source": "hostPath"}, "identity.hostPath.path names no folder"),
    ({"identity.peerName": "DNS:{node}"}, "identity.peerName must be left out"),
    ({"cluster.recordsNamespace": "culvert"}, "cluster.recordsNamespace is the release's namespace"),
    ({"metrics.podMonitor.enabled": True}, "can be reached from the node alone"),
])
def test_values_that_do_not_fit_together_are_refused_with_a_sentence(values, sentence):
    done = template(values=values, check=False)
    assert done.returncode != 0 and sentence in done.stderr
