"""Which router this machine has, looked at again and again: the machine may be carried elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from p2psip.net.routes import default_router
from p2psip.portmap.values import HomeRouter
from p2psip.reload.paths.values import RouterFound


class RouterWatch:
    """What has changed since the last look."""

    def __init__(self, look: Callable[[], HomeRouter | None] = default_router) -> None:
        self._look = look
        self._known: RouterFound | None = None

    def look(self) -> RouterFound | None:
        """The router, if it is another one than before, or none any more; where the kernel does not say, it stays."""
        try:
            found = RouterFound(self._look())
        except OSError:
            return None
        if found == self._known:
            return None
        self._known = found
        return found
