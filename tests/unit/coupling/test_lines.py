"""The records of lines: how long they live, whose word is the last, what becomes of them without an overlay."""

from __future__ import annotations

import pytest

from p2psip.base.effects import Note
from p2psip.base.wallclock import WallClock
from p2psip.coupling import lines
from p2psip.coupling.line_records.withdrawals import LineWithdrawn
from p2psip.coupling.lines import RETRY_MAX_S
from p2psip.reload.node.connecting.twins import LOOK_AGAIN_S
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.storing import CLOCK_SKEW_S
from p2psip.reload.usages.sip_registration import LIFETIME_S, REFRESH_S, RegistrationForward, RegistrationRoute
from p2psip.reload.wire.rejections import DataTooOld
from p2psip.reload.wire.usages.sip_registration import SipRegistration
from p2psip.sim.simulated_overlay import EPOCH_S
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.telephone import on_keypad


def entries(world: SimulatedPeers, user: str, *, at: int = 0) -> list[str]:
    """Where the entries of a user lead, newest first, by the name of the peer."""
    found = world.look_up(at, user)
    assert found.registrations is not None, found.error
    assert not found.registrations.dropped
    names = {site.peer.node.node_id: site.name for site in world.sites.values()}
    return [
        names[entry.target.peer] if isinstance(entry.target, RegistrationRoute) else entry.target.aor
        for entry in found.registrations.entries
    ]


def restart(world: SimulatedPeers, number: int, wall: WallClock) -> Site:
    """The peer is killed and starts with an empty disk and this date."""
    world.world.crash(world[number].host)
    world.wall = wall
    site = world.add(number)
    world.wall = WallClock(EPOCH_S)
    world.run(60.0, stop=lambda: site.peer.node.is_serving)
    return site


@pytest.mark.long
def test_a_record_is_stored_whether_a_phone_is_there_or_not_and_lives_as_long_as_the_line() -> None:
    world = SimulatedPeers("life", 3)
    world.line(1, "bob")
    world.settle_records([1])
    first = world[1].peer.publisher.placed("bob")
    assert first is not None
    world.run(REFRESH_S - 10.0)
    assert world[1].peer.publisher.placed("bob") == first
    world.run(20.0)
    second = world[1].peer.publisher.placed("bob")
    assert second is not None
    assert second.at - first.at == pytest.approx(REFRESH_S, abs=1.0)
    world.run(2.0 * LIFETIME_S)
    assert entries(world, "bob") == ["p1"]


def test_a_line_that_is_removed_takes_its_record_with_it() -> None:
    world = SimulatedPeers("remove", 3)
    world.line(1, "bob")
    world.settle_records([1])
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world.run(1.0)
    assert entries(world, "bob") == []
    assert not world[1].peer.publisher.lines


def test_a_line_that_is_removed_while_its_record_is_on_its_way() -> None:
    """The removal is the later word, in whatever order the two arrive."""
    world = SimulatedPeers("at once", 3)
    world.line(1, "bob")
    world.run(0.02)
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world.run(5.0)
    assert entries(world, "bob") == []


def test_a_line_that_is_removed_and_added_again_at_once() -> None:
    world = SimulatedPeers("again", 3)
    world.line(1, "bob")
    world.settle_records([1])
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world.line(1, "bob")
    world.run(5.0)
    assert entries(world, "bob") == ["p1"]


def test_a_renewed_certificate_changes_nothing_for_callers() -> None:
    """The same key, so the same Node-ID: the record stays where it is, now under the new signature."""
    world = SimulatedPeers("renewed", 3)
    world.with_phones((1, "bob"))
    before = world[1].peer.publisher.placed("bob")
    world.line(1, "bob")
    world.run(5.0)
    after = world[1].peer.publisher.placed("bob")
    assert before is not None
    assert after is not None
    assert after.storage_time_ms > before.storage_time_ms
    assert entries(world, "bob") == ["p1"]


def test_a_peer_that_stops_takes_the_records_of_its_lines_with_it() -> None:
    world = SimulatedPeers("stop", 3)
    for user in ("bob", "ben"):
        world.line(1, user)
    world.settle_records([1])
    world[1].call(world[1].peer.stop)
    world.run(5.0)
    world.world.crash(world[1].host)
    assert [entries(world, user) for user in ("bob", "ben")] == [[], []]


