"""How it goes with neighbours: whether they are there, strangers, bounds."""

from __future__ import annotations

import ipaddress

from dundi_bench import ELSEWHERE, HERE, THEM, THERE, THIRD, DundiBench, keys, neighbour, said
from fake_asterisk import (
    ACK,
    CANCEL,
    DPDISCOVER,
    DPRESPONSE,
    ENCREJ,
    FINAL,
    INVALID,
    NULL,
    answer_ie,
    ie,
    packet,
)

from p2psip.dundi.limits import CHECK_S, EXCHANGES_MAX, REQUESTS, SEARCHES_MAX


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
