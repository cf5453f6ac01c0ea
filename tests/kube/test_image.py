# SPDX-License-Identifier: GPL-3.0-or-later
"""deploy/image.sh: what is in the image, and the same bytes twice in a row."""

import json
import os
import pathlib
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LARGEST_BYTES = 24 << 20  # of the archive: programs and libraries, and nothing that does not run


def image(archive):
    subprocess.run([ROOT / "deploy" / "image.sh", "--build", os.environ["CULVERT_BIN_DIR"], "--output", archive], check=True)
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return image(tmp_path_factory.mktemp("image") / "culvert.tar")


def read(archive, name):
    with tarfile.open(archive) as outer:
        return outer.extractfile(name).read()


def blob(archive, described):
    return read(archive, "blobs/" + described["digest"].replace(":", "/"))


def parts(archive):
    """Index, manifest and configuration; and the names and entries of the layer."""
    index = json.loads(read(archive, "index.json"))
    manifest = json.loads(blob(archive, index["manifests"][0]))
    config = json.loads(blob(archive, manifest["config"]))
    with tarfile.open(archive) as outer, tarfile.open(fileobj=outer.extractfile("blobs/" + manifest["layers"][0]["digest"].replace(":", "/"))) as layer:
        return index, manifest, config, {member.name.removeprefix("./"): member for member in layer}


@pytest.mark.long
def test_the_same_build_gives_the_same_bytes(archive, tmp_path):
    assert image(tmp_path / "again.tar").read_bytes() == archive.read_bytes()


def test_it_is_small_and_holds_only_what_runs(archive):
    _, _, config, members = parts(archive)
    assert archive.stat().st_size < LARGEST_BYTES
    assert config["config"]["Entrypoint"] == ["/usr/sbin/culvertd"]
    programs = {name for name, member in members.items() if member.isreg() and member.mode & 0o111 and ".so" not in name}
    assert programs - {"usr/sbin/culvert-issuer"} == {"usr/sbin/culvertd", "usr/bin/culvertctl"}
    assert all(member.uid == member.gid == 0 and not member.mode & 0o6022 for name, member in members.items() if name != "tmp")
    assert members["."].mode & 0o777 == 0o755  # the issuer runs as nobody


def test_its_programs_find_their_libraries_in_it(archive, tmp_path):
    _, manifest, _, _ = parts(archive)
    layer = tmp_path / "layer"
    layer.write_bytes(blob(archive, manifest["layers"][0]))
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "-xzf", layer, "-C", root], check=True)
    for program in ("/usr/sbin/culvertd", "/usr/bin/culvertctl"):
        assert subprocess.run(["chroot", root, program, "--version"], capture_output=True, text=True, check=True).stdout.startswith(program.rpartition("/")[2])


def test_scanners_find_its_packages(archive):
    _, _, _, members = parts(archive)
    packages = {name.rpartition("/")[2] for name in members if name.startswith("var/lib/dpkg/status.d/")} - {""}
    assert {"libc6", "libbpf1"} <= packages
    assert all(f"usr/share/doc/{package}/copyright" in members for package in packages if package != "status.d")


def test_sizes_and_hashes_are_those_of_the_parts(archive):
    index, manifest, _, _ = parts(archive)
    for described in (index["manifests"][0], manifest["config"], manifest["layers"][0]):
        assert len(blob(archive, described)) == described["size"]
    assert index["manifests"][0]["platform"]["os"] == "linux"
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"].startswith("localhost/culvert:")


def test_bad_words_are_refused_with_a_sentence(tmp_path):
    for words, sentence in ((["--nonsense"], '"--nonsense" is no option'), (["--build", tmp_path], "has no culvertd"), (["--output"], "--output needs a value")):
        done = subprocess.run([ROOT / "deploy" / "image.sh", *words], capture_output=True, text=True)
        assert done.returncode != 0 and sentence in done.stderr
