"""Damaged private messages, well signed and within whole overlay messages: a node answers each once, sends nothing to
where it must not, and holds little; what is sound gets through among them.
"""

from __future__ import annotations

import random

import pytest
from effort import times
from mutations import mutant
from node_bench import ME, Heard, NodeBench, address, nid
from spreading_peers import entry, line

from p2psip.base.address import Address
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import DIRECTORY_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.node.data.lending.borrowing import LEASE_MAX_S
from p2psip.reload.node.effects import AppLinkUp
from p2psip.reload.node.limits import SPREAD_REFUSED_MAX, TUNNELS_PER_NODE_MAX
from p2psip.reload.node.tunnelling.tunnel import TunnelName
from p2psip.reload.node.tunnelling.tunnel_commands import OpenTunnel, TunnelFailed, TunnelledRecord
from p2psip.reload.node.tunnelling.tunnels import PURPOSE
from p2psip.reload.paths.ice.candidate_addresses import is_of_one_host
from p2psip.reload.paths.limits import SURVEY_SPARES_MAX, SURVEY_TOKENS_MAX
from p2psip.reload.paths.nat.survey import probe
from p2psip.reload.paths.values import SendSpare, SendStun, SpareOpened, StunArrived
from p2psip.reload.security.key_agreement import KeyExchange, KeyShare
from p2psip.reload.usages.directory_usage import sign_entry
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.extensions.tunnel_messages import (
    TUNNEL,
    TunnelAcceptance,
    TunnelClosing,
    TunnelMessage,
    TunnelOpening,
    TunnelRecord,
    TunnelStep,
)
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import DIRECTORY_ENTRY
from p2psip.reload.wire.private_messages import REACH, PrivateAns, PrivateReq, ProbeWay, ReachAns, ReachReq
from p2psip.reload.wire.usages.directory_values import DirectoryEntry
from p2psip.reload.wire.usages.home_registration import HOME, HomeReq
from p2psip.reload.wire.usages.lend_messages import LEND, LendAns, LendReq
from p2psip.reload.wire.usages.spread_messages import (
    SPREAD,
    CompareAns,
    CompareReq,
    GiveAns,
    GiveReq,
    RangeDigest,
    RangePart,
    SpreadReq,
    SpreadStep,
    SpreadValue,
    ValueVersion,
    WantedValue,
)
from p2psip.sim.signer import SimulatedIdentity
from p2psip.stun.message import BINDING, MessageClass, StunMessage
from p2psip.turn.peers import Scope, scope_of

ASKER, OTHER = 150, 50
TOKEN = b"token of 12 b"[:12]
SOURCE = Address(address(ASKER).host, 50000)
TARGET = Address("192.0.2.77", 4444)
TO_MAPPED = (ProbeWay.OTHER_MEMBER_TO_MAPPED, ProbeWay.OTHER_PORT_TO_MAPPED)
NAMED = (ProbeWay.ON_BEHALF, *TO_MAPPED)
APPLICATION = 5060
APART_S = 6.0
"""One after the other, so that what is refused is not refused for its number."""


def member(**settings: object) -> NodeBench:
    """A member that is linked with two others."""
    bench = NodeBench(**settings)
    bench.become_ring(ASKER, OTHER)
    bench.effects.clear()
    return bench


def ask(bench: NodeBench, name: bytes, body: bytes, place: int = ASKER) -> list[Heard]:
    """A private request comes; what is answered at once."""
    bench.heard(place)
    transaction = bench.send(place, MessageCode.PRIVATE_REQ, PrivateReq(name, body))
    return [each for each in bench.heard(place) if each.header.transaction_id == transaction]


def reach_requests() -> list[bytes]:
    """One of each way, and one more to another port of the host that asks."""
    asked = [
        ReachReq(way, TOKEN, (nid(7), nid(8)), IpAddressPort.of(*TARGET) if way in NAMED else None) for way in ProbeWay
    ]
    mapped = IpAddressPort.of(SOURCE.host, 7000)
    asked += [ReachReq(way, TOKEN, (), mapped) for way in TO_MAPPED]
    return [each.encode() for each in asked]


