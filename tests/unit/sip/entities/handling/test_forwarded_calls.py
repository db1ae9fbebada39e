"""Calls that are forwarded and screened, and star codes dialled by phones, from end to end in one world."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.media.negotiation import Negotiation
from p2psip.sip.entities.handling.call_handling import CallHandling, QuietHours
from p2psip.sip.entities.numbers.dial_plan import DialPlan, Rule
from p2psip.sip.entities.numbers.numbering import Emergency, Numbering
from p2psip.sip.entities.questions import Forwarded, Located, NotLocated, Target
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.urgency import is_marked
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import FlowHop

OVERLAY = "overlay.example"
USERS = ("alice", "bob", "carol")


def site(world, **changes):
    """A server, and the phones of alice, bob and carol."""
    one = world.server("one", "10.1.0.1", has_own_agents=True, **changes)
    phones = [world.phone(user, one, Address(f"10.1.0.{11 + i}", 5060)) for i, user in enumerate(USERS)]
    for phone in phones:
        assert phone.register().status == 200
    return one, *phones


def invites(phone):
    return [request for request in phone.received if request.method == "INVITE"]


def diversions(call):
    return call.request.fields.lines("diversion")


def test_always(world):
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(always="carol"))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert not invites(bob)
    # RFC 5806: whose call it was; the host is what carol's phone calls its server.
    assert diversions(carol.calls[0]) == ["<sip:bob@10.1.0.1>;reason=unconditional"]
    alice.hang_up(call)
    assert world.forgets_all()


def test_busy(world):
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(busy="carol"))
    bob.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert diversions(carol.calls[0]) == ["<sip:bob@10.1.0.1>;reason=user-busy"]


def test_no_answer(world):
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(no_answer="carol", ring_s=10))
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(9.9)
    assert not invites(carol)
    world.run(3.0)
    assert call.is_up
    assert diversions(carol.calls[0]) == ["<sip:bob@10.1.0.1>;reason=no-answer"]
    assert bob.calls[0].is_over


def test_a_phone_that_dies_while_it_rings_does_not_hold_the_call(world):
    """Nothing answers the CANCEL; RFC 5393 5.3.3 counts that branch, and something was kept for the next."""
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(no_answer="carol", ring_s=10))
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(5.0)
    bob.is_alive = False
    world.run(8.0)
    assert call.is_up
    assert carol.calls[0].is_up
    assert [phone.calls[0].request.integer("max-breadth") for phone in (bob, carol)] == [30, 30]


def test_no_phone_is_no_answer(world):
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(no_answer="carol"))
    one.locate = lambda question: (
        NotLocated(480, "Temporarily Unavailable", "no phone") if question.user == "bob" else one._located(question)
    )
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert not invites(bob)
    assert diversions(carol.calls[0]) == ["<sip:bob@10.1.0.1>;reason=unavailable"]


def test_it_rings_for_as_long_as_its_owner_wants(world):
    one, alice, bob, _ = site(world)
    one.handlings.set("bob", CallHandling(ring_s=20))
    bob.answers_after_s = None
    call = alice.invite("bob")
    world.run(19.9)
    assert call.statuses == [100, 180]
    world.run(1.0)
    assert call.statuses == [100, 180, 408]
    assert call.responses[-1].reasons[0].text == "bob has not answered in 20 s"
    assert bob.calls[0].is_over
    assert world.forgets_all()


def test_who_answers_at_the_last_moment_has_the_call(world):
    """Its phone says 200 to the INVITE when the CANCEL is on its way."""
    one, alice, bob, _ = site(world)
    one.handlings.set("bob", CallHandling(ring_s=20))
    # The INVITE arrives a moment after the time has begun.
    bob.answers_after_s = 19.985
    call = alice.invite("bob")
    world.run(22.0)
    assert call.is_up
    assert bob.calls[0].is_up


def test_who_forwards_to_each_other_are_in_a_circle(world):
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(always="carol"))
    one.handlings.set("carol", CallHandling(always="bob"))
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 482]
    assert call.responses[-1].reasons[0].text == "bob has forwarded this call already"
    assert not invites(bob)
    assert not invites(carol)


def test_who_are_busy_and_forward_to_each_other_are_busy(world):
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(busy="carol"))
    one.handlings.set("carol", CallHandling(busy="bob"))
    bob.refuses_with = carol.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 486]
    assert (len(invites(bob)), len(invites(carol))) == (1, 1)


def test_of_three_who_are_busy_and_forward_in_a_ring_each_is_asked_once(world):
    """A PBX of others goes round for ever."""
    one, alice, bob, carol = site(world)
    dora = world.phone("dora", one, Address("10.1.0.14", 5060))
    assert dora.register().status == 200
    busy = {"bob": bob, "carol": carol, "dora": dora}
    for user, to in (("bob", "carol"), ("carol", "dora"), ("dora", "bob")):
        one.handlings.set(user, CallHandling(busy=to))
        busy[user].refuses_with = 486
    call = alice.invite("bob")
    world.run(5.0)
    assert call.statuses == [100, 486]
    assert [len(invites(phone)) for phone in busy.values()] == [1, 1, 1]
    assert world.forgets_all()


def test_across_two_peers_a_circle_has_an_end(world):
    """What each of them knows of the other's forwarding is in Diversion."""
    one = world.server("one", "10.1.0.1")
    other = world.server("two", "10.2.0.1")
    world.link(one, other)
    alice, bob = (world.phone(user, one, Address(f"10.1.0.{i}", 5060)) for i, user in ((11, "alice"), (12, "bob")))
    carol = world.phone("carol", other, Address("10.2.0.13", 5060))
    for phone in (alice, bob, carol):
        phone.register()
    one.handlings.set("bob", CallHandling(always="carol"))
    other.handlings.set("carol", CallHandling(always="bob"))
    call = alice.invite("bob", [("Privacy", "id")])
    world.run(3.0)
    assert call.statuses == [100, 482]
    assert call.responses[-1].reasons[0].text == "bob has forwarded this call already"
    assert not invites(bob)
    assert not invites(carol)
    assert world.forgets_all()


