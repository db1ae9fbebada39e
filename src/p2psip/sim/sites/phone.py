"""A phone in virtual time: a user agent, what its user has been told, and what the user does."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk, Effect
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    CallEstablished,
    Ending,
    IncomingCall,
    MediaWanted,
    Registered,
    RegistrationFailed,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram, FlowDown
from p2psip.sip.transports.effects import OpenFlow, SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener
from p2psip.sip.transports.own_addresses import as_host

MEDIA_PORT = 20_000


class VirtualPhone(ABC):
    """Registers, calls, answers after `answer_s`, or rings for ever with None. What carries its datagrams is below."""

    def __init__(
        self,
        user: str,
        address: Address,
        server: Address,
        rng: random.Random,
        *,
        password: str = "",
        answer_s: float | None = 0.5,
        domain: str = "",
        auth_user: str = "",
    ) -> None:
        """`domain` is what the phone was told that its server is called: else its address."""
        self.user = user
        self.address = address
        self.server = server
        self.is_plugged_in = True
        self.events: list[tuple[float, Effect]] = []
        """(when, what), in seconds of the phone's clock."""
        self.received: list[bytes] = []
        config = AgentConfig(
            address_of_record=SipUri(domain or as_host(server.host), user),
            contact=SipUri(as_host(address.host), user, address.port),
            server=UdpHop(server),
            listeners=(Listener("UDP", address),),
            password=password or f"phone of {user}",
            auth_user=auth_user,
            is_tethered=True,
            auto_answer_s=answer_s,
        )
        self.agent = UserAgent(config, rng)
        self._armed_at: float | None = None

    @property
    @abstractmethod
    def now(self) -> float:
        """The phone's clock."""

    @abstractmethod
    def _transmit(self, data: bytes) -> None:
        """Send a datagram to the server."""

    @abstractmethod
    def _at(self, when: float, run: Callable[[], None]) -> None:
        """Have something happen later."""

    def register(self) -> Self:
        """Tell the server where it is, from now on."""
        self.run(self.agent.register)
        return self

    def dial(self, target: str) -> int:
        """Call `target`, a URI, or a name at the server that the phone is set to; the number of the call."""
        uri = parse_sip_uri(target if target.startswith("sip:") else f"sip:{target}@{as_host(self.server.host)}")
        numbers: list[int] = []
        self.run(lambda now: numbers.append(self.agent.call(uri, now)))
        return numbers[0]

    def hang_up(self, call: int) -> None:
        """End a call."""
        self.run(lambda now: self.agent.hang_up(call, now))

    def unplug(self) -> None:
        """No power: whatever comes is lost."""
        self.is_plugged_in = False

    def receive(self, data: bytes) -> None:
        """A datagram of the server has come."""
        if self.is_plugged_in:
            self.received.append(data)
            self.run(lambda now: self.agent.handle(Datagram(self.address, self.server, data), now))

    def run(self, do: Callable[[float], object]) -> None:
        """Give the agent one input, and do what it wants done."""
        do(self.now)
        for effect in self.agent.drain():
            self._perform(effect)
        self._arm()

    # What its user knows

    def of(self, kind: type[Effect]) -> list[Effect]:
        """What its user has been told, of one kind."""
        return [effect for _, effect in self.events if isinstance(effect, kind)]

    @property
    def is_registered(self) -> bool:
        """True once the server has taken a registration."""
        return bool(self.of(Registered))

    @property
    def refusal(self) -> str:
        """Why it could not register, the last time."""
        failed = self.of(RegistrationFailed)
        return str(failed[-1].reason) if failed else ""  # type: ignore[attr-defined]

    @property
    def talks(self) -> bool:
        """True while a call is up."""
        return any(isinstance(e, CallEstablished) and e.call in self.agent.calls for _, e in self.events)

    @property
    def rang(self) -> int:
        """How many calls have come in."""
        return len(self.of(IncomingCall))

    def ending(self, call: int) -> Ending | None:
        """How a call ended; None while it lasts."""
        return next((e.reason for _, e in self.events if isinstance(e, CallEnded) and e.call == call), None)

    def ended(self, call: int) -> str | None:
        """The same in words."""
        ending = self.ending(call)
        return None if ending is None else str(ending)

    def established_after(self, call: int, began: float) -> float | None:
        """How long after `began` a call was answered, in seconds; None if it was not."""
        return next((at - began for at, e in self.events if isinstance(e, CallEstablished) and e.call == call), None)

    # Inside

    def _perform(self, effect: Effect) -> None:
        match effect:
            case SendUdp(_, _, data):
                if self.is_plugged_in:
                    self._transmit(data)
            case Ask(token, MediaWanted()):
                media = Address(self.address.host, MEDIA_PORT + 2 * token)
                self._at(self.now, lambda: self.run(lambda now: self.agent.handle_answer(token, media, now)))
            case OpenFlow(flow):
                # It knows no TCP, and neither do its servers: what is too long for UDP goes over it all the same.
                self._at(self.now, lambda: self.run(lambda now: self.agent.handle(FlowDown(flow, "no TCP here"), now)))
            case CancelAsk():
                pass
            case _:
                self.events.append((self.now, effect))

    def _arm(self) -> None:
        deadline = self.agent.next_deadline()
        if deadline is not None and (self._armed_at is None or deadline.at < self._armed_at):
            at = self._armed_at = deadline.at
            self._at(at, lambda: self._timeout(at))

    def _timeout(self, at: float) -> None:
        if self._armed_at == at:
            self._armed_at = None
            self.run(self.agent.handle_timeout)
