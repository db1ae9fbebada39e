"""What a running peer says of itself, as plain values for JSON and for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p2psip.base.ids import NodeId
from p2psip.coupling.enquiries.lookup import HopSeen, LookedUp
from p2psip.coupling.enquiries.tracing import Traced, TraceHop
from p2psip.coupling.peer import Peer
from p2psip.daemon.nat_words import SitePorts, facts_in_words, mapping_words, nat_words
from p2psip.dundi.values import NeighbourFacts
from p2psip.net.machine_figures import memory_kb
from p2psip.reload.node.connecting.attempts import FailedAttempt
from p2psip.reload.node.connecting.coming_in.roles_played import RolePlayed
from p2psip.reload.node.connecting.coming_in.ways_in import WayTried
from p2psip.reload.node.connecting.nat.port_mapping import PortMappingFacts
from p2psip.reload.node.facts import LenderFacts
from p2psip.reload.node.service_discovery import ServicesFound
from p2psip.reload.paths.nat.reach import Reach
from p2psip.reload.usages.redir import Provider
from p2psip.reload.usages.sip_registration import LineRegistration, RegistrationRoute
from p2psip.reload.wire.diagnostics import DiagnosticKind
from p2psip.reload.wire.language.render import to_json
from p2psip.reload.wire.link_messages import OverlayLinkType
from p2psip.sip.entities.gateway.terms import TrunkFacts
from p2psip.sip.entities.registrar.bindings import Binding


def in_brief(peer: Peer) -> dict[str, object]:
    """What stands of a peer in the status of those that are in its process for other overlays."""
    return {
        "user": peer.node.user,
        "node_id": str(peer.node.node_id),
        "member": peer.node.is_connected,
        "neighbors": len(peer.node.neighbors),
        "lines": [line.aor for line in peer.publisher.lines],
    }


def status_of(peer: Peer, shed: str, overlays: Sequence[Mapping[str, object]], now: float) -> dict[str, object]:
    """Who this peer is, what it is linked with, what it keeps, which phones it serves; `shed` says whether and why
    it keeps nothing for others for a while, `overlays` tell of the site's peers in other overlays.
    """
    node = peer.node
    return {
        "overlay": peer.overlay,
        "user": node.user,
        "node_id": str(node.node_id),
        "configuration": node.configuration.sequence,
        "kinds": [kind.name or hex(kind.kind_id) for kind in node.configuration.required_kinds],
        "topology": node.configuration.topology_plugin,
        **node.topology_facts(),
        "neighbors": [str(neighbor) for neighbor in node.neighbors],
        "trouble": node.trouble,
        "roles": [_role(each, now) for each in node.roles_played],
        "ways_in": [_way_in(each, now) for each in node.ways_in],
        "same_node_id_at": node.same_node_id_at(now),
        "member": node.is_connected,
        "up_s": round(now - peer.began_at, 1),
        "joined_after_ms": None if peer.joined_at is None else round((peer.joined_at - peer.began_at) * 1000, 1),
        "date_trusted": node.wall.is_trusted,
        "links": _links(peer, now),
        "relays": _relays(peer),
        "port_mapping": mapping_report(node.port_mapping),
        "media_engine": _media_engine(peer),
        "failed_attempts": [_failed(each, peer, now) for each in node.failed_attempts],
        "peer_calls_links": len(peer.flows),
        "tunnels": _tunnels(peer),
        "records": {"count": node.records_held.count, "bytes": node.records_held.size_bytes},
        "lends": _lends(peer),
        "lenders": [_lender(each, peer) for each in node.lenders(now)],
        "shed": shed,
        "overlays": list(overlays),
        "lines": lines_of(peer, now),
        "trunks": trunks_of(peer, now),
        "dundi": dundi_of(peer, now),
        "rooms": rooms_of(peer),
        "sip": peer.server.counts,
        "memory_kb": memory_kb(),
    }


def _lends(peer: Peer) -> dict[str, object] | None:
    """The storage that this client lends, to whom, and what is in it; None if it lends none."""
    facts = peer.node.lending
    if not facts.room_bytes:
        return None
    return {
        "room_bytes": facts.room_bytes,
        "to": None if facts.borrower is None else str(facts.borrower),
        "user": "" if facts.borrower is None else peer.node.name_of(facts.borrower),
        "records": facts.count,
        "bytes": facts.size_bytes,
        "reads": facts.reads,
    }


def _lender(lender: LenderFacts, peer: Peer) -> dict[str, object]:
    """A client that lends this peer storage."""
    return {
        "node_id": str(lender.node),
        "user": peer.node.name_of(lender.node),
        "room_bytes": lender.room_bytes,
        "records": lender.count,
        "bytes": lender.size_bytes,
        "answered": lender.answered,
        "failed": lender.failed,
        "asked": lender.is_asked,
    }


def _way_in(tried: WayTried, now: float) -> dict[str, object]:
    """One way to find the overlay, the address that it gave, if it did, and what came of that."""
    return {
        "way": tried.way.value,
        "address": None if tried.address is None else str(tried.address),
        "result": tried.result,
        "winner": tried.is_winner,
        "s_ago": round(now - tried.at, 1),
    }


def _role(played: RolePlayed, now: float) -> dict[str, object]:
    """What this peer was to another when one of the two came in."""
    return {
        "role": played.role.value,
        "node_id": str(played.node),
        "user": played.user,
        "did": played.did,
        "s_ago": round(now - played.at, 1),
    }


def _tunnels(peer: Peer) -> list[dict[str, object]]:
    calls, name_of = peer.flows.calls, peer.node.name_of
    return [{"node_id": str(each), "user": name_of(each), "lacks": calls.lacks(each)} for each in calls.tunnelled]


def lines_of(peer: Peer, now: float) -> list[dict[str, object]]:
    """The lines of a peer, where their records are, and their phones."""
    return [
        {
            "user": line.aor,
            "node_id": str(line.identity.node_id),
            "phones": [_phone(binding, now) for binding in peer.server.bindings(line.name, now)],
            "record": _placed(peer, line.name, now),
            "calls": handling.in_words() if (handling := peer.handlings.of(line.name)) is not None else [],
            "others": sorted(map(str, peer.publisher.others(line.name))),
            "problem": peer.publisher.failure(line.name),
        }
        for line in peer.publisher.lines
    ]


def nat_report(reach: Reach, ports: SitePorts, mapping: PortMappingFacts, now: float) -> dict[str, object]:
    """What a peer is behind, and what its router has given: as facts, and in words."""
    words = nat_words(reach, ports, mapping)
    return {
        "helpers": reach.helpers,
        "s_ago": round(now - reach.at, 1) if reach.helpers else None,
        "local": None if reach.local is None else str(reach.local),
        "address": None if reach.address is None else str(reach.address),
        "nat": reach.has_nat,
        "udp_blocked": reach.is_udp_blocked,
        "mapping": None if reach.mapping is None else reach.mapping.value,
        "filtering": None if reach.filtering is None else reach.filtering.value,
        "hairpins": reach.hairpins,
        "keeps_s": reach.keeps_s,
        "forgets_s": reach.forgets_s,
        "open": reach.is_open,
        "dialable": reach.is_dialable,
        "confirmed_by": sorted({str(node) for node in (*reach.opened_by, *reach.reached_by)}),
        "what": words.what,
        "works": list(words.works),
        "fails": list(words.fails),
        "change": list(words.change),
        "found": facts_in_words(reach),
        "port_mapping": mapping_report(mapping),
    }


def mapping_report(mapping: PortMappingFacts) -> dict[str, object]:
    """What the router has given, or why not."""
    return {
        "allowed": mapping.is_allowed,
        "router": mapping.router or None,
        "language": mapping.language or None,
        "given": {port: str(outside) for port, outside in mapping.given},
        "refusals": dict(mapping.refusals),
        "refused": dict(mapping.refused),
        "inner_address": mapping.inner_address or None,
        "what": mapping_words(mapping),
    }


def lookup_report(peer: Peer, found: LookedUp, now: float) -> dict[str, object]:
    """The result of a lookup."""
    registrations = found.registrations
    return {
        "aor": found.aor,
        "resource_id": str(found.resource),
        "path": [_hop(hop) for hop in found.path],
        "fetch_ms": round(found.fetch_ms, 2),
        "fetch_hops": found.fetch_hops,
        "responsible": _hop(found.path[-1]) if found.path and registrations is not None else None,
        "replicas": [_hop(hop) for hop in found.replicas],
        "entries": [_entry(peer, entry, now) for entry in registrations.entries] if registrations else [],
        "dropped": list(registrations.dropped) if registrations else [],
        "error": str(found.error) if found.error else None,
    }


def trace_report(asked: str, traced: Traced) -> dict[str, object]:
    """The result of a trace."""
    return {
        "target": asked,
        "kind": "Node-ID" if isinstance(traced.target, NodeId) else "Resource-ID",
        "id": str(traced.target),
        "hops": [_trace_hop(number, hop) for number, hop in enumerate(traced.hops, start=1)],
        "ping_ms": None if traced.ping_ms is None else round(traced.ping_ms, 2),
        "ping_hops": traced.ping_hops,
        "error": str(traced.error) if traced.error else None,
    }


def _trace_hop(number: int, hop: TraceHop) -> dict[str, object]:
    told = {info.kind: info.value for info in hop.infos}
    return {
        "hop": number,
        "node_id": str(hop.node),
        "user": hop.user,
        "rtt_ms": round(hop.rtt_ms, 2),
        "software": told.get(DiagnosticKind.SOFTWARE_VERSION),
        "uptime_s": told.get(DiagnosticKind.APP_UPTIME),
        "load": told.get(DiagnosticKind.STATUS_INFO),
        "diagnostics": {kind.rfc_name: to_json(value) for kind, value in told.items()},
    }


def _links(peer: Peer, now: float) -> list[dict[str, object]]:
    return [
        {
            "node_id": str(link.node),
            "user": link.user,
            "address": str(link.remote),
            "over": "DTLS" if link.kind is OverlayLinkType.DTLS_UDP_SR_NO_ICE else "TLS",
            "state": link.state.value,
            "rtt_ms": None if link.rtt_s is None else round(link.rtt_s * 1000, 2),
            "up_s": round(now - link.came_up_at, 1),
            "local": None if link.pair is None else str(link.pair.local),
            "pair": None if link.pair is None else link.pair.types,
        }
        for link in peer.node.links()
    ]


def _relays(peer: Peer) -> dict[str, object]:
    """The relay that this peer is, and those that it could use, the nearest first."""
    relays = peer.node.relays
    return {
        "offered": relays.is_offered,
        "lent_to_others": relays.allocations,
        "known": [
            {"node_id": str(node), "rtt_ms": None if rtt_s is None else round(rtt_s * 1000, 1)}
            for node, rtt_s in relays.known
        ],
        "in_use": list(map(str, relays.lending)),
    }


def _media_engine(peer: Peer) -> dict[str, object] | None:
    """What carries calls in the place of this peer; None where nothing is to."""
    engine = peer.server.relay.engine
    return None if engine is None else {"engine": str(engine), "state": engine.state.value, "calls": len(engine)}


def _failed(attempt: FailedAttempt, peer: Peer, now: float) -> dict[str, object]:
    return {
        "node_id": str(attempt.node),
        "user": peer.node.name_of(attempt.node),
        "purpose": attempt.purpose.value,
        "s_ago": round(now - attempt.at, 1),
        "reason": attempt.reason,
        "pairs": [
            {"local": str(pair.local), "remote": str(pair.remote), "types": pair.types, "outcome": pair.outcome}
            for pair in attempt.tried
        ],
    }


def _hop(hop: HopSeen) -> dict[str, object]:
    return {"node_id": str(hop.node), "user": hop.user, "rtt_ms": round(hop.rtt_ms, 2)}


def _entry(peer: Peer, entry: LineRegistration, now: float) -> Mapping[str, object]:
    leads_to: dict[str, object]
    if isinstance(entry.target, RegistrationRoute):
        leads_to = {"peer": str(entry.target.peer), "peer_user": peer.node.name_of(entry.target.peer)}
    else:
        leads_to = {"aor": entry.target.aor}
    date = peer.node.wall.date(now)
    return {
        "line": str(entry.line),
        **leads_to,
        "stored_s_ago": round(date - entry.storage_time_ms / 1000, 1),
        "lifetime_s": entry.lifetime_s,
    }


def _phone(binding: Binding, now: float) -> dict[str, object]:
    return {
        "contact": str(binding.contact),
        "via": str(binding.hops[0]),
        "user_agent": binding.user_agent,
        "expires_s": round(binding.expires_at - now),
    }


def _placed(peer: Peer, name: str, now: float) -> dict[str, object] | None:
    placed = peer.publisher.placed(name)
    if placed is None:
        return None
    return {
        "responsible": str(placed.responsible),
        "replicas": [str(node) for node in placed.replicas],
        "stored_s_ago": round(now - placed.at, 1),
    }


def services_report(name: str, near: bytes, found: ServicesFound) -> dict[str, object]:
    """The result of a search for a service."""
    return {
        "service": name,
        "near": near.hex(),
        "providers": [_provider(provider) for provider in found.providers],
        "error": None if found.error is None else str(found.error),
    }


def _provider(provider: Provider) -> dict[str, object]:
    offer = provider.offer
    return {
        "node_id": str(provider.node),
        "user": provider.user,
        "capacity": None if offer is None else offer.capacity,
        "load": None if offer is None else offer.load,
        "policy": None if offer is None else offer.policy.decode(errors="replace"),
        "expires_ms": None if offer is None else offer.expires_ms,
    }


def rooms_of(peer: Peer) -> list[dict[str, object]]:
    """The rooms that phones of this peer are in, or that it mixes: where, who is in, and who of them is here."""
    own = str(peer.node.node_id)
    rooms: dict[str, dict[str, object]] = {
        room: {"room": room, "mixed_at": own, "mixed_by": peer.node.user, "people": list(people), "here": []}
        for room, people in peer.rooms.mixed.items()
    }
    for seen, node in peer.rooms.seen:
        by = None if node is None else peer.node.user if str(node) == own else peer.node.name_of(node)
        at = None if node is None else str(node)
        people = list(peer.rooms.mixed.get(seen.room, seen.people) if at == own else seen.people)
        rooms[seen.room] = {
            "room": seen.room, "mixed_at": at, "mixed_by": by, "people": people, "here": list(seen.here)
        }  # fmt: skip
    return [rooms[room] for room in sorted(rooms)]


def dundi_of(peer: Peer, now: float) -> dict[str, object] | None:
    """This peer as an entity of DUNDi, and how it goes with its neighbours; None if it is none."""
    entity = peer.dundi.entity
    if entity is None:
        return None
    return {
        "eid": str(entity.terms.eid),
        "contexts": [each.name for each in entity.terms.contexts],
        "strangers": entity.strangers,
        "peers": [_neighbour(facts, now) for facts in entity.facts],
    }


def _neighbour(facts: NeighbourFacts, now: float) -> dict[str, object]:
    terms = facts.terms
    return {
        "name": terms.name,
        "eid": str(terms.eid),
        "address": str(terms.address),
        "encrypted": terms.keys is not None,
        "state": facts.state,
        "since_s": round(now - facts.since, 1),
        "rtt_ms": None if facts.rtt_s is None else round(facts.rtt_s * 1000, 1),
        "include": list(terms.include),
        "permit": sorted(terms.permit),
        "asked": facts.asked,
        "answered": facts.answered,
        "dropped": facts.dropped,
        "last_failure": facts.failure or None,
    }


def trunks_of(peer: Peer, now: float) -> list[dict[str, object]]:
    """Each trunk: whether it is there, since when, its calls, and what has failed last."""
    return [_trunk(trunk.facts, now) for trunk in peer.server.trunks]


def _trunk(facts: TrunkFacts, now: float) -> dict[str, object]:
    terms = facts.terms
    return {
        "name": terms.name,
        "server": f"{terms.host}:{terms.port}" if terms.port else terms.host,
        "transport": terms.transport,
        "address": None if facts.remote is None else str(facts.remote),
        "user": terms.user,
        "state": facts.state,
        "up": facts.is_up,
        "registered": facts.is_registered,
        "since_s": round(now - facts.since, 1),
        "calls": facts.calls,
        "calls_max": terms.calls_max,
        "served": facts.served,
        "prefixes": list(terms.prefixes),
        "emergency": list(terms.emergency),
        "preference": terms.preference,
        "last_failure": facts.failure if facts.failed_at is not None else None,
        "last_failure_s_ago": None if facts.failed_at is None else round(now - facts.failed_at, 1),
        "strangers": facts.strangers,
    }
