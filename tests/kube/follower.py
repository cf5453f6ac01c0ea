# SPDX-License-Identifier: GPL-3.0-or-later
"""kube_follow beside a control plane: what the reflectors told their owner, kept as an owner keeps it."""

import os
import pathlib
import subprocess
import threading

from plane import ending_with_us, wait_for

PROGRAM = pathlib.Path(os.environ.get("CULVERT_BIN_DIR", pathlib.Path(__file__).resolve().parents[2] / "build" / "release")) / "kube_follow"
PLURALS = {"nodes": ("v1", "nodes"), "pods": ("v1", "pods"), "namespaces": ("v1", "namespaces"), "records": ("coordination.k8s.io/v1", "leases"),
           "endpoints": ("v1", "endpoints"), "requests": ("certificates.k8s.io/v1", "certificatesigningrequests")}


class Follower:
    """objects[kind][namespace/name] are the words of the last put; state[kind] the last state; log is every line."""

    def __init__(self, plane, *kinds, kubeconfig=None, account=None, page=0, crowd=1, host="127.0.0.1"):
        self.plane, self.kinds = plane, kinds
        self.objects = {kind: {} for kind in kinds}
        self.state = {kind: {} for kind in kinds}
        self.log, self.lists = [], {kind: 0 for kind in kinds}
        self._unseen = {}
        self._lock = threading.Lock()
        source = ["--service-account", account] if account else ["--kubeconfig", kubeconfig or plane.kubeconfig()]
        self.process = plane.ns.popen(*ending_with_us("env", f"KUBERNETES_SERVICE_HOST={host}", "KUBERNETES_SERVICE_PORT=6443", PROGRAM, *source, "--page", page,
                                                      "--crowd", crowd, *kinds), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self._lock:
                self._take(line.rstrip("\n"))

    def _take(self, line):
        self.log.append(line)
        word, _, rest = line.partition(" ")
        kind, _, rest = rest.partition(" ")
        if kind not in self.objects:
            return
        objects = self.objects[kind]
        name, _, rest = rest.partition(" ")
        if word == "list_began":
            self._unseen[kind] = set(objects)
        elif word == "put":
            objects[name] = dict(pair.partition("=")[::2] for pair in rest.split(" "))
            self._unseen.get(kind, set()).discard(name)
        elif word == "gone":
            assert name in objects, f"{name} is gone and was never there"
            del objects[name]
        elif word == "list_ended":
            self.lists[kind] += 1
            for name in self._unseen.pop(kind):
                objects.pop(name, None)
        elif word == "state":
            pairs, _, error = line.partition(" error=")
            self.state[kind] = {**dict(pair.split("=") for pair in pairs.split(" ")[2:]), "error": error}

    def snapshot(self, kind):
        with self._lock:
            return {name: (words["uid"], words["version"]) for name, words in self.objects[kind].items()}

    def get(self, kind, name):
        with self._lock:
            return self.objects[kind].get(name)

    def lines(self, *words):
        with self._lock:
            return [line for line in self.log if all(word in line for word in words)]

    def is_current(self, *kinds):
        with self._lock:
            return all(self.state[kind].get("synced") == "1" and self.state[kind].get("current") == "1" for kind in kinds or self.kinds)

    def tail(self):
        with self._lock:
            return "\n".join(self.log[-40:])

    def wait(self, condition, what, timeout=60):
        return wait_for(condition, lambda: f"{what}; what it said last:\n{self.tail()}", timeout)

    def wait_current(self, *kinds, timeout=60):
        self.wait(lambda: self.is_current(*kinds), "watches that run", timeout)

    def truth(self, kind):
        items = self.plane.api.list(*PLURALS[kind])
        return {f"{item['metadata'].get('namespace', '')}/{item['metadata']['name']}": (item["metadata"]["uid"], item["metadata"]["resourceVersion"]) for item in items}

    def wait_same(self, *kinds, timeout=60):
        """Until what was told is what the API server says, each object in its last version."""
        for kind in kinds or self.kinds:
            self.wait(lambda kind=kind: self.snapshot(kind) == self.truth(kind), f"the same {kind} as the API server's", timeout)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.terminate()
        code = self.process.wait(30)
        self._thread.join(30)
        if kind is None:
            assert code == 0, f"exit {code}\n{self.tail()}"
