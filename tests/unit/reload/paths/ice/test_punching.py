"""p2psip.reload.paths.ice.punching: sessions, their agents, and the links that come of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.ice.punching import ATTEMPT_MAX_S, PathFound, PathMissing, Punching
from p2psip.reload.paths.ice.values import PathChanged, PathChosen, PathDoubted, PathHolds, PathLost
from p2psip.reload.paths.values import (
    ACTIVE,
    PASSIVE,
    Ended,
    LinkDoubted,
    LinkHolds,
    LinkMoved,
    LinkOver,
    MoveLink,
    Purpose,
    SendStun,
    Session,
    StunArrived,
)

HERE, THERE = Address("192.0.2.1", 6084), Address("192.0.2.2", 6084)
LINK, OTHER = 8, 3


@dataclass
class Two:
    """The one that sent an Attach, and the one that answered it; what one sends the other has at once."""

    offering: Punching = field(default_factory=lambda: Punching(random.Random(1)))
    answering: Punching = field(default_factory=lambda: Punching(random.Random(2)))
    now: float = 0.0
    is_cut: bool = False

    def __post_init__(self) -> None:
        offered = self.offering.describe([HERE], PASSIVE)
        answered = self.answering.describe([THERE], ACTIVE)
        self.ours = Session(Purpose.RELOAD, (), offered, answered)
        self.theirs = Session(Purpose.RELOAD, (), answered, offered)

    def begin(self) -> None:
        """Both have each other's words."""
        self.answering.begin(self.theirs, "theirs", self.now)
        self.offering.begin(self.ours, None, self.now)

    def run(self, seconds: float) -> None:
        """Let time go on."""
        end = self.now + seconds
        while True:
            self._carry()
            deadlines = [each.next_deadline() for each in (self.offering, self.answering)]
            when = min((each.at for each in deadlines if each is not None), default=end + 1)
            if when > end:
                break
            self.now = max(self.now, when)
            for each in (self.offering, self.answering):
                each.handle_timeout(self.now)
        self.now = end

    def _carry(self) -> None:
        moving = True
        while moving:
            moving = False
            for source, target in ((self.offering, self.answering), (self.answering, self.offering)):
                for effect in source.drain():
                    if isinstance(effect, SendStun) and effect.remote in (HERE, THERE) and not self.is_cut:
                        assert effect.local is not None
                        target.handle(StunArrived(effect.remote, effect.local, effect.data), self.now)
                        moving = True


@pytest.fixture
def two() -> Two:
    """Both have found the path."""
    made = Two()
    made.begin()
    made.run(1.0)
    assert made.answering.take() == [PathFound(made.theirs, "theirs", THERE, HERE)]
    assert made.offering.take() == [PathFound(made.ours, None, HERE, THERE)]
    return made


def test_what_looks_for_a_path_counts() -> None:
    """And says what it is for, where we dial; who waits is counted elsewhere."""
    two = Two()
    assert (len(two.offering), two.answering.contexts()) == (0, ())
    two.begin()
    assert (len(two.offering), len(two.answering)) == (1, 1)
    assert (two.offering.contexts(), two.answering.contexts()) == ((), ("theirs",))
    assert list(two.answering) == [two.theirs]
    two.run(1.0)
    assert (len(two.offering), len(two.answering)) == (0, 0)


def test_no_path_has_a_reason_with_each_pair() -> None:
    """For the log, and whoever asks why."""
    two = Two(is_cut=True)
    two.begin()
    two.run(20.0)
    missing, ended = two.answering.take()
    assert missing == PathMissing(two.theirs, "theirs")
    assert isinstance(ended, Ended)
    assert (ended.session, ended.context) == (two.theirs, "theirs")
    assert ended.reason == "no pair of addresses works"
    assert [str(pair) for pair in ended.tried] == [
        "192.0.2.2:6084 to 192.0.2.1:6084 (host to host): no answer to 5 checks yet"
    ]
    assert two.answering.over(two.theirs, "theirs", "it did not come") == ended
    assert len(two.answering) == 0
    two.run(ATTEMPT_MAX_S)
    assert two.answering.over(two.theirs, None, "gone") == Ended(two.theirs, None, "gone")
    assert two.answering.next_deadline() is None


