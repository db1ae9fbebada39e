"""What the agents of ICE say to their driver, and to who wanted a path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import Cause


class PairReport(NamedTuple):
    """A pair that was tried, and how it ended, or how it stands: in words for the log and for `status`."""

    local: Address
    remote: Address
    types: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.who}: {self.outcome}"

    @property
    def who(self) -> str:
        """The pair itself."""
        return f"{self.local} to {self.remote} ({self.types})"

    def cause(self, at: float) -> Cause:
        """The same as one of the causes of a failure."""
        return Cause(self.who, self.outcome, at)


class AgentAllowance(NamedTuple):
    """What an agent may do: how many pairs it may check, and after how long a relayed one may be nominated."""

    pairs_max: int
    relay_wait_s: float


@dataclass(frozen=True, slots=True)
class PathChosen(Effect):
    """Both ends have this pair for the path of a session: data may go on it. `rtt_s` is that of the last check, `ufrag`
    our own.
    """

    ufrag: bytes
    local: Address
    remote: Address
    is_relayed: bool
    rtt_s: float
    tried: tuple[PairReport, ...]


@dataclass(frozen=True, slots=True)
class PathChanged(Effect):
    """Another pair has become the path of a session, which is in use: a better one, or the one before works no more."""

    ufrag: bytes
    local: Address
    remote: Address
    is_relayed: bool
    rtt_s: float


@dataclass(frozen=True, slots=True)
class PathLost(Effect):
    """There is no path, or no more; the agent is gone."""

    ufrag: bytes
    reason: str
    tried: tuple[PairReport, ...]


@dataclass(frozen=True, slots=True)
class PathDoubted(Effect):
    """The path in use does not answer, nor does any other pair; checks go on, and a new Attach may help sooner."""

    ufrag: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class PathHolds(Effect):
    """The path in use was in doubt, and works."""

    ufrag: bytes


@dataclass(frozen=True, slots=True)
class PathsSuspected(Effect):
    """What has become of one path may have become of all: its other end sees us elsewhere than before, or it does not
    answer.
    """

    ufrag: bytes
