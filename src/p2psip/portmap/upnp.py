"""UPnP's Internet Gateway Device, as much of it as maps a port: where it is, one description, three actions.

UPnP Device Architecture 1.1, sections 1.3 (search), 2 (description) and 3 (control); WANIPConnection:2 section 2.5. The
search goes to the router alone, and so does everything that it says to go elsewhere, or nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from lxml import etree

from p2psip.base.address import Address
from p2psip.portmap.values import HomeRouter, Outgoing, RouterAnswer, WantedPort

SEARCH_PORT: Final = 1900
SEARCH_WAITS_S: Final = (1.0, 1.0, 2.0)
STREAM_WAITS_S: Final = (8.0,)
"""How long a small computer may take to answer an action."""

DEVICE: Final = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
"""Version 2 answers to that as well (1.3.2: "a device [...] MUST respond to any search target that is supported")."""

SERVICES: Final = tuple(
    f"urn:schemas-upnp-org:service:WAN{each}" for each in ("IPConnection:2", "IPConnection:1", "PPPConnection:1")
)
LEASE_S: Final = 3600
RENEWED_S: Final = 600
"""As there is no epoch that betrays a restart, ports are asked for again as if they were given for no longer."""

CONFLICT, ONLY_PERMANENT = 718, 725
CONFLICTS_MAX: Final = 4
ELSEWHERE: Final = "its UPnP leads to another machine"
REFUSALS: Final = {
    401: "it does not know what is asked of it by UPnP",
    501: "it fails to do so",
    606: "it does not allow that: UPnP is switched off in its settings, or for this machine",
    718: "others have the port, and the next ones",
    724: "it maps no port to another one",
    728: "it has no room for more ports",
    729: "another kind of forwarding is in the way",
}

_ENVELOPE: Final = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">\
<s:Body><u:{action} xmlns:u="{service}">{arguments}</u:{action}></s:Body></s:Envelope>
"""
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LOCATION: Final = re.compile(rb"^location:\s*(\S+)\s*$", re.IGNORECASE | re.MULTILINE)
_CHUNKED: Final = re.compile(rb"^transfer-encoding:.*\bchunked\b", re.IGNORECASE | re.MULTILINE)


class _Control(NamedTuple):
    """Where actions go, and to which service."""

    url: str
    service: str


