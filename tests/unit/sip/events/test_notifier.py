"""The notifier by itself (RFC 6665 section 4.2)."""

from __future__ import annotations

import pytest

from p2psip.sip.events.limits import EventLimits
from p2psip.sip.events.notifier import EventAnswer, Notifier, SendNotify
from p2psip.sip.events.watchers import Watcher, WatchRules
from p2psip.sip.message.build import make_request
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri

PEER = SipUri("club.example", "peer-hill", None, (("gr", "ab"),))
ALICE = Watcher("alice", sees_calls=False)


class Weather:
    """A package whose state a test says."""

    name = "weather"
    content_type = "text/weather"
    interval_s = 2.0
    is_private = False

    def __init__(self) -> None:
        self.state = "sun"

    def may_watch(self, watcher: str, line: str, *, is_permitted: bool) -> bool:
        return watcher == line if self.is_private else is_permitted

    def document(self, line: str, version: int, *, sees_calls: bool) -> bytes:
        return f"{line} {version} {self.state} {sees_calls}".encode()


class Bench:
    """A notifier, and what it has sent."""

    def __init__(self, rules: tuple[str, ...] = ("*",), **limits: int) -> None:
        self.weather = Weather()
        self.notifier = Notifier([self.weather], WatchRules(rules), EventLimits(**limits), PEER)
        self.sent: list[SendNotify] = []

    def subscribe(self, request: Request, now: float = 0.0, watcher: Watcher | None = ALICE) -> EventAnswer:
        answer = self.notifier.subscribe(request, watcher, "ours", now)
        self.take()
        return answer

    def take(self) -> list[Request]:
        new = [effect for effect in self.notifier.drain() if isinstance(effect, SendNotify)]
        self.sent += new
        return [one.request for one in new]

    def change(self, state: str, now: float) -> list[Request]:
        self.weather.state = state
        self.notifier.changed("weather", "bob", now)
        return self.take()

    def answer(self, status: int | None, now: float) -> list[Request]:
        self.notifier.handle_result(self.sent[-1].subscription, status, now)
        return self.take()

    def wait(self, now: float) -> list[Request]:
        deadline = self.notifier.next_deadline()
        if deadline is not None and deadline.at <= now:
            self.notifier.handle_timeout(now)
        return self.take()


def subscribe(
    number: int = 1,
    *,
    event: str | None = "weather",
    expires: int | None = 300,
    tag: str = "",
    cseq: int = 1,
    **more: str,
) -> Request:
    to = NameAddr(SipUri("club.example", "bob"))
    extra = [("Contact", "<sip:alice@10.0.0.2>"), *more.items()]
    extra += [("Event", event)] if event is not None else []
    extra += [("Expires", str(expires))] if expires is not None else []
    return make_request(
        "SUBSCRIBE",
        to.sip_uri,
        from_=NameAddr(SipUri("club.example", "alice")).with_tag("theirs"),
        to=to.with_tag(tag) if tag else to,
        call_id=f"call{number}",
        cseq=cseq,
        extra=extra,
    )


def field(answer: EventAnswer, name: str) -> object:
    return dict(answer.fields).get(name)


def state_of(notify: Request) -> str | None:
    return notify.fields.first("subscription-state")


def test_4_2_1_2_a_notify_follows_at_once() -> None:
    bench = Bench()
    answer = bench.subscribe(subscribe(event="weather;id=7;x=y"), 10.0)
    assert (answer.status, field(answer, "Expires")) == (200, 300)
    (notify,) = [one.request for one in bench.sent]
    assert (notify.method, notify.uri_text, notify.cseq.number) == ("NOTIFY", "sip:alice@10.0.0.2", 1)
    assert (notify.from_.tag, notify.to.tag, notify.call_id) == ("ours", "theirs", "call1")
    assert (notify.fields.first("event"), state_of(notify)) == ("weather;id=7", "active;expires=300")
    assert (notify.content_type, notify.body) == ("text/weather", b"bob 0 sun False")
    # 4.5.1: a GRUU, in the 200 as in the NOTIFY.
    assert notify.fields.first("contact") == field(answer, "Contact") == "<sip:bob@club.example;gr=ab>"


