"""Calls through whole peers, in virtual time: what a phone hears, and how soon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import RegistrationFailed
from p2psip.sip.entities.questions import Located, LocateUser
from p2psip.sip.message.uri import SipUri


def call(world: SimulatedPeers, caller: SitePhone, target: str, *, limit_s: float = 40.0) -> tuple[str, float]:
    """Dial, and wait for the end or the answer: "talks", or why not, and after how long."""
    began = world.world.now
    number = caller.dial(target)
    world.run(limit_s, stop=lambda: caller.ended(number) is not None or caller.talks)
    return caller.ended(number) or "talks", world.world.now - began


def test_a_call_between_two_peers_and_its_end() -> None:
    world = SimulatedPeers("call", 3)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    what, after_s = call(world, alice, "bob")
    assert (what, bob.talks) == ("talks", True)
    # Bob lets it ring for half a second; a lookup and a new connection take no more.
    assert after_s < 1.5
    alice.hang_up(1)
    world.run(2.0)
    assert not bob.talks
    assert [report.status for report in world[0].carried()] == [200]


def test_the_second_call_uses_the_connection_of_the_first() -> None:
    world = SimulatedPeers("pool", 3)
    alice, bob, anna = world.with_phones((0, "alice"), (1, "bob"), (0, "anna"))
    call(world, alice, "bob")
    call(world, anna, "bob")
    bob.hang_up(1)
    alice.hang_up(1)
    world.run(2.0)
    assert call(world, bob, "alice")[0] == "talks"
    assert len(world[0].peer.flows) == len(world[1].peer.flows) == 1


@pytest.mark.parametrize("target", [f"sip:bob@{OVERLAY}", "sip:bob@192.168.0.1", "sip:bob@p0", "sip:Bob@SIM.example"])
def test_the_overlay_has_many_names(target: str) -> None:
    """Decision 7: "Any own address or name of the peer as the domain of an AoR means the overlay"."""
    world = SimulatedPeers("names", 2)
    alice, _ = world.with_phones((0, "alice"), (1, "bob"))
    assert call(world, alice, target)[0] == "talks"


def test_a_phone_that_is_away_is_told_at_once_and_why() -> None:
    world = SimulatedPeers("away", 3)
    (alice,) = world.with_phones((0, "alice"))
    world.line(1, "bob")
    world.settle_records([1])
    what, after_s = call(world, alice, "bob")
    assert what == "480 Temporarily Unavailable; the phone of bob is not registered at its peer"
    assert after_s < 1.0


def test_nobody_of_that_name() -> None:
    world = SimulatedPeers("unknown", 3)
    (alice,) = world.with_phones((0, "alice"))
    what, after_s = call(world, alice, "carol")
    assert what == f"404 Not Found; nobody in the overlay is carol@{OVERLAY}"
    assert after_s < 1.0


def test_elsewhere_is_refused_with_the_reason() -> None:
    world = SimulatedPeers("elsewhere", 1)
    (alice,) = world.with_phones((0, "alice"))
    what, _ = call(world, alice, "sip:bob@elsewhere.example")
    assert what == (
        "404 Not Found; sip:bob@elsewhere.example is not in the overlay sim.example, "
        "and calls to other domains are closed here"
    )


def test_who_comes_last_is_found_first() -> None:
    """Decision 5: bob moves to another peer, and calls ring there, although his old phone is not signed off."""
    world = SimulatedPeers("move", 4)
    alice, bob, bob_elsewhere = world.with_phones((0, "alice"), (1, "bob"), (2, "bob"))
    assert call(world, alice, "bob")[0] == "talks"
    assert (bob.rang, bob_elsewhere.rang) == (0, 1)
    alice.hang_up(1)
    world.run(2.0)
    # He comes back, with a phone that starts anew.
    bob.unplug()
    back = world.phone(1, "bob", 7)
    world.run(2.0)
    assert call(world, alice, "bob")[0] == "talks"
    assert (back.rang, bob_elsewhere.rang) == (1, 1)


def test_a_registration_that_is_refreshed_stores_nothing() -> None:
    """It says nothing new: the line is there, and whose phone came last has not changed."""
    world = SimulatedPeers("refresh", 2)
    world.with_phones((0, "alice"))
    before = world[0].peer.publisher.placed("alice")
    world.run(400.0)
    (binding,) = world[0].peer.server.bindings("alice", world.world.now)
    assert binding.registered_at > 100
    assert world[0].peer.publisher.placed("alice") == before


def test_a_dead_peer_does_not_hide_a_living_one() -> None:
    """Callers try entries newest first, and the next after one second without an answer."""
    world = SimulatedPeers("dead", 5)
    alice, bob, _ = world.with_phones((0, "alice"), (1, "bob"), (2, "bob"))
    world.world.crash(world[2].host)
    what, after_s = call(world, alice, "bob")
    assert (what, bob.talks) == ("talks", True)
    assert 1.0 < after_s < 3.0


def test_a_call_into_a_connection_that_has_just_died_goes_on_over_a_new_one() -> None:
    """Bob's peer was started again: the caller notices nothing but half a second."""
    world = SimulatedPeers("restart", 4)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    call(world, alice, "bob")
    alice.hang_up(1)
    world.run(5.0)
    # Only the SIP connection goes, and only this end does not know it yet.
    site = world[0]
    link = next(number for number in site.host.links if number in site.peer.flows)
    end = site.host.links[link]
    del end.host.links[end.number]
    end.host.core.handle_link_down(end.number, "reset", world.world.now)
    alice.dial("bob")
    world.run(0.3)
    site.call(lambda now: site.peer.handle_link_down(link, "reset", now))
    world.run(3.0, stop=lambda: alice.talks)
    assert alice.talks
    assert bob.rang == 2


