"""Addresses, and what counts as one source."""

from __future__ import annotations

from p2psip.base.address import source_key, unmapped


def test_sources() -> None:
    """An IPv6 host may take any address of its /64."""
    assert source_key("192.0.2.1") == "192.0.2.1"
    assert source_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert source_key("2001:db8::1") == source_key("2001:db8::ffff") != source_key("2001:db8:0:1::1")
    assert source_key("fe80::1%eth0") == "fe80::/64"
    assert source_key("") == ""


def test_an_ipv4_address_that_a_socket_for_both_kinds_wrapped() -> None:
    assert unmapped("::ffff:192.0.2.1") == "192.0.2.1"
    for host in ("192.0.2.1", "2001:db8::1", "fe80::1%eth0", "box", ""):
        assert unmapped(host) == host
