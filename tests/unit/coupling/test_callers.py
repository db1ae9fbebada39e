"""Who calls, from peer to peer, in virtual time: what is proved, and what a peer cannot pretend (RFC 8224)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest

from p2psip.base.wallclock import WallClock
from p2psip.coupling.callers import FETCHES_OF_A_PEER, _Known
from p2psip.reload.config.configuration import CERTIFICATE_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.security.errors import CertificateProblem, UntrustedCertificate
from p2psip.reload.security.roles import Member
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sim.simulated_overlay import EPOCH_S
from p2psip.sim.sites.making import OVERLAY, line_of
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.callers.identity_field import party_of
from p2psip.sip.entities.callers.passport import Claims
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.questions import NotAuthentic, SignClaims, Signed, VerifySignature
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

ALICE = NameAddr(SipUri(OVERLAY, "alice"))
HIDDEN = '"Not verified" <sip:not-verified@anonymous.invalid>'

Forge = Callable[[Request], Request]


def invites(phone: SitePhone) -> list[Request]:
    """The calls that a phone was told of."""
    found = [parse(data) for data in phone.received]
    return [one for one in found if isinstance(one, Request) and one.method == "INVITE"]


def shown(phone: SitePhone) -> tuple[str, list[str]]:
    """Whom it shows as the caller of the last call: From without its tag, and P-Asserted-Identity."""
    last = invites(phone)[-1]
    assert "identity" not in last.fields, "it is of no use to a phone"
    return str(NameAddr(last.from_.uri, last.from_.display_name)), last.fields.lines("p-asserted-identity")


def verdicts(site: Site) -> list[str]:
    return [report.caller for report in site.carried()]


def talk(world: SimulatedPeers, caller: SitePhone, target: str, within_s: float = 6.0) -> bool:
    """True if a call is answered; it is hung up again."""
    number = caller.dial(target)
    is_up = world.run(within_s, stop=lambda: caller.talks)
    caller.hang_up(number)
    world.run(1.0)
    return is_up


def pretends(site: Site, forge: Forge) -> None:
    """This peer is a member of the overlay, and says of what its phones send what it likes."""
    edge = site.peer.server._proxy._edge
    honest = edge._cleaned
    edge._cleaned = lambda *args, **named: forge(honest(*args, **named))  # type: ignore[method-assign]


def to_be_alice(request: Request) -> Request:
    fields = request.fields.with_only("From", NameAddr(ALICE.uri, "Alice", request.from_.params))
    return request.replace(fields=fields.with_only("P-Asserted-Identity", ALICE))


@pytest.fixture
def world(request: pytest.FixtureRequest) -> SimulatedPeers:
    return SimulatedPeers(f"callers/{request.node.name}", 3)


@pytest.mark.must("8224 4/1", "8224 6.1/1", "8224 7.3/1", "8225 4.2/1")
@pytest.mark.parametrize("kinds", [(SIP_REGISTRATION_KIND,), (SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS)])
def test_a_call_is_proved_by_the_lines_certificate(kinds: tuple[object, ...]) -> None:
    """Also where the overlay has no Certificate Store usage."""
    world = SimulatedPeers(f"callers/{len(kinds)}", 3, required_kinds=kinds)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    world.run(5.0)
    assert talk(world, alice, "bob")
    assert shown(bob) == ("<sip:alice@192.168.1.1>", ["<sip:alice@192.168.1.1>"])
    assert verdicts(world[1]) == ["alice, proved by certificate"]
    assert verdicts(world[0]) == [""], "of its own phones a peer knows it by their passwords"


def count_fetches(site: Site) -> list[object]:
    """Those that its peer sends from now on."""
    fetched: list[object] = []
    fetch = site.peer.node.fetch
    site.peer.node.fetch = lambda *args: (fetched.append(args), fetch(*args))  # type: ignore[method-assign]
    return fetched


def comes_alone(site: Site) -> None:
    """This peer sends no certificates along, as one that says nothing of that."""
    site.peer.callers.introduced = lambda signed, now: signed  # type: ignore[method-assign]


@pytest.mark.parametrize("kinds", [(SIP_REGISTRATION_KIND,), (SIP_REGISTRATION_KIND, *CERTIFICATE_KINDS)])
def test_the_certificate_comes_along_with_the_first_call(kinds: tuple[object, ...]) -> None:
    """So nobody waits for a Fetch; and it comes once, as it is as long as all the rest."""
    world = SimulatedPeers(f"introduced/{len(kinds)}", 3, required_kinds=kinds)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    world.run(5.0)
    fetched = count_fetches(world[1])
    sent: list[Signed | None] = []
    introduced = world[0].peer.callers.introduced
    world[0].peer.callers.introduced = lambda *args: (sent.append(introduced(*args)), sent[-1])[1]  # type: ignore[func-returns-value,method-assign]
    assert [talk(world, alice, "bob") for _ in range(3)] == [True] * 3
    assert verdicts(world[1]) == ["alice, proved by certificate"] * 3
    assert bob.rang == 3
    assert fetched == []
    assert [bool(one and one.certificate) for one in sent] == [True, False, False]


@pytest.mark.must("8224 7.2/1", "8224 7.3/1")
def test_the_certificate_is_fetched_once(world: SimulatedPeers) -> None:
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    comes_alone(world[0])
    fetched = count_fetches(world[1])
    assert [talk(world, alice, "bob") for _ in range(3)] == [True] * 3
    assert verdicts(world[1]) == ["alice, proved by certificate"] * 3
    assert len(fetched) == 1
    assert bob.rang == 3


@pytest.mark.parametrize("what", ["another line's", "another place", "garbage"])
def test_a_certificate_that_comes_along_proves_nothing_by_itself(world: SimulatedPeers, what: str) -> None:
    """It has to be one that could be where the URI leads, and the signature has to be its own."""
    _, bob, mallory = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    callers, lines = world[2].peer.callers, [world[number].peer.publisher.lines[0].identity for number in (0, 2)]
    alice, own = (identity.certificates[0].certificate for identity in lines)
    pretends(world[2], to_be_alice)
    honest = partial(callers.sign, now=0.0)
    info = callers._info(lines[0])

    def forge(asked: SignClaims) -> Signed | None:
        signed = honest(replace(asked, user="mallory"))
        assert signed is not None
        if what == "another place":
            return replace(signed, asked=asked)
        return replace(signed, asked=asked, info=info)

    forged_by(world[2], forge)
    along = {"another line's": alice, "another place": own, "garbage": b"x"}[what]
    callers.introduced = lambda signed, now: signed and replace(signed, certificate=along)  # type: ignore[method-assign]
    assert talk(world, mallory, "bob")
    assert shown(bob) == (HIDDEN, [])


# The important one: a member that holds none of alice's lines


def forged_by(site: Site, claim: Callable[[SignClaims], Signed | None]) -> None:
    site.peer.callers.sign = lambda asked, now: claim(asked)  # type: ignore[method-assign]


def test_a_peer_that_holds_no_line_of_alice_cannot_call_as_alice(world: SimulatedPeers) -> None:
    """It says From and P-Asserted-Identity of alice, and signs nothing: it has no key for that."""
    _, bob, mallory = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    pretends(world[2], to_be_alice)
    assert talk(world, mallory, "bob")
    assert shown(bob) == (HIDDEN, [])
    assert b"lice" not in invites(bob)[-1].encode()
    assert verdicts(world[1]) == ["not proved: no Identity of alice came with it"]


@pytest.mark.must("8224 6.1/4", "8224 6.2/7", "8224 8.4/1")
def test_nor_by_signing_with_the_key_of_another_line(world: SimulatedPeers) -> None:
    _, bob, mallory = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    pretends(world[2], to_be_alice)
    honest = partial(world[2].peer.callers.sign, now=0.0)
    forged_by(world[2], lambda asked: _as_asked(honest(replace(asked, user="mallory")), asked))
    assert talk(world, mallory, "bob")
    assert shown(bob) == (HIDDEN, [])
    assert verdicts(world[1]) == [
        "not proved: its Identity is signed by mallory, and is to be by sip:alice@sim.example"
    ]


@pytest.mark.must("8224 6.1/1", "8224 6.2/7")
def test_nor_by_naming_alices_certificate(world: SimulatedPeers) -> None:
    _, bob, mallory = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    pretends(world[2], to_be_alice)
    honest, of_alice = world[2].peer.callers, partial(world[0].peer.callers.sign, now=0.0)

    def sign(asked: SignClaims) -> Signed | None:
        true = of_alice(asked)
        assert true is not None
        forged = honest._publisher.get("mallory").identity.sign_jws(true.signing_input)  # type: ignore[union-attr]
        return replace(true, signature=forged)

    forged_by(world[2], sign)
    assert talk(world, mallory, "bob")
    assert shown(bob) == (HIDDEN, [])
    why = f"its Identity is not signed by alice@{OVERLAY}, whose certificate it names"
    assert verdicts(world[1]) == [f"not proved: {why}"]


@pytest.mark.parametrize("host", [OVERLAY, "192.168.1.1", "elsewhere.example"])
def test_nor_by_a_from_beside_its_own_name(world: SimulatedPeers, host: str) -> None:
    """Mallory's own name is proved, and another stands where phones look."""
    _, bob, mallory = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    other = NameAddr(SipUri(host, "alice"), "Alice")
    pretends(
        world[2],
        lambda sent: sent.replace(
            fields=sent.fields.with_only("From", NameAddr(other.uri, "Alice", sent.from_.params))
        ),
    )
    assert talk(world, mallory, "bob")
    from_, asserted = shown(bob)
    assert asserted == ["<sip:mallory@192.168.1.1>"]
    assert from_ == (HIDDEN if host != "elsewhere.example" else f'"Not verified: alice@{host}" <sip:alice@{host}>')


