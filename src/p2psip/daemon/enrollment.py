"""The enrollment server as a process: `p2psip enrollment serve`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from p2psip.base.address import without_zone
from p2psip.base.errors import LocalMisuse
from p2psip.base.wallclock import WallClock
from p2psip.daemon.log.log import say
from p2psip.enrollment.asked.server_errands import ServerErrands
from p2psip.enrollment.protocol import AUTHORITY_PATH, ENROLL_PATH
from p2psip.enrollment.server import EnrollmentPolicy, EnrollmentServer
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.net.https.server import EnrollmentService, HttpsServer, server_context
from p2psip.net.sockets.addresses import join_host_port, own_address, split_host_port, words
from p2psip.net.sockets.interfaces import interface_addresses
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.authority import DAY_S, TrustAnchor

WELCOME = """\
Enrollment server of the overlay {overlay}.

To make a peer of a machine, with the code that `p2psip invite` prints for the administrator:
  p2psip join CODE

or with an account:
  p2psip peer init ./peer --config {url} --user USER --fingerprint FINGERPRINT

The code, or the fingerprint of the trust anchor, must come from the administrator, not from this page.
"""


CERTIFICATE_DAYS = 365
EVERYWHERE = ("", "::", "0.0.0.0")
RESOLVE_MAX_S = 3.0

log = structlog.get_logger("p2psip.enrollment")


class EnrollmentDaemon:
    """One overlay's server, from start to SIGTERM."""

    def __init__(self, directory: Path, listen: str | None, certificate_days: int = CERTIFICATE_DAYS) -> None:
        self._overlay = OverlayDirectory(directory)
        self._configuration = self._overlay.document().configuration
        self._host, self._port = _listen_address(listen, self._configuration)
        self._lifetime_s = certificate_days * DAY_S

    async def run(self) -> None:
        """Serve until a signal says stop."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await self.serve(stop, lambda url: say(f"ready {url}"))

    async def serve(self, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
        """Serve until `stop`; `ready` is told where, when requests are taken. Raises LocalMisuse if it cannot begin."""
        with _bind(self._host, self._port) as listener, self._overlay.serving():
            await self._serve(listener, stop, ready)

    async def _serve(self, listener: socket.socket, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
        url = f"https://{join_host_port(self._shown_host(), listener.getsockname()[1])}"
        rng, anchor = random.SystemRandom(), self._overlay.anchor()
        _check_clock(anchor)
        accounts = self._overlay.accounts()
        authority = None
        if anchor.is_delegated:
            anchor, authority = replace(anchor, url=url + AUTHORITY_PATH), anchor.der
        policy = policy_of(self._configuration, anchor, self._lifetime_s, is_offline=self._overlay.is_offline)
        core = EnrollmentServer(policy, rng, WallClock(time.time() - time.monotonic()))
        welcome = WELCOME.format(overlay=policy.overlay, url=url)
        service = EnrollmentService(
            core, ServerErrands(accounts, anchor, rng), self._overlay.document_path, welcome, authority
        )
        certificate = self._overlay.server_certificate(self._hosts(), rng, time.time())
        server = HttpsServer(service.app, server_context(certificate))
        await server.start([listener])
        await self._warn_if_elsewhere(url, listener.getsockname()[1])
        ready(url)
        await stop.wait()
        await server.stop()
        service.close()
        accounts.close()

    async def _warn_if_elsewhere(self, url: str, port: int) -> None:
        """Members know of this server what the configuration says, whatever its machine is called."""
        named = self._configuration.enrollment_servers
        own = _local_hosts() if self._host in EVERYWHERE else {self._host}
        places = await _places_of(named)
        if not places or is_reached(places, own, port):
            return
        where = "DIR of the overlay" if self._overlay.is_server_s else str(self._overlay.path)
        log.warning(
            "members look for the server elsewhere",
            configuration=", ".join(named),
            here=url,
            means="right where a forwarded port leads from there to here",
            else_run=f"p2psip overlay set {where} --sign enrollment-server={url}{ENROLL_PATH}",
        )

    def _shown_host(self) -> str:
        return own_address() if self._host in EVERYWHERE else self._host

    def _hosts(self) -> list[str]:
        """By what names and addresses the server may be reached; the certificate has them all."""
        named = [urlsplit(url).hostname for url in self._configuration.enrollment_servers]
        return [host for host in (*named, self._shown_host(), own_address(), "localhost", "127.0.0.1", "::1") if host]


def policy_of(
    configuration: OverlayConfiguration, anchor: TrustAnchor, lifetime_s: float, *, is_offline: bool = False
) -> EnrollmentPolicy:
    """What the server of this overlay grants."""
    return EnrollmentPolicy(
        configuration.instance_name,
        configuration.signature_algorithms,
        configuration.node_id_length,
        lifetime_s,
        anchor.certificate.not_valid_before_utc.timestamp(),
        is_offline,
    )


def is_reached(places: Collection[tuple[str, int]], own: Collection[str], port: int) -> bool:
    """True if one of the addresses and ports where members look is `port` at one of the `own` addresses."""
    return any(there == port and host in own for host, there in places)


async def _places_of(urls: Sequence[str]) -> set[tuple[str, int]]:
    """Where URLs lead, as far as this machine can tell in a moment."""
    loop, places = asyncio.get_running_loop(), set[tuple[str, int]]()
    for url in urls:
        host, port = urlsplit(url).hostname, urlsplit(url).port or 443
        with contextlib.suppress(OSError, TimeoutError, UnicodeError):
            async with asyncio.timeout(RESOLVE_MAX_S):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                places |= {(str(sockaddr[0]), port) for *_, sockaddr in found}
    return places


def _local_hosts() -> set[str]:
    return {without_zone(each.host) for each in interface_addresses()}


def _listen_address(listen: str | None, configuration: OverlayConfiguration) -> tuple[str, int]:
    """Where to listen: as told, or everywhere on the port that the configuration tells members."""
    servers = configuration.enrollment_servers
    port = (urlsplit(servers[0]).port or 443) if servers else 443
    everywhere = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
    return split_host_port(listen, port) if listen else (everywhere, port)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        dualstack = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=128, dualstack_ipv6=dualstack)
    except OSError as error:
        # A name that leads nowhere has no number of the system's.
        why = error.strerror if isinstance(error, socket.gaierror) else words(error)
        what = f"cannot listen on {join_host_port(host, port)}: {why}"
        raise LocalMisuse(f"{what}; --listen ADDRESS:PORT takes another one") from None


def _check_clock(anchor: TrustAnchor) -> None:
    begins = anchor.certificate.not_valid_before_utc
    if time.time() < begins.timestamp():
        raise LocalMisuse(f"the clock of this machine is before {begins:%Y-%m-%d}, when this overlay began: set it")
