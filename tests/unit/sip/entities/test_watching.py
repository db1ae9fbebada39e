"""Who watches a line, through servers in virtual time: lamps, presence, messages, and what phones publish."""

from __future__ import annotations

import pytest
from watching import basic, lit, states

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.events.limits import EventLimits
from p2psip.sip.events.line_calls import CallState, LineCall
from p2psip.sip.events.message_summary import MessageCounts
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri

PIDF = b"""<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@10.2.0.1">
<tuple id="x"><status><basic>%s</basic></status></tuple><note>%s</note></presence>"""


def ask(phone, to, event="dialog", expires=300, method="SUBSCRIBE", body=b"", **fields):
    uri = SipUri(phone.server.address.host, to)
    extra = [("Contact", phone.contact), ("Event", event), ("Expires", expires)]
    extra += [(name.replace("_", "-"), value) for name, value in fields.items()]
    request = phone._new(method, uri, NameAddr(uri), extra, body)
    return request, phone.ask(request)


def watch(phone, to, event="dialog", **options):
    request, response = ask(phone, to, event, **options)
    assert response.status == 200, response
    return Dialog.of_uac(request, response)


def told(phone, event="dialog"):
    """The NOTIFYs that came to a phone."""
    return [one for one in phone.received if one.method == "NOTIFY" and one.fields.first("event") == event]


def publish(phone, body=PIDF % (b"open", b"here"), expires=300, **fields):
    fields.setdefault("Content_Type", "application/pidf+xml")
    return ask(phone, phone.user, "presence", expires, "PUBLISH", body, **fields)[1]


def ring(world, caller, to, for_s=3.0):
    call = caller.invite(to)
    world.run(for_s)
    return call


@pytest.fixture
def carol(world, other):
    """A second phone at bob's server."""
    phone = world.phone("carol", other, Address("10.2.0.13", 5060))
    assert phone.register().status == 200
    return phone


def test_a_lamp_across_two_servers_rings_shines_and_goes_out(world, alice, bob, carol):
    dialog = watch(alice, "bob")
    assert states(told(alice)[0]) == []
    bob.answers_after_s = 5.0
    call = ring(world, carol, "bob", 3.0)
    assert lit(told(alice)) == ["", "early"]
    world.run(5.0)
    carol.hang_up(call)
    world.run(3.0)
    assert lit(told(alice)) == ["", "early", "confirmed", ""]
    assert states(told(alice)[-1]) == ["terminated"]
    assert [one.cseq.number for one in told(alice)] == [1, 2, 3, 4]
    assert dialog.id.call_id == told(alice)[0].call_id
    assert world.forgets_all()


def test_a_notify_is_in_the_words_of_the_phone_that_gets_it(world, one, alice, bob, carol):
    watch(alice, "bob")
    ring(world, carol, "bob")
    notify = told(alice)[-1]
    assert b'entity="sip:bob@10.1.0.1"' in notify.body
    assert b">sip:bob@10.1.0.1<" in notify.body
    assert b"overlay.example" not in notify.body
    assert str(notify.from_.uri) == "sip:bob@10.1.0.1"
    # With whom he talks is nobody's business elsewhere (RFC 4235 3.7.2).
    assert b"carol" not in notify.body


def test_at_the_same_server_one_sees_with_whom_and_could_pick_up(world, alice, bob, carol):
    watch(carol, "bob")
    call = ring(world, alice, "bob")
    body = told(carol)[-1].body
    assert b'direction="recipient"' in body
    assert b'<identity display="Alice">sip:alice@10.2.0.1</identity>' in body
    assert f'call-id="{call.request.call_id}" local-tag="tag-bob-5070"'.encode() in body


def test_who_wishes_not_to_be_known_is_not_named(world, alice, bob, carol):
    watch(carol, "bob")
    call = alice.invite("bob", [("Privacy", "id")])
    world.run(3.0)
    assert 200 in call.statuses
    assert states(told(carol)[-1]) == ["confirmed"]
    assert b"alice" not in told(carol)[-1].body.lower()
    assert b"sip:anonymous@anonymous.invalid" in told(carol)[-1].body


def test_a_line_that_calls_is_busy_until_it_is_refused(world, alice, bob, carol):
    watch(alice, "bob")
    carol.refuses_with = 486
    carol.answers_after_s = None
    ring(world, bob, "carol")
    assert lit(told(alice))[-1] == ""
    carol.refuses_with = None
    call = ring(world, bob, "carol")
    assert lit(told(alice))[-1] == "early"
    bob.cancel(call)
    world.run(3.0)
    assert lit(told(alice))[-1] == ""


