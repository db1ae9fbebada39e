"""The lines of a running peer: those that are on disk are served, and what their owners dial is written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from p2psip.base.errors import LocalMisuse
from p2psip.coupling.line_records.withdrawals import LineWithdrawn
from p2psip.coupling.peer import Peer
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.state.line_files import LineFiles, RemovedLines, line_names
from p2psip.net.peer_host import PeerHost
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.sip.entities.handling.handlings import HandlingChanged

LineNews = HandlingChanged | LineWithdrawn
"""What a peer tells of its lines that is to be on disk."""


class LineKeeper:
    """Between the files of lines and the peer that serves them."""

    def __init__(self, directory: Path, peer: Peer, host: PeerHost, journal: Journal) -> None:
        self._directory = directory
        self._peer = peer
        self._host = host
        self._journal = journal
        self._removed = RemovedLines(directory)

    def load(self, configuration: OverlayConfiguration) -> list[str]:
        """Serve the lines that are on disk, and no others; returns what could not be read, in words. The records of
        those that were removed are taken out of the overlay, if nobody knows that they are.
        """
        names = line_names(self._directory)
        problems: list[str] = []
        for line in self._peer.publisher.lines:
            if line.name not in names:
                self._host.call(lambda now, name=line.name: self._peer.remove_line(name, now))  # type: ignore[misc]
        for name in names:
            problems += self._load_one(name, configuration)
        for identity in self._removed.load(configuration):
            self._host.call(lambda now, identity=identity: self._peer.finish_removal(identity, now))  # type: ignore[misc]
        return problems

    def keep(self, changed: LineNews) -> None:
        """Write down what the owner of a line has dialled, or that the record of one is gone."""
        if isinstance(changed, LineWithdrawn):
            self._removed.forget(changed.node)
            return
        words = "; ".join(changed.handling.in_words()) or "all calls ring"
        self._journal.info("line handles calls otherwise now", user=changed.user, calls=words)
        try:
            LineFiles(self._directory, changed.user).save_handling(changed.handling)
        except LocalMisuse as error:
            means = "it is forgotten with the next start"
            self._journal.warning("not saved", what="forwarding", reason=str(error), means=means)

    def _load_one(self, name: str, configuration: OverlayConfiguration) -> list[str]:
        files, handling, problems = LineFiles(self._directory, name), None, []
        try:
            line = files.load(configuration)
        except LocalMisuse as error:
            self._journal.warning("line not served", user=name, reason=str(error))
            return [str(error)]
        try:
            line = replace(line, card=files.load_card())
        except LocalMisuse as error:
            self._journal.warning("line served without its card", user=name, reason=str(error))
            problems.append(str(error))
        try:
            handling = files.load_handling()
        except LocalMisuse as error:
            # Its phones ring, as before or as usual: rather that than no line at all.
            self._journal.warning("line served as before", user=name, reason=str(error))
            problems.append(str(error))
        known = self._peer.publisher.get(name)
        if known is None or not known.is_as(line):
            self._host.call(lambda now: self._peer.add_line(line, now, handling))
        elif handling is not None and handling != self._peer.handlings.of(name):
            self._host.call(lambda now: self._peer.handle_calls(name, handling, now))
        return problems
