"""Values of registered Kinds (p2psip.reload.wire.usages.sip_registration, turn_server, kinds)."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.kinds import REGISTERED_MODELS, REGISTERED_NAMES
from p2psip.reload.wire.usages.sip_registration import SipRegistration, SipRegistrationType
from p2psip.reload.wire.usages.turn_server import TurnServer

A = NodeId(b"\xaa" * 16)


def test_registration_of_another_aor() -> None:
    """RFC 7904 section 3.2: alice's calls go to sam."""
    registration = SipRegistration.uri("sip:sam@d")
    assert registration.encode() == bytes.fromhex("01 000b 0009") + b"sip:sam@d"
    assert SipRegistration.decode(registration.encode()) == registration


def test_registration_of_a_route() -> None:
    """RFC 7904 section 3.2: contact preferences and a destination list, which is not empty."""
    registration = SipRegistration.route((Destination.node(A),), b"(x)")
    assert registration.encode() == bytes.fromhex(f"02 0019 0003 287829 0012 01 10 {A.hex()}")
    assert SipRegistration.decode(registration.encode()) == registration
    with pytest.raises(ValueError, match="0 bytes of elements, 3 to 65535 fit"):
        SipRegistration.route(())
    with pytest.raises(ValueError, match="2 bytes of elements"):
        SipRegistration.route((CompressedDestination(0x8000),))


def test_registrations_of_tomorrow_are_kept() -> None:
    """ "This type can be extended"."""
    assert SipRegistration.decode(bytes.fromhex("03 0001 ff")) == SipRegistration(SipRegistrationType(3), b"\xff")


def test_turn_server() -> None:
    """RFC 6940 section 9."""
    server = TurnServer(3, IpAddressPort.of("192.0.2.1", 3478))
    assert server.encode() == bytes.fromhex("03 01 06 c0000201 0d96")


def test_every_registered_kind_has_a_model() -> None:
    """Names and models speak of the same Kinds."""
    assert sorted(REGISTERED_NAMES.values()) == sorted(REGISTERED_MODELS)
