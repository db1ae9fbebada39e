"""What is told of a line's mailbox over the control socket, and done to it."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping

from p2psip.base.errors import LocalMisuse, RequestFailed
from p2psip.coupling.peer import Peer
from p2psip.coupling.peer_news import MailboxAnswered
from p2psip.enrollment.user_names import account_name
from p2psip.media.recording.wav import mu_law_wav
from p2psip.sip.entities.mailbox.mailbox_questions import (
    DeleteMessage,
    FetchMessage,
    MailboxContents,
    MessageAudio,
    NotKept,
    OpenMailbox,
    WaitingMessage,
)

ADD = (
    "kind+=0xF0D10003:DICTIONARY:USER-NODE-MATCH:8:16 kind+=0xF0D10004:DICTIONARY:MAILBOX-MATCH:128:6144 "
    "kind+=0xF0D10005:DICTIONARY:MAILBOX-MATCH:1024:16384"
)
"""What `p2psip overlay set` is to be told where an overlay is older than mailboxes."""

Begin = Callable[[object, float], None]
Wait = Callable[[Begin, str], Awaitable[MailboxAnswered]]


async def mailbox_command(peer: Peer, asked: Mapping[str, object], wait: Wait) -> dict[str, object]:
    """What waits for a line; with `get` and a number what a message says, as a WAV file; with `delete` it goes.

    Raises LocalMisuse for a line or a message that there is not, RequestFailed with the overlay's words.
    """
    if not peer.mailboxes.are_there():
        raise LocalMisuse(f"{peer.overlay} has no mailboxes: `p2psip overlay set DIR {ADD}` adds them")
    name = account_name(str(asked.get("user", "")), peer.overlay).partition("@")[0]
    line = peer.publisher.meant(name)
    if line is None:
        raise LocalMisuse(f"{name}@{peer.overlay} has no line here: ask the peer where it has one")

    async def said(question: object) -> object:
        def begin(context: object, now: float) -> None:
            peer.ask_mailbox(question, context, now)

        answer = (await wait(begin, f"the mailbox of {line.name}")).answer
        if isinstance(answer, NotKept):
            raise RequestFailed(answer.reason)
        return answer

    contents = await said(OpenMailbox(line.name))
    assert isinstance(contents, MailboxContents), "that is what it is answered by"
    if asked.get("get") is not None:
        message = _meant(contents, asked["get"])
        audio = await said(FetchMessage(line.name, message.key))
        assert isinstance(audio, MessageAudio), "that is what it is answered by"
        return {"user": line.aor, "wav": base64.b64encode(mu_law_wav(audio.audio)).decode()} | _values(message)
    if asked.get("delete") is not None:
        message = _meant(contents, asked["delete"])
        await said(DeleteMessage(line.name, message.key))
        return {"user": line.aor, "deleted": _values(message)}
    handling = peer.handlings.of(line.name)
    takes = handling is not None and bool(handling.mailbox)
    return {"user": line.aor, "takes_messages": takes, "messages": [_values(each) for each in contents.messages]}


def _meant(contents: MailboxContents, wanted: object) -> WaitingMessage:
    """The message with this id, or its end. Raises LocalMisuse."""
    found = [message for message in contents.messages if wanted and message.key.hex().endswith(str(wanted).lower())]
    if len(found) != 1:
        raise LocalMisuse(
            f"{wanted!r} is none of the messages that wait, or several: `p2psip voicemail list` lists them"
        )
    return found[0]


def _values(message: WaitingMessage) -> dict[str, object]:
    return {
        "id": message.key.hex(),
        "from": message.caller,
        "name": message.name,
        "left_ms": message.left_ms,
        "seconds": round(message.duration_s, 1),
        "new": message.is_new,
    }