def test_of_two_phones_that_ring_the_one_that_answers_is_busy(world, other, alice, bob, carol):
    second = world.phone("bob", other, Address("10.2.0.14", 5060), answers_after_s=None)
    assert second.register().status == 200
    bob.answers_after_s = 2.0
    watch(carol, "bob")
    ring(world, alice, "bob", 1.8)
    assert states(told(carol)[-1]) == ["early", "early"]
    world.run(4.0)
    assert states(told(carol)[-1]) == ["confirmed"]


def test_a_call_of_the_watched_to_the_watcher_does_not_keep_the_next_one_ringing(world, alice, bob, carol):
    """Bob has called carol, who watches him; then alice calls bob, and gives up."""
    watch(carol, "bob")
    first = ring(world, bob, "carol")
    assert first.is_up
    bob.answers_after_s = 60.0
    second = ring(world, alice, "bob")
    assert sorted(states(told(carol)[-1])) == ["confirmed", "early"]
    alice.cancel(second)
    world.run(3.0)
    assert states(told(carol)[-1]) == ["confirmed"]
    bob.hang_up(first)
    world.run(3.0)
    assert set(states(told(carol)[-1])) == {"terminated"}


def test_a_callee_that_is_cancelled_or_silent(world, alice, bob, carol):
    watch(carol, "bob")
    bob.answers_after_s = None
    call = ring(world, alice, "bob")
    assert lit(told(carol))[-1] == "early"
    alice.cancel(call)
    world.run(3.0)
    assert lit(told(carol))[-1] == ""
    ring(world, alice, "bob")
    assert lit(told(carol))[-1] == "early"
    # Its power is gone: nothing comes any more, until timer C and what follows.
    bob.is_alive = False
    world.run(260.0)
    assert lit(told(carol))[-1] == ""


def test_a_line_whose_last_phone_goes_has_no_calls(world, alice, bob, carol):
    watch(alice, "bob")
    ring(world, carol, "bob")
    assert lit(told(alice))[-1] == "confirmed"
    bob.register(0)
    world.run(2.0)
    assert lit(told(alice))[-1] == ""


def test_a_failed_reinvite_leaves_the_lamp_lit(world, alice, bob, carol):
    watch(alice, "bob")
    call = ring(world, bob, "carol")
    carol.is_alive = False
    bob.send(bob.in_dialog(call, "INVITE"))
    world.run(60.0)
    assert lit(told(alice))[-1] == "confirmed"


def test_refreshed_and_ended_in_its_dialog(world, alice, bob, other):
    dialog = watch(alice, "bob")
    for expires, state in ((120, "active;expires=120"), (0, "terminated;reason=timeout")):
        extra = [("Event", "dialog"), ("Expires", expires), ("Contact", alice.contact)]
        response = alice.ask(dialog.request("SUBSCRIBE", extra))
        assert (response.status, response.fields.first("expires")) == (200, str(expires))
        assert told(alice)[-1].fields.first("subscription-state") == state
    assert other.core.counts["subscriptions"] == 0
    assert alice.ask(dialog.request("SUBSCRIBE", extra)).status == 481


def test_nobody_refreshes(world, alice, bob, other):
    watch(alice, "bob", expires=60)
    world.run(61.0)
    assert told(alice)[-1].fields.first("subscription-state") == "terminated;reason=timeout"
    assert other.core.counts["subscriptions"] == 0


def test_a_phone_without_power_is_told_no_more(world, alice, bob, carol, other):
    watch(alice, "bob")
    alice.is_alive = False
    ring(world, bob, "carol")
    assert other.core.counts["subscriptions"] == 1
    world.run(40.0)
    assert other.core.counts["subscriptions"] == 0


def test_a_restarted_server_knows_nobody(world, alice, bob, other):
    dialog = watch(alice, "bob")
    other.core.stop(world.now)
    world.run(1.0)
    assert told(alice)[-1].fields.first("subscription-state") == "terminated;reason=deactivated"
    extra = [("Event", "dialog"), ("Expires", 300), ("Contact", alice.contact)]
    assert alice.ask(dialog.request("SUBSCRIBE", extra)).status == 481


def test_a_line_that_is_removed(world, alice, bob, other):
    watch(alice, "bob")
    other.core.remove_user("bob", world.now)
    world.run(1.0)
    assert told(alice)[-1].fields.first("subscription-state") == "terminated;reason=noresource"


def test_presence_follows_the_registration(world, alice, bob):
    watch(alice, "bob", "presence")
    assert basic(told(alice, "presence")[-1]) == "open"
    bob.register()
    world.run(10.0)
    assert len(told(alice, "presence")) == 1, "a refresh is no news"
    bob.register(0)
    world.run(10.0)
    assert basic(told(alice, "presence")[-1]) == "closed"
    bob.register()
    world.run(10.0)
    assert basic(told(alice, "presence")[-1]) == "open"


