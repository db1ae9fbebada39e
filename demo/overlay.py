"""The overlay of the demonstration: founded, served and joined with the commands that its users have."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.ports import LOOPBACK, free_ports
from demo.processes import READY_MAX_S, Actor, Processes, StepFailed, together
from p2psip.daemon.control_client import ask_peer

NAME = "demo.example"
SITES = ("berlin", "lisbon", "oslo", "paris", "rome")
USERS = ("alice", "bob")
GUEST = "you"
"""Whoever watches, and wants to have a phone in it."""

SETTLE_MAX_S = 60.0
POLL_S = 0.05


@dataclass(slots=True)
class Site:
    """One peer, at its site."""

    name: str
    directory: Path
    port: int
    """Of the links between peers; calls between peers have the next one, phones the one after that."""
    node_id: str = ""
    actor: Actor | None = field(default=None, repr=False)

    @property
    def phones_at(self) -> str:
        """What a phone here has as its server."""
        return f"{LOOPBACK}:{self.port + 2}"

    @property
    def is_alive(self) -> bool:
        """True while its process runs."""
        return self.actor is not None and self.actor.is_running

    async def ask(self, command: str, **arguments: object) -> Any:
        """What `p2psip status` and `p2psip lookup` ask the running peer."""
        return await asyncio.to_thread(ask_peer, self.directory, command, **arguments)


class Overlay:
    """The overlay's directory, its enrollment server, its five peers."""

    def __init__(self, directory: Path, processes: Processes) -> None:
        self._directory = directory / "overlay"
        self._processes = processes
        self._passwords = directory
        first, *others = free_ports(1 + len(SITES), together=4)
        self.enrollment_url = f"https://{LOOPBACK}:{first}"
        self._enrollment_at = f"{LOOPBACK}:{first}"
        self.sites = [Site(name, directory / name, port) for name, port in zip(SITES, others, strict=True)]
        self.phone_passwords = {user: _password() for user in (*USERS, GUEST)}
        self.fingerprint = ""

    def site(self, node_id: str) -> Site:
        """The peer with this Node-ID."""
        return next(site for site in self.sites if site.node_id == node_id)

    @property
    def ring(self) -> list[Site]:
        """The peers that live, in the order of their Node-IDs."""
        return sorted((site for site in self.sites if site.is_alive), key=lambda site: site.node_id)

    # Founding

    async def found(self) -> None:
        """Trust anchor, signed configuration, accounts."""
        for user in (*USERS, GUEST):
            self._password_file(f"{user}-account").write_text(_password())
            self._password_file(f"{user}-phone").write_text(self.phone_passwords[user])
        self._password_file("admin-account").write_text(_password())
        created = await self._processes.run_json(
            *("overlay", "create", NAME, self._directory, "--password-file", self._password_file("admin-account")),
            *("--enrollment-url", self.enrollment_url, "--bootstrap", f"{LOOPBACK}:{self.sites[0].port}"),
        )
        self.fingerprint = created["fingerprint"]
        await together(self._serve(), *map(self.add_user, USERS))

    async def _serve(self) -> None:
        arguments = ("enrollment", "serve", self._directory, "--listen", self._enrollment_at, "--log-format", "json")
        server = await self._processes.start("enrollment", *arguments)
        await server.line(READY_MAX_S)

    async def add_user(self, user: str) -> None:
        """An account."""
        account = self._password_file(f"{user}-account")
        await self._processes.run("user", "add", user, "--overlay", self._directory, "--password-file", account)

    def _password_file(self, name: str) -> Path:
        return self._passwords / f"{name}.password"

    # Peers

    async def enroll(self, site: Site) -> None:
        """A key, a certificate with a Node-ID, a state directory."""
        made = await self._processes.run_json(
            *("peer", "init", site.directory, "--config", self.enrollment_url, "--fingerprint", self.fingerprint),
            *("--name", site.name, "--user", "admin", "--password-file", self._password_file("admin-account")),
            *("--listen", LOOPBACK, "--overlay-port", site.port, "--sip-port", site.port + 1),
            *("--phone-port", site.port + 2),
        )
        site.node_id = made["node_id"]

    async def run(self, site: Site) -> None:
        """Start the peer; it joins by itself."""
        arguments = ("peer", "run", site.directory, "--json", "--log-format", "json")
        site.actor = await self._processes.start(site.name, *arguments)
        await site.actor.line(READY_MAX_S)

    async def settle(self) -> None:
        """Wait until each peer knows all others as its successors and predecessors, in order."""
        await together(*map(self._knows_all, self.ring))

    async def _knows_all(self, site: Site) -> None:
        place = self.ring.index(site)
        others = [other.node_id for other in (*self.ring[place + 1 :], *self.ring[:place])]
        status: dict[str, Any] = {"successors": [], "predecessors": []}
        try:
            async with asyncio.timeout(SETTLE_MAX_S):
                while (status["successors"], status["predecessors"]) != (others, others[::-1]):
                    await asyncio.sleep(POLL_S)
                    status = await site.ask("status")
        except TimeoutError:
            raise StepFailed(
                f"{site.name} should have as its successors {self._names(others)}; after {SETTLE_MAX_S:g} s it has"
                f" {self._names(status['successors'])}, and as predecessors {self._names(status['predecessors'])}"
            ) from None

    def _names(self, node_ids: list[str]) -> str:
        return " ".join(self.site(node_id).name for node_id in node_ids) or "nobody"

    # Lines

    async def add_line(self, user: str, site: Site) -> None:
        """Let `user` have phones at this site."""
        await self._processes.run(
            *("line", "add", user, "--peer", site.directory, "--password-file", self._password_file(f"{user}-account")),
            *("--phone-password-file", self._password_file(f"{user}-phone")),
        )

    async def stored(self, user: str, site: Site) -> dict[str, Any]:
        """Wait until the record of the user's line at this site is in the overlay; where it is."""
        record: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(SETTLE_MAX_S):
                while record is None:
                    lines = await site.ask("lines")
                    record = next(line["record"] for line in lines if line["user"] == f"{user}@{NAME}")
                    await asyncio.sleep(0 if record else POLL_S)
        except TimeoutError:
            raise StepFailed(f"the record of {user}'s line at {site.name} was not stored") from None
        return record


def _password() -> str:
    return secrets.token_hex(5)