def test_a_link_on_the_path_has_the_agent_and_asks_for_consent(two: Two) -> None:
    """Without a link the agent would be gone by now; with it it lasts, and data may be sent."""
    for each, local, remote in ((two.offering, HERE, THERE), (two.answering, THERE, HERE)):
        each.claim(LINK, local, remote, two.now, is_dialled=False)
    two.run(10 * ATTEMPT_MAX_S)
    assert two.offering.has(two.ours)
    assert two.offering.may_send(LINK, two.now)
    two.is_cut = True
    two.run(29.5)
    assert not two.offering.may_send(LINK, two.now)
    two.run(60.0)
    *doubted, over = two.offering.take()
    assert {type(each) for each in doubted} <= {LinkDoubted}
    assert isinstance(over, LinkOver)
    assert over == LinkOver(LINK, "the other end does not answer any more", over.tried)
    assert [str(pair) for pair in over.tried] == ["192.0.2.1:6084 to 192.0.2.2:6084 (host to host): works, 0 ms"]
    assert not two.offering.has(two.ours)


def test_without_a_link_the_agent_is_gone_after_a_while(two: Two) -> None:
    """The handshake failed, or nobody wanted it."""
    two.run(ATTEMPT_MAX_S)
    assert not two.offering.has(two.ours)
    assert (two.offering.next_deadline(), two.answering.next_deadline()) == (None, None)


def test_a_link_that_goes_down_takes_its_agent_with_it(two: Two) -> None:
    """And one that nobody knows does nothing."""
    two.offering.claim(LINK, HERE, THERE, two.now, is_dialled=False)
    two.offering.down(LINK + 2)
    assert two.offering.has(two.ours)
    two.offering.down(LINK)
    assert not two.offering.has(two.ours)
    assert two.offering.may_send(LINK, two.now), "it is none of ours"


def test_a_second_association_between_the_same_addresses_takes_over(two: Two) -> None:
    """As one replaces the other in DTLS: the first goes down after the second is up."""
    two.offering.claim(LINK, HERE, THERE, two.now, is_dialled=False)
    two.offering.claim(LINK + 2, HERE, THERE, two.now, is_dialled=False)
    two.offering.down(LINK)
    assert two.offering.has(two.ours)
    two.offering.down(LINK + 2)
    assert not two.offering.has(two.ours)


def test_a_link_that_is_up_before_its_path_is_known_here() -> None:
    """The answer to our nomination was lost, and the other end has dialled."""
    two = Two()
    two.offering.claim(LINK, HERE, THERE, 0.0, is_dialled=False)
    two.begin()
    two.run(1.0)
    two.offering.down(LINK)
    assert not two.offering.has(two.ours)