def test_from_another_peer_it_is_forwarded_to_anywhere(world):
    """The call came here for bob; whoever he forwards to may be at any peer, also where it came from."""
    one, other = world.server("one", "10.1.0.1"), world.server("two", "10.2.0.1")
    world.link(one, other)
    alice, carol = (world.phone(user, one, Address(f"10.1.0.{i}", 5060)) for i, user in ((11, "alice"), (13, "carol")))
    bob = world.phone("bob", other, Address("10.2.0.12", 5060))
    for phone in (alice, bob, carol):
        phone.register()
    other.handlings.set("bob", CallHandling(busy="carol"))
    bob.refuses_with = 486
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert carol.calls[0].is_up
    assert diversions(carol.calls[0]) == ["<sip:bob@10.1.0.1>;reason=user-busy"]
    assert world.forgets_all()


def test_what_the_record_says_is_followed(world):
    """RFC 7904 section 3.1: an AoR that leads on to another one. Its line's peer need not be there."""
    one, alice, _, carol = site(world)
    one.locate = lambda question: (
        Forwarded(SipUri(OVERLAY, "carol")) if question.user == "zoe" else one._located(question)
    )
    call = alice.invite("zoe")
    world.run(3.0)
    assert call.is_up
    assert diversions(carol.calls[0]) == ["<sip:zoe@10.1.0.1>;reason=unconditional"]


def test_records_that_lead_in_a_circle(world):
    one, alice, *_ = site(world)
    there = {"zoe": "dora", "dora": "zoe"}
    one.locate = lambda question: Forwarded(SipUri(OVERLAY, there[question.user]))
    call = alice.invite("zoe")
    world.run(3.0)
    assert call.statuses == [100, 482]


# Screening


def test_who_is_denied_is_refused(world):
    one, alice, bob, carol = site(world)
    one.handlings.set("bob", CallHandling(deny=("alice",)))
    call, other = alice.invite("bob"), carol.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 603]
    assert other.is_up
    assert alice.ask(alice.message("bob")).status == 603
    assert len(invites(bob)) == 1