def test_nor_with_what_alice_has_signed_for_another_call(world: SimulatedPeers) -> None:
    """Alice has called mallory, whose peer has her Identity now, and calls bob with it: with any To that it likes."""
    alice, bob, mallory = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    caught: list[Request] = []
    examine = world[2].peer.server._verification.examine
    world[2].peer.server._verification.examine = (  # type: ignore[method-assign]
        lambda arrived, now: (caught.append(arrived.request), examine(arrived, now))[1]
    )
    assert talk(world, alice, "mallory")
    (captured,) = caught

    for to in (captured.fields.first("to"), f"<sip:bob@{OVERLAY}>"):

        def replayed(sent: Request, to: str | None = to) -> Request:
            fields = to_be_alice(sent).fields.with_only("To", to)
            for name in ("Date", "Identity"):
                fields = fields.with_only(name, captured.fields.first(name.lower()))
            return sent.replace(fields=fields)

        pretends(world[2], replayed)
        forged_by(world[2], lambda asked: None)
        assert talk(world, mallory, "bob")
        assert shown(bob) == (HIDDEN, [])
    assert [what.partition(":")[0] for what in verdicts(world[1])] == ["not proved"] * 2
    assert "and it came for" in verdicts(world[1])[0]
    assert "is not signed by alice" in verdicts(world[1])[1]


