"""RFC 5626 4.4, 5.4 and 8: what keeps a phone's way through a NAT open is answered, on every transport."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.transports.arrivals import Datagram, FlowData, FlowDown, FlowUp
from p2psip.sip.transports.effects import SendFlow, SendUdp
from p2psip.sip.transports.hops import AcceptedTransport
from p2psip.sip.transports.layer import Listener, TransportLayer
from p2psip.stun.attributes import XOR_MAPPED_ADDRESS
from p2psip.stun.message import decode

HERE, HERE6 = Address("192.0.2.1", 5060), Address("2001:db8::1", 5060)
PHONE, PHONE6 = Address("198.51.100.7", 40_000), Address("2001:db8:7::7", 40_000)
BINDING = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"transaction."


def layer() -> TransportLayer:
    return TransportLayer((Listener("UDP", HERE), Listener("UDP", HERE6), Listener("TCP", HERE), Listener("TLS", HERE)))


@pytest.mark.parametrize("transport", ["TCP", "TLS"])
def test_4_4_1_a_ping_is_answered_by_a_pong(transport: AcceptedTransport) -> None:
    """ "the server MUST respond with a single CRLF ("pong")": to each, in whatever pieces it comes."""
    one = layer()
    one.handle(FlowUp(1, transport, HERE, PHONE), 0.0)
    one.drain()
    assert one.handle(FlowData(1, b"\r\n\r\n"), 1.0) == []
    assert one.drain() == [SendFlow(1, b"\r\n")]
    for byte in b"\r\n\r\n":
        one.handle(FlowData(1, bytes([byte])), 2.0)
    assert one.drain() == [SendFlow(1, b"\r\n")]


@pytest.mark.parametrize(("local", "remote"), [(HERE, PHONE), (HERE6, PHONE6)])
def test_8_a_binding_request_at_the_port_of_sip_is_answered_from_there(local: Address, remote: Address) -> None:
    """ "MUST also provide a limited version of a STUN server on the same interface and UDP port": it says by which
    address it has seen the phone, in which the phone sees that its NAT has moved it.
    """
    one = layer()
    assert one.handle(Datagram(local, remote, BINDING), 0.0) == []
    (answer,) = one.drain()
    assert isinstance(answer, SendUdp)
    assert (answer.local, answer.remote) == (local, remote)
    assert XOR_MAPPED_ADDRESS.first(decode(answer.data)) == remote


@pytest.mark.parametrize("cut", [b"", BINDING[:10], BINDING[:19], b"\x00\x11" + BINDING[2:], b"\x01\x01" + BINDING[2:]])
def test_8_what_is_no_binding_request_is_not_answered(cut: bytes) -> None:
    """Nobody is answered who has not asked: indications, responses, and what is cut off."""
    one = layer()
    assert one.handle(Datagram(HERE, PHONE, cut), 0.0) == []
    assert one.drain() == []


def test_5_4_who_promised_keep_alives_and_sends_none_is_gone() -> None:
    """ "The server MUST wait for an amount of time larger than the Flow-Timer": 180 s for 120."""
    one = layer()
    one.handle(FlowUp(1, "TCP", HERE, PHONE), 0.0)
    options = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP x\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\n"
    one.handle(FlowData(1, options + b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"), 0.0)
    one.expect_keep_alives(1, 180.0)
    for at in (100.0, 200.0):
        one.handle(FlowData(1, b"\r\n\r\n"), at)
        assert one.handle_timeout(at + 100.0) == []
    assert one.handle_timeout(380.0) == [FlowDown(1, "idle connection")]
