# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: every claim in it holds, and it takes everything out on every way out."""

import os
import pathlib
import signal
import subprocess

import pytest

from lib import BPFFS, HERE, RUN_NETNS, wait_for
from mesh import BIN, program

SCRIPT = HERE.parent.parent / "deploy" / "demo" / "run.sh"


def left(pid):
    """What a run with that process id left on the machine."""
    places = [*RUN_NETNS.glob(f"cvd{pid}-*"), *BPFFS.glob(f"cvd{pid}-*"), *pathlib.Path("/run").glob(f"cvd{pid}-*")]
    return [str(place) for place in places]


def start(*words):
    program("culvertd")
    return subprocess.Popen([SCRIPT, "--no-build", BIN, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def test_every_claim_holds():
    run = start()
    text, _ = run.communicate(timeout=120)
    assert run.returncode == 0, text
    assert "FAILED" not in text and text.count("  ok ") >= 11, text
    assert not left(run.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_a_signal_takes_everything_out(number):
    run = start("--keep")
    seen = []
    for line in run.stdout:
        seen.append(line)
        if line.startswith("Enter takes everything out"):
            break
    else:
        pytest.fail("it ended too early:\n" + "".join(seen))
    assert left(run.pid), "nothing was there, so this test could not fail"
    os.killpg(run.pid, number)
    run.stdout.read()
    assert run.wait(60) == 128 + number
    wait_for(lambda: not left(run.pid), lambda: f"{left(run.pid)} to go")


def test_an_unknown_argument_is_refused():
    run = subprocess.run([SCRIPT, "--fast"], capture_output=True, text=True, timeout=30)
    assert run.returncode == 2
    assert "--keep and --no-build DIR are known" in run.stderr
