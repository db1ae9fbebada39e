"""Bounds on everything that a remote can make grow in a node, in one table; those on paths are in `reload.paths`."""

from __future__ import annotations

from typing import Final

LINKS_MAX: Final = 512
"""Overlay links, those being dialled included."""

WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"""What waits on all links over DTLS together; beyond that the link on which most waits is given up."""

WAITING_BYTES_NORMAL: Final = 64 * 1024
"""A link on which no more waits than this is not worth a look at all the others."""

LINKS_PER_NODE_MAX: Final = 4
"""Links to one and the same node, before those that are superseded are closed."""

STRANGERS_MAX: Final = 128
"""Links to nodes that are not in the Routing Table: clients, joining nodes, and whoever else has a certificate."""

APP_ATTACHES_MAX: Final = 256

APP_LINKS_MAX: Final = 512
"""Connections of applications that others asked for; those that we asked for are as many as we want."""

APP_LINKS_PER_NODE_MAX: Final = 32
"""The same to one node."""

HELD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Messages that wait for the disk; one for which there is no room is lost, and asked for again."""

HELD_COST: Final = 1024
"""What it costs to hold a message, beside its contents."""

HOME_LINES_MAX: Final = 1024
"""Lines of others that this node is home to."""

HOME_LINES_PER_USER_MAX: Final = 16
"""Of one user."""

HOME_LIFETIME_MAX_S: Final = 600
"""For how long a line registers at the most."""

SPREAD_VALUES_MAX: Final = 25_000
"""Values that every peer has: room for a directory of 10,000 lines twice."""

SPREAD_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of them, without certificates."""

SPREAD_REFUSED_MAX: Final = 256
"""Values of these that were refused, and are not asked for again."""

COMMANDS_MAX: Final = 1024
"""Requests of the layers above that are not over yet."""

HANDOVER_WINDOW: Final = 16
"""Stores of one hand-over under way at once."""

CONTACTS_MAX: Final = 256
"""Nodes whose dialable address is known."""

CONTACTS_KEPT: Final = 10
"""11.4: "The suggested number of peers to cache is 10"."""

RELAYS_KNOWN_MAX: Final = 8
"""Relays that are kept in reserve."""

RELAY_ASKS_MAX: Final = 8
"""Nodes that are being asked whether they relay."""

RELAYS_ASKED_MAX: Final = 256
"""Nodes of which is remembered that they do not."""

SERVICES_MAX: Final = 64
"""Services that one node announces."""

SEARCHES_MAX: Final = 256
"""Searches for services that are not over yet."""

FAILED_ATTEMPTS_MAX: Final = 32
"""Nodes of which is remembered why there is no connection."""

NAMES_MAX: Final = 1024
"""Nodes whose user name is remembered for people to read."""

CONFIG_UPDATES_OPEN: Final = 128
"""ConfigUpdates of ours that are not answered yet."""

CONFIG_UPDATES_HEARD: Final = 16
"""ConfigUpdates of one node that are looked at within ten seconds."""

NODES_HEARD_MAX: Final = 1024
"""Nodes of which is remembered what they were told, or told us, of the configuration."""

REFUSED_DOCUMENTS_MAX: Final = 32
"""Documents that were refused and are known again without being read."""

KINDS_LEARNED_MAX: Final = 256
"""Kinds beside those of the configuration document."""

WAYS_IN: Final = 3
"""Of the remembered, the configured and the lost nodes so many are dialled at once to find the overlay."""

WAYS_TRIED_MAX: Final = 32
"""Addresses of which is remembered what came of looking for the overlay there."""

ROLES_PLAYED_MAX: Final = 32
"""Nodes of which is remembered what we were to them when they came in, or they to us."""

LAN_QUESTIONS_MAX: Final = 8
"""Questions by multicast to which answers are still taken."""

NAMED_MAX: Final = 16
"""Addresses that DNS has given."""

HEARD_MAX: Final = 16
"""Addresses of peers that were found on the links of this machine."""

RESPONSES_HELD_MAX: Final = 128
"""Responses that wait for a connection to whoever asked (RFC 7263)."""

RESPONSES_HELD_PER_NODE_MAX: Final = 8
"""The same to one node, or by one relay peer."""

UNREACHABLE_MAX: Final = 256
"""Nodes of which is remembered that they cannot be connected with."""

TUNNELS_MAX: Final = 64
"""Tunnels in overlay messages; those that others open may take half of them."""

TUNNELS_PER_NODE_MAX: Final = 4
"""The same to one node."""

TUNNEL_RECORD_BYTES: Final = 2048
"""What one record carries; less where max-message-size leaves no room."""

TUNNEL_OPEN_RECORDS_MAX: Final = 16
"""Records of one tunnel that are on their way: others pass these messages on. One more is lost, as on any path."""

TUNNEL_BYTES_PER_S: Final = 8 * 1024
"""What goes through one tunnel, on average: a call has about 6 kB of SIP in each direction."""

TUNNEL_BURST_BYTES: Final = 64 * 1024
"""What may go at once after a quiet time. Who receives lets pass twice of either."""

TUNNEL_UNCONFIRMED_S: Final = 20.0
"""How long after its opening was answered the first record may take, which shows that the other end has the keys."""

TUNNEL_IDLE_S: Final = 900.0
"""A tunnel through which nothing came or went for so long is forgotten; whoever uses it has closed it before."""

LENDERS_MAX: Final = 16
"""Clients that lend this peer storage."""

LENT_VALUES_MAX: Final = 4096
"""Values of this peer that clients keep as well, all together."""

LENT_WINDOW: Final = 4
"""Stores with such values under way at once."""

LENT_READS_MAX: Final = 64
"""Fetches that wait for what a client gives back; the next is answered from this peer's own copy."""

LENT_WANTED_MAX: Final = 1024
"""Places with new values that are still to be given to a client; others wait for the next look at all."""
