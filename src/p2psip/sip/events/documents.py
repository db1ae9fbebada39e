"""XML documents about lines: read without trust, and with other names in them (RFC 3863, 4235, 4575).

What is in them comes from phones and from other peers. So there is no DOCTYPE, no entity is expanded, nothing is
fetched, and a document has a bound.
"""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from p2psip.sip.events.limits import DOCUMENT_BYTES
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.uri import SipUri, escape_user, parse_uri

PIDF = "application/pidf+xml"
DIALOG_INFO = "application/dialog-info+xml"
CONFERENCE_INFO = "application/conference-info+xml"
MESSAGE_SUMMARY = "application/simple-message-summary"

_XML = frozenset({PIDF, DIALOG_INFO, CONFERENCE_INFO})
_URI_ATTRIBUTES = ("entity", "uri")
_URI_ELEMENTS = frozenset({"identity", "contact"})
_ACCOUNT = "Message-Account:"


def line_uri(line: str, domain: str) -> SipUri:
    """By what a line is called in the overlay."""
    return SipUri(domain, escape_user(line))


def parse_document(data: bytes) -> etree._Element:
    """The root of a document that somebody else has written. Raises BadMessage."""
    if len(data) > DOCUMENT_BYTES:
        raise BadMessage(f"a document of more than {DOCUMENT_BYTES} bytes", status=413)
    if b"<!DOCTYPE" in data:
        raise BadMessage("the document has a DOCTYPE")
    # The encoding is given, so that nothing hides in another one.
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, encoding="utf-8"
    )
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadMessage(f"not well-formed XML: {str(error)[:80]}") from None


def write_document(root: etree._Element) -> bytes:
    """The document as it goes into a body."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def local_name(element: etree._Element) -> str:
    """The name of an element without its namespace."""
    return etree.QName(element).localname


def renamed(content_type: str, body: bytes, rename: Callable[[SipUri], SipUri]) -> bytes:
    """A body in which every user has another name; what cannot be read stays as it came (RFC 3261 16.3 step 1)."""
    if content_type == MESSAGE_SUMMARY:
        return _renamed_summary(body, rename)
    if content_type not in _XML:
        return body
    try:
        root = parse_document(body)
    except BadMessage:
        return body
    for element in root.iter("*"):
        for name in _URI_ATTRIBUTES:
            if (value := element.get(name)) is not None:
                element.set(name, _renamed(value, rename))
        if element.text and local_name(element) in _URI_ELEMENTS:
            element.text = _renamed(element.text.strip(), rename)
    return write_document(root)


def _renamed_summary(body: bytes, rename: Callable[[SipUri], SipUri]) -> bytes:
    lines = body.decode("utf-8", "surrogateescape").split("\r\n")
    for at, line in enumerate(lines):
        if line[: len(_ACCOUNT)].lower() == _ACCOUNT.lower():
            lines[at] = f"{_ACCOUNT} {_renamed(line[len(_ACCOUNT) :].strip(), rename)}"
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def _renamed(text: str, rename: Callable[[SipUri], SipUri]) -> str:
    try:
        uri = parse_uri(text)
    except BadMessage:
        return text
    return str(rename(uri)) if isinstance(uri, SipUri) else text
