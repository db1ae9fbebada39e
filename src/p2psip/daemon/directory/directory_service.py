"""The directory at a running peer: kept over a restart, and served to the phones of the site where that is set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.coupling.peer import Peer
from p2psip.daemon.directory.directory_file import DirectoryFile
from p2psip.daemon.endpoints import bindable
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.state.state import PeerState
from p2psip.directory.listing import Listed, one_a_user
from p2psip.net.node_host import boot_time

if TYPE_CHECKING:
    from p2psip.net.phone_directory import PhoneDirectory

FRESH_S = 2.0
"""So long phones get the same list: they ask page by page, and letter by letter."""


class DirectoryService:
    """What a PeerService has of the directory."""

    def __init__(self, state: PeerState, peer: Peer, journal: Journal) -> None:
        self._settings = state.settings
        self._peer = peer
        self._journal = journal
        self._file = DirectoryFile(state.directory, peer, journal)
        self._server: PhoneDirectory | None = None
        self._listed: tuple[float, Sequence[Listed]] = (-FRESH_S, ())

    def begin(self, wall: WallClock, now: float) -> None:
        """Have what was kept, and listen where phones may ask. Raises LocalMisuse if a port is taken."""
        self._file.load(wall, now)
        settings = self._settings
        ports = settings.directory_http_port, settings.directory_ldap_port
        if not any(ports):
            return
        # Most peers do without, and without what it takes to read HTTP.
        from p2psip.net.phone_directory import PhoneDirectory

        hosts = bindable(settings.phone_listen)
        http, ldap = (tuple(Address(host, port) for host in hosts) if port else () for port in ports)
        server = PhoneDirectory(self._peer.overlay, settings.directory_networks, self._entries, self._not_accepted)
        server.listen(http, ldap)
        self._server = server
        self._journal.info("directory is served to phones", http=ports[0] or "off", ldap=ports[1] or "off")

    def look(self, now: float) -> None:
        """Write the copy down if it is time."""
        self._file.look(now)

    def end(self, now: float) -> None:
        """Write it down, and serve it no more."""
        self._file.save(now)
        if self._server is not None:
            self._server.close()

    def _entries(self) -> Sequence[Listed]:
        now = boot_time()
        if now >= self._listed[0] + FRESH_S:
            self._listed = now, one_a_user(self._peer.directory.entries(now))
        return self._listed[1]

    def _not_accepted(self, local: Address, reason: str) -> None:
        self._journal.warning("connections are not accepted", local=str(local), reason=reason)
