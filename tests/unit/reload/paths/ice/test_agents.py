"""p2psip.reload.paths.ice.agents: whose a message is, what is dropped, and how many agents there may be."""

from __future__ import annotations

import itertools
import random

import pytest
from ice_pair import FIRST, IcePair

from p2psip.base.address import Address
from p2psip.reload.paths.ice.agents import Agents
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, encoded, gathered
from p2psip.reload.paths.ice.checks import CheckAnswer, CheckCredentials, CheckRequest, CheckRole, encode_request, read
from p2psip.reload.paths.limits import ICE_AGENTS_MAX, ICE_PAIRS_IN_ALL_MAX, ICE_UNANSWERED_MAX
from p2psip.reload.paths.values import Parameters, SendStun
from p2psip.stun.message import BINDING, MessageClass, StunMessage, decode

ONE, TWO = Address("192.0.2.1", 5000), Address("192.0.2.2", 5000)
VICTIM = "203.0.113.66"
ROLE = CheckRole(is_controlling=False, tie_breaker=1)


@pytest.fixture
def pair() -> IcePair:
    """Two that have begun; nothing arrives by itself."""
    made = IcePair()
    made.passes = lambda _: False
    made.begin_both()
    return made


def arrive(pair: IcePair, data: bytes) -> list[bytes]:
    """What the first sends because of something that comes."""
    before = len(pair.sent)
    pair.arrive(FIRST, ONE, TWO, data)
    return [data for _, _, _, data in pair.sent[before:]]


def test_a_check_with_the_right_words_is_answered(pair: IcePair) -> None:
    """So that the following tests are about what they say."""
    own, theirs = pair.words
    right = CheckCredentials(own.ufrag, own.password)
    (answer,) = arrive(pair, encode_request(bytes(12), theirs.ufrag, right, 1, ROLE))[:1]
    assert isinstance(read(answer), CheckAnswer)


def test_bad_checks_are_dropped(pair: IcePair) -> None:
    """An unknown ufrag of ours, another one of theirs, another password."""
    own, theirs = pair.words
    right = CheckCredentials(own.ufrag, own.password)
    for sender, receiver in [
        (theirs.ufrag, CheckCredentials(b"none", own.password)),
        (b"none", right),
        (theirs.ufrag, CheckCredentials(own.ufrag, b"x" * 22)),
        (theirs.ufrag, CheckCredentials(own.ufrag, b"")),
    ]:
        assert arrive(pair, encode_request(bytes(12), sender, receiver, 1, ROLE)) == []


def test_bad_answers_are_dropped(pair: IcePair) -> None:
    """An unknown transaction; a known one without the other end's integrity: the pair goes on waiting."""
    (request,) = [
        message for sent in pair.sent if sent[1] == ONE and isinstance(message := read(sent[3]), CheckRequest)
    ]
    for transaction in (bytes(12), request.transaction):
        forged = StunMessage(MessageClass.SUCCESS, BINDING, transaction, ((0x0020, bytes.fromhex("0001a147e112a643")),))
        assert arrive(pair, forged.encode()) == []
        error = StunMessage(MessageClass.ERROR, BINDING, transaction, ((0x0009, b"\0\0\4\1"),))
        assert arrive(pair, error.encode()) == []
    assert [report.outcome for report in pair.agents[FIRST].reports(pair.words[FIRST].ufrag)] == [
        "no answer to 1 check yet"
    ]


def test_6_5_1_4_who_asks_for_his_address_is_told(pair: IcePair) -> None:
    """A plain Binding request: each port is a STUN server."""
    (answer,) = arrive(pair, StunMessage(MessageClass.REQUEST, BINDING, bytes(12)).encode())
    assert decode(answer).message_class is MessageClass.SUCCESS


@pytest.mark.must("8445 5.3/2")
def test_words_are_different_for_each_session() -> None:
    """5.3: ufrags of 24 bits or more, passwords of 128."""
    agents = Agents(random.Random(1))
    words = [agents.open(gathered([ONE]), is_controlling=True) for _ in range(ICE_AGENTS_MAX)]
    assert len({each.ufrag for each in words}) == len({each.password for each in words}) == ICE_AGENTS_MAX
    assert {(len(each.ufrag), len(each.password)) for each in words} == {(4, 22)}


