"""A peer as a service: composes the core from the state directory, runs it, ends it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog
from cryptography import x509

from p2psip.base.effects import Effect, Note
from p2psip.base.errors import LocalMisuse
from p2psip.coupling.lookup import Found
from p2psip.coupling.peer import BindingsToKeep, Peer, Stopped, peer_uri
from p2psip.daemon.control import ControlServer
from p2psip.daemon.endpoints import ListenAddresses, own_names
from p2psip.daemon.line_files import LineFiles, line_names
from p2psip.daemon.report import lines_of, lookup_report, status_of
from p2psip.daemon.state import PeerState
from p2psip.net.disk import DiskStore
from p2psip.net.files import PRIVATE, read_file, write_file
from p2psip.net.peer_host import PeerHost, boot_time, read_wall_clock
from p2psip.net.tls import make_context
from p2psip.reload.node.effects import Address, ContactsChanged, Purpose
from p2psip.reload.node.node import Node
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.storing import Rules
from p2psip.reload.topology.ring import hash_name
from p2psip.reload.usages.sip_registration import Namespaces, NotAnAor, canonical_aor
from p2psip.reload.wire.kinds import SIP_REGISTRATION
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.reports import RequestCarried

RECORDS_FILE = "records.db"
CONTACTS_FILE = "contacts.json"
PHONES_FILE = "phones.json"
STOP_MAX_S = 5.0
PHONES_SAVE_S = 1.0
"""Registrations that change within this time are written down together."""


class PeerService:
    """One running peer."""

    def __init__(self, state: PeerState) -> None:
        self._state = state
        self._log = structlog.get_logger()
        self._stop_asked = asyncio.Event()
        self._has_left = asyncio.Event()
        self._lookups: dict[int, asyncio.Future[Found]] = {}
        self._phones_timer: asyncio.TimerHandle | None = None
        self._keylog = os.environ.get("SSLKEYLOGFILE")

    async def run(self, ready: Callable[[Mapping[str, object]], None]) -> None:
        """Run until SIGTERM or SIGINT; `ready` is told when all sockets are open."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_crash)
        now = boot_time()
        self._store = DiskStore(self._state.directory / RECORDS_FILE, now)
        addresses = ListenAddresses.of(self._state.settings)
        self._peer = self._compose(addresses, now)
        context = make_context(self._state.identity.chain, self._state.identity.key, keylog=self._keylogger())
        self._host = PeerHost(self._peer, context, self._store, self._overlay_began(), self._on_effect)
        control = ControlServer(self._state.directory, self._commands())
        try:
            await self._host.listen(addresses.endpoints)
            await control.listen()
            self._load_lines(now)
            self._load_phones(now)
            self._host.start()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop_asked.set)
            ready({"node_id": str(self._peer.node.node_id), "user": self._peer.node.user, **addresses.facts()})
            await self._stop_asked.wait()
            await self._leave()
        finally:
            control.close()
            self._host.close()
            self._store.close()

    # Composition

    def _compose(self, addresses: ListenAddresses, now: float) -> Peer:
        state, configuration = self._state, self._state.configuration
        rng = random.SystemRandom()
        verifier = CertificateVerifier(configuration)
        namespaces = Namespaces(configuration.instance_name, configuration.domain_restriction)
        rules = Rules(configuration.kinds, verifier, hash_name, {SIP_REGISTRATION: namespaces})
        wall = read_wall_clock(self._overlay_began())
        storage = Storage(self._store, rules, wall, now, continuity=self._store.continuity)
        bootstrap = {Address(node.address, node.port) for node in configuration.bootstrap_nodes}
        node = Node(
            state.identity,
            verifier,
            configuration,
            storage,
            wall,
            rng,
            now,
            may_start_alone=state.settings.first
            or not bootstrap
            or bool(bootstrap & set(addresses.advertised_overlay)),
            contacts=self._load_contacts(),
        )
        node.attaching.addresses = {
            Purpose.RELOAD: addresses.advertised_overlay,
            Purpose.SIP: addresses.advertised_sip,
        }
        name = state.identity.user.partition("@")[0]
        server = ServerConfig(
            realm=configuration.instance_name,
            domains=own_names(state.settings, configuration.instance_name, addresses),
            listeners=addresses.listeners,
            peer_side=peer_uri(name, configuration.instance_name, node.node_id),
        )
        return Peer(node, rules, server, rng, now)

    def _overlay_began(self) -> float:
        """A date before the trust anchor was made is wrong."""
        anchors = [x509.load_der_x509_certificate(der) for der in self._state.configuration.root_certs]
        return max((anchor.not_valid_before_utc.timestamp() for anchor in anchors), default=0.0)

    def _keylogger(self) -> Callable[[bytes], None] | None:
        """SSLKEYLOGFILE, as other software has it: the session keys, so that tshark can read a capture."""
        if not self._keylog:
            return None
        descriptor = os.open(self._keylog, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        return lambda line: _write_line(descriptor, line)

    # What is kept beside the records

    def _load_lines(self, now: float) -> list[str]:
        """Serve the lines that are on disk, and no others; returns what could not be read, in words."""
        names = line_names(self._state.directory)
        problems: list[str] = []
        for line in self._peer.publisher.lines:
            if line.name not in names:
                self._host.call(lambda now, name=line.name: self._peer.remove_line(name, now))  # type: ignore[misc]
        for name in names:
            try:
                line = LineFiles(self._state.directory, name).load(self._state.configuration)
            except LocalMisuse as error:
                self._log.warning("line not served", user=name, reason=str(error))
                problems.append(str(error))
                continue
            known = self._peer.publisher.get(name)
            if known is None or known.ha1s != line.ha1s or known.identity.certificates != line.identity.certificates:
                self._peer.add_line(line, now)
        return problems

    def _load_contacts(self) -> list[Address]:
        path = self._state.directory / CONTACTS_FILE
        if not path.exists():
            return []
        try:
            return [Address(*entry) for entry in msgspec.json.decode(read_file(path), type=list[tuple[str, int]])]
        except (LocalMisuse, msgspec.MsgspecError) as error:
            self._log.warning("remembered peers not read", reason=str(error))
            return []

    def _load_phones(self, now: float) -> None:
        """The registrations of before a restart, so that a phone is reachable before it registers again."""
        path = self._state.directory / PHONES_FILE
        if not path.exists():
            return
        try:
            elapsed_s = max(0.0, time.time() - path.stat().st_mtime)
            self._peer.server.restore(read_file(path), now, elapsed_s)
        except LocalMisuse as error:
            self._log.warning("registrations not taken up", reason=str(error))

    def _save_phones(self) -> None:
        self._phones_timer = None
        self._save(PHONES_FILE, self._peer.server.snapshot(boot_time()))

    def _save(self, name: str, data: bytes) -> None:
        try:
            write_file(self._state.directory / name, data, PRIVATE)
        except LocalMisuse as error:
            self._log.warning("not saved", file=name, reason=str(error))

    # What the core has to say

    def _on_effect(self, effect: Effect) -> None:
        match effect:
            case Note(event, facts, is_warning):
                log = self._log.warning if is_warning else self._log.info
                log(event, **{name: _plain(value) for name, value in facts.items()})
            case ContactsChanged(addresses):
                self._save(CONTACTS_FILE, json.dumps(addresses).encode())
            case BindingsToKeep(user):
                self._log.info("phones changed", user=user)
                if self._phones_timer is None:
                    loop = asyncio.get_running_loop()
                    self._phones_timer = loop.call_later(PHONES_SAVE_S, self._save_phones)
            case Found(handle):
                if (waiting := self._lookups.pop(handle, None)) is not None and not waiting.done():
                    waiting.set_result(effect)
            case RequestCarried():
                self._log.info("request carried", **_carried(effect))
            case Stopped():
                self._has_left.set()
            case _:
                self._log.debug("event", what=str(effect))

    # Commands from the command line

    def _commands(self) -> dict[str, Callable[[Mapping[str, object]], Awaitable[object]]]:
        return {
            "status": self._status,
            "lines": self._lines,
            "lookup": self._lookup,
            "reload-lines": self._reload_lines,
        }

    async def _status(self, _: Mapping[str, object]) -> object:
        return status_of(self._peer, boot_time())

    async def _lines(self, _: Mapping[str, object]) -> object:
        return lines_of(self._peer, boot_time())

    async def _lookup(self, asked: Mapping[str, object]) -> object:
        aor = self._aor(str(asked.get("uri", "")))
        waiting: asyncio.Future[Found] = asyncio.get_running_loop().create_future()

        def begin(now: float) -> None:
            self._lookups[self._peer.look_up(aor, now)] = waiting

        self._host.call(begin)
        return lookup_report(self._peer, await waiting, boot_time())

    async def _reload_lines(self, _: Mapping[str, object]) -> object:
        problems: list[str] = []
        self._host.call(lambda now: problems.extend(self._load_lines(now)))
        if problems:
            raise LocalMisuse(problems[0])
        return lines_of(self._peer, boot_time())

    def _aor(self, text: str) -> str:
        """What people type: sip:bob@overlay, bob@overlay, or bob; any own name of this peer means the overlay."""
        user, at, _ = text.removeprefix("sip:").partition("@")
        try:
            return canonical_aor(text if at else f"{user}@{self._peer.overlay}")
        except NotAnAor as error:
            raise LocalMisuse(f"{error}; write sip:USER@{self._peer.overlay}") from None

    # End

    async def _leave(self) -> None:
        """Records away, neighbours told, data handed over; but not for longer than an operator waits."""
        self._log.info("leaving")
        self._host.call(self._peer.stop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_MAX_S):
                await self._has_left.wait()
        self._save_phones()


def _crash(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A bug ends the peer, loudly, rather than to let it carry on half broken; a supervisor starts it again."""
    loop.default_exception_handler(context)
    if isinstance(context.get("exception"), Exception):
        os._exit(70)


def _carried(report: RequestCarried) -> dict[str, object]:
    facts: dict[str, object] = {
        "method": report.method,
        "from": report.who,
        "to": report.uri,
        "answered_by": report.target,
        "status": report.status,
        "ms": round(report.took_s * 1000, 1),
    }
    if report.rang_s is not None:
        facts["rang_after_ms"] = round(report.rang_s * 1000, 1)
    if report.causes:
        facts["causes"] = "; ".join(map(str, report.causes))
    return facts


def _plain(value: object) -> object:
    """A fact as it goes into the log."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return "; ".join(map(str, value))
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)


def _write_line(descriptor: int, line: bytes) -> None:
    os.write(descriptor, line + b"\n")
