"""RFC 8224: the Identity header field, and what its verifier does."""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate

import pytest
from sip_world import OVERLAY, THE_DATE, Server, World, fake_signed, fake_verdict

from p2psip.base.address import Address
from p2psip.base.effects import Ask
from p2psip.base.wallclock import WallClock
from p2psip.sip.entities.callers.identity_field import IdentityField, date_of, integrity, media_keys, type_of
from p2psip.sip.entities.callers.passport import DIV, Claims, Party, Passport
from p2psip.sip.entities.callers.verification import IDENTITIES_MAX, SEEN_MAX, Identified, Verification
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gateway.terms import GATEWAY_PARAM
from p2psip.sip.entities.questions import Forwarded, LocateUser, NotAuthentic, NotLocated, SignClaims, VerifySignature
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transactions.events import RequestArrived
from p2psip.sip.transports.hops import FlowHop, Source

SIGNATURE = "rq3pjT1hoRwakEGjHCnWSwUnshd0-zJ6F1VOgFWSjHBr8Qjpjlk-cpFYpFYsojNCpTzO3QfPOlckGaS6hEck7w"
ALICE, BOB = Party("uri", f"sip:alice@{OVERLAY}"), Party("uri", f"sip:bob@{OVERLAY}")
DATE = int(THE_DATE)


# Section 4: the header field


def test_4_1_1_the_compact_form() -> None:
    given = IdentityField.parse(f"..{SIGNATURE};info=<https://biloxi.example.org/biloxi.cert>")
    assert (given.info, given.alg, given.ppt, given.passport) == (
        "https://biloxi.example.org/biloxi.cert", "ES256", "", None,
    )  # fmt: skip
    assert IdentityField.parse(str(given)) == given


def test_4_a_certificate_comes_along_in_an_extension() -> None:
    """ "ident-info-extension = generic-param": who does not know it takes no notice."""
    given = IdentityField("https://x", "ES256", "", b"s", None, bytes(range(256)))
    assert IdentityField.parse(str(given)) == given
    assert IdentityField.parse(f"..{SIGNATURE};info=<https://x>").certificate == b""


@pytest.mark.parametrize(
    "value",
    [
        f"..{SIGNATURE};info=<x>;certificate=!", f"..{SIGNATURE};info=<x>;certificate={'A' * 9000}",
        "", "x", f"..{SIGNATURE}", f"..{SIGNATURE};info=https://x", f"..{SIGNATURE};alg=ES256", "..;info=<https://x>",
        "..!!;info=<https://x>", f"{SIGNATURE};info=<https://x>", f"..{SIGNATURE};info=<>", "a.b.c;info=<x>",
        f"..{SIGNATURE};info=<{'x' * 600}>", f"..{'A' * 6000};info=<x>", f"..{SIGNATURE};info=<x>;=;",
    ],
)  # fmt: skip
def test_4_what_is_no_identity(value: str) -> None:
    with pytest.raises(BadMessage):
        IdentityField.parse(value)


@pytest.mark.must("8224 4.1/3", "8224 4.1/4", "8224 4.1/5")
def test_4_1_the_token_mirrors_the_parameters() -> None:
    full = str(signed(request(), "alice", dest=(BOB, Party("tn", "1"))))
    for was, is_ in (("info=<reload", "info=<Reload"), (";info", ";alg=RS256;info"), (";info", ";ppt=div;info")):
        assert was in full
        with pytest.raises(BadMessage):
            IdentityField.parse(full.replace(was, is_))


@pytest.mark.parametrize("iat", [-1, 2**40 + 1, 10**4000])
def test_8225_5_1_1_a_time_that_no_clock_shows(iat: int) -> None:
    """ "iat" is a NumericDate; one that is too large for any arithmetic is garbage like any other."""
    full = signed(request(), "alice", dest=(BOB, Party("tn", "1")), iat=iat)
    with pytest.raises(BadMessage):
        IdentityField.parse(str(full))