def test_who_hides_is_nobody_that_is_allowed(world):
    """Also where his own peer knows who he is: it tells nobody."""
    one, alice, *_ = site(world)
    one.handlings.set("bob", CallHandling(only_allowed=True, allow=("alice",)))
    hidden, shown = alice.invite("bob", [("Privacy", "id")]), alice.invite("bob")
    world.run(3.0)
    assert hidden.statuses == [100, 603]
    assert shown.is_up


def test_do_not_disturb(world):
    one, alice, *_ = site(world)
    one.handlings.set("bob", CallHandling(do_not_disturb=True))
    call = alice.invite("bob")
    world.run(1.0)
    assert call.statuses == [100, 486]
    assert call.responses[-1].reasons[0].text == "bob does not want to be disturbed"
    # Messages do not ring.
    assert alice.ask(alice.message("bob")).status == 200


def test_quiet_hours(world):
    one, alice, *_ = site(world)
    one.handlings.set("bob", CallHandling(quiet=(QuietHours.parse("22:00-07:00"),)))
    one.handlings.use_date(WallClock(23 * 3600))
    call = alice.invite("bob")
    world.run(1.0)
    assert call.statuses == [100, 486]
    one.handlings.use_date(WallClock(12 * 3600))
    again = alice.invite("bob")
    world.run(3.0)
    assert again.is_up


def test_who_answers_emergency_calls_gets_through(world):
    """And calls back, also from another peer."""
    numbering = Numbering(emergency=Emergency(frozenset({"112"}), ("alice",)))
    one, alice, _, carol = site(world, numbering=numbering)
    one.handlings.set("bob", CallHandling(do_not_disturb=True))
    refused, back = carol.invite("bob"), alice.invite("bob")
    world.run(3.0)
    assert refused.statuses == [100, 486]
    assert back.is_up


def emergency(world, *to, plan=()):
    """A server where 112 is answered by these users; dave's phone is there as well."""
    numbering = Numbering(DialPlan(plan), emergency=Emergency(frozenset({"112"}), to))
    one, *phones = site(world, numbering=numbering)
    dave = world.phone("dave", one, Address("10.1.0.44", 5060))
    assert dave.register().status == 200
    return one, *phones, dave


def test_who_answers_emergency_calls_and_forwards_in_a_circle_is_passed_over(world):
    one, alice, _, _, dave = emergency(world, "bob", "dave")
    one.handlings.set("bob", CallHandling(always="carol"))
    one.handlings.set("carol", CallHandling(always="bob"))
    call = alice.invite("112")
    world.run(5.0)
    assert call.is_up
    assert len(invites(dave)) == 1


def test_nobody_who_answers_emergency_calls_is_left_out(world):
    """Bob forwards to the last of them, who is busy: the one between is asked."""
    one, alice, _, carol, dave = emergency(world, "bob", "carol", "dave")
    one.handlings.set("bob", CallHandling(always="dave"))
    dave.refuses_with = 486
    call = alice.invite("112")
    world.run(5.0)
    assert call.is_up
    assert (len(invites(carol)), len(invites(dave))) == (1, 1)


def test_each_who_answers_emergency_calls_is_asked_once(world):
    _, alice, bob, carol, dave = emergency(world, "bob", "carol", "dave")
    bob.refuses_with = carol.refuses_with = 486
    call = alice.invite("112")
    world.run(5.0)
    assert call.is_up
    assert [len(invites(phone)) for phone in (bob, carol, dave)] == [1, 1, 1]


def test_one_phone_that_declines_an_emergency_call_declines_for_itself(world):
    _, alice, bob, _, dave = emergency(world, "bob", "dave")
    bob.refuses_with = 603
    call = alice.invite("112")
    world.run(5.0)
    assert call.is_up
    assert len(invites(dave)) == 1


