"""The event state compositor by itself (RFC 3903 section 6)."""

from __future__ import annotations

import itertools

import pytest

from p2psip.sip.events.limits import EventLimits
from p2psip.sip.events.notifier import EventAnswer
from p2psip.sip.events.presence import PresencePackage
from p2psip.sip.events.publications import Publications
from p2psip.sip.message.build import make_request
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.uri import SipUri

BOB = NameAddr(SipUri("club.example", "bob"))


class Bench:
    def __init__(self, **limits: int) -> None:
        self.presence = PresencePackage("club.example")
        self.core = Publications(self.presence, EventLimits(**limits))
        self.tags = (f"tag{number}" for number in itertools.count(1))

    def publish(
        self,
        note: str | None = "here",
        tag: str = "",
        *,
        expires: int | None = 300,
        now: float = 0.0,
        line: str = "bob",
        kind: str = "application/pidf+xml",
        event: str | None = "presence",
        body: bytes | None = None,
    ) -> EventAnswer:
        extra: list[tuple[str, object]] = [("Event", event)] if event else []
        extra += [("Expires", expires)] if expires is not None else []
        extra += [("SIP-If-Match", tag)] if tag else []
        if body is None:
            body = b"" if note is None else f'<presence entity="sip:bob@x"><note>{note}</note></presence>'.encode()
        if body:
            extra.append(("Content-Type", kind))
        request = make_request(
            "PUBLISH", BOB.sip_uri, from_=BOB.with_tag("t"), to=BOB, call_id="c", cseq=1, extra=extra, body=body
        )
        return self.core.publish(request, line, next(self.tags), now)

    @property
    def shown(self) -> bytes:
        return self.presence.document("bob", 0, sees_calls=False)


def tag_of(answer: EventAnswer) -> str:
    assert answer.status == 200, answer
    return str(dict(answer.fields)["SIP-ETag"])


def test_an_initial_publication_its_refresh_change_and_removal() -> None:
    bench = Bench()
    first = bench.publish("here")
    assert dict(first.fields)["Expires"] == 300
    assert (bench.core.drain(), b"here" in bench.shown) == (["bob"], True)
    refreshed = bench.publish(None, tag_of(first), now=200.0)
    assert bench.core.drain() == []
    changed = bench.publish("there", tag_of(refreshed), now=201.0)
    assert (bench.core.drain(), b"there" in bench.shown, len(bench.core)) == (["bob"], True, 1)
    removed = bench.publish(None, tag_of(changed), expires=0, now=202.0)
    assert (bench.core.drain(), b"there" in bench.shown, len(bench.core)) == (["bob"], False, 0)
    # Step 6: never one that there was.
    assert len({tag_of(one) for one in (first, refreshed, changed, removed)}) == 4
    assert bench.core.next_deadline() is None


@pytest.mark.parametrize("event", [None, "dialog"])
def test_step_2_another_event(event: str | None) -> None:
    answer = Bench().publish(event=event)
    assert (answer.status, dict(answer.fields)) == (489, {"Allow-Events": "presence"})


def test_step_3_an_entity_tag_that_there_is_not() -> None:
    bench = Bench()
    first = tag_of(bench.publish())
    second = tag_of(bench.publish(None, first))
    assert bench.publish(None, first).status == 412, "it was replaced"
    assert bench.publish(None, "tag9").status == 412
    assert bench.publish(None, second, line="carol").status == 412, "it is another's"
    assert bench.publish(None, f"{second}, {second}").status == 400


def test_step_4_how_long() -> None:
    bench = Bench()
    assert dict(bench.publish(expires=None).fields)["Expires"] == 3600
    assert dict(bench.publish(expires=99_999).fields)["Expires"] == 3600
    brief = bench.publish(expires=59)
    assert (brief.status, dict(brief.fields)) == (423, {"Min-Expires": 60})


def test_step_5_what_is_published() -> None:
    bench = Bench()
    other = bench.publish(kind="text/plain")
    assert (other.status, dict(other.fields)) == (415, {"Accept": "application/pidf+xml"})
    assert bench.publish(None).status == 400
    tag = tag_of(bench.publish("here"))
    with pytest.raises(BadMessage):
        bench.publish(tag=tag, body=b"<!DOCTYPE a><a/>")
    assert b"here" in bench.shown, "all of a request takes effect or nothing"
    assert tag_of(bench.publish(None, tag))


def test_publications_expire_and_the_newest_counts() -> None:
    bench = Bench()
    bench.publish("garden", expires=200)
    bench.publish("kitchen", expires=100, now=1.0)
    assert b"kitchen" in bench.shown
    bench.core.drain()
    deadline = bench.core.next_deadline()
    assert deadline is not None
    bench.core.handle_timeout(deadline.at)
    assert (deadline.at, bench.core.drain(), b"garden" in bench.shown) == (101.0, ["bob"], True)
    bench.core.handle_timeout(200.0)
    assert (bench.core.drain(), b"garden" in bench.shown, len(bench.core)) == (["bob"], False, 0)


def test_bounds() -> None:
    bench = Bench(publications=4, publications_per_line=2)
    tags = [tag_of(bench.publish(str(number))) for number in range(3)]
    assert bench.publish(None, tags[0]).status == 412, "the oldest has given way"
    assert len(bench.core) == 2
    for line in ("carol", "dave"):
        bench.publish(line=line)
    full = bench.publish(line="erin")
    assert (full.status, dict(full.fields)) == (480, {"Retry-After": 60})
    assert tag_of(bench.publish(None, tags[2]))


def test_a_line_that_goes() -> None:
    bench = Bench()
    tag = tag_of(bench.publish())
    bench.core.forget("bob")
    assert bench.publish(None, tag).status == 412
    assert (len(bench.core), bench.core.next_deadline()) == (0, None)
