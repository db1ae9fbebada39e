"""What the kernel is told so that a router behaves as its NatBehaviour says: see rules/*.nft."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from netlab.namespaces import LabError
from netlab.plan import LabNode, LabRouter
from p2psip.sim.ip.boxes import Dependence, Hairpin

TCP_TIMEOUT_S: Final = 7440
"""RFC 5382 REQ-5."""


def rules_of(router: LabRouter) -> str:
    """All rules of one router; where they are loaded again everything that was learnt is forgotten."""
    nat, outside = router.nat, router.address(4)
    if nat.hairpin is Hairpin.INTERNAL or nat.overloads_ports:
        raise LabError("that is a NAT of the simulator only")
    per_peer = nat.mapping is Dependence.ADDRESS_AND_PORT
    peer = " . ip daddr" if nat.mapping is Dependence.ADDRESS else ""
    text = firewall_of(router)
    for protocol, timeout_s in (("udp", int(nat.timeout_s)), ("tcp", TCP_TIMEOUT_S)):
        forward = f"ip daddr {outside} dnat ip to {protocol} dport map @inside"
        asked = f"{protocol} dport . ip saddr @allowed" if nat.filtering is Dependence.ADDRESS else ""
        # A port that is in use is replaced by one that no host picks by itself.
        kept = f"{protocol} sport @used snat to {outside}:1024-32767 fully-random"
        chance = f"meta l4proto {protocol} snat to {outside}:1024-65535 fully-random"
        text += _filled(
            "nat",
            p=protocol,
            wan=outside,
            lan=router.lan4,
            peer=peer,
            aging=f"flags dynamic,timeout; timeout {timeout_s}s; size 65535",
            known="" if per_peer else f"snat ip to ip saddr . {protocol} sport{peer} map @outside",
            new=kept if nat.preserves_port else chance,
            unasked="" if nat.filtering is Dependence.ADDRESS_AND_PORT else f'iifname "eth0" {asked} {forward}',
            hairpin=f'iifname "lan" {forward}' if nat.hairpin is Hairpin.EXTERNAL else "",
        )
    return text


def firewall_of(router: LabRouter) -> str:
    """Whom it lets through, for nft; what it has translated stays as it is."""
    return _filled("router", block_udp="meta l4proto udp drop" if router.blocks_udp else "")


def timeouts_of(router: LabRouter) -> dict[str, int]:
    """Settings by which connection tracking forgets when the rules do, and for good."""
    name, seconds = "netfilter/nf_conntrack_udp_timeout", int(router.nat.timeout_s)
    return {name: seconds, f"{name}_stream": seconds, "netfilter/nf_conntrack_tcp_loose": 0}


def silence_of(node: LabNode) -> str:
    """At either end of a cable that hides its MTU: no word of what was too big."""
    return _filled("silence", port=node.port.replace("-", "_"))


def _filled(name: str, **fields: object) -> str:
    text = (Path(__file__).parent / "rules" / f"{name}.nft").read_text()
    return Template(text).substitute(fields)
