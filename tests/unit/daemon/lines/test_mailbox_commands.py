"""What `p2psip voicemail` is told by a running peer, which here runs in virtual time."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from mailbox_calls import club, leave, open_mailbox

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.coupling.peer_news import MailboxAnswered
from p2psip.daemon.lines.mailbox_commands import mailbox_command
from p2psip.sim.sites.site import Site
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.mailbox.mailbox_questions import NotKept


def ask(site: Site, **asked: object) -> Any:
    """What the command is answered."""

    async def wait(begin: Callable[[object, float], None], what: str) -> MailboxAnswered:
        context = object()
        site.call(lambda now: begin(context, now))

        def answers() -> list[MailboxAnswered]:
            return [e for e in site.host.events if isinstance(e, MailboxAnswered) and e.context is context]

        assert site.world.run_for(60.0, stop=lambda: bool(answers())), what
        return answers()[0]

    return asyncio.run(mailbox_command(site.peer, asked, wait))


@pytest.fixture(scope="module")
def world() -> SimulatedPeers:
    """bob at p1 has two messages of alice at p0."""
    world = club("commands", 3)
    alice, bob = world.with_phones((0, "alice"), (1, "bob"))
    open_mailbox(world, bob)
    bob.unplug()
    for _ in range(2):
        leave(world, alice, "bob", seconds=1.5)
    return world


def test_they_are_listed_downloaded_and_deleted(world: SimulatedPeers) -> None:
    listed = ask(world[1], user="bob")
    assert (listed["user"], listed["takes_messages"]) == ("bob@sim.example", True)
    first, second = listed["messages"]
    assert (first["from"], first["seconds"], first["new"]) == ("alice", 1.5, True)
    got = ask(world[1], user="bob@sim.example", get=first["id"][-8:])
    wav = base64.b64decode(got["wav"])
    assert (wav[:4], len(wav)) == (b"RIFF", 58 + 12_000)
    world.run(5.0)
    assert [each["new"] for each in ask(world[1], user="bob")["messages"]] == [True, False]
    deleted = ask(world[1], user="bob", delete=second["id"])
    assert deleted["deleted"]["id"] == second["id"]
    assert [each["id"] for each in ask(world[1], user="bob")["messages"]] == [first["id"]]


@pytest.mark.parametrize("which", ["", "zz", 77])
def test_what_is_none_of_them_is_told_so(world: SimulatedPeers, which: object) -> None:
    with pytest.raises(LocalMisuse, match="is none of the messages that wait, or several"):
        ask(world[1], user="bob", get=which)


def test_who_has_no_line_here_is_asked_for_elsewhere(world: SimulatedPeers) -> None:
    with pytest.raises(LocalMisuse, match=r"^alice@sim[.]example has no line here"):
        ask(world[1], user="alice")
    assert ask(world[0], user="alice") == {"user": "alice@sim.example", "takes_messages": False, "messages": []}


def test_an_overlay_without_mailboxes_is_told_how_to_have_some() -> None:
    bare = SimulatedPeers("bare", 1)
    bare.line(0, "alice")
    with pytest.raises(LocalMisuse, match="p2psip overlay set DIR kind\\+=0xF0D10003"):
        ask(bare[0], user="alice")


def test_what_the_overlay_says_is_passed_on(world: SimulatedPeers) -> None:
    async def wait(begin: Callable[[object, float], None], what: str) -> MailboxAnswered:
        return MailboxAnswered(None, NotKept("nobody answers"))

    with pytest.raises(RequestFailed, match="nobody answers"):
        asyncio.run(mailbox_command(world[1].peer, {"user": "bob"}, wait))
