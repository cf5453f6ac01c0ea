# SPDX-License-Identifier: GPL-3.0-or-later
"""tests/kube/build.sh, where make fails. Stand-ins take the places of what it would fetch and of the make that would run for 8 minutes."""

import os
import pathlib
import subprocess

import pytest

BUILD = pathlib.Path(__file__).resolve().parent / "build.sh"
PROGRAMS = "kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl"

# Unpacks a tree of one file; the rest is fetched from nowhere.
UNPACK = """#!/bin/sh
for tree in "$@"; do :; done
mkdir -p "$tree/build/pause/linux"
echo 'int main(void) { return 0; }' > "$tree/build/pause/linux/pause.c"
"""

# Leaves a program behind that can not be run, as Kubernetes' makefile does where rsync is missing, and fails; one that finds it fails because of it.
FAIL = """#!/bin/sh
[ "$1" = -C ] && cd "$2" || exit 1
mkdir -p _output/bin
[ ! -e _output/bin/deepcopy-gen ] || exec _output/bin/deepcopy-gen
: > _output/bin/deepcopy-gen
echo no rsync
exit 1
"""

WORK = f"""#!/bin/sh
[ "$1" = -C ] && cd "$2" || exit 1
mkdir -p _output/bin
[ ! -e _output/bin/deepcopy-gen ] || exec _output/bin/deepcopy-gen
for program in {PROGRAMS}; do cp /bin/true _output/bin/$program; done
"""


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def build(tmp_path):
    """Runs it with a make; its exit status, standard output and error."""
    for name in ("apt-get", "dpkg-source"):
        script(tmp_path / "bin" / name, UNPACK if name == "dpkg-source" else "#!/bin/sh\n")
    work = tmp_path / "cache" / "kubernetes-1.20.2-1.work"
    for ready in ("apt/ready", "go.ready"):
        (work / ready).parent.mkdir(parents=True, exist_ok=True)
        (work / ready).touch()

    def run(make):
        # This Go's folder is the first of the PATH that make is looked for in.
        script(work / "go/usr/lib/go-1.15/bin/make", make)
        done = subprocess.run([BUILD, "kubernetes"], capture_output=True, text=True, check=False,
                              env={**os.environ, "CULVERT_CACHE": str(tmp_path / "cache"), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
        return done.returncode, done.stdout, done.stderr

    return run


def test_after_a_make_that_failed_it_begins_from_a_fresh_source(build, tmp_path):
    for _ in range(2):
        code, said, errors = build(FAIL)
        assert (code, said) == (1, "") and "no rsync" in errors and "Permission denied" not in errors, errors
    folder = tmp_path / "cache" / "kubernetes-1.20.2-1"
    assert not folder.exists()
    assert build(WORK)[:2] == (0, f"{folder}\n")
    assert sorted(program.name for program in folder.iterdir()) == sorted([*PROGRAMS.split(), "pause"])
