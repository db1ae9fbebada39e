"""The user agent and its registrar, which a test plays, in virtual time."""

from __future__ import annotations

import pytest
from agent_bench import ALICE, SERVER, Registrar, registering

from p2psip.sip.entities.agents.types import (
    Registered,
    RegistrationFailed,
    Unregistered,
)
from p2psip.sip.message.build import make_response
from p2psip.sip.message.digest import ha1_by_algorithm
from p2psip.sip.message.message import Request, Response


@pytest.mark.must("3261 10.2/2", "3261 10.2/3", "3261 10.2/4", "3261 10.2/6", "3261 22.2/2")
def test_registers_with_digest_and_refreshes_at_half_of_the_time() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar)
    alice.register(0.0)
    wire.run(1.0)
    assert (registrar.statuses, wire.told(ALICE)) == ([401, 200], [Registered(60)])
    assert registrar.contacts == ["<sip:alice@192.0.2.1:5060>;expires=300"]
    wire.run(70.0)
    assert [round(seen.at) for seen in wire.seen if seen.line == "200 REGISTER"] == [0, 30, 60]
    assert wire.told(ALICE) == [Registered(60)]
    requests = [seen.message for seen in wire.seen if seen.line == "REGISTER"]
    assert len({request.call_id for request in requests}) == 1
    assert [request.cseq.number for request in requests] == list(range(1, 7))


def test_unregisters() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar)
    alice.register(0.0)
    wire.run(1.0)
    alice.unregister(wire.now)
    wire.run(100.0)
    assert registrar.contacts[-1].endswith(";expires=0")
    assert [type(effect) for effect in wire.told(ALICE)] == [Registered, Unregistered]
    assert alice.next_deadline() is None


@pytest.mark.parametrize("is_registered", [False, True])
def test_who_has_gone_while_it_was_challenged_does_not_register(is_registered: bool) -> None:
    """The challenge to a REGISTER that was sent before crosses the going."""
    registrar = Registrar()
    wire, alice = registering(registrar)
    alice.register(0.0)
    if is_registered:
        wire.run(1.0)
        alice.register(wire.now)
    wire.run(0.015)
    seen = len(registrar.contacts)
    alice.unregister(wire.now)
    wire.run(400.0)
    assert [contact for contact in registrar.contacts[seen:] if not contact.endswith("expires=0")] == []
    assert isinstance(wire.told(ALICE)[-1], Unregistered)
    assert alice.next_deadline() is None


@pytest.mark.must("3261 22.1/7")
def test_22_1_a_wrong_password_is_tried_once_and_then_slowly() -> None:
    registrar = Registrar(password="other")
    wire, alice = registering(registrar)
    alice.register(0.0)
    wire.run(1.0)
    assert registrar.statuses == [401, 401]
    (failed,) = wire.told(ALICE)
    assert isinstance(failed, RegistrationFailed)
    assert (str(failed.reason), 1.5 <= failed.retry_s <= 2) == ("401 Unauthorized", True)
    wire.run(300.0)
    assert len(wire.told(ALICE)) == pytest.approx(10, abs=2)
    registrar.ha1s = ha1_by_algorithm("alice", "example.org", "secret")
    wire.run(70.0)
    assert wire.told(ALICE)[-1] == Registered(60)


@pytest.mark.must("3261 22.1/7", "7616 3.3/2")
def test_22_1_a_stale_nonce_is_no_wrong_password() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar)
    find = registrar.authenticator.find
    registrar.authenticator.find = lambda lines: _aged(registrar, find(lines))  # type: ignore[method-assign]
    alice.register(0.0)
    wire.run(1.0)
    assert registrar.statuses == [401, 401, 200]


def _aged(registrar: Registrar, credentials: object) -> object:
    """The first credentials come when their nonce is too old."""
    registrar.now = 1000.0 if registrar.statuses == [401] else registrar.now
    return credentials


def test_no_password_no_credentials() -> None:
    registrar = Registrar()
    wire, alice = registering(registrar, password="")
    alice.register(0.0)
    wire.run(1.0)
    assert registrar.statuses == [401]


def test_10_2_8_interval_too_brief() -> None:
    def place(request: Request) -> Response:
        if request.contacts[0].param("expires") == "300":
            return make_response(request, 423, extra=[("Min-Expires", 1800)], to_tag="t")
        return make_response(request, 200, extra=[("Expires", 1800)], to_tag="t")

    wire, alice = registering(place)
    alice.register(0.0)
    wire.run(1.0)
    assert wire.told(ALICE) == [Registered(1800)]


