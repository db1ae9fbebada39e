"""A TURN client (RFC 8656), which knows no sockets: one allocation at one relay.

Theory of operation. Everything that lives for a time at the relay is refreshed in time: the allocation a minute before
its end, permissions and channels after four minutes of five. A relay that has begun anew says nothing by itself: it
drops data of those whom it does not know. So when data went out and for a second nothing came back, it is asked (a
Refresh, which costs it nothing); as long as it answers, less and less often. An idle client asks every 25 s, which also
keeps the NATs on the way open.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.frozen import frozen
from p2psip.base.timers import Deadline, Timers, earliest
from p2psip.stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    CHANNEL_NUMBER,
    DATA,
    ERROR_CODE,
    ICMP,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    SOFTWARE,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    Family,
    StunErrorCode,
)
from p2psip.stun.credentials import CannotAnswer, Proof, StunCredential, is_weakened
from p2psip.stun.framing import CHANNELS, ChannelData, StunFraming, is_channel_data
from p2psip.stun.integrity import integrity_of, is_signed, signed
from p2psip.stun.message import AttributeType, MessageClass, NotStun, StunMessage, decode
from p2psip.stun.transactions import TRANSACTION_BYTES, Patience, Resend, StunUnanswered, Transactions
from p2psip.turn.client_values import Allocated, Loss, NotArrived, NotPermitted, Permitted, RelayedData, RelayLost
from p2psip.turn.limits import MESSAGE_BYTES_MAX, PERMISSION_S
from p2psip.turn.methods import ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, DATA_METHOD, REFRESH, SEND, UDP
from p2psip.turn.values import Flow, Transmit

REFRESH_BEFORE_S: Final = 60.0
"""Section 8: "roughly 1 minute before it expires"."""
REFRESH_APART_S: Final = 5.0
"""So often at most, whatever lifetime the relay speaks of."""
KEEP_S: Final = 240.0
"""After how long permissions and channels are refreshed; a permission lives for 300 s."""
QUIET_S: Final = 1.0
QUIET_MAX_S: Final = 16.0
"""For how long a relay may say nothing to what was sent through it, before it is asked."""
IDLE_S: Final = 25.0
RETRY_FULL_S: Final = 60.0
"""7.4: "The client SHOULD wait at least 1 minute", after 486 and 508."""
CHALLENGES_MAX: Final = 3
PEERS_PER_REQUEST: Final = 16
PROBE: Final = Patience(requests_max=4, last_rtos=2, stream_s=5)

_PADDED: Final = SOFTWARE.of("p2psip; at this length the question is no shorter than any answer to it may be")
"""In requests that prove nothing yet (RFC 8656 section 5: SOFTWARE "SHOULD" be in them): see docs/decisions/turn.md."""

_KNOWN: Final = frozenset(AttributeType)
_ANSWERS: Final = frozenset((MessageClass.SUCCESS, MessageClass.ERROR))


@frozen
class _Asked:
    """A request: what it is about, and how often it was challenged."""

    method: int
    peers: tuple[Address, ...] = ()
    channel: int = 0
    is_end: bool = False
    is_leftover: bool = False
    """What ends is an allocation that an earlier life of ours left at this address."""
    patience: Patience | None = None
    challenges: int = 0


class TurnClient:
    """One allocation. `allocate` first; when RelayLost has come it is over."""

    def __init__(
        self, flow: Flow, credential: StunCredential, rng: random.Random, families: tuple[Family, ...] = (Family.IPV4,)
    ) -> None:
        """`rng` is one that nobody outside can guess: whoever knows a transaction can forge a challenge."""
        self._flow = flow
        self._credential = credential
        self._rng = rng
        self._families = families
        self._proof: Proof | None = None
        self._framing = StunFraming(MESSAGE_BYTES_MAX)
        self._transactions: Transactions[_Asked] = Transactions(flow.is_stream)
        self._timers: Timers[str | Address] = Timers()
        self._is_allocated = False
        self._had_leftover = False
        self._has: set[Family] = set()
        """Of which families there is a relayed address."""
        self._is_over = False
        self._permitted: dict[str, bool] = {}
        self._wanted_at: dict[str, float] = {}
        """When a permission was last asked for, or used: those that are neither for a while are not refreshed."""
        self._numbers: dict[Address, int] = {}
        self._peers: dict[int, Address] = {}
        self._bound: set[Address] = set()
        self._quiet_s = QUIET_S
        self._has_heard = False
        """True if the relay has relayed something since it was last doubted."""
        self._idle_at = 0.0
        self._effects: list[Effect] = []

    # Commands

    def allocate(self, now: float) -> None:
        """Ask for the allocation: Allocated follows, or RelayLost."""
        self._ask(_Asked(ALLOCATE), now)

    def permit(self, hosts: Iterable[str], now: float) -> None:
        """Let these hosts and us send each other data: Permitted or NotPermitted follows for each that is new."""
        hosts = tuple(hosts)
        self._wanted_at |= dict.fromkeys(hosts, now)
        new = [host for host in hosts if host not in self._permitted and self._has_family_of(host)]
        self._permitted |= dict.fromkeys(new, False)
        self._ask_permission(new, now)

    def bind(self, peer: Address, now: float) -> None:
        """Have a channel to a peer, on which a datagram costs four bytes more and not 36. It also permits its host."""
        has_room = peer not in self._numbers and len(self._numbers) < len(CHANNELS)
        if has_room and self._has_family_of(peer.host):
            number = self._numbers[peer] = CHANNELS[len(self._numbers)]
            self._peers[number] = peer
            self._permitted.setdefault(peer.host, False)
            self._wanted_at[peer.host] = now
            self._ask(_Asked(CHANNEL_BIND, (peer,), number), now)

    def send(self, peer: Address, data: bytes, now: float) -> bool:
        """Send data to a peer; False if its host is not permitted."""
        if not self._permitted.get(peer.host):
            return False
        self._wanted_at[peer.host] = now
        if peer in self._bound:
            message = ChannelData.encode(self._numbers[peer], data, is_stream=self._flow.is_stream)
        else:
            transaction = self._transaction()
            attributes = XOR_PEER_ADDRESS.of(peer, transaction), DATA.of(data)
            message = StunMessage(MessageClass.INDICATION, SEND, transaction, attributes).encode()
        self._transmit(message, now)
        if "quiet" not in self._timers:
            self._timers.set("quiet", now + self._quiet_s, "relay is quiet")
        return True

    def use_credential(self, credential: StunCredential) -> None:
        """Another user name of the same member, for when the relay does not take the one before any more."""
        self._credential = credential

    def doubt(self, now: float) -> None:
        """There is reason to think that the relay is gone: ask it now."""
        if self._is_allocated and not self._is_over:
            self._timers.cancel("quiet")
            self._has_heard = False
            self._ask(_Asked(REFRESH, patience=PROBE), now)

    def close(self, now: float) -> None:
        """Section 8: who no longer wishes to use an allocation "SHOULD explicitly delete" it. RelayLost follows."""
        self._ask(_Asked(REFRESH, is_end=True, patience=PROBE), now)

    # From the driver

    def handle_data(self, data: bytes, now: float) -> None:
        """A datagram of the relay, or bytes on the stream to it."""
        if self._is_over:
            return
        try:
            messages = self._framing.feed(data) if self._flow.is_stream else [data]
        except NotStun as error:
            self._lose(Loss.FORGED, str(error))
            return
        for message in messages:
            try:
                self._handle_message(message, now)
            except CannotAnswer as error:
                self._lose(Loss.FORGED, str(error))
            except NotStun:
                continue

    def handle_unreachable(self, reason: str) -> None:
        """ICMP says that nobody is there, or the stream has ended."""
        self._lose(Loss.UNREACHABLE, reason)

    def handle_timeout(self, now: float) -> None:
        """Refresh, ask again, look whether the relay is there."""
        for key in self._timers.pop_due(now):
            if isinstance(key, Address):
                self._keep_channel(key, now)
            elif key == "permissions":
                self._keep_permissions(now)
            elif key == "refresh":
                self._ask(_Asked(REFRESH), now)
            elif key == "quiet":
                self._quiet_s = min(QUIET_MAX_S, 2 * self._quiet_s)
                self.doubt(now)
            elif now >= self._idle_at:
                self.doubt(now)
            else:
                self._timers.set("idle", self._idle_at, "relay is idle")
        self._transactions.handle_timeout(now)
        self._collect(now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return earliest((self._timers.next_deadline(), self._transactions.next_deadline()))

    def drain(self) -> list[Effect]:
        """What is to be done since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Asking

    def _has_family_of(self, host: str) -> bool:
        # 10.1: "The client MUST only include XOR-PEER-ADDRESS attributes with addresses of the same address family as
        # that of the relayed transport address".
        has = Family.of(host) in self._has
        if not has:
            self._effects.append(NotPermitted(host, 443, "Peer Address Family Mismatch"))
        return has

    def _keep_channel(self, peer: Address, now: float) -> None:
        if self._is_wanted(peer.host, now):
            self._ask(_Asked(CHANNEL_BIND, (peer,), self._numbers[peer]), now)
        else:
            # As data goes and comes without it as well, nothing but four bytes for 36 is lost.
            self._bound.discard(peer)

    def _keep_permissions(self, now: float) -> None:
        for host in [host for host in self._permitted if not self._is_wanted(host, now)]:
            del self._permitted[host]
            self._wanted_at.pop(host, None)
        self._ask_permission([host for host, is_up in self._permitted.items() if is_up], now)

    def _is_wanted(self, host: str, now: float) -> bool:
        return now < self._wanted_at.get(host, now) + PERMISSION_S

    def _ask_permission(self, hosts: list[str], now: float) -> None:
        for at in range(0, len(hosts), PEERS_PER_REQUEST):
            # 10.1: "The port portion of each XOR-PEER-ADDRESS attribute will be ignored".
            peers = tuple(Address(host, 0) for host in hosts[at : at + PEERS_PER_REQUEST])
            self._ask(_Asked(CREATE_PERMISSION, peers), now)

    def _ask(self, asked: _Asked, now: float) -> None:
        if self._is_over:
            return
        transaction = self._transaction()
        attributes = [XOR_PEER_ADDRESS.of(peer, transaction) for peer in asked.peers]
        if asked.method == CHANNEL_BIND:
            attributes.append(CHANNEL_NUMBER.of(asked.channel))
        elif asked.method == ALLOCATE:
            attributes += self._wishes()
        elif asked.is_end:
            attributes.append(LIFETIME.of(0))
        attributes += [_PADDED] if self._proof is None else self._proof.attributes
        request = StunMessage(MessageClass.REQUEST, asked.method, transaction, tuple(attributes))
        if self._proof is not None:
            request = signed(request, self._proof.key, self._proof.integrity)
        self._transactions.begin(transaction, request.encode(), asked, now, asked.patience)
        self._collect(now)

    def _wishes(self) -> list[tuple[int, bytes]]:
        wishes = [REQUESTED_TRANSPORT.of(UDP)]
        if len(self._families) == 2:
            wishes.append(ADDITIONAL_ADDRESS_FAMILY.of(Family.IPV6))
        elif self._families == (Family.IPV6,):
            wishes.append(REQUESTED_ADDRESS_FAMILY.of(Family.IPV6))
        return wishes

    def _transaction(self) -> bytes:
        return self._rng.randbytes(TRANSACTION_BYTES)

    def _transmit(self, data: bytes, now: float) -> None:
        self._effects.append(Transmit(self._flow, data))
        self._idle_at = now + IDLE_S

    def _collect(self, now: float) -> None:
        for effect in self._transactions.drain():
            if isinstance(effect, Resend):
                self._transmit(effect.data, now)
            elif isinstance(effect, StunUnanswered):
                if effect.context.is_end and not effect.context.is_leftover:
                    self._lose(Loss.ENDED, "")
                elif effect.context.patience is PROBE and self._has_heard and not effect.is_forged:
                    # The question was lost on the way, or its answer: the relay has relayed meanwhile.
                    self._timers.set("idle", now + IDLE_S, "relay is idle")
                else:
                    self._lose(Loss.FORGED if effect.is_forged else Loss.SILENT, "")

    # Answers

    def _handle_message(self, data: bytes, now: float) -> None:
        """Raises NotStun, CannotAnswer."""
        if is_channel_data(data):
            number, payload = ChannelData.decode(data)
            if (peer := self._peers.get(number)) is not None:
                self._received(peer, payload, now)
            return
        message = decode(data, MESSAGE_BYTES_MAX)
        if (message.message_class, message.method) == (MessageClass.INDICATION, DATA_METHOD):
            self._handle_indication(message, now)
        elif message.message_class in _ANSWERS:
            asked = self._transactions.find(message.transaction)
            if asked is not None and asked.method == message.method:
                self._handle_answer(asked, message, data, now)

    def _handle_indication(self, message: StunMessage, now: float) -> None:
        """11.4 and 11.6."""
        peer, payload, icmp = XOR_PEER_ADDRESS.first(message), DATA.first(message), ICMP.first(message)
        if peer is None or message.unknown(_KNOWN):
            return
        if payload is not None:
            self._received(peer, payload, now)
        elif icmp is not None and peer.host in self._permitted:
            self._heard()
            self._effects.append(NotArrived(peer, icmp))

    def _received(self, peer: Address, data: bytes, now: float) -> None:
        # 11.4: "discard the Data indication otherwise", where no permission is wanted.
        if peer.host in self._permitted:
            self._wanted_at[peer.host] = now
            self._heard()
            self._effects.append(RelayedData(peer, data))

    def _heard(self) -> None:
        self._has_heard = True
        self._timers.cancel("quiet")
        self._quiet_s = QUIET_S

    def _handle_answer(self, asked: _Asked, answer: StunMessage, data: bytes, now: float) -> None:
        error = ERROR_CODE.first(answer) if answer.message_class is MessageClass.ERROR else None
        if error is not None and error.code in (401, 438) and self._challenged(asked, error, answer, now):
            return
        if is_weakened(answer):
            # RFC 8489 9.2.5: "the response MUST be ignored."
            return
        if error is not None and error.code == 400 and integrity_of(data) is None:
            # RFC 8489 9.2.5: "the response MUST be discarded, as if it were never received."
            return
        if self._proof is not None and not is_signed(data, self._proof.key):
            self._transactions.disbelieved(answer.transaction)
            self._collect(now)
            return
        self._transactions.done(answer.transaction, now)
        if answer.message_class is MessageClass.ERROR:
            self._failed(asked, error or StunErrorCode(500, "an error that does not say which"), now)
        elif answer.unknown(_KNOWN):
            # RFC 8489 6.3.3: "the response is discarded and the transaction is considered to have failed."
            self._failed(asked, StunErrorCode(500, "an answer that is not understood"), now)
        else:
            self._succeeded(asked, answer, now)

    def _challenged(self, asked: _Asked, error: StunErrorCode, answer: StunMessage, now: float) -> bool:
        """Ask again with what the relay wants to know. False if that is no use."""
        if error.code == 401 and self._proof is not None and asked.challenges:
            self._transactions.done(answer.transaction, now)
            self._lose(Loss.CREDENTIAL, str(error.code))
            return True
        if asked.challenges >= CHALLENGES_MAX:
            return False
        self._proof = self._credential.proof(answer)
        self._transactions.done(answer.transaction, now)
        self._ask(replace(asked, challenges=asked.challenges + 1), now)
        return True

    def _succeeded(self, asked: _Asked, answer: StunMessage, now: float) -> None:
        if asked.is_end:
            self._ended(asked, now)
        elif asked.method == ALLOCATE:
            relayed, mapped = XOR_RELAYED_ADDRESS.every(answer), XOR_MAPPED_ADDRESS.first(answer)
            if not relayed or mapped is None:
                self._lose(Loss.REFUSED, "an allocation without addresses")
                return
            self._has = {Family.of(each.host) for each in relayed}
            if not self._has <= set(self._families):
                # 7.3: "the client MUST delete the allocation (Section 8)".
                self._ask(_Asked(REFRESH, is_end=True, patience=PROBE), now)
                self._lose(Loss.REFUSED, "an allocation of a family that was not asked for")
                return
            self._is_allocated = True
            self._keep(answer, now)
            self._timers.set("idle", self._idle_at, "relay is idle")
            self._effects.append(Allocated(relayed, mapped))
        elif asked.method == REFRESH:
            self._keep(answer, now)
            self._timers.set("idle", self._idle_at, "relay is idle")
        else:
            for peer in asked.peers:
                if not self._permitted.get(peer.host):
                    self._permitted[peer.host] = True
                    self._effects.append(Permitted(peer.host))
            if asked.method == CHANNEL_BIND:
                self._bound.add(asked.peers[0])
                self._timers.set(asked.peers[0], now + KEEP_S, "channel refresh")
            elif "permissions" not in self._timers:
                # All of them together, when it is time for the first.
                self._timers.set("permissions", now + KEEP_S, "permission refresh")

    def _keep(self, answer: StunMessage, now: float) -> None:
        lifetime_s = LIFETIME.first(answer) or 0
        after_s = max(REFRESH_APART_S, lifetime_s / 2, lifetime_s - REFRESH_BEFORE_S)
        self._timers.set("refresh", now + after_s, "allocation refresh")

    def _failed(self, asked: _Asked, error: StunErrorCode, now: float) -> None:
        said = f"{error.code} {error.reason}".strip()
        if asked.is_end and (error.code == 437 or not asked.is_leftover):
            # 8.3: 437 to a request to delete: "it should consider its request as having effectively succeeded".
            self._ended(asked, now)
        elif asked.is_end:
            self._lose(Loss.REFUSED, f"an allocation of an earlier life is in the way, and stays: {said}")
        elif error.code == 437 and asked.method == ALLOCATE and not self._had_leftover:
            # A program that died has deleted nothing, and the NAT may give the next one the same address.
            self._had_leftover = True
            self._ask(_Asked(REFRESH, is_end=True, is_leftover=True), now)
        elif error.code == 437 and asked.method != ALLOCATE:
            # 5: "MUST assume the allocation no longer exists."
            self._lose(Loss.RESTARTED, said)
        elif error.code in (401, 438, 441):
            self._lose(Loss.CREDENTIAL, said)
        elif asked.method == CREATE_PERMISSION and len(asked.peers) > 1:
            # 10.2: one address that is refused has all of the request refused, and some of a peer's are private.
            for peer in asked.peers:
                self._ask(_Asked(CREATE_PERMISSION, (peer,)), now)
        elif asked.method == CREATE_PERMISSION or (asked.method == CHANNEL_BIND and error.code != 400):
            for host in {peer.host for peer in asked.peers}:
                self._permitted.pop(host, None)
                self._effects.append(NotPermitted(host, error.code, error.reason))
        elif error.code in (486, 508):
            self._lose(Loss.FULL, said, RETRY_FULL_S)
        else:
            self._lose(Loss.REFUSED, said)

    def _ended(self, asked: _Asked, now: float) -> None:
        if asked.is_leftover:
            self._ask(_Asked(ALLOCATE), now)
        else:
            self._lose(Loss.ENDED, "")

    def _lose(self, loss: Loss, reason: str, retry_after_s: float = 0.0) -> None:
        if not self._is_over:
            self._is_over = True
            self._permitted = {}
            self._timers = Timers()
            self._transactions = Transactions(self._flow.is_stream)
            self._effects.append(RelayLost(loss, reason or loss.value, retry_after_s))