@pytest.mark.parametrize("seed", range(times(6)))
def test_requests_for_probes(seed: int) -> None:
    """A probe goes to the machine that has asked, or for another member to where anybody may be: 28 bytes."""
    rng = random.Random(f"reach {seed}")
    bench, specimens = member(), reach_requests()
    question = StunMessage(MessageClass.REQUEST, BINDING, TOKEN, has_fingerprint=True).encode()
    answers = probes = 0
    for number in range(150):
        bench.node.handle_path(StunArrived(address(ME), SOURCE, question), bench.now)
        bench.settle()
        bench.take(SendStun)
        body = rng.choice(specimens) if number % 10 == 0 else mutant(specimens, rng)
        answered = ask(bench, REACH, body, rng.choice((ASKER, ASKER, OTHER)))
        assert len(answered) <= 1
        for request in [
            each for each in bench.heard(OTHER) + bench.heard(ASKER) if each.code is MessageCode.PRIVATE_REQ
        ]:
            # It asks another member, which says yes, or something.
            place = OTHER if bench.remotes[OTHER].place != request.signer else ASKER
            said = mutant([ReachAns(0, (nid(7),)).encode()], rng)
            bench.answer(place, request, MessageCode.PRIVATE_ANS, PrivateAns(said))
        for effect in bench.take(SendSpare):
            assert isinstance(effect, SendSpare)
            assert effect.remote.host == SOURCE.host
            assert effect.data == probe(TOKEN)
            bench.node.handle_path(SpareOpened(effect.spare, Address(address(ME).host, 41000 + number)), bench.now)
            bench.settle()
        for effect in bench.take(SendStun):
            assert isinstance(effect, SendStun)
            probes += 1
            assert len(effect.data) == len(probe(TOKEN))
            assert scope_of(effect.remote.host) is Scope.GLOBAL
            assert is_of_one_host(effect.remote.host)
        answers += len(answered)
        bench.run_for(APART_S)
    surveying = bench.node._surveying
    assert answers > 50
    assert probes > 5
    assert len(surveying._lent) + len(surveying._opening) <= SURVEY_SPARES_MAX
    assert len(surveying._heard) <= SURVEY_TOKENS_MAX


def accepted(bench: NodeBench, number: int, share: KeyShare) -> TunnelAcceptance:
    """A tunnel is opened by who means it."""
    opening = TunnelMessage(TunnelStep.OPEN, number, TunnelOpening(APPLICATION, nid(ME), share.public))
    (answer,) = ask(bench, TUNNEL, opening.encode())
    assert isinstance(answer.body, PrivateAns), answer.body
    return TunnelAcceptance.decode(answer.body.body)


@pytest.mark.parametrize("seed", range(times(4)))
def test_registrations_with_a_home(seed: int) -> None:
    """A member has one line here, its own, whatever it sends; the sound one counts that is the latest."""
    rng = random.Random(f"home {seed}")
    bench = member(calls_by=CallsBy.HOME)
    for number in range(1, 200):
        sound = HomeReq(number, 300, nid(7)).encode()
        body = sound if number % 10 == 0 else mutant([sound, HomeReq(1 << 63, 0, nid(8)).encode()], rng)
        assert len(ask(bench, HOME, body)) == 1
        assert len(bench.node.at_home(f"peer-{ASKER}@sim.example", bench.now)) <= 1
    assert bench.node.at_home("bob@sim.example", bench.now) == ()


@pytest.mark.parametrize("seed", range(times(4)))
def test_offers_of_storage(seed: int) -> None:
    """Each is answered once; a member lends once, and as long as it says at the most."""
    rng = random.Random(f"lend {seed}")
    bench = member()
    specimens = [LendReq(1 << 20, 600).encode(), LendReq((1 << 64) - 1, (1 << 32) - 1).encode()]
    for number in range(200):
        body = specimens[0] if number % 10 == 0 else mutant(specimens, rng)
        (answer,) = ask(bench, LEND, body)
        if isinstance(answer.body, PrivateAns):
            assert LendAns.decode(answer.body.body).lifetime <= LEASE_MAX_S
        assert len(bench.node.lenders(bench.now)) <= 1
        bench.run_for(0.1)
    bench.run_for(LEASE_MAX_S + 1.0)
    assert bench.node.lenders(bench.now) == ()


def comparer() -> NodeBench:
    """A member that keeps a copy of what every peer has, of which it has one value."""
    bench = member(required_kinds=(SIP_REGISTRATION_KIND, *DIRECTORY_KINDS))
    bench.node.spreading.joined(bench.now)
    put(bench, line(1), entry("Alice"))
    return bench


def put(bench: NodeBench, who: SimulatedIdentity, said: DirectoryEntry) -> None:
    """A line of its says who it is."""
    resource, stored = sign_entry(who, said, 1_800_000_000_000, bench.node.hash_name)
    bench.node.spreading.put(resource, DIRECTORY_ENTRY, stored, who.certificates, bench.now)


@pytest.mark.parametrize("seed", range(times(4)))
def test_comparisons_of_copies(seed: int) -> None:
    """Each is answered once, and changes nothing."""
    rng = random.Random(f"compare {seed}")
    bench = comparer()
    (copy,) = bench.node.spreading.copies
    compare = CompareReq((RangeDigest(0, 0, 0), RangeDigest(16, copy.position, 1)))
    give = GiveReq((WantedValue(copy.position, has_certificate=False), WantedValue(7, has_certificate=True)))
    specimens = [SpreadReq(SpreadStep.COMPARE, compare).encode(), SpreadReq(SpreadStep.GIVE, give).encode()]
    answered = 0
    for number in range(200):
        body = rng.choice(specimens) if number % 10 == 0 else mutant(specimens, rng)
        (answer,) = ask(bench, SPREAD, body)
        answered += answer.code is MessageCode.PRIVATE_ANS
    assert answered >= 20
    assert list(bench.node.spreading.copies) == [copy]


