# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of programs of this machine, each with the libraries that it loads, as OCI archives: made by deploy/oci.sh, without a registry.

pause is what kubelet runs in each pod; tools is what the tests run in theirs: a shell with busybox's programs, nginx, curl and socat.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from plane import run

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
QUICK = "1"  # gzip's level: nobody sends these images anywhere
TOOLS = ["nginx", "curl", "socat"]
# Answers with the client's address and port, and writes them to its log, which is the pod's.
NGINX_CONF = """user root;
worker_processes 1;
error_log /dev/stderr warn;
pid /run/nginx.pid;
events {}
http {
	log_format peer '$remote_addr:$remote_port $request_uri $status';
	access_log /dev/stdout peer;
	server {
		listen 80;
		listen [::]:80;
		location / { return 200 "$remote_addr:$remote_port\\n"; }
	}
}
"""
PAUSE, TOOLS_IMAGE, CULVERT = "localhost/pause:1", "localhost/tools:1", "localhost/culvert:0.1.0"


def _copy(root, path):
    target = root / str(path).removeprefix("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def _libraries(program):
    return re.findall(r"(/\S+) \(0x", run("ldd", program, check=False).stdout)


def _pack(root, archive, name, *entrypoint):
    run("env", f"OCI_LEVEL={QUICK}", ROOT / "deploy" / "oci.sh", root, archive, name, *entrypoint)


def make_pause(archive, program):
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)
        root.chmod(0o755)
        shutil.copy(program, root / "pause")
        _pack(root, archive, PAUSE, "/pause")


def make_tools(archive):
    with tempfile.TemporaryDirectory() as root:
        root = pathlib.Path(root)
        root.chmod(0o755)
        for folder in ("bin", "etc", "tmp", "run", "usr/bin", "usr/sbin", "var/lib/nginx", "var/log/nginx"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for applet in run("/bin/busybox", "--list").stdout.split():
            os.symlink("busybox", root / "bin" / applet) if applet != "busybox" else None
        for tool in TOOLS:
            path = shutil.which(tool)
            _copy(root, path)
            for library in _libraries(path):
                _copy(root, library)
        (root / "etc/nginx").mkdir()
        (root / "etc/nginx/nginx.conf").write_text(NGINX_CONF)
        (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
        _pack(root, archive, TOOLS_IMAGE, "/bin/sh")


def make_culvert(archive, build):
    """The product's own image, by the product's own script."""
    subprocess.run([ROOT / "deploy" / "image.sh", "--build", build, "--output", archive, "--name", CULVERT], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "OCI_LEVEL": QUICK})
