"""Commands by which machines and people come in."""

from __future__ import annotations

import ipaddress

from p2psip.base.errors import LocalMisuse


def settings_of(listen: str | None) -> dict[str, object]:
    """What `--listen` says of a peer's settings: one address for other peers and for phones. Raises LocalMisuse."""
    if listen is None:
        return {}
    try:
        host = ipaddress.ip_address(listen.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise LocalMisuse(f"--listen {listen!r} is not an IP address of this machine") from None
    if host.is_unspecified:
        raise LocalMisuse(f"--listen {listen}: every address is what there is without it")
    return {"listen": [str(host)], "phone_listen": [str(host)]}


def with_port(listen: str | None) -> tuple[str | None, int | None]:
    """The address in ADDRESS:PORT, and the port, as far as they were said. Raises LocalMisuse."""
    from p2psip.net.sockets.addresses import split_host_port

    if listen is None:
        return None, None
    host, port = split_host_port(listen, 0)
    return host, port or None
