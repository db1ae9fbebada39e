"""The caller's name on the display: what the directory has of who has proved to call, whatever his phone says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.directory.listing import Card
from p2psip.reload.config.configuration import CERTIFICATE_KINDS, DIRECTORY_KINDS, SIP_REGISTRATION_KIND
from p2psip.sim.sites.making import line_of
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse

KINDS = (SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS, *DIRECTORY_KINDS)


def club(card: Card, callee: int) -> tuple[SimulatedPeers, SitePhone, SitePhone]:
    """alice at the first peer, who says this of herself, and bob at peer number `callee`, with their phones."""
    world = SimulatedPeers(f"names {card} {callee}", 2, required_kinds=KINDS)
    for number, user, said in ((0, "alice", card), (callee, "bob", Card())):
        line = replace(line_of(world.seed, number, user, user), card=said)
        world[number].call(lambda now, site=world[number], line=line: site.peer.add_line(line, now))
    world.settle_records((0, callee))
    alice, bob = world.phone(0, "alice"), world.phone(callee, "bob", 1)
    known = world[callee].peer.directory
    assert world.run(200.0, stop=lambda: len(known.entries(world.world.now)) == 2)
    return world, alice, bob


def shown(world: SimulatedPeers, caller: SitePhone, callee: SitePhone, says: str = "") -> tuple[str, list[str]]:
    """What the phone of who is called shows; its caller's phone `says` that this is its name."""
    from_ = caller.agent.call

    def call(target: object, now: float) -> object:
        return from_(target, now, says)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caller.agent, "call", call)
        number = caller.dial(callee.user)
    assert world.run(6.0, stop=lambda: caller.talks)
    found = [parse(data) for data in callee.received]
    invite = [one for one in found if isinstance(one, Request) and one.method == "INVITE"][-1]
    caller.hang_up(number)
    world.run(1.0)
    assert invite.from_.tag
    return str(NameAddr(invite.from_.uri, invite.from_.display_name)), invite.fields.lines("p-asserted-identity")


@pytest.mark.parametrize("callee", [0, 1], ids=["at the same peer", "at another peer"])
def test_the_name_of_the_directory_stands_in_place_of_what_the_phone_says(callee: int) -> None:
    world, alice, bob = club(Card("Alice Hill", "200", "Hill", "DL1ABC"), callee)
    name, asserted = shown(world, alice, bob, "Somebody Else")
    assert name.startswith('"Alice Hill DL1ABC" <sip:alice@')
    (line,) = asserted
    assert line.startswith('"Alice Hill DL1ABC" <sip:alice@')


def test_who_has_said_nothing_is_shown_as_before() -> None:
    world, alice, bob = club(Card(), 1)
    name, asserted = shown(world, alice, bob, "Alice's phone")
    assert name.startswith('"Alice\'s phone" <sip:alice@')
    assert asserted[0].startswith('"Alice\'s phone" <sip:alice@')


def test_who_has_proved_nothing_has_no_name_either() -> None:
    """Another peer that says alice of who calls, and whose proof is gone."""
    world, alice, bob = club(Card("Alice Hill"), 1)
    world[0].peer.callers.sign = lambda asked, now: None  # type: ignore[method-assign]
    name, asserted = shown(world, alice, bob)
    assert name == '"Not verified" <sip:not-verified@anonymous.invalid>'
    assert asserted == []
