"""An enrollment server in virtual time, on a real database, at which people with invitations ask."""

from __future__ import annotations

import random
from pathlib import Path

import httpx2
from accounts import CHEAP, accounts, settled

from p2psip.base.effects import Note
from p2psip.base.wallclock import WallClock
from p2psip.enrollment.asked.server_errands import ServerErrands
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.invitations import Invitation, token_hash
from p2psip.enrollment.server import EnrollmentPolicy, EnrollmentServer, Post, Respond
from p2psip.net.accounts.account_database import AccountDatabase
from p2psip.reload.security.roles import Member
from p2psip.sim.membership import DATE, OVERLAY, Club, key

TOKEN = bytes(range(10))
ALICE = f"alice@{OVERLAY}"
HOUR_S = 3600.0


class Door:
    """A server that alice has invited somebody to."""

    def __init__(self, directory: Path) -> None:
        self.club = Club.of()
        accounts(directory, [("alice", "alice's secret")]).close()
        self.store = AccountDatabase.open(directory / "accounts.db")
        self.now = 1000.0
        policy = EnrollmentPolicy(OVERLAY, self.club.configuration.signature_algorithms)
        clock = WallClock(DATE - self.now)
        self.server = EnrollmentServer(policy, random.Random(7), clock, CHEAP)
        self.errands = ServerErrands(self.store, self.club.anchor, random.Random(8))
        self.notes: list[Note] = []
        self.source = "192.0.2.1"

    def invite(self, token: bytes = TOKEN, **terms: object) -> Invitation:
        """An invitation of alice's that lasts an hour."""
        said = {"inviter": ALICE, "expires": self.date + HOUR_S, "created": self.date} | terms
        return self.store.invite(Invitation(**said), token_hash(token))  # type: ignore[arg-type]

    @property
    def date(self) -> float:
        return DATE + self.now - 1000.0

    def post(self, csr: bytes, **fields: str) -> Post:
        """A request as httpx would make it."""
        files = {"csr": ("request.p10", csr, "application/pkcs10")}
        request = httpx2.Request("POST", "https://x/", data=fields, files=files)
        return Post(request.headers["content-type"], request.read(), "application/pkix-cert", self.source)

    def ask(self, user: str, number: int = 1, *, token: bytes | None = TOKEN, text: str = "", **fields: str) -> Respond:
        """What is answered to a request with a token, and key `number`."""
        if token is not None:
            fields["invitation"] = text or token.hex()
        self.server.handle_request(1, self.post(make_request(key(number=number), user), **fields), self.now)
        effects = settled(self.server, self.errands, self.now)
        self.notes += [effect for effect in effects if isinstance(effect, Note)]
        (answer,) = [effect for effect in effects if isinstance(effect, Respond)]
        return answer

    def enter(self, user: str, number: int = 1, **fields: object) -> Member:
        """A request that succeeds: who the certificate makes one."""
        answer = self.ask(user, number, **fields)  # type: ignore[arg-type]
        assert answer.status == 200, answer.body
        return self.club.verifier.check([answer.body], DATE, True)

    def refusal(self, user: str, number: int = 1, **fields: object) -> str:
        """A request that is refused: the token of 11.3, or of ours."""
        answer = self.ask(user, number, **fields)  # type: ignore[arg-type]
        assert answer.status != 200
        return answer.body.decode()
