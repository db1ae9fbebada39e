"""The notifier (RFC 6665 section 4.2): subscriptions, each a usage of a dialog of its own.

Theory of operation. A SUBSCRIBE gets an answer at once, and then a NOTIFY: with the state of the line, which its
package writes. What changes is told to all who watch the line, to each of them not before its last NOTIFY has been
answered, and not more often than the package says; what has changed meanwhile is told then. A subscription ends when
nobody refreshes it, when its watcher or this server says so, or when a NOTIFY finds nobody.

A core: requests, the results of NOTIFYs and time come in; `drain()` says what is to be sent. Nothing is kept over a
restart: a refresh is answered 481 then, upon which a phone subscribes anew (4.1.2.2).
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from p2psip.base.effects import Effect
from p2psip.base.timers import Deadline, TimerQueue, Timers
from p2psip.sip.dialogs.dialog import Dialog, DialogId
from p2psip.sip.events.limits import EventLimits
from p2psip.sip.events.packages import EventPackage
from p2psip.sip.events.watchers import Watcher, WatchRules
from p2psip.sip.message.headers import Event
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri, escape_user

_REMOVING = frozenset({404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604})
"""4.2.2: upon these a notifier "MUST remove the corresponding subscription", and upon a timeout it SHOULD."""

RETRY_S = 60
"""When to come again, where there is no room."""


class EndReason(enum.Enum):
    """Why a subscription is over (section 4.1.3), and so what its watcher does next."""

    DEACTIVATED = "deactivated"
    """The server stops: subscribe anew at once."""
    TIMEOUT = "timeout"
    REJECTED = "rejected"
    """Its watcher may not know any more: do not come again."""
    NORESOURCE = "noresource"
    """There is no such line any more: do not come again."""


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """The answer to a request; `phrase` is None for the usual one."""

    status: int
    fields: tuple[tuple[str, object], ...] = ()
    phrase: str | None = None


@dataclass(frozen=True, slots=True)
class SendNotify(Effect):
    """Send this in a transaction; its result is told by `handle_result(subscription, ...)`."""

    subscription: DialogId
    request: Request


class _Alarm(enum.Enum):
    EXPIRED = "subscription expires"
    QUIET = "a change may be told"


@dataclass(slots=True, eq=False)
class _Subscription:
    dialog: Dialog
    event: Event
    package: EventPackage
    line: str
    watcher: Watcher
    expires_at: float = 0.0
    version: int = 0
    under_way: int = 0
    """NOTIFYs without a result yet."""
    has_news: bool = False
    next_at: float = 0.0
    """A change is not told before."""


class Notifier:
    """All subscriptions to the lines of one peer."""

    def __init__(
        self,
        packages: Sequence[EventPackage],
        rules: WatchRules,
        limits: EventLimits,
        peer_side: SipUri,
        queue: TimerQueue | None = None,
    ) -> None:
        """`peer_side` is the GRUU of the peer: its Contact is that, with the line as its user."""
        self.allowed = ", ".join(package.name for package in packages)
        """For Allow-Events."""
        self._packages = {package.name: package for package in packages}
        self._rules = rules
        self._limits = limits
        self._peer_side = peer_side
        self._subscriptions: dict[DialogId, _Subscription] = {}
        self._of_line: dict[tuple[str, str], dict[DialogId, None]] = {}
        self._of_watcher: Counter[str] = Counter()
        self._timers: Timers[tuple[DialogId, _Alarm]] = Timers(queue)
        self._effects: list[Effect] = []
        self._is_stopping = False

    def __len__(self) -> int:
        return len(self._subscriptions)

    def subscribe(self, request: Request, watcher: Watcher | None, tag: str, now: float) -> EventAnswer:
        """A SUBSCRIBE has come; `tag` is for the To of the answer, `watcher` who has proved to be its sender."""
        event = request.event
        package = self._packages.get(event.package) if event is not None else None
        if event is None or package is None:
            # 4.2.1.1: "the notifier SHOULD return a 489 (Bad Event) response"; 4.4.4: with Allow-Events.
            return EventAnswer(489, (("Allow-Events", self.allowed),))
        wanted = self._limits.expires_max_s if request.expires is None else request.expires
        if 0 < wanted < self._limits.expires_min_s:
            # "If and only if the expiration interval is greater than zero AND smaller than one hour AND less than a
            # notifier-configured minimum, the notifier MAY return a 423".
            return EventAnswer(423, (("Min-Expires", self._limits.expires_min_s),))
        # "the server MAY shorten the interval but MUST NOT lengthen it."
        expires_s = min(wanted, self._limits.expires_max_s)
        if request.to.tag:
            return self._refresh(request, event, expires_s, now)
        return self._begin(request, event, package, watcher, tag, expires_s, now)

    def changed(self, package: str, line: str, now: float) -> None:
        """The state of a line is another one."""
        for key in tuple(self._of_line.get((package, line), ())):
            subscription = self._subscriptions[key]
            if not self._permits(subscription.package, subscription.watcher, line):
                self._end(subscription, EndReason.REJECTED, now)
                continue
            subscription.has_news = True
            self._tell_news(subscription, now)

    def handle_result(self, subscription: DialogId, status: int | None, now: float) -> None:
        """How a NOTIFY was answered; None if it was not."""
        known = self._subscriptions.get(subscription)
        if known is None:
            return
        known.under_way -= 1
        if status is None or status in _REMOVING:
            self._forget(known)
        else:
            self._tell_news(known, now)

    def end_line(self, line: str, now: float) -> None:
        """There is no such line any more."""
        for one in [one for one in self._subscriptions.values() if one.line == line]:
            self._end(one, EndReason.NORESOURCE, now)

    def stop(self, now: float) -> None:
        """This server is about to end: who subscribes anew, as this asks for, is to find the next run."""
        self._is_stopping = True
        for one in tuple(self._subscriptions.values()):
            self._end(one, EndReason.DEACTIVATED, now)

    def handle_timeout(self, now: float) -> None:
        """Do what is due."""
        for key, alarm in self._timers.pop_due(now):
            if alarm is _Alarm.EXPIRED:
                # 4.2.1.4: "If no refresh [...] is received before its expiration time, the subscription is removed."
                self._end(self._subscriptions[key], EndReason.TIMEOUT, now)
            else:
                self._tell_news(self._subscriptions[key], now)

    def next_deadline(self) -> Deadline | None:
        """When `handle_timeout` is wanted."""
        return self._timers.next_deadline()

    def drain(self) -> list[Effect]:
        """NOTIFYs since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Subscriptions

    def _begin(
        self,
        request: Request,
        event: Event,
        package: EventPackage,
        watcher: Watcher | None,
        tag: str,
        expires_s: int,
        now: float,
    ) -> EventAnswer:
        line = request.sip_uri.user_name
        if (refusal := self._refusal(request, package, watcher, line)) is not None:
            return refusal
        assert watcher is not None, "who is nobody was refused"
        subscription = _Subscription(Dialog.of_uas(request, tag), event, package, line, watcher)
        if expires_s == 0:
            # 4.4.3: a fetch; "an immediate NOTIFY", and nothing is kept.
            self._send(subscription, f"terminated;reason={EndReason.TIMEOUT.value}", now)
            return self._accepted(line, 0)
        if self._is_stopping:
            return EventAnswer(480, (("Retry-After", RETRY_S),), "This peer is about to stop")
        if len(self._subscriptions) >= self._limits.subscriptions:
            return EventAnswer(480, (("Retry-After", RETRY_S),), "Too many subscriptions here")
        if self._of_watcher[watcher.name] >= self._limits.per_watcher:
            return EventAnswer(480, (("Retry-After", RETRY_S),), f"{watcher.name} has too many subscriptions here")
        key = subscription.dialog.id
        self._subscriptions[key] = subscription
        self._of_line.setdefault((package.name, line), {})[key] = None
        self._of_watcher[watcher.name] += 1
        self._prolong(subscription, expires_s, now)
        return self._accepted(line, expires_s)

    def _refusal(
        self, request: Request, package: EventPackage, watcher: Watcher | None, line: str
    ) -> EventAnswer | None:
        accepted = {value.partition(";")[0].strip().lower() for value in request.fields.tokens("accept")}
        kind = package.content_type.partition("/")[0]
        if accepted and accepted.isdisjoint({package.content_type, f"{kind}/*", "*/*"}):
            return EventAnswer(406, (("Accept", package.content_type),))
        if watcher is None:
            return EventAnswer(403, phrase="Who watches must say who it is")
        if not self._permits(package, watcher, line):
            return EventAnswer(403, phrase=f"{watcher.name} may not watch {package.name} of {line}")
        return None

    def _permits(self, package: EventPackage, watcher: Watcher, line: str) -> bool:
        return package.may_watch(watcher.name, line, is_permitted=self._rules.permit(watcher.name, line))

    def _refresh(self, request: Request, event: Event, expires_s: int, now: float) -> EventAnswer:
        subscription = self._subscriptions.get(DialogId.of_request(request))
        if subscription is None or subscription.event != event:
            # RFC 3261 12.2.2; of another event in this dialog there is no subscription either.
            return EventAnswer(481)
        if not subscription.dialog.admits(request):
            return EventAnswer(500, phrase="CSeq out of order")
        subscription.dialog.refresh(request)
        if expires_s == 0:
            # 4.2.1.4: "Clients can cause a subscription to be terminated immediately".
            self._end(subscription, EndReason.TIMEOUT, now)
        else:
            self._prolong(subscription, expires_s, now)
        return self._accepted(subscription.line, expires_s)

    def _prolong(self, subscription: _Subscription, expires_s: int, now: float) -> None:
        subscription.expires_at = now + expires_s
        self._timers.set((subscription.dialog.id, _Alarm.EXPIRED), subscription.expires_at, _Alarm.EXPIRED.value)
        # 4.2.1.2: "Upon successfully accepting or refreshing a subscription, notifiers MUST send a NOTIFY request
        # immediately".
        self._tell(subscription, now)

    def _end(self, subscription: _Subscription, why: EndReason, now: float) -> None:
        self._forget(subscription)
        self._send(subscription, f"terminated;reason={why.value}", now, is_told=why is not EndReason.REJECTED)

    def _forget(self, subscription: _Subscription) -> None:
        key, place = subscription.dialog.id, (subscription.package.name, subscription.line)
        del self._subscriptions[key]
        del self._of_line[place][key]
        if not self._of_line[place]:
            del self._of_line[place]
        self._of_watcher[subscription.watcher.name] -= 1
        if not self._of_watcher[subscription.watcher.name]:
            del self._of_watcher[subscription.watcher.name]
        for alarm in _Alarm:
            self._timers.cancel((key, alarm))

    # NOTIFY

    def _tell_news(self, subscription: _Subscription, now: float) -> None:
        if not subscription.has_news or subscription.under_way:
            return
        if now < subscription.next_at:
            self._timers.set((subscription.dialog.id, _Alarm.QUIET), subscription.next_at, _Alarm.QUIET.value)
        else:
            self._tell(subscription, now)

    def _tell(self, subscription: _Subscription, now: float) -> None:
        subscription.has_news = False
        subscription.next_at = now + subscription.package.interval_s
        subscription.under_way += 1
        # 4.2.2: "the notifier MUST also include in the "Subscription-State" header field an "expires" parameter".
        left_s = max(1, round(subscription.expires_at - now))
        self._send(subscription, f"active;expires={left_s}", now)

    def _send(self, subscription: _Subscription, state: str, now: float, *, is_told: bool = True) -> None:
        package, line = subscription.package, subscription.line
        fields: list[tuple[str, object]] = [
            ("Event", subscription.event),
            ("Subscription-State", state),
            ("Contact", self._contact(line)),
        ]
        body = b""
        if is_told:
            body = package.document(line, subscription.version, sees_calls=subscription.watcher.sees_calls)
            subscription.version += 1
            fields.append(("Content-Type", package.content_type))
        request = subscription.dialog.request("NOTIFY", fields, body)
        self._effects.append(SendNotify(subscription.dialog.id, request))

    def _accepted(self, line: str, expires_s: int) -> EventAnswer:
        return EventAnswer(200, (("Expires", expires_s), ("Contact", self._contact(line))))

    def _contact(self, line: str) -> str:
        # RFC 6665 4.5.1: "notifiers [...] MUST use GRUUs": it leads to this peer, and names the line.
        return f"<{self._peer_side.replace(user=escape_user(line))}>"
