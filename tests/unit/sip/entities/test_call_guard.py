"""Calls whose other end is gone: the peer beside a phone finds out, and says goodbye in the other's name."""

from __future__ import annotations

import pytest
from world_phone import Call

from p2psip.base.address import Address
from p2psip.sip.entities import call_guard
from p2psip.sip.entities.call_guard import AGAIN_S, ASKED_S, CSEQ_MAX, KEEP_AFTER_S, LOST_S, SOON_S
from p2psip.sip.entities.calls import Goodbyes, call_key
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram

TIMER_F_S = 32.0


def methods(phone) -> list[str]:
    return [request.method for request in phone.received if request.method in ("OPTIONS", "BYE")]


def guarded(*servers) -> list[int]:
    return [server.core.counts["calls guarded"] for server in servers]


@pytest.fixture
def call(world, alice, bob):
    """Alice has called bob, and they talk."""
    call = alice.invite("bob")
    world.run(3.0)
    assert call.is_up
    return call


def test_both_ends_are_asked_now_and_then_and_nothing_else_happens(world, one, other, alice, bob, call):
    world.run(ASKED_S)
    (asked,) = (request for request in bob.received if request.method == "OPTIONS")
    assert (asked.call_id, asked.from_.tag, asked.cseq.number) == (call.request.call_id, call.request.from_.tag, 0)
    assert [request.cseq.number for request in alice.received] == [0]
    world.run(2 * ASKED_S)
    assert (methods(alice), methods(bob)) == (3 * ["OPTIONS"], 3 * ["OPTIONS"])
    alice.hang_up(call)
    world.run(1.0)
    assert bob.calls[0].is_over
    assert guarded(one, other) == [0, 0]
    world.run(2 * ASKED_S)
    assert methods(bob)[3:] == ["BYE"]


def moved(phone, call, method: str, to: str) -> None:
    """A phone says in a call where it is now."""
    request = phone.in_dialog(call, method)
    contact = phone.contact.sip_uri.replace(user=to)
    phone.send(request.replace(fields=request.fields.with_only("Contact", NameAddr(contact))))


def asked_at(phone) -> str:
    """Whom the last OPTIONS was for."""
    return [request for request in phone.received if request.method == "OPTIONS"][-1].sip_uri.user_name


@pytest.mark.parametrize(
    ("method", "status", "where"),
    [
        ("INVITE", 200, "moved"),
        ("UPDATE", 200, "moved"),
        ("SUBSCRIBE", 200, "moved"),
        ("NOTIFY", 200, "moved"),
        ("UPDATE", 488, "bob"),
        ("INFO", 200, "bob"),
    ],
)
def test_12_2_an_end_is_asked_where_it_has_said_last_that_it_is(world, alice, bob, call, method, status, where):
    """RFC 3311 section 5.1: "UPDATE is a target refresh request"; RFC 6665 section B.12: SUBSCRIBE and NOTIFY."""
    alice.answers[method] = status
    moved(bob, bob.calls[0], method, "moved")
    world.run(ASKED_S + 1.0)
    assert asked_at(bob) == where


def ringing(world, phone):
    """It has called bob, and is in an early dialog with him (12.1)."""
    call = phone.invite("bob")
    world.run(1.0)
    early = call.responses[-1]
    call.local, call.remote, call.target = early.from_, early.to, early.contacts[0].sip_uri
    call.routes = tuple(reversed(early.record_routes))
    return call


def test_15_a_caller_may_say_goodbye_while_it_rings(world, one, other, alice, bob):
    """ "The caller's UA MAY send a BYE for either confirmed or early dialogs": an answer that crosses it is no call."""
    bob.answers_after_s = 2.0
    alice.hang_up(ringing(world, alice))
    world.run(1.0)
    again(world, other, said_last(world, bob, b"SIP/2.0 180"))
    bob._reply(bob.calls[0], 200)
    world.run(1.0)
    assert guarded(one, other) == [0, 0]
    assert [len(server.core.state._calls) for server in (one, other)] == [0, 0]


def test_3311_5_1_an_end_may_move_while_it_rings(world, alice, bob):
    """Section 1: "It can be sent by a UA within a dialog (early or confirmed)"."""
    bob.answers_after_s = 3.0
    call = ringing(world, alice)
    moved(alice, call, "UPDATE", "moved")
    world.run(4.0)
    assert call.is_up
    world.run(ASKED_S)
    assert asked_at(alice) == "moved"
    assert asked_at(bob) == "bob"


def test_an_end_that_comes_by_another_connection_is_asked_soon_when_that_is_lost(world, one, other, alice, bob, call):
    """The link between the peers was lost and is there again; over the new one the call has been refreshed."""
    world.cut(one.flows[one.links["two"]])
    here, _ = world.link(one, other)
    world.run(SOON_S + 1.0)
    moved(bob, bob.calls[0], "UPDATE", "bob")
    world.run(1.0)
    asked = len(methods(alice))
    world.cut(here)
    world.link(one, other)
    world.run(SOON_S + 1.0)
    assert len(methods(alice)) == asked + 1


