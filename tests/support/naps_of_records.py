"""The cores that see to records and that are woken an hour late, each with something pending
(test_sim_late_timers.py).
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sleeping import HOUR_S, jump

from p2psip.reload.config.configuration import SIP_REGISTRATION_KIND
from p2psip.reload.node.data.lending.placing import LENT_SIZE_MIN
from p2psip.reload.storage.storage import Storage
from p2psip.reload.wire.rejections import DataTooOld
from p2psip.sim.registrations import fetch, fill, grow, missing, wait_until
from p2psip.sim.sites.site_peers import SimulatedPeers


def nap_of_lent_storage() -> None:
    """A client lends its peer room, and is asked for what it wants itself; something else is still to be placed."""
    overlay = grow("late lending", 1, required_kinds=(replace(SIP_REGISTRATION_KIND, max_size=LENT_SIZE_MIN + 1),))
    (peer,) = overlay.alive()
    client = overlay.add_client(0, lend_bytes=1 << 20)
    node, lends = overlay.node(peer), overlay.node(client)
    wait_until(overlay, 60.0, lambda: lends.lending.borrower is not None)
    (record,) = fill(overlay, 1)
    wait_until(overlay, 60.0, lambda: lends.lending.count == 1)
    fill(overlay, 1, first=1)
    asked, borrowing = fetch(overlay, client, record.resource), node._borrowing
    assert overlay.world.run_for(1.0, stop=lambda: len(borrowing._reads) == len(borrowing._placing.timers) == 1)
    jump(overlay.world.clock, HOUR_S, random.Random(1))
    for host in (client, peer):
        overlay.world.call(host, overlay.node(host).handle_timeout)
    overlay.wait_done(client, asked)
    wait_until(overlay, 60.0, lambda: bool(node.lenders(overlay.world.now)))
    records = fill(overlay, 2, first=2)
    wait_until(overlay, 60.0, lambda: lends.lending.count == 2)
    assert missing(overlay, records) == []


def _refuse(*_: object, **__: object) -> None:
    raise DataTooOld("it is not to be")


def nap_of_a_removal() -> None:
    """Nobody takes the removal of a line's record, which has died by itself an hour later."""
    world = SimulatedPeers("late removal", 2)
    world.line(1, "bob")
    world.settle_records([1])
    site = world[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storage, "store", _refuse)
        site.call(lambda now: site.peer.remove_line("bob", now))
        world.run(5.0)
    assert site.peer.publisher.leaving
    jump(world.world.clock, HOUR_S, random.Random(1))
    site.call(site.handle_timeout)
    assert world.run(60.0, stop=lambda: not site.peer.publisher.leaving)
