"""Groups of which a member is called at a telephone number, through a gateway; in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gateway_peers import EVERY_PEER, KINDS, TRUNK, Provider

from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.groups import Group, Ringing
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse

MOBILE = "0049170"


def world_of(
    provider: Provider,
    ring: Ringing = "all",
    members: tuple[str, ...] = ("bob", "carol"),
    payer: str = "bob",
    at: tuple[int, ...] = (2,),
) -> SimulatedPeers:
    """alice calls from p0; there are two groups of these members. Gateways are `at` peers, and `payer` may call."""
    groups = {"sales": Group(members, ring), "00600": Group(members, ring)}
    world = SimulatedPeers("numbers", 0, required_kinds=KINDS, services=EVERY_PEER, numbering=Numbering(groups=groups))
    trunk = replace(TRUNK, lines=frozenset({payer}))
    for number in range(3):
        world.add(number, **({"trunk": trunk, "provider": provider} if number in at else {}))  # type: ignore[arg-type]
        world.run(3.0)
    world.run(20.0, stop=lambda: all(site.peer.node.is_serving for site in world.sites.values()))
    return world


def forward(world: SimulatedPeers, number: int, user: str, **handling: object) -> None:
    site = world[number]
    site.call(lambda now: site.peer.handle_calls(user, CallHandling(**handling), now))  # type: ignore[arg-type]
    world.run(10.0)


def call(world: SimulatedPeers, alice: SitePhone, number: str) -> str:
    which = alice.dial(number)
    world.run(60.0, stop=lambda: alice.ended(which) is not None or alice.talks)
    return alice.ended(which) or "talks"


@pytest.mark.long
@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("ring", ["all", "in-order"])
@pytest.mark.parametrize(("who", "is_at"), [("bob", 0), ("carol", 1)])
def test_a_member_forwards_all_calls_to_a_telephone(ring: Ringing, who: str, is_at: int, at: int) -> None:
    """It is he who pays: nobody else of them may call out (docs/decisions/gateways.md)."""
    provider = Provider(180)
    world = world_of(provider, ring, payer=who, at=(at,))
    alice, bob, carol = world.with_phones((0, "alice"), (0, "bob"), (1, "carol"), answer_s=None)
    forward(world, is_at, who, always=MOBILE)
    alice.dial("sales")
    assert world.run(30.0, stop=lambda: bool(provider.called))
    world.run(2.0)
    assert provider.called == [MOBILE]
    assert [bob.rang, carol.rang] == [int(who != "bob"), int(who != "carol" and ring == "all")]


@pytest.mark.parametrize("is_at", [0, 1])
def test_a_member_whose_phone_is_off_is_called_where_he_wants_that(is_at: int) -> None:
    """At which peer he is does not matter, and the others ring as ever."""
    provider = Provider(180)
    world = world_of(provider)
    alice, bob, carol = world.with_phones((0, "alice"), (is_at, "bob"), (1 - is_at, "carol"), answer_s=None)
    forward(world, is_at, "bob", no_answer=MOBILE)
    alice.dial("sales")
    world.run(3.0)
    assert (bob.rang, carol.rang, provider.called) == (1, 1, []), "he is there"
    alice.hang_up(1)
    bob.run(bob.agent.unregister)
    world.run(5.0)
    alice.dial("sales")
    world.run(8.0)
    assert (bob.rang, carol.rang, provider.called) == (1, 2, [MOBILE])


def test_a_number_that_is_a_member() -> None:
    provider = Provider()
    world = world_of(provider, members=("bob", MOBILE), payer="alice")
    alice, bob = world.with_phones((0, "alice"), (0, "bob"), answer_s=None)
    assert call(world, alice, "sales") == "talks"
    assert (provider.called, bob.rang) == ([MOBILE], 1)


@pytest.mark.parametrize(("status", "said"), [(503, "500"), (486, "486")])
def test_a_group_whose_name_is_a_number_is_not_called_through_a_gateway_after_all(status: int, said: str) -> None:
    provider = Provider(status)
    world = world_of(provider, members=("bob",), at=(1, 2))
    (alice, _) = world.with_phones((0, "alice"), (0, "bob"))
    forward(world, 0, "bob", always=MOBILE)
    assert call(world, alice, "00600").startswith(f"{said} ")
    assert provider.called == [MOBILE]


def test_who_is_called_in_the_place_of_a_member_is_told_so() -> None:
    """RFC 5806 5.1: "If the destination of a request is changed, [...] a Diversion header"."""
    world = world_of(Provider())
    alice, bob, dora = world.with_phones((0, "alice"), (0, "bob"), (1, "dora"))
    forward(world, 0, "bob", always="dora")
    assert call(world, alice, "sales") == "talks"
    (invite,) = [one for data in dora.received if isinstance(one := parse(data), Request) and one.method == "INVITE"]
    assert [value.partition(";")[2] for value in invite.fields.values("diversion")] == ["reason=unconditional"]
    assert "sip:bob@" in (invite.fields.first("diversion") or "")
    assert bob.rang == 0


def test_a_line_at_two_peers_of_which_one_forwards_to_a_telephone() -> None:
    """Both are tried (docs/decisions/call-forwarding.md)."""
    provider = Provider()
    world = world_of(provider)
    alice, _ = world.with_phones((0, "alice"), (1, "bob"), answer_s=None)
    world.line(2, "bob", name="bob")
    forward(world, 2, "bob", always=MOBILE)
    assert call(world, alice, "bob") == "talks"
    assert provider.called == [MOBILE]
