"""The clients that lend a peer storage: what each has, which is chosen, within what bounds."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.data.lending.lenders import DISTRUST_S, PAUSE_MAX_S, PAUSE_S, Lenders
from p2psip.reload.node.limits import LENDERS_MAX, LENT_VALUES_MAX
from p2psip.reload.storage.outline import Outline, Outlined
from p2psip.reload.storage.store.records import Place, Record
from p2psip.reload.wire.rejections import DataTooLarge, Forbidden

NODES = [NodeId(number.to_bytes(16, "big")) for number in range(1, 2 * LENDERS_MAX)]
ONE, TWO, *_ = NODES
KIND = 7
UNTIL = 600.0


def outline(number: int, values: int = 1, size: int = 100) -> Outline:
    """So many values of so many bytes each, at a resource."""
    resource = ResourceId(number.to_bytes(16, "big"))
    places = [Place(resource, KIND, key.to_bytes(4, "big")) for key in range(values)]
    records = [Record(place, b"", "bob", ONE, b"", 0.0, 1e9) for place in places]
    outlined = {record.place.key: Outlined(record, record.place.key, size) for record in records}
    return Outline(resource, KIND, 1, outlined)


def lenders(size_max: int = 10_000, **rooms: int) -> Lenders:
    """Two clients that are linked with us, with room for 1000 bytes each unless said."""
    made = Lenders(NODES, size_max)
    for node, name in ((ONE, "one"), (TWO, "two")):
        assert made.lends(node, rooms.get(name, 1000), UNTIL, 0.0)
    return made


def keep(made: Lenders, node: NodeId, kept: Outline) -> None:
    lender = made.get(node)
    assert lender is not None
    lender.keep((kept.resource, kept.kind), kept.values)


def test_the_one_with_the_most_room_is_chosen() -> None:
    made = lenders()
    keep(made, ONE, outline(1))
    assert made.roomiest(0.0) == TWO
    keep(made, TWO, outline(2, values=3))
    assert made.roomiest(0.0) == ONE
    assert made.keeper_of((outline(2).resource, KIND)) == TWO


def test_values_fit_where_there_is_room_for_all_of_them() -> None:
    made = lenders(two=350)
    assert made.fits(ONE, outline(1, values=10))
    assert not made.fits(ONE, outline(1, values=11))
    assert not made.fits(TWO, outline(1, values=4))
    keep(made, ONE, outline(1, values=8))
    assert made.fits(ONE, outline(1, values=10)), "eight of them are there"
    assert not made.fits(ONE, outline(2, values=3))


def test_all_together_have_no_more_than_the_peer_wants() -> None:
    made = lenders(size_max=500)
    keep(made, ONE, outline(1, values=4))
    assert made.fits(TWO, outline(2, values=1))
    assert not made.fits(TWO, outline(2, values=2))


def test_nor_more_values_than_it_can_remember() -> None:
    made = lenders(size_max=1 << 40, one=1 << 40, two=1 << 40)
    keep(made, ONE, outline(1, values=LENT_VALUES_MAX - 1, size=1))
    assert made.fits(TWO, outline(2, values=1, size=1))
    assert not made.fits(TWO, outline(2, values=2, size=1))


def test_what_is_dropped_counts_no_longer() -> None:
    made = lenders()
    keep(made, ONE, outline(1, values=4))
    keep(made, ONE, outline(1, values=4))
    lender = made.get(ONE)
    assert lender is not None
    assert (lender.count, lender.size) == (4, 400)
    made.drop((outline(1).resource, KIND))
    assert (lender.count, lender.size, made.locations) == (0, 0, [])


def test_who_has_all_that_is_asked_for_is_asked() -> None:
    made = lenders()
    kept = outline(1, values=2)
    keep(made, TWO, kept)
    values = list(kept.values.values())
    location = kept.resource, kept.kind
    assert made.who_has({location: values}, 0.0) == TWO
    assert made.who_has({location: values[:1]}, 0.0) == TWO
    assert made.who_has({location: list(outline(1, values=3).values.values())}, 0.0) is None
    assert made.who_has({location: [Outlined(values[0].record, b"another", 100)]}, 0.0) is None
    assert made.who_has({location: values}, UNTIL) is None, "its lease is over"


def test_who_did_not_serve_is_left_alone_for_longer_each_time() -> None:
    made = lenders()
    lender = made.get(ONE)
    assert lender is not None
    now, paused = 0.0, []
    lender.until = 1e9
    for _ in range(9):
        lender.leave_alone(now)
        lender.leave_alone(now)
        assert not made.may_ask(ONE, lender.asked_from - 1.0)
        paused.append(lender.asked_from - now)
        now = lender.asked_from
        assert made.may_ask(ONE, now)
    assert paused[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
    assert paused[-1] == PAUSE_MAX_S
    lender.has_served()
    lender.leave_alone(now)
    assert lender.asked_from == now + PAUSE_S


def test_who_is_not_linked_with_us_is_not_asked() -> None:
    made = Lenders([TWO], 1000)
    made.lends(ONE, 1000, UNTIL, 0.0)
    assert made.roomiest(0.0) is None


def test_only_so_many_lend() -> None:
    made = Lenders(NODES, 1000)
    for node in NODES[:LENDERS_MAX]:
        assert made.lends(node, 1000, UNTIL, 0.0)
    assert not made.lends(ONE, 500, UNTIL, 0.0), "it did already"
    with pytest.raises(DataTooLarge):
        made.lends(NODES[-1], 1000, UNTIL, 0.0)


def test_who_is_not_trusted_lends_nothing_for_an_hour() -> None:
    made = lenders()
    made.distrust(ONE, 0.0)
    assert made.remove(ONE)
    assert not made.remove(ONE)
    with pytest.raises(Forbidden):
        made.lends(ONE, 1000, UNTIL, DISTRUST_S - 1.0)
    assert made.lends(ONE, 1000, UNTIL, DISTRUST_S)


def test_outlines_are_kept_of_what_somebody_has() -> None:
    made = lenders()
    for node, number in ((ONE, 1), (TWO, 2)):
        keep(made, node, outline(number))
        made.outlines[outline(number).resource, KIND] = outline(number)
    made.remove(ONE)
    assert list(made.outlines) == [(outline(2).resource, KIND)]