def test_nor_within_a_call(world: SimulatedPeers) -> None:
    """Mallory calls under his own name, and is alice from the first INFO on."""
    _, bob, mallory = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    mallory.dial("bob")
    assert world.run(5.0, stop=lambda: mallory.talks)
    pretends(world[2], lambda sent: sent.replace(fields=sent.fields.with_last("P-Asserted-Identity", ALICE)))
    mallory.hang_up(1)
    world.run(1.0)
    bye = parse(bob.received[-1])
    assert isinstance(bye, Request)
    assert (bye.method, bye.fields.lines("p-asserted-identity")) == ("BYE", [])


def test_nor_by_answering(world: SimulatedPeers) -> None:
    """Who answers is who was called, or nobody is named."""
    alice, bob, _ = world.with_phones((0, "alice"), (1, "bob"), (2, "mallory"))
    edge = world[2].peer.server._proxy._edge
    honest = edge.upstream

    def upstream(*args: object) -> object:
        response = honest(*args)  # type: ignore[arg-type]
        boss = NameAddr(SipUri(OVERLAY, "bob"))
        return response.replace(fields=response.fields.with_only("P-Asserted-Identity", boss))

    edge.upstream = upstream  # type: ignore[method-assign, assignment]
    assert talk(world, alice, "mallory")
    answers = [one for data in alice.received if getattr(one := parse(data), "status", 0) == 200]
    assert answers
    assert not any("bob" in str(line) for one in answers for line in one.fields.lines("p-asserted-identity"))
    assert bob.rang == 0