@pytest.mark.must("8225 5/1")
@pytest.mark.parametrize("name", [f"sip:a@{OVERLAY}\r\n\r\nBYE", "sip:\x00", "sip:\u202ebob", "sip:\x7f"])
def test_8225_5_2_1_a_name_is_a_uri_or_a_number(name: str) -> None:
    """It is told in answers and in the log: there it ends no line."""
    for party in (Party("uri", name), Party("tn", name)):
        for token in (
            signed(request(), "alice", dest=(BOB, party)),
            signed(request(), "alice", orig=party, dest=(BOB, ALICE)),
        ):
            with pytest.raises(BadMessage):
                IdentityField.parse(str(token))


# Section 6.2: the verifier


def request(*more: tuple[str, str], to: str = "bob", uri: str = "bob", body: bytes = b"", call: str = "c") -> Request:
    fields = Fields.of(
        ("Via", "SIP/2.0/TLS far.invalid;branch=z9hG4bK1"),
        ("From", f"<sip:alice@{OVERLAY}>;tag=a"),
        ("To", f"<sip:{to}@{OVERLAY}>"),
        ("Call-ID", call),
        ("CSeq", "1 INVITE"),
        *more,
    )
    return Request("INVITE", f"sip:{uri}@{OVERLAY}", fields, body)


def signed(
    about: Request, by: str, *, dest: tuple[Party, ...] = (BOB,), iat: int = DATE, orig: Party = ALICE,
    div: Party | None = None, is_full: bool = True, alg: str = "ES256",
) -> IdentityField:  # fmt: skip
    type_ = DIV if div else type_of(about)
    claims = Claims(orig, frozenset(dest), iat, media_keys(about), div, "" if div else integrity(about))
    done = fake_signed(SignClaims(by, claims, type_), by)
    ppt = f";ppt={type_}" if type_ else ""
    token = done.signing_input.decode()
    compact = IdentityField.parse(f"..{SIGNATURE};info=<{done.info}>{ppt}")
    if not is_full:
        return replace(compact, signature=done.signature, alg=alg)
    return replace(
        compact,
        signature=done.signature,
        passport=Passport("ES256", done.info, type_, claims, token.encode(), done.signature),
    )


def with_identities(about: Request, *given: IdentityField | str) -> Request:
    fields = about.fields
    for one in given:
        fields = fields.with_last("Identity", one)
    return about.replace(fields=fields)


class Verifier:
    """A verification service whose questions are answered at once."""

    def __init__(self, **changes: object) -> None:
        peer = SipUri(OVERLAY, "peer-two", None, (("gr", "2"),))
        self.config = ServerConfig(OVERLAY, frozenset({OVERLAY}), (), peer, **changes)  # type: ignore[arg-type]
        self.core = Verification(self.config, lambda uri: uri.user in ("bob", "anonymous"))
        self.core.use_date(WallClock(THE_DATE))
        self.asked: list[VerifySignature] = []

    def look(self, about: Request, *, now: float = 0.0, peer: str = "p1", number: int = 1) -> Identified:
        found = self.core.examine(self.arrived(about, peer, number), now)
        while isinstance(found, Ask):
            assert isinstance(found.question, VerifySignature)
            self.asked.append(found.question)
            answer = fake_verdict(found.question)
            next_ = self.core.handle_answer(found.token, answer, now)
            assert next_ is not None
            found = next_
        return found

    def arrived(self, about: Request, peer: str = "p1", number: int = 1) -> RequestArrived:
        return RequestArrived(number, about, Source(FlowHop(1), "TLS", Address("10.2.0.1", 5061), peer))

    def status(self, about: Request, **options: object) -> tuple[str, int]:
        caller = self.look(about, **options).caller  # type: ignore[arg-type]
        return caller.user, caller.status


DATED = ("Date", "Mon, 21 Sep 2026 14:13:20 GMT")


@pytest.mark.must("8224 4.1.1/1", "8224 6.2/8", "8225 7/1")
def test_6_2_both_forms_hold() -> None:
    assert date_of(request(DATED)) == DATE
    for about in (request(DATED), request()):
        is_full = "date" not in about.fields
        assert Verifier().status(with_identities(about, signed(about, "alice", is_full=is_full))) == ("alice", 0)


