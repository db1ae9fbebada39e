"""Where a request goes, and what comes after that: a list that is asked, and asked again (RFC 3261 section 16.5)."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import CancelAsk
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.proxy.resolvers import Again, Instead
from p2psip.sip.entities.questions import Located, LocateUser, NotLocated, Target
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transports.hops import UdpHop


class Forwarding:
    """Calls for a user go elsewhere: when busy, when nobody answers in `after_s`, or always."""

    name = "forwarding"

    def __init__(self, user, *, on, to, after_s=None):
        self.user, self.on, self.to, self.after_s = user, on, to, after_s
        self.heard = []

    def resolve(self, asked, now):
        if asked.uri.user_name != self.user:
            return None
        if asked.after is not None:
            self.heard.append(asked.after)
            return self.to if asked.after.status in self.on else None
        if self.on == "always":
            return self.to
        return None if self.after_s is None else Again(self.after_s)


def to(user):
    return Instead(parse_sip_uri(f"sip:{user}@overlay.example"))


def site(world, *resolvers):
    """A server with these resolvers, and the phones of alice, bob and carol."""
    one = world.server("one", "10.1.0.1", resolvers=resolvers)
    phones = [
        world.phone(user, one, Address(f"10.1.0.{11 + i}", 5060)) for i, user in enumerate(("alice", "bob", "carol"))
    ]
    for phone in phones:
        assert phone.register().status == 200
    return one, *phones


def invites(phone):
    return [request for request in phone.received if request.method == "INVITE"]


def cancels(phone):
    return [request for request in phone.received if request.method == "CANCEL"]


def test_after_busy_the_next(world):
    forwarding = Forwarding("bob", on=(486,), to=to("carol"))
    one, alice, bob, carol = site(world, forwarding)
    bob.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 180, 200]
    assert carol.calls[0].is_up
    assert [after.status for after in forwarding.heard] == [486]
    alice.hang_up(call)
    world.run(1.0)
    assert carol.calls[0].is_over
    (report,) = one.reports_of("INVITE")
    assert report.target.startswith("carol's phone")
    assert world.forgets_all()


def test_a_user_at_this_very_peer_is_a_user(world):
    """A GRUU of the peer with a user in it, as other peers write it (RFC 7904 section 6); another's is not."""
    one, alice, bob, _ = site(world)
    here, elsewhere = (alice.invite(f"sip:bob@overlay.example;gr={node}") for node in (one.node_id, "0" * 32))
    world.run(3.0)
    assert here.is_up
    assert elsewhere.statuses[-1] >= 400
    assert len(invites(bob)) == 1


def test_what_nobody_forwards_goes_back(world):
    forwarding = Forwarding("bob", on=(486,), to=to("carol"))
    _, alice, bob, carol = site(world, forwarding)
    bob.refuses_with = 480
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 480]
    (after,) = forwarding.heard
    assert (after.status, after.reason) == (480, "Temporarily Unavailable")
    assert [(tried.uri.user, tried.status, tried.is_told) for tried in after.tried] == [("bob", 480, True)]
    assert not invites(carol)


def test_after_no_answer_the_next(world):
    """The phone that has rung in vain is told to stop, and why (RFC 3326); one that answers at once is not."""
    forwarding = Forwarding("bob", on=(408,), to=to("carol"), after_s=10.0)
    _, alice, bob, carol = site(world, forwarding)
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(9.9)
    assert not invites(carol)
    world.run(3.0)
    assert call.statuses == [100, 180, 180, 200]
    (cancel,) = cancels(bob)
    assert cancel.reasons[0].text == "Nobody has answered in time"
    assert [after.status for after in forwarding.heard] == [408]
    bob.answers_after_s = 1.0
    alice.hang_up(call)
    again = alice.invite("bob")
    world.run(20.0)
    assert again.is_up
    assert [after.status for after in forwarding.heard] == [408]
    assert bob.calls[-1].is_up
    alice.hang_up(again)
    assert world.forgets_all()


def test_who_is_rung_instead_has_the_time_of_nobody_else(world):
    """Somebody wanted to hear when bob does not answer; bob has never been rung."""
    waits, forwards = Forwarding("bob", on=(), to=None, after_s=5.0), Forwarding("bob", on="always", to=to("carol"))
    hears = Forwarding("carol", on=(), to=None)
    _, alice, bob, carol = site(world, waits, forwards, hears)
    carol.answers_after_s = None
    call = alice.invite("bob")
    world.run(9.0)
    assert invites(carol)
    assert not invites(bob)
    assert hears.heard == []
    alice.cancel(call)
    assert world.forgets_all()