def test_while_another_machine_has_our_keys_our_records_are_the_newest() -> None:
    """It may have removed them in our name."""
    world = SimulatedPeers("twice/lines", 3)
    world.line(1, "bob")
    world.settle_records([1])
    site = world[1]
    published = site.peer.publisher._lines["bob"]
    site.call(lambda now: site.peer.publisher._withdraw(published, now))
    world.run(2.0)
    assert entries(world, "bob") == []
    site.peer.node._twins._met("192.0.2.9", world.world.now)
    site.call(lambda now: site.peer.node._settle(now))
    world.run(LOOK_AGAIN_S + 2.0)
    assert entries(world, "bob") == ["p1"]


def test_a_peer_that_is_stopping_stores_nothing_any_more() -> None:
    """A Store is under way and another one is wanted behind it when the word to stop comes."""
    world = SimulatedPeers("stopping", 3)
    world.with_phones((1, "bob"))
    publisher = world[1].peer.publisher
    before = publisher.placed("bob")
    for number in (5, 6):
        SitePhone(world[1], "bob", number).register()
        world.run(0.006)
    assert len(world[1].peer.server.bindings("bob", world.world.now)) == 3
    assert publisher.placed("bob") == before
    world[1].call(world[1].peer.stop)
    world.run(REFRESH_S + 60.0)
    assert entries(world, "bob") == []


def test_what_is_wanted_while_a_store_is_under_way_is_done_afterwards() -> None:
    """Whose phone came last is the newest: also if the one before came a moment earlier."""
    world = SimulatedPeers("twice", 3)
    world.with_phones((1, "bob"))
    for number in (5, 6):
        SitePhone(world[1], "bob", number).register()
        world.run(0.006)
    came = world.world.now
    world.run(2.0)
    placed = world[1].peer.publisher.placed("bob")
    assert placed is not None
    assert placed.storage_time_ms >= (EPOCH_S + came - 0.002) * 1000


def test_a_clock_that_was_set_back_does_not_keep_a_line_out() -> None:
    """7.4.1.1 refuses what is older than what is there: the line looks at its record and goes beyond it."""
    world = SimulatedPeers("clock", 4)
    world.line(2, "bob")
    world.settle_records([2])
    site = restart(world, 2, WallClock(EPOCH_S - 86_400.0))
    world.line(2, "bob")
    world.run(30.0, stop=lambda: site.peer.publisher.placed("bob") is not None)
    placed = site.peer.publisher.placed("bob")
    assert placed is not None
    assert placed.storage_time_ms > EPOCH_S * 1000
    assert site.peer.publisher.failure("bob") == ""


