"""The bounds on what other entities, and who asks for numbers, can make grow: one table."""

from __future__ import annotations

from typing import Final

from p2psip.base.allowance import Allowance

NEIGHBOURS_MAX: Final = 32

PREFIXES_MAX: Final = 64
"""Of one context."""

EXCHANGES_MAX: Final = 256
"""Transactions of one neighbour, those that are over and remembered among them."""

REQUESTS: Final = Allowance(burst=100, refill_s=0.05)
"""Of one neighbour: what is beyond is dropped, and comes again a second later."""

NEW_KEYS: Final = Allowance(burst=10, refill_s=5.0)
"""So often one neighbour may have another key, each of which takes two operations of RSA."""

REFUSALS: Final = Allowance(burst=20, refill_s=0.5)
"""INVALIDs to one neighbour: two ends that know nothing of each other shall not keep on saying so."""

OWN_ANSWERS_MAX: Final = 256
"""Questions of neighbours for which the overlay is asked at a time."""

OWN_ANSWER_S: Final = 4.0
"""So long the overlay may take."""

SEARCHES_MAX: Final = 128
"""Numbers that neighbours are asked for at a time."""

WAITING_MAX: Final = 1024
"""Calls that wait for that."""

CACHE_MAX: Final = 4096
"""Words of neighbours about numbers that are remembered, of all together."""

PLACES_MAX: Final = 8
"""Of one number."""

NUMBER_BYTES_MAX: Final = 79
"""Of a number, and of a context, as Asterisk has room for."""

TTL_MAX: Final = 15
"""A call waits for 2 s, and 0.2 s more for each hop: no longer than for the overlay."""

NEXT_S: Final = 0.2
WAIT_S: Final = 2.0

CHECK_S: Final = 60.0
"""How often a neighbour is asked whether it is there."""

CHECK_SILENT_S: Final = 10.0
"""The same of one that was not."""

EMPTY_CACHE_S: Final = 60.0
"""So long it counts that a number is nowhere."""

KEY_S: Final = 3600.0
"""How long a key of ours is used."""
