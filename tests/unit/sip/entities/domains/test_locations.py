"""Searches under way: what is asked, what ends them, and how many there may be."""

from __future__ import annotations

import random

from p2psip.base.effects import Ask
from p2psip.sip.entities.domains.dns_answers import FindRecords, Records, Srv
from p2psip.sip.entities.domains.location import Permits
from p2psip.sip.entities.domains.locations import ANSWER_S, SEARCHES_MAX, Locations, ServersFound
from p2psip.sip.message.uri import parse_sip_uri

BOB = parse_sip_uri("sip:bob@example.org")


def locations() -> Locations:
    return Locations(Permits(lambda address: ""), random.Random(1))


def asked(core: Locations) -> dict[str, int]:
    """What DNS is asked now, and the token of each question."""
    return {str(ask.question): ask.token for ask in core.drain() if isinstance(ask, Ask)}


def ends(core: Locations) -> list[ServersFound]:
    return [effect for effect in core.drain() if isinstance(effect, ServersFound)]


def test_a_numeric_host_is_known_at_once() -> None:
    core = locations()
    core.begin(parse_sip_uri("sip:bob@192.0.2.1"), "context", 0.0)
    (end,) = ends(core)
    assert (end.context, list(map(str, end.found.hops))) == ("context", ["udp 192.0.2.1:5060"])
    assert not len(core)


def test_a_step_waits_for_all_its_answers() -> None:
    core = locations()
    core.begin(BOB, 7, 0.0)
    (token,) = asked(core).values()
    core.handle_answer(token, Records(), 0.1)
    tokens = asked(core)
    assert list(tokens) == [f"SRV {one}.example.org" for one in ("_sips._tcp", "_sip._tcp", "_sip._udp")]
    *others, last = tokens.values()
    for one in others:
        core.handle_answer(one, Records(), 0.2)
        assert not core.drain()
    core.handle_answer(last, Records((Srv(0, 0, 5080, "host.example.org"),)), 0.3)
    (token,) = asked(core).values()
    core.handle_answer(token, Records(("192.0.2.1",)), 0.4)
    assert list(map(str, ends(core)[0].found.hops)) == ["udp 192.0.2.1:5080"]


def test_what_dns_does_not_say_in_time_it_does_not_say() -> None:
    """Each step has its time: which transports, and after that which servers speak TLS, and no others."""
    core = locations()
    core.begin(BOB, 7, 0.0)
    assert core.drain()
    for step in range(1, 3):
        deadline = core.next_deadline()
        assert deadline is not None
        assert deadline.at == step * ANSWER_S
        core.handle_timeout(deadline.at)
    (end,) = ends(core)
    assert end.found.status == 480
    assert end.found.reason == "DNS does not answer for NAPTR example.org: no answer in 2.5 s"
    assert core.next_deadline() is None


def test_who_does_not_wait_any_more_hears_nothing() -> None:
    core = locations()
    core.begin(BOB, 7, 0.0)
    (token,) = asked(core).values()
    core.cancel(7)
    core.handle_answer(token, Records(), 0.1)
    assert not core.drain()
    assert not len(core)


def test_searches_are_bounded() -> None:
    core = locations()
    for context in range(SEARCHES_MAX + 1):
        core.begin(BOB, context, 0.0)
    effects = core.drain()
    (end,) = [effect for effect in effects if isinstance(effect, ServersFound)]
    assert (end.context, end.found.status) == (SEARCHES_MAX, 480)
    assert len(core) == SEARCHES_MAX
    assert all(isinstance(ask.question, FindRecords) for ask in effects if isinstance(ask, Ask))
