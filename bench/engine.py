"""An rtpengine of one's own, in user space on one core, commanded by the cores that a peer has."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from p2psip.base.address import Address
from p2psip.base.effects import AskAnswered
from p2psip.media.relay.description import read
from p2psip.media.relay.relay import CALLEE, CALLER, Relay
from p2psip.media.relay.rtpengine.engine_calls import EngineCall, RtpEngine
from p2psip.media.relay.rtpengine.engine_control import EngineState, SendToEngine
from p2psip.media.relay.sides import Phone

HOST = "127.0.0.1"
COMMANDS = Address(HOST, 16382)
MEDIA_PORTS = (14000, 15999)
PATIENCE_S = 30.0


class EngineProcess:
    """Calls between these phones, two and two: where each of them is to send."""

    def __init__(self, phones: list[int]) -> None:
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cores)})
        first, last = MEDIA_PORTS
        self._process = subprocess.Popen(
            [
                *("rtpengine", "--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=3"),
                *(f"--interface={HOST}", f"--listen-ng={COMMANDS}", f"--port-min={first}", f"--port-max={last}"),
            ],
            stderr=subprocess.DEVNULL,
        )
        os.sched_setaffinity(0, cores)
        engine = RtpEngine(COMMANDS, random.SystemRandom())
        self._relay = Relay(random.Random(), engine=engine)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0.1)
        self._socket.connect(COMMANDS)
        self._answers: list[EngineCall] = []
        self._until(lambda: engine.state is EngineState.ANSWERS)
        self.ports = [port for pair in zip(phones[::2], phones[1::2], strict=True) for port in self._call(*pair)]

    def processor_s(self) -> float:
        """What it has taken until now, all its threads together."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Nothing is carried any more."""
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _call(self, alice: int, bob: int) -> tuple[int, int]:
        """Where both are to send."""
        relay, parties = self._relay, (Phone("alice", HOST, HOST), Phone("bob", HOST, HOST))
        wish = relay.wish("call", *parties, sdp(alice))
        assert wish is not None, "an engine that answers is asked"
        relay.ask_engine(1, wish, time.monotonic())
        self._until(lambda: self._answers)
        engine_call = self._answers.pop()
        call = relay.begin("call", *parties, engine_call)
        told = [relay.describe(call, which, sdp(port), 0.0) for which, port in ((CALLER, alice), (CALLEE, bob))]
        self._until(lambda: not engine_call.is_telling)
        for_bob, for_alice = (cast(tuple[str, int], read(body)[0].rtp)[1] for body in told)
        return for_alice, for_bob

    def _until(self, holds: Callable[[], object]) -> None:
        """Have the relay and its engine talk until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "rtpengine does not answer"
            self._relay.handle_timeout(time.monotonic())
            for effect in self._relay.drain():
                match effect:
                    case SendToEngine(_, data):
                        self._ask(data)
                    case AskAnswered(_, EngineCall() as answer):
                        self._answers.append(answer)

    def _ask(self, data: bytes) -> None:
        """A command, and its answer if there is one: while it starts nobody is there."""
        try:
            self._socket.send(data)
            self._relay.handle_engine(self._socket.recv(1 << 16), time.monotonic())
        except (TimeoutError, ConnectionRefusedError):
            time.sleep(0.05)


def sdp(port: int) -> bytes:
    """A phone's description."""
    lines = ("v=0", f"o=- 1 1 IN IP4 {HOST}", "s=-", f"c=IN IP4 {HOST}", "t=0 0", f"m=audio {port} RTP/AVP 0")
    return "".join(f"{line}\r\n" for line in lines).encode()
