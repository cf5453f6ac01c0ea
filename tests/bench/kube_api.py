#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What following some thousand real objects costs, and what the API server sends for it: kube_follow beside a real kube-apiserver, over TLS.

    CULVERT_BIN_DIR=build/release tests/bench/kube_api.py [--pods 3000] [--rate 200] [--seconds 20]

Prints a line "name value unit" for each figure. The changes are patches of single pods, spread evenly.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "kube"))
from follower import Follower  # noqa: E402
from plane import SERVER_PORT, Api, ControlPlane  # noqa: E402

THREADS = 4
_local = threading.local()


class KeptApi(Api):
    """One connection for each thread: at these rates making them is the most of the work."""

    def request(self, method, path, body=None, content_type="application/json", timeout=60):
        if not hasattr(_local, "connection"):
            raw = self._ns.connect("127.0.0.1", SERVER_PORT, timeout=timeout)
            _local.connection = http.client.HTTPConnection("localhost", SERVER_PORT)
            _local.connection.sock = self._tls.wrap_socket(raw, server_hostname="localhost")
        _local.connection.request(method, path, body=None if body is None else json.dumps(body), headers={"Content-Type": content_type, "Accept": "application/json"})
        answer = _local.connection.getresponse()
        return answer.status, answer.read()


def pod(number):
    """A pod of a few KB, as charts make them."""
    labels = {"app": "backend", "chart": "backend-1.17.3", "heritage": "Helm", "pod-template-hash": "6d5f7c9b48", "release": "production"}
    container = {"image": "registry.example.com/production/backend/server:1.17.3-build.4711",
                 "env": [{"name": f"SETTING_NUMBER_{i}", "value": "https://some-service.some-namespace.svc.cluster.local:8443/path"} for i in range(8)],
                 "ports": [{"containerPort": 8080, "name": "http"}], "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
                 "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}}
    return {"metadata": {"name": f"backend-6d5f7c9b48-{number:05x}", "labels": labels, "annotations": {"prometheus.io/port": "8080", "prometheus.io/scrape": "true"}},
            "spec": {"nodeName": f"node-{number % 50}", "automountServiceAccountToken": False,
                     "containers": [{"name": "server", **container}, {"name": "sidecar", **container}]}}


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid, key):
    return next(int(line.split()[1]) / 1024 for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(key + ":"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=3000)
    parser.add_argument("--rate", type=int, default=200, help="changes a second")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()

    with ControlPlane() as plane, concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        api = KeptApi(plane)
        plane.create_namespace("load")
        list(pool.map(lambda number: api.create("v1", "pods", pod(number), "load"), range(options.pods)))
        list(pool.map(lambda number: api.create("v1", "nodes", {"metadata": {"name": f"node-{number}"}}), range(50)))
        with Follower(plane, "nodes", "pods", "namespaces", "records") as follower:
            follower.wait_current()
            pid = follower.process.pid
            print(f"pods {options.pods}")
            print(f"list-cpu {cpu_s(pid):.2f} s")
            print(f"list {int(follower.state['pods']['bytes']) / 1e6:.2f} MB")
            print(f"pod {int(follower.state['pods']['bytes']) / options.pods:.0f} bytes")

            began, spent = time.monotonic(), cpu_s(pid)
            changes = options.rate * options.seconds

            def change(number):
                time.sleep(max(0.0, began + number / options.rate - time.monotonic()))
                name = f"backend-6d5f7c9b48-{number * 7919 % options.pods:05x}"
                return api.patch("v1", "pods", name, {"metadata": {"annotations": {"turn": str(number)}}}, "load")

            list(pool.map(change, range(changes)))
            took = time.monotonic() - began
            follower.wait_same("pods")
            print(f"changes {changes / took:.0f} 1/s")
            print(f"change-cpu {(cpu_s(pid) - spent) / changes * 1e6:.0f} us")
            print(f"resident {memory_mb(pid, 'VmRSS'):.1f} MB")
            print(f"resident-peak {memory_mb(pid, 'VmHWM'):.1f} MB")
            before = int(follower.state["pods"]["bytes"])
        events, sent = int(follower.state["pods"]["events"]), int(follower.state["pods"]["bytes"]) - before
        print(f"events {events}")
        print(f"event {sent / max(events, 1):.0f} bytes")
        print(f"sent-to-one-daemon {sent / took / 1e6:.2f} MB/s")


if __name__ == "__main__":
    main()
