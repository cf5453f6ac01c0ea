# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests over namespaces share: both versions of IP, and the daemons' logs beside a failure."""

import pytest


@pytest.fixture(params=(4, 6), ids=("v4", "v6"))
def version(request):
    return request.param


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for daemon in getattr(item.funcargs.get("mesh"), "daemons", ()):
            report.sections.append((f"log of {daemon.host.node_name}", daemon.log()[-6000:]))
