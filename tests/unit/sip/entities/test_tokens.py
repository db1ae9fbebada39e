"""Flow tokens: what is put into one comes out of it."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.tokens import Token, Tokens
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transports.hops import BoundHop, FlowHop, LocalHop, Source, UdpHop

HERE = Address("192.0.2.1", 5060)
HOSTS = ("192.0.2.9", "2001:db8::9", "fe80::9%eth0", "fe80::9%br_lan_2", "fe80::9%wl~x", "fe80::9%~u_~c~t%b")


@pytest.mark.parametrize("host", HOSTS)
def test_a_token_leads_back_whatever_characters_the_host_has(host: str) -> None:
    """The scope of an IPv6 address is the name of an interface, in which people put underscores."""
    tokens = Tokens(random.Random(1))
    remote = Address(host, 5062)
    hops: tuple[BoundHop, ...] = (UdpHop(remote, HERE), FlowHop(7), LocalHop("echo"))
    for hop in hops:
        uri = parse_sip_uri(f"sip:{tokens.make(Source(hop, 'UDP', remote))}@peer.example")
        assert tokens.read(uri.user_name) == Token(hop, host)


def test_a_token_of_somebody_else_is_none() -> None:
    """Another server's token, and one in which a character was changed."""
    token = Tokens(random.Random(1)).make(Source(FlowHop(7), "UDP", Address("192.0.2.9", 5062)))
    assert Tokens(random.Random(2)).read(token) is None
    assert Tokens(random.Random(1)).read(token.replace("/7", "/8")) is None
