"""What a mailbox answers to keys and silence: the conversations alone, with a desk that the test plays."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from p2psip.media.g711 import PCMU
from p2psip.media.recording.recording import Recording, Replay
from p2psip.media.rtp import RtpPacket
from p2psip.media.sounds import Sound
from p2psip.sip.entities.agents.types import CallId
from p2psip.sip.entities.mailbox.hearing import Hearing
from p2psip.sip.entities.mailbox.leaving import Leaving
from p2psip.sip.entities.mailbox.mailbox_questions import (
    DeleteMessage,
    DropMessage,
    FetchMessage,
    KeepMessage,
    Kept,
    MailboxContents,
    MessageAudio,
    NotKept,
    OpenMailbox,
    WaitingMessage,
)
from p2psip.sip.entities.mailbox.talks import Talk

CALL = 1


@dataclass
class PlayedDesk:
    """What a conversation wants, written down."""

    shown: list[str] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    played: list[Sound] = field(default_factory=list)
    asked: list[object] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    recording: Recording | None = None
    due_at: float | None = None
    has_hung_up: bool = False

    def answer(self, call: CallId, says: str, now: float) -> None:
        self.shown.append(says)

    def refuse(self, call: CallId, status: int, why: str, now: float) -> None:
        self.refused.append((status, why))

    def play(self, call: CallId, sound: Sound, _: float) -> None:
        self.played.append(sound)

    def record(self, call: CallId, recording: Recording | None) -> None:
        self.recording = recording

    def wait(self, call: CallId, at: float, why: str) -> None:
        self.due_at = at

    def ask(self, talk: Talk, question: object, now: float) -> None:
        self.asked.append(question)

    def hang_up(self, call: CallId, now: float) -> None:
        self.has_hung_up = True

    def note(self, event: str, why: str, **facts: object) -> None:
        self.notes.append((event, why))


def due(desk: PlayedDesk, talk: Talk) -> float:
    """Nothing happens until what is waited for has come."""
    assert desk.due_at is not None
    at, desk.due_at = desk.due_at, None
    talk.on_due(at)
    return at


def waiting(*names: str, new: int = 0) -> MailboxContents:
    return MailboxContents(
        tuple(WaitingMessage(name.encode(), name, "", 0, 3.0, number < new) for number, name in enumerate(names))
    )


def listening(contents: MailboxContents) -> tuple[PlayedDesk, Hearing]:
    """Somebody has dialled, and heard how many there are."""
    desk = PlayedDesk()
    talk = Hearing(desk, CALL, "bob")
    talk.begin(0.0)
    assert desk.asked == [OpenMailbox("bob")]
    talk.on_answer(contents, 0.1)
    talk.on_answered(0.2)
    due(desk, talk)
    return desk, talk


def fetched(desk: PlayedDesk) -> list[str]:
    return [question.key.decode() for question in desk.asked if isinstance(question, FetchMessage)]


def hear(desk: PlayedDesk, talk: Talk) -> None:
    """A message is played to its end, and the pause after it begins."""
    talk.on_answer(MessageAudio(b"\1" * 8000), 10.0)
    assert isinstance(desk.played[-1], Replay)
    due(desk, talk)


# Hearing


def test_all_are_played_one_after_the_other_without_a_key() -> None:
    desk, talk = listening(waiting("a", "b", new=1))
    assert desk.shown == ["1 new, 1 old"]
    for _ in range(2):
        hear(desk, talk)
        due(desk, talk)
    assert fetched(desk) == ["a", "b"]
    assert not desk.has_hung_up
    due(desk, talk)
    assert desk.has_hung_up


@pytest.mark.parametrize(
    ("keys", "played"),
    [
        ("6", "ab"), ("1", "aa"), ("5", "aa"), ("66", "abc"), ("64", "aba"), ("4", "aa"), ("3", "a"), ("9", "a"),
    ],
)  # fmt: skip
def test_keys_lead_from_one_to_the_other(keys: str, played: str) -> None:
    desk, talk = listening(waiting("a", "b", "c"))
    for key in keys:
        hear(desk, talk)
        talk.on_digit(key, 20.0)
    assert fetched(desk) == list(played)


def test_behind_the_last_one_it_is_over() -> None:
    desk, talk = listening(waiting("a"))
    hear(desk, talk)
    talk.on_digit("6", 20.0)
    due(desk, talk)
    assert desk.has_hung_up


def test_one_is_deleted_and_the_next_is_played() -> None:
    desk, talk = listening(waiting("a", "b"))
    hear(desk, talk)
    talk.on_digit("7", 20.0)
    talk.on_digit("6", 20.1)
    assert desk.asked[-1] == DeleteMessage("bob", b"a")
    talk.on_answer(Kept(), 20.2)
    due(desk, talk)
    assert fetched(desk) == ["a", "b"]


@pytest.mark.parametrize(("key", "then"), [("1", "b"), ("6", "b"), ("4", "b")])
def test_after_one_was_deleted_keys_are_about_the_next(key: str, then: str) -> None:
    desk, talk = listening(waiting("a", "b"))
    talk.on_answer(MessageAudio(b"\1"), 10.0)
    talk.on_digit("7", 20.0)
    talk.on_answer(Kept(), 20.2)
    talk.on_digit(key, 20.3)
    assert fetched(desk) == ["a", then]


def test_two_deletions_in_a_row_are_of_two_messages() -> None:
    desk, talk = listening(waiting("a", "b", "c"))
    talk.on_answer(MessageAudio(b"\1"), 10.0)
    for _ in range(2):
        talk.on_digit("7", 20.0)
        talk.on_answer(Kept(), 20.2)
    deleted = [question.key for question in desk.asked if isinstance(question, DeleteMessage)]
    assert deleted == [b"a", b"b"]


def test_what_cannot_be_fetched_or_deleted_is_passed_over() -> None:
    desk, talk = listening(waiting("a", "b"))
    talk.on_answer(NotKept("gone"), 10.0)
    due(desk, talk)
    talk.on_answer(None, 20.0)
    talk.on_digit("7", 21.0)
    talk.on_answer(NotKept("not now"), 22.0)
    due(desk, talk)
    due(desk, talk)
    assert fetched(desk) == ["a", "b"]
    assert desk.has_hung_up


def test_who_has_no_messages_hears_that_and_is_not_kept() -> None:
    desk, talk = listening(waiting())
    assert desk.shown == ["0 new, 0 old"]
    due(desk, talk)
    assert desk.has_hung_up
    assert fetched(desk) == []


def test_keys_before_there_is_something_to_press_for_do_nothing() -> None:
    desk = PlayedDesk()
    talk = Hearing(desk, CALL, "bob")
    talk.begin(0.0)
    for key in "1234567890*#":
        talk.on_digit(key, 0.1)
    assert desk.asked == [OpenMailbox("bob")]


def test_an_overlay_that_does_not_answer_is_told_of() -> None:
    for answer, why in ((NotKept("no peer"), "no peer"), (None, "the overlay has not answered in time")):
        desk = PlayedDesk()
        talk = Hearing(desk, CALL, "bob")
        talk.begin(0.0)
        talk.on_answer(answer, 5.0)
        assert desk.refused == [(480, why)]


def test_what_comes_after_the_end_does_nothing() -> None:
    desk, talk = listening(waiting("a"))
    talk.on_ended(5.0)
    before = len(desk.played)
    talk.on_answer(MessageAudio(b"\1"), 6.0)
    assert len(desk.played) == before


# Leaving


def leaving() -> tuple[PlayedDesk, Leaving]:
    desk = PlayedDesk()
    talk = Leaving(desk, CALL, "bob", 7, 120)
    talk.begin(0.0)
    assert desk.shown == ["bob: speak after the tone"]
    talk.on_answered(0.1)
    assert desk.recording is None
    assert due(desk, talk) == pytest.approx(0.1 + 1.3)
    return desk, talk


def say(desk: PlayedDesk, seconds: float) -> None:
    assert desk.recording is not None
    desk.recording.hear(RtpPacket(0, 0, 0, 7, b"\1" * int(8000 * seconds)), PCMU)


def test_what_was_said_until_the_line_broke_is_kept() -> None:
    desk, talk = leaving()
    say(desk, 3.0)
    talk.on_ended(5.0)
    assert desk.asked == [KeepMessage(7, b"\1" * 24_000)]
    talk.on_answer(Kept(), 6.0)
    assert (desk.notes, desk.has_hung_up) == ([], False)


def test_with_the_pound_key_it_is_kept_and_one_hears_that() -> None:
    desk, talk = leaving()
    say(desk, 3.0)
    talk.on_digit("#", 5.0)
    assert desk.recording is None
    talk.on_answer(Kept(), 6.0)
    due(desk, talk)
    assert desk.has_hung_up
    talk.on_ended(7.0)
    assert len(desk.asked) == 1


def test_with_the_star_key_one_begins_anew() -> None:
    desk, talk = leaving()
    say(desk, 3.0)
    talk.on_digit("*", 5.0)
    assert desk.recording is None
    due(desk, talk)
    say(desk, 1.0)
    talk.on_ended(9.0)
    assert desk.asked == [KeepMessage(7, b"\1" * 8_000)]


def test_no_message_is_longer_than_it_may_be() -> None:
    desk, talk = leaving()
    say(desk, 3.0)
    assert due(desk, talk) == pytest.approx(0.1 + 1.3 + 120)
    assert isinstance(desk.asked[-1], KeepMessage)


@pytest.mark.parametrize("seconds", [0.0, 0.9])
def test_who_hangs_up_at_once_has_left_nothing(seconds: float) -> None:
    desk, talk = leaving()
    say(desk, seconds)
    talk.on_ended(3.0)
    assert desk.asked == [DropMessage(7)]


def test_what_could_not_be_kept_is_heard_and_logged() -> None:
    for answer, why in ((NotKept("disk full"), "disk full"), (None, "the overlay has not answered in time")):
        desk, talk = leaving()
        say(desk, 3.0)
        talk.on_digit("#", 5.0)
        talk.on_answer(answer, 6.0)
        assert desk.notes == [("message not kept", why)]
        due(desk, talk)
        assert desk.has_hung_up
