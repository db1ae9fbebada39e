"""What the command line can ask of a running peer, over its control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.coupling.enquiries.lookup import LookedUp
from p2psip.coupling.enquiries.tracing import Traced
from p2psip.coupling.numbers.gateways import GatewaysKnown
from p2psip.coupling.peer import Peer
from p2psip.coupling.peer_news import MailboxAnswered
from p2psip.coupling.services.rooms import SERVICE as CONFERENCE
from p2psip.coupling.services.rooms import rooms_offered
from p2psip.coupling.services.service_users import OF_THEIR_OWN
from p2psip.daemon.control import Command
from p2psip.daemon.dial_words import (
    NO_GATEWAY,
    NOBODY,
    explanation_report,
    gateways_in_words,
    line_meant,
    neighbours_in_words,
    places_found,
    servers_found,
    uri_dialled,
)
from p2psip.daemon.directory.directory_report import directory_report
from p2psip.daemon.lines.mailbox_commands import mailbox_command
from p2psip.daemon.nat_words import SitePorts
from p2psip.daemon.report import (
    lines_of,
    lookup_report,
    nat_report,
    rooms_of,
    services_report,
    status_of,
    trace_report,
    trunks_of,
)
from p2psip.daemon.state.kept import KeptService
from p2psip.dundi.values import NumberSought
from p2psip.net.node_host import boot_time
from p2psip.net.peer_host import PeerHost
from p2psip.reload.node.choosing.service_chooser import PROVIDERS_MAX
from p2psip.reload.node.effects import ReachSurveyed
from p2psip.reload.node.service_discovery import ServicesFound
from p2psip.reload.paths.nat.reach import Reach
from p2psip.reload.usages.redir import Announcement
from p2psip.reload.usages.sip_registration import NotAnAor, canonical_aor
from p2psip.reload.wire.kinds import REDIR
from p2psip.sip.entities.domains.locations import ServersFound

Enquired = LookedUp | Traced | ServicesFound | ServersFound | GatewaysKnown | NumberSought | MailboxAnswered
"""What is told at the end of something that was begun with a context."""

LOOKUP_MAX_S = 90.0
"""A lookup, or a trace, asks every peer on the way, and each may be one that does not answer any more."""


class Commands:
    """The commands of one peer. `is_own_host` says which domains mean the overlay."""

    def __init__(
        self,
        peer: Peer,
        host: PeerHost,
        is_own_host: Callable[[str], bool],
        reload_lines: Callable[[], list[str]],
        reload_identity: Callable[[], None],
        keep_services: Callable[[list[KeptService]], None],
        ports: SitePorts,
        obstacles: Callable[[], Sequence[str]],
        shed: Callable[[], str],
        overlays: Callable[[], list[dict[str, object]]] = list,
    ) -> None:
        self._peer = peer
        self._host = host
        self._is_own_host = is_own_host
        self._reload_lines = reload_lines
        self._reload_identity = reload_identity
        self._keep_services = keep_services
        self._ports = ports
        self._obstacles = obstacles
        self._shed = shed
        self._overlays = overlays
        self._surveyed: list[asyncio.Future[Reach]] = []

    def table(self) -> dict[str, Command]:
        """By name."""
        plain: dict[str, Callable[[], object]] = {
            "configuration": self._configuration,
            "status": lambda: status_of(self._peer, self._shed(), self._overlays(), boot_time()),
            "lines": lambda: lines_of(self._peer, boot_time()),
            "trunks": lambda: trunks_of(self._peer, boot_time()),
            "rooms": lambda: rooms_of(self._peer),
            "reload-lines": lambda: {"problems": self._reload_lines()},
            "reload-identity": self._reload_identity,
        }
        commands = {name: _command(run) for name, run in plain.items()}
        asking = {
            "nat": self._nat,
            "directory": self._directory,
            "lookup": self._lookup,
            "dial-explain": self._explain_call,
            "trace": self._trace,
            "configure": self._configure,
            "services-find": self._find_services,
            "services-announce": self._announce,
            "mailbox": self._mailbox,
        }
        return asking | commands

    def _configuration(self) -> dict[str, object]:
        """Which configuration this peer has, why it leaves if it is not capable of it, and which its neighbours have
        shown to have.
        """
        node = self._peer.node
        return {
            "overlay": self._peer.overlay,
            "sequence": node.configuration.sequence,
            "obstacles": list(self._obstacles()),
            "neighbors": {str(neighbor): node.configuration_of(neighbor) for neighbor in node.neighbors},
            "kinds": [kind.name or hex(kind.kind_id) for kind in node.configuration.required_kinds],
        }

    async def _configure(self, asked: Mapping[str, object]) -> object:
        """Take a configuration document, or kind-blocks, and pass them on."""
        document, kinds = asked.get("document"), asked.get("kinds")
        if isinstance(document, str):
            self._host.call(lambda now: self._peer.accept_configuration(document.encode(), now))
        if isinstance(kinds, list):
            blocks = [str(block).encode() for block in kinds]
            self._host.call(lambda now: self._peer.accept_kinds(blocks, now))
        return self._configuration()

    @staticmethod
    def is_over(end: Enquired) -> None:
        """What was asked for is there; who asked may not wait any more."""
        waiting = end.context
        assert isinstance(waiting, asyncio.Future), "the context of each is who waits for it"
        if not waiting.done():
            waiting.set_result(end)

    async def _wait(self, begin: Callable[[object, float], None], what: str) -> Any:
        """Have the peer begin something; its end. Raises RequestFailed if that takes too long."""
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._host.call(lambda now: begin(waiting, now))
        try:
            async with asyncio.timeout(LOOKUP_MAX_S):
                return await waiting
        except TimeoutError:
            raise RequestFailed(f"{what} is not over after {LOOKUP_MAX_S:.0f} s") from None

    def surveyed(self, end: ReachSurveyed) -> None:
        """A survey is over, whoever wanted it."""
        waiting, self._surveyed = self._surveyed, []
        for each in waiting:
            if not each.done():
                each.set_result(end.reach)

    async def _nat(self, _: Mapping[str, object]) -> object:
        """What this peer is behind, by a survey that is made now."""
        waiting: asyncio.Future[Reach] = asyncio.get_running_loop().create_future()
        self._surveyed.append(waiting)
        self._host.call(self._peer.node.survey)
        try:
            async with asyncio.timeout(LOOKUP_MAX_S):
                reach = await waiting
                return nat_report(reach, self._ports, self._peer.node.port_mapping, boot_time())
        except TimeoutError:
            raise RequestFailed(f"the survey is not over after {LOOKUP_MAX_S:.0f} s") from None

    async def _directory(self, asked: Mapping[str, object]) -> object:
        """From this peer's own copy: nobody is asked."""
        return directory_report(self._peer, asked, boot_time())

    async def _lookup(self, asked: Mapping[str, object]) -> object:
        aor = self._aor(str(asked.get("uri", "")))
        found = await self._find(aor)
        lower = aor.lower()
        if aor != lower and found.error is None and not (found.registrations and found.registrations.entries):
            # As for a call: names are issued in lower case.
            found = await self._find(lower)
        return lookup_report(self._peer, found, boot_time())

    async def _explain_call(self, asked: Mapping[str, object]) -> object:
        """What would become of a call, and where the overlay says that whoever would be called is."""
        number, peer = str(asked.get("number", "")), self._peer
        lines = [line.name for line in peer.publisher.lines]
        line = line_meant(str(asked.get("line") or ""), lines)
        uri = uri_dialled(number, peer.server.meant, peer.overlay)
        explained = peer.server.explain(uri, line, boot_time())
        user = explained.user
        places = [] if user is None else places_found(peer, await self._find(self._aor(user)))
        if (outside := explained.outside) is not None:
            servers = await self._wait(lambda context, now: peer.find_servers(outside, context, now), "DNS")
            places = servers_found(servers.found)
        if calls_out := explained.calls_out(is_nobody=any(place.startswith(NOBODY) for place in places)):
            places += await self._out_of_overlay(calls_out, is_emergency=explained.user is None)
        return explanation_report(number, line, explained, places)

    async def _out_of_overlay(self, number: str, *, is_emergency: bool) -> list[str]:
        """What neighbours by DUNDi say of a number, and the gateways that are tried after them."""
        gateways = await self._gateways_to(number, is_emergency=is_emergency)
        nobody = [f"{NO_GATEWAY} {number}"]
        if is_emergency:
            return gateways or nobody
        if rooms := await self._rooms(number):
            return rooms
        what = f"the search for {number} by DUNDi"
        sought = await self._wait(lambda context, now: self._peer.look_for_neighbours(number, context, now), what)
        assert isinstance(sought, NumberSought)
        return [*neighbours_in_words(sought), *(gateways or ([] if sought.places else nobody))]

    async def _rooms(self, number: str) -> list[str]:
        """Who mixes a number, if it is that of a room."""
        if not self._peer.rooms.has_mixers or REDIR not in self._peer.node.configuration.kinds:
            return []

        def begin(context: object, now: float) -> None:
            self._peer.find_services(CONFERENCE, self._peer.node.node_id, PROVIDERS_MAX, context, now)

        found = await self._wait(begin, f"the search for {CONFERENCE}")
        assert isinstance(found, ServicesFound)
        mixers = [each.user.partition("@")[0] for each in found.providers if rooms_offered(each).has(number)]
        return [f"room {number}, which {' or '.join(mixers)} mixes"] if mixers else []

    async def _gateways_to(self, number: str, *, is_emergency: bool) -> list[str]:
        """In the order in which they are tried."""

        def begin(context: object, now: float) -> None:
            self._peer.look_for_gateways(number, context, now, is_emergency=is_emergency)

        found = await self._wait(begin, f"the search for gateways to {number}")
        assert isinstance(found, GatewaysKnown)
        return gateways_in_words(found)

    async def _find(self, aor: str) -> LookedUp:
        found = await self._wait(lambda context, now: self._peer.look_up(aor, context, now), f"the lookup of {aor}")
        assert isinstance(found, LookedUp)
        return found

    async def _trace(self, asked: Mapping[str, object]) -> object:
        text = str(asked.get("target", "")).strip()
        target = self._target(text)
        what = f"the trace of {text}"
        return trace_report(text, await self._wait(lambda context, now: self._peer.trace(target, context, now), what))

    async def _mailbox(self, asked: Mapping[str, object]) -> object:
        return await mailbox_command(self._peer, asked, self._wait)

    async def _find_services(self, asked: Mapping[str, object]) -> object:
        name, near, want = str(asked.get("name", "")), str(asked.get("near") or ""), _number(asked, "want", 1)
        place = self._target(near) if near else self._peer.node.node_id

        def begin(context: object, now: float) -> None:
            self._peer.find_services(name, place, want, context, now)

        return services_report(name, place, await self._wait(begin, f"the search for {name}"))

    async def _announce(self, asked: Mapping[str, object]) -> object:
        """Announce a service, or with `withdraw` no more; which ones are announced now."""
        name = str(asked.get("name", ""))
        if asked.get("withdraw"):
            self._host.call(lambda now: self._peer.withdraw(name, now))
        else:
            capacity, policy = _number(asked, "capacity", 0), str(asked.get("policy") or "")
            self._host.call(lambda now: self._peer.announce(name, capacity, policy, now))
        # Written down at once: a restart, also after a power cut, is to announce the same.
        own = [each for each in self._peer.services.announcements if each.name not in OF_THEIR_OWN]
        self._keep_services([_kept(announced) for announced in own])
        return {"services": self._peer.services.names}

    def _target(self, text: str) -> NodeId | ResourceId:
        """A Node-ID in hex, a Resource-ID in hex after "resource:", or a user, whose record is meant."""
        kind, colon, digits = text.partition(":")
        length = 2 * len(self._peer.node.node_id)
        try:
            if colon and kind.lower() == "resource":
                return ResourceId(bytes.fromhex(digits))
            if len(text) == length:
                return NodeId(bytes.fromhex(text))
        except ValueError:
            if colon:
                raise LocalMisuse(
                    f"{digits} is no Resource-ID: {length} hex digits, as `p2psip lookup` prints"
                ) from None
        return self._peer.node.hash_name(self._aor(text).encode())

    def _aor(self, text: str) -> str:
        """What people type: sip:bob@overlay, bob@overlay, or bob; any own name of this peer means the overlay."""
        overlay = self._peer.overlay
        scheme, colon, rest = text.strip().partition(":")
        text = rest if colon and scheme.lower() in ("sip", "sips") else text.strip()
        try:
            aor = canonical_aor(text if "@" in text else f"{text}@{overlay}")
        except NotAnAor as error:
            raise LocalMisuse(f"{error}; write sip:USER@{overlay}") from None
        user, _, domain = aor.rpartition("@")
        return f"{user}@{overlay}" if self._is_own_host(domain.strip("[]")) else aor


def _number(asked: Mapping[str, object], name: str, otherwise: int) -> int:
    """An argument that is a whole number. Raises LocalMisuse."""
    value = asked.get(name, otherwise)
    if not isinstance(value, int):
        raise LocalMisuse(f"{name} is {value!r}: give a whole number")
    return value


def _kept(announced: Announcement) -> KeptService:
    offer = announced.offer
    assert offer is not None, "a peer says what it offers"
    return KeptService(announced.name, offer.capacity, offer.policy.decode())


def _command(run: Callable[[], object]) -> Callable[[Mapping[str, object]], Awaitable[object]]:
    async def command(_: Mapping[str, object]) -> object:
        return run()

    return command
