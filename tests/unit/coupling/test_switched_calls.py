"""Calls that are picked up, parked, and ring in groups, across peers in virtual time."""

from __future__ import annotations

import pytest

from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.groups import Group
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.switching.switchboard import CALLED_BACK_MAX, PARKED_S
from p2psip.sip.message.build import make_request
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri


def phones(world: SimulatedPeers, *users: tuple[int, str], silent: tuple[str, ...] = ()) -> list[SitePhone]:
    """Lines and phones, (peer, user) each; those that are silent ring until somebody answers."""
    for number, user in users:
        world.line(number, user)
    world.settle_records(number for number, _ in users)
    made = [
        world.phone(number, user, 10 * number + at, answer_s=None if user in silent else 0.5)
        for at, (number, user) in enumerate(users)
    ]
    world.run(2.0)
    return made


def handle(site: Site, user: str, **handling: object) -> None:
    """The owner of a line says so on the machine of its peer."""
    site.call(lambda now: site.peer.handle_calls(user, CallHandling(**handling), now))  # type: ignore[arg-type]


def messages(phone: SitePhone, method: str) -> list[Request | Response]:
    return [message for data in phone.received if (message := parse(data)).cseq.method == method]


def invites(phone: SitePhone) -> int:
    """How often its phone was made to ring."""
    return len({m.call_id for m in messages(phone, "INVITE") if isinstance(m, Request)})


def shown(phone: SitePhone) -> str:
    """With whom the display of a phone says that it talks."""
    answers = [m for m in messages(phone, "INVITE") if isinstance(m, Response) and m.is_success]
    return answers[-1].fields.first("p-asserted-identity") or ""


def talking(*phones: SitePhone) -> bool:
    return all(phone.talks for phone in phones)


def transfer(phone: SitePhone, to: str, *, refers: int = 0) -> None:
    """A blind transfer (RFC 5359 section 2.4) of whom this phone was called by, or has called."""
    requests = [m for m in messages(phone, "INVITE") if isinstance(m, Request)]
    answers = [m for m in messages(phone, "INVITE") if isinstance(m, Response) and m.is_success]
    if answers:
        of, local, remote = answers[-1], answers[-1].from_, answers[-1].to
        routes = tuple(reversed(of.record_routes))
    else:
        of = requests[-1]
        mine = phone.agent._calls[max(phone.agent._calls)].dialog  # type: ignore[attr-defined]
        local, remote, routes = mine.local, mine.remote, of.record_routes
    via = Via("UDP", phone.address.host, phone.address.port, (("branch", f"z9hG4bKrefer{len(phone.received)}"),))
    refer = make_request(
        "REFER",
        of.contacts[0].sip_uri,
        from_=local,
        to=remote,
        call_id=of.call_id,
        cseq=100 + refers,
        routes=routes,
        extra=[
            ("Via", via),
            ("Contact", NameAddr(SipUri(phone.address.host, phone.user, 5060))),
            ("Refer-To", NameAddr(SipUri(phone.server.host, to))),
        ],
    )
    phone.send(refer.encode())


def follow(phone: SitePhone) -> int:
    """What a phone does that was transferred."""
    referred = [m for m in messages(phone, "REFER") if isinstance(m, Request)]
    return phone.dial(str(NameAddr.parse(referred[-1].fields.first("refer-to") or "").uri))


# Pick-up


def test_who_has_a_line_here_picks_up() -> None:
    world = SimulatedPeers("pick-up/here", 2)
    alice, bob, carol = phones(world, (0, "alice"), (1, "bob"), (1, "carol"), silent=("bob",))
    number = alice.dial("bob")
    world.run(2.0)
    assert bob.rang == 1
    picked = carol.dial("**bob")
    assert world.run(3.0, stop=lambda: talking(alice, carol))
    assert "alice" in shown(carol)
    world.run(1.0)
    assert not bob.agent.calls, "it rings no more"
    alice.hang_up(number)
    world.run(1.0)
    assert carol.ended(picked) is not None
    world.run(40.0)
    assert world[1].peer.server.counts["requests under way"] == 0


