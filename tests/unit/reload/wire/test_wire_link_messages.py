"""Attach, AppAttach, Ping, ConfigUpdate, Probe (p2psip.reload.wire.link_messages)."""

from __future__ import annotations

import pytest

from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import (
    AppAttachReq,
    AttachReqAns,
    CandType,
    ConfigUpdateReq,
    ConfigUpdateType,
    IceCandidate,
    IceExtension,
    OverlayLinkType,
    PingAns,
    PingReq,
    ProbeAns,
    ProbeInformation,
    ProbeInformationType,
    ProbeReq,
)

ADDRESS, ADDRESS_HEX = IpAddressPort.of("192.0.2.1", 6084), "01 06 c0000201 17c4"
HOST = IceCandidate(ADDRESS, OverlayLinkType.TLS_TCP_FH_NO_ICE, b"f", 0x01020304, CandType.HOST)
HOST_HEX = f"{ADDRESS_HEX} 04 01 66 01020304 01 0000"
RELAY = IceCandidate(ADDRESS, OverlayLinkType.DTLS_UDP_SR, b"", 5, CandType.RELAY, ADDRESS, (IceExtension(b"n", b"v"),))
RELAY_HEX = f"{ADDRESS_HEX} 01 00 00000005 04 {ADDRESS_HEX} 0006 0001 6e 0001 76"


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (HOST, HOST_HEX),
        (RELAY, RELAY_HEX),
        (
            AttachReqAns(b"u", b"pw", b"passive", (HOST, RELAY), True),
            f"01 75 02 7077 07 70617373697665 0031 {HOST_HEX} {RELAY_HEX} 01",
        ),
        (AppAttachReq(b"u", b"pw", 5060, b"active", ()), "01 75 02 7077 13c4 06 616374697665 0000"),
        (PingReq(b"pad"), "0003 706164"),
        (PingAns(1, 2), "0000000000000001 0000000000000002"),
        (ConfigUpdateReq.config(b"<c/>"), "01 00000007 000004 3c632f3e"),
        (ConfigUpdateReq.kind((b"<k/>", b"")), "02 0000000b 000008 0004 3c6b2f3e 0000"),
        (ProbeReq((ProbeInformationType.UPTIME, ProbeInformationType(200))), "02 03 c8"),
        (
            ProbeAns(
                (
                    ProbeInformation(ProbeInformationType.UPTIME, 60),
                    ProbeInformation(ProbeInformationType(200), b"?"),
                )
            ),
            "0009 03 04 0000003c c8 01 3f",
        ),
    ],
)
def test_byte_for_byte(value: Struct, encoded: str) -> None:
    """Written by hand from the RFC's definitions."""
    assert value.encode() == bytes.fromhex(encoded)
    assert type(value).decode(bytes.fromhex(encoded)) == value


def test_related_address_goes_with_the_type() -> None:
    """ "It is present only for types relay, prfix, and srflx"."""
    with pytest.raises(ValueError, match="rel_addr_port: IpAddressPort wanted, not NoneType"):
        IceCandidate(ADDRESS, OverlayLinkType.DTLS_UDP_SR, b"", 5, CandType.SRFLX)
    with pytest.raises(ValueError, match="rel_addr_port: not in a structure of type host"):
        IceCandidate(ADDRESS, OverlayLinkType.DTLS_UDP_SR, b"", 5, CandType.HOST, ADDRESS)


def test_candidates_of_unknown_links_can_be_skipped() -> None:
    """They decode, so that the receiver may ignore just them; unknown candidate types have no known length."""
    decoded = IceCandidate.decode(bytes.fromhex(f"{ADDRESS_HEX} 63 00 00000005 01 0000"))
    assert decoded.overlay_link == 0x63
    with pytest.raises(DecodeError, match="3 is no CandType"):
        IceCandidate.decode(bytes.fromhex(f"{ADDRESS_HEX} 01 00 00000005 03 0000"))


def test_config_update_has_two_lengths() -> None:
    """Both are checked against each other."""
    with pytest.raises(DecodeError, match="1 bytes left over"):
        ConfigUpdateReq.decode(bytes.fromhex("01 00000005 000001 3c 3e"))


def test_config_update_arms() -> None:
    """One of the two, or of tomorrow's."""
    config, kind = ConfigUpdateReq.config(b"<c/>"), ConfigUpdateReq.kind((b"<k/>",))
    assert (config.config_data, config.kinds) == (b"<c/>", ())
    assert (kind.config_data, kind.kinds) == (None, (b"<k/>",))
    other = ConfigUpdateReq.decode(bytes.fromhex("07 00000001 ff"))
    assert (other.type, other.data, other.config_data, other.kinds) == (ConfigUpdateType(7), b"\xff", None, ())
