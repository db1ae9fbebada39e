"""`directory.bin`: what a peer has of the directory, so that it shows and serves it with the network down as well."""

from __future__ import annotations

from pathlib import Path

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.base.wallclock import WallClock
from p2psip.coupling.peer import Peer
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.state.kept import seconds_ago
from p2psip.net.disk.files import PRIVATE, read_file, set_aside, write_file
from p2psip.net.disk.record_file import read_boot_clock
from p2psip.reload.node.spreading.kept_copies import read_copies, write_copies

DIRECTORY_FILE = "directory.bin"

SIZE_MAX = 1 << 26

SAVE_FIRST_S = 60.0
SAVE_S = 3600.0
"""How often it is written: all of it each time, which for 10,000 lines are 8 MB; memory cards wear out."""


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """When it was written, by the clock of this boot, and by the date if that is known; and all values."""

    boot_id: str
    boot_s: float
    date: float | None
    copies: bytes


class DirectoryFile:
    """Between the file and the peer."""

    def __init__(self, directory: Path, peer: Peer, journal: Journal) -> None:
        self._path = directory / DIRECTORY_FILE
        self._peer = peer
        self._journal = journal
        self._saved_changes = 0
        self._save_at: float | None = None

    def load(self, wall: WallClock, now: float) -> None:
        """Have what is in the file; whatever is wrong with it is said, and does no harm."""
        try:
            self._load(wall.date(now) if wall.is_trusted else None, now)
        except LocalMisuse as error:
            self._journal.warning("directory not taken up", reason=str(error), means="it comes from other peers")
        self._saved_changes = self._peer.node.spreading.copies.changes

    def _load(self, date: float | None, now: float) -> None:
        if not self._path.exists():
            return
        try:
            kept = msgspec.msgpack.decode(read_file(self._path, SIZE_MAX), type=_Kept)
        except msgspec.MsgspecError as error:
            raise LocalMisuse(f"{self._path}: {error}; it is {set_aside(self._path)} now") from None
        elapsed_s = seconds_ago(kept.boot_id, kept.boot_s, kept.date, date)
        node = self._peer.node
        # After a restart of a machine that does not know the date nobody can say how old it is: rather an old directory
        # than none, for no longer than it would have counted then.
        models, length = node.configuration.models, len(node.node_id)
        copies = read_copies(kept.copies, models, length, elapsed_s or 0.0, now)
        node.spreading.restore(copies, now)

    def look(self, now: float) -> None:
        """Write it if it is time, and there is something new."""
        if self._peer.node.spreading.copies.changes == self._saved_changes:
            return
        if self._save_at is None:
            self._save_at = now + SAVE_FIRST_S
        elif now >= self._save_at:
            self._save_at = now + SAVE_S
            self.save(now)

    def save(self, now: float) -> None:
        """Write it, if there is something new."""
        node = self._peer.node
        if node.spreading.copies.changes == self._saved_changes:
            return
        clock, wall = read_boot_clock(), node.wall
        date = wall.date(now) if wall.is_trusted else None
        kept = _Kept(clock.boot_id, clock.seconds, date, write_copies(node.spreading.copies, now))
        try:
            write_file(self._path, msgspec.msgpack.encode(kept), PRIVATE)
        except LocalMisuse as error:
            self._journal.warning("not saved", what="directory", reason=str(error))
            return
        self._saved_changes = node.spreading.copies.changes