def said_last(world, phone, line: bytes) -> tuple:
    """The last message of a phone that begins so, as it went to its peer."""
    return [sent for sent in world.datagrams if sent[0] == phone.address and sent[2].startswith(line)][-1]


def again(world, server, sent) -> None:
    """It comes once more."""
    local, remote, data = sent
    server.core.handle(Datagram(remote, local, data), world.now)
    world.run(1.0)


def test_an_answer_that_is_repeated_moves_nobody_back(world, other, alice, bob, call):
    """13.3.1.4: the 2xx is repeated until the ACK is there, which may be lost."""
    answer = said_last(world, bob, b"SIP/2.0 200 OK")
    moved(bob, bob.calls[0], "UPDATE", "moved")
    world.run(1.0)
    again(world, other, answer)
    world.run(ASKED_S)
    assert asked_at(bob) == "moved"


def test_an_answer_that_is_repeated_after_the_goodbye_begins_no_call(world, one, other, alice, bob, call):
    """Nobody is asked after it, no lamp shines, and the phone's connection is not needed for it."""
    answer = said_last(world, bob, b"SIP/2.0 200 OK")
    bob.hang_up(bob.calls[0])
    world.run(1.0)
    assert guarded(one, other) == [0, 0]
    again(world, other, answer)
    assert guarded(one, other) == [0, 0]
    for server in (one, other):
        assert len(server.core.state._calls) == 0
        assert not server.core._calls._flows
        assert len(server.core._goodbyes) == 1


def test_goodbyes_are_remembered_for_64_t1_and_not_too_many():
    goodbyes = Goodbyes(32.0, 2)
    keys = [call_key(f"call {number}", "a", "b") for number in range(4)]
    for key in keys[:3]:
        goodbyes.note(key, 0.0)
    assert [goodbyes.has(key, 31.9) for key in keys] == [False, True, True, False]
    assert not goodbyes.has(keys[1], 32.0)
    goodbyes.note(keys[3], 32.0)
    assert len(goodbyes) == 1


def test_a_phone_that_does_not_know_the_call_any_more(world, one, other, alice, bob, call):
    """12.2.2: "it MUST respond with a 481": bob's phone was started anew."""
    bob.answers["OPTIONS"] = 481
    world.run(ASKED_S + 1.0)
    (bye,) = (request for request in alice.received if request.method == "BYE")
    assert bye.fields.first("reason") == 'SIP;cause=481;text="the other phone does not know this call any more"'
    assert call.is_over
    assert (bye.from_.tag, bye.cseq.number) == (call.remote.tag, 1)
    assert guarded(one) == [0]


def test_the_goodbye_has_a_number_that_the_phone_takes(world, one, alice, bob, call):
    """12.2.2: what is lower than the last of that side is out of order."""
    bob.cseq = iter(range(70, 80))
    bob.send(bob.in_dialog(bob.calls[0], "INFO"))
    world.run(1.0)
    assert alice.received[-1].cseq.number == 70
    bob.answers["OPTIONS"] = 481
    world.run(ASKED_S)
    assert alice.received[-1].method == "BYE"
    assert alice.received[-1].cseq.number == 71


@pytest.mark.parametrize("status", [401, 404, 480, 486, 500, 503])
def test_whatever_else_a_phone_says_it_is_there(world, one, other, alice, bob, call, status):
    bob.answers["OPTIONS"] = status
    world.run(ASKED_S + LOST_S + 100.0)
    assert "BYE" not in methods(alice)
    assert guarded(one, other) == [1, 1]


def test_a_phone_without_power(world, one, other, alice, bob, call):
    """Its peer has no answer to pass on (RFC 4320: no 408 to what is no INVITE)."""
    bob.is_alive = False
    world.run(ASKED_S + TIMER_F_S + LOST_S - 5.0)
    assert "BYE" not in methods(alice)
    world.run(TIMER_F_S + AGAIN_S + 10.0)
    (bye,) = (request for request in alice.received if request.method == "BYE")
    (reason,) = bye.fields.lines("reason")
    assert reason.startswith('SIP;cause=408;text="the other end has not been reached for ')
    assert guarded(one, other) == [0, 1], "bob's peer asks alice, who is there"


def test_a_peer_that_does_not_come_back(world, one, other, alice, bob, call):
    """Its connection is lost, and there is no way to it any more."""
    flow = one.flows[one.links.pop("two")]
    world.cut(flow)
    world.run(SOON_S + LOST_S - 1.0)
    assert methods(alice) == []
    world.run(AGAIN_S + 2.0)
    assert methods(alice) == ["BYE"]


def test_a_peer_that_comes_back_finds_its_calls_as_they_were(world, one, other, alice, bob, call):
    world.cut(one.flows[one.links.pop("two")])
    world.run(LOST_S - 30.0)
    world.link(one, other)
    world.run(2 * LOST_S)
    assert "BYE" not in methods(alice) + methods(bob)
    alice.hang_up(call)
    world.run(1.0)
    assert bob.calls[0].is_over