# Forwarded calls


def bob_forwards_to_carol(world: SimulatedPeers) -> None:
    """His phone is away: his peer sends calls on."""
    world.line(1, "bob")
    world.settle_records([1])
    world[1].call(lambda now: world[1].peer.handle_calls("bob", CallHandling(no_answer="carol"), now))


def test_a_forwarded_call_is_still_that_of_its_caller(world: SimulatedPeers) -> None:
    """Bob's peer says with bob's key that he sends it on (RFC 8946): To is bob, and it comes for carol."""
    alice, carol = world.with_phones((0, "alice"), (2, "carol"))
    bob_forwards_to_carol(world)
    assert talk(world, alice, "bob", within_s=20.0)
    assert carol.rang == 1
    assert shown(carol) == ("<sip:alice@192.168.2.1>", ["<sip:alice@192.168.2.1>"])
    assert verdicts(world[2]) == ["alice, proved by certificate"]


@pytest.mark.must("8224 4.1/3", "8224 4.1/4", "8224 4.1.1/1")
def test_a_call_that_the_record_forwards_is_signed_for_both(world: SimulatedPeers) -> None:
    alice, _, carol = world.with_phones((0, "alice"), (1, "bob"), (2, "carol"))
    world[1].call(lambda now: world[1].peer.handle_calls("bob", CallHandling(always="carol"), now))
    world.run(2.0)
    assert talk(world, alice, "bob")
    assert shown(carol)[0] == "<sip:alice@192.168.2.1>"
    assert verdicts(world[2]) == ["alice, proved by certificate"]


def test_who_is_not_bob_forwards_none_of_his_calls(world: SimulatedPeers) -> None:
    alice, carol = world.with_phones((0, "alice"), (2, "carol"))
    bob_forwards_to_carol(world)
    forged_by(world[1], lambda asked: None)
    assert talk(world, alice, "bob", within_s=20.0)
    assert shown(carol) == (HIDDEN, [])
    assert "and it came for" in verdicts(world[2])[0]


# What is missing


def test_without_the_date_nothing_is_signed(world: SimulatedPeers) -> None:
    """RFC 8224 6.1: "MUST NOT generate a PASSporT" if the date is not that of now."""
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    unset = WallClock(EPOCH_S, is_trusted=False)
    world[0].call(lambda now: world[0].peer.set_wall_clock(unset, now))
    assert talk(world, alice, "bob")
    assert shown(bob) == (HIDDEN, [])


def test_a_verifier_without_the_date_holds_it_against_nobody(world: SimulatedPeers) -> None:
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    unset = WallClock(0.0, is_trusted=False)
    world[1].call(lambda now: world[1].peer.set_wall_clock(unset, now))
    assert talk(world, alice, "bob")
    assert shown(bob)[1] == ["<sip:alice@192.168.1.1>"]


@pytest.mark.must("8224 6.1/9")
def test_a_line_whose_certificate_does_not_count_signs_nothing(world: SimulatedPeers) -> None:
    """RFC 8224 6.1: "MUST verify that both the Date header field and the current time fall within the validity period
    of its credential". The call goes all the same.
    """
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    verifier = world[0].peer.node.reader.rules.verifier
    check, dates = verifier.check, list[float]()

    def until(chain: Sequence[bytes], date: float, date_trusted: bool) -> Member:
        dates.append(date)
        if b"alice" in chain[0] and date_trusted and date > EPOCH_S + 1000.0:
            raise UntrustedCertificate(CertificateProblem.EXPIRED, "yesterday")
        return check(chain, date, date_trusted)

    claims = Claims(party_of(ALICE.uri), frozenset({party_of(ALICE.uri)}), 1)
    asked, callers = SignClaims("alice", claims, ""), world[0].peer.callers
    verifier.check = until  # type: ignore[method-assign]
    assert callers.sign(asked, 900.0) is not None
    assert callers.sign(asked, 1100.0) is None
    assert dates == [EPOCH_S + 900.0, EPOCH_S + 1100.0]
    world.run(1100.0)
    assert talk(world, alice, "bob")
    assert shown(bob) == (HIDDEN, [])
    assert verdicts(world[1])[-1] == "not proved: no Identity of alice came with it"


