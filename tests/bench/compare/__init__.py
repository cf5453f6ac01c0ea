# SPDX-License-Identifier: GPL-3.0-or-later
"""Culvert side by side with plain forwarding and with other tunnels; tests/bench/run.sh is its door."""

import pathlib
import sys

# Namespaces and daemons are those of the tests.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "netns"))
