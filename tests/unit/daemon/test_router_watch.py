"""p2psip.daemon.router_watch: a router is told of once, and again when it is another one."""

from __future__ import annotations

from p2psip.daemon.router_watch import RouterWatch
from p2psip.portmap.values import HomeRouter
from p2psip.reload.paths.values import RouterFound

HOME, CAFE = HomeRouter("192.168.7.1", "192.168.7.2"), HomeRouter("10.0.0.1", "10.0.0.9")


def test_changes_are_told_and_nothing_else() -> None:
    looks: list[HomeRouter | OSError | None] = [HOME, HOME, OSError("no descriptor"), HOME, CAFE, None, None, HOME]

    def look() -> HomeRouter | None:
        found = looks.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    watch = RouterWatch(look)
    told = [watch.look() for _ in range(8)]
    assert told == [
        RouterFound(HOME),
        None,
        None,
        None,
        RouterFound(CAFE),
        RouterFound(None),
        None,
        RouterFound(HOME),
    ]
