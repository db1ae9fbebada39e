"""aioice at the other end of our agents, and at our STUN and TURN server: behind the NATs of a real kernel."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aioice_end
import pytest
from kernel_ice import DATA, STUN_PORT, TURN_PORT, IceEnd, RelayHost, SocketLoop
from nat_pairs import FULL, IPV4, PATIENCE_S, PORT, RELAY4, SERVER4, SYMMETRIC_NAT
from netlab import INTERNET, Lab, Plan, needs_lab

from p2psip.base.address import Address
from p2psip.reload.paths.ice.candidate_addresses import CandidateAddress, CandidateType, decoded, encoded
from p2psip.reload.paths.values import Parameters
from p2psip.sim.ip.boxes import NatBehaviour

pytestmark = [pytest.mark.slow, needs_lab]

KINDS: dict[str, NatBehaviour | None] = {
    "public": None, "full cone": FULL, "port restricted": PORT, "symmetric": SYMMETRIC_NAT,
}  # fmt: skip
TYPES = {
    CandidateType.HOST: "host",
    CandidateType.SERVER_REFLEXIVE: "srflx",
    CandidateType.RELAYED: "relay",
}


class AioiceEnd:
    """The process in its node, and what it has said."""

    def __init__(self, loop: SocketLoop, lab: Lab, node: str, relay: RelayHost, *, is_controlling: bool) -> None:
        credential = relay.members.issue(node, 100_000, loop.now)
        ours, theirs = socket.socketpair()
        role = "controlling" if is_controlling else "controlled"
        program = Path(__file__).parents[1] / "support/aioice_end.py"
        arguments = [role, SERVER4, str(STUN_PORT), str(TURN_PORT), credential.username, credential.password]
        with theirs:
            self._process = subprocess.Popen(
                [*lab.host(node).within, sys.executable, str(program), *arguments], stdin=theirs
            )
        self.said: dict[str, Any] = {}
        self._buffer = b""
        self._loop = loop
        self._socket = loop.add(ours, self._came)

    def _came(self, ours: socket.socket) -> None:
        data = ours.recv(65_535)
        if not data:
            self._loop.remove(ours)
            self.said.setdefault("error", "it has ended")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self.said |= json.loads(line)

    def words(self) -> Parameters:
        """What it says of itself, as in an Attach."""
        by_word = {word: kind for kind, word in TYPES.items()}
        candidates = []
        for word, host, port, priority, foundation in self.said["candidates"]:
            address = Address(host, port)
            # Where it was gathered from is nothing that a check needs, and a wire format wants it said.
            related = None if word == "host" else address
            candidates.append(
                CandidateAddress(by_word[word], address, priority, foundation.encode()[:30], address, related)
            )
        return Parameters(self.said["ufrag"].encode(), self.said["password"].encode(), b"", encoded(candidates))

    def tell(self, theirs: Parameters) -> None:
        """The other end's words."""
        candidates = [
            [TYPES[each.type], each.address.host, each.address.port, each.priority, each.foundation.decode()]
            for each in decoded(theirs.candidates)
        ]
        words = {"ufrag": theirs.ufrag.decode(), "password": theirs.password.decode(), "candidates": candidates}
        self._socket.sendall(json.dumps(words).encode() + b"\n")

    def end(self) -> None:
        """No more of it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Lab, SocketLoop, RelayHost]]:
    """Two sites of each kind, and the server."""
    plan = Plan()
    plan.host("server", versions=IPV4, addresses=(SERVER4, RELAY4))
    for number, behaviour in enumerate(KINDS.values()):
        for side in "ab":
            uplink = INTERNET if behaviour is None else plan.router(f"nat-{side}{number}", behaviour)
            plan.host(f"{side}{number}", uplink, IPV4)
    with Lab(plan) as built:
        loop = SocketLoop()
        yield built, loop, RelayHost(loop, built, "server", (SERVER4,), (RELAY4,))
        loop.close()


@pytest.mark.parametrize("is_controlling", [True, False], ids=["we control", "aioice controls"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("public", "public"), ("port restricted", "full cone"), ("port restricted", "port restricted"),
     ("port restricted", "symmetric"), ("symmetric", "port restricted")],
)  # fmt: skip
def test_a_session_with_aioice(
    lab: tuple[Lab, SocketLoop, RelayHost], ours: str, theirs: str, is_controlling: bool
) -> None:
    """It connects, over the relay where nothing else is possible, and data passes both ways."""
    built, loop, relay = lab
    kinds = list(KINDS)
    end = IceEnd(loop, built, f"a{kinds.index(ours)}", relay, SERVER4)
    other = AioiceEnd(loop, built, f"b{kinds.index(theirs)}", relay, is_controlling=not is_controlling)
    try:
        end.gather()
        assert loop.run(lambda: end.is_ready and ("candidates" in other.said or "error" in other.said), PATIENCE_S)
        assert "error" not in other.said, other.said
        other.tell(end.open(is_controlling=is_controlling))
        end.begin(other.words())
        assert loop.run(lambda: bool((end.path and "connected" in other.said) or end.lost), PATIENCE_S), other.said
        assert end.path is not None, end.lost
        needs_relay = "symmetric" in (ours, theirs)
        # aioice nominates a relay where the first punch was lost; that is what we wait for.
        assert end.path[2] is needs_relay or not is_controlling
        for _ in range(10):
            end.say()
            if loop.run(lambda: bool(end.got) and "heard" in other.said, 3.0):
                break
        assert end.got[0] == aioice_end.DATA
        assert other.said["heard"].encode("latin-1") == DATA
    finally:
        other.end()
        end.close()
