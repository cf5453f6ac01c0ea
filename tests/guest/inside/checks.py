#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked inside a guest. checks.py NAME...: runs these, and writes a line of JSON for each to the second serial line: name, outcome ("passed" or
"failed"), seconds, and text where it failed."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "netns"))

from container import Confined, runtime  # noqa: E402
from lib import Shape, run, wait_for  # noqa: E402
from mesh import BIN, Mesh  # noqa: E402
from traffic import MESSAGE, ask, echo, ending, outcome, talk  # noqa: E402

LINUX = tuple(int(number) for number in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())
HAS_TCX = LINUX >= (6, 6)
HAS_CT_LOOKUP = LINUX >= (5, 18)
# Of the kernel's million. What is left is for the kernels between those that are tested.
WALKED_MOST = 500_000
TOO_SMALL = 20 << 20  # the maps alone take more


def check_verifier():
    """Each program is taken, and with a margin."""
    run("modprobe", "nf_conntrack")
    text = run(BIN / "guest_verify", timeout=240).stdout
    print(text)
    found = {name: (verdict, int(walked)) for name, verdict, walked in re.findall(r"^(\w+) (\w+) (-?\d+)$", text, re.M)}
    assert {"edge_egress", "edge_egress_l3", "edge_egress_noct", "edge_egr_l3_noct", "edge_ingress", "edge_ingress_l3", "steer"} <= set(found), text
    for name, (verdict, walked) in found.items():
        if name in ("edge_egress", "edge_egress_l3") and not HAS_CT_LOOKUP:
            continue
        assert verdict == "loaded", text
        assert 0 < walked < WALKED_MOST, text


def assert_carried(mesh):
    """Connections both ways over both families go through the tunnel, under the pods' own addresses, and nothing else is on the wire."""
    with mesh.capture() as wire:
        for client, server in ((mesh.net.a1, mesh.net.b1), (mesh.net.b2, mesh.net.a2)):
            for version in (4, 6):
                def serving(connection, peer):
                    echo(connection, peer)
                    return peer[0]

                seen, answer = talk(client, server, server.address(version), serving, ask)
                assert (seen, answer) == (client.address(version), MESSAGE)
    assert wire.tunnel and not wire.leaked, wire.leaked[:5]
    assert not wire.holds(MESSAGE), "payload in the clear"


def check_carries():
    """Two nodes, with kube-proxy's rules: what holds here holds there, too."""
    with Mesh(Shape("routed", "direct", "iptables")) as mesh:
        for daemon in mesh.daemons:
            attached = [device for device in daemon.status()["devices"] if device["is_attached"]]
            assert attached and all(device["is_first"] and device["how"] == ("tcx" if HAS_TCX else "clsact") for device in attached), attached
        assert_carried(mesh)
        for daemon in mesh.daemons:
            assert daemon.ctl("check", check=False).returncode == 0, daemon.ctl("check", check=False).stdout
        with mesh.capture() as wire, mesh.net.b1.listen() as listener, mesh.net.a1.connect(mesh.net.b1.v4, listener.getsockname()[1]) as client:
            mesh.one.kill()
            assert ending(client) == "ECONNRESET"
            # Nobody there: what is pinned refuses, in silence.
            assert outcome(lambda: mesh.net.a1.connect(mesh.net.b1.v4, listener.getsockname()[1], timeout=3)) == "ETIMEDOUT"
        assert not wire.leaked, wire.leaked[:5]
        mesh.one.start()
        assert_carried(mesh)


def check_confined():
    """As in Kubernetes: a container of containerd's with its own profiles of AppArmor and seccomp, the chart's capabilities, nothing writable but what the chart
    mounts, and the chart's limit of memory."""
    limit = int(os.environ["MEMORY_LIMIT"])
    with runtime(), Mesh(Shape("routed", "direct", "iptables"), start=False) as mesh:
        mesh.one, mesh.two = mesh.daemons = tuple(Confined(mesh, host, limit) for host in mesh.net.nodes)
        for daemon in mesh.daemons:
            daemon.start(wait=False)
        for daemon in mesh.daemons:
            daemon.wait_ready()
            print("the container:", daemon.describe())
            daemon.assert_confined()
        assert_carried(mesh)
        for daemon in mesh.daemons:
            print("its memory:", daemon.memory())
            assert daemon.memory()["memory.peak"] < limit
            assert daemon.memory()["oom_kill"] == 0
        mesh.one.kill()
        with mesh.capture() as wire, mesh.net.b1.listen() as listener:
            assert outcome(lambda: mesh.net.a1.connect(mesh.net.b1.v4, listener.getsockname()[1], timeout=3)) == "ETIMEDOUT"
        assert not wire.leaked, wire.leaked[:5]
        mesh.one.start()
        assert_carried(mesh)
        # A limit that has no room for the maps is named.
        mesh.two.kill()
        mesh.two.remove()
        mesh.two.limit = TOO_SMALL
        mesh.two.start(wait=False)
        wait_for(lambda: not mesh.two.is_running(), lambda: f"the daemon without memory to end:\n{mesh.two.log()[-2000:]}")
        print(mesh.two.log().strip().split("\n")[-1])
        assert "no room for the BPF maps" in mesh.two.log(), mesh.two.log()[-2000:]


def check_locked_memory():
    """Before 5.11 maps are locked memory: without the right to raise its limit the daemon says so, and ends."""
    with Mesh(Shape("routed", "direct", "none"), start=False) as mesh:
        daemon = mesh.one
        with open(daemon.log_path, "ab") as log:
            daemon.process = mesh.net.a.popen("setpriv", "--bounding-set=-sys_resource", "--", "prlimit", "--memlock=65536", "--", BIN / "culvertd", "--config",
                                              daemon.config, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        assert wait_for(lambda: daemon.process.poll() is not None, lambda: f"the daemon to end:\n{daemon.log()}") and daemon.process.returncode == 1
        print(daemon.log())
        assert "locked memory, CAP_SYS_RESOURCE" in daemon.log(), daemon.log()


def main():
    with open("/dev/ttyS1", "w", encoding="utf-8") as results:
        for name in sys.argv[1:]:
            begin = time.monotonic()
            print(f"=== {name}", flush=True)
            result = {"name": name, "outcome": "passed", "text": ""}
            try:
                globals()[f"check_{name}"]()
            except Exception:  # noqa: BLE001 - told to the one who started the guest
                result.update(outcome="failed", text=traceback.format_exc()[-12000:])
                print(result["text"], flush=True)
            result["seconds"] = round(time.monotonic() - begin, 1)
            print(f"--- {name}: {result['outcome']} in {result['seconds']} s", flush=True)
            results.write(json.dumps(result) + "\n")
            results.flush()


if __name__ == "__main__":
    main()
