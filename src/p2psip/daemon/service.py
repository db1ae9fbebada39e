"""A peer as a service: composes the core from the state directory, runs it, ends it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from OpenSSL import SSL

from p2psip import plugins
from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.base.user_keys import key_of
from p2psip.base.wallclock import WallClock
from p2psip.coupling.peer import Peer
from p2psip.coupling.peer_news import BindingsToKeep, Stopped
from p2psip.daemon.commands import Commands, Enquired
from p2psip.daemon.control import ControlServer
from p2psip.daemon.directory.directory_service import DirectoryService
from p2psip.daemon.endpoints import (
    KnownAs,
    endpoints_of,
    link_types_of,
    listen_as_set,
    relay_terms,
    server_config,
    unknown_host,
)
from p2psip.daemon.lines.line_keeper import LineKeeper, LineNews
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.log.key_log import keylogger
from p2psip.daemon.nat_words import SitePorts
from p2psip.daemon.overlays.peers_beside import Beside
from p2psip.daemon.phone_certificate import PhoneCertificate, domains_trusted
from p2psip.daemon.renewing.another_name import takes_another_name
from p2psip.daemon.renewing.refetch import Refresher, refetch_in_process
from p2psip.daemon.renewing.renew import renew_in_process
from p2psip.daemon.renewing.renewal import Renewer, date_of_renewals, day
from p2psip.daemon.report import in_brief
from p2psip.daemon.roles.role_keeper import RoleKeeper
from p2psip.daemon.router_watch import RouterWatch
from p2psip.daemon.state.dundi_file import load_dundi
from p2psip.daemon.state.kept import (
    load_contacts,
    load_kinds,
    load_phones,
    load_services,
    save_contacts,
    save_kinds,
    save_phones,
    save_services,
)
from p2psip.daemon.state.line_files import line_names
from p2psip.daemon.state.state import PeerState, reload_identity, save_document
from p2psip.daemon.state.trunks_file import load_trunks
from p2psip.enrollment.client import verify_first
from p2psip.net.disk.record_file import DiskStore, is_damage, mark_damaged
from p2psip.net.machine_figures import allow_many_files, read_machine
from p2psip.net.node_host import HostSettings, LinkContexts, boot_time, read_wall_clock
from p2psip.net.peer_host import PeerHost
from p2psip.net.sockets.addresses import machine_hosts, words
from p2psip.net.sockets.dtls import require_cookies
from p2psip.net.sockets.interfaces import AddressNews
from p2psip.net.sockets.phone_tls import client_context
from p2psip.net.sockets.tls import make_context
from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.sequence import is_newer
from p2psip.reload.forwarding.return_path import ReturnPath
from p2psip.reload.node.effects import (
    ConfigurationChanged,
    ConfigurationOutdated,
    ContactsChanged,
    ReachSurveyed,
    UserNameTaken,
)
from p2psip.reload.node.node import Node
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.paths.values import Purpose
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import derive_secret
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.storage.storage import Storage
from p2psip.reload.usages.rules import rules_of
from p2psip.reload.wire.rejections import Rejection
from p2psip.sip.entities.call_guard import CallsToKeep
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.overlays.crossing import Crossed
from p2psip.sip.events.watchers import WatchRules

T = TypeVar("T")

RECORDS_FILE = "records.db"

NONCES = b"p2psip mappings of a router"
"""What the secret is for by which ports stay mapped over a restart."""

PHONES_SAVE_S = 1.0
"""Registrations that change within this time are written down together."""

WATCH_S = 2.0
"""How often the configuration's date and this machine's addresses are looked at, which takes 0.1 ms; when the kernel
says that one has come or gone, at once."""

MACHINE_S = 30.0
"""How often it is looked at how this machine does."""


class StartAnew(Exception):  # no error
    """The peer is to be started anew, as it was before."""


class TookAnotherName(StartAnew):
    """The peer's user name was taken; it has a certificate with another one now."""


class TookAnotherRole(StartAnew):
    """The peer was a client and is to be a peer, or the other way round."""


