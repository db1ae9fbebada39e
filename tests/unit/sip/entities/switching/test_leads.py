"""The URIs of the switchboard, and the one of them that others see."""

from __future__ import annotations

import random

import pytest

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import ServerName
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens
from p2psip.sip.entities.switching.leads import SWITCHBOARD, park_target, place_uri
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.hops import LocalHop

REALM = "overlay.example"


def config(gruu: str = "aa") -> ServerConfig:
    return ServerConfig(REALM, frozenset({REALM}), (), SipUri(REALM, "peer-one", None, (("gr", gruu),)))


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(random.Random(1))


def test_a_place_says_which_it_is_and_who_has_parked(tokens: Tokens) -> None:
    uri = place_uri("3", "carol+2", config(), tokens)
    target = park_target(parse_sip_uri(str(uri)), config(), tokens)
    assert target is not None
    assert target.hops == (LocalHop(SWITCHBOARD),)
    assert (target.uri.param("slot"), target.uri.replace(user=target.uri.param("by")).user_name) == ("3", "carol+2")


def test_whoever_makes_one_up_parks_nowhere(tokens: Tokens) -> None:
    uri = place_uri("3", "carol", config(), tokens)
    assert park_target(uri, config("bb"), tokens) is None, "it is another peer's"
    assert park_target(uri, config(), Tokens(random.Random(2))) is None, "another secret"
    assert park_target(uri.replace(params=(("gr", "aa"),)), config(), tokens) is None
    assert park_target(uri.replace(params=(("gr", "aa"), ("parked", "x" * 90))), config(), tokens) is None


@pytest.mark.parametrize("agent", [SWITCHBOARD, "star codes"])
def test_what_others_know_of_a_call_with_an_agent_parks_nobody(tokens: Tokens, agent: str) -> None:
    """Whoever has been in a dialog with it knows the token of that, which names no place."""
    token = tokens.make(TokenPlace(LocalHop(agent), "", "carol", ServerName(REALM)))
    uri = SipUri(REALM, "park", None, (("gr", "aa"), ("parked", token)))
    assert park_target(uri, config(), tokens) is None
