"""Which of the requests under way ring, and for whom."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.sip.entities.proxy.context import Branch, BranchEnding, Context
from p2psip.sip.entities.proxy.resolvers import Asked, Instead
from p2psip.sip.entities.proxy.routing import Routed
from p2psip.sip.entities.proxy.under_way import ringing_for, rings
from p2psip.sip.entities.questions import Target
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop, Source

REALM = "overlay.example"


def request(number: int = 1, called: str = "bob", *, method: str = "INVITE", at: str = "bob") -> Context:
    """One that rings at a phone of `at`."""
    uri = SipUri(REALM, called)
    made, source = Request(method, uri, Fields([])), Source(LocalHop("test"), "UDP", Address("192.0.2.1", 5060))
    context = Context(number, made, source, "alice", 0.0, "", 60, made, None)
    context.asked = Asked(Routed(made, None, None), uri, source, "alice")
    context.branches = [Branch(Target(uri, user=at), is_ringing=True)]
    return context


def test_what_rings() -> None:
    assert rings(request())
    assert not rings(request(method="MESSAGE"))
    over = request()
    over.branches[0].ending = BranchEnding(486)
    assert not rings(over)


def test_what_somebody_has_answered_or_given_up_rings_no_more() -> None:
    """Although a phone may not have heard of it yet."""
    answered, cancelled = request(), request()
    answered.final = 200
    cancelled.is_closed = True
    assert not rings(answered)
    assert not rings(cancelled)


def test_the_eldest_is_meant() -> None:
    assert ringing_for("bob", [request(4), request(7)]) == 4
    assert ringing_for("dora", [request(4)]) is None


def test_it_is_for_a_group_wherever_it_rings() -> None:
    at_other_peer = request(4, "sales", at="")
    assert ringing_for("sales", [at_other_peer]) == 4
    in_order = request(5, "door")
    assert in_order.asked is not None
    in_order.asked = in_order.asked.anew(Instead(SipUri(REALM, "carol")))
    assert ringing_for("door", [in_order]) == 5
    assert ringing_for("bob", [request(6, "sales")]) == 6, "whose phone rings may be picked up by his name as well"