def test_two_who_call_each_other_at_the_same_moment() -> None:
    """AppAttach both ways at once: both calls come through, and no connection is lost that is used."""
    world = SimulatedPeers("glare", 3)
    alice, bob, anna, ben = world.with_phones((0, "alice"), (1, "bob"), (0, "anna"), (1, "ben"))
    alice.dial("bob")
    ben.dial("anna")
    world.run(5.0)
    assert all(phone.talks for phone in (alice, bob, anna, ben))
    # One of two connections is used by nobody soon: it goes.
    world.run(1300.0)
    assert len(world[0].peer.flows) == len(world[1].peer.flows) <= 1


def test_an_unused_connection_ends_and_comes_back_when_wanted() -> None:
    world = SimulatedPeers("idle", 3)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    call(world, alice, "bob")
    world.run(620.0)
    assert len(world[0].peer.flows) == len(world[1].peer.flows) == 1, "the call uses it"
    alice.hang_up(1)
    world.run(3.0)
    assert not bob.talks
    world.run(620.0)
    assert len(world[0].peer.flows) == len(world[1].peer.flows) == 0
    assert call(world, bob, "alice")[0] == "talks"


def test_whose_line_was_removed() -> None:
    world = SimulatedPeers("removed", 3)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world.run(1.0)
    assert call(world, alice, "bob")[0].startswith("404")
    bob.register()
    world.run(1.0, stop=lambda: bool(bob.refusal))
    assert "bob has no line on this peer" in bob.refusal


def test_an_entry_of_a_line_that_is_gone_is_no_proof_that_nobody_is_there() -> None:
    """One of bob's records is stale, at the other peer his phone is away: he is away, not unknown."""
    world = SimulatedPeers("stale", 4)
    (alice,) = world.with_phones((0, "alice"))
    for number in (1, 2):
        world.line(number, "bob")
    world.settle_records([1, 2])
    # The peer starts again, without the line.
    world.world.crash(world[1].host)
    world.add(1)
    world.run(20.0, stop=lambda: world[1].peer.node.is_serving)
    world.run(5.0)
    assert call(world, alice, "bob")[0].startswith("480")


