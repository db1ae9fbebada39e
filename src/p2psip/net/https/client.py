"""Enrollment over HTTPS, from the requester's side (RFC 6940 section 11.2, 11.3).

The first fetch of a configuration believes no server: the document is proven by the trust anchor's fingerprint, so it
does not matter who hands it out. Every later connection is verified against the trust anchor, for the overlay's name
("The server certificate MUST match the overlay name"): where the server stands, and whether it has a DNS name, is
nobody's concern. Dates are not checked: a machine that has lost its clock must be able to enroll.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import dns.asyncresolver
import httpx2

from p2psip.base.address import Address, without_zone
from p2psip.base.errors import Cause, LocalMisuse, RequestFailed
from p2psip.enrollment.client import (
    EnrollmentRefused,
    accept_certificate,
    read_answer,
    verify_first,
    whole_fingerprint,
)
from p2psip.enrollment.csr import make_request
from p2psip.enrollment.protocol import (
    ANSWER_SIZE_MAX,
    DOCUMENT_TYPE,
    ENROLL_PATH,
    PKCS10,
    PKIX_CERT,
    WELL_KNOWN_PATH,
)
from p2psip.net.dns_records import resolver_of
from p2psip.net.https.configuration_server import find_servers
from p2psip.net.sockets.addresses import words
from p2psip.net.sockets.server_names import is_named
from p2psip.reload.config.blobs import DOCUMENT_SIZE_MAX
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.config.document import Document
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.security.certificates import issuer_url
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey
from p2psip.reload.security.verifier import CHAIN_MAX

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 40.0
"""A server hashes passwords one after the other, on a slow machine if need be."""

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name."""

_SSL_OBJECT = "ssl_object"
_TIMEOUT = httpx2.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)


def configuration_url(url: str) -> str:
    """Where a configuration server has its document: `url`, with the well-known path if it has none (11.2)."""
    _check_url(url)
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + WELL_KNOWN_PATH


def enrollment_url(url: str) -> str:
    """Where an enrollment server takes requests: `url`, with our servers' path if it has none."""
    _check_url(url)
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + ENROLL_PATH


async def fetch_configuration(url: str, fingerprint: str) -> Document:
    """The configuration document at `url`, proven by the fingerprint of its trust anchor.

    Raises RequestFailed if there is none, or it is not so proven.
    """
    url = configuration_url(url)
    raw, certificate = await _fetch(url, _unverified())
    # 11.2: "If an optional URL for the configuration server was provided, the certificate MUST match the domain name
    # from the URL as described in [RFC2818]".
    _check_name(url, certificate, str(urlsplit(url).hostname))
    return _proven(url, raw, fingerprint, None)


async def fetch_invited(url: str, beginning: bytes, overlay: str) -> tuple[Document, str]:
    """The configuration document of this overlay at `url`, proven by what an invitation has of the fingerprint of its
    trust anchor; and that fingerprint, whole. Raises RequestFailed.
    """
    url = configuration_url(url)
    raw, certificate = await _fetch(url, _unverified())
    _check_name(url, certificate, str(urlsplit(url).hostname))
    try:
        trusted = whole_fingerprint(raw, beginning, overlay)
    except ConfigurationError as error:
        raise RequestFailed("no configuration", (_cause(url, str(error)),)) from None
    return _proven(url, raw, trusted, overlay), trusted


async def discover_configuration(
    overlay: str, fingerprint: str, resolver: dns.asyncresolver.Resolver, rng: random.Random
) -> Document:
    """The configuration document of an overlay of which only the name is known (11.2), proven by the fingerprint.

    Raises RequestFailed with what each of its configuration servers said.
    """
    causes: list[Cause] = []
    for server in await find_servers(overlay, resolver, rng):
        try:
            raw, certificate = await _fetch(server.url, _unverified(), at=server.address)
            # "otherwise, the certificate MUST match the overlay name as described in [RFC2818]."
            _check_name(server.url, certificate, overlay)
            return _proven(server.url, raw, fingerprint, overlay)
        except RequestFailed as failed:
            causes += failed.causes
    raise RequestFailed("no configuration", tuple(causes))


