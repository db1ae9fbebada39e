"""A bootstrap server as a process: its log, its signals (p2psip.net.bootstrap_server)."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import signal
from collections.abc import Sequence

import structlog

from p2psip.base.address import Address, without_zone
from p2psip.base.errors import LocalMisuse
from p2psip.net.bootstrap_server import BootstrapServer
from p2psip.net.sockets.addresses import LOOPBACKS, machine_hosts
from p2psip.reload.paths.introduction import Introductions

log = structlog.get_logger()


async def serve_bootstrap(local: Address, peers: Sequence[Address]) -> None:
    """Until SIGTERM or SIGINT. Raises LocalMisuse if the address cannot be had, or is one of the peers'."""
    is_everywhere = ipaddress.ip_address(without_zone(local.host)).is_unspecified
    hosts = {local.host, *((*machine_hosts(), *LOOPBACKS.values()) if is_everywhere else ())}
    if any(peer.port == local.port and peer.host in hosts for peer in peers):
        raise LocalMisuse(f"{local} is where this server listens: name the peers, not the server itself")
    is_told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, is_told.set)
    server = BootstrapServer(Introductions(peers, random.SystemRandom()), lambda event, facts: log.info(event, **facts))
    print(f"ready {await server.listen(local)}", flush=True)
    try:
        await is_told.wait()
    finally:
        await server.close()