def test_6_2_none_at_all() -> None:
    assert Verifier().status(request(DATED)) == ("", 428)


@pytest.mark.must("8224 6.2/4", "8224 6.2/5", "8225 8.1/2")
def test_6_2_step_1_an_unknown_type_is_ignored() -> None:
    about = request(DATED)
    good = signed(about, "alice", is_full=False)
    unknown = f"{good};ppt=shaken"
    assert Verifier().status(with_identities(about, unknown)) == ("", 428)
    assert Verifier().status(with_identities(about, unknown, good)) == ("alice", 0)


@pytest.mark.must("8224 12.1/1")
@pytest.mark.parametrize("off_s", [-61, -60, 0, 60, 61])
@pytest.mark.parametrize("is_full", [False, True])
def test_6_2_step_4_sixty_seconds(off_s: int, is_full: bool) -> None:
    about = request(DATED)
    verifier = Verifier()
    verifier.core.use_date(WallClock(THE_DATE - off_s))
    expected = ("", 403) if abs(off_s) > 60 else ("alice", 0)
    assert verifier.status(with_identities(about, signed(about, "alice", is_full=is_full))) == expected
    verifier.core.use_date(WallClock(0.0, is_trusted=False))
    assert verifier.status(with_identities(about, signed(about, "alice", is_full=is_full)))[0] == "alice"


@pytest.mark.must("8224 12.1/1")
@pytest.mark.parametrize("off_s", [-61, -60, 60, 61])
def test_12_1_a_date_that_is_not_that_of_now(off_s: int) -> None:
    """ "Implementations of this specification MUST NOT deem valid a request with an outdated Date header field": also
    where the token is in full form, and says another.
    """
    about = request(("Date", formatdate(DATE + off_s, usegmt=True)))
    expected = ("", 403) if abs(off_s) > 60 else ("alice", 0)
    assert Verifier().status(with_identities(about, signed(about, "alice"))) == expected


@pytest.mark.must("8224 6.2/2")
def test_6_2_a_stale_one_is_not_looked_for_and_one_of_a_type_unknown_not_dated() -> None:
    """ "MUST perform the following steps, in the order specified below": what is left out at step 1 is not stale, and
    what is stale is, whoever has signed it.
    """
    about, verifier = request(("Date", formatdate(DATE - 100, usegmt=True))), Verifier()
    by_mallory = signed(about, "mallory", is_full=False)
    assert verifier.status(with_identities(about, f"{by_mallory};ppt=shaken")) == ("", 428)
    assert verifier.status(with_identities(about, by_mallory)) == ("", 403)
    assert verifier.asked == []
    about = request(DATED)
    assert verifier.status(with_identities(about, signed(about, "mallory", is_full=False))) == ("", 438)
    assert len(verifier.asked) == 1


@pytest.mark.parametrize("alg", ["none", "HS256", "ES384", "PS256"])
def test_6_2_2_an_algorithm_that_is_not_accepted_is_not_even_asked_about(alg: str) -> None:
    about, verifier = request(DATED), Verifier()
    assert verifier.status(with_identities(about, signed(about, "alice", is_full=False, alg=alg))) == ("", 437)
    assert verifier.asked == []


@pytest.mark.must("8224 6.2/7", "8224 6.2/8")
@pytest.mark.parametrize(
    "given",
    [
        {"by": "mallory"},
        {"orig": Party("uri", f"sip:mallory@{OVERLAY}")},
        {"dest": (Party("uri", f"sip:carol@{OVERLAY}"),)},
        {"by": "mallory", "orig": Party("uri", f"sip:mallory@{OVERLAY}")},
        {"by": "mallory", "is_full": False},
    ],
)
def test_6_2_step_5_a_token_of_somebody_else_or_for_somebody_else(given: dict[str, object]) -> None:
    about = request(DATED)
    assert Verifier().status(with_identities(about, signed(about, **{"by": "alice", **given}))) == ("", 438)  # type: ignore[arg-type]


