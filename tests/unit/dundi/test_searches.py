"""What neighbours are asked, and what comes of their answers."""

from __future__ import annotations

import pytest
from dundi_bench import BOTH, ELSEWHERE, THEM, THIRD, US, DundiBench, neighbour, said
from fake_asterisk import (
    ACK,
    CANCEL,
    DPDISCOVER,
    FINAL,
    answer_ie,
    ie,
    short,
)

from p2psip.dundi.values import NumberPlace


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


def test_a_neighbour_may_name_servers_by_the_names_that_the_operator_lists() -> None:
    bench = DundiBench(neighbours=(neighbour(names=frozenset({"pbx.example"})),)).up()
    bench.asterisk.numbers["home", "700"] = [
        answer_ie(bytes(THEM), "700@PBX.example", weight=1),
        answer_ie(bytes(THEM), "700@pbx.example:5070", weight=2),
        answer_ie(bytes(THEM), "700@pbx.example.evil.example", weight=3),
    ]
    assert [str(place) for place in bench.find("700").places] == ["700@pbx.example", "700@pbx.example:5070"]
