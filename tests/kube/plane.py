# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane alone: etcd and a real kube-apiserver in a network namespace of their own, with certificates, service accounts' keys and kubeconfigs.
About 5 s; enough for everything that lists, watches, writes records or asks for certificates. cluster.py adds nodes.

    with ControlPlane() as plane:
        plane.kubeconfig()                        # path of a kubeconfig; the user is admin, or any name and groups
        plane.ns.popen("culvertd", ...)           # what talks to the server runs in its namespace: https://127.0.0.1:6443
        plane.api.create("v1", "nodes", {...})    # objects as dictionaries; get, list, create, replace, patch, delete
        plane.add_node("n1"); plane.add_pod("web", node="n1", ip="10.9.1.7")
        plane.token("culvert", "culvert-node")    # a token of a service account, by TokenRequest
        plane.restart_api(); plane.stop_api(); plane.start_api()
        plane.compact()                           # etcd forgets the past, with a restart: a watch from an older version is 410 Gone
        plane.rotate_account_keys()               # every token given so far is worth nothing
        plane.kubectl("get", "nodes")

The programs come from build.sh, which makes them once per machine. Everything is named after the test's process id; processes end with the test, also
when it is killed, and what it then left behind goes at the next start.
"""

import atexit
import base64
import datetime
import http.client
import ipaddress
import itertools
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "netns"))
from lib import RUN_NETNS, Failure, Namespace, run, wait_for  # noqa: E402

PREFIX = "cvk"  # of every name on this machine: cvk<pid>-...
MEMORY = pathlib.Path("/dev/shm")  # etcd writes through to its disk at every change
SERVER_PORT = 6443
SERVICE_RANGE, SERVICE_RANGE_V6 = "10.96.0.0/16", "fd96::/112"
SERVICE_ADDRESS = "10.96.0.1"
PLANE_ADDRESS, PLANE_ADDRESS_V6 = "10.250.0.1", "fd50::1"  # where the nodes reach the server
POD_RANGE, POD_RANGE_V6 = "10.244.0.0/16", "fd44::/48"
START_S = 180  # a busy machine needs its time
POLL_S = 0.2  # a question to the API server costs it a handshake

_numbers = itertools.count()


def programs(*pieces):
    """The folders of pieces of build.sh, built now where they are missing."""
    done = subprocess.run([HERE / "build.sh", *pieces], stdout=subprocess.PIPE, text=True, check=True)
    return [pathlib.Path(line) for line in done.stdout.split()]


def _is_alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def _owner(name):
    """The process id in a name of ours, or None."""
    digits = name.removeprefix(PREFIX).partition("-")[0]
    return int(digits) if name.startswith(PREFIX) and digits.isdigit() else None


def sweep():
    """Takes out what runs left behind whose process is gone. Their processes ended with them."""
    def is_left(name):
        owner = _owner(name)
        return owner is not None and not _is_alive(owner)

    for name in os.listdir(RUN_NETNS) if RUN_NETNS.exists() else ():
        if is_left(name):
            run("ip", "netns", "del", name, check=False)
    for hierarchy in cgroup_hierarchies():
        for group in hierarchy.iterdir():
            if group.is_dir() and is_left(group.name):
                remove_cgroup(group)
    for base in (MEMORY, pathlib.Path("/tmp")):
        for folder in base.iterdir():
            if is_left(folder.name):
                shutil.rmtree(folder, ignore_errors=True)


def cgroup_hierarchies():
    """The folders of the machine's cgroup hierarchies of version 1, each once."""
    base = pathlib.Path("/sys/fs/cgroup")
    return [folder for folder in base.iterdir() if os.path.ismount(folder)] if base.exists() else []


def remove_cgroup(group):
    """A group and those in it; gone when the processes are, which the kernel may tell a moment later."""
    def is_gone():
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                pass
        return not group.exists()

    wait_for(is_gone, f"the end of {group}")


