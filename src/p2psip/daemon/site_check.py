"""What a new site needs, step by step, from its files to a call: which step fails, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

RELAYS_WANTED: Final = 3
"""A peer behind a NAT knows at least so many relays, so that one may go at any time."""

CERTIFICATE_SOON_S: Final = 3 * 86400.0


@dataclass(frozen=True, slots=True)
class CheckedStep:
    """One step: whether it holds, None where that could not be tried, what was found, and what to do if it fails."""

    name: str
    is_good: bool | None
    found: str
    todo: str = ""

    @property
    def facts(self) -> dict[str, object]:
        """For JSON."""
        return {"step": self.name, "ok": self.is_good, "found": self.found, "todo": self.todo}


def clock_step(status: Mapping[str, Any]) -> CheckedStep:
    """A wrong date looks like a bad certificate, so it comes first."""
    if status["date_trusted"]:
        return CheckedStep("clock", True, "the date can be believed")
    return CheckedStep(
        "clock",
        False,
        "the date of this machine is wrong, or the peer's certificate has ended",
        "set the clock (timedatectl set-ntp true), or renew: p2psip peer renew",
    )


def certificate_step(ends_at: float, date: float) -> CheckedStep:
    """How long the peer's certificate lasts, by the date that this machine has."""
    left_s = ends_at - date
    if left_s <= 0:
        return CheckedStep("certificate", False, "it has ended, by this machine's date", "p2psip peer renew")
    days = left_s / 86400
    if left_s < CERTIFICATE_SOON_S:
        return CheckedStep(
            "certificate", True, f"good for {days:.1f} days more; the peer renews it by itself while a server is there"
        )
    return CheckedStep("certificate", True, f"good for {days:.0f} days more")


def network_step(hosts: Sequence[str]) -> CheckedStep:
    """Whether the machine has an address by which others could be reached at all."""
    if hosts:
        return CheckedStep("network", True, ", ".join(hosts))
    return CheckedStep("network", False, "this machine has no address but its own", "plug it in, or see to its WLAN")


def overlay_steps(status: Mapping[str, Any]) -> Iterator[CheckedStep]:
    """A way in, and whether we are let in."""
    linked = [link for link in status["links"] if link["state"] == "up"]
    is_alone = status["member"] and not linked
    if linked or is_alone:
        members = "1 other member" if len(linked) == 1 else f"{len(linked)} other members"
        found = f"linked with {members}" if linked else "this peer is the first, or alone"
        yield CheckedStep("way to the overlay", bool(linked), found, "" if linked else "start another peer, elsewhere")
    else:
        todo = "is a bootstrap node running, and is its address in the configuration right? p2psip overlay show"
        yield CheckedStep("way to the overlay", False, status["trouble"] or "nobody answers", todo)
    if status["member"]:
        yield CheckedStep("admission", True, f"{status['user']} is a member of {status['overlay']}")
    elif not linked:
        yield CheckedStep("admission", None, "not tried: there is no way to the overlay")
    else:
        todo = "wait a minute; then ask the overlay's administrator, and see p2psip status for whom it cannot reach"
        yield CheckedStep("admission", False, status["trouble"] or "not a member yet", todo)


def nat_step(status: Mapping[str, Any], nat: Mapping[str, Any]) -> CheckedStep:
    """What the peer is behind: the words are those of `p2psip nat`. Blocked UDP does no harm where a relay lends."""
    if not nat["helpers"]:
        return CheckedStep("router", None, nat["what"])
    if nat["udp_blocked"] and not status["relays"]["in_use"]:
        return CheckedStep("router", False, nat["what"], nat["change"][0])
    over_tls = "; calls go over TLS, by relays" if nat["udp_blocked"] else ""
    return CheckedStep("router", True, nat["what"] + over_tls)


def relay_step(status: Mapping[str, Any], nat: Mapping[str, Any]) -> CheckedStep:
    """Relays are for those that not everybody can reach."""
    known = status["relays"]["known"]
    if nat["open"] or nat["dialable"]:
        return CheckedStep("relay", True, "none is needed: this peer can be dialled")
    if known:
        few = "" if len(known) >= RELAYS_WANTED else f" ({RELAYS_WANTED} are better)"
        return CheckedStep("relay", True, f"{len(known)} known{few}")
    if not nat["helpers"]:
        return CheckedStep("relay", None, "not known whether one is needed")
    todo = "a peer with a public address would be one: some peers behind other routers cannot be reached until then"
    return CheckedStep("relay", False, "none known", todo)


def line_steps(status: Mapping[str, Any], found: Mapping[str, bool]) -> Iterator[CheckedStep]:
    """Each line: is its record in the overlay, is it found there, has a phone registered? `found`: by user name."""
    if not status["lines"]:
        yield CheckedStep("lines", False, "this peer has none: no phone may register", "p2psip line add USER")
    for line in status["lines"]:
        user = line["user"]
        name = f"record of {user.partition('@')[0]}"
        if line["problem"]:
            yield CheckedStep(name, False, line["problem"], "see the log of the peer; it tries again by itself")
        elif line["record"] is None:
            yield CheckedStep(name, False, "not stored in the overlay yet", "wait a minute and check again")
        elif not found.get(user, False):
            todo = f"p2psip lookup {user} says who was asked"
            yield CheckedStep(name, False, "stored, but not found when it is looked up", todo)
        else:
            yield CheckedStep(name, True, "stored in the overlay, and found there")
        phones = [phone["via"] for phone in line["phones"]]
        yield CheckedStep(
            f"phone of {user.partition('@')[0]}",
            bool(phones),
            ", ".join(phones) or "none registered",
            "" if phones else "in the phone: server = this machine's address, user, phone password",
        )
