"""How long datagrams have before streams are tried beside them (docs/decisions/tcp-beside-ice.md).

Where both ends say addresses that are known outside, datagrams pass at both, and a path of them is only a matter of
time: on a machine that is busy a punch takes longer than a stream, which would stay and is the worse. Where one end has
none its UDP may be blocked.
"""

from __future__ import annotations

from typing import Final

from p2psip.reload.paths.ice.candidate_addresses import NEAR_WAIT_S, RELAY_WAIT_S, decoded, relay_wait_s
from p2psip.reload.paths.values import Session

MISSING_S: Final = 1.3
"""After the other end's words: a punch, its repetition, a round trip, and a relay."""

MISSING_AGAIN_S: Final = 0.6
"""The same where the path that is to be replaced does not answer: datagrams may not pass any more."""

PASSES_S: Final = 3.0
"""The same where datagrams pass at both ends, as far as these know."""


def may_lack_datagrams(session: Session, *, is_again: bool) -> bool:
    """True where UDP may be blocked at an end of this session: where one has no address of its own that is known
    outside, in a family in which the other has one; or where the path that it is to replace does not answer.
    """
    ours, theirs = (decoded(each.candidates) for each in (session.local, session.remote))
    return is_again or relay_wait_s(ours, theirs) < RELAY_WAIT_S


def dial_wait_s(session: Session, *, is_again: bool, is_blocked: bool) -> float:
    """How long after the other end's words it is dialled over TCP; `is_blocked`: datagrams do not pass here."""
    if is_blocked:
        return NEAR_WAIT_S
    if is_again:
        return MISSING_AGAIN_S
    return MISSING_S if may_lack_datagrams(session, is_again=False) else PASSES_S
