"""A peer that was revoked starts: the overlay's servers may know by now that it is welcome again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from p2psip.base.errors import P2psipError
from p2psip.daemon.renewing.refetch import refetch_in_process
from p2psip.daemon.state.settings import load_settings
from p2psip.daemon.state.state import Expelled, PeerState, load_document, load_state, save_document
from p2psip.enrollment.client import verify_first
from p2psip.reload.config.sequence import is_newer


def state_to_run(directory: Path, overrides: Mapping[str, object] | None = None) -> PeerState:
    """The state of a peer that is to run; where the configuration that is here revokes it, by the newest one.

    What its members say to it comes over links, which they make with none that was revoked. Raises LocalMisuse.
    """
    try:
        return load_state(directory, overrides)
    except Expelled as expelled:
        try:
            _take_newest(directory)
        except P2psipError as error:
            raise Expelled(f"{expelled}; whether that has been taken back is not known: {error}") from None
    return load_state(directory, overrides)


def _take_newest(directory: Path) -> None:
    """Fetch the configuration, and keep it if it is newer. Raises P2psipError."""
    trusted = load_settings(directory).fingerprint
    kept = load_document(directory, trusted).configuration
    raw = asyncio.run(refetch_in_process(directory))
    document = verify_first(raw, trusted, time.time(), False, kept.instance_name)
    if is_newer(document.configuration.sequence, kept.sequence):
        save_document(directory, document)
