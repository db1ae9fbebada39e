"""Where the signed elements of a document begin and end, in bytes (RFC 6940 section 11.1).

"The configuration element MUST be treated as a binary blob that cannot be changed [...] starting from, and
including, the first < at the start of <configuration> up to and including the > in </configuration>."
A tree has no byte offsets; expat has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from p2psip.reload.config.configuration import BASE_NAMESPACE
from p2psip.reload.config.errors import ConfigurationError

DOCUMENT_SIZE_MAX = 1 << 20
DEPTH_MAX = 32

_CONFIGURATION = (f"{BASE_NAMESPACE} overlay", f"{BASE_NAMESPACE} configuration")
_KIND = (*_CONFIGURATION, *(f"{BASE_NAMESPACE} {name}" for name in ("required-kinds", "kind-block", "kind")))

_START_TAG = re.compile(rb"<([^\s/>]+)")


@dataclass(slots=True)
class Blob:
    """The bytes of one <configuration>, of each element in it, and of each <kind>, in the document's order."""

    signed: bytes = b""
    children: list[bytes] = field(default_factory=list)
    kinds: list[bytes] = field(default_factory=list)


def blobs(document: bytes) -> list[Blob]:
    """The signed parts of each <configuration>; ConfigurationError if it is not XML as the RFC wants it."""
    if len(document) > DOCUMENT_SIZE_MAX:
        raise ConfigurationError(f"a document of {len(document)} bytes; at most {DOCUMENT_SIZE_MAX} are read")
    scan = _Scan(document)
    try:
        scan.parser.Parse(document, True)
    except expat.ExpatError as error:
        raise ConfigurationError(f"not well-formed XML: {error}") from None
    return scan.found


class _Scan:
    """One pass of expat over a document."""

    def __init__(self, document: bytes) -> None:
        self.found: list[Blob] = []
        self._document = document
        self._path: list[str] = []
        self._starts: list[int] = []
        # "The file MUST use the UTF-8 character encoding." This overrides what the XML declaration says.
        self.parser = expat.ParserCreate(encoding="utf-8", namespace_separator=" ")
        self.parser.XmlDeclHandler = self._on_declaration
        self.parser.StartDoctypeDeclHandler = self._on_doctype
        self.parser.StartElementHandler = self._on_start
        self.parser.EndElementHandler = self._on_end

    def _on_declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            raise ConfigurationError(f"the document is in {encoding}, not in UTF-8")

    def _on_doctype(self, name: str, system: str | None, public: str | None, has_internal: bool) -> NoReturn:
        raise ConfigurationError("the document has a DOCTYPE, which no configuration needs")

    def _on_start(self, name: str, attributes: Sequence[str] | dict[str, str]) -> None:
        self._path.append(name)
        self._starts.append(self.parser.CurrentByteIndex)
        if len(self._path) > DEPTH_MAX:
            raise ConfigurationError(f"elements are nested deeper than {DEPTH_MAX}")
        if tuple(self._path) == _CONFIGURATION:
            self.found.append(Blob())

    def _on_end(self, name: str) -> None:
        path = tuple(self._path)
        self._path.pop()
        start = self._starts.pop()
        if path == _CONFIGURATION:
            self.found[-1].signed = self._document[start : self._end(start)]
        elif path[:-1] == _CONFIGURATION:
            self.found[-1].children.append(self._document[start : self._end(start)])
        elif path == _KIND:
            self.found[-1].kinds.append(self._document[start : self._end(start)])

    def _end(self, start: int) -> int:
        """One byte past the element that began at `start` and ends here."""
        at = self.parser.CurrentByteIndex
        tag = _START_TAG.match(self._document, start)
        assert tag is not None, "expat saw a start tag here"
        end_tag = re.compile(rb"</" + re.escape(tag[1]) + rb"\s*>").match(self._document, at)
        # An empty element has no end tag: expat is past it already.
        return at if end_tag is None else end_tag.end()