class Upnp:
    """See above. It remembers where the router told it to go, and what it was asked last."""

    name: str = "UPnP"
    answers_from: int | None = None
    is_greeted: bool = True

    def __init__(self, router: HomeRouter) -> None:
        self._router = router
        self._location = ""
        self._control: _Control | None = None
        self._wish: WantedPort | None = None
        self._lease_s = LEASE_S
        self._conflicts = 0
        self._outside: dict[WantedPort, int] = {}
        """The outside port of each that was asked for."""

    def ask(self, wish: WantedPort, lifetime_s: int, outside: Address) -> Outgoing:
        """AddPortMapping, or DeletePortMapping."""
        self._wish, self._conflicts = wish, 0
        if not lifetime_s:
            mapped = {
                "NewRemoteHost": "",
                "NewExternalPort": self._outside.get(wish, wish.port),
                "NewProtocol": wish.kind.name,
            }
            return self._action("DeletePortMapping", mapped)
        self._outside[wish] = outside.port
        return self._add(wish)

    def greet(self) -> Outgoing:
        """Look for the router's description, or ask for its outside address."""
        self._wish = None
        if self._control is not None:
            return self._action("GetExternalIPAddress", {})
        host = f"{self._router.host}:{SEARCH_PORT}"
        search = f'M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {DEVICE}\r\n\r\n'
        return Outgoing(SEARCH_PORT, search.encode(), SEARCH_WAITS_S)

    def read(self, data: bytes) -> RouterAnswer | Outgoing | None:
        """What the router says, or what to ask next; None for what is no answer of HTTP."""
        if (status := _STATUS.match(data)) is None:
            return None
        if not self._location:
            return self._found(data)
        is_good, body = status[1] == b"200", _body(data)
        if self._control is None:
            return self._described(body)
        return self._done(body) if is_good else self._failed(body)

    def _found(self, data: bytes) -> RouterAnswer | Outgoing | None:
        if (location := _LOCATION.search(data)) is None:
            return None
        url = _own(location[1].decode("latin-1"), self._router)
        if url is None:
            return RouterAnswer(None, None, refusal=ELSEWHERE)
        self._location = url
        return self._request("GET", url, {}, b"")

    def _described(self, body: bytes) -> RouterAnswer | Outgoing:
        services = {_text(each, "serviceType"): _text(each, "controlURL") for each in _named(body, "service")}
        service = next((each for each in SERVICES if each in services), None)
        if service is None:
            return RouterAnswer(None, None, refusal="its UPnP maps no ports")
        url = _own(services[service], self._router, self._location)
        if url is None:
            return RouterAnswer(None, None, refusal=ELSEWHERE)
        self._control = _Control(url, service)
        return self.greet()

    def _done(self, body: bytes) -> RouterAnswer:
        if self._wish is None:
            found = next((each.text for each in _named(body, "NewExternalIPAddress")), "")
            return RouterAnswer(None, None, Address((found or "").strip(), 0))
        return RouterAnswer(self._wish, None, Address("", self._outside.get(self._wish, 0)), RENEWED_S)

    def _failed(self, body: bytes) -> RouterAnswer | Outgoing:
        codes = [each.text or "" for each in _named(body, "errorCode")]
        code = int(codes[0]) if codes and re.fullmatch("[0-9]{1,5}", codes[0]) else 0
        wish = self._wish
        if wish is not None and code == ONLY_PERMANENT and self._lease_s:
            self._lease_s = 0
            return self._add(wish)
        if wish is not None and code == CONFLICT and self._conflicts < CONFLICTS_MAX and self._outside[wish] < 65535:
            self._conflicts += 1
            self._outside[wish] += 1
            return self._add(wish)
        return RouterAnswer(wish, None, refusal=REFUSALS.get(code, f"error {code}"))

    def _add(self, wish: WantedPort) -> Outgoing:
        return self._action(
            "AddPortMapping",
            {
                "NewRemoteHost": "",
                "NewExternalPort": self._outside[wish],
                "NewProtocol": wish.kind.name,
                "NewInternalPort": wish.port,
                "NewInternalClient": self._router.local,
                "NewEnabled": 1,
                "NewPortMappingDescription": "p2psip",
                "NewLeaseDuration": self._lease_s,
            },
        )

    def _action(self, action: str, arguments: Mapping[str, object]) -> Outgoing:
        assert self._control is not None, "who has no description knows of no actions"
        url, service = self._control
        named = "".join(f"<{name}>{value}</{name}>" for name, value in arguments.items())
        body = _ENVELOPE.format(action=action, service=service, arguments=named)
        fields = {"Content-Type": 'text/xml; charset="utf-8"', "SOAPAction": f'"{service}#{action}"'}
        return self._request("POST", url, fields, body.encode())

    def _request(self, method: str, url: str, fields: Mapping[str, str], body: bytes) -> Outgoing:
        parts = urlsplit(url)
        port = parts.port or 80
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        length = {"Content-Length": str(len(body))} if body else {}
        head = {"Host": f"{self._router.host}:{port}", "Connection": "close", **fields, **length}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        return Outgoing(port, "\r\n".join(lines).encode("latin-1") + body, STREAM_WAITS_S, is_stream=True)


def _own(url: str, router: HomeRouter, base: str = "") -> str | None:
    """A URL that the router has said, seen from `base`; None for one of another machine, or one that is none."""
    try:
        whole = urljoin(base, url)
        parts = urlsplit(whole)
        is_own = (parts.scheme, parts.hostname) == ("http", router.host) and parts.port != 0
    except ValueError:
        return None
    return whole if is_own and whole.isascii() and whole.isprintable() and " " not in whole else None


def _body(data: bytes) -> bytes:
    """Of a response, which ends with its connection; put together, if it comes in chunks (RFC 9112 section 7.1)."""
    head, _, body = data.partition(b"\r\n\r\n")
    if _CHUNKED.search(head) is None:
        return body
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        digits = size.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,6}", digits):
            break
        whole, body = whole + body[: int(digits, 16)], body[int(digits, 16) + 2 :]
    return whole


def _named(document: bytes, name: str) -> list[etree._Element]:
    """The elements of this name in a document, which may be no XML."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
    try:
        root = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError):
        return []
    return [] if root is None else list(root.iter(f"{{*}}{name}"))


def _text(element: etree._Element, name: str) -> str:
    """What is in a child of an element."""
    return (element.findtext(f"{{*}}{name}") or "").strip()
