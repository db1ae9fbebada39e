"""Mailboxes in virtual time: left, kept by three, lit, heard and deleted, whoever dies."""

from __future__ import annotations

import random

import pytest
from mailbox_calls import KINDS, FillingDisk, Voice, asked, club, contents, heard, leave, open_mailbox
from watching import accepted, lamps

from p2psip.base.effects import Effect, Note
from p2psip.base.ids import ResourceId
from p2psip.coupling.mailbox import depositing
from p2psip.coupling.mailbox.errands import Errand
from p2psip.media.g711 import PCMU
from p2psip.media.tone import Tone, ToneDetector
from p2psip.reload.config.configuration import DIRECTORY_KINDS
from p2psip.reload.security.roles import Identity
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.usages.mailbox_usage import DAY_S, MailCipher, mail_key, mail_removal, mail_store, purpose_of
from p2psip.reload.usages.sip_registration import LIFETIME_S
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import MAIL, MAIL_PART, MAILBOX, DataModel
from p2psip.reload.wire.storage_messages import StoredData, StoreReq
from p2psip.reload.wire.usages.mailbox_values import MailFacts, MailHeader, MailState, MailType, SealedKey
from p2psip.sim.sites.making import OVERLAY, line_of
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.mailbox.mailbox_questions import DeleteMessage, FetchMessage, Kept, MessageAudio

pytestmark = pytest.mark.long


def hill(seed: str, count: int = 5) -> tuple[SimulatedPeers, SitePhone, SitePhone]:
    """alice at p0, bob at p1, who has a mailbox."""
    world = club(seed, count)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    open_mailbox(world, bob)
    return world, alice, bob


def test_who_is_not_reached_is_spoken_to_later() -> None:
    world, alice, bob = hill("later")
    bob.unplug()
    leave(world, alice, "bob")
    (message,) = contents(world[1], "bob").messages
    assert (message.caller, message.is_new) == ("alice", True)
    assert message.duration_s == pytest.approx(5.0, abs=0.2)


def frequency_of(tone: Tone | None) -> float:
    return 0.0 if tone is None else tone.frequency_hz


def holders(world: SimulatedPeers, key: bytes) -> list[int]:
    """Which peers keep a message's header."""
    return [
        number
        for number, site in enumerate(world.sites.values())
        if any(record.place.key == key for record in site.host.store.records(mailbox_of(world), MAIL))
    ]


def mailbox_of(world: SimulatedPeers) -> ResourceId:
    return world[0].peer.node.hash_name(f"bob@{OVERLAY}".encode())


def kept_of(world: SimulatedPeers, kind: int) -> list[StoredData]:
    """What is kept of one Kind in bob's mailbox, at every peer."""
    return [
        StoredData.decode(record.data, model=DataModel.DICTIONARY)
        for site in world.sites.values()
        for record in site.host.store.records(mailbox_of(world), kind)
    ]


def test_it_is_heard_by_dialling_and_deleted_everywhere() -> None:
    world, alice, bob = hill("heard")
    bob.unplug()
    leave(world, alice, "bob", hz=700.0)
    leave(world, alice, "bob", hz=900.0)
    bob.is_plugged_in = True
    call = bob.dial("*97")
    assert world.run(10.0, stop=lambda: bob.talks)
    assert any(b'"2 new, 0 old"' in data for data in bob.received)
    world.run(6.0)
    first = heard(world[1], 2.0)
    assert frequency_of(first) == pytest.approx(700, abs=5)
    voice = Voice(bob)
    voice.press("6")
    world.run(1.0)
    second = heard(world[1], 2.0)
    assert frequency_of(second) == pytest.approx(900, abs=5)
    voice.press("7")
    world.run(5.0)
    bob.hang_up(call)
    world.run(5.0)
    (left,) = contents(world[1], "bob").messages
    assert not left.is_new
    assert {len(kept_of(world, kind)) > 0 for kind in (MAIL, MAIL_PART)} == {True}
    assert isinstance(asked(world[1], DeleteMessage("bob", left.key)), Kept)
    world.run(20.0)
    assert contents(world[1], "bob").messages == ()
    assert not any(stored.data_value.exists for kind in (MAIL, MAIL_PART) for stored in kept_of(world, kind))


