"""What the proxy waits for: answers of the outside, and what comes of the requests that it has sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from p2psip.sip.entities.proxy.context import Branch, Context
from p2psip.sip.entities.proxy.resolvers import Asked
from p2psip.sip.entities.questions import Target
from p2psip.sip.message.message import Request


@dataclass(frozen=True, slots=True)
class Locating:
    """Where a request goes, is asked of the outside."""

    context: Context
    asked: Asked


@dataclass(frozen=True, slots=True)
class Resolving:
    """The way to a target is asked."""

    context: Context
    branch: Branch


@dataclass(frozen=True, slots=True)
class Preparing:
    """The media engine is asked to carry what comes of a request to a target."""

    context: Context
    branch: Branch


@dataclass(frozen=True, slots=True)
class ResolvingAck:
    """The way to a target is asked, for an ACK."""

    ack: Request
    target: Target


class Sent(NamedTuple):
    """What a request to a target is sent with, and its responses come with."""

    context: Context
    branch: Branch


Waiting: TypeAlias = Locating | Resolving | Preparing | ResolvingAck