@pytest.mark.must("8224 9/3")
def test_6_2_1_one_that_is_good_is_enough() -> None:
    about = request(DATED)
    bad, good = signed(about, "mallory"), signed(about, "alice")
    assert Verifier().status(with_identities(about, "garbage", bad, good)) == ("alice", 0)
    assert Verifier().status(with_identities(about, "garbage", bad)) == ("", 438)
    assert Verifier().status(with_identities(about, *[bad] * IDENTITIES_MAX, good)) == ("", 438)


@pytest.mark.must("8224 6.2/3", "8224 6.2.4/1")
def test_6_2_4_orig_is_compared_with_the_request() -> None:
    """ "the verification service MUST NOT treat the value in the "orig" [...] as the originating identity": of what
    says another than the request nobody is asked.
    """
    about, verifier = request(DATED), Verifier()
    about = about.replace(fields=about.fields.with_only("From", f"<sip:boss@{OVERLAY}>;tag=a"))
    assert verifier.status(with_identities(about, signed(about, "alice"))) == ("", 438)
    assert verifier.status(with_identities(about, signed(about, "boss"))) == ("", 438)
    assert verifier.asked == []


@pytest.mark.must("8224 6.2/8", "8225 8.1/1")
def test_4_1_media_keys_are_signed() -> None:
    sdp = ("Content-Type", "application/sdp")
    about = request(DATED, sdp, body=b"a=fingerprint:sha-256 4A:AD\r\n")
    for is_full in (True, False):
        sent = with_identities(about, signed(about, "alice", is_full=is_full))
        assert Verifier().status(sent) == ("alice", 0)
        assert Verifier().status(sent.replace(body=b"a=fingerprint:sha-256 4A:AE\r\n")) == ("", 438)
        assert Verifier().status(sent.replace(body=b"")) == ("", 438)


def message(*more: tuple[str, str], body: bytes = b"hello", method: str = "MESSAGE") -> Request:
    about = request(DATED, *more, body=body)
    return Request(method, about.uri_text, about.fields.with_only("CSeq", f"1 {method}"), body)


@pytest.mark.parametrize("method", ["MESSAGE", "PUBLISH"])
@pytest.mark.parametrize("is_full", [True, False])
def test_9475_a_token_of_a_message_is_for_what_it_says(is_full: bool, method: str) -> None:
    about = message(method=method)
    sent = with_identities(about, signed(about, "alice", is_full=is_full))
    assert Verifier().status(sent) == ("alice", 0)
    assert Verifier().status(sent.replace(body=b"send money")) == ("", 438)


@pytest.mark.must("8224 9/1")
@pytest.mark.parametrize("method", ["MESSAGE", "PUBLISH"])
@pytest.mark.parametrize("is_full", [True, False])
def test_9475_what_proves_a_call_proves_no_message(is_full: bool, method: str) -> None:
    call, about = request(DATED), message(method=method)
    given = signed(call, "alice", is_full=is_full)
    assert Verifier().status(with_identities(call, given)) == ("alice", 0)
    assert Verifier().status(with_identities(about, given)) == ("", 428), "of a type that says nothing of a message"
    assert Verifier().status(with_identities(call, signed(about, "alice", is_full=is_full))) == ("", 428)


def test_9475_nobody_passes_on_a_message_in_the_senders_name() -> None:
    mallory = Party("uri", f"sip:mallory@{OVERLAY}")
    about = message()
    about = about.replace(fields=about.fields.with_only("To", f"<sip:mallory@{OVERLAY}>"))
    given = signed(about, "alice", dest=(mallory,)), signed(about, "mallory", div=mallory)
    assert Verifier().status(with_identities(about, *given)) == ("", 438)
    call = request(DATED, to="mallory")
    given = signed(call, "alice", dest=(mallory,)), signed(call, "mallory", div=mallory)
    assert Verifier().status(with_identities(call, *given)) == ("alice", 0)