def test_a_line_without_a_phone_can_be_watched(world, alice, bob):
    bob.register(0)
    watch(alice, "bob", "presence")
    assert basic(told(alice, "presence")[-1]) == "closed"


def test_what_a_phone_publishes_is_told(world, alice, bob):
    watch(alice, "bob", "presence")
    response = publish(bob, PIDF % (b"closed", b"in bed"))
    assert (response.status, response.fields.first("expires")) == (200, "300")
    world.run(6.0)
    assert basic(told(alice, "presence")[-1]) == "closed"
    assert b"in bed" in told(alice, "presence")[-1].body
    assert b'entity="sip:bob@10.1.0.1"' in told(alice, "presence")[-1].body
    world.run(310.0)
    assert publish(bob, b"", SIP_If_Match=response.fields.first("sip-etag")).status == 412


def test_nobody_publishes_for_others(world, alice, bob, carol):
    body = PIDF % (b"closed", b"x")
    for phone in (alice, carol):
        _, response = ask(phone, "bob", "presence", 300, "PUBLISH", body, Content_Type="application/pidf+xml")
        assert response.status == 403


@pytest.mark.parametrize("body", [b"<!DOCTYPE a><a/>", b"<a", b"<a>" + b"x" * 20_000 + b"</a>"])
def test_what_is_no_document_is_refused(world, alice, bob, body):
    assert publish(bob, body).status in (400, 413)


def test_messages_are_told_to_nobody_but_their_owner(world, alice, bob, other):
    watch(bob, "bob", "message-summary")
    assert told(bob, "message-summary")[-1].body.decode().split("\r\n")[:2] == [
        "Messages-Waiting: no", "Message-Account: sip:bob@10.2.0.1"
    ]  # fmt: skip
    other.core.state.note_messages("bob", MessageCounts(new=1), world.now)
    world.run(5.0)
    assert b"Messages-Waiting: yes" in told(bob, "message-summary")[-1].body
    assert ask(alice, "bob", "message-summary")[1].status == 403


def test_who_may_watch_is_said_by_the_operator_of_the_line(world, one, alice):
    strict = world.server("two", "10.2.0.1", watchers=("alice>bob",))
    world.link(one, strict)
    for number, user in enumerate(("bob", "carol")):
        assert world.phone(user, strict, Address(f"10.2.0.{12 + number}", 5060)).register().status == 200
    assert ask(alice, "bob")[1].status == 200
    refused = ask(alice, "carol")[1]
    assert (refused.status, refused.phrase) == (403, "alice may not watch dialog of carol")


def test_who_does_not_say_who_he_is_may_not_watch(alice, bob):
    assert ask(alice, "bob", Privacy="id")[1].status == 403


@pytest.mark.parametrize(
    ("event", "status"), [("conference", 489), ("dialog;id", 200), ("dialog;id=5;x", 200), ("<", 400)]
)
def test_events_of_oneself(world, alice, event, status):
    response = ask(alice, "alice", event)[1]
    assert response.status == status
    if status == 489:
        assert response.fields.first("allow-events") == "dialog, presence, message-summary, conference"


def test_an_event_that_the_server_does_not_know_is_for_the_phone(alice, bob):
    ask(alice, "bob", "conference")
    assert bob.received[-1].method == "SUBSCRIBE"


def test_nobody_of_that_name(alice, bob):
    assert ask(alice, "nobody")[1].status == 404


def test_bounds(world, one, alice):
    full = world.server("two", "10.2.0.1", events=EventLimits(per_watcher=2))
    world.link(one, full)
    assert world.phone("bob", full, Address("10.2.0.12", 5060)).register().status == 200
    assert [ask(alice, "bob")[1].status for _ in range(3)] == [200, 200, 480]


def test_20_17_the_date_where_it_is_trusted(world, one, alice):
    one.core.set_wall_clock(WallClock(0.0, is_trusted=False))
    assert "date" not in alice.register().fields
    one.core.set_wall_clock(WallClock(784_887_151.0 - world.now))
    assert alice.register().fields.lines("date") == ["Tue, 15 Nov 1994 08:12:31 GMT"]
    one.core.set_wall_clock(WallClock(0.0, is_trusted=False))
    assert "date" not in alice.register().fields


def test_a_document_longer_than_a_datagram_should_be(world, other, alice, bob, carol):
    """RFC 3261 18.1.1: inside the peer there is nothing to connect to."""
    for number in range(12):
        remote = NameAddr(SipUri("overlay.example", f"caller{number}"), f"Caller number {number}")
        call = LineCall(f"{number}", f"call{number}", False, CallState.EARLY, remote, "ours", "theirs")
        other.core.state.note_call("bob", call, world.now)
    watch(carol, "bob")
    world.run(5.0)
    assert len(told(carol)[-1].body) > 3000
    assert len(states(told(carol)[-1])) == 12
