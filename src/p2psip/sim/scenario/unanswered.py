"""Calls that nobody answered, though who was called was there: how each ended, and how many ended so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from p2psip.sip.entities.agents.types import Ending

EXAMPLES = 3
"""So many of each kind are told one by one."""

_a_name = re.compile(r"\b([pu])\d+\b")


class UnansweredCall(msgspec.Struct, frozen=True):
    """One of them, in the names of the scenario."""

    at_s: float
    """When it began, after the overlay had come about."""
    caller: str
    callee: str
    status: int | None
    """The final response; None of a call that had none: the caller hung up, or it still went on at the end."""
    why: str
    """What the Reason of it says (RFC 3326), or else the response itself."""


class UnansweredKind(msgspec.Struct, frozen=True):
    """Those that ended with the same response and Reason, whichever peers and users these name."""

    status: int | None
    why: str
    """As of one of them, but for names: pN is a peer, uN a user."""
    count: int
    first: tuple[UnansweredCall, ...]


def why_unanswered(ending: Ending | None, peers: Mapping[str, int]) -> tuple[int | None, str]:
    """The response and what it says; `peers` are numbers of peers by how their Node-IDs are told."""
    if ending is None:
        return None, "no final response yet"
    why = "; ".join(reason.text or str(reason) for reason in ending.reasons) or ending.what
    return ending.status, re.sub(r"\b[0-9a-f]{8}\b", lambda told: _named(told[0], peers), why)


def by_kind(calls: Sequence[UnansweredCall]) -> tuple[UnansweredKind, ...]:
    """The most frequent first."""
    kinds: dict[tuple[int | None, str], list[UnansweredCall]] = {}
    for call in calls:
        kinds.setdefault((call.status, _a_name.sub(r"\1N", call.why)), []).append(call)
    found = [UnansweredKind(*kind, len(each), tuple(each[:EXAMPLES])) for kind, each in kinds.items()]
    return tuple(sorted(found, key=lambda kind: -kind.count))


def _named(told: str, peers: Mapping[str, int]) -> str:
    return f"p{peers[told]}" if told in peers else told
