"""What is asked of DNS, and what it answers (RFC 1035, RFC 2782, RFC 3403)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

RecordType: TypeAlias = Literal["NAPTR", "SRV", "A", "AAAA"]

RECORDS_MAX = 32
"""So many records of one answer are looked at, however many there are."""


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403 section 4.1); `replacement` without its last dot."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.service or 'no service'} at {self.replacement or '.'} ({self.order} {self.preference})"


class Srv(NamedTuple):
    """An SRV record (RFC 2782); `target` without its last dot, so "" where there is no such service."""

    priority: int
    weight: int
    port: int
    target: str

    def __str__(self) -> str:
        return f"{self.target or '.'}:{self.port} ({self.priority} {self.weight})"


@dataclass(frozen=True, slots=True)
class FindRecords:
    """What records has this name? Answered by Records. Names are absolute, no search list is appended."""

    name: str
    type: RecordType

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


@dataclass(frozen=True, slots=True)
class Records:
    """The records of the type asked for: addresses as text. None, without a `problem`: DNS says that there is none."""

    records: tuple[Naptr | Srv | str, ...] = ()
    problem: str = ""
    """Why DNS has not answered, in words."""

    @property
    def naptrs(self) -> list[Naptr]:
        """The NAPTR records among the first."""
        return [one for one in self.records[:RECORDS_MAX] if isinstance(one, Naptr)]

    @property
    def srvs(self) -> list[Srv]:
        """The SRV records among the first."""
        return [one for one in self.records[:RECORDS_MAX] if isinstance(one, Srv)]

    @property
    def addresses(self) -> list[str]:
        """The addresses among the first."""
        return [one for one in self.records[:RECORDS_MAX] if isinstance(one, str)]

    def __str__(self) -> str:
        return self.problem or ", ".join(map(str, self.records[:RECORDS_MAX])) or "none"
