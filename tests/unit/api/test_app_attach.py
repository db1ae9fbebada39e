"""Which stream an AppAttach of an application is given, as the node's effects come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from p2psip.api.client_session import ClientSession
from p2psip.base.address import Address
from p2psip.base.errors import RequestFailed
from p2psip.base.ids import NodeId
from p2psip.net.node_host import NodeHost
from p2psip.reload.node.application import ApplicationNode
from p2psip.reload.node.effects import AppLinkFailed, AppLinkUp
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.wire.header import Destination

THERE = NodeId(b"t" * 16)
HERE = Address("192.0.2.1", 6084)


class Recorder:
    """A node and its sockets: what the session asks of them, and no more than that."""

    def __init__(self) -> None:
        self.node = self
        self.asked: list[int] = []
        self.hung_up: list[int] = []

    def app_attach(self, route: Sequence[Destination], node: NodeId, now: float, application: int) -> None:
        self.asked.append(application)

    def hang_up(self, link: int, reason: str) -> None:
        self.hung_up.append(link)

    def name_of(self, node: NodeId) -> str:
        return "bob"

    def call(self, run: Callable[[float], object]) -> None:
        run(0.0)

    def stream(self, number: int) -> None:
        return None


def session() -> tuple[Recorder, ClientSession]:
    there = Recorder()
    made = ClientSession(cast("ApplicationNode", there), cast("CertifiedIdentity", None), lambda document: None)
    made.use_host(cast("NodeHost", there))
    return there, made


async def until_asked(there: Recorder, *applications: int) -> None:
    for _ in range(10):
        await asyncio.sleep(0)
    assert there.asked == list(applications)


@pytest.mark.parametrize("has_come", [False, True], ids=["the connection fails", "the connection comes"])
def test_what_nobody_waits_for_any_more_is_not_given_to_the_next(has_come: bool) -> None:
    """6.5.2: nothing in a connection says for which application it is, so the next AppAttach waits for its end."""

    async def exchange() -> None:
        there, here = session()
        route = [Destination.node(THERE)]
        first = asyncio.create_task(here.app_attach(route, 4711))
        await until_asked(there, 4711)
        first.cancel()
        second = asyncio.create_task(here.app_attach(route, 4712))
        await until_asked(there, 4711)
        if has_come:
            here.handle_effect(AppLinkUp(1, THERE, HERE, HERE, 4711))
            assert there.hung_up == [1]
        else:
            here.handle_effect(AppLinkFailed(THERE, RequestFailed("no")))
        await until_asked(there, 4711, 4712)
        here.handle_effect(AppLinkUp(3, THERE, HERE, HERE, 4712))
        assert (await second).application == 4712
        assert first.cancelled()

    asyncio.run(exchange())


def test_a_stream_that_came_as_its_application_gave_up_is_closed() -> None:
    async def exchange() -> None:
        there, here = session()
        task = asyncio.create_task(here.app_attach([Destination.node(THERE)], 4711))
        await until_asked(there, 4711)
        here.handle_effect(AppLinkUp(1, THERE, HERE, HERE, 4711))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert there.hung_up == [1]

    asyncio.run(exchange())