def test_who_is_elsewhere_picks_up_if_the_owner_permits_it() -> None:
    world = SimulatedPeers("pick-up/elsewhere", 3)
    alice, dora, bob = phones(world, (0, "alice"), (2, "dora"), (1, "bob"), silent=("bob",))
    alice.dial("bob")
    world.run(2.0)
    number = dora.dial("**bob")
    world.run(2.0)
    assert dora.ended(number) is not None
    assert "dora may not pick up calls of bob" in str(dora.ended(number))
    handle(world[1], "bob", pick_up=("dora",))
    dora.dial("**bob")
    assert world.run(3.0, stop=lambda: talking(alice, dora))
    assert not bob.talks
    # Whom another peer says to have answered is shown only if it is who was called (gate/identity.py).
    assert "alice" not in shown(dora)


def test_only_whom_the_owner_names() -> None:
    world = SimulatedPeers("pick-up/named", 1)
    bob, alice, carol = phones(world, (0, "bob"), (0, "alice"), (0, "carol"), silent=("bob",))
    handle(world[0], "bob", pick_up=("dora",))
    alice.dial("bob")
    world.run(2.0)
    number = carol.dial("**bob")
    world.run(2.0)
    assert "carol may not pick up calls of bob" in str(carol.ended(number))
    assert bob.rang == 1
    assert not alice.talks


def test_nothing_rings() -> None:
    world = SimulatedPeers("pick-up/nothing", 2)
    bob, carol, dora = phones(world, (1, "bob"), (1, "carol"), (0, "dora"))
    handle(world[1], "bob", pick_up=("*",))
    for phone in (carol, dora):
        number = phone.dial("**bob")
        world.run(2.0)
        assert phone.ended(number) == "404 Not Found; nothing rings at bob"
    number = carol.dial("**")
    world.run(2.0)
    assert "dial ** and a number right behind it" in str(carol.ended(number))
    assert bob.rang == 0


def test_a_caller_who_gives_up_is_not_picked_up() -> None:
    """At the moment at which the switchboard has asked for its media address."""
    world = SimulatedPeers("pick-up/gave up", 1)
    bob, alice, carol = phones(world, (0, "bob"), (0, "alice"), (0, "carol"), silent=("bob",))
    call = alice.dial("bob")
    world.run(2.0)
    number = carol.dial("**bob")
    alice.hang_up(call)
    world.run(10.0)
    assert carol.ended(number) is not None
    assert not carol.talks
    assert not bob.agent.calls


# Groups

GROUPS = Numbering(
    groups={
        "sales": Group(("bob", "carol"), ring_s=15, otherwise="dora"),
        "night": Group(("carol", "bob")),
        "door": Group(("bob", "carol", "dora"), "in-order", 10),
    }
)


@pytest.fixture
def ringing() -> tuple[SimulatedPeers, SitePhone, SitePhone, SitePhone, SitePhone]:
    """alice and bob at one peer, carol and dora at one each; bob and carol let it ring."""
    world = SimulatedPeers("groups", 3, numbering=GROUPS)
    users = (0, "alice"), (0, "bob"), (1, "carol"), (2, "dora")
    alice, bob, carol, dora = phones(world, *users, silent=("bob", "carol"))
    return world, alice, bob, carol, dora


def test_a_group_rings_at_all_peers_at_once(ringing) -> None:
    world, alice, bob, carol, dora = ringing
    alice.dial("sales")
    world.run(2.0)
    assert (bob.rang, carol.rang, dora.rang) == (1, 1, 0)
    carol.run(lambda now: carol.agent.answer(carol.agent.calls[0], now))
    assert world.run(2.0, stop=lambda: talking(alice, carol))
    world.run(1.0)
    assert not bob.agent.calls


