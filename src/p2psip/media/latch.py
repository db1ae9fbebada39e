"""Symmetric RTP (RFC 4961): packets go to where packets come from, and to nobody who just happens by.

What is known against latching (RFC 7362 section 5): who sends before the phone does is sent the call ("RTP bleed"), and
who sends later is heard in it ("RTP inject"). So a latch opens once for each address that SDP names, for hosts that the
call is known to have; then it is shut.
"""

from __future__ import annotations

from p2psip.media.negotiation import Address

PACKETS_UNTIL_SHUT = 50
"""A second of a phone's audio."""


class Latch:
    """Where one stream comes from and goes to.

    Until a packet has come, we send to the address that SDP has `named` (None: it has named none that can be sent to).
    The first valid packet from one of `hosts`, or from the named host, moves us to its source; without `hosts` it may
    come from anywhere. After that only the named host moves us (a NAT gave it another port, or it speaks after somebody
    else did), or who goes on with the same SSRC at a known host: a number that nobody guesses.
    """

    __slots__ = ("_hosts", "_named", "_ssrc", "_until_shut", "is_shut", "remote")

    def __init__(self, named: Address | None, hosts: frozenset[str] | None = None) -> None:
        self._named = named
        self._hosts = hosts
        self._ssrc: int | None = None
        self._until_shut = 0
        self.is_shut = False
        """True once a packet has come."""
        self.remote = named
        """Where to send to; None where nobody knows."""

    def name(self, named: Address | None) -> None:
        """SDP names an address; a new one starts the search anew."""
        if named != self._named:
            self._named = self.remote = named
            self.is_shut, self._ssrc, self._until_shut = False, None, 0

    def reopen(self) -> None:
        """The phone itself has spoken: it may have moved where SDP names the same, behind a NAT that began anew.

        What was on its way from where it was does not shut the latch at once.
        """
        if self.is_shut:
            self.is_shut, self._until_shut = False, PACKETS_UNTIL_SHUT

    def accepts(self, source: Address, ssrc: int | None = None) -> bool:
        """True if a valid packet from there, of this SSRC if it has one, belongs to us."""
        if self.is_shut and source == self.remote:
            if ssrc is not None:
                self._ssrc = ssrc
            return True
        if not self._may_move_us(source, ssrc):
            return False
        if self._until_shut and source == self.remote:
            self._until_shut -= 1
        else:
            self._until_shut = 0
        self.is_shut, self.remote, self._ssrc = self._until_shut == 0, source, ssrc
        return True

    def _may_move_us(self, source: Address, ssrc: int | None) -> bool:
        if self._named is not None and source[0] == self._named[0]:
            return True
        if self._hosts is not None and source[0] not in self._hosts:
            return False
        return not self.is_shut or (ssrc is not None and ssrc == self._ssrc)