def test_a_link_moves_with_its_path(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a relay to a direct pair: the driver is told, and the agent stays with the link."""
    better = Address("192.0.2.99", 6084)
    two.offering.claim(LINK, HERE, THERE, two.now, is_dialled=False)
    changed = PathChanged(two.ours.local.ufrag, HERE, better, False, 0.1)
    said = [[changed]]
    monkeypatch.setattr(two.offering._agents, "drain", lambda: said.pop() if said else [])
    two.offering.handle_timeout(two.now)
    assert LinkMoved(LINK, better) in two.offering.take()
    assert MoveLink(LINK, HERE, better) in two.offering.drain()
    monkeypatch.undo()
    two.offering.down(LINK)
    assert not two.offering.has(two.ours)


@pytest.mark.parametrize(
    ("is_newer", "is_doubted", "stays"),
    [(True, False, OTHER), (True, True, LINK), (False, False, LINK), (False, True, LINK)],
)
def test_between_two_addresses_there_is_one_link(
    two: Two, monkeypatch: pytest.MonkeyPatch, is_newer: bool, is_doubted: bool, stays: int
) -> None:
    """The path of one goes where another link is already: the newer one, if it answers, and else the one whose check
    came through just now.
    """
    better = Address("192.0.2.99", 6084)
    claims = [(LINK, THERE), (OTHER, better)]
    for link, remote in claims if is_newer else reversed(claims):
        two.offering.claim(link, HERE, remote, two.now, is_dialled=False)
    two.offering.take()
    monkeypatch.setattr(two.offering, "is_doubted", lambda link: is_doubted and link == OTHER)
    said = [[PathChanged(two.ours.local.ufrag, HERE, better, False, 0.1)]]
    monkeypatch.setattr(two.offering._agents, "drain", lambda: said.pop() if said else [])
    two.offering.handle_timeout(two.now)
    news, effects = two.offering.take(), two.offering.drain()
    assert [each.link for each in news if isinstance(each, LinkOver)] == [LINK + OTHER - stays]
    assert (MoveLink(LINK, HERE, better) in effects) is (stays == LINK)
    monkeypatch.undo()
    assert two.offering.has(two.ours) is (stays == LINK)


@pytest.mark.parametrize("what", ["doubted", "holds", "lost"])
def test_what_is_told_of_a_session_that_is_over_is_not_heard(
    two: Two, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Of two agents that have something to say at once, the one ends the other's session."""
    ufrag = two.ours.local.ufrag
    two.offering.claim(LINK, HERE, THERE, two.now, is_dialled=False)
    two.offering.down(LINK)
    two.offering.take()
    last = {"doubted": PathDoubted(ufrag, "?"), "holds": PathHolds(ufrag), "lost": PathLost(ufrag, "?", ())}
    said = [[last[what]]]
    monkeypatch.setattr(two.offering._agents, "drain", lambda: said.pop() if said else [])
    two.offering.handle_timeout(two.now)
    assert two.offering.take() == []


def test_the_link_that_stays_keeps_its_agent(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another would have moved to its path, and gave way: a new association there is still that session's."""
    better = Address("192.0.2.99", 6084)
    two.offering.claim(LINK, HERE, THERE, two.now, is_dialled=False)
    other = Session(Purpose.RELOAD, (), two.offering.describe([HERE], PASSIVE), two.ours.remote)
    two.offering.begin(other, None, two.now)
    said: list[list[Effect]] = [[PathChosen(other.local.ufrag, HERE, better, False, 0.1, ())]]
    monkeypatch.setattr(two.offering._agents, "drain", lambda: said.pop() if said else [])
    two.offering.handle_timeout(two.now)
    two.offering.claim(OTHER, HERE, better, two.now, is_dialled=False)
    said.append([PathChanged(two.ours.local.ufrag, HERE, better, False, 0.1)])
    two.offering.handle_timeout(two.now)
    assert not two.offering.is_checked(LINK)
    two.offering.claim(OTHER + 2, HERE, better, two.now, is_dialled=False)
    assert two.offering.is_checked(OTHER + 2)


def test_a_path_that_was_silent_and_answers_is_no_other(two: Two) -> None:
    """What is on the way may be sent again, but nothing that was learnt of the path is stale."""
    two.offering.claim(LINK, HERE, THERE, two.now, is_dialled=False)
    two.offering.take()
    assert two.offering.may_send(LINK, two.now)
    two.run(2.0)
    assert two.offering.take() == [LinkHolds(LINK)]


def test_what_a_path_shows_of_our_address_is_in_the_next_attach(two: Two) -> None:
    """A peer with whom there is a path is a STUN server as well."""
    assert two.offering._agents.mapped() == [Mapped(HERE, HERE, THERE)]
