"""Damaged and forged ICE: whole agents, whole Paths, and the port that all share.

Whatever comes, nothing is raised; what can work still does as soon as the damage ends; who is not the other end gains
nothing and is sent little; and in the end nothing is left of it.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from effort import times
from ice_pair import FIRST, SECOND, IcePair
from mutations import mutant

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import RemoteProtocolError
from p2psip.reload.paths.demux import Associations, DatagramKind, Pair, hello_random, kind_of
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, Mapped, encoded, gathered
from p2psip.reload.paths.ice.checks import CheckRequest, read
from p2psip.reload.paths.limits import (
    DIALLED_CANDIDATES_MAX,
    ICE_AGENTS_MAX,
    ICE_PAIRS_IN_ALL_MAX,
    ICE_UNANSWERED_MAX,
)
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.simultaneous import open_candidates
from p2psip.reload.paths.values import Ended, HangUp, Open, Parameters, Purpose, SendStun, Session, StunArrived
from p2psip.reload.wire.link_messages import NO_ICE, AttachReqAns, IceCandidate, OverlayLinkType
from p2psip.stun.message import BINDING, MessageClass, StunMessage

HERE = Address("192.0.2.1", 5000)
VICTIM = "203.0.113.66"
STRANGERS = [Address(VICTIM, port) for port in range(1, 30)]
OWN_STREAMS = Mapped(Address("192.0.2.1", 50001), Address("192.0.2.1", 50001), HERE)
STREAMS = [Mapped(Address(VICTIM, 443), Address("10.0.0.9", 50001), HERE)]
FORGETS_S = 120.0


def damaged(specimens: Sequence[bytes], rng: random.Random) -> bytes:
    """One of these with damage; often, as who means it would, with a fingerprint that is right all the same."""
    data = mutant([each[:-8] for each in specimens], rng)
    if rng.random() < 0.3 or len(data) < 20:
        return data
    data = data[:2] + (len(data) - 12).to_bytes(2, "big") + data[4:]
    return data + bytes.fromhex("80280004") + (zlib.crc32(data) ^ 0x5354554E).to_bytes(4, "big")


# Agents


@pytest.mark.parametrize("seed", range(times(12)))
def test_agents_outlive_damage_and_strangers(seed: int) -> None:
    """Damaged checks from anywhere, and true ones again from where nobody is: the two have their path, and a stranger
    whose address is forged has at most as much as came in his name, and a bounded number of checks.
    """
    rng = random.Random(f"agents {seed}")
    pair = IcePair(seed=seed)
    recent: deque[bytes] = deque(maxlen=20)
    heard = 0
    pair.begin_both()
    forged_bytes = 0
    showed: set[Address] = set()
    for _ in range(60):
        pair.run(rng.uniform(0.0, 0.1))
        recent.extend(data for _, _, _, data in pair.sent[heard:])
        heard = len(pair.sent)
        for _ in range(6):
            side = rng.choice((FIRST, SECOND))
            local, other = (pair.candidates[each][0].base for each in (side, 1 - side))
            remote = rng.choice([other, *STRANGERS])
            data = damaged(list(recent), rng)
            if rng.random() < 0.2:
                # Not a true answer: 7.2.5.2.1 has a pair that is answered from elsewhere fail.
                data = rng.choice([each for each in recent if isinstance(read(each), CheckRequest)] or [b""])
            forged_bytes += len(data) if remote.host == VICTIM else 0
            showed |= {remote} if data in recent else set()
            pair.arrive(side, local, remote, data)
    pair.run(15.0)
    # A true check that comes again from elsewhere has the path looked at, which holds: it is neither lost nor moved.
    ends = [[each for each in pair.ends(side) if each != "PathHolds"] for side in (FIRST, SECOND)]
    assert ends == [["PathChosen"], ["PathChosen"]], pair.said
    to_victim = [data for _, _, remote, data in pair.sent if remote.host == VICTIM]
    checks = [data for data in to_victim if isinstance(read(data), CheckRequest)]
    assert len(checks) <= 2 * ICE_UNANSWERED_MAX
    assert {remote for _, _, remote, data in pair.sent if data in checks} <= showed, "nobody else has proved anything"
    # An answer is as long as its question, or has twelve bytes more: 32 for 20.
    assert sum(map(len, to_victim)) - sum(map(len, checks)) <= 1.6 * forged_bytes


def test_a_flood_of_binding_requests_leaves_nothing_and_gains_nothing() -> None:
    """From as many addresses as there are: each has one answer, hardly longer than its question, and nobody is kept."""
    pair = IcePair()
    pair.begin_both()
    pair.run(2.0)
    deadline, pairs = pair.agents[FIRST].next_deadline(), pair.agents[FIRST].reports(pair.words[FIRST].ufrag)
    before = len(pair.sent)
    question = StunMessage(MessageClass.REQUEST, BINDING, bytes(12)).encode()
    for number in range(3000):
        pair.arrive(FIRST, HERE, Address(f"203.0.{number % 250}.9", 1 + number), question)
    answers = [data for _, _, _, data in pair.sent[before:]]
    assert len(answers) == 3000
    assert max(map(len, answers)) <= len(question) + 12
    assert pair.agents[FIRST].next_deadline() == deadline
    assert pair.agents[FIRST].reports(pair.words[FIRST].ufrag) == pairs


# Paths


def _attaches() -> list[bytes]:
    """What another end may say of itself: with ICE, and without."""
    hosts = gathered([Address(VICTIM, 6084), Address("10.0.0.9", 6084), Address("2001:db8::9", 6084)])
    reflexive = [Mapped(Address("198.51.100.7", 9), Address("10.0.0.9", 6084), HERE)]
    relayed = [Mapped(Address("198.51.100.8", 9), Address("10.0.0.9", 6084), HERE)]
    several = gathered([Address("10.0.0.9", 6084)], reflexive, relayed)
    bodies = [
        AttachReqAns(b"abcd", b"p" * 22, b"passive", encoded(hosts), False),
        AttachReqAns(b"efgh", b"p" * 22, b"active", encoded(several), True),
        AttachReqAns(b"", b"", b"passive", tuple(_without_ice(hosts)), False),
        AttachReqAns(b"ijkl", b"p" * 22, b"passive", (*encoded(hosts), *open_candidates.encoded(STREAMS)), False),
    ]
    return [body.encode() for body in bodies]


def _without_ice(candidates: Iterable[CandidateAddress]) -> Iterator[IceCandidate]:
    for each in encoded(candidates):
        yield replace(each, overlay_link=OverlayLinkType.DTLS_UDP_SR_NO_ICE)


class _Node:
    """Paths with a driver to which nobody ever answers."""

    def __init__(self, seed: int) -> None:
        self.paths = Paths(random.Random(seed), permitted=(OverlayLinkType.DTLS_UDP_SR, OverlayLinkType.TLS_TCP_FH))
        self.paths.whereabouts.able = NO_ICE
        self.paths.whereabouts.addresses[Purpose.RELOAD] = (HERE,)
        self.paths.punching.outside.mapped = lambda _: [OWN_STREAMS]  # type: ignore[method-assign]
        self.now = 0.0
        self.open: set[int] = set()
        self.sent: list[tuple[float, SendStun]] = []
        self.opened: list[tuple[float, str]] = []
        """Streams that both ends are to open: to which host."""
        self.ended = 0

    def attached(self, theirs: Parameters, user: str) -> None:
        """Somebody asks for a connection, and has our answer."""
        ours = self.paths.whereabouts.answering(Purpose.RELOAD, theirs)
        candidates = self.paths.whereabouts.dialable(Purpose.RELOAD, theirs)
        session = Session(Purpose.RELOAD, candidates, ours, theirs, user)
        self.paths.connect(session, object(), self.now)
        self.settle()

    def came(self, remote: Address, data: bytes) -> None:
        """STUN, as far as its first byte says so."""
        if kind_of(data) is DatagramKind.STUN:
            self.paths.handle(StunArrived(HERE, remote, data), self.now)
            self.settle()

    def pass_time(self, until: float) -> None:
        """All timers up to then, some of them late."""
        while (deadline := self.paths.next_deadline()) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.ended += sum(isinstance(each, Ended) for each in self.paths.handle_timeout(self.now))
            self.settle()
        self.now = until

    def settle(self) -> None:
        """Do what is wanted."""
        for effect in self.paths.drain():
            self._do(effect)
        assert len(self.open) <= DIALLED_CANDIDATES_MAX

    def _do(self, effect: Effect) -> None:
        match effect:
            case SendStun():
                self.sent.append((self.now, effect))
            case Open(path, candidate):
                self.open.add(path)
                if candidate.is_stream and candidate.local is not None:
                    self.opened.append((self.now, candidate.address.host))
            case HangUp(path):
                self.open.discard(path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(times(6)))
def test_paths_outlive_damaged_attaches(seed: int) -> None:
    """Attaches of members that say anything of themselves, and STUN that is anything: to no host goes more than so many
    checks in a minute, streams that both ends are to open among them; what is open and under way is bounded, and when
    nobody comes any more nothing is left.
    """
    rng = random.Random(f"paths {seed}")
    node = _Node(seed)
    specimens = _attaches()
    for number in range(150):
        try:
            theirs = Parameters.of(AttachReqAns.decode(mutant(specimens, rng)))
        except RemoteProtocolError:
            theirs = Parameters.of(AttachReqAns.decode(rng.choice(specimens)))
        node.attached(theirs, f"user-{number % 9}")
        for _ in range(4):
            sent = [each.data for _, each in node.sent[-10:]] or [bytes(20)]
            node.came(rng.choice(STRANGERS), damaged(sent, rng))
        node.pass_time(node.now + rng.choice((0.0, 0.05, 0.4, 2.0)))
        assert len(node.paths) <= ICE_AGENTS_MAX + DIALLED_CANDIDATES_MAX
    node.pass_time(node.now + FORGETS_S)
    assert len(node.paths) == 0
    assert node.paths.next_deadline() is None
    assert node.ended > 0
    checks = [(at, each.remote.host) for at, each in node.sent if isinstance(read(each.data), CheckRequest)]
    assert node.opened
    by_minute = Counter((host, at // 60) for at, host in (*checks, *node.opened))
    assert max(by_minute.values()) <= 2 * ICE_UNANSWERED_MAX, "a minute of ours may be parts of two of its own"
    assert len(checks) < ICE_PAIRS_IN_ALL_MAX


# The port


@pytest.mark.parametrize("seed", range(times(20)))
def test_the_port_outlives_whatever_comes_to_it(seed: int) -> None:
    """Datagrams of DTLS, damaged, between any two addresses, while associations come and go as a driver has them: only
    such get one as are there, and only a ClientHello begins one.
    """
    rng = random.Random(f"port {seed}")
    table: Associations[int] = Associations()
    pairs = [Pair(HERE, Address("192.0.2.2", port)) for port in range(1, 5)]
    alive: dict[int, Pair] = {}
    hellos = [_hello(rng.randbytes(32)) for _ in range(4)]
    specimens = [*hellos, bytes([23, 254, 253, 0, 1]) + bytes(40), bytes([22, 254, 253, 0, 0]) + bytes(60)]
    for number in range(1, 400):
        pair, data = rng.choice(pairs), mutant(specimens, rng) if rng.random() < 0.7 else rng.choice(specimens)
        if kind_of(data) is not DatagramKind.DTLS:
            continue
        route = table.route(pair, data)
        assert set(route.takers) <= {each for each, at in alive.items() if at == pair}
        assert not route.begins or hello_random(data) is not None
        if route.begins:
            alive[number] = pair
            alive.pop(table.begin(pair, number, hello_random(data) or b"", is_client=rng.random() < 0.3) or -1, None)
        elif route.takers and rng.random() < 0.3:
            alive.pop(table.up(pair, route.takers[-1]) or -1, None)
        elif alive and rng.random() < 0.2:
            over = rng.choice(list(alive))
            table.forget(alive.pop(over), over)
        assert len(table) <= len(alive) <= 2 * len(pairs)
    for over, pair in alive.items():
        table.forget(pair, over)
    assert len(table) == 0


def _hello(value: bytes) -> bytes:
    body = b"\xfe\xfd" + value + bytes(22)
    message = b"\1" + len(body).to_bytes(3, "big") + bytes(5) + len(body).to_bytes(3, "big") + body
    return bytes([22, 254, 253, 0, 0]) + bytes(6) + len(message).to_bytes(2, "big") + message
