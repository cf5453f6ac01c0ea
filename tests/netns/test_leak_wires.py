# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 under traffic on the other wires, and with programs attached as on older kernels: nothing in the clear, resets at both pods, and a restart that serves."""

import pytest

from flows import MARKER, PORTS, Flows, is_connected, is_served
from lib import Shape
from mesh import Mesh


@pytest.mark.long
@pytest.mark.parametrize("shape, environment", [
    (Shape("bridged", "vxlan", "nft"), {}), (Shape("routed", "tun", "iptables"), {}), (Shape("bridged", "rule", "iptables"), {}),
    (Shape("routed", "direct", "nft"), {"CULVERT_CLSACT": "1"}),
], ids=["vxlan", "a layer-3 device", "a second uplink", "clsact, as before Linux 6.6"])
def test_killed_in_full_flow(shape, environment):
    with Mesh(shape, start=False) as mesh:
        for daemon in mesh.daemons:
            daemon.start(environment=environment)
        with mesh.capture() as capture:
            for victim in mesh.daemons:
                with Flows(mesh, 1) as flows, mesh.net.b1.listen(next(PORTS)) as at_b, mesh.net.a1.listen(next(PORTS)) as at_a:
                    flows.wait_moving()
                    victim.kill()
                    flows.assert_all_reset()
                    fresh = [(mesh.net.a1.begin(mesh.net.b1.v6, at_b.getsockname()[1]), at_b), (mesh.net.b1.begin(mesh.net.a1.v4, at_a.getsockname()[1]), at_a)]
                    assert not is_connected(fresh[victim is mesh.two][0])
                    victim.start(environment=environment)
                    for s, listener in fresh:
                        is_served(s, listener)
        assert capture.tunnel and not capture.leaked and not capture.holds(MARKER)