def test_who_has_waited_longest_for_an_answer_has_to_go() -> None:
    """Of those that were offered; one that has begun stays, and when all have there is no room."""
    agents = Agents(random.Random(1))
    theirs = Parameters(b"abcd", b"p" * 22, b"", encoded(gathered([TWO])))
    words = [agents.open(gathered([ONE]), is_controlling=True).ufrag for _ in range(ICE_AGENTS_MAX)]
    agents.begin(words[0], theirs, 0.0)
    words.append(agents.open(gathered([ONE]), is_controlling=True).ufrag)
    assert [ufrag in agents for ufrag in words] == [True, False] + [True] * (ICE_AGENTS_MAX - 1)
    for ufrag in words[2:]:
        assert not agents.is_full
        agents.begin(ufrag, theirs, 0.0)
    assert agents.is_full


def test_a_closed_session_answers_nobody(pair: IcePair) -> None:
    """And has no timers; closing it again is no matter."""
    own, theirs = pair.words
    pair.agents[FIRST].close(pair.words[FIRST].ufrag)
    pair.agents[FIRST].close(pair.words[FIRST].ufrag)
    assert (
        arrive(pair, encode_request(bytes(12), theirs.ufrag, CheckCredentials(own.ufrag, own.password), 1, ROLE)) == []
    )
    assert pair.agents[FIRST].next_deadline() is None
    assert pair.words[FIRST].ufrag not in pair.agents[FIRST]
    assert pair.agents[FIRST].reports(pair.words[FIRST].ufrag) == ()


def spray(agents: Agents, sessions: int, candidates: tuple[CandidateAddress, ...], seconds: float) -> list[SendStun]:
    """What leaves a node whom members tell that all these are they."""
    sent: list[SendStun] = []
    for _ in range(sessions):
        ufrag = agents.open(gathered([ONE]), is_controlling=False).ufrag
        agents.begin(ufrag, Parameters(b"abcd", b"p" * 22, b"", encoded(candidates)), 0.0)
    while (deadline := agents.next_deadline()) is not None and deadline.at <= seconds:
        agents.handle_timeout(deadline.at)
        sent += [effect for effect in agents.drain() if isinstance(effect, SendStun)]
    return sent


def test_a_stranger_is_not_sprayed() -> None:
    """A hundred sessions name forty ports of one who has nothing to do with it: so many checks in a minute, no more."""
    victim = gathered([Address(VICTIM, port) for port in range(1, 41)])
    sent = spray(Agents(random.Random(1)), 100, victim, 60.0)
    assert 0 < len(sent) <= ICE_UNANSWERED_MAX


@pytest.mark.long
@pytest.mark.must("8445 6.1.2.5/1")
def test_pairs_of_all_sessions_together_are_bounded() -> None:
    """Each has one all the same."""
    agents = Agents(random.Random(1))
    many = gathered([Address(f"10.0.0.{number}", 1) for number in range(1, 41)])
    ours = gathered([ONE, Address("192.0.2.9", 1)])
    words = [agents.open(ours, is_controlling=False).ufrag for _ in range(ICE_AGENTS_MAX)]
    for ufrag in words:
        agents.begin(ufrag, Parameters(b"abcd", b"p" * 22, b"", encoded(many)), 0.0)
    counts = [len(agents.reports(ufrag)) for ufrag in words]
    assert max(counts) == 80
    assert min(counts) == 1
    assert sum(counts) < ICE_PAIRS_IN_ALL_MAX + ICE_AGENTS_MAX


@pytest.mark.must("8445 14.2/3")
def test_14_2_checks_of_all_sessions_are_five_milliseconds_apart() -> None:
    """However many begin at once; each by itself 50 ms."""
    agents = Agents(random.Random(1))
    times: list[float] = []
    for number in range(20):
        ufrag = agents.open(gathered([ONE]), is_controlling=False).ufrag
        theirs = gathered([Address(f"10.0.{number}.{host}", 1) for host in range(1, 6)])
        agents.begin(ufrag, Parameters(b"abcd", b"p" * 22, b"", encoded(theirs)), 0.0)
    while (deadline := agents.next_deadline()) is not None and deadline.at < 0.45:
        agents.handle_timeout(deadline.at)
        times += [deadline.at for effect in agents.drain() if isinstance(effect, SendStun)]
    assert len(times) > 80
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.0049


def test_the_other_end_may_send_anything(pair: IcePair) -> None:
    """Whatever comes: no exception, and no more than an answer and a check for each."""
    rng = random.Random(7)
    seeds = [data for _, _, _, data in pair.sent]
    for _ in range(3000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(0, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        assert len(arrive(pair, bytes(data[: rng.choice((len(data), rng.randrange(len(data) + 1)))]))) <= 2
    pair.run(1.0)
