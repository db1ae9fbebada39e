"""Short-lived user names for members, which need no table: who made them knows them again.

A user name is when it ends, and whose it is; its password is a code by a secret over that. It is handed out over the
overlay, to who has proved there that he is this member. The end is on the clock of who hands it out: he alone has to
know it, and with a new start there is a new secret.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final

from p2psip.stun.credentials import StunCredential, User

_CODE_BYTES: Final = 18


class MemberCredentials:
    """Those of one relay."""

    def __init__(self, secret: bytes) -> None:
        """`secret` is at least 16 bytes that nobody else knows."""
        self._secret = secret

    def issue(self, member: str, lifetime_s: int, now: float) -> StunCredential:
        """What a member is to say to the relay, for so long."""
        username = f"{int(now) + lifetime_s}:{member}"
        return StunCredential(username, self._password(username))

    def find(self, username: str, now: float) -> User | None:
        """The member of a user name that has not ended. Whoever made up a user name does not know its password."""
        ends, colon, member = username.partition(":")
        if not (colon and ends.isascii() and ends.isdigit() and len(ends) <= 12) or now >= int(ends):
            return None
        return User(member, self._password(username))

    def _password(self, username: str) -> str:
        return base64.b64encode(hmac.digest(self._secret, username.encode(), "sha256")[:_CODE_BYTES]).decode()
