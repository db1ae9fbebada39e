"""The SIP-REGISTRATION usage: names, entries, what a caller believes (RFC 7904 section 3, 4.2, 7)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage_bench import ALICE, ALICE_ELSEWHERE, BOB, WALL, Bench, entry, member, signer

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.base.wallclock import WallClock
from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND, DomainRestriction
from p2psip.reload.security.roles import Identity
from p2psip.reload.storage.access import WantedWrite
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.storing import CLOCK_SKEW_S, Rules
from p2psip.reload.storage.verified import Believer, Seen
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.usages.sip_registration import (
    LIFETIME_S,
    Namespaces,
    NotAnAor,
    RegistrationForward,
    RegistrationRoute,
    Registrations,
    canonical_aor,
    fetch_request,
    read_registrations,
    resource_id,
    route_to,
    store_request,
)
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.kinds import SIP_REGISTRATION
from p2psip.reload.wire.rejections import DataTooOld, Forbidden
from p2psip.reload.wire.storage_messages import DataValue, FetchAns, FetchKindResponse, StoreKindData, StoreReq
from p2psip.reload.wire.usages.sip_registration import SipRegistration, SipRegistrationType
from p2psip.sim.membership import DATE, OVERLAY, Club, node_id

KINDS = {SIP_REGISTRATION: SIP_REGISTRATION_KIND}
RULES = {SIP_REGISTRATION: Namespaces("example.org", DomainRestriction())}
PEER_1, PEER_2 = NodeId(b"1" * 16), NodeId(b"2" * 16)


def bench() -> Bench:
    return Bench(kinds=KINDS)


def register(
    bench: Bench, line: Identity, registration: SipRegistration | None, storage_time_ms: int, **changes: int
) -> StoreReq:
    """Have a line register, as its own requester."""
    request = store_request(line, registration, storage_time_ms, hash_name, **changes)
    bench.send(request, requester=line)  # type: ignore[arg-type]
    return request


def look_up(bench: Bench, aor: str = ALICE.user) -> Registrations:
    fetched = bench.storage.fetch(fetch_request(aor, hash_name), bench.now)
    return read_registrations(aor, fetched.answer, fetched.certificates, Believer(bench.rules, WALL), bench.now)


# --- Names.


@pytest.mark.parametrize(
    ("uri", "aor"),
    [
        ("alice@dht.example.com", "alice@dht.example.com"),
        ("sip:alice@dht.example.com", "alice@dht.example.com"),
        ("SIPS:alice@DHT.Example.COM", "alice@dht.example.com"),
        ("sip:alice@dht.example.com:5060;transport=tcp?subject=x", "alice@dht.example.com"),
        ("sip:%61lice@dht.example.com", "alice@dht.example.com"),
        ("sip:zo%C3%AB@example.com.", "zoë@example.com"),
        ("sip:Alice@example.com", "Alice@example.com"),
        ("sip:+358-555-1234567;postd=pp22@foo.com;user=phone", "+358-555-1234567;postd=pp22@foo.com"),
        ("sip:alice@[2001:DB8::1]:5060", "alice@[2001:db8::1]"),
    ],
)
def test_7_an_aor_is_a_uri_without_scheme_escapes_and_parameters(uri: str, aor: str) -> None:
    assert canonical_aor(uri) == aor
    assert canonical_aor(aor) == aor


@pytest.mark.parametrize(
    "text", ["", "alice", "sip:example.com", "sip:@example.com", "alice@", "sip:al%FFice@x", "a\n@x", "a@" + "x" * 600]
)
def test_what_is_no_aor(text: str) -> None:
    with pytest.raises(NotAnAor):
        canonical_aor(text)


@given(st.text())
def test_any_text_is_an_aor_or_not(text: str) -> None:
    try:
        aor = canonical_aor(text)
    except NotAnAor:
        return
    assert aor.rpartition("@")[2] == aor.rpartition("@")[2].lower()


def test_7_the_resource_name_is_the_aor() -> None:
    assert resource_id("alice@example.org", hash_name) == hash_name(b"alice@example.org")


# --- 3.4: namespaces.


@pytest.mark.parametrize(
    ("restriction", "permitted", "refused"),
    [
        (None, ["a@example.org", "a@anywhere.net"], ["nobody"]),
        (DomainRestriction(), ["a@example.org"], ["a@sub.example.org", "a@exampleXorg", "example.org"]),
        (
            DomainRestriction(enable=True, patterns=(r"dht\.example\.com", r".*\.my\.example")),
            ["a@dht.example.com", "a@x.my.example", "a@DHT.example.com"],
            ["a@example.org", "a@my.example", "a@dht.example.com.evil.net"],
        ),
        (DomainRestriction(enable=True, patterns=("[[:alpha:]]+[[:digit:]_]",)), ["a@xy_", "a@x7"], ["a@7", "a@:7"]),
        (DomainRestriction(enable=True), [], ["a@example.org"]),
    ],
)
def test_3_4_domain_restriction(
    restriction: DomainRestriction | None, permitted: list[str], refused: list[str]
) -> None:
    namespaces = Namespaces("example.org", restriction)
    write = WantedWrite(SIP_REGISTRATION_KIND, hash_name(b""), b"", DataValue.nonexistent())
    users = [user for user in permitted + refused if namespaces.permits(write, signer(member(user, 1)))]
    assert users == permitted


def test_3_4_a_pattern_that_is_none_is_named() -> None:
    with pytest.raises(LocalMisuse, match=r"domain pattern '\(' cannot be read"):
        Namespaces("example.org", DomainRestriction(enable=True, patterns=("(",)))


def test_3_3_the_storing_peer_refuses_other_namespaces() -> None:
    restricted = Bench(kinds=KINDS, usage_rules=RULES, wall=WallClock(0.0))
    register(restricted, ALICE, route_to(PEER_1), 1000)
    with pytest.raises(Forbidden, match="takes no values of Kind 0x1 for eve"):
        register(restricted, member("eve@elsewhere.net", 0xE1), route_to(PEER_1), 1000)


# --- Age.

TODAY_MS = WALL.date_ms(0.0)
HOUR_MS = 3_600_000
TEN_YEARS_MS = 10 * 365 * 24 * HOUR_MS
FOR_EVER_S = 0xFFFFFFFF


def dated(wall: WallClock = WALL) -> Bench:
    """A storing peer that goes by what the usage demands."""
    return Bench(kinds=KINDS, usage_rules=RULES, wall=wall)


def signed_at(storage_time_ms: int, who: Identity = ALICE, **changes: int) -> StoreReq:
    """What a line signed once; its lifetime, which is not signed, may be anything by now."""
    request = store_request(who, route_to(PEER_1), storage_time_ms, hash_name)
    (data,) = request.kind_data
    assert isinstance(data, StoreKindData)
    (stored,) = data.values
    values = (replace(stored, lifetime=FOR_EVER_S),)
    return replace(request, kind_data=(replace(data, values=values, **changes),))


def test_a_registration_of_long_ago_is_not_stored_again() -> None:
    """7.4.1.3: "a window of vulnerability for replay attack still exists after the original lifetime has expired"."""
    with pytest.raises(DataTooOld, match=r"signed at 2013-11-16 22:13; the clock here says 2023-11-14 22:13"):
        dated().send(signed_at(TODAY_MS - TEN_YEARS_MS))


def test_nor_is_it_believed() -> None:
    storing = dated(replace(WALL, is_trusted=False))
    storing.send(signed_at(TODAY_MS - TEN_YEARS_MS))
    assert len(look_up(storing).entries) == 0
    assert "signed at 2013-11-16" in look_up(storing).dropped[0]


def test_the_lifetime_ends_with_the_age_whatever_it_says() -> None:
    storing = dated()
    storing.send(signed_at(TODAY_MS - 23 * HOUR_MS))
    assert [found.lifetime_s for found in look_up(storing).entries] == [3600 + CLOCK_SKEW_S]
    storing.advance(3600.0 + CLOCK_SKEW_S)
    assert look_up(storing) == Registrations((), ())


def test_where_the_date_is_not_known_nothing_is_too_old() -> None:
    nobody_knows = replace(WALL, is_trusted=False)
    storing = dated(nobody_knows)
    storing.send(signed_at(TODAY_MS - TEN_YEARS_MS))
    fetched = storing.storage.fetch(fetch_request(ALICE.user, hash_name), 0.0)
    reader = Believer(storing.rules, nobody_knows)
    assert len(read_registrations(ALICE.user, fetched.answer, fetched.certificates, reader, 0.0).entries) == 1


def test_of_copies_those_that_are_too_old_are_left_out() -> None:
    """Who keeps them may not know the date; the others are as good as before."""
    storing = dated()
    old, new = signed_at(TODAY_MS - TEN_YEARS_MS), signed_at(TODAY_MS, ALICE_ELSEWHERE)
    values = tuple(value for each in (old, new) for value in each.kind_data[0].values)  # type: ignore[union-attr]
    copies = StoreReq(old.resource, 1, (StoreKindData(SIP_REGISTRATION, 1, values),))
    storing.send(copies, requester=BOB)
    assert [found.line for found in look_up(storing).entries] == [ALICE_ELSEWHERE.node_id]
    answer = FetchAns((FetchKindResponse(SIP_REGISTRATION, 1, values),))
    bucket = (*ALICE.certificates, *ALICE_ELSEWHERE.certificates)
    adopted = dated().storage.adopt(old.resource, answer, bucket, 0.0)
    assert [place.key for place in adopted.places] == [ALICE_ELSEWHERE.node_id]


def test_a_reader_remembers_what_it_has_seen() -> None:
    """13.5.3: "a data value with a storage time older than the result of the previous fetch"; a removal is one."""
    seen, served = Seen(), dated()

    def read(request: StoreReq) -> int:
        answer = FetchAns((FetchKindResponse(SIP_REGISTRATION, 1, request.kind_data[0].values),))  # type: ignore[union-attr]
        found = read_registrations(ALICE.user, answer, ALICE.certificates, Believer(served.rules, WALL, seen), 0.0)
        return len(found.entries)

    first = store_request(ALICE, route_to(PEER_1), TODAY_MS - 3000, hash_name)
    again = store_request(ALICE, route_to(PEER_1), TODAY_MS - 2000, hash_name)
    elsewhere = store_request(ALICE, route_to(PEER_2), TODAY_MS - 1000, hash_name)
    removed = store_request(ALICE, None, TODAY_MS, hash_name)
    assert (read(first), read(again)) == (1, 1)
    assert read(first) == 1, "a replica that has missed a refreshment says the same"
    assert (read(elsewhere), read(again)) == (1, 0)
    assert (read(removed), read(elsewhere), read(first)) == (0, 0, 0)


# --- Entries.


def test_3_2_a_line_stores_a_route_to_its_peer_under_its_own_node_id() -> None:
    b = bench()
    register(b, ALICE, route_to(PEER_1, b"(sip.schemes=SIPS)"), 1000)
    (record,) = b.store.records(hash_name(ALICE.user.encode()), SIP_REGISTRATION)
    assert record.place.key == ALICE.node_id
    (entry,) = look_up(b).entries
    assert (entry.line, entry.storage_time_ms, entry.lifetime_s) == (ALICE.node_id, 1000, LIFETIME_S)
    assert entry.target == RegistrationRoute((Destination.node(PEER_1),), b"(sip.schemes=SIPS)")
    assert isinstance(entry.target, RegistrationRoute)
    assert entry.target.peer == PEER_1


def test_entries_come_newest_first() -> None:
    b = bench()
    register(b, ALICE, route_to(PEER_1), 2000)
    register(b, ALICE_ELSEWHERE, route_to(PEER_2), 3000)
    assert [found.line for found in look_up(b).entries] == [ALICE_ELSEWHERE.node_id, ALICE.node_id]
    register(b, ALICE, route_to(PEER_1), 4000)
    assert [found.line for found in look_up(b).entries] == [ALICE.node_id, ALICE_ELSEWHERE.node_id]


def test_nobody_is_registered() -> None:
    assert look_up(bench()) == Registrations((), ())


def test_a_registration_lives_half_an_hour_at_the_most() -> None:
    b = bench()
    request = register(b, ALICE, route_to(PEER_1), 1000, lifetime_s=7200)
    assert request.kind_data[0].values[0].lifetime == 1800  # type: ignore[union-attr]
    b.advance(1799.0)
    assert [found.lifetime_s for found in look_up(b).entries] == [1]
    b.advance(1800.0)
    assert look_up(b).entries == ()


def test_a_removal_outlives_what_it_removes() -> None:
    b = bench()
    old = register(b, ALICE, route_to(PEER_1), 1000)
    register(b, ALICE, None, 2000)
    assert look_up(b) == Registrations((), ())
    with pytest.raises(DataTooOld):
        b.send(old)
    register(b, ALICE, route_to(PEER_1), 3000)
    assert len(look_up(b).entries) == 1


def test_3_1_an_aor_may_lead_to_another() -> None:
    b = bench()
    register(b, ALICE, SipRegistration.uri("sip:Sam@DHT.example.org"), 1000)
    assert [found.target for found in look_up(b).entries] == [RegistrationForward("Sam@dht.example.org")]


def test_4_2_duplicate_destination_lists_are_removed() -> None:
    """Of two lines that lead to the same peer, as after a change of key, the newer counts."""
    b = bench()
    register(b, ALICE, route_to(PEER_1), 1000)
    register(b, ALICE_ELSEWHERE, route_to(PEER_1, b"(sip.audio=TRUE)"), 2000)
    assert [found.line for found in look_up(b).entries] == [ALICE_ELSEWHERE.node_id]


@pytest.mark.parametrize(
    ("registration", "reason"),
    [
        (SipRegistration(SipRegistrationType(7), b"future"), "type 7, which is not known"),
        (SipRegistration.route((Destination.node(PEER_1), CompressedDestination(0x8001))), "does not end with a node"),
        (SipRegistration.route((Destination.opaque(b"x"),)), "does not end with a node"),
        (SipRegistration.route((Destination.node(NodeId.wildcard()),)), "does not end with a node"),
        (SipRegistration.uri("no aor"), "is not user@domain"),
    ],
)
def test_entries_that_lead_nowhere_are_dropped(registration: SipRegistration, reason: str) -> None:
    b = bench()
    register(b, ALICE_ELSEWHERE, route_to(PEER_1), 1000)
    register(b, ALICE, registration, 2000)
    found = look_up(b)
    assert [found.line for found in found.entries] == [ALICE_ELSEWHERE.node_id]
    assert len(found.dropped) == 1
    assert reason in found.dropped[0]


def test_a_value_that_is_no_registration_is_dropped() -> None:
    b = bench()
    b.put(SIP_REGISTRATION_KIND, entry(ALICE.node_id, b"\x02\x00"), resource=hash_name(ALICE.user.encode()))
    found = look_up(b)
    assert found.entries == ()
    assert "SipRegistration" in found.dropped[0]


def test_a_lying_storing_peer_is_not_believed() -> None:
    """Entries of others, under a foreign key, changed, or without certificate: all dropped, the rest stays."""
    b = bench()
    good = register(b, ALICE, route_to(PEER_1), 1000).kind_data[0].values[0]  # type: ignore[union-attr]
    of_bob = store_request(BOB, route_to(PEER_2), 5000, hash_name).kind_data[0].values[0]  # type: ignore[union-attr]
    elsewhere = store_request(ALICE_ELSEWHERE, route_to(PEER_2), 5000, hash_name)
    no_certificate = elsewhere.kind_data[0].values[0]  # type: ignore[union-attr]
    other_key = replace(good, value=replace(good.value, key=ALICE_ELSEWHERE.node_id))
    newer = replace(good, storage_time=9000)
    response = FetchKindResponse(SIP_REGISTRATION, 1, (of_bob, no_certificate, other_key, newer, good))
    certificates = (*ALICE.certificates, *BOB.certificates)
    found = read_registrations(ALICE.user, FetchAns((response,)), certificates, Believer(b.rules, WALL), 0.0)
    assert [(entry.line, entry.storage_time_ms) for entry in found.entries] == [(ALICE.node_id, 1000)]
    assert len(found.dropped) == 4


@pytest.mark.parametrize("algorithm", [SignatureAlgorithm.ECDSA, SignatureAlgorithm.RSA])
def test_with_real_keys_and_certificates(algorithm: SignatureAlgorithm) -> None:
    """A line registers, a replica takes the record over, and a third node reads it there and believes it."""
    club = Club.of(algorithm)
    wall = WallClock(DATE)
    rules = Rules(club.configuration.kinds, club.verifier, hash_name)
    responsible, replica = (Storage(MemoryStore(), rules, wall, 0.0) for _ in range(2))
    line = club.member(f"alice@{OVERLAY}", [node_id(7)], number=1)
    peer = club.member(f"peer-one@{OVERLAY}", [node_id(8), node_id(9)], number=2, signs_as=node_id(9))
    request = store_request(line, route_to(peer.node_id), 1000, hash_name)
    requester = rules.verifier.verify(b"message", line.sign(b"message"), line.certificates, DATE, True)
    responsible.store(request, requester, line.certificates, (), 0.0)
    (transfer,) = responsible.transfers(request.resource, 1, 5.0, size_max=5000)
    sender = rules.verifier.verify(b"message", peer.sign(b"message"), peer.certificates, DATE, True)
    bucket = (*transfer.certificates, *peer.certificates)
    replica.store(StoreReq.decode(transfer.request.encode()), sender, bucket, (), 5.0)
    fetched = replica.fetch(fetch_request(line.user, hash_name), 10.0)
    reader = Rules(club.configuration.kinds, club.verifier, hash_name)
    answer = FetchAns.decode(fetched.answer.encode())
    found = read_registrations(line.user, answer, fetched.certificates, Believer(reader, wall), 10.0)
    assert found.dropped == ()
    assert [(entry.line, entry.lifetime_s, entry.target) for entry in found.entries] == [
        (line.node_id, 1790, RegistrationRoute((Destination.node(node_id(9)),)))
    ]


def test_a_requester_is_the_line_itself() -> None:
    b = bench()
    request = store_request(ALICE, route_to(PEER_1), 1000, hash_name)
    with pytest.raises(Forbidden):
        b.storage.store(request, signer(ALICE_ELSEWHERE), ALICE.certificates, (), 0.0)