def test_10_2_8_a_registrar_that_always_wants_longer_is_not_hammered() -> None:
    """It is asked once more at once, and then like any that refuses; one that wants more than a day gets no more."""
    for least in (lambda asked: asked + 1, lambda asked: 100_000):
        wire, alice = registering(
            lambda request, least=least: make_response(  # type: ignore[misc]
                request, 423, extra=[("Min-Expires", least(int(request.contacts[0].param("expires"))))], to_tag="t"
            )
        )
        alice.register(0.0)
        wire.run(60.0)
        assert wire.lines(ALICE).count("REGISTER") <= 12
        assert isinstance(wire.told(ALICE)[-1], RegistrationFailed)


def test_10_2_8_a_registrar_may_want_a_day() -> None:
    """What it wants is asked for, however seldom we would refresh by ourselves."""
    wire, alice = registering(
        lambda request: (
            make_response(request, 200, extra=[("Expires", 86_400)], to_tag="t")
            if request.contacts[0].param("expires") == "86400"
            else make_response(request, 423, extra=[("Min-Expires", 86_400)], to_tag="t")
        )
    )
    alice.register(0.0)
    wire.run(1.0)
    assert wire.told(ALICE) == [Registered(7200)]


@pytest.mark.parametrize(
    ("contacts", "granted_s"),
    [
        # One alone is ours, wherever a NAT has made us be.
        (["<sip:alice@203.0.113.9:61000>;expires=60"], 60),
        (["<sip:alice@203.0.113.9:61000>"], 120),
        # Ours is the one that counts.
        (["<sip:alice@203.0.113.9:61000>;expires=40", "<sip:alice@192.0.2.1:5060>;expires=60"], 60),
        # Of which none is as we have written it: the one that is over first.
        (["<sip:alice@203.0.113.9:61000>;expires=90", "<sip:alice@203.0.113.8>;expires=60"], 60),
        (["<sip:alice@203.0.113.9:61000>", "<sip:alice@203.0.113.8>;expires=160"], 120),
        ([], 120),
    ],
)
def test_10_2_4_refreshed_before_it_is_over_where_our_contact_was_rewritten(
    contacts: list[str], granted_s: int
) -> None:
    """10.2.4: "The UA then issues a REGISTER request for each of its bindings before the expiration interval has
    elapsed."
    """
    extra = [("Expires", "120"), *(("Contact", contact) for contact in contacts)]
    wire, alice = registering(lambda request: make_response(request, 200, extra=extra, to_tag="t"))
    alice.register(0.0)
    wire.run(granted_s)
    assert wire.told(ALICE) == [Registered(granted_s)]
    assert [round(seen.at) for seen in wire.seen if seen.line == "REGISTER"] == [0, granted_s / 2]


@pytest.mark.must("3261 8.1.3.1/1", "3261 10.2/7")
def test_10_2_7_a_silent_registrar_is_tried_for_ever() -> None:
    wire, alice = registering(lambda _: None)
    alice.register(0.0)
    wire.run(600.0)
    failed = wire.told(ALICE)
    assert all(isinstance(effect, RegistrationFailed) for effect in failed)
    assert 6 <= len(failed) <= 12
    wire.places[SERVER] = Registrar()
    wire.run(100.0)
    assert wire.told(ALICE)[-1] == Registered(60)


@pytest.mark.must("3261 21.5/1")
@pytest.mark.parametrize("after", ["120", "120 (I'm in a meeting)", "120;duration=3600", "120(x) ;duration=3600"])
def test_a_server_that_asks_for_patience_gets_it(after: str) -> None:
    """20.33: an optional comment, and parameters, may follow the seconds."""
    wire, alice = registering(lambda request: make_response(request, 503, extra=[("Retry-After", after)], to_tag="t"))
    alice.register(0.0)
    wire.run(119.0)
    assert wire.lines().count("503 REGISTER") == 1
    wire.run(10.0)
    assert wire.lines().count("503 REGISTER") == 2


@pytest.mark.parametrize("contact", ["", "<tel:1>", "<<", "<sip:alice@192.0.2.1:5060>;expires=x"])
def test_a_registrar_that_answers_nonsense_is_not_hammered(contact: str) -> None:
    wire, alice = registering(lambda request: make_response(request, 200, extra=[("Contact", contact)], to_tag="t"))
    alice.register(0.0)
    wire.run(60.0)
    assert wire.lines(ALICE).count("REGISTER") <= 10
