"""RFC 4575: the event package of conferences, for the phones in a room, through whole peers in virtual time."""

from __future__ import annotations

import pytest
from lxml import etree
from rooms_world import ROOM, enter, mixer, mixers, rooms_overlay
from watching import Lamp, LampPhone, accepted, lamps

from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.events.conference_package import ConferencePackage, RoomPeople
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

NS = "{urn:ietf:params:xml:ns:conference-info}"
CONFERENCE = "conference"


def document(notify: Request) -> etree._Element:
    assert notify.fields.first("content-type") == "application/conference-info+xml"
    return etree.fromstring(notify.body)


def names(notify: Request) -> list[str]:
    """Who is in, as a phone shows them."""
    return [each.findtext(f"{NS}display-text") or "" for each in document(notify).iter(f"{NS}user")]


def room_with(
    seed: str, *users: tuple[int, str], outside: tuple[tuple[int, str], ...] = ()
) -> tuple[SimulatedPeers, list[LampPhone], list[int]]:
    """Phones of `users` that are in the room, and then those that are not; two of three peers mix."""
    world = rooms_overlay(seed, False, True, True)
    phones = lamps(world, *users, *outside)
    world.run(10.0)
    calls = [enter(world, phone) for phone in phones[: len(users)]]
    world.run(2.0)
    return world, phones, calls


def watch(world: SimulatedPeers, phone: LampPhone, called: str = ROOM) -> Lamp:
    return accepted(world, phone.watch(called, CONFERENCE))


def test_3_4_and_4_a_full_document_of_who_is_in() -> None:
    world, (alice, _), _ = room_with("4575/full", (0, "alice"), (1, "bob"))
    lamp = watch(world, alice)
    (notify,) = lamp.notifies
    root = document(notify)
    assert (root.tag, root.get("state"), root.get("version")) == (f"{NS}conference-info", "full", "0")
    # In the words of the phone, which knows its peer by address: what is told can be dialled.
    assert root.get("entity") == f"sip:{ROOM}@192.168.0.1"
    assert names(notify) == ["alice", "bob"]
    assert root.findtext(f"{NS}conference-state/{NS}user-count") == "2"
    assert root.findtext(f"{NS}conference-state/{NS}active") == "true"
    entities = [each.get("entity") for each in root.iter(f"{NS}user")]
    assert entities == ["sip:alice@192.168.0.1", "sip:participant2@anonymous.invalid"]
    assert {each.findtext(f"{NS}status") for each in root.iter(f"{NS}endpoint")} == {"connected"}


def test_3_6_who_comes_and_goes_is_told_with_the_next_version() -> None:
    users = (0, "alice"), (1, "bob")
    world, (alice, bob, carol), calls = room_with("4575/changes", *users, outside=((0, "carol"),))
    lamp = watch(world, alice)
    world.run(6.0)
    enter(world, carol)
    world.run(6.0)
    assert names(lamp.notifies[-1]) == ["alice", "bob", "carol"]
    bob.hang_up(calls[1])
    world.run(6.0)
    assert names(lamp.notifies[-1]) == ["alice", "carol"]
    versions = [int(document(notify).get("version") or -1) for notify in lamp.notifies]
    assert versions == list(range(len(versions)))
    assert lamp.state.startswith("active;expires=")


def test_3_9_not_more_often_than_once_in_five_seconds() -> None:
    outside = (1, "bob"), (2, "carol"), (0, "dora")
    world, (alice, *others), _ = room_with("4575/rate", (0, "alice"), outside=outside)
    lamp = watch(world, alice)
    began = len(lamp.notifies)
    for other in others:
        enter(world, other)
    world.run(ConferencePackage.interval_s)
    assert len(lamp.notifies) - began <= 2
    world.run(ConferencePackage.interval_s)
    assert names(lamp.notifies[-1]) == ["alice", "bob", "carol", "dora"]


def test_the_contact_of_the_call_says_isfocus_and_can_be_watched() -> None:
    """RFC 3840: by that a phone knows that there is somebody to ask who else is in."""
    world, (alice,), _ = room_with("4575/focus", (0, "alice"))
    answers = [message for message in map(parse, alice.received) if isinstance(message, Response)]
    (contact,) = {
        str(each.fields.first("contact")) for each in answers if each.status == 200 and each.cseq.method == "INVITE"
    }
    assert contact.endswith(";isfocus")
    lamp = watch(world, alice, "conference")
    assert names(lamp.notifies[-1]) == ["alice"]
    assert document(lamp.notifies[-1]).get("entity") == f"sip:{ROOM}@192.168.0.1"


