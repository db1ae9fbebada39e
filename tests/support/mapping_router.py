"""Routers of a lab that map ports when they are asked: miniupnpd, which speaks PCP, NAT-PMP and UPnP."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from netlab import Lab, missing

from p2psip.portmap.nat_pmp import NatPmp
from p2psip.portmap.values import ROUTER_PORT, HomeRouter

START_MAX_S = 60.0
KNOCK_S = 0.1

CONFIGURATION = """\
ext_ifname=eth0
listening_ip=lan
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
upnp_table_name=mapped
upnp_nat_table_name=mapped
upnp_forward_chain=in
upnp_nat_chain=to
upnp_nat_postrouting_chain=from
uuid=00000000-0000-4000-8000-000000000001
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""

# Before the NAT of the lab, which lets in whatever is redirected.
RULES = """\
table inet mapped {
  chain forward { type filter hook forward priority filter; jump in; }
  chain prerouting { type nat hook prerouting priority dstnat - 10; jump to; }
  chain postrouting { type nat hook postrouting priority srcnat - 10; jump from; }
  chain in {}
  chain to {}
  chain from {}
}
"""


def _lacks() -> str:
    if shutil.which("miniupnpd") is None:
        return "`miniupnpd` is not there (Debian: miniupnpd-nftables)"
    return missing()


needs_mapping_router = pytest.mark.skipif(bool(_lacks()), reason=_lacks())


def router_of(lab: Lab, router: str, host: str) -> HomeRouter:
    """A router as a host behind it knows it."""
    lan = ipaddress.ip_network(lab.plan.routers()[router].lan4)
    return HomeRouter(str(lan[1]), lab.addresses(host)[0])


@contextlib.contextmanager
def mapping(lab: Lab, router: str, host: str, directory: Path) -> Iterator[None]:
    """A router maps ports while this is entered; `host` is one behind it, from which it is seen that it does."""
    within = lab.host(router).within
    (directory / f"{router}.conf").write_text(CONFIGURATION)
    subprocess.run([*within, "nft", "-f", "-"], input=RULES, text=True, check=True)
    command = ["miniupnpd", "-d", "-f", str(directory / f"{router}.conf"), "-P", str(directory / f"{router}.pid")]
    with (directory / f"{router}.log").open("a") as log:
        daemon = subprocess.Popen([*within, *command], stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(lab, router_of(lab, router, host), host)
        yield
    finally:
        daemon.terminate()
        daemon.wait()
        subprocess.run([*within, "nft", "delete", "table", "inet", "mapped"], check=True)


def _wait(lab: Lab, router: HomeRouter, host: str) -> None:
    """Until it answers."""
    give_up_at = time.monotonic() + START_MAX_S
    with lab.udp(host, router.local) as knocking:
        knocking.settimeout(KNOCK_S)
        while time.monotonic() < give_up_at:
            knocking.sendto(NatPmp().greet().data, (router.host, ROUTER_PORT))
            with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                knocking.recv(100)
                return
    raise AssertionError("miniupnpd does not answer")