def test_an_emergency_number_may_come_of_the_dial_plan(world):
    _, alice, bob, *_ = emergency(world, "bob", plan=(Rule("0X.", "line 1", strip=1),))
    call = alice.invite("0112")
    world.run(5.0)
    assert call.is_up
    assert is_marked(invites(bob)[0])


# Star codes


OFFER = Negotiation(Address("10.1.0.11", 4000), random.Random(1))


def dial(world, phone, number, for_s=2.0):
    """Dial a code, and hear it out."""
    call = phone.invite(number, [("Content-Type", "application/sdp")], OFFER.offer())
    world.run(for_s)
    return call


def test_a_phone_that_has_followed_a_3xx_to_a_code_has_not_dialled_it(world):
    """RFC 3261 8.1.3.4: To stays what was dialled. Who answers bob's call does not forward all that come for bob."""
    one, _, bob, _ = site(world)
    dialled = NameAddr(SipUri("10.1.0.1", "mallory"))
    followed = bob._new("INVITE", SipUri("10.1.0.1", "*72carol"), dialled, [("Contact", bob.contact)])
    assert bob.ask(followed).status == 403
    assert one.handlings.of("bob") == CallHandling()


def test_forwarding_is_set_and_unset_by_dialling(world):
    one, alice, bob, carol = site(world)
    call = dial(world, bob, "*72carol")
    assert call.is_up
    (shown,) = call.responses[-1].fields.lines("p-asserted-identity")
    assert '"bob: always: forwarded to carol"' in shown
    assert one.handlings.of("bob") == CallHandling(always="carol")
    assert [(change.user, change.handling.always) for change in one.handled] == [("bob", "carol")]
    world.run(5.0)
    assert call.is_over, "it hangs up by itself"
    forwarded = alice.invite("bob")
    world.run(3.0)
    assert carol.calls[0].is_up
    alice.hang_up(forwarded)
    dial(world, bob, "*73")
    assert one.handlings.of("bob") == CallHandling()
    alice.invite("bob")
    world.run(3.0)
    assert bob.calls[-1].is_up


def test_each_code_sets_its_own(world):
    one, _, bob, _ = site(world)
    for code in ("*9042", "*52alice", "*78"):
        dial(world, bob, code, 6.0)
    assert one.handlings.of("bob") == CallHandling(busy="42", no_answer="alice", do_not_disturb=True)
    for code in ("*91", "*53", "*79"):
        dial(world, bob, code, 6.0)
    assert one.handlings.of("bob") == CallHandling()


def test_a_number_behind_a_code_is_dialled_by_the_plan(world):
    rules = (Rule("42", "rule 1", to="carol"), Rule("00.", "rule 2", refuse="not abroad"))
    one, _, bob, _ = site(world, numbering=Numbering(DialPlan(rules)))
    dial(world, bob, "*7242", 6.0)
    assert one.handlings.of("bob") == CallHandling(always="carol")
    call = dial(world, bob, "*720049")
    assert call.statuses == [100, 403]
    assert call.responses[-1].reasons[0].text == "not abroad"
    assert one.handlings.of("bob") == CallHandling(always="carol")


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        ("*72", 484, "dial *72 and a number right behind it"),
        ("*72bob", 403, "bob cannot forward to itself"),
    ],
)
def test_what_cannot_be_meant_is_refused(world, code, status, says):
    one, _, bob, _ = site(world)
    call = dial(world, bob, code)
    assert call.statuses == [100, status]
    assert call.responses[-1].reasons[0].text == says
    assert not one.handled


def test_own_number(world):
    _, alice, _, _ = site(world)
    call = dial(world, alice, "*65")
    (shown,) = call.responses[-1].fields.lines("p-asserted-identity")
    assert '"You are alice"' in shown


def test_the_time(world):
    one, alice, _, _ = site(world)
    call = dial(world, alice, "*60")
    assert '"No time here"' in call.responses[-1].fields.first("p-asserted-identity"), "the date is not to be trusted"
    one.handlings.use_date(WallClock(0.0))
    one.handlings.use_local_time(2 * 3600)
    call = dial(world, alice, "*60")
    minutes = int(world.now) // 60
    assert f'"02:0{minutes}"' in call.responses[-1].fields.first("p-asserted-identity")


