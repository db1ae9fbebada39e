"""Messages of DUNDi as bytes that were written by hand from the draft."""

from __future__ import annotations

import pytest

from p2psip.dundi import elements
from p2psip.dundi.elements import Eid, Hint, NumberAnswer, StatedCause
from p2psip.dundi.message import CommandCode, DundiMessage, Element, NotDundi, Said

DISCOVER = bytes.fromhex(
    "1234 0000 00 00 01 00"
    " 0a02 0001"  # version 1
    " 0406 00005e005302"  # direct entity
    " 0106 00005e005303"  # entity
    " 0307 34393330353535"  # called number 4930555
    " 0204 65313634"  # called context e164
    " 0602 0020"  # TTL 32
    " 1d00"  # caches are to be bypassed
)

RESPONSE = bytes.fromhex(
    "0102 1234 01 00 c2 00"
    " 0518 00005e005301 02 0001 0064 34324031302e302e302e35 3a39"  # answer: SIP, EXISTS, weight 100, 42@10.0.0.5:9
    " 1405 0006 343935"  # hint: don't ask, unaffected; 495
    " 0b02 0e10"  # expiration 3600
)


def test_a_question_is_read_as_the_draft_writes_it() -> None:
    frame = DundiMessage.decode(DISCOVER)
    said = frame.said
    assert (frame.source, frame.destination, frame.expected, frame.sequence) == (0x1234, 0, 0, 0)
    assert (said.command, said.is_final) == (CommandCode.DPDISCOVER, False)
    assert elements.VERSION.last(said) == 1
    assert list(map(str, elements.eids(said))) == ["00:00:5E:00:53:02", "00:00:5E:00:53:03"]
    assert elements.CALLED_NUMBER.last(said) == "4930555"
    assert elements.CALLED_CONTEXT.last(said) == "e164"
    assert elements.TTL.last(said) == 32
    assert elements.CACHE_BYPASS.within(said)
    assert frame.encode() == DISCOVER


def test_an_answer_is_read_as_the_draft_writes_it() -> None:
    frame = DundiMessage.decode(RESPONSE)
    said = frame.said
    assert (said.command, said.is_final) == (CommandCode.DPRESPONSE, True)
    eid = Eid.parse("00:00:5e:00:53:01")
    assert elements.ANSWER.every(said) == (NumberAnswer(eid, 2, 1, 100, "42@10.0.0.5:9"),)
    assert elements.HINT.last(said) == Hint(6, "495")
    assert elements.EXPIRATION.last(said) == 3600
    assert frame.encode() == RESPONSE


def test_the_highest_bits_of_transactions_say_nothing() -> None:
    """The bit that marks what is sent again is no part of the number."""
    frame = DundiMessage.decode(bytes.fromhex("8001 8002 03 04 40 00"))
    assert (frame.source, frame.destination, frame.expected, frame.sequence) == (1, 2, 3, 4)


def test_encrypted_data_goes_to_the_end_whatever_its_length_says() -> None:
    value = bytes(range(16)) + bytes(304)
    said = Said(CommandCode.ENCRYPT, (elements.EID.of(Eid(b"abcdef")), elements.ENCRYPTED.of(value)))
    written = DundiMessage(1, 0, 0, 0, said).encode()
    assert written[8:18] == b"\x01\x06abcdef\x10" + bytes((320 & 0xFF,))
    assert elements.ENCRYPTED.last(DundiMessage.decode(written).said) == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "a message of 0 bytes"),
        ("0001 0000 00 00 01", "a message of 7 bytes"),
        ("0001 0000 00 00 01 00 03", "an element that breaks off"),
        ("0001 0000 00 00 01 00 0304 3434", "element 3 goes beyond the message"),
    ],
)
def test_what_is_no_message_is_one_error(data: str, why: str) -> None:
    with pytest.raises(NotDundi, match=why):
        DundiMessage.decode(bytes.fromhex(data))


def test_a_message_that_is_too_long_is_none() -> None:
    with pytest.raises(NotDundi, match="8193 bytes"):
        DundiMessage.decode(bytes(8193))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (elements.EID, b"12345"),
        (elements.EID_DIRECT, b"1234567"),
        (elements.ANSWER, bytes(10)),
        (elements.TTL, b"\1"),
        (elements.UNKNOWN_COMMAND, b""),
        (elements.CAUSE, b""),
        (elements.HINT, b"\0"),
        (elements.ENCRYPTED, bytes(16)),
        (elements.ENCRYPTED, bytes(33)),
        (elements.SHARED_KEY, bytes(127)),
        (elements.KEY_CRC32, bytes(3)),
    ],
)
def test_an_element_that_is_not_as_its_type_has_it_is_one_error(
    kind: elements.ElementType[object], value: bytes
) -> None:
    with pytest.raises(NotDundi):
        kind.last(Said(1, (Element(kind.number, value),)))


def test_what_nobody_knows_is_left_alone() -> None:
    data = bytes.fromhex("0001 0000 00 00 2a 00 c803 010203")
    frame = DundiMessage.decode(data)
    assert (frame.said.command, frame.said.elements) == (42, (Element(200, b"\1\2\3"),))
    assert frame.encode() == data


def test_a_cause_has_words_for_people() -> None:
    said = Said(CommandCode.DPRESPONSE, (Element(14, b"\x03Permission to context denied"),))
    assert elements.CAUSE.last(said) == StatedCause(3, "Permission to context denied")


@pytest.mark.parametrize("text", ["", "00:07:E9:3B:76", "00-07-E9-3B-76-60", "00:07:E9:3B:76:6g", "0007E93B7660"])
def test_an_entity_identifier_is_six_bytes_with_colons(text: str) -> None:
    with pytest.raises(ValueError, match="no entity identifier"):
        Eid.parse(text)