@pytest.mark.parametrize("seed", range(times(4)))
def test_answers_to_comparisons(seed: int) -> None:
    """Whatever one says that it has: what is not signed by whose it is is not taken, and questions come to an end."""
    rng = random.Random(f"give {seed}")
    bench = comparer()
    (copy,) = bench.node.spreading.copies
    parts = (
        RangePart(0, 0, tuple(range(16)), ()),
        RangePart(0, 0, (), (ValueVersion(copy.position, 1 << 60, 1), ValueVersion(5, 5, 5))),
    )
    value = SpreadValue(copy.kind, copy.resource, copy.stored.encode())
    specimens = [CompareAns((part,)).encode() for part in parts] + [GiveAns((value,)).encode()]
    asked = 0
    for _ in range(150):
        bench.run_for(20.0)
        for place in (ASKER, OTHER):
            for request in bench.heard(place, MessageCode.PRIVATE_REQ):
                asked += 1
                said = mutant(specimens, rng) if rng.random() < 0.7 else rng.choice(specimens)
                bench.answer(place, request, MessageCode.PRIVATE_ANS, PrivateAns(said))
    assert asked > 10
    assert [each.stored for each in bench.node.spreading.copies] == [copy.stored]
    assert len(bench.node.spreading.refused) <= SPREAD_REFUSED_MAX


@pytest.mark.parametrize("seed", range(times(4)))
def test_requests_of_tunnels(seed: int) -> None:
    """No record comes out that nobody has sealed; tunnels are no more than one member may have, and one that is sound
    can be opened in the end.
    """
    rng = random.Random(f"tunnel {seed}")
    bench = member(sip_tunnel=True)
    bench.node.offer_application(APPLICATION)
    number, sealed = 0, set[bytes]()
    while number < 15:
        number += 1
        share = KeyShare(rng)
        name = TunnelName(number, nid(ASKER))
        acceptance = accepted(bench, number, share)
        overlay = bench.configuration.overlay_hash
        exchanged = KeyExchange(PURPOSE, overlay, number, name.opener, nid(ME), share.public, acceptance.share)
        assert acceptance.transcript == exchanged.transcript
        records = share.agree(exchanged, is_initiator=True)
        specimens = [TunnelMessage(TunnelStep.OPEN, number + 1000, TunnelOpening(APPLICATION, nid(ME), share.public))]
        for sequence, words in enumerate((b"", b"INVITE", b"BYE")):
            sealed.add(words)
            record = TunnelRecord(sequence, records.seal(sequence, words))
            specimens.append(TunnelMessage(TunnelStep.RECORD, number, record))
        specimens.append(TunnelMessage(TunnelStep.CLOSE, number, TunnelClosing(b"done")))
        encoded = [each.encode() for each in specimens]
        sound = list(encoded[1:3])
        for turn in range(10):
            body = sound.pop(0) if sound and turn in (2, 5) else mutant(encoded, rng)
            assert len(ask(bench, TUNNEL, body)) == 1
            assert len(bench.node._tunnels) <= TUNNELS_PER_NODE_MAX
        bench.run_for(60.0)
        ask(bench, TUNNEL, encoded[-1])
    came = [effect.record for effect in bench.take(TunnelledRecord) if isinstance(effect, TunnelledRecord)]
    assert set(came) <= sealed
    assert came, "nothing has come through"


@pytest.mark.parametrize("seed", range(times(4)))
def test_answers_to_openings_of_tunnels(seed: int) -> None:
    """A tunnel is up, or has failed; only the answer that is sound has it come up."""
    rng = random.Random(f"acceptance {seed}")
    bench = member(sip_tunnel=True)
    bench.node.offer_application(APPLICATION)
    for number in range(60):
        bench.heard(ASKER)
        bench.node.tunnel(OpenTunnel([Destination.node(nid(ASKER))], nid(ASKER), APPLICATION), bench.now)
        bench.settle()
        (request,) = bench.heard(ASKER, MessageCode.PRIVATE_REQ)
        assert isinstance(request.body, PrivateReq)
        message = TunnelMessage.decode(request.body.body)
        assert isinstance(message.data, TunnelOpening)
        share, overlay = KeyShare(rng), bench.configuration.overlay_hash
        ends = nid(ME), nid(ASKER)
        exchanged = KeyExchange(PURPOSE, overlay, message.tunnel, *ends, message.data.share, share.public)
        sound = TunnelAcceptance(share.public, exchanged.transcript).encode()
        said = sound if number % 10 == 0 else mutant([sound, ReachAns(0, ()).encode()], rng)
        bench.answer(ASKER, request, MessageCode.PRIVATE_ANS, PrivateAns(said))
        ups, failures = bench.take(AppLinkUp), bench.take(TunnelFailed)
        assert len(ups) + len(failures) == 1
        assert bool(ups) is (said == sound)
        bench.run_for(20.0)
        bench.effects.clear()