def test_two_of_the_three_that_keep_it_may_die() -> None:
    world, alice, bob = hill("two of three", 7)
    bob.unplug()
    leave(world, alice, "bob")
    key = contents(world[1], "bob").messages[0].key
    keepers = holders(world, key)
    assert len(keepers) == 3
    # Of bob's own peer his phone has need: whoever else keeps it.
    doomed = [number for number in keepers if number not in (0, 1)][:2]
    assert len(doomed) == 2
    for number in doomed:
        world.world.crash(world[number].host)
    world.run(60.0)
    bob.is_plugged_in = True
    call = bob.dial("*97")
    assert world.run(30.0, stop=lambda: bob.talks)
    world.run(5.0)
    tone = heard(world[1], 3.0)
    bob.hang_up(call)
    assert frequency_of(tone) == pytest.approx(700, abs=5)


def test_it_is_left_while_the_callees_peer_is_off_and_lights_the_lamp_when_he_is_back() -> None:
    world = club("lamp")
    (alice,) = world.with_phones((0, "alice"))
    (bob,) = lamps(world, (1, "bob"))
    open_mailbox(world, bob)
    store, lines = world[1].host.store, world[1].peer.publisher.lines
    handling = world[1].peer.handlings.of("bob")
    world.world.crash(world[1].host)
    world.run(60.0)
    leave(world, alice, "bob")
    back = world.add(1, store)
    back.phones, bob.site = {bob.address: bob}, back
    for line in lines:
        back.call(lambda now, line=line: back.peer.add_line(line, now, handling))  # type: ignore[misc]
    bob.run(bob.agent.register)
    world.settle_records([1])
    lamp = accepted(world, bob.watch("bob", "message-summary"))
    assert world.run(60.0, stop=lambda: b"Messages-Waiting: yes" in lamp.notifies[-1].body)
    assert b"Voice-Message: 1/0 (0/0)" in lamp.notifies[-1].body
    key = contents(back, "bob").messages[0].key
    assert isinstance(asked(back, DeleteMessage("bob", key)), Kept)
    assert world.run(10.0, stop=lambda: b"Messages-Waiting: no" in lamp.notifies[-1].body)


def test_who_has_lines_at_two_peers_has_one_mailbox() -> None:
    """It is opened at one of them, and heard at the other."""
    world = club("two lines")
    alice, bob, _ = world.with_phones((0, "alice"), (1, "bob"), (2, "bob"))
    open_mailbox(world, bob)
    world.run(5.0)
    elsewhere = world[2].phones[next(iter(world[2].phones))]
    elsewhere.run(elsewhere.agent.unregister)
    world.run(5.0)
    elsewhere.run(elsewhere.agent.register)
    world.run(15.0)
    assert world[2].peer.handlings.of("bob") == CallHandling(mailbox=True)
    for phone in (bob, elsewhere):
        phone.unplug()
    leave(world, alice, "bob")
    assert [len(contents(world[number], "bob").messages) for number in (1, 2)] == [1, 1]
    # What has been heard at one of them has been heard.
    (message,) = contents(world[2], "bob").messages
    assert isinstance(asked(world[1], FetchMessage("bob", message.key)), MessageAudio)
    world.run(5.0)
    assert [contents(world[number], "bob").new for number in (1, 2)] == [0, 0]


@pytest.mark.parametrize("what", ["busy", "no answer", "no phone"])
def test_why_he_is_not_reached_does_not_matter(what: str) -> None:
    world = club(f"why {what}")
    (alice,) = world.with_phones((0, "alice"))
    (bob,) = world.with_phones((1, "bob"), answer_s=None)
    open_mailbox(world, bob)
    if what == "busy":
        wanted = CallHandling(mailbox=True, do_not_disturb=True)
        world[1].call(lambda now: world[1].peer.handle_calls("bob", wanted, now))
    elif what == "no phone":
        bob.run(bob.agent.unregister)
        world.run(5.0)
    began = world.world.now
    alice.dial("bob")
    assert world.run(60.0, stop=lambda: alice.talks)
    assert world.world.now - began == pytest.approx(25.0 if what == "no answer" else 0.5, abs=1.0)


def test_both_at_one_peer() -> None:
    world = club("one peer", 4)
    (alice,) = world.with_phones((0, "alice"))
    world.line(0, "bob")
    bob = world.phone(0, "bob", 1, answer_s=None)
    open_mailbox(world, bob)
    call = alice.dial("bob")
    assert world.run(30.0, stop=lambda: alice.talks)
    world.run(2.0)
    voice = Voice(alice)
    voice.speak(3.0)
    voice.press("#")
    assert world.run(10.0, stop=lambda: alice.ended(call) is not None)
    (message,) = contents(world[0], "bob").messages
    assert message.duration_s == pytest.approx(3.0, abs=0.2)