class PeerService:
    """One running peer."""

    def __init__(self, state: PeerState, beside: Beside | None = None) -> None:
        """`beside` tells of the peers in this process with which it is one site."""
        self._state = state
        self._beside = beside or Beside((state.directory / RECORDS_FILE,))
        self._journal = Journal(self._beside.label)
        self._has_left = asyncio.Event()
        self._is_told_to_stop = self._beside.told_to_stop
        self._is_outcast = asyncio.Event()
        self._is_renamed = asyncio.Event()
        self._obstacles: tuple[str, ...] = ()
        self._present: list[str] = []
        self._are_hosts_known = True
        self._router_watch = RouterWatch()
        self._refresher = Refresher(self, random.SystemRandom())
        self._phones_timer: asyncio.TimerHandle | None = None
        self._keylog = keylogger()

    async def run(self, ready: Callable[[Mapping[str, object]], None]) -> None:
        """Run until SIGTERM or SIGINT; `ready` is told when all sockets are open.

        Raises LocalMisuse if it cannot begin, RequestFailed if it cannot go on, StartAnew.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        # Before anything of ours can be seen: who sees it may say stop.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._is_told_to_stop.set)
        allow_many_files()
        wall, now = read_wall_clock(self._overlay_began(), self._state.identity.not_after), boot_time()
        if (reason := self._expired(wall, now)) is not None:
            raise LocalMisuse(reason)
        if reasons := plugins.obstacles(self._state.configuration):
            overlay = self._state.configuration.instance_name
            raise LocalMisuse(f"this release cannot be a peer of {overlay}: {'; '.join(reasons)}")
        self._link_types = link_types = link_types_of(self._state.settings, self._state.configuration)
        self._dundi = load_dundi(self._state.directory)
        endpoints = endpoints_of(self._state.settings, link_types, self._dundi)
        self._has_calls_port = bool(endpoints.calls)
        self._present = self._look_for_hosts()
        self._known_as = KnownAs.of(self._state.settings, self._present)
        with contextlib.closing(DiskStore(self._state.directory / RECORDS_FILE, now)) as store:
            if store.set_aside is not None:
                self._journal.warning("file set aside", file=store.set_aside, means="other peers hold copies")
            server = server_config(self._state, endpoints, self._known_as, self._dundi, self._beside.overlays)
            self._role = RoleKeeper(self._state, self._known_as.overlay, self._journal, now)
            self._peer = self._compose(store, server, wall, now)
            settings = HostSettings(self._contexts(), store, self._overlay_began(), self._state.settings.path_mtu)
            self._host = PeerHost(self._peer, settings, self._on_effect, self._state.settings.name_server_address)
            self._lines = LineKeeper(self._state.directory, self._peer, self._host, self._journal)
            self._host.own_certificate_ends = self._state.identity.not_after
            self._phone_certificate = PhoneCertificate(self._state)
            self._use_phone_tls()
            if self._state.settings.calls_other_domains or self._dundi is not None:
                self._host.use_domains(domains_trusted(self._state))
            self._commands = Commands(
                self._peer,
                self._host,
                server.is_own_host,
                self.load_lines,
                self.load_identity,
                lambda services: save_services(self._state.directory, services),
                self._site_ports(),
                lambda: self._obstacles,
                lambda: self._role.shed,
                self._beside.report,
            )
            control = ControlServer(self._state.directory, self._commands.table())
            try:
                await listen_as_set(self._host.listen, endpoints, self._state)
                self._host.use_media_host(self._known_as.media_host)
                await control.listen()
                self._begin(wall, now)
                ready({"node_id": str(self._peer.node.node_id), "user": self._peer.node.user, **self._known_as.facts()})
                await self._until_stopped()
            finally:
                control.close()
                self._host.close()

    # Beginning

    def _compose(self, store: DiskStore, server: ServerConfig, wall: WallClock, now: float) -> Peer:
        state, configuration, rng = self._state, self._state.configuration, random.SystemRandom()
        verifier, plugin = CertificateVerifier(configuration), plugins.topology(configuration.topology_plugin)
        rules = rules_of(configuration, verifier, plugin.hash_name)
        storage = Storage(store, rules, wall, now, continuity=store.continuity)
        settings = NodeSettings(
            is_client=self._role.role != "peer",
            is_router=self._role.role == "router",
            may_start_alone=state.settings.first or not configuration.bootstrap_nodes,
            contacts=self._kept("remembered peers not read", load_contacts),
            addresses=self._reload_addresses(),
            hosts=self._known_as.hosts,
            # What sockets can make: with ICE or without it, the overlay says.
            link_types=tuple(each.without_ice for each in self._link_types),
            return_path=ReturnPath(state.settings.return_path),
            relay=relay_terms(state.settings),
            lent=self._role.lent_terms,
            asks_dns=state.settings.asks_dns,
            lan_port=state.settings.overlay_port if state.settings.multicast else 0,
            mdns_port=state.settings.overlay_port if state.settings.mdns else 0,
            port_mapping_secret=derive_secret(state.identity.key, NONCES) if state.settings.port_mapping else b"",
            document=state.document,
            kind_blocks=self._kept("further kinds not read", load_kinds),
        )
        node = Node(state.identity, verifier, configuration, plugin, storage, wall, settings, rng, now)
        return Peer(node, server, rng, now, load_trunks(state.directory), self._dundi)

    def _site_ports(self) -> SitePorts:
        settings, has_ice = self._state.settings, not self._state.configuration.no_ice
        return SitePorts(settings.overlay_port, settings.sip_port, has_ice)

    def _reload_addresses(self) -> dict[Purpose, tuple[Address, ...]]:
        # A configuration that turns ICE on later does so for calls with the next start, which opens their port.
        calls = self._known_as.sip if self._has_calls_port else ()
        return {Purpose.RELOAD: self._known_as.overlay, Purpose.SIP: self._known_as.sip, Purpose.CALLS: calls}

    def _begin(self, wall: WallClock, now: float) -> None:
        ends = self._state.identity.not_after
        if not wall.is_trusted and wall.date(now) > ends:
            self._journal.warning(
                "this peer's certificate has ended, or the clock is ahead",
                until=day(ends),
                here=day(wall.date(now)),
                means="no certificate is judged by this date; set the clock, or renew: p2psip peer renew",
            )
        elif not wall.is_trusted:
            self._journal.warning("the date of this machine is not set", means="certificates are taken as valid")
        if self._state.settings.media_engine and self._peer.server.relay.engine is None:
            means = 'media is "auto", and without ICE "direct": set "anchor"'
            self._journal.warning("media engine not used", means=means)
        if host := unknown_host(self._dundi, self._state.settings, self._peer.overlay, self._known_as):
            means = "calls that come by DUNDi are refused"
            self._journal.warning("host of dundi.toml is not of this peer", host=host, means=means)
        self.load_lines()
        for rule in WatchRules(self._state.settings.watchers).unknown(line_names(self._state.directory)):
            means = "nobody watches by it, until a line of that name is added"
            self._journal.warning("no line here is the one of this rule", watchers=rule, means=means)
        self._load_phones(wall, now)
        self._directory = DirectoryService(self._state, self._peer, self._journal)
        self._directory.begin(wall, now)
        self._announce_services()
        self._peer.node.use_machine(read_machine())
        self._look_at_router()
        self._host.start()

    def _context(self, *, is_datagram: bool = False) -> SSL.Context:
        identity, secret = self._state.identity, self._state.configuration.shared_secret
        return make_context(
            identity.chain, identity.key, is_datagram=is_datagram, shared_secret=secret, keylog=self._keylog
        )

    def _use_phone_tls(self) -> None:
        """What there is now to show to phones. Raises LocalMisuse if it is no certificate with its key."""
        if self._state.settings.shows_phones_certificate:
            context = self._phone_certificate.context(self._state, self._keylog)
            self._host.use_phone_tls(context, client_context(self._state.configuration.root_certs))

    def _contexts(self) -> LinkContexts:
        datagram_context = self._context(is_datagram=True)
        require_cookies(datagram_context)
        return LinkContexts(self._context(), datagram_context)

    def _overlay_began(self) -> float:
        """A date before the trust anchor was made is wrong."""
        anchors = [x509.load_der_x509_certificate(der) for der in self._state.configuration.root_certs]
        return max((anchor.not_valid_before_utc.timestamp() for anchor in anchors), default=0.0)

    # Running

    async def _until_stopped(self) -> None:
        """Until a signal says stop, or the peer cannot go on as it is."""
        watching = asyncio.create_task(self._watch())
        renewing = asyncio.create_task(Renewer(self, self._journal).run())
        refreshing = asyncio.create_task(self._refresher.run())
        stopping = asyncio.create_task(self._is_told_to_stop.wait())
        leaving = asyncio.create_task(self._cast_out())
        renamed = asyncio.create_task(self._renamed())
        tasks = {watching, renewing, refreshing, stopping, leaving, renamed}
        try:
            over, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._leave()
            for task in over - {stopping}:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            # One of them may have a process of its own, which must not outlive this one.
            await asyncio.wait(tasks)

    async def _watch(self) -> None:
        """Look after what changes without a word: the date, this machine's addresses, how it does."""
        with contextlib.closing(AddressNews()) as news:
            machine_at = boot_time()
            while True:
                self._peer.handlings.use_local_time(time.localtime().tm_gmtoff)
                await news.wait(WATCH_S)
                self._look_around()
                if boot_time() - machine_at >= MACHINE_S:
                    machine_at = boot_time()
                    self._peer.node.use_machine(read_machine())

    def _look_around(self) -> None:
        if (reason := self._expired(self._peer.node.wall, boot_time())) is not None:
            raise RequestFailed(reason)
        self._look_at_addresses()
        self._look_at_router()
        self._directory.look(boot_time())
        self._look_at_phone_certificate()
        is_busy, neighbors = self._peer.server.counts["calls"] > 0, len(self._peer.node.neighbors)
        if self._role.look(boot_time(), is_busy=is_busy, neighbors=neighbors):
            raise TookAnotherRole

    def _look_at_addresses(self) -> None:
        """An address that came or went changes what we say of ourselves; what does not run over one that went stays."""
        present = self._look_for_hosts()
        gone, self._present = set(self._present) - set(present), present
        self._host.hosts_gone(gone)
        if (known_as := KnownAs.of(self._state.settings, present)) == self._known_as:
            return
        self._known_as = known_as
        self._journal.info("this machine has other addresses now", **known_as.facts())
        self._host.use_media_host(known_as.media_host)
        addresses = self._reload_addresses()
        self._host.call(lambda now: self._peer.use_addresses(addresses, known_as.own, now, known_as.hosts))

    def _look_at_router(self) -> None:
        if self._state.settings.port_mapping and (found := self._router_watch.look()) is not None:
            self._host.call(lambda now: self._peer.handle_path(found, now))

    def _look_at_phone_certificate(self) -> None:
        """Whoever renews the operator's files tells nobody; until both are as they should be, the ones before count."""
        if self._phone_certificate.has_changed():
            try:
                self._use_phone_tls()
                self._journal.info("phones are shown another certificate now")
            except LocalMisuse as error:
                self._journal.warning("the certificate for phones is not taken", reason=str(error))
        wall = self._peer.node.wall
        if wall.is_trusted and (reason := self._phone_certificate.out_of_date(wall.date(boot_time()))) is not None:
            file = self._state.settings.phone_certificate
            self._journal.warning("the certificate for phones is out of date", file=file, reason=reason)

    def _look_for_hosts(self) -> list[str]:
        """The addresses of this machine; those of the last look where the kernel does not say, which is said once."""
        try:
            hosts = machine_hosts()
        except OSError as error:
            # No file descriptor is left, say: the next look may see more.
            if self._are_hosts_known:
                self._journal.warning("the addresses of this machine are not known", reason=words(error))
            self._are_hosts_known = False
            return self._present
        self._are_hosts_known = True
        return hosts

    async def _cast_out(self) -> None:
        """RFC 6940 11.1: "If a node is not capable of supporting the new requirements, it MUST exit the overlay."."""
        await self._is_outcast.wait()
        reasons = "; ".join(self._obstacles)
        raise RequestFailed(f"this peer has left the overlay, of whose new configuration it is not capable: {reasons}")

    async def _renamed(self) -> None:
        await self._is_renamed.wait()
        raise TookAnotherName

    def _user_name_taken(self, taken: UserNameTaken) -> None:
        if takes_another_name(self._state, taken, self._journal):
            self._is_renamed.set()

    def _expired(self, wall: WallClock, now: float) -> str | None:
        """RFC 6940 11.1: "Time in the future at which this overlay configuration is no longer valid"."""
        configuration = self._state.configuration
        if not wall.is_trusted or configuration.is_valid_at(wall.date(now)):
            return None
        assert configuration.expiration is not None, "what never expires is valid"
        what = f"the configuration of {configuration.instance_name} has expired on {day(configuration.expiration)}"
        return f"{what}: put the overlay's new config.xml into {self._state.directory}"

    async def _leave(self) -> None:
        """Records away, neighbours told, data handed over; but not for longer than an operator waits."""
        self._journal.info("leaving")
        self._host.call(self._peer.stop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._role.leave_max_s):
                await self._has_left.wait()
        self._save_phones()
        self._directory.end(boot_time())

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A bug ends the peer, loudly, rather than to let it carry on half broken; a supervisor starts it again."""
        exception = context.get("exception")
        if is_damage(exception):
            self._journal.warning("records are damaged", reason=str(exception), means="the peer starts anew without")
            # Of several files it does not say which; other peers hold copies.
            for records in self._beside.records:
                mark_damaged(records)
            os.execv(sys.executable, sys.orig_argv)
        loop.default_exception_handler(context)
        if isinstance(exception, Exception):
            os._exit(70)

    # The peers beside it

    def take(self, crossed: Crossed) -> None:
        """The peer of another overlay of this site has something for this one."""
        self._host.call(lambda now: self._peer.handle_crossed(crossed, now))

    def overlay_ended(self, overlay: str, why: str) -> None:
        """The peer of another overlay of this site has ended."""
        self._host.call(lambda now: self._peer.overlay_ended(overlay, why, now))

    def facts(self) -> dict[str, object]:
        """What the other peers of this site say of this one."""
        return in_brief(self._peer)

    # Lines and certificates

    def load_lines(self) -> list[str]:
        """Serve the lines that are on disk, and no others; returns what could not be read, in words."""
        return self._lines.load(self._state.configuration)

    def load_identity(self) -> None:
        """Use the certificate that is on disk now, which has been renewed. Raises LocalMisuse if it is no such one."""
        self._state = reload_identity(self._state)
        self._host.call(lambda now: self._peer.use_identity(self._state.identity, now))
        self._host.own_certificate_ends = self._state.identity.not_after
        self._host.use_contexts(self._contexts())
        if not self._state.settings.phone_certificate:
            self._use_phone_tls()

    def certificates(self) -> dict[str, CertifiedIdentity]:
        """renewal.CertificateOwner: the peer's own, and those of its lines."""
        lines = (line.identity for line in self._peer.publisher.lines)
        own = [self._state.identity, *(identity for identity in lines if isinstance(identity, CertifiedIdentity))]
        return {identity.user: identity for identity in own}

    async def renew(self, user: str) -> None:
        """renewal.CertificateOwner: get a new one, and use it."""
        if user == self._state.identity.user:
            await renew_in_process(self._state.directory, None)
            self.load_identity()
        else:
            await renew_in_process(self._state.directory, key_of(user, self._peer.overlay))
            self.load_lines()

    def date(self) -> float | None:
        """renewal.CertificateOwner: what the date is."""
        return date_of_renewals(self._peer.node.wall, self._state.identity.not_after, boot_time())

    # The configuration, fetched before it ends

    def expiration(self) -> float | None:
        """refetch.Subject: when the configuration ends."""
        return self._state.configuration.expiration

    async def refetch(self) -> bool:
        """refetch.Subject: from the overlay's servers; True if there was a newer one, which is followed now."""
        raw = await refetch_in_process(self._state.directory)
        current = self._state.configuration
        try:
            document = parse(raw, current.instance_name)
            if not is_newer(document.configuration.sequence, current.sequence):
                return False
            self._host.call(lambda now: self._peer.accept_configuration(raw, now))
        except Rejection as rejection:
            self._prove(raw, rejection)
        return True

    def _prove(self, raw: bytes, rejection: Rejection) -> None:
        """It is not signed by whom we know; too many changes may have been missed. The trust anchor can tell."""
        fingerprint, overlay = self._state.settings.fingerprint, self._state.configuration.instance_name
        try:
            document = verify_first(raw, fingerprint, time.time(), False, overlay)
        except ConfigurationError as error:
            raise RequestFailed(f"{rejection}; {error}") from None
        self._host.call(lambda now: self._peer.accept_proven(document, now))

    # What is kept beside the records

    def _kept(self, what: str, load: Callable[[Path], list[T]]) -> list[T]:
        try:
            return load(self._state.directory)
        except LocalMisuse as error:
            self._journal.warning(what, reason=str(error))
            return []

    def _load_phones(self, wall: WallClock, now: float) -> None:
        """The registrations of before a restart, so that a phone is reachable before it registers again."""
        try:
            kept = load_phones(self._state.directory, wall.date(now) if wall.is_trusted else None)
            if kept is not None:
                self._host.call(lambda now: self._peer.restore(*kept, now))
        except LocalMisuse as error:
            self._journal.warning("registrations not taken up", reason=str(error))

    def _announce_services(self) -> None:
        """Those of before a restart; one that is not permitted any more is left out."""
        for kept in self._kept("services not read", load_services):
            try:
                self._host.call(
                    lambda now, kept=kept: self._peer.announce(kept.name, kept.capacity, kept.policy, now)  # type: ignore[misc]
                )
            except LocalMisuse as error:
                self._journal.warning("service not announced", service=kept.name, reason=str(error))

    def _save_phones_soon(self) -> None:
        if self._phones_timer is None:
            self._phones_timer = asyncio.get_running_loop().call_later(PHONES_SAVE_S, self._save_phones)

    def _save_phones(self) -> None:
        self._phones_timer = None
        snapshot = self._peer.server.snapshot(boot_time())
        self._save("phones", lambda: save_phones(self._state.directory, snapshot, self.date()))

    def _save(self, what: str, save: Callable[[], None]) -> None:
        try:
            save()
        except LocalMisuse as error:
            self._journal.warning("not saved", what=what, reason=str(error))

    def _configuration_changed(self, changed: ConfigurationChanged) -> None:
        """The peer follows a new configuration already; a restart is to have it as well."""
        before = self._state.configuration.shared_secret
        self._state = replace(self._state, document=changed.document)
        if self._state.configuration.shared_secret != before:
            # 13.4: who comes from now on has to know the new one.
            self._host.use_contexts(self._contexts())
        self._save("configuration", lambda: save_document(self._state.directory, changed.document))
        self._save("kinds", lambda: save_kinds(self._state.directory, changed.kind_blocks))
        if changed.obstacles:
            self._obstacles = changed.obstacles
            self._is_outcast.set()

    # What the core has to say

    def _on_effect(self, effect: Effect) -> None:
        match effect:
            case ContactsChanged(addresses):
                self._save("contacts", lambda: save_contacts(self._state.directory, addresses))
            case BindingsToKeep(user):
                self._journal.phones(user, self._peer.server.bindings(user, boot_time()))
                self._save_phones_soon()
            case CallsToKeep():
                self._save_phones_soon()
            case _ if isinstance(effect, LineNews):
                self._lines.keep(effect)
            case ConfigurationChanged():
                self._refresher.followed()
                self._configuration_changed(effect)
            case ConfigurationOutdated():
                self._refresher.outdated()
            case _ if isinstance(effect, Enquired):
                self._commands.is_over(effect)
            case ReachSurveyed():
                self._commands.surveyed(effect)
                self._role.surveyed(effect, boot_time())
            case UserNameTaken():
                self._user_name_taken(effect)
            case Crossed():
                self._beside.cross(effect)
            case Stopped():
                self._has_left.set()
            case _:
                self._journal.effect(effect)
