"""Transactions of which nobody waits for the end (RFC 3261 section 17)."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transactions.layer import TransactionLayer
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer

LOCAL, REMOTE = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)


def test_transactions_of_which_nobody_waits_for_the_end_end_together() -> None:
    """17.1.2.2: timer K fires in T4; a quarter of a second later is nobody's loss, and a peer wakes once for many."""
    layer = TransactionLayer(TransportLayer((Listener("UDP", LOCAL),)), random.Random(1))
    uri = parse_sip_uri("sip:bob@b")
    for number, now in enumerate((0.01, 0.05, 0.2, 0.3)):
        options = make_request(
            "OPTIONS", uri, from_=NameAddr(uri).with_tag("1"), to=NameAddr(uri), call_id=f"{number}@a", cseq=1
        )
        layer.request(options, UdpHop(REMOTE), None, now)
        (sent,) = (effect for effect in layer.drain() if isinstance(effect, SendUdp))
        asked = parse(sent.data)
        assert isinstance(asked, Request)
        layer.handle(Datagram(LOCAL, REMOTE, make_response(asked, 200, to_tag="2").encode()), now)
    ends = []
    while (deadline := layer.next_deadline()) is not None:
        layer.handle_timeout(deadline.at)
        ends.append((deadline.at, 4 - len(layer)))
    assert ends == [(5.25, 3), (5.5, 4)]