def test_after_no_answer_it_rings_on_where_there_is_nobody_else(world):
    forwarding = Forwarding("bob", on=(), to=None, after_s=5.0)
    _, alice, bob, _ = site(world, forwarding)
    bob.answers_after_s = 8.0
    call = alice.invite("bob")
    world.run(10.0)
    assert call.statuses == [100, 180, 200]
    assert [after.status for after in forwarding.heard] == [408]


def test_always(world):
    forwarding = Forwarding("bob", on="always", to=to("carol"))
    _, alice, bob, carol = site(world, forwarding)
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert carol.calls[0].is_up
    assert not invites(bob)


def test_one_after_the_other(world):
    """Busy at the first, no answer at the second, and the third takes it."""
    busy = Forwarding("bob", on=(486,), to=to("carol"))
    silent = Forwarding("carol", on=(408,), to=to("dave"), after_s=5.0)
    one, alice, bob, carol = site(world, busy, silent)
    dave = world.phone("dave", one, Address("10.1.0.20", 5060))
    dave.register()
    bob.refuses_with, carol.answers_after_s = 486, None
    call = alice.invite("bob")
    world.run(10.0)
    assert call.is_up
    assert dave.calls[0].is_up
    assert len(cancels(carol)) == 1


@pytest.mark.must("3261 16.5/6")
@pytest.mark.parametrize("on", ["always", (486,)])
def test_a_loop_has_an_end(world, on):
    """Two who forward to each other: the caller hears of it, and no phone is rung for ever."""
    there, back = Forwarding("bob", on=on, to=to("carol")), Forwarding("carol", on=on, to=to("bob"))
    one, alice, bob, carol = site(world, there, back)
    bob.refuses_with = carol.refuses_with = 486
    call = alice.invite("bob")
    world.run(5.0)
    turns = one.config.limits.turns
    if on == "always":
        assert call.statuses == [100, 482]
        assert call.responses[-1].reasons[0].text == f"sent on {turns} times"
    else:
        assert call.statuses == [100, 486]
        assert len(invites(bob)) + len(invites(carol)) == turns + 1
    assert world.forgets_all()


def test_who_is_not_there_does_not_hide_what_was_said(world):
    """The place that a busy call is sent to is nobody: busy goes back."""
    one, alice, bob, _ = site(world, Forwarding("bob", on=(486,), to=to("nobody")))
    bob.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 486]
    (report,) = one.reports_of("INVITE")
    assert "nobody is called nobody" in str(report.causes[-1])


def refuse(phone, status):
    """Its user does not want this call."""
    phone._reply(phone.calls[-1], status)
    phone.calls[-1].is_over = True


def test_the_caller_gives_up_while_it_is_asked(world):
    """The overlay takes its time, and the caller does not."""
    one, alice, bob, carol = site(world, Forwarding("bob", on=(486,), to=to("carol")))
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(1.0)
    one.unanswered = (LocateUser,)
    refuse(bob, 486)
    world.run(1.0)
    assert call.statuses == [100, 180]
    alice.cancel(call)
    world.run(1.0)
    assert call.statuses == [100, 180, 487]
    assert isinstance(one.asked[-1], CancelAsk)
    assert not invites(carol)
    assert world.forgets_all()


def test_an_answer_while_it_is_asked_wins(world):
    """The phone is picked up after all, before it is known where else to go."""
    one, alice, bob, carol = site(world, Forwarding("bob", on=(408,), to=to("carol"), after_s=5.0))
    bob.answers_after_s = 5.5
    call = alice.invite("bob")
    world.run(4.9)
    one.unanswered = (LocateUser,)
    world.run(15.0)
    assert call.statuses == [100, 180, 200]
    assert bob.calls[0].is_up
    assert not invites(carol)


def test_phones_that_fail_while_it_is_asked_do_not_end_it(world):
    one, alice, bob, _ = site(world, Forwarding("bob", on=(408,), to=to("carol"), after_s=5.0))
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(4.9)
    one.unanswered = (LocateUser,)
    world.run(1.0)
    refuse(bob, 486)
    world.run(1.0)
    assert call.statuses == [100, 180], "the overlay is asked where carol is"
    world.run(one.config.limits.locate_s)
    assert call.statuses == [100, 180, 486]


@pytest.mark.must("3261 16.7/9")
def test_a_6xx_is_the_last_word(world):
    """16.7 step 5: after it no new branches are begun."""
    forwarding = Forwarding("bob", on=(603,), to=to("carol"))
    _, alice, bob, carol = site(world, forwarding)
    bob.refuses_with = 603
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 603]
    assert not forwarding.heard
    assert not invites(carol)


