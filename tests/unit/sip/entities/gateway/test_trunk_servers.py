"""A trunk with several servers: who is tried next (RFC 3263 section 4.3), and where the requests of a call go."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from trunk_bench import ANSWER, PROVIDER, REALM, SDP, SECOND, STRANGER, THIRD, TrunkBench

from p2psip.base.address import Address
from p2psip.sip.entities.gateway.limits import KEEP_ALIVE_S_MAX, SILENT_S
from p2psip.sip.entities.gateway.terms import ForTrunk, TrunkChanged
from p2psip.sip.message.build import make_response
from p2psip.sip.message.message import Request, Response
from p2psip.sip.transports.arrivals import FlowDown, FlowUp
from p2psip.sip.transports.effects import OpenFlow

SECOND_CONTACT = "sip:gw@198.51.100.17:5062"


def several(**changes: object) -> TrunkBench:
    bench = TrunkBench(**changes)
    bench.servers = [PROVIDER, SECOND]
    bench.registrar.asks_for_invites = False
    return bench


def fail_over(bench: TrunkBench) -> None:
    """The first server falls silent, and OPTIONS finds that out."""
    bench.dead.add(PROVIDER)
    bench.run(bench.terms.keep_alive_s + KEEP_ALIVE_S_MAX + 1.0)
    assert bench.trunk.facts.remote == SECOND


# Who is tried next


def test_4_3_an_invite_that_is_not_answered_goes_to_the_next_server() -> None:
    """RFC 3263 4.3: "the client SHOULD create a new request, which is identical to the previous, but has a different
    value of the Via branch ID than the previous [...]. That request is sent to the next element in the list".
    """
    bench = several().up()
    bench.dead.add(PROVIDER)
    bench.dial()
    first = bench.request("provider", "INVITE")
    bench.run(SILENT_S + 0.1)
    second = bench.request("provider", "INVITE")
    assert bench.sent_to(SECOND).count("INVITE") == 1
    same = [(sent.uri_text, sent.call_id, str(sent.from_), sent.cseq, sent.body) for sent in (first, second)]
    assert same[0] == same[1]
    assert first.via.branch != second.via.branch
    bench.answer(second, 200, body=ANSWER, remote=SECOND, contact=SECOND_CONTACT)
    bench.within("ACK", bench.response("overlay", "200 INVITE"), 7)
    assert bench.sent_to(SECOND)[-1] == "ACK"
    assert [line for line in bench.lines("overlay") if line.startswith(("4", "5"))] == []
    # The next call begins there; and nobody was told that the trunk is down, since it is not.
    bench.provider.clear()
    bench.dial("+4977")
    assert "INVITE" not in bench.sent_to(PROVIDER)
    assert [note.event for note in bench.notes] == ["trunk up"]


def test_4_3_after_a_503_the_next_server_is_asked_at_once_and_the_first_is_not_out_of_favour() -> None:
    """FreeSWITCH forgot the ACK to the 503 there."""
    bench = several().up()
    bench.dial()
    first = bench.request("provider", "INVITE")
    bench.answer(first, 503)
    assert bench.sent_to(PROVIDER)[-1] == "ACK"
    assert bench.sent_to(SECOND) == ["INVITE"]
    bench.answer(bench.request("provider", "INVITE"), 486, remote=SECOND)
    assert bench.lines("overlay")[-1] == "486 INVITE"
    assert bench.trunk.facts.remote == PROVIDER


def test_4_3_a_proof_that_one_server_has_asked_for_does_not_go_to_the_next() -> None:
    bench = several().up()
    bench.registrar.asks_for_invites = True
    bench.dial()
    bench.answer(bench.request("provider", "INVITE"), 503)
    at_second = [heard.message for heard in bench.provider if heard.remote == SECOND and heard.line == "INVITE"]
    assert len(at_second[0].fields.lines("proxy-authorization")) <= 1
    bench.answer(bench.request("provider", "INVITE"), 180, remote=SECOND)
    assert bench.lines("overlay")[-1] == "180 INVITE"


def test_who_answers_at_a_server_that_was_given_up_is_hung_up() -> None:
    bench = several().up()
    bench.dead.add(PROVIDER)
    bench.dial()
    first = bench.request("provider", "INVITE")
    bench.run(SILENT_S + 0.1)
    second = bench.request("provider", "INVITE")
    bench.answer(second, 180, tag="two", remote=SECOND, contact=SECOND_CONTACT)
    bench.answer(first, 180, tag="one")
    assert bench.lines("overlay").count("180 INVITE") == 1
    assert bench.sent_to(PROVIDER)[-1] == "CANCEL"
    for _ in range(2):
        bench.answer(first, 200, tag="one", body=ANSWER)
    assert [line for line in bench.sent_to(PROVIDER) if line in ("ACK", "BYE")] == ["ACK", "BYE", "ACK"]
    bench.answer(second, 200, tag="two", remote=SECOND, contact=SECOND_CONTACT, body=ANSWER)
    assert bench.lines("overlay").count("200 INVITE") == 1
    assert "BYE" not in bench.sent_to(SECOND)
    assert bench.trunk.calls == 1


def test_where_somebody_rings_already_no_other_server_is_asked() -> None:
    bench = several().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    bench.answer(sent, 180)
    bench.answer(sent, 503)
    assert bench.lines("overlay")[-1] == "503 INVITE"
    assert bench.sent_to(SECOND) == []


def test_a_call_that_is_cancelled_goes_to_no_other_server() -> None:
    bench = several().up()
    bench.dead.add(PROVIDER)
    invite = bench.dial()
    bench.cancel(invite)
    bench.run(40.0)
    assert "INVITE" not in bench.sent_to(SECOND)
    assert "487 INVITE" in bench.lines("overlay")


def test_when_no_server_answers_the_caller_is_told_and_the_trunk_is_down() -> None:
    bench = several().up()
    bench.dead.update((PROVIDER, SECOND))
    bench.dial()
    bench.run(2 * SILENT_S + 0.1)
    assert "504 INVITE" in bench.lines("overlay")
    bench.run(KEEP_ALIVE_S_MAX)
    assert not bench.trunk.health.is_up
    bench.dead.clear()
    bench.run(100.0)
    assert bench.trunk.health.is_up


@pytest.mark.parametrize("how", ["silent", "503"])
def test_a_registration_that_a_server_does_not_take_goes_to_the_next_one(how: str) -> None:
    bench = several()
    if how == "silent":
        bench.dead.add(PROVIDER)
    else:
        registrar = bench.registrar
        bench.answers = lambda request: (
            make_response(request, 503, to_tag="x", extra=[("Retry-After", "600")])
            if bench.provider[-1].remote == PROVIDER and request.method == "REGISTER"
            else registrar(request)
        )
    bench.trunk.start(0.0)
    bench.run(KEEP_ALIVE_S_MAX + 1.0)
    assert bench.trunk.health.is_up
    assert bench.trunk.facts.remote == SECOND


def test_one_that_does_not_answer_options_is_left_for_the_next_and_the_trunk_stays_up() -> None:
    """It is registered there at once: by the other one nobody would call us."""
    bench = several().up()
    fail_over(bench)
    assert "REGISTER" in bench.sent_to(SECOND)
    assert [effect for effect in bench.effects if isinstance(effect, TrunkChanged)] == [TrunkChanged("main", True, "")]


def test_what_the_one_says_late_does_not_say_that_the_other_is_there() -> None:
    bench = several(registers=False).up()
    bench.dead.update((PROVIDER, SECOND))
    while bench.trunk.facts.remote == PROVIDER:
        bench.run(0.1)
    asked = [heard.message for heard in bench.provider if (heard.line, heard.remote) == ("OPTIONS", PROVIDER)]
    assert isinstance(asked[-1], Request)
    bench.answer(asked[-1], 200)
    bench.run(KEEP_ALIVE_S_MAX)
    assert not bench.trunk.health.is_up


def test_a_connection_that_is_refused_is_made_to_the_next_server() -> None:
    bench = several(transport="TCP")
    bench.trunk.start(0.0)
    bench.run(0.1)
    opened = [each.effect for each in bench.effects if isinstance(each, ForTrunk)]
    assert [flow.remote for flow in opened if isinstance(flow, OpenFlow)] == [PROVIDER]
    bench.trunk.handle_wire(FlowDown(2, "connection refused"), bench.now)
    bench.run(0.1)
    opened = [each.effect for each in bench.effects if isinstance(each, ForTrunk)]
    assert [flow.remote for flow in opened if isinstance(flow, OpenFlow)] == [PROVIDER, SECOND]
    bench.trunk.handle_wire(FlowUp(4, "TCP", Address("192.0.2.1", 9), SECOND), bench.now)
    assert bench.trunk.facts.remote == SECOND


# The way that the registrar wants


def with_service_route(bench: TrunkBench, *lines: str) -> None:
    """The registrar says this from now on."""
    registrar = bench.registrar

    def answer(request: Request) -> Response | None:
        response = registrar(request)
        if response is None or not (response.is_success and request.method == "REGISTER"):
            return response
        fields = response.fields
        for line in lines:
            fields = fields.with_last("Service-Route", line)
        return response.replace(fields=fields)

    bench.answers = answer


def routes_of_a_call(bench: TrunkBench) -> list[str]:
    bench.dial()
    sent = bench.request("provider", "INVITE")
    assert bench.provider[-1].remote == bench.trunk.facts.remote
    return [str(route.uri) for route in sent.routes]


def test_3608_a_call_has_the_route_that_the_registrar_has_said_last() -> None:
    """It goes to the server all the same, which sends it on. What a later answer does not say is over."""
    bench = several()
    with_service_route(bench, "<sip:orig@s1.tel.example;lr>, <sip:s2.tel.example;lr>")
    bench.up()
    assert routes_of_a_call(bench) == ["sip:orig@s1.tel.example;lr", "sip:s2.tel.example;lr"]
    with_service_route(bench)
    bench.run(40.0)
    assert routes_of_a_call(bench) == []


@pytest.mark.parametrize("line", ["<<", "<tel:1>"])
def test_3608_a_route_that_leads_nowhere_is_none(line: str) -> None:
    bench = several()
    with_service_route(bench, line)
    bench.up()
    assert routes_of_a_call(bench) == []


def test_3608_the_route_of_one_server_is_not_that_of_the_next() -> None:
    bench = several()
    with_service_route(bench, "<sip:s1.tel.example;lr>")
    bench.up()
    bench.dial()
    bench.answer(bench.request("provider", "INVITE"), 503)
    assert bench.provider[-1].remote == SECOND
    assert bench.request("provider", "INVITE").routes == ()
    with_service_route(bench)
    fail_over(bench)
    bench.dead.clear()
    assert routes_of_a_call(bench) == []


# Where the requests of a call go


def from_the_overlay(bench: TrunkBench, last: Response) -> None:
    """One of each that a phone sends within a call, and BYE in the end."""
    bench.within("INVITE", last, 8, extra="Contact: <sip:a@x>\r\nContent-Type: application/sdp\r\n", body=SDP)
    sent = bench.request("provider", "INVITE")
    bench.answer(sent, 200, body=ANSWER)
    bench.within("ACK", bench.response("overlay", "200 INVITE"), 8)
    bench.within("UPDATE", last, 9, extra="Contact: <sip:a@x>\r\n")
    bench.within("INFO", last, 10)
    bench.within("BYE", last, 11)


def calls_out(bench: TrunkBench) -> Response:
    bench.talking()
    return bench.response("overlay", "200 INVITE")


def test_a_call_stays_with_its_server_when_the_trunk_goes_to_another() -> None:
    """12.2.1.1: within a dialog a request goes where the dialog says; the other server knows nothing of the call."""
    bench = several().up()
    answered = calls_out(bench)
    fail_over(bench)
    bench.dead.clear()
    bench.provider.clear()
    from_the_overlay(bench, answered)
    in_call = [(heard.line, heard.remote) for heard in bench.provider if heard.line not in ("OPTIONS", "REGISTER")]
    assert in_call == [(line, PROVIDER) for line in ("INVITE", "ACK", "UPDATE", "INFO", "BYE")]


def test_a_prack_goes_where_the_provisional_response_came_from() -> None:
    bench = several().up()
    bench.dial(extra="Supported: 100rel\r\n")
    sent = bench.request("provider", "INVITE")
    bench.answer(sent, 183, ("Require", "100rel"), ("RSeq", 900), body=ANSWER)
    fail_over(bench)
    bench.within("PRACK", bench.response("overlay", "183 INVITE"), 8, extra="RAck: 900 7 INVITE\r\n")
    assert [heard.remote for heard in bench.provider if heard.line == "PRACK"] == [PROVIDER]


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_who_was_left_may_still_end_its_calls(is_forgotten: bool) -> None:
    """Also if DNS does not name it any more."""
    bench = several().up()
    _, sent = bench.talking()
    fail_over(bench)
    if is_forgotten:
        bench.servers = [SECOND]
        bench.dead.add(SECOND)
        bench.run(60.0)
        bench.dead.clear()
        bench.run(60.0)
    bench.dead.clear()
    answered = Response(200, "OK", sent.fields.with_only("To", sent.to.with_tag("p")))
    bench.within("BYE", _as_request(answered), 1, by="provider")
    assert bench.sent_to(PROVIDER)[-1] == "200 BYE"
    assert "BYE" in bench.lines("overlay")
    assert bench.trunk.calls == 0


def _as_request(answered: Response) -> Request:
    """What was said from here, as the other side's next request answers it."""
    return Request("INVITE", f"sip:x@{REALM}", answered.fields)


