"""Bounds on the sockets that others can make us open, and on what is remembered of ways to them, in one table."""

from __future__ import annotations

from typing import Final

DIALS_MAX: Final = 128
"""Connections that are being made at once."""

CANDIDATES_MAX: Final = 16
"""Candidates of one Attach that are dialled."""

STREAM_CANDIDATES_MAX: Final = 4
"""Candidates of TCP beside those of ICE in one Attach."""

OPENS_PER_ROUND_MAX: Final = 5
"""Streams that an end opens in one go to where the other one is to open one, each as the one before was refused. One of
which nobody says anything is one for 8 s, and three repetitions of its SYN."""

OPENS_ROUNDS_MAX: Final = 3
"""How often it does so for one Attach, 12 s apart. To one host no more go in a minute than ICE_UNANSWERED_MAX."""

DIALLED_CANDIDATES_MAX: Final = 256
"""Candidates of connections that are being made because others asked for them: as many sockets, at the worst."""

DIALLED_CANDIDATES_PER_MEMBER_MAX: Final = 32
"""Those for which one and the same user asked."""

HANDSHAKES_MAX: Final = 128
"""Accepted connections that have not shown a certificate yet; for one more the oldest has to go of those that come
from where most come from."""

NARROW_HOSTS_MAX: Final = 256
"""Hosts of which it is remembered that large packets do not arrive; the one that failed first is forgotten first."""

ICE_CANDIDATES_MAX: Final = 40
"""Candidates of one end in one Attach: sixteen interfaces with IPv4 and IPv6, and what others have for us."""

ICE_PAIRS_MAX: Final = 100
"""Pairs of one check list (RFC 8445 section 6.1.2.5)."""

ICE_DOUBTED_PAIRS_MAX: Final = 24
"""Pairs that are checked again where a path in use is in doubt; all paths may be at once."""

ICE_LEARNT_PAIRS_MAX: Final = 24
"""Pairs of one check list besides, which checks of the other end have shown."""

ICE_LEARNT_PAIRS_PER_HOST_MAX: Final = 4
"""Those of them with one and the same host; by a relay of ours as many again."""

ICE_AGENTS_MAX: Final = 512
"""Agents at once, of links that are being made and of links that are up."""

ICE_PAIRS_IN_ALL_MAX: Final = 4000
"""Pairs of all check lists that are being worked on."""

CALL_SERVERS_MAX: Final = 3
"""Of those with whom we are linked so many are asked, now and then, as whom they see the port of calls."""

ICE_UNANSWERED_MAX: Final = 100
"""Checks that go to one host in a minute, of all agents, without that an answer comes from it; a stream that both ends
open is one as well."""

RELAYED_HELD_MAX: Final = 32
"""Datagrams of one relayed address that wait for a permission, one for each remote."""

ICE_HOSTS_MAX: Final = 1024
"""Hosts of which that is counted. Where more are checked in a minute, others have to wait until it is over."""

SURVEY_HELPERS_MAX: Final = 3
"""Members that a survey asks as whom they see us."""

SURVEY_SPARES_MAX: Final = 16
"""Further UDP ports of this machine at once, for surveys of our own and others'."""

SURVEY_TOKENS_MAX: Final = 256
"""Binding requests of which it is remembered where they came from, as somebody may ask to be probed there."""

SURVEY_PROBES_PER_MEMBER: Final = 72
"""Probes that one member may have us send or ask for at once; one more every five seconds. A survey takes up to
eighteen, where nothing gets in."""

SURVEY_PROBES_PER_HOST: Final = 48
"""Probes that go to one host for members that are not there; one more every ten seconds. A survey takes up to
twelve, where one member sends them all."""
