"""What a simulation is to be of: its peers and users, and what happens to them. Written by people, in TOML, drawn by
chance, or what is left of a run that failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

from p2psip.base.errors import LocalMisuse

PEERS_MAX = 20_000
MACHINES_MAX = 250
"""As many have addresses of their own in the Internet of a simulation."""

What = Literal[
    "join",
    "crash",
    "power",
    "leave",
    "part",
    "call",
    "lookup",
    "move",
    "remove",
    "sleep",
    "reboot_router",
    "switch_uplink",
    "wrong_date",
    "full_disk",
]
"""Whatever may happen: the words of docs/simulator.md."""

OF_USERS = frozenset({"call", "lookup", "move", "remove"})
"""What happens to users; all else happens to peers."""

OF_MACHINES = frozenset({"sleep", "reboot_router", "switch_uplink", "wrong_date", "full_disk"})
"""What takes a machine, or a network around it, as only the Internet has."""

UNDONE = frozenset({"crash", "power", "leave", "part", "call", "sleep", "wrong_date", "full_disk"})
"""What is over after a time, if one is given."""

NatKind = Literal["none", "full-cone", "address-restricted", "port-restricted", "symmetric"]

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Happening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that happens once, at `at_s`, or again and again, `every_s` in the mean, as chance has it."""

    what: What
    at_s: Seconds | None = None
    """After the overlay has come about."""
    every_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    who: tuple[str, ...] = ()
    """To which peers, p0, p1, ..., or users, u0, u1, ...; to `count` that chance chooses if there are none."""
    to: str = ""
    """Whom a user calls, or to which peer a user moves."""
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    for_s: Seconds | None = None
    """For how long; what has no end is not undone."""

    def __str__(self) -> str:
        lasts = f", for {self.for_s:g} s" if self.for_s is not None else ""
        return f"{', '.join(self.who)}: {WORDS[self.what]}{f' {self.to}' if self.to else ''}{lasts}"


WORDS: dict[What, str] = {
    "join": "new",
    "crash": "killed",
    "power": "without power",
    "leave": "leaving",
    "part": "on an island",
    "call": "calling",
    "lookup": "looked up at",
    "move": "moved to",
    "remove": "without a line",
    "sleep": "asleep",
    "reboot_router": "the router starts anew",
    "switch_uplink": "another provider",
    "wrong_date": "a wrong date",
    "full_disk": "a full disk",
}


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that a run is made of, beside its seed."""

    seed: int = 1
    """Of all that chance decides, if nobody says another."""
    peers: Annotated[int, msgspec.Meta(ge=1, le=PEERS_MAX)]
    users: Annotated[int, msgspec.Meta(ge=0, le=PEERS_MAX)] = 0
    """User n has a line and a phone at peer n modulo the number of peers."""
    seconds: Seconds = 300.0
    """How long things happen, after the overlay has come about."""
    heal_s: Seconds = 120.0
    """By how long after that all must be well."""
    world: Literal["direct", "internet"] = "direct"
    topology: Literal["CHORD-RELOAD", "one-hop"] = "CHORD-RELOAD"
    nats: tuple[NatKind, ...] = ()
    """Behind what the peers of the Internet are, in turn; where there are NATs, ways are found by ICE, and all who have
    none relay."""
    at_once: Annotated[int, msgspec.Meta(ge=1)] = 5
    """So many peers start in a second, until all have."""
    delay_ms: tuple[Seconds, Seconds] = (5.0, 50.0)
    """How long a packet takes, at least and at most."""
    loss: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    """What part of the packets of the Internet is lost."""
    is_swarm: bool = False
    """Each seed has a mix of its own of what may happen, and how often."""
    happens: tuple[Happening, ...] = ()

    def check(self) -> None:
        """Raises LocalMisuse for what is of the right kind and makes no sense."""
        for number, happening in enumerate(self.happens, 1):
            for wrong in self._wrong_with(happening):
                raise LocalMisuse(f"[[happens]] number {number}, {happening.what}: {wrong}")
        if self.world == "internet" and self.peers > MACHINES_MAX:
            raise LocalMisuse(f"peers: the Internet has room for {MACHINES_MAX}: write peers = {MACHINES_MAX} or less")
        if self.nats and self.world != "internet":
            raise LocalMisuse('nats: only the Internet has them: write world = "internet"')
        if self.nats and "none" not in self.nats[: self.peers]:
            raise LocalMisuse(
                'nats: somebody has to be found: write nats = ["none", ...], and "none" for each that relays'
            )
        if self.delay_ms[0] > self.delay_ms[1]:
            raise LocalMisuse(
                f"delay_ms: {self.delay_ms[0]:g} is more than {self.delay_ms[1]:g}: write the least first"
            )

    def _wrong_with(self, happening: Happening) -> Iterator[str]:
        what = happening.what
        if (happening.at_s is None) == (happening.every_s is None):
            yield "write at_s or every_s, one of the two"
        if what in OF_MACHINES and self.world != "internet":
            yield 'it takes machines: write world = "internet"'
        if what in OF_USERS and not self.users:
            yield "there are no users: write users = 10"
        if what not in UNDONE and happening.for_s is not None:
            yield "it has no end: leave for_s out"
        if happening.at_s is not None and happening.at_s > self.seconds:
            yield f"at_s = {happening.at_s:g} is after the end: write seconds = {happening.at_s:g} or more"
        if what in OF_MACHINES & UNDONE and happening.for_s is None:
            yield "write for_s: how long it lasts"
        letter = "u" if what in OF_USERS else "p"
        for name in happening.who:
            if not (name[:1] == letter and name[1:].isdecimal()):
                yield f'who: {name!r} is none of {letter}0, {letter}1, ...: write who = ["{letter}0"]'
        wanted = "u" if what == "call" else "p"
        if happening.to and not (happening.to[0] == wanted and happening.to[1:].isdecimal()):
            yield f'to: {happening.to!r} is none of {wanted}0, {wanted}1, ...: write to = "{wanted}1"'
