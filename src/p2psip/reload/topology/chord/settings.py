"""What the overlay configuration says of Chord (RFC 6940 section 11.1)."""

from __future__ import annotations

from dataclasses import dataclass

from p2psip.reload.config.configuration import OverlayConfiguration


@dataclass(frozen=True, slots=True)
class ChordSettings:
    """The elements of the namespace config-chord; the intervals are in seconds."""

    update_interval_s: float = 600.0
    ping_interval_s: float = 3600.0
    is_reactive: bool = True
    neighbors: int = 5
    """Length of the successor and of the predecessor list; 10.7 asks for at least three."""

    @classmethod
    def of(cls, configuration: OverlayConfiguration) -> ChordSettings:
        """Those of an overlay."""
        return cls(
            update_interval_s=configuration.chord_update_interval_s,
            ping_interval_s=configuration.chord_ping_interval_s,
            is_reactive=configuration.chord_reactive,
            neighbors=configuration.successors,
        )