@pytest.mark.parametrize("wall", [WallClock(0.0, is_trusted=False), WallClock(EPOCH_S - 30 * 86_400.0)])
def test_a_clock_that_was_never_set_does_not_keep_a_line_out(wall: WallClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others know the date, what is signed in 1970, or last month, is too old: the line goes by their date."""
    monkeypatch.setattr("p2psip.reload.usages.sip_registration.AGE_MAX_S", REFRESH_S - 2 * CLOCK_SKEW_S)
    world = SimulatedPeers("1970", 4)
    site = restart(world, 2, wall)
    world.line(2, "bob")
    world.run(20.0, stop=lambda: site.peer.publisher.placed("bob") is not None)
    assert entries(world, "bob") == ["p2"]
    world.run(REFRESH_S + 20.0)
    assert entries(world, "bob") == ["p2"], "the date of then, and a little, does not do any more"
    assert site.peer.publisher.failure("bob") == ""


def test_a_refusal_without_proof_is_no_reason_to_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is responsible says that there is a newer record, and has none: no endless loop of Store and Fetch."""
    world = SimulatedPeers("liar", 3)
    stores: list[float] = []

    def refuse(*_: object, **__: object) -> None:
        stores.append(world.world.now)
        raise DataTooOld("there is a value with storage_time 18446744073709551615")

    monkeypatch.setattr(Storage, "store", refuse)
    world.line(1, "bob")
    world.run(600.0)
    failure = world[1].peer.publisher.failure("bob")
    assert "says that the record is too old, but has no newer one nor a later date" in failure
    assert 5 < len(stores) < 2 * (600.0 / RETRY_MAX_S + 10)


def test_what_cannot_be_stored_now_is_stored_when_the_overlay_is_there() -> None:
    world = SimulatedPeers("later", 0)
    world.add(1)
    world.line(1, "bob")
    world.run(100.0)
    assert world[1].peer.publisher.placed("bob") is None
    world.add(0)
    world.run(60.0, stop=lambda: world[1].peer.publisher.placed("bob") is not None)
    assert entries(world, "bob") == ["p1"]


@pytest.mark.long
def test_a_refresh_that_is_due_while_the_peer_is_outside_is_made_up_for() -> None:
    """Its record must not die because the timer found the peer between two joins."""
    world = SimulatedPeers("outside", 3)
    world.line(1, "bob")
    world.settle_records([1])
    for number in (0, 2):
        world[number].host.island = 1
    world.run(REFRESH_S + 60.0)
    for number in (0, 2):
        world[number].host.island = 0
    world.run(300.0)
    world.run(LIFETIME_S)
    assert entries(world, "bob") == ["p1"]


def forward(world: SimulatedPeers, number: int, user: str, to: str) -> None:
    """Store an entry that leads from one AoR to another (RFC 7904 section 3.1), as another implementation would."""
    entry = SipRegistration.uri(f"sip:{to}@{OVERLAY}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "route_to", lambda *_: entry)
        world.line(number, user)
        world.settle_records([number])


def test_an_entry_leads_on_to_another_name() -> None:
    world = SimulatedPeers("forward", 4)
    alice, carol = world.with_phones((0, "alice"), (2, "carol"))
    forward(world, 1, "bob", "carol")
    found = world.look_up(0, "bob")
    assert found.registrations is not None
    assert [entry.target for entry in found.registrations.entries] == [RegistrationForward(f"carol@{OVERLAY}")]
    alice.dial("bob")
    world.run(5.0, stop=lambda: alice.talks)
    assert carol.rang == 1


def test_entries_that_lead_in_a_circle() -> None:
    world = SimulatedPeers("circle", 4)
    (alice,) = world.with_phones((0, "alice"))
    for user, to in (("bob", "carol"), ("carol", "dave"), ("dave", "bob")):
        forward(world, 1, user, to)
    number = alice.dial("bob")
    world.run(5.0, stop=lambda: alice.ended(number) is not None)
    assert alice.ended(number) == "482 Loop Detected; bob has forwarded this call already"


def test_no_caller_follows_forwards_for_ever() -> None:
    world = SimulatedPeers("chain", 2)
    (alice,) = world.with_phones((0, "alice"))
    for step in range(9):
        forward(world, 1, f"step{step}", f"step{step + 1}")
    world.with_phones((1, "step9"))
    number = alice.dial("step0")
    world.run(5.0, stop=lambda: alice.ended(number) is not None)
    assert alice.ended(number) == "482 Loop Detected; sent on 8 times"
    number = alice.dial("step4")
    world.run(5.0, stop=lambda: alice.talks)
    assert alice.talks


def listen(world: SimulatedPeers, number: int, patch: pytest.MonkeyPatch) -> list[tuple[object, object]]:
    """What its operator is told of lines that have the name of one of a peer's own: whose name, and which line."""
    publisher, heard = world[number].peer.publisher, []
    drain = publisher.drain

    def overheard() -> list[Note | LineWithdrawn]:
        news = drain()
        heard.extend((note.facts["user"], note.facts["other"]) for note in news if isinstance(note, Note))
        return news

    patch.setattr(publisher, "drain", overheard)
    return heard


@pytest.mark.long
def test_a_name_that_two_have_is_told_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6940 11.3.1: where members make their own certificates nobody sees to it that a number is one person's."""
    world = SimulatedPeers("collision", 3, self_signed_digest="sha256")
    told = [listen(world, number, monkeypatch) for number in (0, 1)]
    first = world.line(0, "4242")
    world.settle_records([0])
    world.run(60.0)
    second = world.line(1, "4242")
    world.settle_records([1])
    world.run(REFRESH_S + 10.0)
    aor = f"4242@{OVERLAY}"
    assert told == [[(aor, second.identity.node_id)], [(aor, first.identity.node_id)]]
    assert world[0].peer.publisher.others("4242") == {second.identity.node_id}
    # Once is enough; and when the other one goes, that is seen as well.
    world[1].call(lambda now: world[1].peer.remove_line("4242", now))
    world.run(2.0 * REFRESH_S)
    assert len(told[0]) == 1
    assert world[0].peer.publisher.others("4242") == frozenset()


@pytest.mark.long
def test_an_alias_that_two_have_is_told_to_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number that two callsigns spell on the keypad (dl1abc, el1abc), forwarded to each of them by its owner."""
    world = SimulatedPeers("alias collision", 3, self_signed_digest="sha256")
    told = [listen(world, number, monkeypatch) for number in (0, 1)]
    lines = []
    for number, callsign in ((0, "dl1abc"), (1, "el1abc")):
        site = world[number]
        lines.append(world.line(number, on_keypad(callsign)))
        wanted = CallHandling(always=callsign)
        site.call(lambda now, site=site, wanted=wanted: site.peer.handle_calls("351222", wanted, now))  # type: ignore[misc]
        world.settle_records([number])
        world.run(60.0)
    world.run(REFRESH_S + 10.0)
    aor = f"351222@{OVERLAY}"
    assert told == [[(aor, lines[1].identity.node_id)], [(aor, lines[0].identity.node_id)]]


def test_where_a_server_gives_names_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SimulatedPeers("no collision", 3)
    told = [listen(world, number, monkeypatch) for number in (0, 1)]
    for number in (0, 1):
        world.line(number, "4242")
    world.settle_records([0, 1])
    world.run(REFRESH_S + 10.0)
    assert told == [[], []]


@pytest.mark.parametrize(
    "is_connected", [False, True], ids=["before the overlay is reached", "before it was stored anew"]
)
def test_the_record_of_a_former_life_goes_with_its_line(is_connected: bool) -> None:
    """A peer was killed and starts anew; somebody gives up the line before its record has been stored again."""
    world = SimulatedPeers("former life", 3)
    line = world.line(1, "bob")
    world.settle_records([1])
    store = world[1].host.store
    world.world.crash(world[1].host)
    site = world.add(1, store)
    assert not site.peer.node.is_connected
    if is_connected:
        world.run(60.0, stop=lambda: site.peer.node.is_connected)
    site.call(lambda now: (site.peer.add_line(line, now), site.peer.remove_line("bob", now)))
    world.run(10.0)
    assert entries(world, "bob") == []
    # Who has it again is found again.
    world.line(1, "bob")
    world.settle_records([1])
    assert entries(world, "bob") == ["p1"]


def test_a_removal_that_a_peer_could_not_make_is_made_by_its_next_life() -> None:
    """Given up where the overlay is not reached, and killed before it was."""
    world = SimulatedPeers("next life", 3)
    node = world.line(1, "bob").identity.node_id
    world.settle_records([1])
    world.world.crash(world[1].host)
    site = world.begin_again(1)
    site.call(lambda now: site.peer.remove_line("bob", now))
    assert [each.node_id for each in site.peer.publisher.leaving] == [node]
    world.world.crash(site.host)
    world.run(5.0)
    assert entries(world, "bob") == ["p1"]
    again = world.begin_again(1)
    assert again.peer.publisher.lines == []
    world.run(10.0)
    assert entries(world, "bob") == []
    assert again.peer.publisher.leaving == []
    assert [event for event in again.host.events if isinstance(event, LineWithdrawn)] == [LineWithdrawn(node)]
    assert node not in again.peer.node.clients


def _refuse(*_: object, **__: object) -> None:
    raise DataTooOld("it is not to be")


def test_a_removal_that_nobody_takes_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SimulatedPeers("not taken", 3)
    node = world.line(1, "bob").identity.node_id
    world.settle_records([1])
    publisher = world[1].peer.publisher

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "store", _refuse)
        world[1].call(lambda now: world[1].peer.remove_line("bob", now))
        world.run(20.0)
        assert entries(world, "bob") == ["p1"]
        assert [each.node_id for each in publisher.leaving] == [node]
        assert node in world[1].peer.node.clients, "who signs the next one"
    world.run(RETRY_MAX_S)
    assert entries(world, "bob") == []
    assert publisher.leaving == []
    assert node not in world[1].peer.node.clients


def test_a_removal_that_nobody_takes_ends_with_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    world = SimulatedPeers("dies by itself", 3)
    world.line(1, "bob")
    world.settle_records([1])
    monkeypatch.setattr(Storage, "store", _refuse)
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world.run(LIFETIME_S - 5.0)
    assert world[1].peer.publisher.leaving
    world.run(10.0)
    assert world[1].peer.publisher.leaving == []
    assert entries(world, "bob") == []


def test_a_line_that_is_there_again_stays_though_its_removal_was_under_way() -> None:
    world = SimulatedPeers("changed mind", 3)
    line = world.line(1, "bob")
    world.settle_records([1])
    world[1].call(lambda now: world[1].peer.remove_line("bob", now))
    world[1].call(lambda now: world[1].peer.add_line(line, now))
    world[1].call(lambda now: world[1].peer.finish_removal(line.identity, now))
    assert world[1].peer.publisher.leaving == []
    world.run(10.0)
    assert entries(world, "bob") == ["p1"]
    assert line.identity.node_id in world[1].peer.node.clients
