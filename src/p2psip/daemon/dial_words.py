"""What would become of a call, in words: from a running peer, or from the settings alone (`p2psip dial --explain`)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from p2psip.base.errors import LocalMisuse
from p2psip.coupling.enquiries.lookup import LookedUp
from p2psip.coupling.gruu import peer_uri
from p2psip.coupling.numbers.gateways import GatewaysKnown
from p2psip.coupling.peer import Peer
from p2psip.daemon.endpoints import doors_of, hosted_of, own_names
from p2psip.daemon.state.dial_plan_file import load_numbering
from p2psip.daemon.state.dundi_file import load_dundi
from p2psip.daemon.state.line_files import LineFiles, line_names
from p2psip.daemon.state.state import PeerState
from p2psip.daemon.state.trunks_file import load_trunks
from p2psip.dundi.values import NumberSought
from p2psip.reload.usages.sip_registration import RegistrationRoute
from p2psip.sip.entities.agents.own_agents import agents_of
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.domains.location import DomainServers
from p2psip.sip.entities.gateway.trunk import Trunk
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.proxy.explaining import Explanation
from p2psip.sip.entities.server import SipServer
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.uri import SipUri, Uri, escape_user, parse_uri

NOBODY: Final = "nobody in the overlay is"
NOWHERE: Final = "nowhere to go"
NO_GATEWAY: Final = "no gateway reaches"


def uri_dialled(number: str, meant_by: Callable[[Uri], Uri], overlay: str) -> SipUri:
    """What a phone makes of what people type into it. Raises LocalMisuse if that is no number and no name."""
    text = number.strip()
    try:
        # With a domain it is a URI, of which people leave out how it begins.
        is_uri = ":" in text or "@" in text
        uri = parse_uri(text if ":" in text else f"sip:{text}") if is_uri else SipUri(overlay, escape_user(text))
        meant = meant_by(uri)
    except BadMessage as error:
        raise LocalMisuse(f"{number!r} cannot be dialled: {error}") from None
    if not isinstance(meant, SipUri) or not text:
        raise LocalMisuse(f"{number!r} is no number here: write 42, bob, tel:+4930123 or sip:bob@{overlay}")
    return meant


def line_meant(line: str, lines: list[str]) -> str | None:
    """Whose phone dials: one of the lines, the first if nobody has said. Raises LocalMisuse."""
    meant = line if line in lines else line.partition("@")[0]
    if line and meant not in lines:
        raise LocalMisuse(f"{line} has no line here: there are {', '.join(lines) or 'none'}")
    return meant or (lines[0] if lines else None)


def offline_config(state: PeerState) -> ServerConfig:
    """What a peer that does not run would be by its files: what it takes to know what numbers mean."""
    overlay = state.configuration.instance_name
    return ServerConfig(
        realm=overlay,
        domains=own_names(state.settings, overlay),
        listeners=(),
        peer_side=peer_uri(state.identity.user.partition("@")[0], overlay, state.identity.node_id),
        hosted=hosted_of(state.settings, state.configuration),
        numbering=load_numbering(state.directory),
        other_domains=doors_of(state.settings, load_dundi(state.directory)),
    )


def explain_offline(state: PeerState, number: str, line: str) -> dict[str, object]:
    """By the files of a peer that does not run."""
    config = offline_config(state)
    handlings, names, rng = Handlings(), line_names(state.directory), random.Random(0)
    for name in names:
        handlings.set(name, LineFiles(state.directory, name).load_handling())
    trunks = [Trunk(terms, config.peer_side, rng) for terms in load_trunks(state.directory)]
    server = SipServer(config, rng, agents_of(config, handlings, rng), handlings=handlings, trunks=trunks)
    user = line_meant(line, names)
    explained = server.explain(uri_dialled(number, server.meant, config.realm), user, 0.0)
    places = ["the peer does not run: the overlay is not asked"] if explained.user is not None else []
    places = ["the peer does not run: DNS is not asked"] if explained.outside is not None else places
    return explanation_report(number, user, explained, places)


def explanation_report(number: str, line: str | None, explained: Explanation, places: list[str]) -> dict[str, object]:
    """As plain values. A call for somebody whom the overlay does not know would be refused as well."""
    words = [{"resolver": word.resolver, "number": word.number, "says": word.says} for word in explained.words]
    end = explained.ends
    return {
        "number": number,
        "line": line,
        "words": words,
        "end": end,
        "user": explained.user,
        "places": places,
        "refused": end.startswith("refused") or (bool(places) and places[-1].startswith((NOBODY, NOWHERE, NO_GATEWAY))),
    }


def servers_found(found: DomainServers) -> list[str]:
    """What DNS said of another domain, and which servers are tried, in their order."""
    places = [f"tries {hop}" for hop in found.hops]
    return [*found.said, *(places or [f"{NOWHERE}: {found.reason}"])]


def places_found(peer: Peer, found: LookedUp) -> list[str]:
    """Where the overlay says that a user is."""
    if found.registrations is None:
        return [f"the lookup of {found.aor} failed: {found.error}"]
    places = [
        f"peer {peer.node.name_of(entry.target.peer) or entry.target.peer.short}"
        if isinstance(entry.target, RegistrationRoute)
        else f"forwarded to {entry.target.aor}"
        for entry in found.registrations.entries
    ]
    return places or [f"{NOBODY} {found.aor}"]


def neighbours_in_words(sought: NumberSought) -> list[str]:
    """What neighbours by DUNDi have said of a number, and where the call goes first; nothing where there are none."""
    goes = [f"goes to {place} by the word of DUNDi peer {place.neighbour}" for place in sought.places[:1]]
    return [*(f"DUNDi peer {said}" for said in sought.said), *goes]


def gateways_in_words(found: GatewaysKnown) -> list[str]:
    """Those that reach a number, in the order in which they are tried; nothing where there are none."""
    words = []
    for place, gateway in enumerate(found.gateways):
        far = "" if gateway.rtt_s is None else f", {gateway.rtt_s * 1000:.0f} ms away"
        failed = ", has just failed" if gateway.has_failed else ""
        who = gateway.target.label if not gateway.rtt_s and gateway.target.hops else gateway.user.partition("@")[0]
        by = f"{gateway.digits} digits of it, preference {gateway.preference}{far}{failed}"
        words.append(f"{'' if place == 0 else 'else '}gateway {who.removeprefix('gateway ')}: {by}")
    return words
