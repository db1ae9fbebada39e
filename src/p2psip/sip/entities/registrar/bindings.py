"""The location service of one peer: which phone is where (RFC 3261 section 10.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.errors import LocalMisuse
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.sip.entities.own import ServerName
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import FlowDown
from p2psip.sip.transports.hops import FlowHop, Hop, StreamHop, StreamTransport, UdpHop


@dataclass(frozen=True, slots=True)
class Binding:
    """A phone of a user: its Contact, and the hops that really lead there, best first."""

    contact: SipUri
    hops: tuple[Hop, ...]
    call_id: str
    cseq: int
    registered_at: float
    expires_at: float
    q: float = 1.0
    instance: str = ""
    """`+sip.instance` (RFC 5626 section 4.1), which tells phones apart; "" if it gave none."""
    user_agent: str = ""
    reg_id: int = 0
    """Which of its flows an instance has registered (RFC 5626 section 4.2.1); 0 for a Contact of RFC 3261."""
    path: tuple[NameAddr, ...] = ()
    """The proxies on the way to the phone, as its REGISTER said (RFC 3327); the hops lead to the first of them."""
    server: ServerName | None = None
    """What the phone calls us; None if a registration of an earlier release does not say."""
    missed: int = 0
    """How many requests in a row it has said nothing to at all, since it has registered."""

    def is_same(self, other: Binding) -> bool:
        """True if one takes the other's place."""
        # RFC 5626 section 6: "the corresponding binding is between an AOR and the combination of the instance-id
        # [...] and the value of "reg-id""; the Contact URI is "not used for binding comparisons".
        if self.reg_id or other.reg_id:
            return (self.reg_id, self.instance_key) == (other.reg_id, other.instance_key)
        # RFC 3261 section 10.3 step 7: "using the comparison rules defined for the URI". Where it came from is no
        # part of it: two phones may be behind one socket.
        return self.contact.matches(other.contact)

    def is_like(self, other: Binding) -> bool:
        """True if the same REGISTER has made both."""
        return self.is_same(other) and (self.call_id, self.cseq) == (other.call_id, other.cseq)

    @property
    def instance_key(self) -> str:
        """The instance for comparing: a URN's parts that matter here are the same in either case (RFC 8141)."""
        return self.instance.lower()

    @property
    def rank(self) -> tuple[bool, float, float, str, str, int]:
        """Sorts the best first: who answers, the highest q (section 16.6), the newest; no two are equal in it."""
        return (self.missed > 0, -self.q, -self.registered_at, str(self.contact), self.instance, self.reg_id)


