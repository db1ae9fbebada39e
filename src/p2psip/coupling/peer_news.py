"""What a peer tells its driver, beside what its parts do."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.sip.events.message_summary import MessageCounts


@dataclass(frozen=True, slots=True)
class BindingsToKeep(Effect):
    """The registrations of phones changed: what the driver should remember for the next start."""

    user: str


@dataclass(frozen=True, slots=True)
class Stopped(Effect):
    """What `stop` began is done."""


@dataclass(frozen=True, slots=True)
class MessagesCounted(Effect):
    """So many messages wait for a line now."""

    user: str
    counts: MessageCounts


@dataclass(frozen=True, slots=True)
class MailboxAnswered(Effect):
    """What an operator has asked of a mailbox with `context`: one of the answers of `mailbox_questions`."""

    context: object
    answer: object
