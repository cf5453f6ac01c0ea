# SPDX-License-Identifier: GPL-3.0-or-later
"""What Culvert says of kernels that this machine does not run, each in a guest: a kernel is booted once for all the checks that are asked of it."""

import json

import pytest

from guest import KERNELS, Guest, Missing

CHECKS = {kernel: ("verifier",) if kernel == "5.10" else ("verifier", "carries") for kernel in KERNELS}


@pytest.fixture(scope="session")
def results(request, tmp_path_factory):
    """results(kernel): {check: what checks.py said of it}, and the console."""
    known = {}
    wanted = {}
    for item in request.session.items:
        if hasattr(item, "callspec") and "kernel" in item.callspec.params:
            wanted.setdefault(item.callspec.params["kernel"], []).append(item.callspec.params["check"])

    def boot(kernel):
        if kernel not in known:
            try:
                guest = Guest(kernel, "python3 checks.py " + " ".join(wanted[kernel]), console_path=tmp_path_factory.mktemp("guest") / f"console-{kernel}")
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
