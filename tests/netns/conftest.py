# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests over namespaces share: the daemons' logs beside a failure, a mark for the tests that run under ThreadSanitizer too, and an end in order
by TERM as by Ctrl-C."""

import signal

import pytest


def _interrupt(*_):
    raise KeyboardInterrupt  # pytest then takes the fixtures down: daemons, namespaces, pins


def pytest_configure(config):
    signal.signal(signal.SIGTERM, _interrupt)
    config.addinivalue_line("markers", "threads: also run with daemons under ThreadSanitizer")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for daemon in getattr(item.funcargs.get("mesh"), "daemons", ()):
            report.sections.append((f"log of {daemon.host.node_name}", daemon.log()[-6000:]))
