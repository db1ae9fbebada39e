"""What a room of a conference costs: a frame of 20 ms for all who are in, of whom four speak.

The core alone, with what has come of each of them meanwhile, and what is sent to each; without sockets.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from bench.results import Result, result
from p2psip.base.address import Address
from p2psip.media.g711 import PCMU
from p2psip.media.mixing.lanes import SPEAKERS_MAX
from p2psip.media.mixing.mixed_room import FRAME_S, FRAME_SAMPLES
from p2psip.media.mixing.mixing_engine import MixingEngine
from p2psip.media.negotiation import Agreement, Direction
from p2psip.media.rtp import RtpPacket

FRAMES = 100
SILENCE = bytes([0xFF]) * FRAME_SAMPLES


def measure() -> Iterator[Result]:
    """Rooms of two sizes."""
    for count in (10, 100):
        yield result(f"mixing.frame.{count}_participants", "ms", _frames_ms(count))


def _frames_ms(count: int) -> list[float]:
    engine, speech = MixingEngine(random.Random(1)), random.Random(2).randbytes(FRAME_SAMPLES)
    here = [Address("192.0.2.1", 40_000 + 2 * number) for number in range(count)]
    there = [Address("192.0.2.9", 40_000 + 2 * number) for number in range(count)]
    for number in range(count):
        engine.seat(number, "3001")
        agreed = Agreement(there[number], PCMU, PCMU.payload_type, Direction.SENDRECV)
        engine.start(number, here[number], agreed, 0.0)
    taken_ms, sent = [], 0
    for frame in range(1, FRAMES + 1):
        packets = [
            RtpPacket(0, frame, FRAME_SAMPLES * frame, number, speech if number < SPEAKERS_MAX else SILENCE).encode()
            for number in range(count)
        ]
        now, began = FRAME_S * frame, time.process_time()
        for number, packet in enumerate(packets):
            engine.handle_datagram(here[number], there[number], packet, now)
        engine.handle_timeout(now)
        sent += len(engine.drain())
        taken_ms.append(1000 * (time.process_time() - began))
    assert sent >= count * FRAMES, "each has had each frame"
    return taken_ms[5:]