@pytest.mark.parametrize("name", ["Bob", "BOB", f"bob@{OVERLAY}", f"Bob@{OVERLAY}"])
@pytest.mark.parametrize("password", ["phone of bob", "Phoneofbob", "PHONE OF BOB"])
def test_a_name_and_a_password_are_right_as_people_type_them(name: str, password: str) -> None:
    world = SimulatedPeers("typed", 1)
    world.line(0, "bob")
    phone = SitePhone(world[0], "bob", 3, password=password, auth_user=name).register()
    world.run(1.0, stop=lambda: phone.is_registered)
    assert phone.is_registered
    assert world[0].peer.server.users() == ["bob"]


@pytest.mark.parametrize("name", ["bOb", "bob@192.0.2.1"])
def test_who_types_something_else_is_told_the_name(name: str) -> None:
    world = SimulatedPeers("capitals", 1)
    world.line(0, "bob")
    phone = SitePhone(world[0], "bob", 3, auth_user=name).register()
    world.run(1.0, stop=lambda: bool(phone.of(RegistrationFailed)))
    assert f"{name} is no user name here; the name of the line is bob" in phone.refusal


def test_a_name_that_was_issued_in_capitals_can_be_called() -> None:
    """Ours are not, but an overlay may have another enrollment server; there bob is somebody else than Bob."""
    world = SimulatedPeers("issued", 3)
    alice, bob = world.with_phones((0, "alice"), (1, "Bob"))
    assert call(world, alice, "bob")[0].startswith("404")
    assert call(world, alice, "Bob")[0] == "talks"
    assert bob.rang == 1


def test_the_echo_answers_with_media_at_an_address_that_the_phone_can_reach() -> None:
    world = SimulatedPeers("echo", 2)
    (alice,) = world.with_phones((0, "alice"))
    assert call(world, alice, "*43")[0] == "talks"
    assert world[0].media_towards == [alice.address.host]


def test_a_call_that_was_given_up_leaves_nothing_behind() -> None:
    world = SimulatedPeers("cancel", 4)
    alice, _ = world.with_phones((0, "alice"), (2, "bob"))
    world.world.crash(world[2].host, is_silent=True)
    number = alice.dial("bob")
    world.run(0.5)
    alice.hang_up(number)
    world.run(1.0)
    assert (alice.ended(number) or "").startswith("hung up")
    assert not world[0].peer.locator
    assert not world[0].peer.flows.waiting


def test_a_peer_that_is_revoked_loses_its_sip_connection_and_gets_no_other() -> None:
    """RFC 6940 11.1, bad-node: who is no member any more neither calls nor is called."""
    world = SimulatedPeers("revoked", 3)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    assert call(world, alice, "bob")[0] == "talks"
    alice.hang_up(1)
    world.run(2.0)
    site, bad = world[0], world[1].peer.node.node_id
    changed = replace(world.configuration, bad_nodes=frozenset({bad}))
    site.call(lambda now: (site.peer.node.use_trust(changed, now), site.peer.handle_timeout(now)))
    assert len(site.peer.flows) == 0
    world.run(1.0)
    assert len(world[1].peer.flows) == 0
    assert call(world, alice, "bob")[0] != "talks"
    assert call(world, bob, "alice")[0] != "talks"
    assert len(site.peer.flows) == 0


def test_sips_means_tls_at_every_hop() -> None:
    """RFC 3261 26.2.2: the GRUU of the next peer is sips: as well, and that peer does not send it on in clear."""
    world = SimulatedPeers("sips", 3)
    _, bob = world.with_phones((0, "alice"), (1, "bob"))
    site = world[0]
    uri = SipUri(OVERLAY, "bob", scheme="sips")
    question = LocateUser(uri, "bob", "INVITE", "c", None, None)
    site.call(lambda now: site.peer.locator.locate(10_000, question, now))
    answers: list[object] = []
    locate = site.peer.server.handle_answer

    def note(token: int, answer: object, now: float) -> None:
        answers.append(answer) if token == 10_000 else locate(token, answer, now)

    site.peer.server.handle_answer = note  # type: ignore[method-assign]
    assert world.run(5.0, stop=lambda: bool(answers))
    (located,) = answers
    assert isinstance(located, Located)
    assert [target.uri.scheme for target in located.targets] == ["sips"]
    assert bob.rang == 0
