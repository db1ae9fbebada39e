"""Calls whose SIP goes inside overlay messages (docs/decisions/tunnel.md), where two peers have no path."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Effect, Note
from p2psip.base.ids import NodeId
from p2psip.coupling.call_paths import (
    NO_AUDIO,
    CallFlowUp,
    CallLinkOver,
    CallPaths,
    FrameHeard,
    PathWanted,
    WriteRecord,
)
from p2psip.coupling.peer_flows import TRY_AGAIN_S
from p2psip.media.relay.multiplex import RTP
from p2psip.reload.node.effects import AppLinkUp
from p2psip.reload.node.tunnelling.tunnel_commands import FIRST_TUNNEL, is_tunnel
from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatBehaviour
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sim.sites.making import identity_of
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.sip_records import GREETED


def apart(seed: str, **settings: object) -> SimulatedPeers:
    """Two public peers, and two sites that are clients of them and that nobody can dial."""
    world = SimulatedPeers(seed, 2, **settings)
    for number in (2, 3):
        world.add(number, is_client=True, is_reachable=False)
    assert world.run(60.0, stop=lambda: all(world[n].peer.node.is_connected for n in (2, 3)))
    world.run(20.0)
    return world


def call(world: SimulatedPeers, caller: SitePhone, target: str) -> tuple[str, float]:
    """Dial, and wait for the end or the answer: "talks", or why not, and after how long."""
    began = world.world.now
    number = caller.dial(target)
    world.run(40.0, stop=lambda: caller.ended(number) is not None or caller.talks)
    return caller.ended(number) or "talks", world.world.now - began


def test_a_call_between_two_sites_that_nobody_can_dial() -> None:
    """After one second, in which AppAttach comes to nothing; the next call goes at once, and BYE goes as well."""
    world = apart("apart", sip_tunnel=True)
    alice, bob, anna = world.with_phones((2, "alice"), (3, "bob"), (2, "anna"))
    what, after_s = call(world, alice, "bob")
    assert (what, bob.talks) == ("talks", True)
    assert 1.0 < after_s < 2.5
    assert all(map(is_tunnel, world[2].peer.flows.calls._by_link))
    bob.hang_up(1)
    world.run(2.0)
    assert not alice.talks
    what, after_s = call(world, anna, "bob")
    assert what == "talks"
    assert after_s < 1.0
    # What AppAttach came to is no reason to end the tunnel.
    world.run(40.0)
    assert world[2].peer.flows.calls.is_tunnelled(world[3].peer.node.node_id)


def test_without_permission_such_a_call_fails_and_says_why() -> None:
    world = apart("not permitted")
    alice, _ = world.with_phones((2, "alice"), (3, "bob"))
    what, _ = call(world, alice, "bob")
    assert what.startswith("480 Temporarily Unavailable; ")


def test_where_there_is_a_path_nobody_opens_a_tunnel() -> None:
    world = SimulatedPeers("path", 2, sip_tunnel=True)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    assert call(world, alice, "bob")[0] == "talks"
    world.run(5.0)
    assert bob.talks
    assert len(world[0].peer.flows.calls) == 0


def seed_with_order(what: str) -> str:
    """A seed with which sites 2 and 4 are not side by side in the ring of 1 to 4: a peer that cannot be linked with its
    neighbour is no member.
    """
    for number in range(1000):
        seed = f"{what} {number}"
        ring = sorted(range(1, 5), key=lambda site: identity_of(seed, f"s{site}").node_id)
        if (ring.index(2) - ring.index(4)) % 2 == 0:
            return seed
    raise AssertionError("one in three has it")


@pytest.mark.long
@pytest.mark.parametrize("kind", [PORT_RESTRICTED, SYMMETRIC], ids=["port-restricted", "symmetric"])
def test_with_no_public_peer_left(kind: NatBehaviour) -> None:
    """Two sites behind NATs that no punch joins, two more behind NATs that both reach, and the public peer by which all
    came in, which loses its power for good.
    """
    world = InternetSites(seed_with_order("none left"), no_ice=False, overlay_link_protocols=("DTLS",), sip_tunnel=True)
    gone = world.add_public(0)
    others = []
    for number, behaviour in enumerate((FULL_CONE, SYMMETRIC, FULL_CONE, kind), start=1):
        world.run(3.0)
        others.append(world.add_behind_nat(number, behaviour, forwards=False))
    _, hill, _, valley = others
    world.line(hill, "alice")
    world.line(valley, "bob")
    world.settle(60.0)
    world.run(30.0)
    world.cut_power(gone)
    world.run(90.0)
    assert not hill.peer.node.is_linked(valley.peer.node.node_id)
    alice, bob = world.phone(hill, "alice"), world.phone(valley, "bob")
    said = overheard(hill)
    alice.dial("bob")
    assert world.run(20.0, stop=lambda: alice.talks and bob.talks)
    assert hill.peer.flows.calls.is_tunnelled(valley.peer.node.node_id)
    assert hill.peer.flows.calls.tunnelled == (valley.peer.node.node_id,)
    # Whoever looks is told the same: the caller, who reads the log, who asks for the status, who reads of the call.
    world.run(20.0)
    alice.hang_up(1)
    world.run(2.0)
    lacks = hill.peer.flows.calls.lacks(valley.peer.node.node_id)
    assert lacks.startswith(f"{NO_AUDIO}: no connection to ")
    assert lacks.endswith("no pair of addresses works; no relay lends this peer an address")
    answers = [each.data for each in said if isinstance(each, SendUdp) and each.data.startswith(b"SIP/2.0 200")]
    assert any(f'Warning: 399 peer "{NO_AUDIO}: '.encode() in each for each in answers)
    (note,) = [each for each in said if isinstance(each, Note) and each.event == "media not carried"]
    assert str(note.facts["why"]).startswith(NO_AUDIO)
    assert [each.facts["means"] for each in said if isinstance(each, Note) and each.event == "a tunnel to a peer"][
        -1
    ] == lacks


def overheard(site: InternetSite) -> list[Effect]:
    """All that the peer of a site wants done from now on."""
    said: list[Effect] = []
    drain = site.peer.drain

    def drained() -> list[Effect]:
        effects = drain()
        said.extend(effects)
        return effects

    site.peer.drain = drained  # type: ignore[method-assign]
    return said


PEER = NodeId(bytes([7] * 16))
AT = Address("192.0.2.7", 5062)
TUNNEL, LINK = FIRST_TUNNEL, 8


def came_up(paths: CallPaths, link: int) -> None:
    """A tunnel or a link to the other peer, which takes fragments."""
    paths.up(AppLinkUp(link, PEER, AT, AT, 5060, 1200), 0.0)
    paths.heard(link, GREETED, 0.0)


def written(paths: CallPaths) -> list[int]:
    """Over which links something went."""
    return [effect.link for effect in paths.drain() if isinstance(effect, WriteRecord)]


@pytest.mark.parametrize("order", [(TUNNEL, LINK), (LINK, TUNNEL)])
def test_a_path_goes_before_a_tunnel_whichever_came_first(order: tuple[int, int]) -> None:
    """The flow stays the same; who comes second to a tunnel ends it."""
    paths = CallPaths()
    came_up(paths, order[0])
    flow = paths.flow_to(PEER)
    paths.drain()
    came_up(paths, order[1])
    over = [effect.link for effect in paths.drain() if isinstance(effect, CallLinkOver)]
    assert over == ([TUNNEL] if order[0] == TUNNEL else [])
    assert paths.flow_to(PEER) == flow
    assert flow is not None
    paths.send(flow, b"OPTIONS sip:bob@sim.example SIP/2.0\r\n\r\n", 1.0)
    assert written(paths) == [LINK]
    assert not paths.is_tunnelled(PEER)


def lacks(paths: CallPaths) -> list[str]:
    """What the SIP server was told that does not go there."""
    return [effect.lacks for effect in paths.drain() if isinstance(effect, CallFlowUp)]


def test_why_there_is_no_audio_is_told_as_soon_as_it_is_known() -> None:
    """And that it is over, when there is a path."""
    paths = CallPaths()
    paths.no_path(PEER, "no pair works")
    assert paths.lacks(PEER) == ""
    came_up(paths, TUNNEL)
    assert lacks(paths) == [f"{NO_AUDIO}: none has been found yet"]
    for _ in range(2):
        paths.no_path(PEER, "no pair works")
    assert lacks(paths) == [f"{NO_AUDIO}: no pair works"], "once"
    came_up(paths, LINK)
    assert lacks(paths) == [""]
    paths.no_path(PEER, "something else")
    assert (lacks(paths), paths.lacks(PEER)) == ([], "")
    came_up(paths, TUNNEL)
    assert lacks(paths) == [""], "there is a path as well"
    paths.down(LINK, "gone", 1.0)
    assert lacks(paths) == [f"{NO_AUDIO}: something else"]
    paths = CallPaths()
    paths.up(AppLinkUp(TUNNEL, PEER, AT, AT, 5060, 1200), 0.0, "it was refused")
    assert lacks(paths) == [f"{NO_AUDIO}: it was refused"]


def test_no_frame_of_media_goes_through_a_tunnel_or_comes_out_of_one() -> None:
    paths = CallPaths()
    came_up(paths, TUNNEL)
    paths.drain()
    assert paths.link_for_frame(PEER, 1.0) is None
    paths.send_frame(PEER, bytes([RTP, 0]) + b"voice", 1.0)
    assert paths.drain() == [PathWanted(PEER)]
    assert paths.heard(TUNNEL, bytes([RTP, 0]) + b"voice", 1.0) is None
    came_up(paths, LINK)
    assert paths.link_for_frame(PEER, 1.0) == LINK
    assert isinstance(paths.heard(LINK, bytes([RTP, 0]) + b"voice", 1.0), FrameHeard)


def test_a_tunnel_that_is_refused_is_one_reason_among_those_that_are_told() -> None:
    """The other peer permits none, by an older configuration of its own; AppAttach has its time all the same."""
    world = apart("refused", sip_tunnel=True)
    alice, _ = world.with_phones((2, "alice"), (3, "bob"))
    far = world[3].peer.node
    far._exchange.configuration = replace(far._exchange.configuration, sip_tunnel=False)
    alice.dial("bob")
    world.run(5.0)
    attempt = world[2].peer.flows._attaching[far.node_id]
    (reason,) = attempt.reasons
    assert reason.endswith("Error_Forbidden: the configuration of this overlay permits none")
    assert attempt.is_open
    assert not alice.talks
    assert world.run(30.0, stop=lambda: alice.ended(1) is not None)


def test_a_path_is_looked_for_again_while_there_is_a_tunnel_alone() -> None:
    world = apart("again", sip_tunnel=True)
    alice, _, anna = world.with_phones((2, "alice"), (3, "bob"), (2, "anna"))
    assert call(world, alice, "bob")[0] == "talks"
    flows, there = world[2].peer.flows, world[3].peer.node.node_id
    assert world.run(60.0, stop=lambda: there not in flows._attaching), "what has begun with the call is over"
    world.run(TRY_AGAIN_S)
    assert call(world, anna, "bob")[0] == "talks"
    assert there in flows._attaching