def test_who_takes_no_messages_is_busy_as_before() -> None:
    world = club("none", 3)
    alice, _ = world.with_phones((0, "alice"), (1, "bob"))
    wanted = CallHandling(do_not_disturb=True)
    world[1].call(lambda now: world[1].peer.handle_calls("bob", wanted, now))
    call = alice.dial("bob")
    world.run(10.0)
    assert str(alice.ended(call)).startswith("486")
    alice.dial("nobody")
    world.run(10.0)
    carried = world[0].carried()[-1]
    assert carried.status == 404
    assert "nobody takes no messages" in str(carried.causes[-1])


def test_one_member_has_so_many_places_in_a_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight; here two, which is quicker to see."""
    monkeypatch.setattr(depositing, "SLOTS", 2)
    world, alice, bob = hill("quota", 3)
    bob.unplug()
    for _ in range(2):
        leave(world, alice, "bob", seconds=1.5)
    assert len(contents(world[1], "bob").messages) == 2
    call = alice.dial("bob")
    world.run(30.0)
    assert str(alice.ended(call)).startswith("408")
    assert "2 messages of alice@sim.example wait for bob already" in str(world[0].carried()[-1].causes)
    first = contents(world[1], "bob").messages[0]
    assert isinstance(asked(world[1], DeleteMessage("bob", first.key)), Kept)
    leave(world, alice, "bob", seconds=1.5)
    assert len(contents(world[1], "bob").messages) == 2


def test_a_full_disk_takes_no_message_and_loses_none() -> None:
    world = club("full", 0)
    for number in range(3):
        world.add(number, FillingDisk())
        world.run(5.0)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    open_mailbox(world, bob)
    bob.unplug()
    leave(world, alice, "bob", seconds=1.5)
    for site in world.sites.values():
        site.host.store.is_full = True  # type: ignore[attr-defined]
    call = alice.dial("bob")
    world.run(60.0)
    assert str(alice.ended(call)).startswith("408")
    carried = world[0].carried()[-1]
    assert "bob takes messages, and who keeps them does not answer" in str(carried.causes)
    assert len(contents(world[1], "bob").messages) == 1
    for site in world.sites.values():
        site.host.store.is_full = False  # type: ignore[attr-defined]
    leave(world, alice, "bob", seconds=1.5)
    assert len(contents(world[1], "bob").messages) == 2


def test_a_number_whose_peer_is_off_for_an_hour_is_known_and_takes_messages() -> None:
    """His record is over, and no gateway is asked for a number that the directory has."""
    world = SimulatedPeers("number", 4, required_kinds=(*KINDS, *DIRECTORY_KINDS))
    alice, phone = world.with_phones((0, "alice"), (1, "200"))
    open_mailbox(world, phone)
    world.run(120.0)
    world.world.crash(world[1].host)
    world.run(2.0 * LIFETIME_S)
    assert world.look_up(0, "200").registrations.entries == ()  # type: ignore[union-attr]
    alice.dial("200")
    assert world.run(30.0, stop=lambda: alice.talks)


def test_two_callers_of_one_line_at_once_have_two_places() -> None:
    world, alice, bob = hill("at once", 4)
    # Who keeps it himself sees the other's place at once.
    assert not world[0].peer.node.is_responsible(mailbox_of(world))
    other = world.phone(0, "alice", 7)
    bob.unplug()
    calls = [phone.dial("bob") for phone in (alice, other)]
    assert world.run(60.0, stop=lambda: alice.talks and other.talks)
    world.run(2.0)
    for phone, hz in ((alice, 700.0), (other, 900.0)):
        Voice(phone, hz).speak(2.0)
    for phone, call in zip((alice, other), calls, strict=True):
        phone.hang_up(call)
    world.run(15.0)
    found = [asked(world[1], FetchMessage("bob", each.key)) for each in contents(world[1], "bob").messages]
    heard_hz = []
    for each in found:
        assert isinstance(each, MessageAudio)
        ear = ToneDetector()
        ear.feed(PCMU.decode(each.audio))
        heard_hz.append(round(frequency_of(ear.tone()), -1))
    assert sorted(heard_hz) == [700, 900]


def store(world: SimulatedPeers, number: int, request: StoreReq, signer: Identity) -> None:
    """A Store of somebody's own choice, by way of his peer."""
    where = [Destination.resource(request.resource)]
    errand: Errand = (wish for wish in [OverlayRequest(where, MessageCode.STORE_REQ, request, signer)])
    world[number].call(lambda now: world[number].peer.mailboxes._errands.begin(errand, now))
    world.run(5.0)


