"""RFC 5359 2.4 and 2.5, RFC 3515 2.4.2: calls that are handed on between three sites, through whole peers.

What a phone is given to dial, a REFER's Refer-To or the remote target of a dialog, "MUST" lead to the same place from
where it is dialled (RFC 3515 2.4.2: the Refer-To's URI is the one that the recipient contacts).
"""

from __future__ import annotations

import pytest

from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.message.build import make_request
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri

MINE = "192.168.{}.1"


def messages(phone: SitePhone, method: str) -> list[Request | Response]:
    """What this phone has received of a method, responses too."""
    return [message for data in phone.received if (message := parse(data)).cseq.method == method]


def invite(phone: SitePhone) -> Request:
    found = [message for message in messages(phone, "INVITE") if isinstance(message, Request)]
    return found[-1]


def answer(phone: SitePhone) -> Response:
    found = [message for message in messages(phone, "INVITE") if isinstance(message, Response) and message.is_success]
    return found[-1]


def talk(world: SimulatedPeers, caller: SitePhone, callee: SitePhone) -> None:
    """A call from one to the other, which both hold for established."""
    caller.dial(callee.user)
    world.run(3.0)
    assert caller.talks
    assert callee.talks


def refer(phone: SitePhone, refer_to: SipUri) -> Request:
    """The REFER of the phone that has called, in the dialog of its call."""
    ok = answer(phone)
    via = Via("UDP", phone.address.host, phone.address.port, (("branch", f"z9hG4bK{len(phone.received)}"),))
    return make_request(
        "REFER",
        ok.contacts[0].sip_uri,
        from_=ok.from_,
        to=ok.to,
        call_id=ok.call_id,
        cseq=100,
        routes=tuple(reversed(ok.record_routes)),
        extra=[
            ("Via", via),
            ("Contact", NameAddr(SipUri(phone.address.host, phone.user, 5060))),
            ("Refer-To", NameAddr(refer_to)),
            ("Referred-By", NameAddr(ok.from_.uri)),
        ],
    )


def told(phone: SitePhone) -> Request:
    """The REFER that this phone has received."""
    found = [message for message in messages(phone, "REFER") if isinstance(message, Request)]
    return found[-1]


@pytest.fixture
def world() -> SimulatedPeers:
    return SimulatedPeers("transfer", 3)


def test_5359_2_4_blind_transfer(world: SimulatedPeers) -> None:
    alice, bob, carol = world.with_phones((0, "alice"), (1, "bob"), (2, "carol"))
    talk(world, alice, bob)
    alice.send(refer(alice, SipUri(MINE.format(0), "carol")).encode())
    world.run(1.0)
    assert told(bob).fields.first("refer-to") == "<sip:carol@192.168.1.1>"
    assert told(bob).fields.first("referred-by") == "<sip:alice@192.168.1.1>"
    bob.dial(str(NameAddr.parse(told(bob).fields.first("refer-to") or "").uri))
    assert world.run(5.0, stop=lambda: carol.talks)
    assert str(invite(carol).from_.uri) == "sip:bob@192.168.2.1"


def test_5359_2_5_attended_transfer_by_the_remote_target(world: SimulatedPeers) -> None:
    """The phone that alice has talked with, not any phone of its user, and from carol's site as from hers."""
    alice, bob, carol = world.with_phones((0, "alice"), (1, "bob"), (2, "carol"))
    talk(world, alice, bob)
    target = answer(alice).contacts[0].sip_uri
    # bob has another phone, which came later and would be tried first.
    second = world.phone(1, "bob", 7)
    rang = second.rang
    talk(world, alice, carol)
    alice.send(refer(alice, target.replace(headers="Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2")).encode())
    world.run(1.0)
    shown = NameAddr.parse(told(carol).fields.first("refer-to") or "").sip_uri
    assert (shown.host, shown.headers) == ("192.168.2.1", "Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2")
    before = bob.rang
    carol.dial(str(shown.replace(headers="")))
    world.run(3.0)
    assert (bob.rang, second.rang) == (before + 1, rang)
    assert invite(bob).uri_text == f"sip:bob@{bob.address.host}:5060"


def test_what_is_between_peers_is_in_the_overlays_terms(world: SimulatedPeers) -> None:
    """The Contact of a far phone is a GRUU of its peer (RFC 7904 section 6)."""
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    talk(world, alice, bob)
    for contact, host in ((answer(alice).contacts[0], MINE.format(0)), (invite(bob).contacts[0], MINE.format(1))):
        assert contact.sip_uri.host == host
        assert [name for name, _ in contact.sip_uri.params] == ["gr", "at"]
    assert OVERLAY not in "".join(data.decode().partition("Record-Route")[0] for data in bob.received[-1:])


@pytest.mark.parametrize("restarted", [0, 1])
@pytest.mark.parametrize("by", ["alice", "bob"])
def test_a_call_outlives_the_restart_of_either_peer(world: SimulatedPeers, restarted: int, by: str) -> None:
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    talk(world, alice, bob)
    world.restart(restarted)
    (alice if by == "alice" else bob).hang_up(1)
    world.run(10.0, stop=lambda: not alice.talks and not bob.talks)
    assert (alice.talks, bob.talks) == (False, False)
    end = [message for message in messages(bob if by == "alice" else alice, "BYE") if isinstance(message, Request)]
    assert end
