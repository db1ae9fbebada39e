"""Internets of sites with ICE, whose peers may relay for each other."""

from __future__ import annotations

from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND, TURN_SERVICE_KIND
from p2psip.sim.sites.internet import InternetSites


def ice_internet(
    seed: int | str, *, protocols: tuple[str, ...] = ("DTLS",), is_full_size: bool = False, **settings: object
) -> InternetSites:
    """No sites yet, and an overlay in which relays are recorded; `settings` replace fields of the configuration."""
    return InternetSites(
        seed,
        is_full_size=is_full_size,
        no_ice=False,
        overlay_link_protocols=protocols,
        turn_density=3,
        required_kinds=(SIP_REGISTRATION_KIND, TURN_SERVICE_KIND),
        **settings,
    )
