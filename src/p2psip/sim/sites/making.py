"""What is common to peers of every virtual world: who they are, and the cores that they consist of."""

from __future__ import annotations

import random
from collections.abc import Iterable

from p2psip import plugins
from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.user_keys import aor_of
from p2psip.base.wallclock import WallClock
from p2psip.coupling.gruu import peer_uri
from p2psip.coupling.line import Line
from p2psip.coupling.peer import Peer
from p2psip.dundi.values import EntityTerms
from p2psip.enrollment.passwords import typed_passwords
from p2psip.enrollment.user_names import typed_names
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.node.node import Node
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.security.roles import Verifier
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.continuity import Continuity
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.usages.rules import rules_of
from p2psip.sim.signer import SimulatedIdentity
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.doors import OtherDomains
from p2psip.sip.entities.gateway.terms import TrunkTerms
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays
from p2psip.sip.message.digest import logins
from p2psip.sip.transports.layer import Listener

OVERLAY = "sim.example"


def identity_of(seed: int | str, name: str, *, is_full_size: bool = False, overlay: str = OVERLAY) -> SimulatedIdentity:
    """Who a peer is: always the same."""
    node_id = NodeId(random.Random(f"{seed}/{name}").randbytes(16))
    return SimulatedIdentity(f"peer-{name}@{overlay}", node_id, is_full_size=is_full_size)


def line_of(
    seed: int | str, number: int, user: str, typed_as: str, *, is_full_size: bool = False, overlay: str = OVERLAY
) -> Line:
    """The line of a user at peer `number`, whose phones know the user as `typed_as`."""
    node_id = NodeId(random.Random(f"{seed}/line {user} {number}").randbytes(16))
    names = typed_names(aor_of(typed_as, overlay))
    identity = SimulatedIdentity(aor_of(user, overlay), node_id, is_full_size=is_full_size)
    return Line(identity, overlay, logins(names, overlay, typed_passwords(f"phone of {user}")))


def make_peer(
    name: str,
    identity: SimulatedIdentity,
    configuration: OverlayConfiguration,
    verifier: Verifier,
    store: MemoryStore,
    wall: WallClock,
    settings: NodeSettings,
    rng: random.Random,
    now: float,
    *,
    phone_side: Iterable[Address],
    continuity: Continuity | None = None,
    has_call_paths: bool = False,
    numbering: Numbering | None = None,
    trunks: Iterable[TrunkTerms] = (),
    dundi: EntityTerms | None = None,
    overlays: OtherOverlays | None = None,
) -> Peer:
    """A peer that has not been started; `phone_side` is where it listens for phones. With `has_call_paths` it carries
    the media of phones that do not reach each other; `numbering` is what its operator has set of numbers,
    `overlays` are those that its site is in as well.
    """
    overlay = configuration.instance_name
    plugin = plugins.topology(configuration.topology_plugin)
    rules = rules_of(configuration, verifier, plugin.hash_name)
    storage = Storage(store, rules, wall, now, continuity=continuity)
    node = Node(identity, verifier, configuration, plugin, storage, wall, settings, rng, now)
    phone_side = tuple(phone_side)
    server = ServerConfig(
        realm=overlay,
        domains=frozenset({overlay, name, *(local.host for local in phone_side)}),
        hosted=configuration.hosted_domains,
        listeners=tuple(Listener("UDP", local) for local in phone_side),
        peer_side=peer_uri(f"peer-{name}", overlay, identity.node_id),
        token_secret=f"secret of {name}".encode(),
        media="auto" if has_call_paths else "direct",
        has_call_paths=has_call_paths,
        numbering=numbering or Numbering(),
        other_domains=OtherDomains() if dundi is None else OtherDomains(guests=dundi.calls, reaches=dundi.reaches),
        overlays=overlays or OtherOverlays(),
    )
    return Peer(node, server, rng, now, tuple(trunks), dundi)
