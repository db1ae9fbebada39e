"""Which calls a line has, as the peer beside its phones sees them pass (RFC 4235 section 3.7)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

from p2psip.sip.message.headers import NameAddr


class CallState(enum.IntEnum):
    """The states of section 3.7.1, in the order in which a call goes through them."""

    TRYING = 1
    PROCEEDING = 2
    EARLY = 3
    CONFIRMED = 4
    TERMINATED = 5

    @property
    def word(self) -> str:
        """As a document has it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class LineCall:
    """One call of a line: with whom, and in what state.

    `id` is that of no other call of this run. `is_caller` is true if the line has called.
    """

    id: str
    call_id: str
    is_caller: bool
    state: CallState
    remote: NameAddr
    local_tag: str = ""
    remote_tag: str = ""


class LineCalls:
    """The calls of all lines. What becomes of one it is told; who changed, it says."""

    def __init__(self, per_line_max: int) -> None:
        self._per_line_max = per_line_max
        self._calls: dict[str, dict[str, LineCall]] = {}
        self._lines: dict[str, set[str]] = {}
        """Which lines have a call of this Call-ID."""
        self._last: dict[str, LineCall] = {}

    def __len__(self) -> int:
        return sum(map(len, self._calls.values()))

    def of(self, line: str) -> tuple[LineCall, ...]:
        """The calls of a line; where there are none, the one that it had last, terminated.

        A phone whose lamp waits for the word gets it so, and one that takes what is missing for over does as well.
        """
        return self._live(line) or ((self._last[line],) if line in self._last else ())

    def note(self, line: str, call: LineCall) -> bool:
        """A call is in this state now; True if that is news."""
        calls = self._calls.get(line, {})
        known = calls.get(call.id)
        if call.state is CallState.TERMINATED:
            return known is not None and self._end_all(line, (known,))
        # 3.7.1: from Confirmed a call goes to Terminated, and to nothing else.
        if known is not None and (known.state > call.state or known == call):
            return False
        if known is None and len(calls) >= self._per_line_max:
            self._end(line, next(iter(calls.values())))
        self._calls.setdefault(line, {})[call.id] = call
        self._lines.setdefault(call.call_id, set()).add(line)
        return True

    def end(self, call_id: str, tags: frozenset[str] | None = None) -> list[str]:
        """The calls of this Call-ID whose dialog has these tags are over; without tags, those that callers have not got
        through. Whose.
        """

        def is_over(call: LineCall) -> bool:
            is_meant = (
                call.is_caller and call.state < CallState.CONFIRMED
                if tags is None
                else tags == {call.local_tag, call.remote_tag}
            )
            return call.call_id == call_id and is_meant

        lines = sorted(self._lines.get(call_id, ()))
        return [line for line in lines if self._end_all(line, [one for one in self._live(line) if is_over(one)])]

    def clear(self, line: str) -> bool:
        """The line has no phone any more, so no call; True if it had one."""
        return self._end_all(line, self._live(line))

    def forget(self, line: str) -> None:
        """There is no such line any more."""
        self.clear(line)
        self._last.pop(line, None)

    def _live(self, line: str) -> tuple[LineCall, ...]:
        return tuple(self._calls.get(line, {}).values())

    def _end_all(self, line: str, calls: Sequence[LineCall]) -> bool:
        for call in calls:
            self._end(line, call)
        return bool(calls)

    def _end(self, line: str, call: LineCall) -> None:
        calls = self._calls[line]
        del calls[call.id]
        self._last[line] = replace(call, state=CallState.TERMINATED)
        if not any(one.call_id == call.call_id for one in calls.values()):
            self._lines[call.call_id].discard(line)
            if not self._lines[call.call_id]:
                del self._lines[call.call_id]
        if not calls:
            del self._calls[line]
