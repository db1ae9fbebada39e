"""p2psip.portmap.values: what an outside address may be."""

from __future__ import annotations

import pytest

from p2psip.portmap.values import is_of_a_host


@pytest.mark.parametrize("host", ["203.0.113.7", "192.168.0.5", "100.64.0.1", "198.18.0.1"])
def test_some_machine_may_have_it(host: str) -> None:
    """One inside of a further router is one: others there may use it."""
    assert is_of_a_host(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "2001:db8::1", "router"])
def test_nobody_has_it(host: str) -> None:
    assert not is_of_a_host(host)