def test_after_a_while_somebody_else_is_called(ringing) -> None:
    world, alice, bob, carol, dora = ringing
    alice.dial("sales")
    world.run(14.0)
    assert dora.rang == 0
    assert world.run(4.0, stop=lambda: talking(alice, dora))
    world.run(1.0)
    assert not bob.agent.calls
    assert not carol.agent.calls


def test_who_does_not_want_to_be_disturbed_does_not_ring(ringing) -> None:
    """Here and elsewhere; who denies the caller neither."""
    world, alice, bob, carol, dora = ringing
    handle(world[0], "bob", do_not_disturb=True)
    handle(world[1], "carol", deny=("alice",))
    alice.dial("sales")
    world.run(3.0)
    assert (bob.rang, carol.rang) == (0, 0)
    assert talking(alice, dora)


def test_who_forwards_all_calls_is_looked_for_there_and_the_others_ring(ringing) -> None:
    """The record of carol, who is elsewhere, leads to dora."""
    world, alice, bob, carol, dora = ringing
    handle(world[1], "carol", always="dora")
    world.run(2.0)
    alice.dial("night")
    assert world.run(3.0, stop=lambda: bob.rang == 1)
    assert world.run(3.0, stop=lambda: talking(alice, dora))
    assert carol.rang == 0


def test_who_declines_declines_for_himself(ringing) -> None:
    """RFC 3261 16.7 step 5 would have a 6xx end it for all."""
    world, alice, bob, carol, _ = ringing
    alice.dial("sales")
    world.run(2.0)
    bob.run(lambda now: bob.agent.reject(bob.agent.calls[0], 603, now))
    world.run(2.0)
    assert carol.agent.calls
    carol.run(lambda now: carol.agent.answer(carol.agent.calls[0], now))
    assert world.run(2.0, stop=lambda: talking(alice, carol))


def test_who_calls_a_group_of_his_own_does_not_ring_himself(ringing) -> None:
    world, _, bob, carol, _ = ringing
    before = bob.rang
    bob.dial("sales")
    world.run(2.0)
    assert (bob.rang, carol.rang) == (before, 1)


def test_in_order_one_after_the_other(ringing) -> None:
    world, alice, bob, carol, dora = ringing
    alice.dial("door")
    world.run(9.0)
    assert (bob.rang, carol.rang, dora.rang) == (1, 0, 0)
    world.run(2.5)
    assert (bob.rang, carol.rang, dora.rang) == (1, 1, 0)
    assert not bob.agent.calls
    assert world.run(12.0, stop=lambda: talking(alice, dora))


def test_who_is_in_no_group_is_told(ringing) -> None:
    world, alice, *_ = ringing
    number = alice.dial("*8")
    world.run(2.0)
    assert "alice is in no group" in str(alice.ended(number))


def test_a_group_is_picked_up_by_any_of_its_members(ringing) -> None:
    """Also if the phone that rings is at another peer: the group rings from here."""
    world, alice, bob, carol, _ = ringing
    handle(world[0], "bob", do_not_disturb=True)
    alice.dial("sales")
    world.run(2.0)
    assert (bob.rang, carol.rang) == (0, 1)
    bob.dial("*8")
    assert world.run(3.0, stop=lambda: talking(alice, bob))
    world.run(1.0)
    assert not carol.agent.calls
    number = bob.dial("*8")
    world.run(2.0)
    assert "nothing rings in sales" in str(bob.ended(number))


def test_nobody_picks_up_what_rings_at_himself(ringing) -> None:
    world, alice, bob, _, _ = ringing
    alice.dial("bob")
    world.run(2.0)
    assert bob.rang == 1
    number = bob.dial("*8")
    world.run(2.0)
    assert "nothing rings in sales" in str(bob.ended(number))


# Parking