def test_two_phones_of_one_peer(world, one, alice):
    """Each is asked in the name of the other."""
    carol = world.phone("carol", one, Address("10.1.0.13", 5060))
    carol.register()
    alice.invite("carol")
    world.run(3.0)
    carol.answers["OPTIONS"] = 481
    world.run(ASKED_S)
    assert methods(alice)[-1] == "BYE"
    assert carol.calls[0].is_up
    assert guarded(one) == [0]


def test_a_peer_that_was_started_anew_asks_what_has_become_of_its_calls(world, one, other, alice, bob, call):
    """Bob has hung up meanwhile, and nobody could tell alice."""
    snapshot = one.core.snapshot(world.now)
    world.cut(one.flows[one.links["two"]])
    again = world.server("one", "10.1.0.1")
    world.link(again, other)
    again.core.restore(snapshot, world.now, 5.0)
    bob.answers["OPTIONS"] = 481
    world.run(AGAIN_S + 1.0)
    assert methods(alice)[-1] == "BYE"
    assert guarded(again) == [0]


def test_after_a_restart_the_goodbye_has_a_number_that_the_phone_takes(world, one, other, alice, bob, call):
    """What was written down is older than what bob has said since: keys, or that the session goes on."""
    snapshot = one.core.snapshot(world.now)
    bob.cseq = iter(range(70, 80))
    bob.send(bob.in_dialog(bob.calls[0], "INFO"))
    world.run(1.0)
    again = world.server("one", "10.1.0.1")
    world.link(again, other)
    again.core.restore(snapshot, world.now, 5.0)
    bob.answers["OPTIONS"] = 481
    world.run(AGAIN_S + 1.0)
    assert alice.received[-1].method == "BYE"
    assert alice.received[-1].cseq.number > 70


def test_where_an_end_is_now_is_written_down(world, one, alice, bob, call):
    """Not that a call goes on: disks wear out."""
    world.run(KEEP_AFTER_S)
    assert len(one.kept) == 1
    for user, times in (("bob", 1), ("moved", 2), ("moved", 2)):
        moved(bob, bob.calls[0], "UPDATE", user)
        world.run(KEEP_AFTER_S + 1.0)
        assert len(one.kept) == times
    alice.hang_up(call)
    world.run(KEEP_AFTER_S + 1.0)
    assert len(one.kept) == 3


def test_what_is_damaged_in_a_snapshot_is_left_out(world, one, alice, bob, call):
    snapshot = one.core.snapshot(world.now)
    again = world.server("anew", "10.4.0.1")
    again.core.restore(
        snapshot.replace(b'"calls":[{', b'"calls":[{"call_id":"eA==","ends":[["","",[],true,1],["","",[],true,1]]},{'),
        world.now,
    )
    assert guarded(again) == [1]


def test_the_eldest_call_is_forgotten_first(world, one, alice, bob, monkeypatch):
    monkeypatch.setattr(call_guard, "GUARDED_MAX", 2)
    for _ in range(3):
        alice.invite("bob")
        world.run(2.0)
    assert guarded(one) == [2]
    world.run(ASKED_S)
    asked = [request.call_id for request in bob.received if request.method == "OPTIONS"]
    assert asked == [each.request.call_id for each in alice.calls[1:]]


@pytest.mark.parametrize(
    ("field", "value", "times"),
    [
        ("Record-Route", f"<sip:{'x' * 500}@10.1.0.11;lr>", 9),
        ("Contact", f"<sip:{'x' * 2000}@10.1.0.11>", 1),
        ("From", f'"{"x" * 5000}" <sip:alice@10.1.0.1>;tag=long', 1),
        ("Call-ID", "x" * 5000, 1),
    ],
)
def test_a_call_that_says_much_of_itself_is_not_looked_after(world, one, other, alice, bob, field, value, times):
    """4,096 calls are, and each may be as long as a message."""
    invite = alice._new("INVITE", SipUri("10.1.0.1", "bob"), NameAddr(SipUri("10.1.0.1", "bob")), [])
    fields = invite.fields.with_only("Contact", alice.contact)
    fields = fields.with_only(field, value) if times == 1 else fields.with_values(field, [value] * times)
    call = Call(invite.replace(fields=fields), 0)
    alice.calls.append(call)
    alice.send(call.request, call)
    world.run(2.0)
    assert bob.calls[-1].is_up
    assert guarded(one, other) == [0, 0]


def test_the_goodbye_has_a_number_that_sip_has(world, one, alice, bob, call):
    """8.1.1.5: the sequence number "MUST be less than 2**31"."""
    bob.send(bob.in_dialog(bob.calls[0], "INFO", 2**32 - 1))
    bob.answers["OPTIONS"] = 481
    world.run(ASKED_S + 1.0)
    (bye,) = (request for request in alice.received if request.method == "BYE")
    assert bye.cseq.number == CSEQ_MAX
