"""RFC 3261 sections 8, 12 and 20, of user agents, where no story of a call has shown it yet."""

from __future__ import annotations

import pytest
from agent_bench import ALICE, BOB, SERVER, Registrar, bob_alone, call_bob, invite, pair, registering

from p2psip.sip.dialogs.dialog import Dialog
from p2psip.sip.entities.agents.agent_requests import ALLOWED
from p2psip.sip.entities.agents.types import EndedBy, Ringing
from p2psip.sip.message import digest
from p2psip.sip.message.build import make_response
from p2psip.sip.message.headers import AuthParams, CSeq
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse


@pytest.mark.must(
    "3261 8.1.1/1",
    "3261 8.1.1.2/3",
    "3261 8.1.1.3/1",
    "3261 8.1.1.4/2",
    "3261 8.1.1.5/1",
    "3261 8.1.1.5/2",
    "3261 8.1.1.6/1",
    "3261 8.1.1.7/1",
    "3261 8.1.1.7/2",
    "3261 8.1.1.7/3",
    "3261 8.1.1.7/4",
    "3261 8.1.1.7/5",
    "3261 8.1.1.8/1",
    "3261 12.1.2/1",
    "3261 20/2",
    "3261 20.42/1",
)
def test_8_1_1_what_every_request_has() -> None:
    """ "at a minimum [...]: To, From, CSeq, Call-ID, Max-Forwards, and Via"; and what each of them must be."""
    wire, alice = registering(Registrar())
    alice.register(0.0)
    wire.run(1.0)
    calling, caller, _ = pair()
    for _ in range(2):
        call_bob(caller)
        calling.run(1.0)
    sent = [seen.message for seen in (*wire.seen, *calling.seen) if seen.sender == ALICE]
    requests = [message for message in sent if isinstance(message, Request) and message.method != "ACK"]
    assert {request.method for request in requests} == {"REGISTER", "INVITE"}
    for request in requests:
        assert request.max_forwards == 70
        assert request.cseq.method == request.method
        assert request.cseq.number < 1 << 31
        assert request.from_.tag
        assert not request.to.tag, "it is outside of a dialog"
        assert (request.via.version, request.via.branch[:7]) == ("2.0", "z9hG4bK")
        assert len(request.contacts) == 1
    branches = [request.via.branch for request in requests]
    assert len(set(branches)) == len(branches)
    invites = [request for request in requests if request.method == "INVITE"]
    assert len({request.call_id for request in requests}) == 1 + len(invites)
    assert len({request.from_.tag for request in invites}) == len(invites)


@pytest.mark.must("3261 8.2.2.3/4", "3261 20/5")
def test_8_2_2_3_require_in_a_cancel_is_ignored() -> None:
    """ "These header fields MUST be ignored if they are present in these requests"."""
    wire, _ = bob_alone(auto_answer_s=None)
    wire.send(SERVER, BOB, invite())
    wire.run(0.2)
    cancel = invite(("INVITE", "CANCEL"), ("Max-Forwards", "Require: magic\nProxy-Require: more\nMax-Forwards"))
    wire.send(
        SERVER, BOB, cancel.partition(b"\r\n\r\n")[0].replace(b"Content-Type: application/sdp\r\n", b"") + b"\r\n\r\n"
    )
    wire.run(0.2)
    assert ("200 CANCEL" in wire.lines(), "487 INVITE" in wire.lines()) == (True, True)


@pytest.mark.must("3261 8.1.3.2/1", "3261 8.1.3.2/2", "3261 8.1.3.2/3")
@pytest.mark.parametrize(("status", "stands_for"), [(499, 400), (588, 500), (677, 600), (388, 300)])
def test_8_1_3_2_a_code_that_nobody_knows_is_its_x00(status: int, stands_for: int) -> None:
    """199 like 183, and a final one like the x00 of its class: it ends the call as that does."""

    def ended(code: int) -> list[EndedBy]:
        wire, alice, _ = pair()
        del wire.agents[BOB]
        wire.places[BOB] = lambda request: make_response(request, code, "Odd", to_tag="b")
        call_bob(alice)
        wire.run(5.0)
        assert alice.calls == []
        return [by for by, _ in wire.endings(ALICE)]

    assert ended(status) == ended(stands_for)
    for provisional in (199, 183, 100):
        wire, alice, _ = pair()
        del wire.agents[BOB]
        wire.places[BOB] = lambda request, code=provisional: make_response(request, code, to_tag="b")
        call_bob(alice)
        wire.run(5.0)
        assert len(alice.calls) == 1
        assert wire.lines(ALICE) == ["INVITE"], "it is repeated no more"
        assert len(wire.told(ALICE, Ringing)) == (0 if provisional == 100 else 1)