@pytest.mark.parametrize("off_s", [-61.0, 61.0])
def test_a_clock_that_is_wrong_by_more_than_a_minute(world: SimulatedPeers, off_s: float) -> None:
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    off = WallClock(EPOCH_S + off_s)
    world[0].call(lambda now: world[0].peer.set_wall_clock(off, now))
    assert talk(world, alice, "bob")
    assert shown(bob) == (HIDDEN, [])
    assert "by the clock here" in verdicts(world[1])[0]


def test_a_certificate_that_is_lost_holds_no_call_up(world: SimulatedPeers) -> None:
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    comes_alone(world[0])
    world[1].peer.node.fetch = lambda *args: None  # type: ignore[method-assign]
    began = world.world.now
    alice.dial("bob")
    assert world.run(10.0, stop=lambda: alice.talks)
    assert 2.0 < world.world.now - began < 4.0, "verify_s, and bob lets it ring for half a second"
    assert shown(bob) == (HIDDEN, [])
    world.run(1.0)
    assert "was not to be had in 2 s" in verdicts(world[1])[0]
    assert not world[1].peer.server._verification


def test_or_that_nobody_keeps(world: SimulatedPeers) -> None:
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    callers = world[0].peer.callers
    honest = callers._info
    other = line_of("nobody", 7, "nobody", "nobody").identity
    callers._info = lambda identity: honest(other)  # type: ignore[method-assign]
    assert talk(world, alice, "bob")
    assert shown(bob) == (HIDDEN, [])
    assert "there is no certificate at" in verdicts(world[1])[0]


def test_a_line_that_is_revoked_proves_nothing(world: SimulatedPeers) -> None:
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    assert talk(world, alice, "bob")
    bad = world[0].peer.publisher.get("alice").identity.node_id  # type: ignore[union-attr]
    changed = replace(world.configuration, bad_nodes=frozenset({bad}))
    world[1].call(lambda now: (world[1].peer.node.use_trust(changed, now), world[1].peer.handle_timeout(now)))
    assert talk(world, alice, "bob")
    assert shown(bob) == (HIDDEN, [])


@pytest.mark.must("8224 8.4/1")
def test_a_member_of_another_domain_is_nobody_of_this_overlay(world: SimulatedPeers) -> None:
    """Its certificate leads to the trust anchor, and says alice; at a domain that is not this one."""
    callers = world[1].peer.callers
    stranger = SimulatedIdentity("alice@elsewhere.example", world[0].peer.node.node_id)
    member = world.verifier.check([stranger.certificate], EPOCH_S, True)
    asked = VerifySignature("", "ES256", b"x", stranger.sign_jws(b"x"), "p0")
    verdict = callers._judge(asked, _Known((member,), 0.0), 0.0)
    assert verdict == NotAuthentic(437, f"alice@elsewhere.example is nobody of {OVERLAY}")


def test_one_peer_makes_us_fetch_so_many_certificates(world: SimulatedPeers) -> None:
    callers, node = world[1].peer.callers, world[1].peer.node
    fetched: list[object] = []
    node.fetch = lambda *args: fetched.append(args)  # type: ignore[method-assign]
    for number in range(FETCHES_OF_A_PEER.burst + 20):
        info = callers._info(line_of(1, number, f"u{number}", "x").identity)
        callers.verify(number, VerifySignature(info, "ES256", b"", b"", "p2"), 0.0)
    assert len(fetched) == FETCHES_OF_A_PEER.burst
    answers = callers.drain()
    assert len(answers) == 20
    assert all(isinstance(one.answer, NotAuthentic) and one.answer.status == 436 for one in answers)
    callers.verify(-1, VerifySignature(callers._info(line_of(1, 999, "x", "x").identity), "ES256", b"", b"", "p0"), 0.0)
    assert len(fetched) == FETCHES_OF_A_PEER.burst + 1, "others may"


def _as_asked(signed: Signed | None, asked: SignClaims) -> Signed | None:
    return None if signed is None else replace(signed, asked=asked)
