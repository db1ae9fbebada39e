"""Texts and missed calls that wait, in virtual time: delivered when the phone is back, or told as undelivered."""

from __future__ import annotations

import pytest
from mailbox_calls import club, contents, open_mailbox
from watching import LampPhone, lamps

from p2psip.coupling.mailbox import texts
from p2psip.reload.wire.kinds import MAIL, DataModel
from p2psip.reload.wire.storage_messages import StoredData
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers

pytestmark = pytest.mark.long


def hill(seed: str) -> tuple[SimulatedPeers, LampPhone, LampPhone]:
    """alice at p0, bob at p1, who has a mailbox."""
    world = club(seed, 4)
    alice, bob = lamps(world, (0, "alice"), (1, "bob"))
    open_mailbox(world, bob)
    return world, alice, bob


def waits(world: SimulatedPeers, user: str) -> int:
    """How many messages of any kind wait for a user, at all peers that keep them."""
    resource = world[0].peer.node.hash_name(f"{user}@{OVERLAY}".encode())
    found = {
        record.place.key
        for site in world.sites.values()
        for record in site.host.store.records(resource, MAIL)
        if StoredData.decode(record.data, model=DataModel.DICTIONARY).data_value.exists
    }
    return len(found)


def away(world: SimulatedPeers, bob: SitePhone) -> None:
    bob.run(bob.agent.unregister)
    world.run(5.0)


def back(world: SimulatedPeers, bob: SitePhone) -> None:
    bob.run(bob.agent.register)
    world.run(30.0)


def test_a_text_waits_and_is_delivered_once() -> None:
    world, alice, bob = hill("text")
    away(world, bob)
    sent = alice.write("bob", b"Are you there?")
    assert world.run(15.0, stop=lambda: bool(sent.statuses))
    assert sent.statuses == [202]
    world.run(20.0)
    assert waits(world, "bob") == 1
    assert contents(world[1], "bob").messages == ()
    back(world, bob)
    (text,) = bob.texts
    assert (text.body, text.from_.sip_uri.user_name) == (b"Are you there?", "alice")
    assert text.fields.first("content-type") == "text/plain"
    assert text.fields.first("date")
    world.run(200.0)
    assert (len(bob.texts), waits(world, "bob")) == (1, 0)


def test_who_is_there_gets_it_at_once_and_nothing_waits() -> None:
    world, alice, bob = hill("there")
    sent = alice.write("bob", b"hello")
    assert world.run(15.0, stop=lambda: bool(sent.statuses))
    assert (sent.statuses, len(bob.texts), waits(world, "bob")) == ([200], 1, 0)


def test_who_takes_no_messages_gets_none_later() -> None:
    world = club("no texts", 3)
    alice, bob = lamps(world, (0, "alice"), (1, "bob"))
    away(world, bob)
    sent = alice.write("bob", b"hello")
    assert world.run(15.0, stop=lambda: bool(sent.statuses))
    assert sent.statuses == [480]


def test_its_sender_is_told_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whichever peer serves him then; here his own, which was started anew meanwhile."""
    monkeypatch.setattr(texts, "TEXT_WAITS_S", 3600)
    world, alice, bob = hill("over")
    away(world, bob)
    sent = alice.write("bob", b"Are you there?")
    assert world.run(15.0, stop=lambda: bool(sent.statuses))
    world.run(30.0)
    assert (waits(world, "bob"), waits(world, "alice")) == (1, 1)
    world.restart(0)
    world.run(1800.0)
    assert alice.texts == []
    assert world.run(2400.0, stop=lambda: bool(alice.texts))
    (told,) = alice.texts
    assert told.from_.sip_uri.user_name == "bob"
    assert told.body.startswith(b"Not delivered in")
    world.run(60.0)
    assert (waits(world, "bob"), waits(world, "alice")) == (0, 0)
    back(world, bob)
    assert bob.texts == []


def test_of_what_was_delivered_its_sender_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "TEXT_WAITS_S", 600)
    world, alice, bob = hill("delivered")
    away(world, bob)
    alice.write("bob", b"Are you there?")
    world.run(30.0)
    back(world, bob)
    world.run(1500.0)
    assert (len(bob.texts), alice.texts, waits(world, "alice")) == (1, [], 0)


def test_who_has_called_in_vain_is_told_later() -> None:
    """His phone was away: nobody has shown it."""
    world, alice, bob = hill("missed")
    away(world, bob)
    call = alice.dial("bob")
    assert world.run(30.0, stop=lambda: alice.talks)
    alice.hang_up(call)
    world.run(20.0)
    assert contents(world[1], "bob").messages == ()
    back(world, bob)
    (told,) = bob.texts
    assert told.from_.sip_uri.user_name == "alice"
    assert told.body.startswith(b"Missed call, 20")
    assert waits(world, "bob") == 0


def test_a_call_that_has_rung_is_not_told_again() -> None:
    world = club("rang", 3)
    (alice,) = world.with_phones((0, "alice"))
    (bob,) = lamps(world, (1, "bob"), answer_s=None)
    open_mailbox(world, bob)
    call = alice.dial("bob")
    assert world.run(60.0, stop=lambda: alice.talks)
    alice.hang_up(call)
    world.run(200.0)
    assert (bob.texts, waits(world, "bob")) == ([], 0)


def test_what_a_phone_does_not_take_now_is_offered_again_but_not_all_the_time() -> None:
    world, alice, bob = hill("again")
    away(world, bob)
    alice.write("bob", b"hello")
    world.run(20.0)
    bob.answers_text = 480
    back(world, bob)
    world.run(500.0)
    assert (len(bob.texts), waits(world, "bob")) == (1, 1)
    bob.answers_text = 200
    world.run(600.0)
    assert (len(bob.texts), waits(world, "bob")) == (2, 0)


def test_who_does_not_want_to_be_known_is_not_known_later_either() -> None:
    world, alice, bob = hill("private")
    away(world, bob)
    sent = alice.write("bob", b"guess who", Privacy="id")
    assert world.run(15.0, stop=lambda: bool(sent.statuses))
    assert sent.statuses == [202]
    resource = world[0].peer.node.hash_name(f"bob@{OVERLAY}".encode())
    records = [record for site in world.sites.values() for record in site.host.store.records(resource, MAIL)]
    assert {record.user for record in records} == {"peer-p0@sim.example"}
    back(world, bob)
    (text,) = bob.texts
    assert (text.from_.sip_uri.user_name, text.from_.display_name) == ("anonymous", "Anonymous")
    assert "p-asserted-identity" not in text.fields


def test_what_is_of_no_use_later_does_not_wait() -> None:
    world, alice, bob = hill("now")
    away(world, bob)
    composing = alice.write("bob", b"<isComposing/>", "application/im-iscomposing+xml")
    at_once = alice.write("bob", b"now or never", Expires="0")
    assert world.run(15.0, stop=lambda: bool(composing.statuses and at_once.statuses))
    assert (composing.statuses, at_once.statuses) == ([480], [480])
    assert waits(world, "bob") == 0
