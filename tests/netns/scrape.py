# SPDX-License-Identifier: GPL-3.0-or-later
"""What a daemon answers over HTTP: its pages, its figures, and which of them the docs list."""

import re

from lib import DEADLINE_S, HERE

PORT = 9117
ROOT = HERE.parent.parent
NAME = re.compile(r"^[a-z_:][a-z0-9_:]*$")
SAMPLE = re.compile(r'^([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+)\})? (\d+(?:\.\d+)?)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def curl(daemon, page, *words):
    """(status, body) as curl has them."""
    done = daemon.host.run("curl", "-sS", "--max-time", str(DEADLINE_S), "-w", "\n%{http_code} %{content_type}", *words, f"http://127.0.0.1:{PORT}{page}", check=False)
    assert done.returncode == 0, done.stderr
    body, _, last = done.stdout.rpartition("\n")
    code, _, kind = last.partition(" ")
    return int(code), kind, body


class Scrape:
    """The samples of a page: {(name, ((label, value), ...)): figure}."""

    def __init__(self, daemon):
        code, kind, self.text = curl(daemon, "/metrics")
        assert (code, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        self.samples, self.types = {}, {}
        family = None
        assert self.text.endswith("\n")
        for line in self.text.splitlines():
            if line.startswith("# HELP "):
                family = line.split()[2]
                assert NAME.match(family) and family not in self.types and len(line.split()) > 4, line
                self.types[family] = None
            elif line.startswith("# TYPE "):
                _, _, name, self.types[family] = line.split()
                assert name == family and self.types[family] in ("gauge", "counter"), line
                assert (self.types[family] == "counter") == family.endswith("_total"), line
            else:
                found = SAMPLE.match(line)
                assert found and found[1] == family and self.types[family], line
                key = found[1], tuple(LABEL.findall(found[2] or ""))
                assert key not in self.samples, line
                self.samples[key] = float(found[3]) if "." in found[3] else int(found[3])

    def __getitem__(self, name):
        return self.of(name)

    def of(self, name, **labels):
        return self.samples[name, tuple(labels.items())]

    def by(self, name, label):
        return {dict(labels)[label]: figure for (found, labels), figure in self.samples.items() if found == name}


def names_in(text):
    """Metrics that a text speaks of."""
    return set(re.findall(r"\b(?:culvert|process)_[a-z0-9_]+", text))


def table_of(text):
    return "\n".join(line for line in text.splitlines() if line.startswith("| `culvert_"))


def metrics_of_docs():
    """The section of docs/operations.md, the metrics that every daemon has, and those of a daemon in a cluster beside them."""
    docs = (ROOT / "docs" / "operations.md").read_text()
    section = docs[docs.index("## Metrics and alerts"):docs.index("## At three in the morning")]
    everywhere, in_a_cluster = section.split("Where the nodes come from Kubernetes:")
    return section, names_in(table_of(everywhere)), names_in(table_of(in_a_cluster))
