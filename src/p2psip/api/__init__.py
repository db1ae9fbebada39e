"""The Python API: an application as a client of an overlay.

    async with p2psip.connect("./client") as overlay:
        await overlay.store("greeting", NOTES, b"hello", key=b"en")

What is here may be relied on; docs/python-api.md describes it.
"""

from p2psip.api.app_streams import Stream
from p2psip.api.connecting import connect
from p2psip.api.kinds import ArrayKind, DictionaryKind, Receipt, SingleKind
from p2psip.api.overlay import Overlay, Pong
from p2psip.api.services import Service
from p2psip.base.errors import Cause, LocalMisuse, P2psipError, RequestFailed
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.node.effects import RequestRefused
from p2psip.reload.storage.verified import Value
from p2psip.reload.wire.contents import ErrorCode

__all__ = [
    "ArrayKind",
    "Cause",
    "DictionaryKind",
    "ErrorCode",
    "LocalMisuse",
    "NodeId",
    "Overlay",
    "P2psipError",
    "Pong",
    "Receipt",
    "RequestFailed",
    "RequestRefused",
    "ResourceId",
    "Service",
    "SingleKind",
    "Stream",
    "Value",
    "connect",
]
