"""Whose a message is, what is said again when it is lost, and with which key it is encrypted, in virtual time."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from dundi_bench import BOTH, ELSEWHERE, THEM, THIRD, DundiBench, neighbour, pair, said
from fake_asterisk import (
    ACK,
    CANCEL,
    DPDISCOVER,
    DPRESPONSE,
    ENCREJ,
    ENCRYPT,
    FINAL,
    NULL,
    OAEP,
    answer_ie,
    encrypted,
    ie,
    packet,
)


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


def test_an_answer_that_cannot_be_decrypted_ends_the_search_at_once() -> None:
    bench = DundiBench(is_encrypted=True).up()
    bench.asterisk.is_mute = True
    bench.entity.find("700", "context", bench.now)
    bench.run(0.1)
    asked = bench.asterisk.heard[0]
    data = encrypted(b"\1" * 16, bytes((DPRESPONSE | FINAL, 0)))
    bench.from_asterisk(packet(bench.asterisk.last_number, asked.source, 1, 0, ENCRYPT, data))
    (found,) = bench.found
    assert found.said[0].startswith("pbx: what was encrypted is not compressed")
    assert said(bench)[-1] == CANCEL | FINAL


def test_one_neighbour_does_not_speak_in_the_transaction_of_another() -> None:
    bench = DundiBench(neighbours=(neighbour(), neighbour("third", THIRD, ELSEWHERE, include=()))).up()
    bench.asterisk.is_mute = True
    bench.entity.find("700", "context", bench.now)
    bench.run(0.1)
    asked = bench.asterisk.heard[0]
    forged = packet(
        bench.asterisk.last_number, asked.source, 1, 0, DPRESPONSE | FINAL, answer_ie(bytes(THEM), "7@198.51.100.2")
    )
    bench.came(forged, ELSEWHERE)
    assert bench.found == []
    bench.came(forged)
    assert bench.found
