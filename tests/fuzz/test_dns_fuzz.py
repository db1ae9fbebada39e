"""Whatever DNS says, a search ends within its bounds, and sends to nobody whom the policy forbids."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.effects import Ask
from p2psip.sip.entities.domains.dns_answers import Naptr, Records, Srv
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.domains.location import PLACES_MAX, SERVERS_MAX, SERVICES_MAX, Permits
from p2psip.sip.entities.domains.locations import Locations, ServersFound
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transports.hops import StreamHop, UdpHop

NAMES = st.one_of(
    st.sampled_from(
        ["", ".", "example.org", "_sip._udp.example.org", "_sips._tcp.example.org", "localhost", "127.0.0.1"]
    ),
    st.text(max_size=300),
)
NUMBERS = st.integers(0, 65535)
RECORDS = st.one_of(
    st.builds(
        Naptr, NUMBERS, NUMBERS, st.sampled_from(["s", "S", "a", "u", ""]),
        st.one_of(st.sampled_from(["SIP+D2U", "SIP+D2T", "SIPS+D2T", "sips+d2t"]), st.text(max_size=20)),
        st.one_of(st.just(""), st.text(max_size=20)), NAMES,
    ),
    st.builds(Srv, NUMBERS, NUMBERS, NUMBERS, NAMES),
    st.ip_addresses().map(str),
    st.text(max_size=50),
)  # fmt: skip
ANSWERS = st.builds(Records, st.lists(RECORDS, max_size=10).map(tuple), st.sampled_from(["", "", "", "SERVFAIL"]))
URIS = st.sampled_from(
    [
        "sip:bob@example.org",
        "sips:bob@example.org",
        "sip:bob@example.org;transport=tcp",
        "sip:bob@example.org:0",
        "sip:bob@example.org;maddr=evil.example",
        "sip:bob@[::ffff:127.0.0.1]",
    ]
)


@pytest.mark.long
@given(URIS, st.lists(ANSWERS, max_size=12), st.integers(), st.booleans())
def test_a_search_ends_whatever_dns_says(uri: str, answers: list[Records], seed: int, has_ipv6: bool) -> None:
    doors = OtherDomains(calls_out=True)
    permits = Permits(lambda address: doors.refusal(address, frozenset({5060}), is_own=False), has_ipv6)
    core = Locations(permits, random.Random(seed))
    core.begin(parse_sip_uri(uri), "context", 0.0)
    asked, given_answers = 0, iter(answers)
    effects = core.drain()
    while not any(isinstance(effect, ServersFound) for effect in effects):
        questions = [effect for effect in effects if isinstance(effect, Ask)]
        assert questions, "it waits for something"
        asked += len(questions)
        for question in questions:
            core.handle_answer(question.token, next(given_answers, Records()), 0.0)
        effects = core.drain()
    (end,) = effects
    assert isinstance(end, ServersFound)
    assert asked <= 1 + SERVICES_MAX + 2 * SERVERS_MAX
    assert len(end.found.hops) <= PLACES_MAX
    assert bool(end.found.hops) != bool(end.found.reason)
    for hop in end.found.hops:
        assert isinstance(hop, UdpHop | StreamHop)
        assert not doors.refusal(hop.remote, frozenset({5060}), is_own=False)
