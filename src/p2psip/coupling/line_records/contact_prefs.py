"""What a registration says of the phones that it leads to: `contact_prefs` (RFC 7904 section 3.2).

"The contact preferences are encoded as a media feature set expression" (RFC 2533), in the feature tags of RFC 3840. Of
these there is one here: which phones, by `sip.instance` (RFC 5626 section 11.1). Whoever has a phone that is registered
at two peers has two registrations that name the same one, so that callers ring it by one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from p2psip.sip.entities.registrar.targets import MARK_CHARACTERS

PHONES_MAX = 10

_INSTANCE = re.compile(rb'\(sip\.instance="([0-9a-f]{%d})"\)' % MARK_CHARACTERS)


def write_prefs(marks: Iterable[str]) -> bytes:
    """These phones, by their marks; empty if there are none."""
    each = [f'(sip.instance="{mark}")' for mark in sorted(set(marks))[:PHONES_MAX]]
    return (each[0] if len(each) == 1 else f"(|{''.join(each)})" if each else "").encode()


def read_prefs(prefs: bytes) -> frozenset[str]:
    """The marks of phones; empty if there are none, or too many, or it says something else."""
    marks = frozenset(mark.decode() for mark in _INSTANCE.findall(prefs[: PHONES_MAX * 64]))
    return marks if len(marks) <= PHONES_MAX else frozenset()
