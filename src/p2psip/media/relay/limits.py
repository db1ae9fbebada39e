"""Bounds on what calls, and those who send to their ports, can make a relay do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """All of them, in one table."""

    calls: int = 256
    engine_calls: int = 4096
    """In an engine beside the peer, which has little to do with each."""
    streams: int = 4
    """Of one call; a further m= line is refused."""
    first_port: int = 16384
    last_port: int = 32767
    """Between those that others have for a purpose, and those that a Linux machine gives to whoever asks for any."""
    spare_pairs: int = 16
    """Pairs of ports that are open beforehand, of each IP version: what goes on at once names no port in vain."""
    port_tries: int = 64
    """How many ports in a row may be taken already until no more are tried."""
    packets_per_s: int = 2000
    packets_burst: int = 1000
    """Of one side of one stream: video comes in bursts, and a flood is not worth carrying."""
    silent_s: float = 3.0
    """From then on a side is silent, while the other one sends."""
    pause_s: float = 1.0
    """Who has paused for so long begins to send anew."""
    unproven_s: float = 10.0
    """So long we send to an address that SDP names, is not the phone's own, and from where nothing comes."""
    idle_s: float = 300.0
    """A call without a packet from either side is over, whatever became of its BYE."""
    held_s: float = 4 * 3600.0
    """The same, where both sides have said that nothing is to flow."""