def ending_with_us(*command):
    """The command so that its process is killed when the test's process is gone."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *[str(word) for word in command]]


class Authority:
    """A certificate authority and what it issued, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = self._common_name("test authority")
        self.certificate = (self._builder(self._name, self._key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                            .sign(self._key, hashes.SHA256()))
        self._write("ca", self._key, self.certificate)

    @staticmethod
    def _common_name(text, groups=()):
        return x509.Name([*[x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups], x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def _builder(self, subject, key):
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key).serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=365)))

    def _write(self, name, key, certificate):
        self.crt(name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(self.key(name), key)

    def crt(self, name="ca"):
        return self.folder / f"{name}.crt"

    def key(self, name="ca"):
        return self.folder / f"{name}.key"

    def issue(self, name, user, groups=(), hosts=()):
        """name.crt and name.key: a client's, or a server's where hosts are given."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(self._common_name(user, groups), key.public_key()).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if hosts:
            names = [x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self._write(name, key, builder.sign(self._key, hashes.SHA256()))
        return self


def write_key(path, key):
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))
    path.chmod(0o600)


class ApiError(Failure):
    """An answer of the API server that is no success."""

    def __init__(self, code, status):
        super().__init__(f"{code}: {status}")
        self.code, self.status = code, status


class Api:
    """The API server's objects as dictionaries, over connections made inside its namespace."""

    def __init__(self, plane, user="admin", token=None):
        self._plane, self._token = plane, token
        self._tls = ssl.create_default_context(cafile=plane.authority.crt())
        if token is None:
            self._tls.load_cert_chain(plane.authority.crt(user), plane.authority.key(user))

    def request(self, method, path, body=None, content_type="application/json", timeout=60):
        """The answer's code and bytes."""
        with self._plane.ns.connect("127.0.0.1", SERVER_PORT, timeout=timeout) as raw, self._tls.wrap_socket(raw, server_hostname="localhost") as wrapped:
            connection = http.client.HTTPConnection("localhost", SERVER_PORT)
            connection.sock = wrapped
            headers = {"Content-Type": content_type, "Accept": "application/json"}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            connection.request(method, path, body=None if body is None else json.dumps(body), headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def call(self, method, path, body=None, **options):
        code, answer = self.request(method, path, body, **options)
        if code >= 300:
            raise ApiError(code, answer.decode(errors="replace"))
        return json.loads(answer) if answer else None

    @staticmethod
    def path(version, plural, namespace=None, name=None, part=None):
        words = ["api" if version == "v1" else "apis", version, *(["namespaces", namespace] if namespace else []), plural, *(word for word in (name, part) if word)]
        return "/" + "/".join(words)

    def get(self, version, plural, name, namespace=None):
        return self.call("GET", self.path(version, plural, namespace, name))

    def find(self, version, plural, name, namespace=None):
        """The object, or None where there is none."""
        try:
            return self.get(version, plural, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return None

    def list(self, version, plural, namespace=None, **query):
        return self.call("GET", self.path(version, plural, namespace) + (f"?{urllib.parse.urlencode(query)}" if query else ""))["items"]

    def create(self, version, plural, body, namespace=None, part=None, name=None):
        return self.call("POST", self.path(version, plural, namespace, name, part), body)

    def replace(self, version, plural, body, namespace=None, part=None):
        return self.call("PUT", self.path(version, plural, namespace, body["metadata"]["name"], part), body)

    def patch(self, version, plural, name, body, namespace=None, part=None):
        """A merge patch: None takes a field out."""
        return self.call("PATCH", self.path(version, plural, namespace, name, part), body, content_type="application/merge-patch+json")

    def delete(self, version, plural, name, namespace=None, grace_s=None):
        return self.call("DELETE", self.path(version, plural, namespace, name) + ("" if grace_s is None else f"?gracePeriodSeconds={grace_s}"))


class ControlPlane:
    """etcd and kube-apiserver; with controllers=True also kube-controller-manager and kube-scheduler, which nodes and their pods need."""

    def __init__(self, controllers=False, server_options=(), dual_stack=False):
        """dual_stack: Services and, by the controllers, nodes' pods have addresses of both families."""
        self.bin, node = programs("kubernetes", "node")
        self.etcd_program = node / "bin" / "etcd"
        sweep()
        self.name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self.folder = MEMORY / self.name
        self.has_controllers = controllers
        self.server_options = list(server_options)
        self.is_dual_stack = dual_stack
        self.gates = {"IPv6DualStack": True} if dual_stack else {}  # Kubernetes' features that are off by themselves
        self.service_ranges = [SERVICE_RANGE, *([SERVICE_RANGE_V6] if dual_stack else [])]
        self.pod_ranges = [POD_RANGE, *([POD_RANGE_V6] if dual_stack else [])]
        self._processes = {}
        self._closed = False
        self.wire = self.ns = None  # where the bridge is, and where the servers run
        self.server_address = PLANE_ADDRESS
        atexit.register(self.close)
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self):
        self.folder.mkdir()
        self._make_network()
        self.authority = Authority(self.folder / "pki")
        self.authority.issue("server", "kube-apiserver", hosts=["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1",
                                                                SERVICE_ADDRESS, self.server_address])
        self.authority.issue("admin", "admin", ["system:masters"])
        self.authority.issue("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
        self._write_account_key()
        self.api = Api(self)
        self.start_all()
        if not self.has_controllers:
            wait_for(lambda: self.api.find("v1", "namespaces", "default"), "the namespace default", START_S)  # the server makes it a moment after it is ready
            self.create_account("default", "default")  # else no pod may be made without a word about its account

    def _make_network(self):
        self.wire = self.ns = Namespace(f"{self.name}-cp")
        # The address that the server tells of itself; nodes come to it over this bridge.
        self.wire.ip("link add br0 type bridge", f"addr add {PLANE_ADDRESS}/24 dev br0", "link set br0 up")
        self.wire.sysctl(**{"net.ipv4.ip_forward": 1})
        if self.is_dual_stack:
            self.wire.ip(f"addr add {PLANE_ADDRESS_V6}/64 dev br0 nodad")
            self.wire.sysctl(**{"net.ipv6.conf.all.forwarding": 1})

    # --- the processes

    def start_all(self):
        self.start_etcd()
        self.start_api()
        if self.has_controllers:
            self._start_controllers()

    def kill_all(self):
        """Every process at once; what etcd has written stays."""
        for name in reversed(list(self._processes)):
            self.stop(name, kill=True)

    def start(self, name, program, *arguments):
        """A process of the control plane by its name, its output in a log."""
        with open(self.log(name), "ab") as log:
            self._processes[name] = self.ns.popen(*ending_with_us(program, *arguments), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                                                  start_new_session=True)
        return self._processes[name]

    def stop(self, name, kill=False):
        process = self._processes.pop(name)
        process.kill() if kill else process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self, name):
        return self.folder / f"{name}.log"

    def start_etcd(self):
        self.start("etcd", self.etcd_program, "--data-dir", self.folder / "etcd", "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls",
                   "http://127.0.0.1:2379", "--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn", "--unsafe-no-fsync")

    def start_api(self):
        authority, keys = self.authority, self.folder / "account.key"
        self.start("kube-apiserver", self.bin / "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", f"--advertise-address={self.server_address}",
                   f"--secure-port={SERVER_PORT}", f"--tls-cert-file={authority.crt('server')}", f"--tls-private-key-file={authority.key('server')}",
                   f"--client-ca-file={authority.crt()}", "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={keys}",
                   f"--service-account-signing-key-file={keys}", f"--service-cluster-ip-range={','.join(self.service_ranges)}", "--authorization-mode=Node,RBAC",
                   "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true", f"--kubelet-client-certificate={authority.crt('kubelet-client')}",
                   f"--kubelet-client-key={authority.key('kubelet-client')}", "--kubelet-preferred-address-types=InternalIP", "--v=1", *self._gate_options(), *self.server_options)
        self.wait_for_api()

    def _gate_options(self):
        return [f"--feature-gates={name}={str(is_on).lower()}" for name, is_on in self.gates.items()]

    def wait_for_api(self):
        def is_ready():
            if self._processes["kube-apiserver"].poll() is not None:
                raise Failure(f"kube-apiserver has ended:\n{self.log('kube-apiserver').read_text(errors='replace')[-3000:]}")
            try:
                return self.api.request("GET", "/readyz", timeout=2)[0] == 200
            except OSError:
                return False

        wait_for(is_ready, lambda: f"the API server:\n{self.log('kube-apiserver').read_text(errors='replace')[-3000:]}", START_S, POLL_S)

    def stop_api(self, kill=False):
        self.stop("kube-apiserver", kill)

    def restart_api(self, kill=False):
        self.stop_api(kill)
        self.start_api()

    def _start_controllers(self):
        authority = self.authority
        for user in ("controller-manager", "scheduler"):
            authority.issue(user, f"system:kube-{user}")
        # Its own account for each controller: with one for all, nodes get no range of pods.
        self.start("kube-controller-manager", self.bin / "kube-controller-manager", f"--kubeconfig={self.kubeconfig('controller-manager')}",
                   "--use-service-account-credentials=true", f"--service-account-private-key-file={self.folder / 'account.key'}",
                   f"--root-ca-file={authority.crt()}", "--leader-elect=false", f"--cluster-signing-cert-file={authority.crt()}",
                   f"--cluster-signing-key-file={authority.key()}", "--allocate-node-cidrs=true", f"--cluster-cidr={','.join(self.pod_ranges)}", "--v=1",
                   *self._gate_options())
        self.start("kube-scheduler", self.bin / "kube-scheduler", f"--kubeconfig={self.kubeconfig('scheduler')}", "--leader-elect=false", "--v=1")
        wait_for(lambda: self.api.find("v1", "serviceaccounts", "default", "default"), "the account of the namespace default", START_S, POLL_S)

    def compact(self):
        """etcd forgets everything before now, and so does the server: what it keeps in memory begins anew with its restart."""
        def etcd(path, body):
            with self.ns.connect("127.0.0.1", 2379) as raw:
                connection = http.client.HTTPConnection("127.0.0.1", 2379)
                connection.sock = raw
                connection.request("POST", path, body=json.dumps(body))
                return json.loads(connection.getresponse().read())

        self.stop_api()
        revision = etcd("/v3/kv/range", {"key": base64.b64encode(b"none").decode()})["header"]["revision"]
        etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        self.start_api()

    # --- who asks

    def _write_account_key(self):
        write_key(self.folder / "account.key", rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def rotate_account_keys(self):
        """Other keys, with a restart: tokens made before are refused with 401."""
        self._write_account_key()
        self.restart_api()

    def kubeconfig(self, user="admin", groups=(), token=None, server=f"https://127.0.0.1:{SERVER_PORT}"):
        """The path of a kubeconfig that needs no other file. Without a token the user proves itself by certificate, issued now where it has none."""
        if token is None and not self.authority.crt(user).exists():
            self.authority.issue(user, user, groups)

        def data(path):
            return base64.b64encode(path.read_bytes()).decode()

        proof = {"token": token} if token else {"client-certificate-data": data(self.authority.crt(user)), "client-key-data": data(self.authority.key(user))}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "test",
                  "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": data(self.authority.crt())}}],
                  "users": [{"name": user, "user": proof}], "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}]}
        path = self.folder / f"{user.replace(':', '_')}-{urllib.parse.urlparse(server).hostname}.kubeconfig"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return path

    def api_of(self, user, groups=()):
        """The API as another user sees it."""
        self.kubeconfig(user, groups)
        return Api(self, user)

    def kubectl(self, *arguments, check=True, stdin=None, timeout=120, user="admin"):
        return run(self.bin / "kubectl", f"--kubeconfig={self.kubeconfig(user)}", f"--cache-dir={self.folder / 'kubectl'}", *arguments, ns=self.ns, check=check,
                   stdin=stdin, timeout=timeout)

    def token(self, namespace, account, seconds=3600, audiences=(), pod=None):
        """A service account's token; pod is (name, uid) of a pod that it is bound to."""
        spec = {"expirationSeconds": seconds, "audiences": list(audiences)}
        if pod:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": pod[0], "uid": pod[1]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.api.create("v1", "serviceaccounts", body, namespace, "token", account)["status"]["token"]

    # --- objects that a cluster's own parts would make

    def create_namespace(self, name, labels=()):
        self.api.create("v1", "namespaces", {"metadata": {"name": name, "labels": dict(labels)}})
        if not self.has_controllers:
            self.create_account(name, "default")

    def create_account(self, namespace, name):
        return self.api.create("v1", "serviceaccounts", {"metadata": {"name": name}, "automountServiceAccountToken": False}, namespace)

    def add_node(self, name, addresses=(), pod_ranges=(), labels=(), annotations=()):
        """A Node as a kubelet and the controllers leave it."""
        spec = {"podCIDR": pod_ranges[0], "podCIDRs": list(pod_ranges)} if pod_ranges else {}
        node = self.api.create("v1", "nodes", {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **dict(labels)},
                                                            "annotations": dict(annotations)}, "spec": spec})
        node["status"] = {"addresses": [{"type": "InternalIP", "address": address} for address in addresses] + [{"type": "Hostname", "address": name}],
                          "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "by hand"}]}
        return self.api.replace("v1", "nodes", node, part="status")

    def add_pod(self, name, node=None, ip=None, namespace="default", phase="Running", host_network=False, labels=(), annotations=(), account="default"):
        """A Pod as a kubelet leaves it; ip may be one address or several."""
        spec = {"containers": [{"name": "c", "image": "none"}], "serviceAccountName": account, "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 30}
        if node:
            spec["nodeName"] = node
        if host_network:
            spec["hostNetwork"] = True
        pod = self.api.create("v1", "pods", {"metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations)}, "spec": spec}, namespace)
        return self.set_pod(pod, ip, phase)

    def set_pod(self, pod, ip=None, phase="Running"):
        """A Pod's status, as its kubelet would write it."""
        addresses = [ip] if isinstance(ip, str) else list(ip or ())
        status = {"phase": phase, "podIPs": [{"ip": address} for address in addresses] or None, "podIP": addresses[0] if addresses else None,
                  "conditions": [{"type": "Ready", "status": "True" if phase == "Running" else "False"}]}
        return self.api.patch("v1", "pods", pod["metadata"]["name"], {"status": status}, pod["metadata"]["namespace"], "status")

    # --- the end

    def close(self):
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self.kill_all()
        if self.wire is not None:
            self.wire.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