async def refetch_configuration(configuration: OverlayConfiguration) -> bytes:
    """The overlay's document as its servers have it now, not verified yet: from a server with a certificate of the
    overlay's trust anchor, at the addresses that the configuration names, or that DNS does. Raises RequestFailed.
    """
    overlay, context = configuration.instance_name, _verified(configuration)
    causes: list[Cause] = []
    for server in configuration.enrollment_servers:
        parts = urlsplit(server)
        url = f"https://{parts.netloc}{WELL_KNOWN_PATH}"
        try:
            return (await _fetch(url, context, server_name=overlay))[0]
        except RequestFailed as failed:
            causes += failed.causes
    try:
        for found in await find_servers(overlay, resolver_of(None), random.SystemRandom()):
            try:
                return (await _fetch(found.url, context, at=found.address))[0]
            except RequestFailed as failed:
                causes += failed.causes
    except RequestFailed as failed:
        causes.append(_cause(overlay, failed.what))
    raise RequestFailed("no configuration", tuple(causes))


def _check_name(url: str, certificate: bytes, name: str) -> None:
    if not is_named(certificate, without_zone(name)):
        raise RequestFailed("no configuration", (_cause(url, f"the server's certificate is not for {name}"),))


def _proven(url: str, raw: bytes, fingerprint: str, overlay: str | None) -> Document:
    """11.2: "If the XML is not valid or the instance-name attribute [...] does not match the overlay name, this
    configurations file SHOULD be discarded."
    """
    try:
        return verify_first(raw, fingerprint, time.time(), False, overlay)
    except ConfigurationError as error:
        raise RequestFailed("no configuration", (_cause(url, str(error)),)) from None


async def fetch_unproven(url: str) -> bytes:
    """The document at `url`, whatever it is: to be looked at. Raises RequestFailed."""
    return (await _fetch(configuration_url(url), _unverified()))[0]


async def enroll(
    configuration: OverlayConfiguration,
    user: str,
    key: PrivateKey,
    *,
    account: str | None = None,
    password: str | None = None,
    invitation: bytes | None = None,
    nodeids: int = 1,
    other_servers: Sequence[str] = (),
) -> CertifiedIdentity:
    """A certificate for `user` and `key` from one of the overlay's enrollment servers, with the account's password, or
    with the token of an invitation.

    Without either: a renewal, which the key itself authenticates. `other_servers` are tried after those that the
    configuration names; who is invited is told where, and tries them before. Raises RequestFailed with what each of
    them said.
    """
    named = configuration.enrollment_servers
    servers = list(dict.fromkeys([*other_servers, *named] if invitation else [*named, *other_servers]))
    if not servers:
        raise LocalMisuse(f"the configuration of {configuration.instance_name} names no enrollment server")
    form = {"nodeids": str(nodeids)} if nodeids != 1 else {}
    if account is not None and password is not None:
        form |= {"username": account, "password": password}
    if invitation is not None:
        form["invitation"] = invitation.hex()
    request = make_request(key, user)
    causes: list[Cause] = []
    for server in servers:
        try:
            answer = await _post(server, configuration, form, request)
        except EnrollmentRefused as refused:
            if refused.is_final:
                raise
            causes.extend(refused.causes)
        except RequestFailed as failed:
            causes.extend(failed.causes)
        else:
            issuers = await _issuers(server, configuration, answer)
            now, date = time.monotonic(), time.time()
            return accept_certificate(
                configuration, key, user, answer, server, now, date, False, nodeids=nodeids, issuers=issuers
            )
    raise RequestFailed("not enrolled", tuple(causes))


async def _issuers(server: str, configuration: OverlayConfiguration, certificate: bytes) -> list[bytes]:
    """The authorities between a certificate and the document's trust anchors, as far as the server has them.

    It is asked for them itself, whatever host they name: nothing goes to hosts that are not the overlay's.
    """
    issuers: list[bytes] = []
    origin = urlsplit(server)
    while len(issuers) < CHAIN_MAX and (url := issuer_url((issuers or [certificate])[-1])) is not None:
        where = origin._replace(path=urlsplit(url).path, query="", fragment="").geturl()
        async with httpx2.AsyncClient(verify=_verified(configuration), timeout=_TIMEOUT, trust_env=False) as client:
            extensions = {"sni_hostname": configuration.instance_name}
            headers = {"Accept": PKIX_CERT, "Accept-Encoding": "identity"}
            request = client.build_request("GET", where, headers=headers, extensions=extensions)
            response, body = await _answer(client, request, ANSWER_SIZE_MAX)
        if response.status_code != httpx2.codes.OK:
            break
        issuers.append(body)
    return issuers


