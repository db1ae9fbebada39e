"""What a peer tells its driver, beside what its parts do."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.media.relay.sides import SendFrom
from p2psip.media.session import SendRtp
from p2psip.reload.node.effects import Write
from p2psip.reload.paths.relays.relay_values import RelayedCame
from p2psip.reload.paths.values import SendSpare, SendStun
from p2psip.sip.events.message_summary import MessageCounts
from p2psip.sip.transports.effects import SendUdp
from p2psip.turn.values import TurnRelay

BYTES_THAT_LEAVE = frozenset({RelayedCame, SendFrom, SendRtp, SendSpare, SendStun, SendUdp, TurnRelay, Write})
"""Most of what parts of a peer say: the driver's as it is, so that no other part need be asked what it says to that."""


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