@pytest.mark.parametrize("remote", [SECOND, STRANGER])
def test_a_call_that_came_from_another_server_is_ended_there(remote: Address) -> None:
    """Also from an address that is in `also_from` alone; what it says of its Contact leads nowhere from here."""
    bench = several(also_from=(ipaddress.ip_network("203.0.113.0/24"),)).up()
    bench.ring(remote=remote, contact="sip:gw@10.0.0.5")
    sent = bench.request("overlay", "INVITE")
    bench.reply(sent, 200, body=ANSWER)
    bench.within("ACK", bench.response("provider", "200 INVITE"), 1, by="provider", remote=remote)
    bench.within("BYE", _as_request(Response(200, "OK", sent.fields.with_only("To", sent.to.with_tag("ov")))), 1)
    assert [heard.remote for heard in bench.provider if heard.line == "BYE"] == [remote]


def record_routed(bench: TrunkBench, sent: Request) -> None:
    bench.answer(sent, 200, ("Record-Route", "<sip:198.51.100.17:5062;lr>"), body=ANSWER)


def named_by_contact(bench: TrunkBench, sent: Request) -> None:
    bench.answer(sent, 200, body=ANSWER, contact="sip:gw@198.51.100.17:5062")


def named_by_a_name(bench: TrunkBench, sent: Request) -> None:
    bench.answer(sent, 200, body=ANSWER, contact="sip:gw@inside.tel.example")