def test_what_leads_to_a_phone_names_it_as_its_peer_does() -> None:
    """Whom a call was for that comes by the URI of somebody's phone: who had one of mallory's calls has no more."""
    mallory = Party("uri", f"sip:mallory@{OVERLAY}")
    about = request(DATED, to="mallory", uri="mallory")
    about = about.replace(uri=f"{about.uri_text};gr=2;at=token-of-bob")
    assert Verifier().status(with_identities(about, signed(about, "alice", dest=(mallory,)))) == ("", 438)
    about = request(DATED).replace(uri=f"sip:bob@{OVERLAY};gr=2;at=token-of-bob")
    assert Verifier().status(with_identities(about, signed(about, "alice"))) == ("alice", 0)


def test_compact_without_a_date() -> None:
    about = request()
    assert Verifier().status(with_identities(about, signed(about, "alice", is_full=False))) == ("", 438)


def test_12_1_a_token_comes_again_from_another_peer() -> None:
    about, verifier = request(DATED), Verifier()
    sent = with_identities(about, signed(about, "alice"))
    assert verifier.status(sent) == ("alice", 0)
    assert verifier.status(sent, peer="p2") == ("alice", 0), "the same request, forwarded at two peers"
    again = with_identities(request(DATED, call="another"), signed(about, "alice"))
    assert verifier.status(again) == ("alice", 0), "from where it has come before: who has the key signs anew"
    assert verifier.status(again, peer="p2") == ("", 438)
    other_time = with_identities(about, signed(about, "alice", iat=DATE + 1))
    assert verifier.status(other_time, peer="p2") == ("alice", 0)


def test_12_1_so_many_tokens_are_remembered() -> None:
    verifier = Verifier()
    for number in range(200):
        about = request(DATED, call=str(number))
        verifier.status(with_identities(about, signed(about, "alice", iat=DATE - number % 60)), now=float(number))
    assert len(verifier.core._seen) <= min(SEEN_MAX, 121)
    about = request(DATED, call="x" * 60_000)
    verifier.status(with_identities(about, signed(about, "alice")), now=199.0)
    assert max(len(request) for _, _, request in verifier.core._seen.values()) == 32, "whatever length a Call-ID has"


def test_what_comes_for_somebody_else_than_to() -> None:
    """Who has had a call of alice's has a token for himself: it brings him nowhere else."""
    about = request(DATED, to="bob", uri="carol")
    assert Verifier().status(with_identities(about, signed(about, "alice"))) == ("", 438)
    to_carol = signed(about, "alice", dest=(Party("uri", f"sip:carol@{OVERLAY}"),))
    assert Verifier().status(with_identities(about, to_carol)) == ("", 438), "4.1: it MUST have To in it"
    both = (BOB, Party("uri", f"sip:carol@{OVERLAY}"))
    assert Verifier().status(with_identities(about, signed(about, "alice", dest=both))) == ("alice", 0)


def test_8946_who_was_called_says_to_whom_it_goes() -> None:
    carol, dave = (Party("uri", f"sip:{name}@{OVERLAY}") for name in ("carol", "dave"))
    about = request(DATED, to="bob", uri="dave")
    first = signed(about, "alice")
    to_carol, to_dave = signed(about, "bob", dest=(carol,), div=BOB), signed(about, "carol", dest=(dave,), div=carol)
    assert Verifier().status(with_identities(about, to_carol, first, to_dave)) == ("alice", 0)
    for broken in (
        (first, to_dave, to_carol),
        (first, to_dave),
        (to_carol, to_dave),
        (first, signed(about, "mallory", dest=(carol,), div=BOB), to_dave),
        (first, signed(about, "bob", dest=(carol,), div=BOB, iat=DATE - 100), to_dave),
        (first, signed(about, "bob", dest=(carol,), div=BOB, orig=carol), to_dave),
    ):
        assert Verifier().status(with_identities(about, *broken))[0] == ""


