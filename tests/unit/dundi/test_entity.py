"""An entity of ours against an Asterisk that was written by hand: what each says when, in virtual time."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from dundi_bench import ELSEWHERE, HERE, THEM, THERE, THIRD, US, DundiBench, keys, neighbour, pair
from fake_asterisk import (
    ACK,
    CANCEL,
    DPDISCOVER,
    DPRESPONSE,
    EIDQUERY,
    EIDRESPONSE,
    ENCREJ,
    ENCRYPT,
    FINAL,
    INVALID,
    NULL,
    OAEP,
    PRECACHERP,
    PRECACHERQ,
    REGREQ,
    REGRESPONSE,
    UNKNOWN,
    Packet,
    answer_ie,
    encrypted,
    ie,
    packet,
    short,
)

from p2psip.dundi.limits import CHECK_S, EXCHANGES_MAX, REQUESTS, SEARCHES_MAX
from p2psip.dundi.values import NumberPlace

BOTH = pytest.mark.parametrize("is_encrypted", [False, True], ids=["clear", "encrypted"])


def said(bench: DundiBench) -> list[int]:
    """The commands that we have sent, those that were encrypted among them."""
    return [each.said for each in bench.asterisk.heard]


def answer(bench: DundiBench) -> Packet:
    """The one answer that the Asterisk has heard."""
    (found,) = [each for each in bench.asterisk.heard if each.said in (DPRESPONSE | FINAL, EIDRESPONSE | FINAL)]
    return found


# What we are asked


@BOTH
def test_a_number_of_the_overlay_is_answered_with_our_address(is_encrypted: bool) -> None:
    bench = DundiBench(is_encrypted=is_encrypted).up()
    number = bench.asterisk.discover("4930555123", "e164")
    bench.run(0.0)
    assert bench.asked == ["+4930555123"]
    assert said(bench) == [ACK, DPRESPONSE | FINAL]
    first, last = bench.asterisk.heard
    assert (first.destination, first.expected, first.sequence) == (number, 1, 0)
    assert (last.destination, last.expected, last.sequence) == (number, 1, 0)
    # EXISTS and CANMATCH, by SIP.
    assert last.all(5) == [bytes(US) + struct.pack("!BHH", 2, 5, 0) + b"+4930555123@192.0.2.1"]
    assert last.one(11) == short(300)
    assert last.one(20) == short(4)
    assert (last.command == ENCRYPT) is is_encrypted
    if is_encrypted:
        # The key is the one that the question came with.
        assert [kind for kind, _ in last.ies] == [16]
    # The answer has been acknowledged: nothing is said again.
    bench.run(30.0)
    assert said(bench) == [ACK, DPRESPONSE | FINAL]


def test_e164_is_meant_where_no_context_is_named() -> None:
    bench = DundiBench().up()
    bench.asterisk.discover("4930555123")
    assert len(answer(bench).all(5)) == 1


def test_an_answer_has_the_weight_of_its_context() -> None:
    bench = DundiBench().up()
    bench.asterisk.discover("42", "home")
    assert answer(bench).all(5) == [bytes(US) + struct.pack("!BHH", 2, 5, 10) + b"42@192.0.2.1"]


def test_what_nobody_in_the_overlay_has_has_no_answer() -> None:
    bench = DundiBench().up()
    bench.asterisk.discover("43", "home")
    assert answer(bench).all(5) == []
    assert answer(bench).one(11) == short(60)


def test_what_is_not_offered_is_not_looked_for_and_need_not_be_asked() -> None:
    """The hint is how numbers begin of which there will be none: DONT_ASK, UNAFFECTED."""
    bench = DundiBench().up()
    bench.asterisk.discover("4940123", "e164")
    assert answer(bench).one(20) == short(6) + b"494"
    assert bench.asked == []


def test_the_beginning_of_a_number_may_become_one() -> None:
    """Who dials digit by digit has to know whether to go on: CANMATCH, MATCHMORE."""
    bench = DundiBench().up()
    bench.asterisk.discover("4930", "e164")
    assert answer(bench).all(5) == [bytes(US) + struct.pack("!BHH", 2, 6, 0)]


@pytest.mark.parametrize(
    ("number", "context", "cause", "words"),
    [
        ("42", "elsewhere", 3, b"There is no such context here"),
        ("42", "closed", 3, b"Permission to context denied"),
        ("", "home", 1, b"Invalid or missing number"),
        ("4;x@y", "home", 1, b"Invalid or missing number"),
        ("4" * 65, "home", 1, b"Invalid or missing number"),
    ],
)
def test_what_may_not_be_asked_is_refused(number: str, context: str, cause: int, words: bytes) -> None:
    bench = DundiBench().up()
    bench.asterisk.discover(number, context)
    # An answer that comes at once acknowledges as well.
    assert said(bench) == [DPRESPONSE | FINAL]
    assert answer(bench).one(14) == bytes((cause,)) + words
    assert answer(bench).all(5) == []


def test_a_question_that_we_have_asked_ourselves_goes_no_further() -> None:
    """An entity in the list has been asked; the last is who has asked first."""
    bench = DundiBench().up()
    bench.asterisk.discover("42", "home", more=ie(1, bytes(THIRD)) + ie(1, bytes(US)))
    assert answer(bench).one(14)[0] == 4
    assert bench.asked == []


def test_who_says_to_be_another_entity_is_refused() -> None:
    bench = DundiBench().up()
    bench.asterisk.ask(DPDISCOVER, ie(4, bytes(THIRD)) + ie(3, "42") + ie(2, "home"))
    assert answer(bench).one(14) == b"\3"


def test_who_has_keys_is_not_answered_in_clear() -> None:
    bench = DundiBench(is_encrypted=True).up()
    bench.asterisk.own = None
    bench.asterisk.discover("42", "home")
    assert answer(bench).one(14) == b"\3Unencrypted requests are not permitted"
    assert bench.asked == []


def test_an_overlay_that_does_not_answer_is_waited_for_4_s() -> None:
    bench = DundiBench().up()
    bench.is_overlay_mute = True
    bench.asterisk.discover("42", "home")
    bench.run(3.9)
    assert said(bench) == [ACK]
    bench.run(0.2)
    assert answer(bench).one(14) == b"\1The overlay has not answered in time"


def test_a_question_that_is_taken_back_has_no_answer() -> None:
    bench = DundiBench().up()
    bench.is_overlay_mute = True
    number = bench.asterisk.discover("42", "home")
    bench.from_asterisk(packet(number, bench.asterisk.heard[0].source, 0, 1, CANCEL | FINAL))
    bench.run(20.0)
    assert said(bench) == [ACK, ACK | FINAL]


def test_who_asks_who_we_are_is_told() -> None:
    bench = DundiBench().up()
    bench.asterisk.ask(EIDQUERY, ie(1, bytes(THEM)) + ie(15, bytes(US)))
    assert (answer(bench).one(22), answer(bench).one(26)) == (b"The club", b"post@club.example")
    assert answer(bench).one(21) == b""


def test_who_asks_for_another_entity_is_told_nothing() -> None:
    bench = DundiBench().up()
    bench.asterisk.ask(EIDQUERY, ie(1, bytes(THEM)) + ie(15, bytes(THIRD)))
    assert answer(bench).all(22) == []


@pytest.mark.parametrize(("command", "response"), [(PRECACHERQ, PRECACHERP), (REGREQ, REGRESPONSE)])
def test_what_is_not_done_here_is_refused(command: int, response: int) -> None:
    bench = DundiBench().up()
    bench.asterisk.ask(command, ie(1, bytes(THEM)))
    assert said(bench) == [response | FINAL]
    assert bench.asterisk.heard[0].one(14)[0] == 1


def test_whether_we_are_there_is_answered_by_an_acknowledgement() -> None:
    bench = DundiBench().up()
    bench.from_asterisk(packet(7, 0, 0, 0, NULL | FINAL))
    assert said(bench) == [ACK | FINAL]
    assert bench.asterisk.heard[0].expected == 1


def test_a_command_that_nobody_knows_is_named() -> None:
    """It begins nothing that is known here: INVALID; within a transaction UNKNOWN says which one it was."""
    bench = DundiBench().up()
    bench.from_asterisk(packet(7, 0, 0, 0, 42))
    assert said(bench) == [INVALID]
    bench.from_asterisk(packet(8, 0, 0, 0, ENCRYPT, b""))
    bench.is_overlay_mute = True
    number = bench.asterisk.discover("42", "home")
    ours = bench.asterisk.heard[-1].source
    bench.from_asterisk(packet(number, ours, 0, 1, 42))
    assert bench.asterisk.heard[-1].said == UNKNOWN | FINAL
    assert bench.asterisk.heard[-1].one(12) == b"\x2a"


# What we ask


@BOTH
def test_a_number_is_asked_for_as_asterisk_asks(is_encrypted: bool) -> None:
    bench = DundiBench(is_encrypted=is_encrypted).up()
    bench.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), "700@198.51.100.2", weight=5)]
    found = bench.find("700")
    assert found.places == (NumberPlace("pbx", 5, "700", "198.51.100.2", 0),)
    assert found.said == ("pbx: 700@198.51.100.2, weight 5",)
    asked = bench.asterisk.heard[0]
    assert [kind for kind, _ in (asked.clear or asked).ies] == [10, 4, 3, 2, 6]
    assert (asked.one(10), asked.one(4), asked.one(3)) == (short(1), bytes(US), b"700")
    assert (asked.one(2), asked.one(6)) == (b"home", short(8))
    if is_encrypted:
        assert [kind for kind, _ in asked.ies] == [1, 17, 18, 16]
        assert asked.outside(1) == [bytes(US)]
    assert said(bench) == [DPDISCOVER, ACK | FINAL]
    bench.run(30.0)
    assert said(bench) == [DPDISCOVER, ACK | FINAL]


def test_in_e164_numbers_have_no_plus_and_others_are_none() -> None:
    bench = DundiBench().up()
    bench.asterisk.numbers["e164", "12565551212"] = [answer_ie(bytes(THEM), "12565551212@198.51.100.2:5070")]
    assert [str(place) for place in bench.find("+12565551212").places] == ["12565551212@198.51.100.2:5070"]
    asked = {(each.one(2), each.one(3)) for each in bench.asterisk.heard if each.said == DPDISCOVER}
    assert asked == {(b"e164", b"12565551212"), (b"home", b"+12565551212")}


NOWHERE = ("700@203.0.113.66", "700@pbx.example", "700@198.51.100.2;x=y", "198.51.100.2", "700@198.51.100.2:65536")


def test_the_lowest_weight_comes_first() -> None:
    bench = DundiBench().up()
    bench.asterisk.numbers["home", "700"] = [
        answer_ie(bytes(THEM), "a@198.51.100.2", weight=20),
        answer_ie(bytes(THEM), "b@198.51.100.2", weight=10),
    ]
    assert [place.user for place in bench.find("700").places] == ["b", "a"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (answer_ie(bytes(THEM), "guest@pbx/700", protocol=1), "has the number by another protocol than SIP (1)"),
        *(
            (answer_ie(bytes(THEM), there), f"names {there!r}, which is none of the addresses in its calls")
            for there in NOWHERE
        ),
        (answer_ie(bytes(THEM), "", flags=6), "does not have it"),
        (b"", "does not have it"),
        (ie(14, b"\3No"), "refuses: No"),
        (ie(5, b"short"), "says what cannot be read: an answer of 5 bytes"),
    ],
)
def test_an_answer_that_leads_nowhere_is_told(answers: bytes, words: str) -> None:
    bench = DundiBench().up()
    bench.asterisk.numbers["home", "700"] = [answers]
    found = bench.find("700")
    assert (found.places, found.said) == ((), (f"pbx: {words}",))


def test_an_answer_counts_as_long_as_it_says() -> None:
    bench = DundiBench().up()
    bench.asterisk.expiration = 100
    bench.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), "700@198.51.100.2")]
    for after_s, asked in ((0.0, 1), (99.0, 1), (2.0, 2)):
        bench.run(after_s)
        assert bench.find("700").places
        assert said(bench).count(DPDISCOVER) == asked


def test_that_a_number_is_nowhere_counts_for_a_minute() -> None:
    bench = DundiBench().up()
    for after_s, asked in ((0.0, 1), (59.0, 1), (2.0, 2)):
        bench.run(after_s)
        assert not bench.find("700").places
        assert said(bench).count(DPDISCOVER) == asked


def test_each_is_told_of_the_others_and_the_last_is_who_has_asked() -> None:
    third = neighbour("third", THIRD, ELSEWHERE)
    bench = DundiBench(neighbours=(neighbour(), third))
    other = bench.add(ELSEWHERE, THIRD)
    bench.up()
    other.numbers["home", "700"] = [answer_ie(bytes(THIRD), "700@203.0.113.9", weight=1)]
    found = bench.find("700")
    assert [place.neighbour for place in found.places] == ["third"]
    assert found.said == ("pbx: does not have it", "third: 700@203.0.113.9, weight 1")
    assert bench.asterisk.heard[0].all(4) == [bytes(US), bytes(THIRD), bytes(US)]
    assert other.heard[0].all(4) == [bytes(US), bytes(THEM), bytes(US)]


def test_who_answers_with_weight_0_is_the_number_s_own_place() -> None:
    """The others are not waited for, and are told so."""
    bench = DundiBench(neighbours=(neighbour(), neighbour("third", THIRD, ELSEWHERE)))
    other = bench.add(ELSEWHERE, THIRD)
    bench.up()
    other.is_mute = True
    bench.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), "700@198.51.100.2")]
    began = bench.now
    assert bench.find("700").places
    assert bench.now == began
    assert [each.said for each in other.heard] == [DPDISCOVER, CANCEL | FINAL]


def test_a_neighbour_that_does_not_answer_is_waited_for_as_long_as_its_hops_take() -> None:
    """2 s, and 0.2 s for each of 8 hops."""
    bench = DundiBench().up()
    bench.asterisk.is_mute = True
    began = bench.now
    bench.entity.find("700", "context", bench.now)
    bench.run(3.5)
    assert not bench.found
    bench.run(0.2)
    (found,) = bench.found
    assert (found.places, found.said) == ((), ("pbx: has not answered in 3.6 s",))
    assert bench.now - began < 4.0
    assert said(bench) == [DPDISCOVER, CANCEL | FINAL]


def test_who_calls_for_the_same_number_waits_for_the_same_search() -> None:
    bench = DundiBench().up()
    bench.asterisk.is_mute = True
    for name in ("one", "other"):
        bench.entity.find("700", name, bench.now)
    bench.run(4.0)
    assert [each.context for each in bench.found] == ["one", "other"]
    assert said(bench).count(DPDISCOVER) == 1


# Loss


def test_what_is_lost_is_said_again_each_second_and_five_times_at_most() -> None:
    bench = DundiBench().up()
    bench.asterisk.is_there = False
    began = bench.now
    bench.entity.find("700", "context", bench.now)
    bench.run(10.0)
    times = [round(at - began, 3) for at, data in bench.sent if data[6] == DPDISCOVER]
    assert times == [0.0, 1.0, 2.0, 3.0]
    # The search is over at 3.6 s: what takes it back is said five times.
    times = [round(at - began, 3) for at, data in bench.sent if data[6] == CANCEL | FINAL]
    assert times == [3.6, 4.6, 5.6, 6.6, 7.6]
    assert [note.event for note in bench.notes] == ["DUNDi peer silent"]


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
@BOTH
def test_any_message_may_be_lost_once(lost: int, is_encrypted: bool) -> None:
    """The question, its acknowledgement, the answer, the acknowledgement of that: what is said again is enough."""
    bench = DundiBench(is_encrypted=is_encrypted).up()
    bench.asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), "700@198.51.100.2")]
    numbers = iter(range(100))
    bench.loses = lambda _: next(numbers) == lost
    bench.entity.find("700", "context", bench.now)
    bench.run(1.5)
    if lost == 2:
        # The Asterisk of the bench says its answer once: it is said again here.
        bench.run(3.0)
        assert len(bench.found) == 1
        return
    (found,) = bench.found
    assert found.places


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_an_answer_of_ours_is_said_again_until_it_is_acknowledged(is_encrypted: bool) -> None:
    bench = DundiBench(is_encrypted=is_encrypted).up()
    bench.loses = lambda data: data[6] == ACK | FINAL
    bench.asterisk.discover("42", "home")
    began = bench.now
    bench.run(30.0)
    times = [round(at - began, 3) for at, data in bench.sent if data[6] in (DPRESPONSE | FINAL, ENCRYPT)]
    assert times == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_question_that_comes_again_is_answered_as_before_and_asked_once() -> None:
    bench = DundiBench().up()
    question = packet(77, 0, 0, 0, DPDISCOVER, ie(4, bytes(THEM)) + ie(3, "42") + ie(2, "home"))
    bench.loses = lambda data: data[6] in (DPRESPONSE | FINAL, ACK | FINAL)
    bench.is_overlay_mute = True
    for _ in range(3):
        bench.loses = lambda data: data[6] == DPRESPONSE | FINAL
        bench.from_asterisk(question)
    assert (bench.asked, said(bench)) == (["42"], [ACK, ACK, ACK])


def test_the_last_acknowledgement_is_said_again_for_who_has_not_heard_it() -> None:
    bench = DundiBench().up()
    bench.from_asterisk(packet(7, 0, 0, 0, NULL | FINAL))
    bench.run(3.0)
    bench.from_asterisk(packet(7, 0, 0, 0, NULL | FINAL))
    assert said(bench) == [ACK | FINAL, ACK | FINAL]


def test_what_is_out_of_order_is_dropped() -> None:
    bench = DundiBench().up()
    bench.is_overlay_mute = True
    number = bench.asterisk.discover("42", "home")
    ours = bench.asterisk.heard[0].source
    for sequence in (2, 9, 255):
        bench.from_asterisk(packet(number, ours, 0, sequence, CANCEL | FINAL))
    assert said(bench) == [ACK]


# Keys


def test_a_key_is_sent_once_and_then_named_by_its_checksum() -> None:
    bench = DundiBench(is_encrypted=True).up()
    for number in ("700", "701"):
        bench.find(number)
    asked = [[kind for kind, _ in each.ies] for each in bench.asterisk.heard if each.said == DPDISCOVER]
    assert asked == [[1, 17, 18, 16], [1, 19, 16]]


def test_who_has_forgotten_our_key_is_told_it_again() -> None:
    """ENCREJ: the question is asked once more in another transaction, with the key itself."""
    bench = DundiBench(is_encrypted=True).up()
    bench.find("700")
    bench.asterisk.heard.clear()
    bench.asterisk._known.clear()
    bench.asterisk.numbers["home", "701"] = [answer_ie(bytes(THEM), "701@198.51.100.2")]
    assert bench.find("701").places
    first, acknowledged, second, *_ = bench.asterisk.heard
    assert [kind for kind, _ in first.ies] == [1, 19, 16]
    assert acknowledged.command == ACK | FINAL
    assert [kind for kind, _ in second.ies] == [1, 17, 18, 16]
    assert first.source != second.source


def test_a_key_of_ours_lasts_an_hour() -> None:
    bench = DundiBench(is_encrypted=True).up()
    bench.find("700")
    first = bench.asterisk.heard[0].outside(17)
    bench.run(3601.0)
    bench.asterisk.heard.clear()
    bench.find("701")
    second = next(each for each in bench.asterisk.heard if each.said == DPDISCOVER).outside(17)
    assert len(second) == 1
    assert first != second


def test_their_key_may_be_named_by_its_checksum_once_it_is_known() -> None:
    bench = DundiBench(is_encrypted=True).up()
    bench.asterisk.discover("42", "home", is_whole=False)
    assert said(bench) == [ENCREJ | FINAL]
    bench.asterisk.discover("42", "home")
    bench.asterisk.discover("42", "home", is_whole=False)
    assert said(bench)[1:] == [ACK, DPRESPONSE | FINAL, ACK, DPRESPONSE | FINAL]


@pytest.mark.parametrize("what", ["signature", "key", "entity", "data"])
def test_what_does_not_prove_its_sender_is_rejected(what: str) -> None:
    bench = DundiBench(is_encrypted=True).up()
    sealed = pair("ours").public_key().encrypt(bytes(16), OAEP)
    by = pair("stranger") if what == "signature" else pair("theirs")
    if what == "key":
        sealed = pair("stranger").public_key().encrypt(bytes(16), OAEP)
    signature = by.sign(sealed, padding.PKCS1v15(), hashes.SHA1())
    eid = THIRD if what == "entity" else THEM
    inner = bytes((DPDISCOVER, 0)) + ie(4, bytes(THEM)) + ie(3, "42") + ie(2, "home")
    data = encrypted(bytes(16) if what != "data" else b"\1" * 16, inner)
    bench.from_asterisk(packet(5, 0, 0, 0, ENCRYPT, ie(1, bytes(eid)) + ie(17, sealed) + ie(18, signature) + data))
    assert said(bench) == [ENCREJ | FINAL]
    assert bench.asked == []
    bench.run(20.0)


def test_an_answer_in_clear_to_what_was_encrypted_is_none() -> None:
    bench = DundiBench(is_encrypted=True).up()
    bench.asterisk.is_mute = True
    bench.entity.find("700", "context", bench.now)
    bench.run(0.1)
    asked = bench.asterisk.heard[0]
    forged = ie(5, bytes(THEM) + struct.pack("!BHH", 2, 1, 0) + b"700@198.51.100.2")
    # Off the path nobody knows which number the Asterisk has given the transaction.
    bench.from_asterisk(packet(999, asked.source, 1, 0, DPRESPONSE | FINAL, forged))
    assert not bench.found
    bench.from_asterisk(packet(bench.asterisk.last_number, asked.source, 1, 0, DPRESPONSE | FINAL, forged))
    (found,) = bench.found
    assert (found.places, found.said) == ((), ("pbx: answers without encryption",))


def test_keys_that_do_not_fit_are_told() -> None:
    bench = DundiBench(is_encrypted=True)
    bench.entity.start(0.0)
    bench.asterisk.hear = lambda data: None  # type: ignore[method-assign]
    bench.run(0.1)
    bench.entity.find("700", "context", bench.now)
    bench.run(0.1)
    (asked,) = [each for each in bench.packets if each.command == ENCRYPT]
    bench.from_asterisk(packet(9, asked.source, 1, 0, ENCREJ | FINAL))
    (found,) = bench.found
    assert found.said == ("pbx: it does not take our key: compare inkey and outkey on both sides",)


# Health, strangers, bounds


def test_a_neighbour_is_asked_each_minute_whether_it_is_there() -> None:
    bench = DundiBench()
    bench.entity.start(0.0)
    bench.run(2 * CHECK_S + 1)
    assert [(at, data[6]) for at, data in bench.sent] == [(0.0, 0x89), (60.0, 0x89), (120.0, 0x89)]
    (facts,) = bench.entity.facts
    assert (facts.is_up, facts.rtt_s) == (True, 0.0)


def test_a_silent_neighbour_holds_no_call_up_until_it_answers() -> None:
    bench = DundiBench().up()
    bench.asterisk.is_there = False
    bench.run(CHECK_S + 6)
    assert [note.event for note in bench.notes] == ["DUNDi peer silent"]
    bench.sent.clear()
    began = bench.now
    assert bench.find("700").said == ("pbx: is silent, and not asked",)
    assert (bench.now, bench.sent) == (began, [])
    bench.asterisk.is_there = True
    bench.run(11.0)
    assert [note.event for note in bench.notes] == ["DUNDi peer silent", "DUNDi peer answers again"]
    bench.find("700")
    assert DPDISCOVER in said(bench)


def test_strangers_get_no_answer() -> None:
    bench = DundiBench().up()
    for remote in (ELSEWHERE, HERE, THERE._replace(port=4521)):
        bench.came(packet(1, 0, 0, 0, NULL | FINAL), remote)
    assert (bench.sent, bench.entity.strangers) == ([], 3)


def test_garbage_of_a_neighbour_is_counted_and_dropped() -> None:
    bench = DundiBench().up()
    for data in (b"", b"garbage", bytes(9000), packet(1, 0, 0, 0, DPDISCOVER, b"\3")):
        bench.came(data)
    assert (bench.sent, bench.entity.facts[0].dropped) == ([], 4)


def test_what_belongs_nowhere_is_called_invalid_but_not_for_ever() -> None:
    """Never an INVALID to an INVALID, or to an acknowledgement; and no more of them than an allowance has."""
    bench = DundiBench().up()
    bench.came(packet(1, 999, 1, 1, INVALID))
    bench.came(packet(1, 999, 1, 1, ACK | FINAL))
    assert bench.sent == []
    for number in range(1, 200):
        bench.came(packet(number, 999, 3, 4, CANCEL | FINAL))
    assert said(bench) == [INVALID] * 20
    first = bench.asterisk.heard[0]
    assert (first.source, first.destination, first.expected, first.sequence) == (999, 1, 4, 3)


def test_a_neighbour_that_knows_nothing_of_our_question_ends_it() -> None:
    bench = DundiBench().up()
    bench.asterisk.is_mute = True
    bench.entity.find("700", "context", bench.now)
    bench.run(0.0)
    asked = bench.asterisk.heard[0]
    bench.came(packet(0, asked.source, 0, 0, INVALID))
    bench.came(packet(0, asked.source, 1, 1, INVALID))
    (found,) = bench.found
    assert found.said == ("pbx: it knows nothing of what it was asked",)
    # It is not acknowledged: that would belong nowhere as well.
    assert said(bench) == [DPDISCOVER]


def test_a_neighbour_that_asks_too_much_is_held_within_bounds() -> None:
    bench = DundiBench().up()
    bench.is_overlay_mute = True
    for number in range(1, 5000):
        bench.came(packet(number, 0, 0, 0, DPDISCOVER, ie(4, bytes(THEM)) + ie(3, f"4{number}") + ie(2, "home")))
    assert len(bench.asked) == REQUESTS.burst
    for number in range(1, 5000):
        bench.now += 0.1
        bench.came(packet(number, 0, 0, 0, NULL | FINAL))
        assert len(bench.entity._exchanges) <= EXCHANGES_MAX
    bench.run(60.0)
    assert len(bench.entity._exchanges) <= 1


def test_a_neighbour_that_changes_its_key_too_often_is_rejected() -> None:
    bench = DundiBench(is_encrypted=True).up()
    for number in range(20):
        bench.asterisk.use_key(bytes((number,)) * 16)
        bench.asterisk.discover("42", "home")
    assert said(bench).count(DPRESPONSE | FINAL) == 10
    assert said(bench).count(ENCREJ | FINAL) == 10


def test_searches_are_bounded() -> None:
    bench = DundiBench().up()
    bench.asterisk.is_mute = True
    for number in range(SEARCHES_MAX + 5):
        bench.entity.find(f"7{number}", number, bench.now)
    bench.run(0.0)
    assert [each.said for each in bench.found[-5:]] == [("too many numbers are asked for",)] * 5
    bench.run(60.0)
    assert (len(bench.found), len(bench.entity._searches)) == (SEARCHES_MAX + 5, 0)


def test_networks_of_a_neighbour_s_servers_are_the_operator_s_to_name() -> None:
    calls = (ipaddress.ip_network("10.44.0.0/16"), ipaddress.ip_network("2001:db8::/32"))
    bench = DundiBench(neighbours=(neighbour(calls=calls, keys=keys(is_encrypted=False)),)).up()
    bench.asterisk.numbers["home", "700"] = [
        answer_ie(bytes(THIRD), "sip:700@10.44.7.1", weight=1),
        answer_ie(bytes(THIRD), "700@[2001:db8::7]:5080", weight=2),
        answer_ie(bytes(THIRD), "700@10.45.7.1", weight=3),
    ]
    assert [str(place) for place in bench.find("700").places] == ["700@10.44.7.1", "700@[2001:db8::7]:5080"]


def test_the_same_seed_says_the_same() -> None:
    def run() -> list[tuple[float, bytes]]:
        bench = DundiBench().up()
        bench.find("700")
        return bench.sent

    assert run() == run()