@pytest.mark.parametrize(
    ("answer", "remote"), [(record_routed, SECOND), (named_by_contact, SECOND), (named_by_a_name, PROVIDER)]
)
def test_12_2_1_1_requests_go_where_the_dialog_says(
    answer: Callable[[TrunkBench, Request], None], remote: Address
) -> None:
    """As far as that is an address of the trunk's; many name one that only they can reach."""
    bench = several().up()
    bench.dial()
    answer(bench, bench.request("provider", "INVITE"))
    answered = bench.response("overlay", "200 INVITE")
    bench.within("ACK", answered, 7)
    bench.within("BYE", answered, 8)
    assert [heard.remote for heard in bench.provider if heard.line in ("ACK", "BYE")] == [remote, remote]


def test_13_2_2_4_the_route_is_that_of_the_2xx() -> None:
    """13.2.2.4: "the route set for the dialog MUST be recomputed based on the 2xx response"."""
    bench = several().up()
    bench.dial()
    sent = bench.request("provider", "INVITE")
    bench.answer(sent, 180, ("Record-Route", "<sip:198.51.100.7;lr;early>"))
    bench.answer(sent, 200, ("Record-Route", "<sip:198.51.100.17:5062;lr;late>"), body=ANSWER, contact="sip:new@tel")
    answered = bench.response("overlay", "200 INVITE")
    bench.within("ACK", answered, 7)
    bench.within("BYE", answered, 8)
    for method in ("ACK", "BYE"):
        request = bench.request("provider", method)
        assert (request.uri_text, [str(route) for route in request.routes]) == (
            "sip:new@tel",
            ["<sip:198.51.100.17:5062;lr;late>"],
        )
    assert bench.sent_to(SECOND) == ["ACK", "BYE"]


def test_a_server_that_has_never_been_needed_is_not_asked() -> None:
    bench = several().up()
    bench.servers.append(THIRD)
    calls_out(bench)
    bench.run(100.0)
    assert {heard.remote for heard in bench.provider} == {PROVIDER}
