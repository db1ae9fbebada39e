"""The enrollment form: multipart/form-data (RFC 6940 section 11.3, RFC 2388)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from p2psip.enrollment.join_codes import TOKEN_BYTES
from p2psip.enrollment.passwords import PASSWORD_MAX_BYTES
from p2psip.enrollment.protocol import PKIX_CERT
from p2psip.enrollment.refusals import BadForm, NotAcceptable

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM_SIZE_MAX = 64 * 1024
PARTS_MAX = 16
NAME_MAX = 256
NODEIDS_DIGITS_MAX = 20


@dataclass(frozen=True, slots=True)
class EnrollmentForm:
    """What is asked for. No user name, password or invitation: a renewal, authenticated by the key of the CSR."""

    csr: bytes
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    nodeids: int = 1
    invitation: bytes | None = field(default=None, repr=False)
    """The token of one, in the place of an account's password (a parameter of ours)."""


def read_form(content_type: str, body: bytes) -> EnrollmentForm:
    """The form in the body of a request. Raises BadForm."""
    parts = _parts(content_type, body)
    if "csr" not in parts:
        raise BadForm('no form parameter "csr"')
    username, password = _text(parts, "username", NAME_MAX), _text(parts, "password", PASSWORD_MAX_BYTES)
    if (username is None) != (password is None):
        raise BadForm("a user name without a password, or the reverse")
    # "If more than one Node-ID is required, there MUST be a form parameter of "nodeids"".
    nodeids = _text(parts, "nodeids", NODEIDS_DIGITS_MAX) or "1"
    if not (nodeids.isascii() and nodeids.isdigit()):
        raise BadForm(f"{nodeids!r} is no number of Node-IDs")
    return EnrollmentForm(parts["csr"], username, password, int(nodeids), _invitation(parts))


def _invitation(parts: dict[str, bytes]) -> bytes | None:
    text = _text(parts, "invitation", 2 * TOKEN_BYTES)
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        # What it was stands in no log.
        raise BadForm("the token of the invitation is none") from None


def check_accept(accept: str) -> None:
    """ "The Accept header MUST contain the type "application/pkix-cert"": NotAcceptable if it excludes it."""
    types = {entry.partition(";")[0].strip().lower() for entry in accept.split(",")}
    if not types & {PKIX_CERT, "application/*", "*/*", ""}:
        raise NotAcceptable(f"the client accepts {accept[:80]!r} only")


def _text(parts: dict[str, bytes], name: str, size_max: int) -> str | None:
    value = parts.get(name)
    if value is None:
        return None
    if len(value) > size_max:
        raise BadForm(f"{name} is longer than {size_max} bytes")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadForm(f"{name} is not UTF-8") from None


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """The form's parts by name."""
    if len(body) > FORM_SIZE_MAX:
        raise BadForm(f"{len(body)} bytes; a form has {FORM_SIZE_MAX} at most")
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise BadForm("the request is not multipart/form-data")
    collector = _Collector()
    try:
        parser = MultipartParser(options[b"boundary"], collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise BadForm(f"not multipart/form-data: {error}") from None
    if not collector.is_complete:
        raise BadForm("the form ends too soon")
    return collector.parts


class _Collector:
    """What the parser calls while it reads: headers, then bytes, of each part."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.is_complete = False
        self._header = bytearray()
        self._value = bytearray()
        self._name: str | None = None
        self._data = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """As python-multipart names them."""
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_begin": self._on_header_begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._name = None
        self._data.clear()

    def _on_header_begin(self) -> None:
        self._header.clear()
        self._value.clear()

    def _on_header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")

    def _on_part_end(self) -> None:
        if not self._name:
            raise BadForm("a part of the form has no name")
        if self._name in self.parts or len(self.parts) >= PARTS_MAX:
            raise BadForm("a part of the form comes twice, or there are too many")
        self.parts[self._name] = bytes(self._data)

    def _on_end(self) -> None:
        self.is_complete = True
