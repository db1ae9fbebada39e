"""What neighbours are told, against an Asterisk that was written by hand."""

from __future__ import annotations

import struct

import pytest
from dundi_bench import BOTH, THEM, THIRD, US, DundiBench, answer, said
from fake_asterisk import (
    ACK,
    CANCEL,
    DPDISCOVER,
    DPRESPONSE,
    EIDQUERY,
    ENCRYPT,
    FINAL,
    INVALID,
    NULL,
    PRECACHERP,
    PRECACHERQ,
    REGREQ,
    REGRESPONSE,
    UNKNOWN,
    ie,
    packet,
    short,
)


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


def test_an_answer_names_who_is_meant_by_the_number() -> None:
    """That is for the overlay to say: a name that nobody can dial, say."""
    bench = DundiBench().up()
    bench.asterisk.discover("45", "home")
    assert answer(bench).one(5)[11:] == b"dl1abc@192.0.2.1"


def test_a_destination_that_is_too_long_for_an_answer_is_none() -> None:
    bench = DundiBench().up()
    bench.asterisk.discover("46", "home")
    assert answer(bench).all(5) == []


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


def test_a_transaction_is_for_one_question() -> None:
    """What comes after it in the same transaction is past the allowance, and ends it."""
    bench = DundiBench().up()
    bench.is_overlay_mute = True
    number = bench.asterisk.discover("43", "home")
    ours = bench.asterisk.heard[-1].source
    bench.from_asterisk(packet(number, ours, 0, 1, DPDISCOVER, ie(4, bytes(THEM)) + ie(3, "44") + ie(2, "home")))
    assert bench.asked == ["43"]
    assert said(bench)[-1] == CANCEL | FINAL
    # What the overlay says to the first is nothing for a transaction that has ended.
    bench.loses = lambda data: data[6] == ACK | FINAL
    bench.run(4.5)
    assert set(said(bench)) == {ACK, CANCEL | FINAL}
