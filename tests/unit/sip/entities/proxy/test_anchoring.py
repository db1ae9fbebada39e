"""Calls between two phones of one server through which their media goes: requests, responses, what is refused."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Note
from p2psip.media.relay.description import read
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.ports import ClosePorts, OpenPorts
from p2psip.media.relay.relay import Relay, RelayEnded
from p2psip.sip.entities.agents.agent_table import AgentTable
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.own import ServerName
from p2psip.sip.entities.proxy.anchoring import Anchoring, Carried, NotCarried
from p2psip.sip.entities.registrar.tokens import TokenPlace
from p2psip.sip.message.build import make_request, make_response
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.hops import BoundHop, LocalHop, Source, UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer

HERE = Address("192.0.2.99", 5060)
ALICE, BOB = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)
AUDIO = "audio {} RTP/AVP 0"
CHAT = "message {} TCP/MSRP *"


def sdp(host: str, port: int = 4000, media: str = AUDIO) -> bytes:
    head = ("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0")
    return "\r\n".join([*head, f"m={media.format(port)}", ""]).encode()


class Site:
    """An Anchoring with its relay, and two phones that speak SIP with each other through it."""

    def __init__(self, *, media: str = "anchor", limits: RelayLimits | None = None) -> None:
        config = ServerConfig(
            "overlay.example",
            frozenset({"overlay.example", HERE.host}),
            (Listener("UDP", HERE),),
            SipUri("overlay.example", "peer-one", None, (("gr", "00"),)),
            media=media,  # type: ignore[arg-type]
        )
        transport = TransportLayer(config.listeners, config.peer_sent_by, config.transport_limits, config.addresses)
        self.relay = Relay(random.Random(1), limits or RelayLimits())
        self.relay.start()
        self.anchoring = Anchoring(config, transport, self.relay, AgentTable())
        self.ended: list[RelayEnded] = []
        self.settle()

    def settle(self) -> None:
        while effects := self.relay.drain():
            for effect in effects:
                if isinstance(effect, OpenPorts):
                    self.relay.handle_ports(effect.port, True, 0.0)
                elif isinstance(effect, RelayEnded):
                    self.ended.append(effect)
                else:
                    assert isinstance(effect, ClosePorts)

    def begin(self, request: Request, one: Address = ALICE, other: Address = BOB) -> tuple[Request, Carried | None]:
        done = self.anchoring.begin(request, end(one), end(other), 0.0)
        self.settle()
        return done

    def answer(self, carried: Carried | None, request: Request, status: int, tag: str, body: bytes = b"") -> Response:
        response = make_response(request, status, to_tag=tag, extra=TYPE if body else (), body=body)
        done = self.anchoring.answer(carried, request, response, 0.0)
        self.settle()
        return done


TYPE = (("Content-Type", "application/sdp"),)


def end(address: Address, hop: BoundHop | None = None) -> tuple[Source, TokenPlace]:
    hop = hop or UdpHop(address, HERE)
    name = "alice" if address == ALICE else "bob"
    return Source(hop, "UDP", address), TokenPlace(hop, address.host, name, ServerName(HERE.host, HERE.port))


def request(method: str, body: bytes = b"", *, tags: tuple[str, str] = ("a", "")) -> Request:
    to = NameAddr(parse_sip_uri("sip:bob@overlay.example"), "", (("tag", tags[1]),) if tags[1] else ())
    return make_request(
        method,
        parse_sip_uri("sip:bob@192.0.2.2"),
        from_=NameAddr(parse_sip_uri("sip:alice@overlay.example"), "", (("tag", tags[0]),)),
        to=to,
        call_id="call-1",
        cseq=1,
        extra=TYPE if body else (),
        body=body,
    )


def named(message: Request | Response) -> tuple[str, int]:
    (described,) = read(message.body)
    assert described.rtp is not None
    return described.rtp


BROWSER = (
    b"v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
    b"m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:x\r\na=ice-pwd:0123456789012345678901\r\n"
    b"a=fingerprint:sha-256 AA\r\na=setup:actpass\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.5 4000 typ host\r\n"
)


def test_what_a_browser_says_goes_on_as_it_is_and_the_operator_is_told() -> None:
    """It takes media by ICE alone, of which a relay leaves nothing over."""
    site = Site()
    invite = request("INVITE", BROWSER)
    assert site.begin(invite) == (invite, None)
    assert site.anchoring.question(invite, end(ALICE), end(BOB)) is None
    (note,) = site.anchoring.drain()
    assert isinstance(note, Note)
    assert (note.event, note.facts["call"]) == ("media not carried", "call-1")
    assert "web browser" in str(note.facts["why"])


def test_a_browser_that_answers_late_or_is_asked_within_a_call_is_left_alone_too() -> None:
    """An INVITE without an offer may be for anybody: what comes then says for whom it is."""
    site = Site()
    _, carried = site.begin(request("INVITE"))
    assert carried is not None
    answer = site.answer(carried, request("INVITE"), 200, "b", BROWSER)
    assert answer.body == BROWSER


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"UDP/TLS/RTP/SAVPF", b"RTP/AVP"), (b"a=ice-ufrag:x\r\n", b""), (b"UDP/TLS/RTP/SAVPF", b"UDP/TLS/RTP/SAVP")],
)
def test_telephones_with_ice_or_with_dtls_are_carried(old: bytes, new: bytes) -> None:
    """They send to the address in c= and m= where they find no candidates."""
    site = Site()
    offer = BROWSER.replace(old, new).replace(b"0.0.0.0", ALICE.host.encode()).replace(b"m=audio 9", b"m=audio 4000")
    passed, carried = site.begin(request("INVITE", offer))
    assert carried is not None
    assert named(passed)[0] == HERE.host


@pytest.mark.must("3261 16.6/4", "3261 16.7/27")
def test_offer_and_answer_have_ports_of_the_peer() -> None:
    site = Site()
    invite = request("INVITE", sdp(ALICE.host))
    passed, carried = site.begin(invite)
    assert named(passed)[0] == HERE.host
    for status in (183, 200):
        back = site.answer(carried, invite, status, "b", sdp(BOB.host))
        assert named(back)[0] == HERE.host
        assert named(back) != named(passed)
    assert len(site.relay) == 1


@pytest.mark.parametrize("media", ["direct", "auto"])
def test_phones_that_reach_each_other_are_left_alone(media: str) -> None:
    site = Site(media=media)
    invite = request("INVITE", sdp(ALICE.host))
    assert site.begin(invite) == (invite, None)
    assert len(site.relay) == 0


def test_an_agent_and_another_peer_are_left_alone() -> None:
    site = Site()
    invite = request("INVITE", sdp(ALICE.host))
    agent = end(BOB, LocalHop("echo"))
    for callee in (agent, (end(BOB)[0], None)):
        assert site.anchoring.begin(invite, end(ALICE), callee, 0.0) == (invite, None)


def test_each_phone_that_rings_has_ports_of_its_own_and_who_does_not_answer_gives_them_back() -> None:
    site = Site()
    invite = request("INVITE", sdp(ALICE.host))
    (first, one), (second, two) = site.begin(invite), site.begin(invite)
    assert named(first) != named(second)
    early = [named(site.answer(c, invite, 183, tag, sdp(BOB.host))) for c, tag in ((one, "b1"), (two, "b2"))]
    assert early[0] != early[1]
    site.answer(two, invite, 200, "b2", sdp(BOB.host))
    assert one is not None
    site.anchoring.refused(one, "Request Terminated", 0.0)
    site.settle()
    assert [ended.reason for ended in site.ended] == ["Request Terminated"]
    bye = request("BYE", tags=("b2", "a"))
    assert site.begin(bye, BOB, ALICE) == (bye, None)
    assert [ended.reason for ended in site.ended] == ["Request Terminated", "hung up"]
    assert len(site.relay) == 0


def test_a_late_offer_is_answered_in_the_ack() -> None:
    site = Site()
    invite = request("INVITE")
    passed, carried = site.begin(invite)
    assert passed == invite
    offer = site.answer(carried, invite, 200, "b", sdp(BOB.host))
    ack = site.anchoring.acknowledge(request("ACK", sdp(ALICE.host), tags=("a", "b")), 0.0)
    assert named(offer)[0] == named(ack)[0] == HERE.host
    assert named(offer) != named(ack)


def test_prack_and_update_in_an_early_dialog_pass_like_all_others() -> None:
    site = Site()
    invite = request("INVITE")
    _, carried = site.begin(invite)
    offer = named(site.answer(carried, invite, 183, "b", sdp(BOB.host)))
    prack, acknowledged = site.begin(request("PRACK", sdp(ALICE.host), tags=("a", "b")))
    update, updated = site.begin(request("UPDATE", sdp(BOB.host, 6000), tags=("b", "a")), BOB, ALICE)
    assert named(update) == offer
    answered = site.answer(updated, update, 200, "a", sdp(ALICE.host))
    assert named(answered) == named(prack)
    assert acknowledged is not None
    assert not acknowledged.is_first


def test_a_reinvite_that_is_refused_leaves_all_as_it_was() -> None:
    site = Site()
    invite = request("INVITE", sdp(ALICE.host))
    _, carried = site.begin(invite)
    site.answer(carried, invite, 200, "b", sdp(BOB.host))
    assert carried is not None
    before = carried.call.last[0]
    _, again = site.begin(request("INVITE", sdp("192.0.2.77", 7000), tags=("a", "b")))
    assert again is not None
    assert carried.call.last[0] != before
    site.anchoring.refused(again, "491 Request Pending", 0.0)
    assert carried.call.last[0] == before
    assert len(site.relay) == 1


def test_a_reinvite_of_a_call_that_nobody_remembers_begins_it_again() -> None:
    """The peer was started anew, and the phones have not hung up."""
    site = Site()
    invite = request("INVITE", sdp(ALICE.host), tags=("a", "b"))
    passed, carried = site.begin(invite)
    assert named(passed)[0] == HERE.host
    assert named(site.answer(carried, invite, 200, "b", sdp(BOB.host)))[0] == HERE.host


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (sdp(ALICE.host, media=CHAT), "no way to carry message"),
        (b"v=0\r\nnonsense", "no line of the form"),
    ],
)
def test_what_cannot_be_carried_is_refused_with_a_reason(body: bytes, words: str) -> None:
    site = Site()
    with pytest.raises(NotCarried, match=words) as refused:
        site.begin(request("INVITE", body))
    assert refused.value.code == 488
    assert len(site.relay) == 0


def test_packets_cannot_be_made_to_go_round() -> None:
    """A phone that names a port of the relay as its own would have packets relayed for ever."""
    site = Site()
    passed, _ = site.begin(request("INVITE", sdp(ALICE.host)))
    host, port = named(passed)
    with pytest.raises(NotCarried, match="a port of this peer"):
        site.begin(request("INVITE", sdp(host, port)))


def test_too_many_calls_are_refused() -> None:
    site = Site(limits=RelayLimits(calls=1))
    site.begin(request("INVITE", sdp(ALICE.host)))
    with pytest.raises(NotCarried, match="1 calls are relayed already") as refused:
        site.begin(request("INVITE", sdp(ALICE.host)))
    assert refused.value.code == 500


def test_an_answer_that_cannot_be_read_goes_on_and_is_told() -> None:
    site = Site()
    invite = request("INVITE", sdp(ALICE.host))
    _, carried = site.begin(invite)
    back = site.answer(carried, invite, 200, "b", b"v=0\r\nnonsense")
    assert back.body == b"v=0\r\nnonsense"
    (note,) = site.anchoring.drain()
    assert "bob (192.0.2.2)" in str(note)


def test_dialogs_are_forgotten_with_their_calls() -> None:
    site = Site()
    for n in range(50):
        invite = request("INVITE", sdp(ALICE.host))
        _, carried = site.begin(invite)
        site.answer(carried, invite, 200, f"b{n}", sdp(BOB.host))
        site.begin(request("BYE", tags=("a", f"b{n}")))
    assert len(site.anchoring._dialogs) <= 1


# The whole server, and phones that call each other


@pytest.fixture
def site(world):
    """A server that carries media, alice, and the phone that she calls."""
    return world.server("one", "10.1.0.1", media="anchor")


def phones(world, site, **options):
    made = [
        world.phone("alice", site, Address("10.1.0.11", 5060)),
        world.phone("carol", site, Address("10.1.0.13", 5060), **options),
    ]
    for one in made:
        assert one.register().status == 200
    return made


def test_a_call_is_carried_until_somebody_hangs_up(world, site):
    alice, carol = phones(world, site)
    call = alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(3.0)
    assert call.is_up
    [invite] = [message for message in carol.received if message.method == "INVITE"]
    assert named(invite)[0] == "10.1.0.1"
    assert len(site.core.relay) == 1
    carol.hang_up(carol.calls[0])
    world.run(1.0)
    assert carol.finals[-1].status == 200
    assert [ended.reason for ended in site.relayed] == ["hung up"]
    assert world.forgets_all()


@pytest.mark.parametrize(("options", "reason"), [({"refuses_with": 486}, "Busy Here"), ({"answers_after_s": None}, "")])
def test_a_call_that_nobody_takes_is_carried_no_more(world, site, options, reason):
    alice, _ = phones(world, site, **options)
    call = alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(2.0)
    if not reason:
        assert len(site.core.relay) == 1
        alice.cancel(call)
        world.run(2.0)
        reason = "Request Terminated"
    assert [ended.reason for ended in site.relayed] == [reason]
    assert len(site.core.relay) == 0


def test_what_cannot_be_carried_is_refused_by_the_server_with_the_reason(world, site):
    alice, carol = phones(world, site)
    call = alice.invite("carol", TYPE, sdp("10.1.0.11", media=CHAT))
    world.run(2.0)
    assert call.statuses[-1] == 488
    assert "no way to carry message" in call.responses[-1].fields.first("reason")
    assert not carol.received
    assert len(site.core.relay) == 0


def test_nothing_stays_behind_of_a_call_to_a_phone_that_has_died(world, site):
    alice, carol = phones(world, site)
    carol.is_alive = False
    alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(40.0)
    assert len(site.core.relay) == 0
    assert len(site.relayed) >= 1
