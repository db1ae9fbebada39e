"""A trunk by itself: registered, asked whether it is there, called from outside, and left alone by strangers."""

from __future__ import annotations

import ipaddress

import pytest
from trunk_bench import ANSWER, HERE, PROVIDER, REALM, STRANGER, TERMS, TrunkBench

from p2psip.sip.entities.gateway.limits import AGAIN_S, KEEP_ALIVE_S_MAX, LINGERING_MAX
from p2psip.sip.entities.gateway.terms import ForTrunk, TrunkChanged
from p2psip.sip.message.message import Request, Response
from p2psip.sip.transports.arrivals import Datagram
from p2psip.sip.transports.effects import SendUdp

# Whether it is there


def test_it_registers_with_the_password_and_stays_registered() -> None:
    bench = TrunkBench()
    bench.trunk.start(0.0)
    bench.run(1.0)
    assert bench.lines("provider").count("REGISTER") == 2
    assert bench.trunk.health.is_registered
    assert [effect for effect in bench.effects if isinstance(effect, TrunkChanged)] == [TrunkChanged("main", True, "")]
    register = bench.request("provider", "REGISTER")
    assert register.uri_text == "sip:sip.tel.example"
    assert str(register.contacts[0].uri) == "sip:4930555@192.0.2.1:40000"
    bench.run(100.0)
    # Refreshed at half of the 60 s that were granted.
    assert bench.lines("provider").count("REGISTER") >= 5
    assert bench.trunk.facts.state == "registered"
    assert b"secret" not in b"".join(heard.message.encode() for heard in bench.provider)


@pytest.mark.parametrize("says_stale", [True, False])
def test_a_nonce_is_used_again_and_a_stale_one_answered(says_stale: bool) -> None:
    """RFC 7616 section 3.4: with a count that goes up; section 3.3: "stale" asks for the same password again. Some
    servers forget to say so.
    """
    bench = TrunkBench().up()
    bench.registrar.says_stale = says_stale
    bench.run(100.0)
    assert bench.registrar.challenged == 1
    counts = [heard.message.fields.first("authorization") or "" for heard in bench.provider if heard.line == "REGISTER"]
    assert "nc=00000002" in counts[0] or "nc=00000003" in counts[0]
    bench.run(400.0)
    assert bench.registrar.challenged > 1
    assert bench.trunk.health.is_registered
    assert all(note.event != "trunk down" for note in bench.notes)


def test_a_wrong_password_is_told_and_tried_more_and_more_seldom() -> None:
    bench = TrunkBench(password="wrong")
    bench.trunk.start(0.0)
    bench.run(300.0)
    assert not bench.trunk.health.is_up
    assert "401" in bench.trunk.facts.failure
    assert bench.lines("provider").count("REGISTER") < 30
    assert all("wrong" not in str(note.facts) for note in bench.notes)


def test_the_password_is_in_no_representation() -> None:
    assert "secret" not in repr(TERMS)
    assert "secret" not in str(TrunkBench().up().trunk.facts)


def test_it_is_asked_with_options_and_down_when_it_does_not_answer() -> None:
    bench = TrunkBench(registers=False, keep_alive_s=30).up()
    assert bench.trunk.facts.state == "answers"
    assert "REGISTER" not in bench.lines("provider")
    bench.registrar.is_there = False
    bench.run(30.0 + KEEP_ALIVE_S_MAX + 0.1)
    assert not bench.trunk.health.is_up
    assert bench.trunk.facts.failure == f"OPTIONS was not answered in {KEEP_ALIVE_S_MAX:g} s"
    assert [note.event for note in bench.notes] == ["trunk up", "trunk down"]
    bench.registrar.is_there = True
    bench.run(2 * AGAIN_S + 1)
    assert bench.trunk.health.is_up


def test_a_server_that_is_not_found_is_looked_for_again() -> None:
    bench = TrunkBench()
    bench.is_found = False
    bench.trunk.start(0.0)
    bench.run(60.0)
    assert "was not found in" in bench.trunk.facts.failure
    dialled = bench.dial()
    assert bench.response("overlay", "503 INVITE").call_id == dialled.call_id
    bench.is_found = True
    bench.run(30.0)
    assert bench.trunk.health.is_up


def test_it_says_that_it_goes() -> None:
    bench = TrunkBench().up()
    bench.talking()
    bench.trunk.stop(bench.now)
    bench.run(0.1)
    register = bench.request("provider", "REGISTER")
    assert register.contacts[0].param("expires") == "0"
    assert "BYE" in bench.lines("provider")
    assert "BYE" in bench.lines("overlay")


# Calls that come in


