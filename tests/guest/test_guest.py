# SPDX-License-Identifier: GPL-3.0-or-later
"""What Culvert says of kernels that this machine does not run, each in a guest: a kernel is booted once for all the checks that are asked of it."""

import json
import re
import subprocess

import pytest

from guest import BIN, ROOT, Guest, Missing

CHECKS = {"5.10": ("verifier", "locked_memory"), "6.1": ("verifier", "carries", "confined"), "6.12": ("verifier", "carries")}


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """What the chart runs, and the memory that it may take."""
    path = tmp_path_factory.mktemp("image") / "image.tar"
    subprocess.run([ROOT / "deploy" / "image.sh", "--build", BIN, "--output", path], check=True)
    return path


def memory_limit():
    daemon = (ROOT / "deploy" / "chart" / "values.yaml").read_text().split("\ndaemon:")[1]
    return int(re.search(r"limits: \{ memory: (\d+)Mi \}", daemon)[1]) << 20


def capabilities():
    template = (ROOT / "deploy" / "chart" / "templates" / "daemonset.yaml").read_text()
    return re.findall(r"^ +- ([A-Z_]+)$", template.split("add:")[1].split("resources:")[0], re.M)


@pytest.fixture(scope="session")
def results(request, tmp_path_factory, image):
    """results(kernel): {check: what checks.py said of it}, and the console."""
    known = {}
    wanted = {}
    for item in request.session.items:
        if hasattr(item, "callspec") and "kernel" in item.callspec.params:
            wanted.setdefault(item.callspec.params["kernel"], []).append(item.callspec.params["check"])

    def boot(kernel):
        if kernel not in known:
            try:
                command = f"MEMORY_LIMIT={memory_limit()} CAPABILITIES={','.join(capabilities())} python3 checks.py {' '.join(wanted[kernel])}"
                guest = Guest(kernel, command, files=[(image, "image.tar")], console_path=tmp_path_factory.mktemp("guest") / f"console-{kernel}")
            except Missing as missing:
                known[kernel] = missing
            else:
                said = (json.loads(line) for line in guest.results.split("\n") if line.startswith("{"))
                known[kernel] = {result["name"]: result for result in said}, guest.console
        if isinstance(known[kernel], Missing):
            pytest.skip(str(known[kernel]))
        return known[kernel]

    return boot


@pytest.mark.parametrize(("kernel", "check"), [(kernel, check) for kernel, checks in CHECKS.items() for check in checks])
def test_in_a_guest(results, kernel, check):
    found, console = results(kernel)
    print(console)
    assert check in found, "the guest ended before it"
    assert found[check]["outcome"] == "passed", found[check]["text"]
