"""Further UDP ports of this machine, each for as long as a survey needs it (p2psip.reload.paths.nat)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from p2psip.base.address import Address
from p2psip.net.sockets.addresses import host_towards
from p2psip.net.sockets.datagrams import DatagramSocket, bound_socket
from p2psip.net.sockets.tcp import REFUSALS
from p2psip.reload.paths.values import SpareArrived, SpareOpened


class SparePorts:
    """Those of one node, by their numbers. `tell` is called with what happens to them."""

    def __init__(self, tell: Callable[[SpareOpened | SpareArrived], None]) -> None:
        self._tell = tell
        self._sockets: dict[int, DatagramSocket] = {}

    def send(self, spare: int, remote: Address, data: bytes) -> None:
        """Send from a port, which is opened where it is not there yet; as well as it goes."""
        with contextlib.suppress(*REFUSALS):
            if (opened := self._sockets.get(spare)) is None:
                opened = self._sockets[spare] = self._open(spare, remote)
                self._tell(SpareOpened(spare, opened.local))
            opened.send(remote, data)

    def close(self, spare: int) -> None:
        """Give a port back; no matter if it is not open."""
        if (opened := self._sockets.pop(spare, None)) is not None:
            opened.close()

    def close_all(self) -> None:
        """Give all of them back."""
        for spare in list(self._sockets):
            self.close(spare)

    def _open(self, spare: int, remote: Address) -> DatagramSocket:
        with contextlib.ExitStack() as otherwise:
            sock = bound_socket(host_towards(remote), 0, None, otherwise)
            opened = DatagramSocket(sock, lambda _, remote, data: self._tell(SpareArrived(spare, remote, data)))
            otherwise.pop_all()
        return opened
