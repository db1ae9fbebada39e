"""draft-ietf-p2psip-concepts-01 section 5.2: the same calls by each way, in virtual time (docs/ways-of-calls.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from calls_by_ways import Cast, cast
from watching import basic

from p2psip.reload.config.calls_by import CallsBy
from p2psip.sim.invariants import chord_of
from p2psip.sim.sites.site import Site
from p2psip.sip.entities.handling.call_handling import CallHandling

pytestmark = pytest.mark.long

WAYS = pytest.mark.parametrize("way", CallsBy, ids=lambda way: way.value)

LIMIT_S = 8.0


def carried(cast: Cast) -> dict[str, list[int]]:
    """By peer, the final statuses of the INVITEs that it has carried."""
    return {name: [one.status for one in site.carried()] for name, site in cast.world.sites.items() if site.carried()}


def power_cut(cast: Cast, dead: Site, *, is_noticed: bool = True) -> None:
    cast.world.world.crash(dead.host, is_silent=True)
    gone = dead.peer.node.node_id

    def has_noticed() -> bool:
        views = [chord_of(site.peer.node).view(with_fingers=True) for site in cast.world.sites.values() if site != dead]
        return not any(gone in {*view.predecessors, *view.successors, *view.fingers} for view in views)

    if is_noticed:
        assert cast.world.run(120.0, stop=has_noticed)


@WAYS
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_a_call_goes_by_its_way_and_ends_by_either(way: CallsBy, who: str) -> None:
    """Whoever has sent it on has no part in the dialog: the BYE goes from peer to peer."""
    each = cast(way)
    what, after_s = each.call()
    assert (what, each.bob.talks) == ("talks", True)
    assert after_s < 2.0
    passed = [*each.on_the_way, *([each.responsible] if way is CallsBy.REDIRECT else [])]
    assert set(carried(each)) == {site.name for site in (each.caller, *passed, each.callee)}
    getattr(each, who).hang_up(1)
    each.world.run(3.0)
    assert [phone.talks for phone in (each.alice, each.bob)] == [False, False]
    assert {site.name for site in each.world.sites.values() if site.carried("BYE")} == {
        each.caller.name,
        each.callee.name,
    }


@WAYS
@pytest.mark.parametrize("is_in_record", [True, False])
def test_who_forwards_all_calls_forwards_those_of_their_callers(way: CallsBy, is_in_record: bool) -> None:
    """No peer on the way has a key to sign that bob's call is carol's now, nor that alice has meant her."""
    each = cast(way)
    number = each.number(each.other)
    each.world.line(number, "carol")
    each.world.settle_records([number])
    carol = each.phone(each.other, "carol")
    handling = CallHandling(always="carol", deny=() if is_in_record else ("mallory",))
    each.callee.call(lambda now: each.callee.peer.handle_calls("bob", handling, now))
    each.world.run(6.0)
    what, after_s = each.call()
    assert (what, carol.talks, each.bob.rang) == ("talks", True, 0)
    assert after_s < 3.0
    assert each.other.carried("INVITE")[-1].caller == "alice, proved by certificate"


@WAYS
def test_a_caller_who_gives_up(way: CallsBy) -> None:
    each = cast(way, answer_s=None)
    number = each.ring()
    each.alice.hang_up(number)
    each.world.run(3.0)
    assert (each.ended(number) or "").startswith("hung up")
    assert (each.bob.ended(1) or "").startswith("cancelled")
    assert each.bob.rang == 1


@WAYS
def test_one_who_is_busy(way: CallsBy) -> None:
    each = cast(way, answer_s=None)
    number = each.ring()
    each.bob.run(lambda now: each.bob.agent.reject(1, 486, now))
    assert each.ended(number) == "486 Busy Here"
    assert each.bob.rang == 1, "nobody asks a second time"


@WAYS
def test_one_who_does_not_answer(way: CallsBy) -> None:
    """It rings for as long as the owner of the line wants, once."""
    each = cast(way, answer_s=None)
    handling = each.callee.peer.handlings.of("bob") or CallHandling()
    each.callee.call(lambda now: each.callee.peer.handle_calls("bob", replace(handling, ring_s=5), now))
    number = each.ring()
    assert (each.ended(number) or "").startswith("408 ")
    assert each.bob.rang == 1


@WAYS
def test_two_phones_at_two_peers_ring_and_one_answers(way: CallsBy) -> None:
    each = cast(way, answer_s=None)
    number = each.number(each.other)
    each.world.line(number, "bob")
    each.world.settle_records([number])
    if way.has_homes:
        each.use_homes(each.other, each.home)
    second = each.phone(each.other, "bob", answer_s=4.0)
    each.world.run(2.0)
    what, _ = each.call()
    assert what == "talks"
    each.world.run(2.0)
    assert (each.bob.rang, second.rang) == (1, 1)
    assert (second.talks, each.bob.talks) == (True, False)
    assert each.bob.ended(1) is not None, "it rings no more"


@WAYS
def test_a_message(way: CallsBy) -> None:
    each = cast(way)
    sent = each.alice.write("bob", b"supper is ready")
    each.world.run(5.0, stop=lambda: bool(sent.statuses))
    assert len(sent.statuses) == 1
    assert [data for data in each.bob.received if data.endswith(b"supper is ready")], sent.responses


@WAYS
def test_a_lamp(way: CallsBy) -> None:
    """Who watches a line is told by the peer beside its phone, and by that alone from then on."""
    each = cast(way)
    lamp = each.alice.watch("bob", "presence")
    assert each.world.run(5.0, stop=lambda: bool(lamp.notifies)), lamp.responses
    assert basic(lamp.notifies[-1]) == "open"
    each.world.run(1.0)
    each.bob.run(each.bob.agent.unregister)
    assert each.world.run(30.0, stop=lambda: basic(lamp.notifies[-1]) == "closed")
    each.world.run(1.0)
    passed = {site.name for site in each.world.sites.values() if site.carried("NOTIFY")}
    assert passed == {each.caller.name, each.callee.name}


@WAYS
def test_a_call_is_held_by_either(way: CallsBy) -> None:
    each = cast(way)
    assert each.call()[0] == "talks"
    for holder, held in ((each.alice, each.bob), (each.bob, each.alice)):
        holder.run(lambda now, phone=holder: phone.agent.hold(1, True, now))  # type: ignore[misc]
        each.world.run(2.0)
        assert held.is_held()
        holder.run(lambda now, phone=holder: phone.agent.hold(1, False, now))  # type: ignore[misc]
        each.world.run(2.0)
    assert each.alice.talks
    assert each.bob.talks


@WAYS
def test_nobody_of_that_name_and_one_whose_phone_is_away(way: CallsBy) -> None:
    each = cast(way)
    number = each.alice.dial("carol")
    assert (each.ended(number) or "").startswith("404 ")
    each.bob.run(each.bob.agent.unregister)
    each.world.run(2.0)
    what, after_s = each.call()
    assert what.startswith("480 ")
    assert after_s < 2.0


@WAYS
@pytest.mark.parametrize("is_noticed", [True, False])
def test_the_peer_of_the_callee_is_dead(way: CallsBy, is_noticed: bool) -> None:
    each = cast(way)
    power_cut(each, each.callee, is_noticed=is_noticed)
    what, after_s = each.call()
    assert what.startswith("480 ")
    assert after_s < (3.0 if is_noticed else 2 * LIMIT_S)


@WAYS
def test_the_responsible_peer_is_dead(way: CallsBy) -> None:
    """Once it has been noticed another has the record; before that a call may fail, in time."""
    each = cast(way)
    power_cut(each, each.responsible, is_noticed=False)
    number = each.alice.dial("bob")
    each.world.run(LIMIT_S + 0.1, stop=lambda: each.alice.ended(number) is not None or each.alice.talks)
    assert each.alice.talks or each.alice.ended(number)
    each.alice.hang_up(number)
    power_cut(each, each.responsible)
    each.world.run(3.0)
    what, after_s = each.call()
    assert (what, after_s < 3.0) == ("talks", True)


@WAYS
@pytest.mark.parametrize("is_noticed", [True, False])
def test_the_home_is_dead(way: CallsBy, is_noticed: bool) -> None:
    """Who does not come by it goes straight; and the second home takes its place."""
    each = cast(way)
    power_cut(each, each.home, is_noticed=is_noticed)
    what, after_s = each.call()
    assert what == "talks"
    assert after_s < (4.0 if is_noticed else LIMIT_S + 3.0)
    if way.has_homes:
        each.alice.hang_up(1)
        each.world.run(130.0)
        aor = each.callee.peer.publisher.lines[0].aor
        assert each.second_home.peer.node.at_home(aor, each.world.world.now) == (each.callee.peer.node.node_id,)
        assert each.call()[0] == "talks"
        if way in (CallsBy.HOME, CallsBy.BOTH):
            assert each.second_home.carried(), "it has the place of the first"


@WAYS
@pytest.mark.parametrize("part", ["responsible", "home"])
def test_a_call_outlives_those_who_have_sent_it_on(way: CallsBy, part: str) -> None:
    each = cast(way)
    assert each.call()[0] == "talks"
    each.world.world.crash(getattr(each, part).host, is_silent=True)
    each.world.run(2.0)
    each.alice.run(lambda now: each.alice.agent.hold(1, True, now))
    each.world.run(3.0)
    assert each.bob.is_held()
    each.bob.hang_up(1)
    each.world.run(3.0)
    assert [phone.talks for phone in (each.alice, each.bob)] == [False, False]