@pytest.mark.must("3261 16.5/5")
def test_what_belongs_to_a_dialog_is_nobodys_to_send_elsewhere(world):
    forwarding = Forwarding("bob", on="always", to=to("carol"))
    forwarding.user = "nobody yet"
    _, alice, bob, carol = site(world, forwarding)
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    forwarding.user = "bob"
    alice.hang_up(call)
    world.run(1.0)
    assert bob.calls[0].is_over
    assert not carol.received


def test_a_resolver_may_name_places_and_refuse(world):
    elsewhere = Target(parse_sip_uri("sip:carol@10.1.0.13"), (UdpHop(Address("10.1.0.13", 5060)),), "the other one")
    _, alice, bob, carol = site(
        world,
        Forwarding("bob", on=(486,), to=Located((elsewhere,))),
        Forwarding("zoe", on="always", to=NotLocated(403, "Forbidden", "zoe is not called")),
    )
    bob.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert carol.calls[0].is_up
    refused = alice.invite("zoe")
    world.run(1.0)
    assert refused.statuses == [100, 403]
    assert refused.responses[-1].reasons[0].text == "zoe is not called"


@pytest.mark.parametrize("hops", [(), (UdpHop(Address("10.1.0.13", 5060)),)], ids=["unreachable", "busy"])
def test_one_that_always_knows_another_place_has_an_end(world, hops):
    """A place where nobody can be reached, or is busy, again and again: what was said goes back."""
    place = Target(parse_sip_uri("sip:carol@10.1.0.13"), hops, "carol")
    one, alice, bob, carol = site(world, Forwarding("bob", on=(480, 486), to=Located((place,))))
    bob.refuses_with = carol.refuses_with = 486
    call = alice.invite("bob")
    world.run(5.0)
    assert call.statuses == [100, 486]
    assert len(invites(carol)) == len(hops) * one.config.limits.turns
    assert world.forgets_all()


def test_who_is_given_up_is_not_tried_by_another_way(world):
    """Bob's first way is silent; before the second is tried, the call is carol's."""
    ways = [Target(parse_sip_uri("sip:bob@10.1.0.12"), (UdpHop(Address(f"10.1.0.{last}", 5060)),)) for last in (77, 12)]
    forwarding = Forwarding("bob", on=(408,), to=to("carol"), after_s=2.0)
    one, alice, bob, carol = site(world, forwarding)
    one.locate = lambda question: (
        Located((ways[0].with_others(ways[1:]),))
        if question.user == "bob"
        else Located(one.core.targets(question.user, world.now))
    )
    carol.answers_after_s = 20.0
    call = alice.invite("bob")
    world.run(40.0)
    assert call.is_up
    assert carol.calls[0].is_up
    assert not invites(bob)


def test_a_place_that_cannot_be_asked_for_leaves_the_phone_ringing(world):
    """Too many questions are open when nobody has answered in time: who rings may be picked up all the same."""
    limits = ServerLimits(questions=1)
    forwarding = Forwarding("bob", on=(408,), to=to("carol"), after_s=5.0)
    one = world.server("one", "10.1.0.1", resolvers=[forwarding], limits=limits)
    alice, bob, zoe = (
        world.phone(user, one, Address(f"10.1.0.{11 + i}", 5060)) for i, user in enumerate(("alice", "bob", "zoe"))
    )
    for phone in (alice, bob, zoe):
        assert phone.register().status == 200
    bob.answers_after_s = 6.0
    call = alice.invite("bob")
    world.run(4.5)
    one.unanswered = (LocateUser,)
    zoe.invite("somebody")
    world.run(5.0)
    assert call.statuses == [100, 180, 200]
    assert bob.calls[0].is_up
    refused = alice.invite("somebody")
    world.run(0.5)
    assert refused.statuses == [100, 503]
    assert refused.responses[-1].fields.first("retry-after") == "5"


def test_an_overlay_that_is_slower_than_patience_is_heard_first(world):
    """Nobody has answered in time, as nobody was asked yet: it is sent elsewhere once that is known."""
    forwarding = Forwarding("bob", on=(408,), to=to("carol"), after_s=2.0)
    one, alice, bob, carol = site(world, forwarding)
    bob.answers_after_s = None
    one.unanswered = (LocateUser,)
    call = alice.invite("bob")
    world.run(3.0)
    assert not forwarding.heard
    one.unanswered = ()
    first = 2  # the number of a proxy's first question
    one.core.handle_answer(first, Located(one.core.targets("bob", world.now)), world.now)
    world.run(5.0)
    assert len(invites(bob)) == 1
    assert call.is_up
    assert carol.calls[0].is_up
