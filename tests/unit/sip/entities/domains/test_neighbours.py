"""Two overlays side by side: each has the other's domain for a neighbour, and phones of one reach users of both."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from sip_world import Server, World
from world_phone import OVERLAY, Phone

from p2psip.base.address import Address
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.handling.forward_target import NobodyMeant, forward_target
from p2psip.sip.entities.numbers.dial_plan import DialPlan, Rule
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.message.uri import SipUri

OTHER = "club-c.example"
HERE, THERE = Address("10.1.0.1", 5060), Address("10.9.0.1", 5060)


def neighbours(domain: str, server: Address) -> OtherDomains:
    return OtherDomains(servers={domain: server}, guests=(ipaddress.ip_network(server.host),))


@pytest.fixture
def one(world: World) -> Server:
    """Ours, where 77 means somebody of the other overlay."""
    numbering = Numbering(plan=DialPlan((Rule("77", "", to=f"carol@{OTHER}"),)))
    return world.server("one", HERE.host, other_domains=neighbours(OTHER, THERE), numbering=numbering)


@pytest.fixture
def there(world: World) -> Server:
    """A peer of the other overlay."""
    return world.server(
        "there",
        THERE.host,
        realm=OTHER,
        domains=frozenset({OTHER, THERE.host}),
        peer_side=SipUri(OTHER, "peer-there", None, (("gr", "77" * 16),)),
        other_domains=neighbours(OVERLAY, HERE),
    )


@pytest.fixture
def carol(world: World, there: Server) -> Phone:
    phone = world.phone("carol", there, Address("10.9.0.13", 5060))
    assert phone.register().status == 200
    return phone


def test_phones_of_one_overlay_call_users_of_the_other_and_are_called_back(
    world: World, one: Server, there: Server, alice: Phone, carol: Phone
) -> None:
    call = alice.invite(f"sip:carol@{OTHER}")
    world.run(5.0)
    assert call.is_up, call.statuses
    shown = carol.calls[-1].request.from_
    assert str(shown.uri) == f"sip:alice@{OVERLAY}"
    # Nobody of the other overlay vouches for her.
    assert shown.display_name.startswith("Not verified")
    assert not [question for question in one.asked if type(question).__name__ == "FindRecords"]
    alice.hang_up(call)
    world.run(1.0)
    assert carol.calls[-1].is_over
    back = carol.invite(str(shown.uri))
    world.run(5.0)
    assert back.is_up, back.statuses
    assert str(alice.calls[-1].request.from_.uri) == f"sip:carol@{OTHER}"
    carol.hang_up(back)
    world.run(1.0)
    assert alice.calls[-1].is_over


def test_the_dial_plan_says_which_digits_are_the_others(
    world: World, one: Server, there: Server, alice: Phone, carol: Phone
) -> None:
    call = alice.invite("77")
    world.run(5.0)
    assert call.is_up, call.statuses
    assert len(carol.calls) == 1


def test_a_name_alone_is_one_of_the_own_overlay(world: World, alice: Phone, carol: Phone) -> None:
    call = alice.invite("carol")
    world.run(5.0)
    assert call.statuses[-1] in (404, 480)
    assert carol.calls == []


def test_a_domain_of_which_nothing_is_set_stays_closed(world: World, one: Server, alice: Phone) -> None:
    call = alice.invite("sip:dave@club-d.example")
    world.run(5.0)
    assert call.statuses[-1] == 404


def test_a_neighbour_that_is_not_there_is_said_to_be(world: World, one: Server, alice: Phone) -> None:
    world.closed.add(THERE)
    call = alice.invite(f"sip:carol@{OTHER}")
    world.run(40.0)
    assert call.statuses[-1] >= 480


def test_what_would_happen_says_which_server(one: Server) -> None:
    context = object()
    one.core.find_servers(SipUri(OTHER, "carol"), context, 0.0)
    (found,) = [effect for effect in one.core.drain() if getattr(effect, "context", None) is context]
    assert found.found.said == (f"the server of {OTHER} is set: {THERE}",)


def test_nobody_forwards_to_another_overlay_and_to_a_domain_of_the_own_one_everybody_may(one: Server) -> None:
    """Whom a record leads to, callers look for in the overlay."""
    with pytest.raises(NobodyMeant, match="in no domain of the overlay") as refused:
        forward_target(one.config, "77", "alice")
    assert refused.value.status == 403
    assert forward_target(replace(one.config, hosted=frozenset({OTHER})), "77", "alice") == f"carol@{OTHER}"
