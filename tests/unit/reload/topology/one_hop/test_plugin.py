"""A client of a one-hop overlay (p2psip.reload.topology.one_hop.plugin)."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest

from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.topology.actions import Connect
from p2psip.reload.topology.client_topology import HOME, PEERS_WANTED, ClientTopology
from p2psip.reload.topology.one_hop.circle import distance
from p2psip.reload.topology.one_hop.members import Members
from p2psip.reload.topology.one_hop.messages import NAMES_MAX, OneHopUpdate, UpdateType
from p2psip.reload.topology.one_hop.plugin import PLUGIN
from p2psip.reload.wire.contents import MessageCode


@pytest.mark.parametrize("seed", range(5))
def test_of_many_pages_a_client_keeps_the_one_that_it_is_on(seed: int) -> None:
    """It is linked with the nearest, however many others its peer names."""
    rng = random.Random(seed)
    own, *others = [NodeId(rng.randbytes(16)) for _ in range(1 + 3 * NAMES_MAX)]
    nearest = sorted(others, key=lambda node: distance(own, node))
    home = nearest[0]
    client = PLUGIN.topology(own, OverlayConfiguration("club.example"), rng, 0.0, is_client=True, queue=TimerQueue())
    assert isinstance(client, ClientTopology)
    client.start_joining(0.0)
    client.handle_linked(others[-1], 0.1, is_gateway=True)
    client.handle_gateway(others[-1], 0.1)
    client.handle_answered(HOME, home, 0.2)
    client.handle_linked(home, 0.3)
    client.drain(0.3)
    for page, following in Members(home, others).pages(NAMES_MAX, own):
        update = OneHopUpdate(1, b"", UpdateType.PAGE, members=tuple(page), next=(following,))
        client.handle(_request(home, update), 0.4)
    assert client._named[home]
    wanted = [action.target for action in client.drain(0.4) if isinstance(action, Connect)]
    assert wanted == nearest[1:PEERS_WANTED]
    assert set(nearest[:10]) <= set(client._named[home])


def _request(sender: NodeId, body: OneHopUpdate) -> Any:
    return SimpleNamespace(signer=SimpleNamespace(node_id=sender), code=MessageCode.UPDATE_REQ, body=body)
