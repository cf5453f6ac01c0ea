# SPDX-License-Identifier: GPL-3.0-or-later
"""The chart as Helm renders it, without a cluster."""

import json
import pathlib

import yaml

from plane import programs, run

CHART = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy" / "chart"
NAMESPACE = "culvert"


def helm(*arguments, check=True, ns=None):
    (folder,) = programs("helm")
    return run(folder / "helm", *arguments, check=check, ns=ns)


def template(*options, values=None, check=True):
    """The output of `helm template`; values is a dictionary in the place of --set."""
    words = [f"--set-json={key}={json.dumps(value)}" for key, value in (values or {}).items()]
    return helm("template", "culvert", CHART, "--namespace", NAMESPACE, *words, *options, check=check)


class Objects:
    """What was rendered, by kind and name."""

    def __init__(self, text):
        self.all = [body for body in yaml.safe_load_all(text) if body]

    def find(self, kind, name=None):
        found = [body for body in self.all if body["kind"] == kind and name in (None, body["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of {kind} {name}"
        return found[0]

    def has(self, kind):
        return any(body["kind"] == kind for body in self.all)

    def rules(self, kind, name, namespace=None):
        """The rules of a role as {(group, resource, names): verbs}."""
        found = [body for body in self.all if body["kind"] == kind and body["metadata"]["name"] == name and body["metadata"].get("namespace") == namespace]
        assert len(found) == 1
        return {(group, resource, tuple(rule.get("resourceNames", ()))): set(rule["verbs"])
                for rule in found[0]["rules"] for group in rule["apiGroups"] for resource in rule["resources"]}

    @property
    def daemon(self):
        return self.find("DaemonSet", "culvert")["spec"]["template"]["spec"]

    @property
    def config(self):
        return yaml.safe_load(self.find("ConfigMap", "culvert")["data"]["culvert.yaml"])

    def volume(self, name):
        return next(volume for volume in self.daemon["volumes"] if volume["name"] == name)


def render(*options, **values):
    """Objects of the chart with values such as capture__mode="lockdown"."""
    return Objects(template(*options, values={key.replace("__", "."): value for key, value in values.items()}).stdout)
