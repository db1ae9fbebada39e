"""What goes through a node of a lab, as the kernel shows it to AF_PACKET: from where to where, by UDP and TCP."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections import Counter
from types import TracebackType
from typing import Final, NamedTuple, Self

from netlab.lab import Lab

ETH_P_ALL: Final = 3
PACKET_HOST: Final = 0
"""Of a packet that came in; what goes on is seen once more, and not counted."""
SO_RCVBUFFORCE: Final = 33
BUFFER_BYTES: Final = 16 << 20
LONGEST: Final = 65_535
WAKES_S: Final = 0.2
UDP, TCP = 17, 6


class Carried(NamedTuple):
    """Packets from a host to a port of another."""

    protocol: int
    source: str
    destination: str
    port: int


class WireTap:
    """Counts, while it is entered, all that a node is given on any of its cables."""

    def __init__(self, lab: Lab, node: str) -> None:
        self.seen: Counter[Carried] = Counter()
        with lab.inside(node):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.settimeout(WAKES_S)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._socket.close()

    @property
    def destinations(self) -> frozenset[str]:
        """To which hosts something went."""
        return frozenset(each.destination for each in self.seen)

    @property
    def lost(self) -> int:
        """How many packets came faster than they were counted, since this was asked last."""
        _, drops = struct.unpack("II", self._socket.getsockopt(263, 6, 8))
        return int(drops)

    def _listen(self) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(TimeoutError):
                data, (_, _, kind, *_) = self._socket.recvfrom(LONGEST)
                carried = _read(data)
                if kind == PACKET_HOST and carried is not None:
                    self.seen[carried] += 1


def _read(data: bytes) -> Carried | None:
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20 and data[9] in (UDP, TCP):
        protocol, ends, payload = data[9], data[12:20], data[(data[0] & 15) * 4 :]
    elif version == 6 and len(data) >= 40 and data[6] in (UDP, TCP):
        protocol, ends, payload = data[6], data[8:40], data[40:]
    else:
        return None
    source, destination = (ipaddress.ip_address(ends[at : at + len(ends) // 2]) for at in (0, len(ends) // 2))
    return Carried(protocol, str(source), str(destination), int.from_bytes(payload[2:4], "big"))
