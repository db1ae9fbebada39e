"""Whom a number means that stands behind a star code, or that somebody has typed on the machine of a peer."""

from __future__ import annotations

from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.star_codes import is_number


class NobodyMeant(Exception):
    """The number means nobody whom it may mean; `status` is what a phone is told, the text says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def number_meant(config: ServerConfig, number: str, line: str) -> str:
    """The user whom this line means by a number, by the dial plan. Raises NobodyMeant."""
    ruled = config.numbering.plan.ruled(number, line)
    if ruled is not None and ruled.refusal:
        raise NobodyMeant(403, ruled.refusal)
    meant = ruled.number if ruled is not None else number.lower()
    domain = meant.partition("@")[2]
    if domain and domain not in config.hosted:
        raise NobodyMeant(403, f"{meant} is in no domain of the overlay, and who is elsewhere is only called")
    if not is_number(meant):
        raise NobodyMeant(484, f"{number!r} is no user and no number: write bob, or 42")
    return meant


def forward_target(config: ServerConfig, number: str, line: str) -> str:
    """The user to whom this line may forward its calls by that number. Raises NobodyMeant."""
    if config.numbering.is_emergency(number, line):
        # Whoever called would get nowhere: behind a forwarding there are no emergency numbers.
        raise NobodyMeant(403, f"{number} is an emergency number: no calls are forwarded there")
    meant = number_meant(config, number, line)
    if meant == line:
        raise NobodyMeant(403, f"{line} cannot forward to itself")
    return meant
