"""What every response of a server has (RFC 3261 section 8.2.6.2). The world looks at each of them (conftest.py)."""

from __future__ import annotations

import itertools

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.transports.arrivals import Datagram

SENDER = Address("10.1.0.11", 5060)
METHODS = ("REGISTER", "OPTIONS", "INVITE", "MESSAGE", "SUBSCRIBE", "PUBLISH", "BYE", "CANCEL", "INFO", "ODD")
URIS = ("sip:10.1.0.1", "sip:bob@10.1.0.1", "sip:alice@10.1.0.1", "sips:bob@10.1.0.1", "tel:+1", "sip:x@192.0.2.1")
ODD = {
    "as it should be": {},
    "no Max-Forwards left": {"Max-Forwards": "0"},
    "malformed Max-Forwards": {"Max-Forwards": "many"},
    "malformed To": {"To": '"bob <sip:bob@10.1.0.1>'},
    "malformed From": {"From": "<>"},
    "a tag in To": {"To": "<sip:bob@10.1.0.1>;tag=x"},
    "several Vias": {"Via": "SIP/2.0/UDP 10.1.0.11:5060;branch=z9hG4bKq, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKr"},
    "Vias in two lines": {"Via": "SIP/2.0/UDP 10.1.0.11;branch=z9hG4bKq\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKr"},
    "an old Via": {"Via": "SIP/2.0/UDP 10.1.0.11:5060"},
    "an extension required": {"Require": "magic", "Proxy-Require": "magic"},
    "malformed Route": {"Route": "<sip:x"},
    "the wrong CSeq": {"CSeq": "1 WRONG"},
    "a version to come": {"": "SIP/3.0"},
    "no breadth left": {"Max-Breadth": "0"},
    "a body cut short": {"Content-Length": "5"},
}


def request(method: str, uri: str, odd: dict[str, str]) -> bytes:
    fields = {
        "Via": "SIP/2.0/UDP 10.1.0.11:5060;branch=z9hG4bKq",
        "Max-Forwards": "70",
        "From": "<sip:alice@10.1.0.1>;tag=a",
        "To": f"<{uri}>",
        "Call-ID": "c",
        "CSeq": f"1 {method}",
    }
    lines = [f"{name}: {value}" for name, value in (fields | odd).items() if name]
    return "\r\n".join([f"{method} {uri} {odd.get('', 'SIP/2.0')}", *lines, "", ""]).encode()


@pytest.mark.must(
    "3261 8.2.6.2/1",
    "3261 8.2.6.2/2",
    "3261 8.2.6.2/3",
    "3261 8.2.6.2/4",
    "3261 8.2.6.2/5",
    "3261 8.2.6.2/6",
    "3261 16.1/1",
    "3261 20/3",
)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_8_2_6_2_every_response_has_what_it_must(world, one, odd):
    for number, (method, uri) in enumerate(itertools.product(METHODS, URIS)):
        data = request(method, uri, odd).replace(b"Call-ID: c", b"Call-ID: c%d" % number)
        one.core.handle(Datagram(one.address, SENDER, data.replace(b"z9hG4bKq", b"z9hG4bKq%d" % number)), world.now)
    world.run(40.0)
    finals = {response.call_id for response in one.answered if response.status >= 200}
    assert len(finals) == len(METHODS) * len(URIS), "each has its answer"


def test_8_2_6_2_registration_and_its_refusals(world, one):
    phone = world.phone("alice", one, SENDER)
    assert [phone.register(30).status, phone.register().status] == [423, 200]
    stale = phone._new("REGISTER", phone.aor, phone.contact, [])
    assert phone.ask(stale.replace(fields=stale.fields.with_only("From", "<sip:x@y>"))).status == 404
    assert {response.status for response in one.answered} >= {401, 423, 200}


@pytest.mark.must("3261 8.2.7/5")
def test_8_2_7_a_stateless_503_gets_the_same_tag_again(world):
    full = world.server("full", "10.1.0.2", limits=ServerLimits(transactions=0))
    for _ in range(2):
        full.core.handle(Datagram(full.address, SENDER, request("INVITE", "sip:bob@10.1.0.2", {})), world.now)
        full.step()
    first, second = full.answered
    assert (first.status, first.to.tag) == (503, second.to.tag)
    assert first.to.tag


def test_an_answer_that_nobody_can_read_is_the_last_word_of_who_gave_it(world, one, other, alice, bob, monkeypatch):
    """The caller hears so at once: there will be no answer that can be read."""

    def unreadable(*arguments: object) -> None:
        raise BadMessage("malformed something")

    monkeypatch.setattr(one.core._proxy._edge, "heard", unreadable)
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses == [100, 502]