def test_a_number_of_ours_rings_at_its_line() -> None:
    bench = TrunkBench().up()
    bench.ring()
    sent = bench.request("overlay", "INVITE")
    assert sent.uri_text == f"sip:alice@{REALM}"
    # A number that can be dialled back, which nobody takes for a member's name.
    assert str(sent.from_.uri) == f"sip:+49777@{REALM};gw=main"
    assert sent.from_.display_name == "Mum"
    assert "p-asserted-identity" not in sent.fields
    bench.reply(sent, 180)
    bench.reply(sent, 200, body=ANSWER)
    answered = bench.response("provider", "200 INVITE")
    assert answered.body == ANSWER
    assert answered.contacts[0].sip_uri.host == HERE.host
    bench.within("ACK", answered, 1, by="provider")
    assert bench.request("overlay", "ACK").cseq.number == sent.cseq.number
    bench.within("BYE", answered, 2, by="provider")
    assert "BYE" in bench.lines("overlay")
    assert bench.trunk.calls == 0


@pytest.mark.parametrize(
    ("uri", "to", "rings"),
    [
        ("sip:+4930555@192.0.2.1", "sip:x@tel", "alice"),
        ("sip:4930555@192.0.2.1", "sip:+4930555@tel", "alice"),
        ("sip:4930555@192.0.2.1", "sip:+49999@tel", ""),
        ("sip:+49999@192.0.2.1", "sip:+49999@tel", ""),
    ],
)
def test_which_number_is_called(uri: str, to: str, rings: str) -> None:
    bench = TrunkBench().up()
    bench.ring(uri=uri, to=to)
    if rings:
        assert bench.request("overlay", "INVITE").uri_text == f"sip:{rings}@{REALM}"
        return
    assert "INVITE" not in bench.lines("overlay")
    assert bench.response("provider", "404 INVITE").fields.first("reason") is not None
    with_default = TrunkBench(incoming="desk").up()
    with_default.ring(uri=uri, to=to)
    assert with_default.request("overlay", "INVITE").uri_text == f"sip:desk@{REALM}"


@pytest.mark.parametrize(
    ("uri", "to"),
    [
        # RFC 3966 5.1.1: separators "are purely for human readability".
        ("tel:+49-30-555", "sip:x@tel"),
        ("sip:+49(30)555@192.0.2.1;user=phone", "sip:x@tel"),
        # RFC 4694: that the number was looked up, and where it was ported to.
        ("sip:+4930555;npdi;rn=+4989123@192.0.2.1", "sip:x@tel"),
        ("tel:+4930555;npdi;rn=+4989123", "sip:x@tel"),
        ("sip:%2B4930555;phone-context=tel@192.0.2.1;user=phone", "sip:x@tel"),
        ("sip:4930555@192.0.2.1:40000", "tel:+49.30.555"),
        ("sip:4930555@192.0.2.1:40000", "sip:+49-30-555;npdi@tel;user=phone"),
    ],
)
def test_a_number_of_ours_in_any_of_its_forms(uri: str, to: str) -> None:
    bench = TrunkBench().up()
    bench.ring(uri=uri, to=to)
    assert bench.request("overlay", "INVITE").uri_text == f"sip:alice@{REALM}"


def test_the_number_that_was_called_first_is_that_of_p_called_party_id() -> None:
    bench = TrunkBench().up()
    bench.ring(to="sip:x@tel", extra="P-Called-Party-ID: <tel:+49-30-555>\r\n")
    assert bench.request("overlay", "INVITE").uri_text == f"sip:alice@{REALM}"


def test_8_2_2_1_what_is_no_number_of_a_telephone_is_refused() -> None:
    bench = TrunkBench(incoming="desk").up()
    bench.ring(uri="mailto:alice@club.example")
    assert bench.lines("provider")[-1] == "416 INVITE"


@pytest.mark.parametrize(
    ("from_", "extra", "shown"),
    [
        ("tel:+49-777", "", "+49777"),
        ("sip:+49(7)77;npdi@tel;user=phone", "", "+49777"),
        # What the caller has written comes first, then what the trunk asserts of him: the first that is a number.
        ("sip:+49777@tel", "P-Asserted-Identity: <sip:+49888@tel>\r\n", "+49777"),
        ("sip:alice@tel", "P-Asserted-Identity: <sip:x@tel>, <tel:+49-888>\r\n", "+49888"),
        ("sip:alice@tel", "P-Asserted-Identity: <<\r\n", "anonymous"),
        # RFC 3325 section 7: who wishes that it be not told is told by nobody.
        ("sip:alice@tel", "P-Asserted-Identity: <tel:+49-888>\r\nPrivacy: id\r\n", "anonymous"),
        ("sip:anonymous@anonymous.invalid", "P-Asserted-Identity: <tel:+49-888>\r\n", "anonymous"),
    ],
)
def test_the_number_of_who_calls_in_any_of_its_forms(from_: str, extra: str, shown: str) -> None:
    bench = TrunkBench().up()
    bench.ring(from_=from_, extra=extra)
    assert bench.request("overlay", "INVITE").from_.sip_uri.user_name == shown


@pytest.mark.parametrize("name", ["alice", "bob", "%61lice", "+49; DROP", "a" * 40])
def test_nobody_from_outside_is_a_member(name: str) -> None:
    bench = TrunkBench().up()
    bench.ring(from_=f"sip:{name.replace(' ', '%20').replace(';', '%3B')}@tel")
    shown = bench.request("overlay", "INVITE").from_
    assert shown.sip_uri.host != REALM
    assert shown.sip_uri.user == "anonymous"