@pytest.mark.must("3261 8.2.1/4", "3261 20.5/1")
def test_20_5_allow_names_all_that_is_understood() -> None:
    """ "All methods, including ACK and CANCEL, understood by the UA MUST be included"."""
    wire, _ = bob_alone()
    wire.send(SERVER, BOB, invite(("INVITE", "MESSAGE")))
    wire.run(0.2)
    named = wire.last("405 MESSAGE").fields.tokens("allow")
    assert named == list(ALLOWED)
    assert {"ACK", "CANCEL"} <= set(named)
    for method in sorted(set(named) - {"ACK", "INVITE", "CANCEL", "BYE", "INFO"}):
        wire.send(SERVER, BOB, invite(("INVITE", method), branch=method))
        wire.run(0.2)
        assert f"200 {method}" in wire.lines()


# Dialogs


@pytest.mark.must("3261 12.1.1/2", "3261 12.1.1/3")
def test_12_1_1_who_answers_says_where_it_is() -> None:
    """ "The UAS MUST add a Contact header field to the response", with a SIP URI."""
    wire, _ = bob_alone()
    wire.send(SERVER, BOB, invite())
    wire.run(0.2)
    [contact] = wire.last("200 INVITE").contacts
    assert contact.sip_uri.host == BOB.host


def _invite(*changes: tuple[str, str]) -> Request:
    request = parse(invite(*changes))
    assert isinstance(request, Request)
    return request


def _answer(request: Request) -> Response:
    return make_response(request, 200, to_tag="b", extra=[("Contact", "<sip:bob@192.0.2.2>")])


@pytest.mark.must("3261 12.1.1/13", "3261 12.1.1/14", "3261 12.2.1.1/5")
def test_12_1_1_a_caller_without_a_tag() -> None:
    """ "the tag is considered to have a value of null", and "the tag parameter MUST be omitted"."""
    dialog = Dialog.of_uas(_invite((";tag=c", "")), "b")
    assert (dialog.id.remote_tag, dialog.id.local_tag) == ("", "b")
    bye = dialog.request("BYE")
    assert bye.fields.first("to") == "<sip:carol@example.org>"
    assert bye.fields.first("from") == "<sip:bob@example.org>;tag=b"


@pytest.mark.must("3261 12.1.2/11", "3261 12.2.1.1/5")
def test_12_1_2_a_callee_without_a_tag() -> None:
    request = _invite()
    response = _answer(request)
    bare = response.replace(fields=response.fields.with_only("To", "<sip:bob@example.org>"))
    dialog = Dialog.of_uac(request, bare)
    assert (dialog.id.remote_tag, dialog.id.local_tag) == ("", "c")
    assert dialog.request("BYE").fields.first("to") == "<sip:bob@example.org>"


@pytest.mark.must("3261 12.1.2/5", "3261 12.1.2/8", "3261 12.2.1.1/10", "3261 12.2.1.1/11")
def test_12_1_2_without_record_route_there_is_no_route() -> None:
    """ "the route set MUST be set to the empty set"; "The remote sequence number MUST be empty"."""
    request = _invite()
    dialog = Dialog.of_uac(request, _answer(request))
    bye = dialog.request("BYE")
    assert (dialog.route_set, dialog.remote_cseq) == ((), None)
    assert (bye.uri_text, "route" in bye.fields, bye.cseq) == ("sip:bob@192.0.2.2", False, CSeq(2, "BYE"))
    assert dialog.admits(_invite(("CSeq: 1 INVITE", "CSeq: 0 INVITE")))


# Digest


@pytest.mark.must(
    "3261 22.4/3",
    "3261 22.4/4",
    "3261 22.4/6",
    "7616 3.3/4",
    "7616 3.4/3",
    "7616 3.4/4",
    "7616 3.4.6/2",
    "8760 2.6/2",
    "8760 3/3",
)
@pytest.mark.parametrize("qop", ['"auth"', '"auth,auth-int"', None])
def test_22_4_what_a_client_writes(qop: str | None) -> None:
    """uri in quotes; qop if and only if it was asked for, and no cnonce without it."""
    params = {"realm": '"r"', "nonce": '"n"'} | ({"qop": qop} if qop else {})
    challenge = AuthParams("Digest", params)
    assert digest.choose_challenge([challenge]) is challenge
    credentials = digest.answer_challenge(
        challenge, user="u", a1_hash="0" * 32, method="REGISTER", uri="sip:r", cnonce="c"
    )
    assert credentials.params["uri"] == '"sip:r"'
    assert (credentials.params.get("qop"), "cnonce" in credentials.params) == ("auth" if qop else None, bool(qop))
