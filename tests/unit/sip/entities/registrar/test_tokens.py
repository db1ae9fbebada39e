"""Tokens: what is put into one comes out of it."""

from __future__ import annotations

import base64
import random

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.own import ServerName
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transports.hops import BoundHop, FlowHop, LocalHop, UdpHop

HERE = Address("192.0.2.1", 5060)
HOSTS = ("192.0.2.9", "2001:db8::9", "fe80::9%eth0", "fe80::9%br_lan_2", "fe80::9%wl~x", "fe80::9%~u_~c~t%b")


SERVER = ServerName("pi.local", 5070)


def place_of(hop: BoundHop, host: str = "192.0.2.9") -> TokenPlace:
    return TokenPlace(hop, host, "alice", SERVER)


@pytest.mark.parametrize("host", HOSTS)
def test_a_token_leads_back_whatever_characters_the_host_has(host: str) -> None:
    """The scope of an IPv6 address is the name of an interface, in which people put underscores."""
    tokens = Tokens(random.Random(1))
    hops: tuple[BoundHop, ...] = (UdpHop(Address(host, 5062), HERE), FlowHop(7), LocalHop("voice_mail 1"))
    for hop in hops:
        uri = parse_sip_uri(f"sip:{tokens.make(place_of(hop, host))}@peer.example")
        assert tokens.read(uri.user_name) == place_of(hop, host)


def test_a_token_may_name_the_contact_of_a_phone() -> None:
    tokens = Tokens(random.Random(1))
    contact = parse_sip_uri("sip:alice-0x55d0@192.0.2.9:5062;transport=tcp")
    place = place_of(FlowHop(7))._replace(contact=contact, user="J\xf6rg\udcff", is_private=True)
    assert tokens.read(tokens.make(place)) == place


def test_a_token_tells_nothing_to_who_gets_it() -> None:
    """It stands in the Contact of a caller who may want to stay unknown."""
    token = Tokens(random.Random(1)).make(place_of(FlowHop(7)))
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert not any(word in data for word in (b"alice", b"192.0.2.9", b"pi.local"))


def test_a_token_of_somebody_else_is_none() -> None:
    """Another server's token, and one in which a character was changed."""
    tokens = Tokens(random.Random(1))
    token = tokens.make(place_of(FlowHop(7)))
    assert Tokens(random.Random(2)).read(token) is None
    for at in range(len(token)):
        changed = token[:at] + ("B" if token[at] == "A" else "A") + token[at + 1 :]
        # The last character has bits that mean nothing.
        assert at == len(token) - 1 or tokens.read(changed) is None
    for text in ("x", "", ".", token[:-2], token.upper() + "\xfc"):
        assert tokens.read(text) is None


def test_tokens_outlive_a_restart_and_connections_do_not() -> None:
    """The number of a connection may be that of another phone's by now."""
    before, after = (Tokens(random.Random(run), b"from the state directory") for run in (1, 2))
    udp, tcp = place_of(UdpHop(Address("192.0.2.9", 5062), HERE)), place_of(FlowHop(17))
    assert after.read(before.make(udp)) == udp
    assert after.read(before.make(tcp)) == tcp._replace(hop=None)
