"""coturn: its server with our client, and its client with our server, on real sockets."""

from __future__ import annotations

import random
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from free_ports import free_port

from p2psip.base.address import Address
from p2psip.base.effects import Ask, Effect
from p2psip.stun.credentials import StunCredential, StunGate, User
from p2psip.turn.client import TurnClient
from p2psip.turn.client_values import Allocated, Loss, Permitted, RelayedData, RelayLost
from p2psip.turn.limits import TurnLimits
from p2psip.turn.server import TurnService
from p2psip.turn.values import CloseRelay, Flow, OpenRelay, RelaySettings, Transmit, TurnRelay

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("turnserver") is None, reason="no coturn (Debian: coturn)"),
]

HOST = "127.0.0.1"
PATIENCE_S = 30.0
LONG_BYTES = 1200


def bound(port: int = 0) -> socket.socket:
    """A UDP socket of this machine."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((HOST, port))
    return made


class _Talk:
    """Our client at a real socket, until it has told what is waited for."""

    def __init__(self, server: Address, credential: StunCredential) -> None:
        self.socket = bound()
        self.server = server
        flow = Flow(Address(*self.socket.getsockname()), server)
        self.client = TurnClient(flow, credential, random.Random(time.monotonic_ns()))

    def until(self, wanted: type[Effect]) -> Effect:
        """The next thing of this kind that the client tells."""
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            for effect in self.client.drain():
                if isinstance(effect, wanted):
                    return effect
                assert isinstance(effect, Transmit), effect
                self.socket.sendto(effect.data, self.server)
            deadline = self.client.next_deadline()
            wait_s = 1.0 if deadline is None else max(0.0, deadline.at - time.monotonic())
            if select.select([self.socket], [], [], min(wait_s, 1.0))[0]:
                self.client.handle_data(self.socket.recv(65_535), time.monotonic())
            self.client.handle_timeout(time.monotonic())
        raise AssertionError(f"no {wanted.__name__} in {PATIENCE_S} s")


@pytest.fixture
def coturn(tmp_path: Path) -> Iterator[Address]:
    """A relay that was not written here, for alice."""
    port = free_port()
    options = "-n --lt-cred-mech -u alice:secret -r overlay --allow-loopback-peers --no-cli --no-tls --no-dtls"
    arguments = [*options.split(), "-L", HOST, "-p", str(port), "--log-file", "stdout", "--pidfile", tmp_path / "pid"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["turnserver", *arguments], stdout=log, stderr=log, cwd=tmp_path)
    try:
        yield Address(HOST, port)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


@pytest.mark.parametrize("is_bound", [False, True])
def test_our_client_at_coturns_server(coturn: Address, is_bound: bool) -> None:
    with ExitStack() as stack:
        peer = stack.enter_context(bound())
        peer.settimeout(PATIENCE_S)
        there = Address(*peer.getsockname())
        talk = _Talk(coturn, StunCredential("alice", "secret"))
        stack.enter_context(talk.socket)
        talk.client.allocate(time.monotonic())
        allocated = talk.until(Allocated)
        assert isinstance(allocated, Allocated)
        assert allocated.mapped == Address(*talk.socket.getsockname())
        if is_bound:
            talk.client.bind(there, time.monotonic())
        else:
            talk.client.permit([HOST], time.monotonic())
        assert talk.until(Permitted) == Permitted(HOST)
        assert talk.client.send(there, bytes(LONG_BYTES), time.monotonic())
        [sent] = talk.client.drain()
        assert isinstance(sent, Transmit)
        talk.socket.sendto(sent.data, coturn)
        assert peer.recvfrom(65_535) == (bytes(LONG_BYTES), allocated.relayed[0])
        peer.sendto(b"back", allocated.relayed[0])
        assert talk.until(RelayedData) == RelayedData(there, b"back")
        talk.client.close(time.monotonic())
        assert talk.until(RelayLost) == RelayLost(Loss.ENDED, Loss.ENDED.value, 0.0)


def test_a_password_that_coturn_does_not_take(coturn: Address) -> None:
    talk = _Talk(coturn, StunCredential("alice", "wrong"))
    with talk.socket:
        talk.client.allocate(time.monotonic())
        lost = talk.until(RelayLost)
        assert isinstance(lost, RelayLost)
        assert lost.loss is Loss.CREDENTIAL


class _Alice:
    def find(self, username: str, now: float) -> User | None:
        return User("alice", "secret") if username == "alice" else None


class _Relaying:
    """Our server at real sockets."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.listener = stack.enter_context(bound(free_port()))
        self.local = Address(*self.listener.getsockname())
        settings = RelaySettings("overlay", (HOST,), frozenset((HOST,)), frozenset((self.local,)))
        gate = StunGate("overlay", _Alice(), b"sixteen bytes at least")
        limits = TurnLimits(allocations_per_user=8)
        self.server = TurnService(settings, limits, gate, random.Random(time.monotonic_ns()), time.monotonic())
        self.sockets: dict[Address, socket.socket] = {}
        self.relayed = 0

    def step(self) -> None:
        """Whatever has come."""
        for ready in select.select([self.listener, *self.sockets.values()], [], [], 0.05)[0]:
            data, source = ready.recvfrom(65_535)
            remote, local = Address(*source), Address(*ready.getsockname())
            if ready is self.listener:
                self.server.handle_data(Flow(local, remote), data, time.monotonic())
            else:
                self.server.handle_relayed(local, remote, data, time.monotonic())
            self._do()

    def _do(self) -> None:
        while effects := self.server.drain():
            for effect in effects:
                self._do_one(effect)

    def _do_one(self, effect: Effect) -> None:
        match effect:
            case Transmit():
                self.listener.sendto(effect.data, effect.flow.remote)
            case TurnRelay():
                self.relayed += 1
                self.sockets[effect.relayed].sendto(effect.data, effect.peer)
            case CloseRelay():
                self.sockets.pop(effect.relayed).close()
            case Ask(token=token, question=OpenRelay(relayed=relayed)):
                try:
                    self.sockets[relayed] = self.stack.enter_context(bound(relayed.port))
                except OSError:
                    self.server.handle_answer(token, False, time.monotonic())
                else:
                    self.server.handle_answer(token, True, time.monotonic())
            case _:
                raise AssertionError(effect)


def test_coturns_client_at_our_server(tmp_path: Path) -> None:
    """Two of its clients send each other twenty messages through us, and none is lost.

    By Send and Data: for channels it takes numbers up to 0x7FFF (RFC 5766), and RFC 8656 has them up to 0x4FFF.
    """
    with ExitStack() as stack:
        relay = _Relaying(stack)
        options = ["-y", "-c", "-X", "-s", "-n", "20", "-z", "20", "-u", "alice", "-w", "secret"]
        arguments = ["turnutils_uclient", *options, "-p", str(relay.local.port), HOST]
        log = stack.enter_context((tmp_path / "log").open("w+b"))
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 2 * PATIENCE_S
        try:
            while process.poll() is None:
                assert time.monotonic() < give_up_at
                relay.step()
        finally:
            process.kill()
            process.wait()
        said = (tmp_path / "log").read_text()
        assert process.returncode == 0, said
        assert "Total lost packets 0" in said, said
        assert relay.relayed >= 40
