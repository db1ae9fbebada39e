"""Addresses (p2psip.reload.wire.common)."""

from __future__ import annotations

import pytest

from p2psip.reload.wire.common import AddressType, IpAddressPort, IPv4AddrPort
from p2psip.reload.wire.language.primitives import DecodeError


@pytest.mark.parametrize(
    ("host", "port", "encoded", "text"),
    [
        ("192.0.2.1", 6084, "01 06 c0000201 17c4", "192.0.2.1:6084"),
        ("2001:db8::1", 1, "02 12 20010db8000000000000000000000001 0001", "[2001:db8::1]:1"),
        ("0.0.0.0", 0, "01 06 00000000 0000", "0.0.0.0:0"),
    ],
)
def test_text_and_back(host: str, port: int, encoded: str, text: str) -> None:
    """From text to the wire to text."""
    address = IpAddressPort.of(host, port)
    assert address.encode() == bytes.fromhex(encoded)
    assert IpAddressPort.decode(bytes.fromhex(encoded)).host_port == (host, port)
    assert address.summary() == text


def test_host_names_are_no_addresses() -> None:
    """The wire has no names."""
    with pytest.raises(ValueError, match="example"):
        IpAddressPort.of("example.org", 5060)


def test_type_and_value_must_go_together() -> None:
    """An IPv4 address cannot be labelled IPv6."""
    with pytest.raises(ValueError, match="IPv6AddrPort wanted, not IPv4AddrPort"):
        IpAddressPort(AddressType.IPV6_ADDRESS, IPv4AddrPort(1, 1))


def test_length_must_fit_the_type() -> None:
    """An IPv4 address in seven bytes is wrong."""
    with pytest.raises(DecodeError, match=r"IpAddressPort\.addr_port: 1 bytes left over, at byte 8"):
        IpAddressPort.decode(bytes.fromhex("01 07 c0000201 17c4 00"))
