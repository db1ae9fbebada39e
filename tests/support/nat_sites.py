"""Hosts behind kernel NATs, and a public one, in network namespaces: a wire to which all are plugged."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from networks import Host

PUBLIC = "198.51.100.1"
INSIDE = "10.{number}.0.2"
OUTSIDE = "198.51.100.{place}"

PORT_RESTRICTED = "masquerade"
SYMMETRIC = "masquerade random,fully-random"
"""Linux's two kinds, as nftables has them: both filter by address and port."""

RULES = """
table ip nat {{
  chain in {{ type nat hook prerouting priority dstnat; {forwarded} }}
  chain out {{ type nat hook postrouting priority srcnat; oifname "outside" {nat}; }}
}}
table ip guard {{
  chain forward {{
    type filter hook forward priority filter; {udp} ct status dnat accept; iifname "outside" ct state new drop;
  }}
  chain input {{ type filter hook input priority filter; {unasked} }}
}}
"""
UNASKED = 'iifname "outside" ct state new drop;'
"""What nobody inside has asked for is dropped, and not refused: a refusal would be remembered as a flow, and the punch
from inside would go out from another port."""

FORWARDED = 'iifname "outside" tcp dport {{ {ports} }} dnat to {host};'

NO_UDP = "meta l4proto udp drop;"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class NatSites:
    """`public` is on the wire; each of `sites` is behind a router of its own."""

    public: Host
    sites: Sequence[Host]
    wire: Host

    def cut(self) -> None:
        """Nothing arrives from now on."""
        self.wire.ip("link", "set", "wire", "down")

    def mend(self) -> None:
        """It does again."""
        self.wire.ip("link", "set", "wire", "up")


def inside(number: int) -> str:
    """The address of a site, the first being 0."""
    return INSIDE.format(number=number + 1)


@contextlib.contextmanager
def nat_sites(
    *kinds: str,
    without_udp: Collection[int] = (),
    is_refusing: bool = False,
    forwarded: Collection[int] = (),
) -> Iterator[NatSites]:
    """A public host and one behind each kind of NAT; all of it is gone afterwards.

    The routers of the sites `without_udp` drop that. Those that refuse have no rule about what nobody inside has asked
    for: the kernel resets it. That of the first site forwards these ports of TCP to the host inside.
    """
    prefix = f"p2psip-ice-{os.getpid()}-{next(_numbers)}-"
    names = ["wire", "public", *(f"{what}{number}" for number in range(len(kinds)) for what in ("nat", "site"))]
    try:
        for name in names:
            _ip("netns", "add", prefix + name)
            _ip("-n", prefix + name, "link", "set", "lo", "up")
        _ip("-n", f"{prefix}wire", "link", "add", "wire", "type", "bridge")
        _ip("-n", f"{prefix}wire", "link", "set", "wire", "up")
        _plug(prefix, "public", "lan0", PUBLIC)
        for number, kind in enumerate(kinds):
            _plug(prefix, f"nat{number}", "outside", OUTSIDE.format(place=10 + number))
            udp = NO_UDP if number in without_udp else ""
            unasked = "" if is_refusing else UNASKED
            ports = ", ".join(map(str, forwarded)) if number == 0 else ""
            forward = FORWARDED.format(ports=ports, host=inside(number)) if ports else ""
            _lan(prefix, number, RULES.format(nat=kind, udp=udp, unasked=unasked, forwarded=forward))
        sites = [Host(f"{prefix}site{number}") for number in range(len(kinds))]
        yield NatSites(Host(f"{prefix}public"), sites, Host(f"{prefix}wire"))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", prefix + name], capture_output=True, check=False)


def _plug(prefix: str, name: str, device: str, address: str) -> None:
    port = f"to-{name}"
    _ip("-n", f"{prefix}wire", "link", "add", port, "type", "veth", "peer", "name", device, "netns", prefix + name)
    _ip("-n", f"{prefix}wire", "link", "set", port, "master", "wire", "up")
    _up(prefix + name, device, f"{address}/24")


def _lan(prefix: str, number: int, rules: str) -> None:
    nat, site, host = f"{prefix}nat{number}", f"{prefix}site{number}", inside(number)
    gateway = host.removesuffix("2") + "1"
    _ip("-n", nat, "link", "add", "inside", "type", "veth", "peer", "name", "lan0", "netns", site)
    _up(nat, "inside", f"{gateway}/24")
    _up(site, "lan0", f"{host}/24")
    _ip("-n", site, "route", "add", "default", "via", gateway)
    _run(*_in(nat), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    _run(*_in(nat), "nft", "-f", "-", said=rules)


def _up(name: str, device: str, address: str) -> None:
    _ip("-n", name, "address", "add", address, "dev", device)
    _ip("-n", name, "link", "set", device, "up")


def _in(name: str) -> tuple[str, ...]:
    return "ip", "netns", "exec", name


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str, said: str = "") -> None:
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
