"""p2psip.net.routes: the default router, as Linux has it."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
from kernel_nat import within
from networks import needs_networks

from p2psip.net.routes import default_router
from p2psip.portmap.values import HomeRouter

_numbers = itertools.count(1)
Routed = Callable[..., HomeRouter | None]


@pytest.fixture
def routed() -> Iterator[Routed]:
    """What is found in a namespace with such routes."""
    name = f"p2psip-routes-{os.getpid()}-{next(_numbers)}"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", "-n", name, *arguments], check=True, capture_output=True)

    def look(*routes: str) -> HomeRouter | None:
        for route in routes:
            ip("route", "add", *route.split())
        return within(name, default_router)

    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for device, address in (("eth0", "192.168.7.2/24"), ("wlan0", "10.1.0.2/24")):
            ip("link", "add", device, "type", "veth", "peer", "name", f"{device}-end")
            ip("address", "add", address, "dev", device)
            ip("link", "set", f"{device}-end", "up")
            ip("link", "set", device, "up")
        yield look
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@needs_networks
def test_the_default_route_with_the_lowest_metric_is_taken(routed: Routed) -> None:
    found = routed(
        "default via 10.1.0.1 metric 600", "default via 192.168.7.1 metric 100", "172.16.0.0/12 via 10.1.0.9"
    )
    assert found == HomeRouter("192.168.7.1", "192.168.7.2")


@needs_networks
def test_there_may_be_none(routed: Routed) -> None:
    assert routed("172.16.0.0/12 via 10.1.0.9") is None


@needs_networks
def test_where_all_goes_through_a_tunnel_there_is_no_router_to_ask(routed: Routed) -> None:
    assert routed("default dev wlan0 metric 1", "default via 192.168.7.1 metric 100") is None
