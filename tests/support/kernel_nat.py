"""A NAT as Linux makes it: two hosts in a LAN, a router that masquerades, and a server, in network namespaces."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from network_namespace import inside
from virtual_nat import OUTSIDE, PORTS, SERVERS

from p2psip.base.address import Address

PATIENCE_S = 0.3
RULES = """
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname "outside" masquerade; }
}
table ip guard {
  chain in { type filter hook forward priority filter; iifname "outside" ct state new drop; }
}
"""
needs_nft = pytest.mark.skipif(shutil.which("nft") is None, reason="`nft` is not there (Debian: nftables)")
T = TypeVar("T")
_numbers = itertools.count(1)


class KernelNat:
    """The same questions as of `virtual_nat.Bench`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._open: list[socket.socket] = []
        self.at_server = {
            Address(host, port): self.socket_in("server", Address(host, port)) for host in SERVERS for port in PORTS
        }

    def socket(self, host: int = 0, port: int = 5000) -> socket.socket:
        """A socket of a host behind the NAT."""
        return self.socket_in(f"host{host}", Address(f"192.168.1.{11 + host}", port))

    def socket_in(self, name: str, local: Address) -> socket.socket:
        """A socket in a namespace."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.settimeout(PATIENCE_S)
            made.bind(local)
            return made

        made = within(self._prefix + name, make)
        self._open.append(made)
        return made

    def seen(self, sock: socket.socket, remote: Address) -> Address:
        """From where a server sees a socket."""
        sock.sendto(b"?", remote)
        return Address(*self.at_server[remote].recvfrom(100)[1])

    def passes(self, source: Address, target: Address, to: socket.socket) -> bool:
        """True if what a server sends comes to a host."""
        self.at_server[source].sendto(b"!", target)
        return received(to) is not None

    def close(self) -> None:
        """All sockets."""
        for sock in self._open:
            sock.close()


def received(sock: socket.socket) -> Address | None:
    """From where a datagram comes, if one does."""
    try:
        return Address(*sock.recvfrom(100)[1])
    except TimeoutError:
        return None


@contextlib.contextmanager
def kernel_nat(*, timeout_s: int) -> Iterator[KernelNat]:
    """The namespaces, and how long the router remembers a flow; all of it is gone afterwards."""
    prefix = f"p2psip-nat-{os.getpid()}-{next(_numbers)}-"
    names = ("server", "router", "host0", "host1")
    try:
        for name in names:
            _ip("netns", "add", prefix + name)
            _ip("-n", prefix + name, "link", "set", "lo", "up")
        _wire(prefix)
        sysctl = "net/netfilter/nf_conntrack_udp_timeout"
        for path in ("net/ipv4/ip_forward", sysctl, f"{sysctl}_stream"):
            value = 1 if path.endswith("ip_forward") else timeout_s
            _ip("netns", "exec", prefix + "router", "sh", "-c", f"echo {value} > /proc/sys/{path}")
        ground = KernelNat(prefix)
        try:
            yield ground
        finally:
            ground.close()
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", prefix + name], capture_output=True, check=False)


def _wire(prefix: str) -> None:
    router = prefix + "router"
    _ip("-n", router, "link", "add", "outside", "type", "veth", "peer", "name", "eth0", "netns", prefix + "server")
    _ip("-n", router, "link", "add", "lan", "type", "bridge")
    _up(router, "outside", f"{OUTSIDE}/24")
    _up(router, "lan", "192.168.1.1/24")
    _up(prefix + "server", "eth0", *(f"{host}/24" for host in SERVERS))
    _ip("-n", prefix + "server", "route", "add", "203.0.113.0/24", "dev", "eth0")
    _ip("-n", router, "route", "add", "198.51.100.0/24", "dev", "outside")
    for number in (0, 1):
        host = f"{prefix}host{number}"
        _ip("-n", router, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", host)
        _ip("-n", router, "link", "set", f"port{number}", "master", "lan", "up")
        _up(host, "eth0", f"192.168.1.{11 + number}/24")
        _ip("-n", host, "route", "add", "default", "via", "192.168.1.1")
    done = subprocess.run(
        ["ip", "netns", "exec", router, "nft", "-f", "-"], input=RULES, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _up(name: str, device: str, *addresses: str) -> None:
    for address in addresses:
        _ip("-n", name, "address", "add", address, "dev", device)
    _ip("-n", name, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {arguments}: {done.stderr}"


def within(name: str, run: Callable[[], T]) -> T:
    """Do something in a namespace."""
    with inside(name):
        return run()