def test_what_is_dated_in_times_to_come_is_not_believed_and_dates_nothing_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else one member could have another's line sign with no date but such ones, for ever."""
    world, alice, bob = hill("to come", 4)
    mallory = line_of(world.seed, 3, "mallory", "mallory").identity
    world.line(3, "mallory")
    world.settle_records([3])
    key = mail_key(mallory.node_id, 0)
    later_ms = int(1000 * (world.wall.date(world.world.now) + 10 * 365 * DAY_S))
    cipher = MailCipher.new(mailbox_of(world), key, random.Random(1))
    opened = line_of(world.seed, 1, "bob", "bob").identity
    member = world.verifier.check([opened.certificate], 0.0, True)
    sealed = world.verifier.seal(member, cipher.secret, purpose_of(key), random.Random(2))
    keys, facts = (SealedKey(opened.node_id, sealed),), cipher.seal_facts(MailFacts(b"mallory", b""))
    header = MailHeader(MailType.VOICE, MailState.NEW, mallory.user.encode(), later_ms, 8000, 1, keys, facts)
    request = mail_store(mallory, mailbox_of(world), key, header, later_ms)
    store(world, 3, request, mallory)
    assert any(stored.data_value.exists for stored in kept_of(world, MAIL))
    told: list[Effect] = []
    mailboxes = world[1].peer.mailboxes
    real = mailboxes.drain
    monkeypatch.setattr(mailboxes, "drain", lambda: told.extend(found := real()) or found)
    assert contents(world[1], "bob").messages == ()
    assert contents(world[1], "bob").messages == ()
    notes = [e.facts["reason"] for e in told if isinstance(e, Note) and e.event == "message refused"]
    assert notes == [f"of {mallory.user}: it is dated in times to come"]
    bob.unplug()
    # Nor does the owner of a mailbox that of who leaves something: of alice's places there he has removed the first.
    place = mail_key(line_of(world.seed, 0, "alice", "alice").identity.node_id, 0)
    store(world, 1, mail_removal(opened, mailbox_of(world), place, header, later_ms), opened)
    leave(world, alice, "bob", seconds=1.5)
    (left,) = contents(world[1], "bob").messages
    assert left.key == place[:-1] + b"\1"
    issued = world[1].peer.node.issue_storage_time(opened.node_id, world.world.now)
    assert issued.storage_time_ms < later_ms - 1000 * DAY_S


def test_a_line_with_a_new_certificate_opens_its_mailbox_anew() -> None:
    """Messages are sealed to the certificate by which the opening is signed."""
    world, alice, bob = hill("renewed", 3)
    renewed = line_of(world.seed, 1, "bob", "bob", is_full_size=True)
    assert renewed.identity.node_id == world[1].peer.publisher.lines[0].identity.node_id
    world[1].call(lambda now: world[1].peer.add_line(renewed, now))
    world.run(10.0)
    bob.unplug()
    leave(world, alice, "bob", seconds=1.5)
    (message,) = contents(world[1], "bob").messages
    assert isinstance(asked(world[1], FetchMessage("bob", message.key)), MessageAudio)


@pytest.mark.parametrize("wish", [True, None])
@pytest.mark.parametrize("after_ms", range(3000, 3100, 10))
def test_a_line_that_is_removed_while_its_mailbox_is_being_opened(after_ms: int, wish: bool | None) -> None:
    """At any moment of that: nothing is left open, and nothing is due for a line that is gone."""
    world = club(f"removed after {after_ms}", 3)
    line, handling = line_of(world.seed, 1, "bob", "bob"), CallHandling(mailbox=wish)
    world[1].call(lambda now: world[1].peer.add_line(line, now, handling))
    world.run(after_ms / 1000)
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world.run(150.0)
    assert not any(stored.data_value.exists for stored in kept_of(world, MAILBOX))
