"""The `dialog` package (RFC 4235): the calls of a line, which lamps on other phones show.

Each document is a full one. A line has a few calls; many phones read no partial document; and nothing that is lost or
overtaken on the way leaves a lamp lit.
"""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from p2psip.sip.events.documents import DIALOG_INFO, line_uri, write_document
from p2psip.sip.events.line_calls import CallState, LineCall, LineCalls

_NS = "urn:ietf:params:xml:ns:dialog-info"


class DialogPackage:
    """Writes dialog-info (an `EventPackage`)."""

    name = "dialog"
    content_type = DIALOG_INFO
    interval_s = 1.0
    """3.10: "not faster than once per second" for one subscription, but for the first."""

    def __init__(self, domain: str, calls: LineCalls) -> None:
        self._domain = domain
        self._calls = calls

    def may_watch(self, watcher: str, line: str, *, is_permitted: bool) -> bool:
        """packages.EventPackage"""
        return is_permitted

    def document(self, line: str, version: int, *, sees_calls: bool) -> bytes:
        """packages.EventPackage"""
        entity = str(line_uri(line, self._domain))
        root = etree.Element(f"{{{_NS}}}dialog-info", nsmap={None: _NS})  # type: ignore[dict-item]
        root.set("version", str(version))
        root.set("state", "full")
        root.set("entity", entity)
        calls = self._calls.of(line)
        if sees_calls:
            for call in calls:
                _write_call(root, call, entity)
        elif calls:
            _write_virtual(root, calls, entity)
        return write_document(root)


def _write_virtual(root: etree._Element, calls: Sequence[LineCall], entity: str) -> None:
    # 3.7.2: for a third party "actual dialog states across all dialogs will not be reported. Rather, a single
    # "virtual" dialog FSM will be used"; its notifications do "not convey any information except the state".
    live = [call.state for call in calls if call.state < CallState.TERMINATED]
    dialog = _child(root, "dialog")
    dialog.set("id", "line")
    _child(dialog, "state").text = (max(live) if live else CallState.TERMINATED).word
    _child(_child(dialog, "local"), "identity").text = entity


def _write_call(root: etree._Element, call: LineCall, entity: str) -> None:
    dialog = _child(root, "dialog")
    dialog.set("id", call.id)
    dialog.set("call-id", _printable(call.call_id))
    if call.local_tag:
        dialog.set("local-tag", _printable(call.local_tag))
    if call.remote_tag:
        dialog.set("remote-tag", _printable(call.remote_tag))
    dialog.set("direction", "initiator" if call.is_caller else "recipient")
    _child(dialog, "state").text = call.state.word
    _child(_child(dialog, "local"), "identity").text = entity
    remote = _child(dialog, "remote")
    identity = _child(remote, "identity")
    identity.text = _printable(str(call.remote.uri))
    if call.remote.display_name:
        identity.set("display", _printable(call.remote.display_name))
    _child(remote, "target").set("uri", _printable(str(call.remote.uri)))


def _child(parent: etree._Element, name: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{_NS}}}{name}")


def _printable(text: str) -> str:
    """What XML can carry: phones may write anything into a name."""
    return "".join(character if character.isprintable() else "?" for character in text)
