"""What phones dial, by the dial plan and the emergency numbers, and what is said of it beforehand."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.numbers.dial_plan import DialPlan, Rule
from p2psip.sip.entities.numbers.numbering import Emergency, Numbering
from p2psip.sip.message.uri import SipUri

OVERLAY = "overlay.example"


def plan(*rules, to=(), numbers=("112",)):
    return Numbering(DialPlan(rules), emergency=Emergency(frozenset(numbers), tuple(to)))


def site(world, numbering, users=("alice", "bob", "carol")):
    one = world.server("one", "10.1.0.1", numbering=numbering)
    phones = [world.phone(user, one, Address(f"10.1.0.{11 + i}", 5060)) for i, user in enumerate(users)]
    for phone in phones:
        assert phone.register().status == 200
    return one, *phones


def test_a_number_is_whom_the_operator_says(world):
    _, alice, bob, _ = site(world, plan(Rule("42", "rule 1", to="bob")))
    call = alice.invite("42")
    world.run(3.0)
    assert call.is_up
    assert bob.calls[0].is_up
    # The phone is shown what it has dialled.
    assert call.responses[-1].to.sip_uri.user_name == "42"


def test_who_may_not_is_told_why(world):
    _, alice, bob, carol = site(world, plan(Rule("42", "rule 1", to="bob", lines=frozenset({"carol"}))))
    call = alice.invite("42")
    world.run(1.0)
    assert call.statuses == [100, 403]
    assert call.responses[-1].reasons[0].text == "alice may not dial 42: rule 1 is for carol"
    assert not bob.calls
    permitted = carol.invite("42")
    world.run(3.0)
    assert permitted.is_up


def test_a_plan_is_for_what_is_dialled_here(world):
    """What another peer asks for is a name of the overlay, whatever its digits mean here."""
    one, alice, bob, _ = site(world, plan(Rule("bob", "rule 1", to="carol")))
    other = world.server("two", "10.2.0.1")
    world.link(one, other)
    dave = world.phone("dave", other, Address("10.2.0.11", 5060))
    dave.register()
    call = dave.invite("bob")
    world.run(3.0)
    assert call.is_up
    assert bob.calls[0].is_up
    here = alice.invite("bob")
    world.run(3.0)
    assert here.is_up
    assert len(bob.calls) == 1


def test_messages_go_by_the_plan_too(world):
    _, alice, bob, _ = site(world, plan(Rule("42", "rule 1", to="bob")))
    assert alice.ask(alice.message("42")).status == 200
    assert bob.received[-1].method == "MESSAGE"


@pytest.mark.parametrize("number", ["112", "sip:112@10.1.0.1"])
def test_emergency_calls_go_to_one_after_the_other(world, number):
    """Whoever may dial what, and also where the first is busy and the second not there."""
    rules = (Rule("X.", "rule 1", refuse="nobody dials numbers"),)
    _, alice, bob, _ = site(world, plan(*rules, to=("carol", "zoe", "bob")))
    carol = world.phones[-1]
    carol.refuses_with = 486
    call = alice.invite(number)
    world.run(3.0)
    assert call.is_up
    assert bob.calls[0].is_up
    assert len(carol.calls) == 1
    assert bob.calls[0].request.fields.lines("resource-priority") == ["esnet.0"]
    assert world.forgets_all()


def test_the_emergency_service_is_dialled_by_its_urn(world):
    """RFC 5031: a phone that knows the number of the country says what it means."""
    _, alice, bob, _ = site(world, plan(to=("bob",)))
    call = alice.invite("nobody")
    request = call.request.replace(uri="urn:service:sos.fire")
    again = alice.invite("nobody")
    alice.send(request.replace(fields=request.fields.with_only("Call-ID", "sos")), again)
    world.run(3.0)
    assert bob.calls[0].is_up


def test_nobody_gives_himself_priority(world):
    """RFC 4412: what a phone writes counts for nothing, and goes no further."""
    _, alice, bob, _ = site(world, plan())
    alice.invite("bob", [("Resource-Priority", "esnet.0")])
    world.run(3.0)
    assert "resource-priority" not in bob.calls[0].request.fields


# What is said beforehand


def words(explained):
    return {word.resolver: word.says for word in explained.words if word.says}


def test_an_explanation_is_what_the_resolvers_say(world):
    numbering = plan(Rule("42", "rule 1", to="bob"), Rule("00.", "rule 2", refuse="not abroad"), to=("carol",))
    one, *_ = site(world, numbering)

    def explained(number):
        return one.core.explain(SipUri(OVERLAY, number), "alice", world.now)

    assert words(explained("42")) == {
        "dial plan": "rule 1 is for 42: bob is called",
        "users": "the overlay is asked for bob",
    }
    assert explained("42").user == "bob"
    assert explained("0049").ends == "refused: 403, not abroad"
    assert explained("112").user == "carol"
    assert words(explained("112"))["emergency numbers"] == "112 is an emergency number, which carol answers"
    assert explained("zoe").user == "zoe"
    assert not one.asked[-1:] or "zoe" not in str(one.asked[-1]), "nobody is asked"
