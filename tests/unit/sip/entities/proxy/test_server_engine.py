"""A server whose calls an engine carries: what phones are told, and what becomes of a call while it is silent."""

from __future__ import annotations

import pytest
from fake_rtpengine import AT, FIRST_PORT

from p2psip.base.address import Address
from p2psip.media.relay.description import read

TYPE = (("Content-Type", "application/sdp"),)
AUDIO, CHAT = "audio {} RTP/AVP 0", "message {} TCP/MSRP *"
ENGINE = "192.0.2.77"


def sdp(host, port=4000, media=AUDIO):
    head = ("v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0")
    return "\r\n".join([*head, f"m={media.format(port)}", ""]).encode()


@pytest.fixture
def site(world):
    """A server with an engine that has answered its first ping."""
    made = world.server("one", "10.1.0.1", media="anchor", media_engine=AT)
    world.run(0.1)
    assert [note.event for note in made.notes] == ["media engine answers"]
    return made


def phones(world, site, **options):
    made = [
        world.phone("alice", site, Address("10.1.0.11", 5060)),
        world.phone("carol", site, Address("10.1.0.13", 5060), **options),
    ]
    for one in made:
        assert one.register().status == 200
    return made


def named(message):
    (described,) = read(message.body)
    return described.rtp


def invites(phone):
    return [message for message in phone.received if message.method == "INVITE"]


def test_a_call_has_the_engines_ports_and_is_deleted_there_when_somebody_hangs_up(world, site):
    alice, carol = phones(world, site)
    call = alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(8.0)
    assert call.is_up
    [invite] = invites(carol)
    assert named(invite) == (ENGINE, FIRST_PORT)
    assert site.engine.commands() == ["offer", "answer", "query", "query"]
    carol.hang_up(carol.calls[0])
    world.run(1.0)
    [ended] = site.relayed
    assert (ended.reason, ended.engine) == ("hung up", f"rtpengine at {AT}")
    assert site.engine.commands()[4:] == ["query", "delete"]
    assert (site.engine.calls, len(site.core.relay), len(site.core.relay.engine)) == ({}, 0, 0)
    assert world.forgets_all()


def test_what_both_phones_say_is_told_and_each_hears_of_its_own_port(world, site):
    alice, _ = phones(world, site, answers_with=sdp("10.1.0.13", 6000))
    call = alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(2.0)
    assert named(call.responses[-1]) == (ENGINE, FIRST_PORT + 2)
    [(call_id, tags)] = site.engine.calls.items()
    assert tags == {"callee": [FIRST_PORT], "caller": [FIRST_PORT + 2]}
    assert site.engine.told[call_id, "callee"].media[0].port == 6000
    assert site.engine.told[call_id, "caller"].media[0].port == 4000


def test_a_call_waits_a_second_for_a_silent_engine_and_the_next_not_at_all(world, site):
    alice, carol = phones(world, site)
    site.engine.is_silent = True
    for waits_s in (1.0, 0.0):
        carol.received.clear()
        call = alice.invite("carol", TYPE, sdp("10.1.0.11"))
        world.run(waits_s + 0.1)
        [invite] = invites(carol)
        host, port = named(invite)
        assert host == "10.1.0.1"
        assert site.core.relay.has_port(port)
        world.run(2.0)
        assert call.is_up
    assert [note.event for note in site.notes] == ["media engine answers", "media engine does not answer"]
    site.engine.is_silent = False
    world.run(6.0)
    carol.received.clear()
    alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(0.1)
    assert named(invites(carol)[0])[0] == ENGINE


def test_what_the_engine_refuses_goes_through_the_peer(world, site):
    alice, carol = phones(world, site)
    site.engine.refusals = {"offer": "Ran out of ports"}
    call = alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(3.0)
    assert call.is_up
    assert named(invites(carol)[0])[0] == "10.1.0.1"
    assert site.notes[-1].facts["why"] == "error: Ran out of ports"


@pytest.mark.parametrize("is_silent", [True, False])
def test_nothing_stays_of_a_call_that_is_cancelled_while_the_engine_is_asked(world, site, is_silent):
    alice, carol = phones(world, site)
    call = alice.invite("carol", TYPE, sdp("10.1.0.11"))
    site.engine.is_silent = is_silent
    # The challenge, the INVITE again, who carol is and where; and the offer has just gone out.
    while not len(site.core.relay.engine):
        world.run(0.001)
    assert not carol.received
    alice.cancel(call)
    world.run(6.0)
    assert call.statuses[-1] == 487
    assert (site.engine.calls, len(site.core.relay), len(site.core.relay.engine)) == ({}, 0, 0)
    assert world.forgets_all()


def test_every_phone_that_rings_is_a_call_of_its_own_there(world, site):
    alice, _ = phones(world, site, answers_after_s=2.0)
    world.phone("carol", site, Address("10.1.0.14", 5060), answers_after_s=None).register()
    alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(1.5)
    assert len(site.engine.calls) == len(site.core.relay) == 2
    world.run(3.0)
    assert len(site.engine.calls) == len(site.core.relay) == 1
    assert sorted(ended.reason for ended in site.relayed) == ["Request Terminated"]


@pytest.mark.parametrize("body", [b"", sdp("10.1.0.11", media=CHAT), b"no description"])
def test_an_engine_is_not_asked_for_what_it_cannot_carry(world, site, body):
    alice, _ = phones(world, site)
    alice.invite("carol", TYPE if body else (), body)
    world.run(3.0)
    assert site.engine.commands() == []


def test_a_call_that_wants_its_voice_sent_to_the_engine_is_refused(world, site):
    alice, carol = phones(world, site, answers_after_s=None)
    alice.invite("carol", TYPE, sdp("10.1.0.11"))
    world.run(1.0)
    host, port = named(invites(carol)[0])
    again = carol.invite("alice", TYPE, sdp(host, port))
    world.run(1.0)
    assert again.statuses[-1] == 488
    assert "a port of this peer" in again.responses[-1].fields.first("reason")
    world.run(6.0)
    assert len(site.engine.calls) == 1
