# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all folders share: an end in order by TERM as by Ctrl-C, and which tests may run beside each other.

Tests wait most of the time, so run.sh lets several processes of pytest-xdist run them. Each process makes namespaces, devices, pins and servers of its own,
named after its id, so no two tests can meet; but what a fixture of a module or a session makes, each process that needs it makes again. So tests that use
the same fixtures of their module stay together, in their order; others go wherever there is room. A mark can say otherwise: see pytest.ini.
"""

import collections
import signal

import pytest


def _interrupt(*_):
    raise KeyboardInterrupt  # pytest then takes the fixtures down: daemons, servers, namespaces, pins, folders


def pytest_configure(config):
    signal.signal(signal.SIGTERM, _interrupt)


def group_of(item):
    """What a test has in common with those that it must run with, in one process; None where it may run anywhere."""
    if named := item.get_closest_marker("group"):
        return named.args[0]
    if item.get_closest_marker("long"):
        return None
    parameters = getattr(item, "callspec", None)
    # Pytest's own fixtures belong to no folder, and are no reason to stay together.
    shared = [f"{name} {parameters.indices.get(name, 0) if parameters else 0}" for name, made in sorted(item._fixtureinfo.name2fixturedefs.items())
              if made[-1].scope != "function" and made[-1].baseid]
    return " ".join([item.nodeid.partition("::")[0], *shared]) if shared else None


def _told_group(item):
    told = item.get_closest_marker("xdist_group")
    return told and told.args[0]


@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(config, items):
    """In a process of xdist: tells it the groups, and puts first what must not come last."""
    if not hasattr(config, "workerinput"):
        yield
        return
    for item in items:
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    sizes = collections.Counter(_told_group(item) or item.nodeid for item in items)
    begins_first = {_told_group(item) or item.nodeid for item in items if item.get_closest_marker("long")}

    def rank(item):
        group = _told_group(item) or item.nodeid
        return group not in begins_first, -sizes[group], group

    items.sort(key=rank)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session):
    """Xdist put each group behind its tests' names. It has read them now, and the tests get their own names back."""
    if hasattr(session.config, "workerinput"):
        for item in session.items:
            item._nodeid = item.nodeid.removesuffix(f"@{_told_group(item)}")
