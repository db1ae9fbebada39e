"""What a DUNDi neighbour may send, damaged: a value or the one error, a drop or an answer, and nothing left behind."""

from __future__ import annotations

import random

from dundi_bench import THEM, US, DundiBench
from effort import times
from fake_asterisk import ACK, CANCEL, DPDISCOVER, DPRESPONSE, ENCREJ, ENCRYPT, FINAL, answer_ie, ie, packet, short
from fuzz_target import Target
from mutations import mutant

from p2psip.dundi import elements
from p2psip.dundi.elements import ElementType
from p2psip.dundi.limits import EXCHANGES_MAX
from p2psip.dundi.message import DundiMessage, NotDundi

ROUNDS = 300

TYPES = [kind for kind in vars(elements).values() if isinstance(kind, ElementType)]

QUESTION = ie(10, short(1)) + ie(4, bytes(THEM)) + ie(1, bytes(US)) + ie(3, "42") + ie(2, "home") + ie(6, short(9))
ANSWER = answer_ie(bytes(THEM), "42@198.51.100.2") + ie(20, short(6) + b"4") + ie(11, short(60)) + ie(14, b"\0fine")
KEYS = ie(1, bytes(THEM)) + ie(17, bytes(128)) + ie(18, bytes(128)) + ie(19, bytes(4)) + ie(16, bytes(48))

SPECIMENS = [
    packet(1, 0, 0, 0, DPDISCOVER, QUESTION),
    packet(2, 1, 1, 0, DPRESPONSE | FINAL, ANSWER),
    packet(3, 0, 0, 0, ENCRYPT, KEYS),
    packet(4, 0, 0, 0, 3, ie(1, bytes(THEM)) + ie(15, bytes(US)) + ie(2, "home")),
    packet(5, 4, 1, 1, ACK | FINAL),
    packet(6, 4, 1, 1, CANCEL | FINAL),
    packet(6, 4, 1, 0, ENCREJ | FINAL),
    packet(7, 0, 0, 0, 0x89),
]


def _frame(data: bytes) -> bytes | None:
    """Read with all that is in it."""
    frame = DundiMessage.decode(data)
    for kind in TYPES:
        kind.every(frame.said)
    return None


def test_a_damaged_message_is_a_value_or_the_one_error() -> None:
    target = Target("DUNDi", _frame, NotDundi, lambda: SPECIMENS)
    accepted = 0
    for number in range(times(target.count)):
        accepted += target.check(mutant(SPECIMENS, random.Random(f"DUNDi/{number}")))
    assert 0 < accepted < times(target.count)


def test_a_message_that_is_read_is_written_as_it_was_but_for_bits_that_say_nothing() -> None:
    for data in SPECIMENS:
        assert DundiMessage.decode(data).encode() == data


def test_whatever_a_neighbour_says_searches_end_and_nothing_is_left_behind() -> None:
    for number in range(times(ROUNDS)):
        rng = random.Random(f"neighbour/{number}")
        bench = DundiBench(is_encrypted=rng.random() < 0.3).up()
        bench.asterisk.is_mute = rng.random() < 0.5
        bench.asterisk.numbers["home", "700"] = [mutant([ANSWER], rng)]
        bench.entity.find("700", "context", bench.now)
        bench.asterisk.discover("42", "home")
        bench.run(0.0)
        known = [*SPECIMENS, *(data for _, data in bench.sent), *_to_ours(bench)]
        for _ in range(20):
            try:
                bench.came(mutant(known, rng) if rng.random() < 0.7 else rng.choice(known))
                bench.run(rng.choice((0.0, 0.0, 0.4, 1.1)))
            except Exception as error:
                error.add_note(f"round {number}")
                raise
            assert len(bench.entity._exchanges) <= EXCHANGES_MAX
        bench.run(60.0)
        assert [each.context for each in bench.found] == ["context"]
        assert (len(bench.entity._searches), len(bench.entity._own._asks)) == (0, 0)
        assert len(bench.entity._exchanges) <= 1


def _to_ours(bench: DundiBench) -> list[bytes]:
    """What belongs to the transactions that are under way."""
    ours = [each.source for each in bench.asterisk.heard]
    return [
        packet(bench.asterisk.last_number, source, 1, 0, command, ies)
        for source in ours
        for command, ies in (
            (DPRESPONSE | FINAL, ANSWER),
            (ENCRYPT, KEYS),
            (0x47, b""),
            (ENCREJ | FINAL, b""),
            (12, b""),
        )
    ]