@pytest.mark.parametrize("is_refused", [False, True])
def test_one_call_to_two_numbers_of_ours_is_two_calls(is_refused: bool) -> None:
    """A provider forks it, or forwards what the first one has refused: the same Call-ID, tag and CSeq, another
    Request-URI. RFC 3261 section 6: a spiral "is not an error condition, unlike a loop".
    """
    bench = TrunkBench(numbers={"+4930555": "alice", "+4930556": "bob"}).up()
    first = bench.ring(uri="sip:+4930555@192.0.2.1:40000")
    if is_refused:
        bench.reply(bench.request("overlay", "INVITE"), 486)
    second = first.encode().replace(b"sip:+4930555@192.0.2.1:40000 SIP", b"sip:+4930556@192.0.2.1:40000 SIP")
    bench.from_provider(second.replace(b"branch=z9hG4bKi", b"branch=z9hG4bKj"))
    rings = [heard.message.uri_text for heard in bench.overlay if isinstance(heard.message, Request)]
    assert {f"sip:alice@{REALM}", f"sip:bob@{REALM}"} <= set(rings)
    # 8.2.2.2: "The same request has arrived at the UAS more than once, following different paths".
    bench.from_provider(second.replace(b"branch=z9hG4bKi", b"branch=z9hG4bKk"))
    assert bench.lines("provider")[-1] == "482 INVITE"


def test_who_calls_can_be_dialled_back_with_what_the_operator_puts_in_front() -> None:
    bench = TrunkBench(caller_prefix="0").up()
    bench.ring(from_="sip:23@tel")
    assert bench.request("overlay", "INVITE").from_.sip_uri.user_name == "023"


def test_no_more_calls_than_there_may_be() -> None:
    bench = TrunkBench(calls_max=2).up()
    for _ in range(5):
        bench.ring()
    assert bench.lines("overlay").count("INVITE") == 2
    assert bench.lines("provider").count("486 INVITE") == 3


@pytest.mark.long
def test_calls_that_are_over_are_forgotten() -> None:
    bench = TrunkBench(calls_max=1000).up()
    for _ in range(LINGERING_MAX + 50):
        bench.dial()
        bench.answer(bench.request("provider", "INVITE"), 486)
    assert len(bench.trunk._bridges) <= LINGERING_MAX + 1
    bench.run(120.0)
    assert not bench.trunk._bridges


# Strangers


@pytest.mark.parametrize("what", ["INVITE", "garbage", "answer"])
def test_what_a_stranger_sends_is_dropped_and_counted(what: str) -> None:
    bench = TrunkBench().up()
    before = len(bench.provider)
    if what == "INVITE":
        bench.provider.clear()
        invite = bench.ring()
        bench.overlay.clear()
        bench.provider.clear()
        before = 0
        data = invite.encode().replace(b"z9hG4bK", b"z9hG4bKs").replace(b"Call-ID: i", b"Call-ID: s")
    elif what == "answer":
        bench.dial()
        sent = bench.request("provider", "INVITE")
        before = len(bench.provider)
        data = Response(200, "OK", sent.fields.with_only("To", sent.to.with_tag("evil"))).encode()
    else:
        data = b"\x00garbage\r\n\r\n"
    bench.from_provider(data, STRANGER)
    bench.from_provider(data, STRANGER)
    assert bench.trunk.facts.strangers == 2
    assert len(bench.provider) == before
    assert [line for line in bench.lines("overlay") if line != "100 INVITE"] == []
    # One line in the log, however much comes.
    assert [note.event for note in bench.notes].count("not from the trunk") == 1


def test_networks_that_the_operator_names_may_call() -> None:
    bench = TrunkBench(also_from=(ipaddress.ip_network("203.0.113.0/24"),)).up()
    bench.trunk.handle_wire(
        Datagram(
            HERE,
            STRANGER,
            b"OPTIONS sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.66;branch=z9hG4bKx\r\n"
            b"From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: q\r\nCSeq: 1 OPTIONS\r\n\r\n",
        ),
        bench.now,
    )
    answers = [effect.effect for effect in bench.trunk.drain() if isinstance(effect, ForTrunk)]
    assert [sent.remote for sent in answers if isinstance(sent, SendUdp)] == [STRANGER]
    assert bench.trunk.facts.strangers == 0


def test_requests_that_a_trunk_may_send_beside_calls() -> None:
    bench = TrunkBench().up()
    for method, status in (("OPTIONS", 200), ("NOTIFY", 405), ("MESSAGE", 405), ("NONSENSE", 501)):
        bench.from_provider(
            f"{method} sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PROVIDER};branch=z9hG4bK{method}\r\n"
            f"From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: q\r\nCSeq: 1 {method}\r\n\r\n".encode()
        )
        assert bench.lines("provider")[-1] == f"{status} {method}"
    assert bench.lines("overlay") == []
