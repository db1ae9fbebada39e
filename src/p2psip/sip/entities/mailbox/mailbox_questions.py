"""What a server asks the outside about mailboxes, and the answers it takes (the questions of its `Ask` effects)."""

from __future__ import annotations

from dataclasses import dataclass, field

from p2psip.base.effects import Effect
from p2psip.sip.entities.questions import NotLocated

UNPROVED = "?"
"""Before the name of who has called, where nobody but a peer says so."""


@dataclass(frozen=True, slots=True)
class FindMailbox:
    """Where does somebody speak who has not reached `owner`? Answered by Located, which leads to the agent of this
    peer, or by NotLocated: what `otherwise` says, and why nobody can speak.

    `caller` is the line that has proved to call, "" if none has; `shown` is whom to call back, `name` his name. With
    `is_text` it is a text that he has sent. `has_rung` says that a phone has, which shows by itself who has called.
    """

    owner: str
    caller: str
    shown: str
    name: str
    otherwise: NotLocated
    is_text: bool = False
    has_rung: bool = False


@dataclass(frozen=True, slots=True)
class KeepMessage:
    """Keep what has been said, in mu-law, or written; where it goes, `ticket` says. Answered by Kept or NotKept."""

    ticket: int
    content: bytes = field(repr=False)
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class DropMessage:
    """Nothing has been said. Answered by Kept or NotKept."""

    ticket: int


@dataclass(frozen=True, slots=True)
class OpenMailbox:
    """What waits for this line? Answered by MailboxContents or NotKept. It takes messages from now on."""

    line: str


@dataclass(frozen=True, slots=True)
class FetchMessage:
    """What does this message say? Answered by MessageAudio or NotKept. It counts as heard then."""

    line: str
    key: bytes


@dataclass(frozen=True, slots=True)
class DeleteMessage:
    """Remove a message, wherever it is. Answered by Kept, once nobody can hear it any more, or NotKept."""

    line: str
    key: bytes


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """One of those that wait: who has left it, when (ms since 1970), how long it is."""

    key: bytes
    caller: str
    name: str
    left_ms: int
    duration_s: float
    is_new: bool


@dataclass(frozen=True, slots=True)
class MailboxContents:
    """All that can be heard: the new ones first, of each kind the oldest first."""

    messages: tuple[WaitingMessage, ...]

    @property
    def new(self) -> int:
        """How many have not been heard."""
        return sum(message.is_new for message in self.messages)


@dataclass(frozen=True, slots=True)
class MessageAudio:
    """What it says, in mu-law."""

    audio: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """It is done."""


@dataclass(frozen=True, slots=True)
class NotKept:
    """It could not be done, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class TextWaiting(Effect):
    """A text has waited for a line of which there is a phone now: deliver it. TextDelivered tells what came of it."""

    line: str
    key: bytes
    caller: str
    name: str
    left_ms: int
    content_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TextDelivered:
    """A text that has waited has been taken, or refused for good, if it `is_over`. Answered by Kept."""

    line: str
    key: bytes
    is_over: bool


MAILBOX_QUESTIONS = (
    FindMailbox,
    KeepMessage,
    DropMessage,
    OpenMailbox,
    FetchMessage,
    DeleteMessage,
    TextDelivered,
)
