"""Small networks for tests: network namespaces of this machine, joined by one cable. Root is needed for them."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

CABLE = "lan0"
_numbers = itertools.count(1)


def _can_make_networks() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"p2psip-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    subprocess.run(["ip", "netns", "del", name], check=True)
    return True


needs_networks = pytest.mark.skipif(
    not _can_make_networks(), reason="network namespaces need root and `ip` (Debian: iproute2)"
)


class Host:
    """One end of the cable. It has a loopback and, once `add` gave it some, addresses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.within = ("ip", "netns", "exec", name)

    def ip(self, *arguments: str) -> str:
        """Run `ip` there."""
        done = subprocess.run(["ip", "-n", self.name, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {arguments}: {done.stderr}"
        return done.stdout

    def add(self, *addresses: str) -> None:
        """Give the end of the cable addresses, as `192.0.2.1/24`, that are good at once."""
        for address in addresses:
            self.ip("address", "add", address, "dev", CABLE, *(("nodad",) if ":" in address else ()))

    def remove(self, address: str) -> None:
        """Take one away."""
        self.ip("address", "del", address, "dev", CABLE)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts and a cable, nobody with an address, no route anywhere; all of it is gone afterwards."""
    number = next(_numbers)
    hosts = [Host(f"p2psip-{os.getpid()}-{number}-{side}") for side in "ab"]
    try:
        for host in hosts:
            subprocess.run(["ip", "netns", "add", host.name], check=True)
            host.ip("link", "set", "lo", "up")
            # Link-local addresses are what a test gives.
            _write(host, "net.ipv6.conf.default.addr_gen_mode", "1")
        hosts[0].ip("link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", hosts[1].name)
        for host in hosts:
            _write(host, f"net.ipv6.conf.{CABLE}.addr_gen_mode", "1")
            host.ip("link", "set", CABLE, "up")
        _wait_carrier(hosts)
        yield hosts[0], hosts[1]
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)


@contextmanager
def star(*networks: tuple[str, str]) -> Iterator[tuple[Host, list[Host]]]:
    """A host in the middle and one at the end of each cable: their addresses, as `192.0.2.1/24`.

    No end has a way to any other.
    """
    number = next(_numbers)
    hub, *ends = (Host(f"p2psip-{os.getpid()}-{number}-{n}") for n in range(len(networks) + 1))
    try:
        for host in (hub, *ends):
            subprocess.run(["ip", "netns", "add", host.name], check=True)
            host.ip("link", "set", "lo", "up")
        for cable, (end, (near, far)) in enumerate(zip(ends, networks, strict=True)):
            hub.ip("link", "add", f"lan{cable}", "type", "veth", "peer", "name", CABLE, "netns", end.name)
            for host, device, address in ((hub, f"lan{cable}", near), (end, CABLE, far)):
                host.ip("address", "add", address, "dev", device, *(("nodad",) if ":" in address else ()))
                host.ip("link", "set", device, "up")
        yield hub, ends
    finally:
        for host in (hub, *ends):
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)


def _write(host: Host, name: str, value: str) -> None:
    path = f"/proc/sys/{name.replace('.', '/')}"
    subprocess.run([*host.within, "sh", "-c", f"echo {value} > {path}"], check=True, capture_output=True)


def _wait_carrier(hosts: Sequence[Host]) -> None:
    deadline = time.monotonic() + 10
    while not all("LOWER_UP" in host.ip("link", "show", CABLE) for host in hosts):
        assert time.monotonic() < deadline, "the cable has no carrier"
        time.sleep(0.02)
