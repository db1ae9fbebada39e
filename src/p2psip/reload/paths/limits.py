"""Bounds on the sockets that others can make us open, and on what is remembered of ways to them, in one table."""

from __future__ import annotations

from typing import Final

DIALS_MAX: Final = 128
"""Connections that are being made at once."""

CANDIDATES_MAX: Final = 16
"""Candidates of one Attach that are dialled."""

DIALLED_CANDIDATES_MAX: Final = 256
"""Candidates of connections that are being made because others asked for them: as many sockets, at the worst."""

DIALLED_CANDIDATES_PER_MEMBER_MAX: Final = 32
"""Those for which one and the same user asked."""

HANDSHAKES_MAX: Final = 128
"""Accepted connections that have not shown a certificate yet; for one more the oldest has to go of those that come
from where most come from."""

NARROW_HOSTS_MAX: Final = 256
"""Hosts of which it is remembered that large packets do not arrive; the one that failed first is forgotten first."""
