"""Kind-blocks on their own, as a ConfigUpdate carries them (RFC 6940 section 6.5.4.1, 11.1)."""

from __future__ import annotations

import base64
import re
from html import escape

from p2psip.reload.config.configuration import BASE_NAMESPACE
from p2psip.reload.config.document import SignedKind, parse
from p2psip.reload.config.errors import ConfigurationError

_INSTANCE_NAME = "kind.invalid"
_BEFORE = f'<overlay xmlns="{BASE_NAMESPACE}"><configuration instance-name="{_INSTANCE_NAME}"><required-kinds>'.encode()
_AFTER = b"</required-kinds></configuration></overlay>"
_DECLARATION = re.compile(rb"\A\xef\xbb\xbf|\A\s*<\?xml[^>]*\?>\s*")


def parse_kind_block(block: bytes) -> SignedKind:
    """The Kind of one kind-block. Raises ConfigurationError.

    6.5.4.1: "These MUST be encoded with UTF-8 and assume a default namespace of
    "urn:ietf:params:xml:ns:p2p:config-base"."
    """
    kinds = parse(_BEFORE + _DECLARATION.sub(b"", block) + _AFTER).kinds
    if len(kinds) != 1:
        raise ConfigurationError(f"{len(kinds)} kind-blocks where one is wanted")
    return kinds[0]


def kind_block(signed: SignedKind) -> bytes:
    """A Kind as it was signed, in a kind-block that stands on its own: what its prefixes mean is declared in it."""
    prefixes = [(f":{prefix}" if prefix else "", uri) for prefix, uri in signed.namespaces if prefix != "xml"]
    declared = "".join(f' xmlns{prefix}="{escape(uri)}"' for prefix, uri in prefixes)
    signature = base64.b64encode(signed.signature or b"")
    return b"".join(
        (
            f"<kind-block{declared}>".encode(),
            signed.signed,
            b"<kind-signature>",
            signature,
            b"</kind-signature></kind-block>",
        )
    )