async def _post(server: str, configuration: OverlayConfiguration, form: dict[str, str], request: bytes) -> bytes:
    """The certificate that one server gives."""
    _check_url(server)
    async with httpx2.AsyncClient(verify=_verified(configuration), timeout=_TIMEOUT, trust_env=False) as client:
        sent = client.build_request(
            "POST",
            server,
            data=form,
            files={"csr": ("request.p10", request, PKCS10)},
            headers={"Accept": PKIX_CERT, "Accept-Encoding": "identity"},
            extensions={"sni_hostname": configuration.instance_name},
        )
        response, body = await _answer(client, sent, ANSWER_SIZE_MAX)
    content_type = response.headers.get("content-type", "")
    is_renewal = form.keys().isdisjoint({"password", "invitation"})
    return read_answer(server, response.status_code, content_type, body, time.monotonic(), is_renewal=is_renewal)


async def _fetch(
    url: str, context: ssl.SSLContext, *, at: Address | None = None, server_name: str | None = None
) -> tuple[bytes, bytes]:
    """What a GET brings, and the server's certificate; with `at` from that address, whatever the URL's host is."""
    host = str(urlsplit(url).hostname)
    headers = {"Accept": DOCUMENT_TYPE, "Accept-Encoding": "identity"}
    target, extensions = url, {"sni_hostname": server_name} if server_name else {}
    if at is not None:
        target = url.replace(f"//{urlsplit(url).netloc}/", f"//{at}/", 1)
        headers["Host"] = host
        extensions = {"sni_hostname": host}
    async with httpx2.AsyncClient(verify=context, timeout=_TIMEOUT, trust_env=False) as client:
        request = client.build_request("GET", target, headers=headers, extensions=extensions)
        response, body = await _answer(client, request, DOCUMENT_SIZE_MAX)
    if response.status_code != httpx2.codes.OK:
        raise RequestFailed("no configuration", (_cause(url, f"HTTP status {response.status_code}"),))
    tls = response.extensions["network_stream"].get_extra_info(_SSL_OBJECT)
    return body, tls.getpeercert(binary_form=True)


async def _answer(client: httpx2.AsyncClient, request: httpx2.Request, size_max: int) -> tuple[httpx2.Response, bytes]:
    """A response whose body is not longer than it may be. Raises RequestFailed."""
    url = str(request.url)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            response = await client.send(request, stream=True)
            try:
                return response, await _body(response, url, size_max)
            finally:
                await response.aclose()
    except (httpx2.HTTPError, OSError) as error:
        # Of what TLS has to say after the handshake, httpx makes nothing of its own.
        raise RequestFailed("no answer", (_cause(url, _words(error)),)) from None


async def _body(response: httpx2.Response, url: str, size_max: int) -> bytes:
    body = b""
    # As it is on the wire: what is not decompressed cannot explode.
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > size_max:
            raise RequestFailed("no answer", (_cause(url, f"an answer of more than {size_max} bytes"),))
    return body


def _words(error: Exception) -> str:
    """What went wrong, for people."""
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return "no answer in time"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"this is not the overlay's server, its certificate is another's ({error})"
    origin = _origin(error)
    if isinstance(origin, ssl.SSLError):
        return f"no enrollment server, its TLS says: {(origin.reason or str(origin)).replace('_', ' ').lower()}"
    what = words(origin) if isinstance(origin, OSError) else str(error) or "the connection was closed"
    return f"cannot connect ({what})" if isinstance(error, httpx2.ConnectError) else what


def _origin(error: BaseException) -> BaseException:
    """What the system or TLS said, below what the libraries made of it."""
    while (cause := error.__cause__ or error.__context__) is not None and not isinstance(error, ssl.SSLError):
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
    return error


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_fine = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 443) > 0
        httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):
        is_fine = False
    if not is_fine:
        raise LocalMisuse(f"{url!r} is no address of a server: write https://HOST:PORT")


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _verified(configuration: OverlayConfiguration) -> ssl.SSLContext:
    """Servers with a certificate of the overlay's trust anchor, and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= NO_CHECK_TIME
    for root in configuration.root_certs:
        context.load_verify_locations(cadata=root)
    return context


def _cause(url: str, what: str) -> Cause:
    return Cause(url, what, time.monotonic())