@pytest.mark.parametrize("from_", ["<sip:anonymous@anonymous.invalid>;tag=a", "<sip:0049123@else.example>;tag=a", ""])
def test_8946_who_forwards_a_call_that_is_nobodys_is_proved_alone(from_: str) -> None:
    """ "" is one that says alice and does not prove it."""
    number = Party("uri", f"sip:0049@{OVERLAY}")
    about = request(DATED, uri="0049")
    if from_:
        about = about.replace(fields=about.fields.with_only("From", from_))
    anonymous = Party("uri", "sip:anonymous@anonymous.invalid")

    def found(*given: IdentityField) -> tuple[str, tuple[str, ...]]:
        caller = Verifier().look(with_identities(about, *given)).caller
        return caller.user, caller.forwarders

    orig = anonymous if from_ else ALICE
    by_bob = signed(about, "bob", dest=(number,), div=BOB, orig=orig)
    assert found(by_bob) == ("", ("bob",))
    assert found(signed(about, "mallory", dest=(number,), div=BOB, orig=orig)) == ("", ())
    assert found(signed(about, "bob", dest=(Party("uri", f"sip:1@{OVERLAY}"),), div=BOB, orig=orig)) == ("", ())
    assert found(signed(about, "bob", dest=(number,), div=BOB, orig=orig, iat=DATE - 100)) == ("", ())
    verifier = Verifier()
    assert verifier.look(with_identities(about, by_bob)).caller.forwarders == ("bob",)
    again = about.replace(fields=about.fields.with_only("Call-ID", "another"))
    assert verifier.look(with_identities(again, by_bob), peer="p2").caller.forwarders == ()


def test_8946_who_has_forwarded_a_call_to_somebody_has_not_forwarded_it_where_that_one_likes() -> None:
    """mallory, whom bob forwards to, calls a telephone with what bob has signed: it is hers at most."""
    mallory, number = Party("uri", f"sip:mallory@{OVERLAY}"), Party("uri", f"sip:0049@{OVERLAY}")
    anybody = request(DATED, uri="0049")
    hers = anybody.replace(fields=anybody.fields.with_only("From", f"<sip:mallory@{OVERLAY}>;tag=a"))

    def forwarders(about: Request, *given: IdentityField) -> tuple[str, ...]:
        return Verifier().look(with_identities(about, *given)).caller.forwarders

    for about, orig in ((anybody, ALICE), (hers, mallory)):
        by_bob = signed(about, "bob", dest=(mallory,), div=BOB, orig=orig)
        by_mallory = signed(about, "mallory", dest=(number,), div=mallory, orig=orig)
        by_her_to_both = signed(about, "mallory", dest=(number, BOB), div=mallory, orig=orig)
        own = signed(about, "mallory" if about is hers else "alice", dest=(BOB, number), orig=orig)
        assert forwarders(about, by_bob, by_mallory) == ("mallory", "bob")
        assert forwarders(about, own, by_bob) == (), "who calls has said that it is for the telephone as well"
        assert forwarders(about, own, by_bob, by_mallory) == ("mallory", "bob")
        assert forwarders(about, by_her_to_both, by_bob) == ("mallory",)


@pytest.mark.parametrize(
    ("answer", "forwarders"),
    [
        (Forwarded(SipUri(OVERLAY, "0049")), ("bob",)), (Forwarded(SipUri(OVERLAY, "0033")), ()),
        (NotLocated(404, "Not Found"), ()), (None, ()),
    ],
)  # fmt: skip
def test_who_is_said_to_forward_to_a_telephone_pays_where_his_record_says_that_number(
    answer: object, forwarders: tuple[str, ...]
) -> None:
    about = request(("Diversion", f"<sip:bob@{OVERLAY}>"), DATED, uri="0049")
    by_gateway = about.replace(uri=SipUri(OVERLAY, "0049", None, ((GATEWAY_PARAM, "1"),)))
    verifier = Verifier()
    asked = verifier.core.examine(verifier.arrived(by_gateway), 0.0)
    assert isinstance(asked, Ask)
    assert isinstance(asked.question, LocateUser)
    assert (asked.question.user, asked.question.is_about_record) == ("bob", True)
    (found,) = [verifier.core.handle_answer(asked.token, answer, 0.0)] if answer else verifier.core.handle_timeout(9.0)
    assert isinstance(found, Identified)
    assert (found.caller.user, found.caller.forwarders) == ("", forwarders)
    assert isinstance(verifier.core.examine(verifier.arrived(about), 10.0), Identified), "nobody pays for others"


