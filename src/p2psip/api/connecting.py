"""`p2psip.connect`: an application becomes a client of an overlay (RFC 6940 section 4.2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from cryptography import x509

from p2psip import plugins
from p2psip.api.client_session import ClientSession, contexts
from p2psip.api.overlay import Overlay
from p2psip.api.renewing import OwnCertificate
from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.daemon.renewing.renewal import Renewer
from p2psip.daemon.state.client_state import client_obstacles, load_client
from p2psip.daemon.state.state import save_document
from p2psip.net.disk.home import in_home
from p2psip.net.disk.record_file import DiskStore
from p2psip.net.node_host import HostSettings, NodeHost, boot_time, read_wall_clock
from p2psip.net.sockets.addresses import own_address
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document
from p2psip.reload.node.application import ApplicationNode
from p2psip.reload.node.node import Node
from p2psip.reload.node.settings import NodeSettings
from p2psip.reload.paths.values import Purpose
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.verifier import CertificateVerifier
from p2psip.reload.storage.storage import Storage
from p2psip.reload.storage.store.continuity import Continuity
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Commit, CommitAnswer, RecordReader
from p2psip.reload.usages.rules import rules_of
from p2psip.reload.wire.link_messages import NO_ICE

TIMES_FILE = "times.db"
WILDCARDS = ("0.0.0.0", "::")


@asynccontextmanager
async def connect(
    state_dir: str | os.PathLike[str] | None = None,
    *,
    configuration: OverlayConfiguration | None = None,
    identity: CertifiedIdentity | None = None,
    listen: str | None = None,
    timeout_s: float = 30.0,
) -> AsyncIterator[Overlay]:
    """Be a client of an overlay for as long as the block lasts.

    `state_dir` is what `p2psip client init` has made, where the certificate is renewed in time; in its place an
    application that keeps these things itself gives `configuration` and `identity`. `listen` is the address at which
    others may reach us, instead of the one in client.toml. Raises LocalMisuse if what is given does not do,
    RequestFailed if the overlay is not reached in `timeout_s`.
    """
    directory, document = None, None
    if state_dir is not None:
        if configuration is not None or identity is not None:
            raise LocalMisuse("give the state directory, or a configuration and an identity")
        directory = Path(in_home(str(state_dir)))
        state = load_client(directory)
        document = state.document
        configuration, identity, listen = state.configuration, state.identity, listen or state.settings.listen
    if configuration is None or identity is None:
        raise LocalMisuse("give the state directory, or a configuration and an identity")
    if reasons := client_obstacles(configuration):
        raise LocalMisuse(f"this release cannot be a client of {configuration.instance_name}: {'; '.join(reasons)}")
    with _store(directory) as store:
        session, host = _compose(configuration, identity, store, document, partial(_keep, directory))
        try:
            await _listen(session, host, listen or WILDCARDS[0])
            host.start()
            async with _renewing(session, directory):
                await _wait_connected(session, timeout_s)
                yield Overlay(session)
        finally:
            await session.withdraw_services()
            host.call(session.node.leave)
            session.close()
            host.close()
            await host.wait_closed()


class _MemoryDisk(MemoryStore):
    """A store whose commits are done at once: for an application that keeps no state directory."""

    continuity = Continuity()

    def commit_soon(self, commit: Commit) -> Future[CommitAnswer]:
        """net.node_host.Store, as a future."""
        done: Future[CommitAnswer] = Future()
        done.set_result(self.commit(commit))
        return done


class _Committer:
    """net.node_host.Store over a `_MemoryDisk`."""

    def __init__(self, store: _MemoryDisk) -> None:
        self.commit = store.commit_soon


@contextmanager
def _store(directory: Path | None) -> Iterator[DiskStore | _MemoryDisk]:
    """Where the storage_times are remembered: what this application stores later is to win over what it stored before.

    The file's lock keeps a second process from being the same client at the same time.
    """
    if directory is None:
        yield _MemoryDisk()
    else:
        with contextlib.closing(DiskStore(directory / TIMES_FILE, boot_time())) as store:
            yield store


def _compose(
    configuration: OverlayConfiguration,
    identity: CertifiedIdentity,
    store: DiskStore | _MemoryDisk,
    document: Document | None,
    keep: Callable[[Document], None],
) -> tuple[ClientSession, NodeHost]:
    began = _overlay_began(configuration)
    wall, now = read_wall_clock(began, identity.not_after), boot_time()
    verifier, plugin = CertificateVerifier(configuration), plugins.topology(configuration.topology_plugin)
    reader: RecordReader = store
    rules, rng = rules_of(configuration, verifier, plugin.hash_name), random.SystemRandom()
    storage = Storage(reader, rules, wall, now, continuity=store.continuity)
    settings = NodeSettings(is_client=True, link_types=NO_ICE, applications=frozenset(), document=document)
    node = Node(identity, verifier, configuration, plugin, storage, wall, settings, rng, now)
    core = ApplicationNode(node)
    session = ClientSession(core, identity, keep)
    disk = store if isinstance(store, DiskStore) else _Committer(store)
    host = NodeHost(core, HostSettings(contexts(identity, configuration), disk, began), session.handle_effect)
    session.use_host(host)
    return session, host


def _keep(directory: Path | None, document: Document) -> None:
    """The overlay has a new configuration: the next start is to know it."""
    if directory is not None:
        save_document(directory, document)


@asynccontextmanager
async def _renewing(session: ClientSession, directory: Path | None) -> AsyncIterator[None]:
    """Keep the certificate valid, where there is a place for it; also before the overlay lets us in."""
    if directory is None:
        yield
        return
    renewing = asyncio.create_task(Renewer(OwnCertificate(session, directory), session).run())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])
    if not renewing.cancelled():
        renewing.result()


async def _listen(session: ClientSession, host: NodeHost, address: str) -> None:
    """Ports of the system's choice: peers are told them in each Attach."""
    shown = own_address() if address in WILDCARDS else address
    addresses: dict[Purpose, tuple[Address, ...]] = {}
    for purpose in Purpose:
        ports = await host.listen_links([Address(address, 0)])
        addresses[purpose] = tuple(Address(shown, port) for port in ports)
        if purpose is Purpose.RELOAD:
            await host.listen_datagram_links(Address(address, port) for port in ports)
    host.call(lambda now: session.node.use_addresses(addresses, now))


async def _wait_connected(session: ClientSession, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await session.connected.wait()
    except TimeoutError:
        name = session.configuration.instance_name
        what = f"the overlay {name} was not reached in {timeout_s:g} s"
        raise RequestFailed(what, session.why_not_connected()) from None


def _overlay_began(configuration: OverlayConfiguration) -> float:
    """A date before the trust anchor was made is wrong."""
    anchors = [x509.load_der_x509_certificate(der) for der in configuration.root_certs]
    return max((anchor.not_valid_before_utc.timestamp() for anchor in anchors), default=0.0)