@dataclass(frozen=True, slots=True)
class BindingsChanged(Effect):
    """The phones of a user, newest first, after a registration, an expiry or a lost connection."""

    user: str
    bindings: tuple[Binding, ...]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A binding on disk; times are relative, since the clock of the next run is another."""

    user: str
    contact: str
    call_id: str
    cseq: int
    age_s: float
    remaining_s: float
    q: float
    instance: str
    user_agent: str
    hops: list[tuple[str, str, int, str, int]]
    reg_id: int = 0
    path: list[str] = []
    server: ServerName | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[_Saved])


class Bindings:
    """All bindings of all users, each until it expires."""

    def __init__(self, per_user_max: int, queue: TimerQueue | None = None) -> None:
        self._per_user_max = per_user_max
        self._by_user: dict[str, tuple[Binding, ...]] = {}
        self._users_on_flow: dict[int, set[str]] = {}
        self._hosts: dict[str, int] = {}
        self._by_contact: dict[tuple[str, str, int | None], Binding] = {}
        self._timers: Timers[str] = Timers(queue)

    def of(self, user: str, now: float) -> tuple[Binding, ...]:
        """The phones of a user, best first."""
        alive = [binding for binding in self._by_user.get(user, ()) if binding.expires_at > now]
        return tuple(sorted(alive, key=lambda binding: binding.rank))

    def __contains__(self, user: str) -> bool:
        return user in self._by_user

    def users(self) -> list[str]:
        """Everybody who has a phone."""
        return list(self._by_user)

    def has_host(self, host: str) -> bool:
        """True if a phone is at that numeric address."""
        return host in self._hosts

    def are_on(self, flow: int) -> bool:
        """True if a phone is reached by this connection."""
        return flow in self._users_on_flow

    def at_contact(self, uri: SipUri, now: float) -> Binding | None:
        """The phone that gave this URI as its Contact."""
        binding = self._by_contact.get(_key_of(uri))
        return binding if binding is not None and binding.expires_at > now else None

    def successor(self, user: str, contact: SipUri, now: float, *, may_have_moved: bool) -> Binding | None:
        """The phone of a user that is most likely to be the one which had this Contact, and has another by now: one at
        the same host; if it `may_have_moved`, else the best.
        """
        phones = self.of(user, now)
        otherwise = phones[0] if phones and may_have_moved else None
        return next((one for one in phones if one.contact.host == contact.host), otherwise)

    def store(self, user: str, bindings: tuple[Binding, ...]) -> None:
        """Replace the bindings of a user; the oldest go where there are too many."""
        kept = sorted(bindings, key=lambda binding: (-binding.registered_at, binding.rank))[: self._per_user_max]
        self._count(user, -1)
        if not kept:
            self._by_user.pop(user, None)
            self._timers.cancel(user)
            return
        self._by_user[user] = tuple(kept)
        self._count(user, 1)
        self._timers.set(user, min(binding.expires_at for binding in kept), "registration expires")

    def rebound(self, user: str, contact: SipUri, hop: Hop | None, now: float) -> Binding | None:
        """The phone of a user that has this Contact, if it is at the host of `hop` and a NAT may have moved its port.

        Another phone of that user may have the same private address elsewhere, so the host has to be the same.
        """
        for one in self.of(user, now):
            if one.contact.matches(contact) and not one.path and isinstance(hop, UdpHop) and len(one.hops) == 1:
                known = one.hops[0]
                return one if isinstance(known, UdpHop) and known.remote.host == hop.remote.host else None
        return None

    def move(self, user: str, binding: Binding, hops: tuple[Hop, ...], now: float) -> None:
        """A phone is to be reached in another way from now on."""
        moved = replace(binding, hops=hops)
        self.store(user, tuple(moved if one is binding else one for one in self.of(user, now)))

    def forget(self, user: str, binding: Binding, now: float) -> list[BindingsChanged]:
        """A phone is not where this binding says. One that has been registered anew meanwhile stays."""
        rest = tuple(one for one in self.of(user, now) if one is not binding)
        if len(rest) == len(self.of(user, now)):
            return []
        self.store(user, rest)
        return [BindingsChanged(user, rest)]

    def heard(self, user: str, binding: Binding, now: float) -> None:
        """A phone has answered that had said nothing before."""
        present = self.of(user, now)
        self.store(user, tuple(replace(one, missed=0) if one.is_like(binding) else one for one in present))

    def miss(self, user: str, binding: Binding, now: float) -> list[BindingsChanged]:
        """A phone has said nothing at all to a request: it is tried last from now on, and forgotten the second time, if
        its user has another that is there.
        """
        present = self.of(user, now)
        current = next((one for one in present if one.is_like(binding)), None)
        if current is None:
            return []
        if current.missed and not all(one.missed for one in present):
            return self.forget(user, current, now)
        missed = replace(current, missed=current.missed + 1)
        self.store(user, tuple(missed if one is current else one for one in present))
        return []

    def handle_timeout(self, now: float) -> list[BindingsChanged]:
        """Forget what has expired."""
        changes = []
        for user in self._timers.pop_due(now):
            self.store(user, self.of(user, now))
            changes.append(BindingsChanged(user, self.of(user, now)))
        return changes

    def handle_flow_down(self, down: FlowDown, now: float) -> list[BindingsChanged]:
        """A connection is gone: phones that were reached by it alone are away (RFC 5626 section 4.2.1)."""
        changes = []
        for user in sorted(self._users_on_flow.get(down.flow, ())):
            rest = [_without_flow(binding, down.flow) for binding in self.of(user, now)]
            self.store(user, tuple(binding for binding in rest if binding.hops))
            changes.append(BindingsChanged(user, self.of(user, now)))
        return changes

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def snapshot(self, now: float) -> bytes:
        """All bindings, to be kept over a restart."""
        saved = [_save(user, binding, now) for user in self._by_user for binding in self.of(user, now)]
        return _encoder.encode(saved)

    def restore(self, snapshot: bytes, now: float, elapsed_s: float = 0.0) -> list[BindingsChanged]:
        """Take up a snapshot again, made `elapsed_s` ago. Connections do not outlive a process, addresses do."""
        try:
            saved = _decoder.decode(snapshot)
            restored = [(one.user, _load(one, now - elapsed_s)) for one in saved]
        except (msgspec.DecodeError, BadMessage, ValueError) as error:
            raise LocalMisuse(f"the saved registrations are damaged ({error}); delete them") from None
        for user, binding in restored:
            if binding.expires_at > now and binding.hops:
                self.store(user, (*self._by_user.get(user, ()), binding))
        return [BindingsChanged(user, self.of(user, now)) for user in self._by_user]

    def _count(self, user: str, by: int) -> None:
        """Keep the indexes of contacts, connections and hosts."""
        for binding in self._by_user.get(user, ()):
            if by > 0:
                self._by_contact[_key_of(binding.contact)] = binding
            elif self._by_contact.get(_key_of(binding.contact)) is binding:
                del self._by_contact[_key_of(binding.contact)]
            for hop in binding.hops:
                if isinstance(hop, FlowHop):
                    users = self._users_on_flow.setdefault(hop.flow, set())
                    users.add(user) if by > 0 else users.discard(user)
                    if not users:
                        del self._users_on_flow[hop.flow]
                elif isinstance(hop, UdpHop | StreamHop):
                    host = hop.remote.host
                    self._hosts[host] = self._hosts.get(host, 0) + by
                    if not self._hosts[host]:
                        del self._hosts[host]


def _key_of(uri: SipUri) -> tuple[str, str, int | None]:
    return (uri.user_name, uri.host, uri.port)


def _without_flow(binding: Binding, flow: int) -> Binding:
    return replace(binding, hops=tuple(hop for hop in binding.hops if hop != FlowHop(flow)))


def _save(user: str, binding: Binding, now: float) -> _Saved:
    hops: list[tuple[str, str, int, str, int]] = []
    for hop in binding.hops:
        if isinstance(hop, UdpHop):
            local = hop.local or Address("", 0)
            hops.append(("UDP", *hop.remote, *local))
        elif isinstance(hop, StreamHop):
            hops.append((hop.transport, *hop.remote, "", 0))
    return _Saved(
        user,
        str(binding.contact),
        binding.call_id,
        binding.cseq,
        now - binding.registered_at,
        binding.expires_at - now,
        binding.q,
        binding.instance,
        binding.user_agent,
        hops,
        binding.reg_id,
        [str(entry) for entry in binding.path],
        binding.server,
    )


def _load(saved: _Saved, then: float) -> Binding:
    hops: list[Hop] = []
    for transport, host, port, local_host, local_port in saved.hops:
        remote = Address(host, port)
        if transport == "UDP":
            hops.append(UdpHop(remote, Address(local_host, local_port) if local_host else None))
        else:
            stream: StreamTransport = "TLS" if transport == "TLS" else "TCP"
            hops.append(StreamHop(stream, remote))
    return Binding(
        parse_sip_uri(saved.contact),
        tuple(hops),
        saved.call_id,
        saved.cseq,
        then - saved.age_s,
        then + saved.remaining_s,
        saved.q,
        saved.instance,
        saved.user_agent,
        saved.reg_id,
        tuple(NameAddr.parse(entry, "Path") for entry in saved.path),
        saved.server,
    )