def test_two_names_that_differ_in_capitals_are_two_people() -> None:
    about = request(DATED)
    about = about.replace(fields=about.fields.with_only("From", f"<sip:Alice@{OVERLAY}>;tag=a"))
    assert Verifier().status(with_identities(about, signed(about, "alice"))) == ("", 438)


# What waits


def test_who_waits_is_told_after_two_seconds_and_forgotten() -> None:
    about, verifier = request(DATED), Verifier()
    asked = verifier.core.examine(verifier.arrived(with_identities(about, signed(about, "alice"))), 10.0)
    assert isinstance(asked, Ask)
    assert (asked.deadline, len(verifier.core)) == (12.0, 1)
    (found,) = verifier.core.handle_timeout(12.0)
    assert found.caller.status == 436
    assert len(verifier.core) == 0
    assert verifier.core.handle_answer(asked.token, NotAuthentic(438, "late"), 13.0) is None


def test_who_gives_up_waits_no_more() -> None:
    about, verifier = request(DATED), Verifier()
    arrived = verifier.arrived(with_identities(about, signed(about, "alice")))
    assert isinstance(verifier.core.examine(arrived, 0.0), Ask)
    assert verifier.core.cancel(1) is arrived
    assert verifier.core.cancel(1) is None
    assert verifier.core.handle_timeout(99.0) == []


# Section 6.2.2: the responses, where a proof is required


@pytest.mark.must("8224 6.2/1", "8224 12.1/1")
@pytest.mark.parametrize(
    ("forge", "answered"),
    [
        (lambda fields: fields.without("identity"), "428 Use Identity Header (no Identity of alice came with it)"),
        (lambda fields: fields.with_only("Identity", "x"), "438 Invalid Identity Header (malformed Identity 'x')"),
        (lambda fields: fields.with_only("Date", "Mon, 21 Sep 2026 14:10:00 GMT"), "403 Stale Date"),
        (lambda fields: fields.with_only("Identity", f"{fields.first('identity')};alg=none"), "437 Unsupported"),
        (lambda fields: fields, "200"),
    ],
)
def test_6_2_2_what_is_answered(forge: object, answered: str) -> None:
    world = World()
    one = world.server("one", "10.1.0.1")
    two = world.server("two", "10.2.0.1", callers="required")
    world.link(one, two)
    alice, bob = called(world, one, two)
    forged(one, forge)
    response = alice.ask(alice.message("bob"))
    assert f"{response.status} {response.phrase}".startswith(answered)
    assert len([got for got in bob.received if got.method == "MESSAGE"]) == (answered == "200")


def test_4_1_a_member_of_another_kind_that_signs_nothing_comes_in_unless_a_proof_is_required() -> None:
    world = World()
    one, two = world.server("one", "10.1.0.1"), world.server("two", "10.2.0.1")
    world.link(one, two)
    alice, bob = called(world, one, two)
    forged(one, lambda fields: fields.without("identity"))
    assert alice.ask(alice.message("bob")).status == 200
    assert bob.received[-1].from_.display_name == "Not verified"
    assert b"alice" not in bob.received[-1].encode()
    (report,) = two.reports_of("MESSAGE")
    assert report.caller == "not proved: no Identity of alice came with it"


def called(world: World, one: Server, two: Server) -> tuple[object, object]:
    alice = world.phone("alice", one, Address("10.1.0.11", 5060))
    bob = world.phone("bob", two, Address("10.2.0.12", 5070))
    assert (alice.register().status, bob.register().status) == (200, 200)
    return alice, bob


def forged(server: Server, forge: object) -> None:
    """What a peer sends to others it sends otherwise."""
    edge = server.core._proxy._edge
    honest = edge.copy_for

    def copy_for(*args: object) -> Request:
        sent = honest(*args)  # type: ignore[arg-type]
        return sent.replace(fields=forge(sent.fields))  # type: ignore[operator]

    edge.copy_for = copy_for  # type: ignore[method-assign]