@pytest.mark.parametrize("event", [None, "thunder", "weather.winfo", "Weather"])
def test_4_2_1_1_an_event_that_nobody_knows(event: str | None) -> None:
    """8.2.1: it "is compared byte by byte"."""
    bench = Bench()
    answer = bench.subscribe(subscribe(event=event))
    assert (answer.status, field(answer, "Allow-Events")) == (489, "weather")
    assert (bench.sent, len(bench.notifier)) == ([], 0)


@pytest.mark.parametrize(("asked", "given"), [(None, 600), (60, 60), (600, 600), (3600, 600), (2**32 - 1, 600)])
def test_4_2_1_1_the_interval_is_shortened_and_never_lengthened(asked: int | None, given: int) -> None:
    assert field(Bench().subscribe(subscribe(expires=asked)), "Expires") == given


def test_4_2_1_1_too_brief() -> None:
    bench = Bench()
    answer = bench.subscribe(subscribe(expires=59))
    assert (answer.status, field(answer, "Min-Expires")) == (423, 60)
    bench.subscribe(subscribe())
    # 4.2.1.4: and so for a refresh.
    assert bench.subscribe(subscribe(tag="ours", cseq=2, expires=1)).status == 423
    assert len(bench.notifier) == 1


def test_4_4_3_a_fetch_is_told_once_and_kept_nowhere() -> None:
    bench = Bench()
    answer = bench.subscribe(subscribe(expires=0))
    assert (answer.status, field(answer, "Expires")) == (200, 0)
    assert [state_of(one.request) for one in bench.sent] == ["terminated;reason=timeout"]
    assert bench.sent[0].request.body == b"bob 0 sun False"
    assert len(bench.notifier) == 0
    assert bench.answer(481, 1.0) == []


def test_what_changes_is_told() -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    bench.answer(200, 0.1)
    (told,) = bench.change("rain", 50.0)
    assert (told.body, told.cseq.number, state_of(told)) == (b"bob 1 rain False", 2, "active;expires=250")


def test_5_4_10_changes_are_told_no_oftener_than_the_package_says_and_the_last_one_counts() -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    bench.answer(200, 0.1)
    assert bench.change("rain", 0.5) == []
    assert bench.change("hail", 1.0) == []
    assert bench.wait(1.9) == []
    assert [one.body for one in bench.wait(2.0)] == [b"bob 1 hail False"]
    assert bench.wait(5.0) == []


def test_one_notify_at_a_time_and_what_has_changed_meanwhile_afterwards() -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    assert bench.change("rain", 10.0) == []
    assert bench.change("hail", 11.0) == []
    assert [one.body for one in bench.answer(200, 12.0)] == [b"bob 1 hail False"]
    assert bench.answer(200, 12.1) == []


def test_who_watches_somebody_else_hears_nothing() -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    bench.answer(200, 0.1)
    bench.notifier.changed("weather", "carol", 50.0)
    bench.notifier.changed("thunder", "bob", 50.0)
    assert bench.take() == []


def test_4_2_1_4_a_refresh_prolongs_and_is_told_at_once() -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    answer = bench.subscribe(subscribe(tag="ours", cseq=2), 200.0)
    assert (answer.status, field(answer, "Expires"), len(bench.sent)) == (200, 300, 2)
    assert state_of(bench.sent[-1].request) == "active;expires=300"
    assert bench.wait(499.0) == []
    assert [state_of(one) for one in bench.wait(500.0)] == ["terminated;reason=timeout"]


def test_a_refresh_moves_the_target() -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    moved = subscribe(tag="ours", cseq=2)
    bench.subscribe(moved.replace(fields=moved.fields.with_only("Contact", "<sip:alice@10.0.0.9>")), 1.0)
    assert bench.sent[-1].request.uri_text == "sip:alice@10.0.0.9"


@pytest.mark.parametrize(
    "change", [{"number": 2}, {"tag": "another"}, {"event": "weather;id=1"}], ids=["call", "tag", "event"]
)
def test_a_refresh_of_what_there_is_not(change: dict[str, object]) -> None:
    """So it is after a restart, too."""
    bench = Bench()
    bench.subscribe(subscribe())
    assert bench.subscribe(subscribe(**{"tag": "ours", "cseq": 2, **change})).status == 481  # type: ignore[arg-type]
    assert len(bench.sent) == 1


def test_a_refresh_out_of_order() -> None:
    bench = Bench()
    bench.subscribe(subscribe(cseq=5))
    assert bench.subscribe(subscribe(tag="ours", cseq=4)).status == 500


