"""Hypothesis strategies for every structure of the wire, made from the declarations.

What does not depend on the fields before it is made once: Hypothesis looks at each strategy that it has not seen.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

import p2psip.reload.wire as wire
from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.header import (
    FRAGMENT_ALWAYS_SET,
    CompressedDestination,
    Destination,
    DestinationType,
    ForwardingHeader,
)
from p2psip.reload.wire.kinds import REGISTERED_MODELS, DataModel
from p2psip.reload.wire.language import codec as codecs
from p2psip.reload.wire.language import primitives
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.storage_messages import StoredDataSpecifier, UnknownKindData

SHORT = 24
"""Most bytes and elements that a strategy makes, where the wire would take more."""


def all_structures() -> list[type[Struct]]:
    """Every structure that a module of the wire package declares."""
    modules = [
        importlib.import_module(f"{wire.__name__}.{found.name}") for found in pkgutil.iter_modules(wire.__path__)
    ]
    members = [(module, member) for module in modules for member in vars(module).values()]
    return [
        member
        for module, member in members
        if isinstance(member, type) and issubclass(member, Struct) and member.__module__ == module.__name__
        if member is not Struct
    ]


SPECIAL: dict[tuple[type[Struct], str], st.SearchStrategy[Any]] = {
    (CompressedDestination, "compressed_id"): st.integers(0x8000, 0xFFFF),
    (Destination, "type"): st.integers(0, 0x7F).map(DestinationType),
    (ForwardingHeader, "fragment"): st.integers(FRAGMENT_ALWAYS_SET, 0xFFFFFFFF),
    (UnknownKindData, "kind"): st.integers(0, 0xFFFFFFFF).filter(lambda kind: kind not in REGISTERED_MODELS),
}
"""Fields that a structure's own rules confine."""


@cache
def values_of(struct: type[Struct], model: DataModel | None = None, length: int = 16) -> st.SearchStrategy[Struct]:
    """Values of the structure; `model` is that of the Kind around it, `length` that of Node-IDs."""
    return _values(struct, model, length)


@st.composite
def _values(draw: st.DrawFn, struct: type[Struct], model: DataModel | None, length: int) -> Struct:
    owner = SimpleNamespace()
    if any(isinstance(codec, codecs._OfKind) for codec in struct.codecs.values()):
        kind = draw(st.sampled_from([*REGISTERED_MODELS, *([0xF0000001] if struct is StoredDataSpecifier else [])]))
        model = REGISTERED_MODELS.get(kind)
        owner.kind = kind
    for name, codec in struct.codecs.items():
        if not hasattr(owner, name):
            special = SPECIAL.get((struct, name))
            setattr(owner, name, draw(_strategy(codec, owner, model, length) if special is None else special))
    return struct(**vars(owner))


def _strategy(
    codec: primitives.Codec[Any], owner: SimpleNamespace, model: DataModel | None, length: int
) -> st.SearchStrategy[Any]:
    match codec:
        case codecs._Present():
            return _strategy(codec.codec, owner, model, length) if codec.is_present(owner) else st.just(codec.absent)
        case codecs._OfKind() | codecs.Prefixed():
            return _strategy(codec.codec, owner, model, length)
        case codecs.Select():
            return _strategy(codec.arm(owner), owner, model, length)
        case codecs.ByModel():
            return st.binary(max_size=SHORT) if model is None else values_of(codec.arms[model], None, length)
        case codecs._LengthTwice():
            return _strategy(codec.vector, owner, model, length)
        case primitives.Nested():
            return values_of(codec.struct, model, length)
        case codecs._Vector():
            element = _strategy(codec.element, owner, model, length)
            return _tuples(element).filter(partial(_is_long_enough, codec, owner))
    return _scalars(codec, length)


def _is_long_enough(codec: codecs._Vector[Any], owner: SimpleNamespace, value: tuple[Any, ...]) -> bool:
    return codec.size(value, owner) - codec.length_bytes >= codec.least


@cache
def _tuples(element: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(element, max_size=3).map(tuple)


@cache
def _scalars(codec: primitives.Codec[Any], length: int) -> st.SearchStrategy[Any]:
    match codec:
        case primitives.Constant():
            return st.just(codec.value)
        case primitives.Uint():
            return st.integers(0, codec.limit - 1)
        case primitives.BooleanCodec():
            return st.booleans()
        case primitives.Opaque() | primitives.Rest():
            return st.binary(max_size=SHORT)
        case primitives.NodeIdCodec():
            return st.binary(min_size=length, max_size=length).map(NodeId)
        case primitives.ResourceIdCodec():
            return st.binary(max_size=SHORT).map(ResourceId)
        case primitives.EnumCodec():
            numbers = st.sampled_from([int(member) for member in codec.enum])
            rest = st.integers(0, (1 << 8 * codec.enum.width) - 1) if codec.enum.is_open else st.nothing()
            return (numbers | rest).map(codec.enum)
        case primitives.Flags():
            return st.integers(0, (1 << 8 * codec.width) - 1).map(codec.flags)
    assert isinstance(codec, codecs.OneOf), f"no strategy for {codec}"
    return st.one_of([values_of(struct, None, length) for struct in codec.variants])
