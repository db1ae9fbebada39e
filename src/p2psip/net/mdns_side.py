"""DNS-SD over mDNS for peers of an overlay, by the zeroconf library (RFC 6762, RFC 6763): shown and sought.

p2psip.reload.node.connecting.coming_in.mdns_search says what is wanted. The library is loaded when that is anything. It
has sockets of its own, on every interface with the port 5353, beside whoever has it else (Avahi, systemd-resolved).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Set
from typing import TYPE_CHECKING, Final

from p2psip.base.address import Address, without_zone
from p2psip.base.ids import NodeId
from p2psip.net.sockets.interfaces import interface_addresses
from p2psip.reload.paths.values import FoundByMdns, MdnsPeer, MdnsWanted

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

SERVICE: Final = "_reload._tcp.local."
RESOLVE_MS: Final = 3000
TOLD_MAX: Final = 64
"""Peers of this overlay on the network that are looked at."""

EVERYWHERE: Final = {"0.0.0.0", "::"}


class MdnsSide:
    """One peer on its networks. What is wanted last is done, one thing after the other."""

    def __init__(self, tell: Callable[[FoundByMdns], None], listening: Set[Address]) -> None:
        """`listening` is where this node accepts links, now."""
        self._tell = tell
        self._listening = listening
        self._wanted: MdnsWanted | None = None
        self._hosts: tuple[str, ...] = ()
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._shown: AsyncServiceInfo | None = None
        self._there: dict[str, MdnsPeer] = {}
        self._resolving: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def use(self, wanted: MdnsWanted) -> None:
        """From now on so."""
        self._wanted = wanted
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def refresh(self) -> None:
        """This machine may have other addresses."""
        if self._task is not None and self._hosts != _hosts(self._listening):
            self._changed.set()

    def close(self) -> None:
        """Be there no more; that it is said, nobody waits for."""
        if self._task is not None:
            self._task.cancel()
        for task in self._resolving:
            task.cancel()
        if self._zeroconf is not None:
            self._zeroconf.zeroconf.close()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._follow()
            except OSError as error:
                # No interface that can do multicast, or no file descriptor: with other addresses it is tried again.
                self._tell(FoundByMdns((), f"mDNS cannot be used: {error.strerror or error}"))

    async def _follow(self) -> None:
        from zeroconf import IPVersion, NonUniqueNameException
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

        wanted, hosts = self._wanted, _hosts(self._listening)
        assert wanted is not None, "something is wanted"
        if hosts != self._hosts and self._zeroconf is not None:
            await self._stop()
        self._hosts = hosts
        if self._zeroconf is None:
            # What others send that it does not like is nothing for our log.
            logging.getLogger("zeroconf").setLevel(logging.ERROR)
            self._zeroconf = AsyncZeroconf(ip_version=IPVersion.All)
            self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, [SERVICE], handlers=[self._service])
        if self._shown is not None:
            await self._zeroconf.async_unregister_service(self._shown)
            self._shown = None
        if wanted.is_member and hosts:
            name = f"{wanted.mark}-{wanted.node}"
            shown = AsyncServiceInfo(
                SERVICE, f"{name}.{SERVICE}", wanted.port, server=f"{name}.local.", parsed_addresses=list(hosts)
            )
            # Whoever else has the same name has our Node-ID, or was this peer a moment ago.
            with contextlib.suppress(NonUniqueNameException):
                await self._zeroconf.async_register_service(shown, cooperating_responders=True)
                self._shown = shown

    async def _stop(self) -> None:
        if self._browser is not None:
            await self._browser.async_cancel()
        if self._zeroconf is not None:
            await self._zeroconf.async_close()
        self._browser = self._zeroconf = self._shown = None
        self._there.clear()

    def _service(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Somebody has come, changed, or gone. Of other overlays nothing is asked."""
        from zeroconf import ServiceStateChange

        mark, dash, node = name.removesuffix(f".{SERVICE}").partition("-")
        wanted = self._wanted
        if wanted is None or mark != wanted.mark or not dash or node == str(wanted.node):
            return
        if state_change is ServiceStateChange.Removed:
            if self._there.pop(name, None) is not None:
                self._tell_all()
        elif len(self._there) + len(self._resolving) < TOLD_MAX:
            task = asyncio.get_running_loop().create_task(self._resolve(zeroconf, name, node))
            self._resolving.add(task)
            task.add_done_callback(self._resolving.discard)

    async def _resolve(self, zeroconf: Zeroconf, name: str, node: str) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceInfo

        info = AsyncServiceInfo(SERVICE, name)
        try:
            node_id = NodeId(bytes.fromhex(node))
            if not await info.async_request(zeroconf, RESOLVE_MS) or not info.port:
                return
        except (ValueError, OSError):
            # Not one of ours, whatever it calls itself; or the network has gone.
            return
        addresses = _usable(info.parsed_scoped_addresses(IPVersion.All), info.port)
        peer = MdnsPeer(node_id, addresses)
        if addresses and self._there.get(name) != peer:
            self._there[name] = peer
            self._tell_all()

    def _tell_all(self) -> None:
        self._tell(FoundByMdns(tuple(self._there[name] for name in sorted(self._there))))


def _usable(hosts: Iterable[str], port: int) -> tuple[Address, ...]:
    """Without link-local ones of which nobody says on which link."""
    return tuple(
        dict.fromkeys(Address(host, port) for host in hosts if "%" in host or not host.lower().startswith("fe80:"))
    )


def _hosts(listening: Set[Address]) -> tuple[str, ...]:
    """By which addresses this node can be dialled on its networks."""
    hosts = {address.host for address in listening}
    everywhere = {4: "0.0.0.0" in hosts, 6: "::" in hosts}
    try:
        found = interface_addresses()
    except OSError:
        # No file descriptor is left to ask by.
        return ()
    lasting = (each for each in found if each.is_lasting and not each.address.is_loopback)
    return tuple(
        sorted({without_zone(each.host) for each in lasting if everywhere[each.address.version] or each.host in hosts})
    )
