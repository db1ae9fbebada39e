"""The NAT of p2psip.sim beside the one of Linux, asked the same: where they agree, and where Linux is its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from kernel_nat import KernelNat, kernel_nat, needs_nft, received
from networks import needs_networks
from virtual_nat import Bench, server

from p2psip.sim.ip.boxes import Dependence, Hairpin, NatBehaviour

pytestmark = [pytest.mark.slow, needs_networks, needs_nft]

TIMEOUT_S = 3
LINUX = NatBehaviour(
    filtering=Dependence.ADDRESS_AND_PORT, hairpin=Hairpin.NO, timeout_s=TIMEOUT_S, inbound_refresh=True
)
"""What `masquerade` is, in RFC 4787's words."""


@pytest.fixture
def linux() -> Iterator[KernelNat]:
    """The real one."""
    with kernel_nat(timeout_s=TIMEOUT_S) as ground:
        yield ground


def test_mapping_and_port(linux: KernelNat) -> None:
    """REQ-1: one outside port for all remotes; it is the inside one."""
    ours = Bench(LINUX)
    real, virtual = linux.socket(), ours.socket()
    for address in (0, 1):
        for port in (0, 1):
            assert linux.seen(real, server(address, port)) == ours.seen(virtual, server(address, port))


def test_two_hosts_with_one_port_and_one_remote(linux: KernelNat) -> None:
    """REQ-3: the second has another."""
    ours = Bench(LINUX)
    for host in (0, 1):
        kept = [
            linux.seen(linux.socket(host), server(0, 0)).port == 5000,
            ours.seen(ours.socket(host), server(0, 0)).port == 5000,
        ]
        assert kept == [host == 0, host == 0]


def test_filtering(linux: KernelNat) -> None:
    """REQ-8: by address and port."""
    ours = Bench(LINUX)
    real, virtual = linux.socket(), ours.socket()
    seen, seen_virtually = linux.seen(real, server(0, 0)), ours.seen(virtual, server(0, 0))
    for address in (0, 1):
        for port in (0, 1):
            passes = linux.passes(server(address, port), seen, real)
            assert passes == ours.passes(server(address, port), seen_virtually) == ((address, port) == (0, 0))


def test_hairpin(linux: KernelNat) -> None:
    """REQ-9: none, where nobody has set it up."""
    ours = Bench(LINUX)
    real, virtual = (linux.socket(0, 5001), linux.socket(1, 5002)), (ours.socket(0, 5001), ours.socket(1, 5002))
    seen, seen_virtually = linux.seen(real[1], server(0, 0)), ours.seen(virtual[1], server(0, 0))
    real[0].sendto(b"hairpin", seen)
    assert received(real[1]) is None
    count = len(ours.received)
    virtual[0].send(seen_virtually, b"hairpin")
    ours.wait(1.0)
    assert len(ours.received) == count


def test_timeout_and_refresh_from_outside(linux: KernelNat) -> None:
    """REQ-6a: what comes in keeps a mapping; REQ-5: without anything it ends."""
    ours = Bench(LINUX)
    real, virtual = linux.socket(), ours.socket()
    seen, seen_virtually = linux.seen(real, server(0, 0)), ours.seen(virtual, server(0, 0))
    for _ in range(3):
        time.sleep(TIMEOUT_S - 1)
        ours.wait(TIMEOUT_S - 2.0)
        assert linux.passes(server(0, 0), seen, real)
        assert ours.passes(server(0, 0), seen_virtually)
    time.sleep(TIMEOUT_S + 2)
    ours.wait(TIMEOUT_S + 2.0)
    assert not linux.passes(server(0, 0), seen, real)
    assert not ours.passes(server(0, 0), seen_virtually)


def test_where_linux_is_its_own(linux: KernelNat) -> None:
    """Two hosts with one port that ask different remotes share the outside port, as each flow is told apart by both of
    its ends. RFC 4787 calls that overloading (REQ-3); here it can be had as such, with what it costs.
    """
    first, second = (linux.seen(linux.socket(host), server(host, 0)) for host in (0, 1))
    assert first == second
    ours = Bench(LINUX)
    first, second = (ours.seen(ours.socket(host), server(host, 0)) for host in (0, 1))
    assert first.port != second.port