def test_the_mailbox(world):
    _, alice, *_ = site(world)
    call = dial(world, alice, "*97")
    assert call.statuses == [100, 404]
    assert "has no mailboxes" in call.responses[-1].reasons[0].text


def test_a_mailbox_that_is_declared(world):
    _, alice, _, carol = site(world, numbering=Numbering(mailbox="carol"))
    call = alice.invite("*97")
    world.run(3.0)
    assert call.is_up
    assert len(invites(carol)) == 1


@pytest.mark.parametrize("handling", [CallHandling(), CallHandling(intercom=("carol",))])
@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Call-Info", "<sip:x>;answer-after=0")],
        [("Alert-Info", "<http://x>;info=alert-autoanswer")],
        [("Answer-Mode", "Auto")],
    ],
)
def test_nobody_speaks_unasked_whom_the_owner_has_not_named(world, handling, fields):
    """Also without the code, by what phones themselves send."""
    one, alice, bob, _ = site(world)
    one.handlings.set("bob", handling)
    call = alice.invite("bob" if fields else "*80bob", fields)
    world.run(3.0)
    assert call.statuses == [100, 403]
    assert "bob lets nobody speak unasked, or not alice" in call.responses[-1].reasons[0].text
    assert not invites(bob)
    call = alice.invite("bob", [("Alert-Info", "<http://x/ring.wav>")])
    world.run(3.0)
    assert call.is_up


def test_who_hides_is_known_to_his_own_peer(world):
    one, _, bob, _ = site(world)
    bob.invite("*72carol", [("Content-Type", "application/sdp"), ("Privacy", "id")], OFFER.offer())
    world.run(3.0)
    assert one.handlings.of("bob") == CallHandling(always="carol")


def test_intercom(world):
    """RFC 3261 has no header for it: these two are what phones take."""
    one, alice, bob, _ = site(world)
    one.handlings.set("bob", CallHandling(intercom=("alice",)))
    call = alice.invite("*80bob")
    world.run(3.0)
    assert call.is_up
    fields = bob.calls[0].request.fields
    assert fields.lines("call-info") == ["<sip:overlay.example>;answer-after=0"]
    assert "info=alert-autoanswer" in fields.first("alert-info")


def test_calls_are_not_forwarded_to_emergency_numbers(world):
    one, alice, *_ = emergency(world, "bob")
    call = dial(world, alice, "*72112")
    assert call.statuses == [100, 403]
    assert one.handled == []


def test_nobody_sets_another_s_line_by_what_an_agent_has_told_him(world):
    """Whoever has been in a call with it knows its token, and may write any Request-URI behind that."""
    one, alice, *_ = site(world)
    first = dial(world, alice, "*65", for_s=10.0)
    assert first.routes
    route = [("Route", str(route)) for route in first.routes]
    again = alice.invite("sip:*72carol@10.1.0.1;line=bob", [*route, ("Content-Type", "application/sdp")], OFFER.offer())
    world.run(5.0)
    assert again.statuses == [100, 403]
    assert one.handlings.of("bob").is_usual
    assert one.handled == []


def test_nobody_dials_codes_from_afar(world):
    """Another peer says that alice calls, who has a line here as well; nor does who is forwarded to one."""
    one, alice, *_ = site(world)
    other = world.server("two", "10.2.0.1")
    world.link(one, other)
    world.passwords["alice"] = "secret of alice"
    far = world.phone("alice", other, Address("10.2.0.11", 5060))
    far.register()
    place = Target(SipUri(OVERLAY, "*72bob"), (FlowHop(other.links["one"]),))
    other.locate = lambda question: Located((place,))
    far.invite("zoe", [("Content-Type", "application/sdp")], OFFER.offer())
    world.run(3.0)
    one.handlings.set("bob", CallHandling(always="*72bob"))
    alice.invite("bob", [("Content-Type", "application/sdp")], OFFER.offer())
    world.run(3.0)
    assert one.handlings.of("alice") == CallHandling()
    assert not one.handled