@pytest.fixture
def parked() -> tuple[SimulatedPeers, SitePhone, SitePhone, SitePhone]:
    """alice has called bob, who is elsewhere, and he has parked her; carol is beside him."""
    world = SimulatedPeers("parking", 2)
    alice, bob, carol = phones(world, (0, "alice"), (1, "bob"), (1, "carol"))
    number = alice.dial("bob")
    assert world.run(3.0, stop=lambda: talking(alice, bob))
    transfer(bob, "*851")
    world.run(1.0)
    follow(alice)
    alice.hang_up(number)
    world.run(2.0)
    assert alice.talks, "with a beep"
    assert not bob.talks
    return world, alice, bob, carol


def test_who_dials_the_place_gets_who_is_parked(parked) -> None:
    world, alice, _, carol = parked
    number = carol.dial("*851")
    assert world.run(2.0, stop=lambda: talking(carol))
    assert "alice" in shown(carol)
    world.run(2 * PARKED_S)
    assert talking(alice, carol), "nobody is called back"
    carol.hang_up(number)
    world.run(1.0)
    assert not alice.talks


def test_who_has_got_who_was_parked_transfers_her(parked) -> None:
    """RFC 3515: the switchboard, which is in both calls, has her phone do it, as carol's own call with her would."""
    world, alice, bob, carol = parked
    carol.dial("*851")
    assert world.run(2.0, stop=lambda: talking(carol))
    transfer(carol, "bob")
    world.run(1.0)
    number = follow(alice)
    carol.hang_up(carol.agent.calls[-1])
    assert world.run(3.0, stop=lambda: talking(alice, bob))
    assert alice.ended(number) is None
    assert not carol.talks


def test_who_has_got_who_was_parked_parks_her_again(parked) -> None:
    world, alice, _, carol = parked
    carol.dial("*851")
    assert world.run(2.0, stop=lambda: talking(carol))
    transfer(carol, "*852")
    world.run(1.0)
    follow(alice)
    carol.hang_up(carol.agent.calls[-1])
    world.run(2.0)
    assert alice.talks
    carol.dial("*852")
    assert world.run(2.0, stop=lambda: talking(alice, carol))
    assert "alice" in shown(carol)


def test_the_place_is_free_again(parked) -> None:
    world, alice, bob, carol = parked
    alice.hang_up(alice.agent.calls[0])
    world.run(1.0)
    for place, says in (
        ("1", "404 Not Found; nobody is parked at 1: to park a call, transfer it there"),
        ("0", "calls are parked at 1 to 9: dial *851"),
    ):
        number = carol.dial(f"*85{place}")
        world.run(1.0)
        assert says in str(carol.ended(number))
    assert bob.rang == 1


def test_who_was_parked_cannot_ask_for_others(parked) -> None:
    """She knows the URI of the place. Nobody is let through to whoever is there now, and nobody takes his place."""
    world, alice, _, carol = parked
    second = follow(alice)
    world.run(2.0)
    assert "somebody else is parked at 1" in str(alice.ended(second))
    assert alice.talks
    carol.dial("*851")
    assert world.run(2.0, stop=lambda: carol.talks)


def test_a_place_elsewhere_is_another_one(parked) -> None:
    world, alice, *_ = parked
    world.line(0, "dora")
    dora = world.phone(0, "dora", 9)
    number = dora.dial("*851")
    world.run(1.0)
    assert "nobody is parked at 1" in str(dora.ended(number))
    assert alice.talks


def test_whoever_has_parked_is_called(parked) -> None:
    world, alice, bob, _ = parked
    rang = bob.rang
    assert world.run(PARKED_S + 5.0, stop=lambda: talking(alice, bob))
    assert bob.rang == rang + 1
    invite = [m for m in messages(bob, "INVITE") if isinstance(m, Request)][-1]
    assert invite.from_.display_name == "parked at 1: alice"
    alice.hang_up(alice.agent.calls[0])
    world.run(1.0)
    assert not bob.talks


@pytest.mark.long
def test_nobody_waits_for_ever(parked) -> None:
    world, alice, bob, _ = parked
    bob.unplug()
    assert world.run((CALLED_BACK_MAX + 1) * (PARKED_S + 185.0), stop=lambda: not alice.talks)
