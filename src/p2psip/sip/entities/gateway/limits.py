"""The bounds on what a trunk, and who calls through it, can make grow: one table."""

from __future__ import annotations

SILENT_S = 4.0
"""So long a server may leave an INVITE without any answer, a 100 included: the trunk's next one is tried then, or the
caller's next gateway.
"""

RING_S_MAX = 240.0
"""So long a call may ring: proxies give up before (RFC 3261 section 16.6, timer C)."""

CALL_S_MAX = 4 * 3600.0
"""No call lasts longer: an end that dies says no BYE."""

LINGER_S = 40.0
"""So long a call that is over is remembered for what is repeated of it: more than 64*T1."""

LINGERING_MAX = 256
"""So many of them; the eldest is forgotten first."""

FORKS_MAX = 8
"""Phones that may ring for one call, each an early dialog."""

INVITES_MAX = 8
"""INVITEs of one call whose 2xx may be repeated: of more the eldest is forgotten."""

CONNECTS_MAX = 3
"""So often the trunk's side is asked to talk with whom a call is transferred to, while it says 491."""

HANDED_MAX = 4
"""So many of those whose place somebody else has are remembered, to hear their BYE."""

TRANSACTIONS_MAX = 1000
"""On each side of a trunk."""

STRANGERS_TOLD = 1000
"""Of what strangers send to a trunk's port the first is told in the log, and then one of so many."""

KEEP_ALIVE_S_MAX = 8.0
"""So long an OPTIONS may be without an answer until the trunk counts as down."""

AGAIN_S = 10.0
"""How soon a trunk that is down is asked again whether it is there."""

FIND_S_MAX = 10.0
"""So long looking up the trunk's host may take."""

PASSED_OVER_S = 60.0
"""So long a server of a trunk that has failed is not asked while there are others."""

PREFIXES_MAX = 64
"""Of one gateway."""