@pytest.mark.parametrize(("called", "status"), [(ROOM, 404), ("conference", 403), ("3002", 404)])
def test_3_5_who_is_not_in_is_told_nothing(called: str, status: int) -> None:
    world, (_, bob), _ = room_with("4575/outside", (0, "alice"), outside=((0, "bob"),))
    lamp = bob.watch(called, CONFERENCE)
    world.run(15.0)
    assert (lamp.statuses, lamp.notifies) == ([status], [])


def test_3_5_who_goes_out_is_told_no_more() -> None:
    world, (alice, bob), calls = room_with("4575/leaves", (0, "alice"), (0, "bob"))
    lamp, stays = watch(world, alice), watch(world, bob)
    alice.hang_up(calls[0])
    world.run(6.0)
    assert lamp.state == "terminated;reason=rejected"
    assert lamp.notifies[-1].body == b""
    assert names(stays.notifies[-1]) == ["bob"]
    bob.hang_up(calls[1])
    world.run(6.0)
    assert stays.state == "terminated;reason=rejected"
    assert world[0].peer.server.counts["subscriptions"] == 0


def test_a_subscription_is_refreshed_and_ended_as_of_any_package() -> None:
    world, (alice,), _ = room_with("4575/refresh", (0, "alice"))
    lamp = watch(world, alice)
    alice.refresh(lamp, 300)
    world.run(1.0)
    assert (lamp.statuses, lamp.state) == ([200, 200], "active;expires=300")
    alice.refresh(lamp, 0)
    world.run(1.0)
    assert lamp.state == "terminated;reason=timeout"
    assert world[0].peer.server.counts["subscriptions"] == 0


def test_the_mixer_dies_and_nobody_seems_to_leave() -> None:
    world, (alice, _), _ = room_with("4575/mixer", (0, "alice"), (0, "bob"))
    lamp = watch(world, alice)
    world.world.crash(mixer(world).host, is_silent=True)
    assert world.run(8.0, stop=lambda: list(mixers(world).values()) == [["alice", "bob"]])
    world.run(12.0)
    assert {tuple(sorted(names(notify))) for notify in lamp.notifies} == {("alice", "bob")}


def test_who_goes_while_there_is_no_mixer_is_out_and_nobody_else() -> None:
    world, (alice, dora, _), calls = room_with("4575/between", (0, "alice"), (0, "dora"), (1, "bob"))
    lamp = watch(world, alice)
    world.run(6.0)
    world.world.crash(mixer(world).host, is_silent=True)
    rooms = world[0].peer.rooms
    assert world.run(5.0, stop=lambda: not any(seen.people for seen, _ in rooms.seen))
    dora.hang_up(calls[1])
    world.run(0.2)
    assert sorted(names(lamp.notifies[-1])) == ["alice", "bob"]


def test_a_room_is_none_of_the_packages_of_lines() -> None:
    """Rules about who may watch which line say nothing of rooms; and names are no markup."""
    package = ConferencePackage("overlay.example")
    assert not package.may_watch("alice", ROOM, is_permitted=True)
    assert package.note(ROOM, RoomPeople(("<b>&", "al", "al"), {"alice": "al", "al": "al"}))
    assert not package.note(ROOM, RoomPeople(("<b>&", "al", "al"), {"alice": "al", "al": "al"}))
    assert package.may_watch("alice", ROOM, is_permitted=False)
    root = etree.fromstring(package.document(ROOM, 7, sees_calls=False))
    shown = [(each.get("entity"), each.findtext(f"{NS}display-text")) for each in root.iter(f"{NS}user")]
    assert shown == [
        ("sip:participant1@anonymous.invalid", "<b>&"),
        ("sip:alice@overlay.example", "al"),
        ("sip:al@overlay.example", "al"),
    ]
    assert package.note(ROOM, RoomPeople())
    assert package.room_of("alice", "") is None


def test_who_calls_anonymously_is_in_without_a_name_and_watches_nothing() -> None:
    world, (alice, bob), _ = room_with("4575/anonymous", (0, "alice"), outside=((0, "bob"),))
    room = SipUri("192.168.0.1", ROOM)
    bob.run(lambda now: bob.agent.call(room, now, extra=[("Privacy", "id")]))
    assert world.run(8.0, stop=lambda: bob.talks)
    world.run(2.0)
    (notify,) = watch(world, alice).notifies
    entities = [each.get("entity") for each in document(notify).iter(f"{NS}user")]
    assert entities == ["sip:alice@192.168.0.1", "sip:participant2@anonymous.invalid"]
    assert b"bob" not in notify.body
    refused = bob.watch(ROOM, CONFERENCE)
    world.run(5.0)
    assert refused.statuses == [404]