def test_4_2_1_4_unsubscribing() -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    answer = bench.subscribe(subscribe(tag="ours", cseq=2, expires=0), 10.0)
    assert (answer.status, field(answer, "Expires")) == (200, 0)
    assert state_of(bench.sent[-1].request) == "terminated;reason=timeout"
    assert (len(bench.notifier), bench.notifier.next_deadline()) == (0, None)
    assert bench.change("rain", 20.0) == []
    assert bench.subscribe(subscribe(tag="ours", cseq=3)).status == 481


@pytest.mark.parametrize("status", [None, 404, 408, 481, 489, 604])
def test_4_2_2_a_notify_that_finds_nobody_ends_the_subscription(status: int | None) -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    assert bench.answer(status, 1.0) == []
    assert (len(bench.notifier), bench.notifier.next_deadline()) == (0, None)
    assert bench.change("rain", 20.0) == []


@pytest.mark.parametrize("status", [200, 202, 500, 503])
def test_4_2_2_after_other_answers_it_stays(status: int) -> None:
    bench = Bench()
    bench.subscribe(subscribe())
    bench.answer(status, 1.0)
    assert len(bench.notifier) == 1
    assert len(bench.change("rain", 20.0)) == 1


def test_who_may_watch() -> None:
    bench = Bench(("carol>bob",))
    assert bench.subscribe(subscribe()).phrase == "alice may not watch weather of bob"
    assert bench.subscribe(subscribe(), watcher=None).status == 403
    assert bench.subscribe(subscribe(), watcher=Watcher("carol", sees_calls=False)).status == 200
    # Everybody may watch himself.
    assert bench.subscribe(subscribe(2), watcher=Watcher("bob", sees_calls=True)).status == 200
    assert bench.sent[-1].request.body == b"bob 0 sun True"


def test_what_is_private_is_told_to_nobody_else() -> None:
    bench = Bench()
    bench.weather.is_private = True
    assert bench.subscribe(subscribe()).status == 403
    assert bench.subscribe(subscribe(), watcher=Watcher("bob", sees_calls=True)).status == 200


@pytest.mark.parametrize(
    ("accept", "status"), [("text/weather", 200), ("text/*;q=1, x/y", 200), ("*/*", 200), ("x/y", 406)]
)
def test_what_the_watcher_can_read(accept: str, status: int) -> None:
    assert Bench().subscribe(subscribe(Accept=accept)).status == status


def test_bounds_of_one_watcher_and_of_all() -> None:
    bench = Bench(subscriptions=3, per_watcher=2)
    said = [bench.subscribe(subscribe(number)) for number in range(3)]
    assert [answer.status for answer in said] == [200, 200, 480]
    assert (said[2].phrase, field(said[2], "Retry-After")) == ("alice has too many subscriptions here", 60)
    others = [bench.subscribe(subscribe(10 + n), watcher=Watcher(f"user{n}", sees_calls=False)) for n in range(2)]
    assert [answer.phrase for answer in others] == [None, "Too many subscriptions here"]
    # One that ends makes room.
    bench.subscribe(subscribe(0, tag="ours", cseq=2, expires=0))
    assert bench.subscribe(subscribe(20)).status == 200


def test_a_subscription_needs_a_way_back() -> None:
    request = subscribe()
    with pytest.raises(BadMessage, match="0 Contacts"):
        Bench().subscribe(request.replace(fields=request.fields.without("contact")))


def test_a_server_that_stops_and_a_line_that_goes() -> None:
    bench = Bench()
    bench.subscribe(subscribe(1))
    bench.subscribe(subscribe(2))
    bench.notifier.end_line("carol", 1.0)
    assert bench.take() == []
    bench.notifier.end_line("bob", 1.0)
    assert [state_of(one) for one in bench.take()] == ["terminated;reason=noresource"] * 2
    bench.subscribe(subscribe(3))
    bench.notifier.stop(1.0)
    # 4.1.3: "deactivated": "the subscriber SHOULD retry immediately with a new subscription".
    assert [state_of(one) for one in bench.take()] == ["terminated;reason=deactivated"]
    # And it does; but here is nothing to stay for.
    again = bench.subscribe(subscribe(4), 1.1)
    assert (again.status, field(again, "Retry-After")) == (480, 60)
    assert len(bench.notifier) == 0
