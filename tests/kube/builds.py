# SPDX-License-Identifier: GPL-3.0-or-later
"""Other builds of Culvert than the one under test, for tests of upgrades: each a chart and the archive of its image.

    other_layout(folder)   this tree, but its pinned maps are of another version
    previous()             an earlier commit, built once per machine into $CULVERT_CACHE; Missing where the history does not go back so far

Which commit is the previous one: the last release before this one; without a release the last commit with another version of the pinned maps' layout, if that
was shown to work in a cluster already; else the first that was. So it stays the same for long, and what was built is of use.
"""

import fcntl
import os
import pathlib
import re
import subprocess
import typing

from images import QUICK

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CACHE = pathlib.Path(os.environ.get("CULVERT_CACHE") or pathlib.Path.home() / ".cache" / "culvert")
SHOWN_BY = "tests/kube/test_encrypted.py"  # what shows that a build works in a cluster
PROGRAMS = ("culvertd", "culvertctl", "culvert-issuer")
OTHER_LAYOUT = 1000001  # no version that is ever used


class Missing(Exception):
    """Why a build can not be had here."""


class Build(typing.NamedTuple):
    tag: str  # of localhost/culvert
    archive: pathlib.Path
    chart: pathlib.Path


def _run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(str(word) for word in command)}: exit {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def _git(*words):
    """What git says; empty where it fails."""
    return subprocess.run(["git", "-C", ROOT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()


def _make(tree, build, archive, tag, *options):
    """Builds the programs of a tree, and packs them by the tree's own script; the archive appears whole or not at all."""
    _run("cmake", "-S", tree, "-B", build, "-DCMAKE_BUILD_TYPE=Release", "-DCULVERT_TESTS=OFF", *options)
    _run("cmake", "--build", build, "-j", os.cpu_count(), "--target", *PROGRAMS)
    fresh = archive.with_suffix(".new")
    _run(tree / "deploy" / "image.sh", "--build", build, "--output", fresh, "--name", f"localhost/culvert:{tag}", env={**os.environ, "OCI_LEVEL": QUICK})
    fresh.rename(archive)


def layout(tree=ROOT):
    """The version of the pinned maps' layout in a tree."""
    return int(re.search(r"CULVERT_SHARED_VERSION (\d+)", (tree / "bpf" / "shared.h").read_text())[1])


def other_layout(folder):
    """folder: of a build, where this one finds a place beside the programs."""
    build = pathlib.Path(folder) / "other-layout"
    build.mkdir(exist_ok=True)
    with open(build / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make(ROOT, build, build / "culvert.tar", "other-layout", f"-DCULVERT_LAYOUT={OTHER_LAYOUT}")
    return Build("other-layout", build / "culvert.tar", ROOT / "deploy" / "chart")


def previous_commit():
    release = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD~1")
    began = _git("log", "--format=%H", "-S", f"CULVERT_SHARED_VERSION {layout()}", "--", "bpf/shared.h").split()
    shown = _git("log", "--format=%H", "--diff-filter=A", "--", SHOWN_BY).split()
    for commit in (release, f"{began[-1]}~1" if began else "", shown[-1] if shown else ""):
        found = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}") if commit else ""
        if found and _git("ls-tree", "--name-only", found, "--", SHOWN_BY):
            return found
    raise Missing("the history of this tree holds no earlier build that was shown to work in a cluster")


def previous():
    commit = previous_commit()
    if commit == _git("rev-parse", "HEAD"):
        raise Missing("there is no earlier build that was shown to work in a cluster than this one")
    folder = CACHE / f"culvert-{commit[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    tree, archive, build = folder / "tree", folder / "culvert.tar", folder / "build"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            tree.mkdir(exist_ok=True)
            packed = subprocess.run(["git", "-C", ROOT, "archive", commit], stdout=subprocess.PIPE, check=True).stdout
            subprocess.run(["tar", "-x", "-C", tree], input=packed, check=True)
            _make(tree, build, archive, f"previous-{commit[:12]}")
            _run("rm", "-rf", build)
    return Build(f"previous-{commit[:12]}", archive, tree / "deploy" / "chart")
