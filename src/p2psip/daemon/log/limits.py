"""How many lines of a kind go into the log: what a remote can cause at will does not fill a disk.

Theory of operation. A kind of event has so many lines at once, and one more a second; of these one source has a share.
What is beyond that is counted, and told about a minute later. All kinds together have so many bytes, but for one line
of each in an hour: what is rare is to be read whatever else goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from p2psip.base.address import source_key
from p2psip.base.allowance import Allowance, Attempts

OF_KIND = Allowance(burst=200, refill_s=1.0)
OF_SOURCE = Allowance(burst=20, refill_s=10.0)
OF_ALL = Allowance(burst=2000, refill_s=0.5)
"""Of all kinds together, in pieces of PIECE characters: a megabyte at once, and 86 MB a day."""

HOURLY = Allowance(burst=1, refill_s=3600.0)
PIECE = 500
LINE_OVERHEAD = 100
"""Characters of a line that are no facts: the time, the level, the names."""

KINDS_MAX = 256
SOURCES_MAX = 4096
REPORT_S = 60.0
"""How long lines are left out before it is told how many."""

FACT_MAX = 2000
"""Characters of one fact."""

SOURCES = ("source", "remote", "phone", "node", "previous_hop", "from", "user")
"""Which facts say who has caused an event; the first that is there does."""

KINDS = ("event", "outcome")
"""Which facts say what kind of event it is; they are our own words."""


class LogLimits:
    """Which lines are written. Kinds and sources of which none was written for long are forgotten first."""

    def __init__(self) -> None:
        self._kinds: Attempts[str] = Attempts(OF_KIND, KINDS_MAX)
        self._sources: Attempts[tuple[str, str]] = Attempts(OF_SOURCE, SOURCES_MAX)
        self._all: Attempts[None] = Attempts(OF_ALL)
        self._hourly: Attempts[str] = Attempts(HOURLY, KINDS_MAX)
        self._left_out: OrderedDict[str, int] = OrderedDict()
        self._report_at = 0.0

    def admits(self, kind: str, source: str, now: float, size: int = 0) -> bool:
        """True if a line of this kind and of so many characters, caused by this source, is to be written."""
        is_first = not self._hourly.wait_s(kind, now)
        is_too_much = bool(self._all.wait_s(None, now)) and not is_first
        if not (is_too_much or self._kinds.wait_s(kind, now) or self._sources.wait_s((kind, source), now)):
            self._kinds.charge(kind, now)
            self._sources.charge((kind, source), now)
            if is_first:
                self._hourly.charge(kind, now)
            for _ in range(1 + size // PIECE):
                self._all.charge(None, now)
            return True
        self._leave_out(kind, now)
        return False

    def leaves_out(self, kind: str, now: float) -> bool:
        """True if there are too many lines of this kind, whoever causes another: it is counted, and need not be looked
        at any closer.
        """
        if not self._kinds.wait_s(kind, now):
            return False
        self._leave_out(kind, now)
        return True

    def _leave_out(self, kind: str, now: float) -> None:
        if not self._left_out:
            self._report_at = now + REPORT_S
        self._left_out[kind] = self._left_out.get(kind, 0) + 1
        while len(self._left_out) > KINDS_MAX:
            self._left_out.popitem(last=False)

    def due(self, now: float) -> dict[str, int]:
        """How many lines of each kind were left out, if it is time to tell; each is told once."""
        return self.take() if self._left_out and now >= self._report_at else {}

    def take(self) -> dict[str, int]:
        """The same at once."""
        left_out, self._left_out = self._left_out, OrderedDict()
        return dict(left_out)


def kind_of(event: Mapping[str, object]) -> str:
    """What kind of event it is, in our own words."""
    return " ".join(str(event[name]) for name in KINDS if name in event)


def source_of(event: Mapping[str, object]) -> str:
    """Whose event it is, a machine or a name: "udp 192.0.2.1:5060" is 192.0.2.1 at whatever port."""
    text = next((str(event[name]) for name in SOURCES if event.get(name)), "")
    address = text.rpartition(" ")[2]
    if address.startswith("["):
        return source_key(address[1:].partition("]")[0])
    host, colon, port = address.rpartition(":")
    return source_key(host if colon and port.isdecimal() and ":" not in host else address)


def size_of(event: Mapping[str, object]) -> int:
    """How many characters its line has, more or less."""
    return LINE_OVERHEAD + sum(min(len(str(value)), FACT_MAX) for value in event.values())


def clean(text: str) -> str:
    """Without control characters, which a terminal would obey, and not at length."""
    if len(text) > FACT_MAX:
        text = f"{text[:FACT_MAX]}... ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
