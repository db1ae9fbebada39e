"""Calls with mailboxes in virtual time: what phones say, press and hear, which have neither mouth nor ear there."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.coupling.peer_news import MailboxAnswered
from p2psip.media.g711 import PCMU
from p2psip.media.recording.telephone_events import DIGITS, TelephoneEvent
from p2psip.media.rtp import RtpPacket
from p2psip.media.tone import Tone, ToneDetector, ToneGenerator
from p2psip.reload.config.configuration import MAILBOX_KINDS, SIP_REGISTRATION_KIND
from p2psip.reload.storage.store.memory import MemoryStore
from p2psip.reload.storage.store.records import Commit, CommitFailed, Committed, Put
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import CallEstablished
from p2psip.sip.entities.mailbox.mailbox_questions import MailboxContents, OpenMailbox

KINDS = (SIP_REGISTRATION_KIND, *MAILBOX_KINDS)
FRAME = 160
EVENT = 101


def club(seed: str, count: int = 5) -> SimulatedPeers:
    """Peers whose overlay has mailboxes."""
    return SimulatedPeers(seed, count, required_kinds=KINDS)


class Voice:
    """What one phone says in its latest call, which is with an agent of its peer."""

    def __init__(self, phone: SitePhone, hz: float = 700.0) -> None:
        self.phone = phone
        self._tone = ToneGenerator(hz)
        (self._call,) = [e for e in phone.of(CallEstablished)[-1:] if isinstance(e, CallEstablished)]
        self._number = self._timestamp = 0

    @property
    def site(self) -> Site:
        return self.phone.site

    def speak(self, seconds: float) -> None:
        """A tone, for so long."""
        for _ in range(round(seconds * 50)):
            self._send(RtpPacket(0, self._number, self._timestamp, 7, PCMU.encode(self._tone.frame(FRAME))))
            self._timestamp += FRAME
            self.site.world.run_for(0.02)

    def press(self, digits: str) -> None:
        """Keys, each for 100 ms, said as often as RFC 4733 has it."""
        for digit in digits:
            for count in (160, 320, 480, 640, 800, 800, 800):
                event = TelephoneEvent(DIGITS.index(digit), count == 800, 10, count)
                self._send(RtpPacket(EVENT, self._number, self._timestamp, 7, event.encode()))
                self.site.world.run_for(0.02)
            self._timestamp += 800
            self.site.world.run_for(0.1)

    def _send(self, packet: RtpPacket) -> None:
        self._number += 1
        remote, local, data = Address(*self._call.agreement.remote), Address(*self._call.local), packet.encode()
        self.site.call(lambda now: self.site.peer.handle_media(remote, local, data, now))


class FillingDisk(MemoryStore):
    """Records on a disk that may be full: then nothing is written."""

    is_full = False

    def commit(self, commit: Commit) -> Committed | CommitFailed:  # type: ignore[override]
        """MemoryStore"""
        if self.is_full and any(isinstance(change, Put) for change in commit.changes):
            return CommitFailed("no space left on device")
        return super().commit(commit)


def heard(site: Site, seconds: float) -> Tone | None:
    """The tone that the agents of a site have played most in the next seconds."""
    site.spoken.clear()
    site.world.run_for(seconds)
    ear = ToneDetector()
    for packet in list(site.spoken):
        ear.feed(PCMU.decode(RtpPacket.decode(packet.data).payload))
    return ear.tone()


def contents(site: Site, line: str) -> MailboxContents:
    """What waits, as an operator is told."""
    answer = asked(site, OpenMailbox(line))
    assert isinstance(answer, MailboxContents), answer
    return answer


def asked(site: Site, question: object) -> object:
    """What an operator is answered."""
    context = object()
    site.call(lambda now: site.peer.ask_mailbox(question, context, now))

    def answers() -> list[object]:
        return [e.answer for e in site.host.events if isinstance(e, MailboxAnswered) and e.context is context]

    assert site.world.run_for(60.0, stop=lambda: bool(answers()))
    return answers()[0]


def open_mailbox(world: SimulatedPeers, phone: SitePhone) -> None:
    """Dial its number once."""
    call = phone.dial("*97")
    assert world.run(10.0, stop=lambda: phone.talks)
    phone.hang_up(call)
    world.run(10.0)


def leave(world: SimulatedPeers, phone: SitePhone, owner: str, *, hz: float = 700.0, seconds: float = 5.0) -> None:
    """Call somebody who is not reached, and speak after the tone."""
    call = phone.dial(owner)
    assert world.run(60.0, stop=lambda: phone.talks), phone.ended(call)
    world.run(2.0)
    Voice(phone, hz).speak(seconds)
    phone.hang_up(call)
    world.run(10.0)
