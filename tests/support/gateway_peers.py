"""Peers of which some have a trunk, in virtual time, and the providers at the far ends."""

from __future__ import annotations

from dataclasses import replace

from trunk_bench import ANSWER

from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import REDIR_KIND, SIP_REGISTRATION_KIND, ServicePermission
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.gateway.terms import TrunkTerms
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse

EVERY_PEER = (ServicePermission("gateway", (f"peer-*@{OVERLAY}",)),)
KINDS = (SIP_REGISTRATION_KIND, REDIR_KIND)
TRUNK = TrunkTerms("t", "tel.example", "us", registers=False, prefixes=("00",), lines=frozenset({"*"}))


class Provider:
    """Answers OPTIONS, and each INVITE with one status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.called: list[str] = []

    def __call__(self, data: bytes) -> list[bytes]:
        request = parse(data)
        if not isinstance(request, Request) or request.method == "ACK" or not self.status:
            return []
        if request.method != "INVITE":
            return [make_response(request, 200, to_tag="p").encode()]
        self.called.append(request.sip_uri.user_name)
        extra = [("Contact", "<sip:p@198.51.100.7>"), ("Content-Type", "application/sdp")]
        body = ANSWER if self.status == 200 else b""
        return [make_response(request, self.status, to_tag="p", extra=extra, body=body).encode()]


def overlay(
    *providers: tuple[Provider, dict[str, object]],
    services: tuple[ServicePermission, ...] = EVERY_PEER,
    calls_by: CallsBy = CallsBy.CALLER,
) -> tuple[SimulatedPeers, SitePhone]:
    """alice at p0, a gateway at each of p1, p2 ..."""
    world = SimulatedPeers("gateways", 1, required_kinds=KINDS, services=services, calls_by=calls_by)
    for number, (provider, changes) in enumerate(providers, 1):
        world.add(number, trunk=replace(TRUNK, **changes), provider=provider)  # type: ignore[arg-type]
        world.run(3.0)
    world.run(20.0, stop=lambda: all(site.peer.node.is_serving for site in world.sites.values()))
    (alice,) = world.with_phones((0, "alice"))
    world.run(10.0)
    return world, alice
