"""Our asking of routers, and a router that was not written here: miniupnpd, behind it hosts of a network laboratory."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mapping_router import mapping, needs_mapping_router, router_of
from netlab import Lab, Plan
from netlab.plan import IPV4

from p2psip.base.address import Address
from p2psip.net.router_streams import answer_on_stream
from p2psip.portmap.mapper import GREET_S, RESTARTED_MAX_S, PortMapper
from p2psip.portmap.values import AskRouter, HomeRouter, PortKind, WantedPort
from p2psip.sim.ip.boxes import SYMMETRIC

pytestmark = [pytest.mark.slow(60), needs_mapping_router]

OUTSIDE, PUBLIC = "198.20.0.10", "198.20.0.1"
CARRIERS = "100.64.0.10"
WISHES = (WantedPort(PortKind.UDP, 6084), WantedPort(PortKind.TCP, 6084))
BOTH = {wish: Address(OUTSIDE, 6084) for wish in WISHES}
PATIENCE_S = 20.0
"""For what comes if all is well."""

KEPT_OUT_S = 0.5
"""How long it is waited for what is to be kept out."""

LANGUAGES = {"PCP": b"\2", "NAT-PMP": b"\0", "UPnP": b"MGP"}
"""And how a question in each may begin."""


class Asking:
    """A mapper with a socket behind the router, in its own time, which goes on only when nothing comes any more. What
    is not in `languages` does not reach the router.
    """

    def __init__(self, lab: Lab, router: HomeRouter, languages: tuple[str, ...]) -> None:
        self.mapper = PortMapper(b"secret", random.Random(1))
        self.now = 0.0
        self._lab = lab
        self._heard = b"".join(LANGUAGES[language] for language in languages)
        self._socket = lab.udp("home", router.local)
        self._socket.settimeout(PATIENCE_S)
        self._router = router

    def use(self) -> None:
        """Ask, until there is an answer to all."""
        self.mapper.use(self._router, WISHES, self.now)
        self.run(30.0)

    def run(self, seconds: float) -> None:
        """Let time go on."""
        end = self.now + seconds
        self._exchange()
        while (deadline := self.mapper.next_deadline()) is not None and deadline.at <= end:
            self.now = deadline.at
            self.mapper.handle_timeout(self.now)
            self._exchange()
        self.now = end

    def withdraw(self) -> None:
        """Give all up."""
        self.mapper.withdraw(self.now)
        self._exchange()

    def close(self) -> None:
        """Its socket."""
        self._socket.close()

    def _exchange(self) -> None:
        while asked := [each for each in self.mapper.drain() if isinstance(each, AskRouter)]:
            for each in asked:
                if each.outgoing.data[:1] not in [bytes([first]) for first in self._heard]:
                    continue
                if each.outgoing.is_stream:
                    answer = self._on_stream(each)
                    self.mapper.handle_stream(each.outgoing.data, answer, self.now)
                else:
                    self._socket.sendto(each.outgoing.data, each.address)
                    data, source = self._socket.recvfrom(2000)
                    self.mapper.handle_datagram(Address(*source), data, self.now)

    def _on_stream(self, asked: AskRouter) -> bytes:
        """As the driver of a peer does it, within the namespace."""
        with self._lab.inside("home"):
            try:
                return asyncio.run(answer_on_stream(asked.address, asked.outgoing.data))
            finally:
                # The loop of this thread is another's from now on.
                asyncio.set_event_loop(None)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A host behind a symmetric NAT, and one outside."""
    plan = Plan()
    plan.router("box", SYMMETRIC, addresses=(OUTSIDE,))
    plan.host("home", "box", IPV4)
    plan.host("public", versions=IPV4, addresses=(PUBLIC,))
    with Lab(plan) as built:
        yield built


def gets_in(lab: Lab, target: Address, patience_s: float = PATIENCE_S) -> bool:
    """True if what somebody outside sends to an address comes to UDP port 6084 of the host at home."""
    with lab.udp("home", lab.addresses("home")[0], 6084) as inside, lab.udp("public", PUBLIC) as outside:
        inside.settimeout(patience_s)
        outside.sendto(b"!", target)
        try:
            return inside.recv(100) == b"!"
        except TimeoutError:
            return False


def takes_streams(lab: Lab, target: Address) -> bool:
    """True if somebody outside can connect to TCP port 6084 there."""
    with lab.inside("home"), socket.create_server((lab.addresses("home")[0], 6084)):
        with lab.inside("public"):
            outside = socket.socket()
        outside.settimeout(PATIENCE_S)
        with outside:
            return outside.connect_ex(target) == 0


@pytest.mark.parametrize(
    "languages", [("PCP", "NAT-PMP", "UPnP"), ("PCP",), ("NAT-PMP",), ("UPnP",)], ids=["all", "PCP", "NAT-PMP", "UPnP"]
)
def test_ports_are_mapped_used_renewed_and_given_up(lab: Lab, tmp_path: Path, languages: tuple[str, ...]) -> None:
    with mapping(lab, "box", "home", tmp_path):
        asking = Asking(lab, router_of(lab, "box", "home"), languages)
        try:
            assert not gets_in(lab, Address(OUTSIDE, 6084), KEPT_OUT_S)
            asking.use()
            assert (asking.mapper.given, asking.mapper.language) == (BOTH, languages[0])
            assert gets_in(lab, Address(OUTSIDE, 6084))
            assert takes_streams(lab, Address(OUTSIDE, 6084))
            asking.run(4000.0)
            assert asking.mapper.given == BOTH
            asking.withdraw()
            assert not asking.mapper.is_withdrawing
            assert not gets_in(lab, Address(OUTSIDE, 6084), KEPT_OUT_S)
        finally:
            asking.close()


@pytest.mark.parametrize("language", ["PCP", "NAT-PMP", "UPnP"])
def test_a_router_that_was_started_anew_is_asked_again(lab: Lab, tmp_path: Path, language: str) -> None:
    with mapping(lab, "box", "home", tmp_path):
        asking = Asking(lab, router_of(lab, "box", "home"), (language,))
        asking.use()
        asking.run(600.0)
    try:
        assert not gets_in(lab, Address(OUTSIDE, 6084), KEPT_OUT_S)
        with mapping(lab, "box", "home", tmp_path):
            # With UPnP it is at another port now: it is looked for from the beginning.
            asking.run(GREET_S + (RESTARTED_MAX_S + 1.0 if language != "UPnP" else GREET_S + 30.0))
            assert asking.mapper.given == BOTH
            assert gets_in(lab, Address(OUTSIDE, 6084))
    finally:
        asking.close()


def test_a_router_behind_a_carriers_is_recognized_by_what_it_says_as_it_refuses(tmp_path: Path) -> None:
    plan = Plan()
    plan.router("box", SYMMETRIC, addresses=(CARRIERS,))
    plan.host("home", "box", IPV4)
    with Lab(plan) as behind, mapping(behind, "box", "home", tmp_path):
        asking = Asking(behind, router_of(behind, "box", "home"), ("PCP", "NAT-PMP", "UPnP"))
        try:
            asking.use()
            assert asking.mapper.given == {}
            assert "itself behind a router" in asking.mapper.refusals["NAT-PMP"]
            assert asking.mapper.outside_host == CARRIERS
        finally:
            asking.close()
