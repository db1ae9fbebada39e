"""One transaction of DUNDi, as each of its ends has it (draft-mspencer-dundi-01 sections 2.1 and 2.2).

Theory of operation. Each end numbers what it sends, from 0, and says in each message which number it awaits next. One
message at a time is on its way: it is sent again each second until the other end's `expected` has passed it, and after
five times nobody is there. What has no answer at once gets an ACK, which has no number of its own. A final message ends
the transaction: for whom it came at once, for whom it is from once it is acknowledged. Each end remembers for a while
what it said last, as the other may not have heard it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from p2psip.dundi.message import CommandCode, DundiMessage, Said

TRANSMISSIONS: Final = 5

AGAIN_S: Final = 1.0
"""How long until a message is sent again."""

LINGER_S: Final = TRANSMISSIONS * AGAIN_S
"""How long the other end may say its last message again."""


class Heard(enum.Enum):
    """What a message that came is to a transaction."""

    NEW = enum.auto()
    """To be acted upon; then `acknowledge`."""

    NOTHING = enum.auto()
    """An acknowledgement, or out of order."""

    OVER = enum.auto()
    """The last acknowledgement that was awaited."""

    REPEATED = enum.auto()
    """Said before: `repeat` is what was said to it."""


@dataclass(slots=True)
class Transaction:
    """`number` is ours for it, `theirs` the other end's, 0 until that is known."""

    number: int
    theirs: int = 0
    expected: int = 0
    sequence: int = 0
    last: DundiMessage | None = None
    """What was said last, an acknowledgement included."""
    is_awaited: bool = False
    """True while `last` is to be acknowledged."""
    transmissions: int = 0
    is_over: bool = False
    """True once either side has said its last word, and that is known to both, as far as it needs to be."""
    is_acknowledged: bool = True
    """False while something that came has got no answer of any kind."""
    has_ended: bool = False
    """True once we have said our last word."""

    def say(self, said: Said, *, is_final: bool) -> DundiMessage:
        """The next message; `is_final` is also true for what says so in what is encrypted of it."""
        frame = DundiMessage(self.number, self.theirs, self.expected, self.sequence, said)
        self.sequence = (self.sequence + 1) & 0xFF
        self.last, self.is_awaited, self.transmissions = frame, True, 1
        self.is_acknowledged = True
        self.has_ended = is_final
        return frame

    def hear(self, frame: DundiMessage) -> Heard:
        """A message of the other end has come."""
        if self.theirs and frame.source not in (0, self.theirs):
            return Heard.NOTHING
        self.theirs = frame.source or self.theirs
        if frame.sequence != self.expected:
            is_before = frame.sequence == (self.expected - 1) & 0xFF
            is_said_again = is_before and frame.said.command != CommandCode.ACK and self.last is not None
            return Heard.REPEATED if is_said_again else Heard.NOTHING
        if self.is_over:
            return Heard.NOTHING
        if self.is_awaited and frame.expected == self.sequence:
            self.is_awaited = False
            if self.has_ended:
                self.end()
                return Heard.OVER
        if frame.said.command == CommandCode.ACK:
            return Heard.NOTHING
        self.expected = (self.expected + 1) & 0xFF
        self.is_acknowledged = False
        return Heard.NEW

    def acknowledge(self, *, is_final: bool) -> DundiMessage | None:
        """What says that a message has come, where nothing else has said it; `is_final` as its sender has meant it."""
        if is_final:
            self.end()
        if self.is_acknowledged:
            return None
        self.is_acknowledged = True
        said = Said(CommandCode.ACK, is_final=is_final)
        frame = DundiMessage(self.number, self.theirs, self.expected, self.sequence, said)
        if not self.is_awaited:
            self.last = frame
        return frame

    def end(self) -> None:
        """Nothing more comes, and nothing more is said."""
        self.is_over, self.is_awaited = True, False

    @property
    def is_first(self) -> bool:
        """True if what has come last is what the other end has begun with."""
        return self.expected == 1

    @property
    def may_say_again(self) -> bool:
        """True as long as the other end may be there."""
        return self.transmissions < TRANSMISSIONS
