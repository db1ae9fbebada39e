"""Values that are made with every message or datagram: frozen to whoever reads and checks the code, quick when it runs.

`dataclasses.dataclass(frozen=True)` sets each field by way of `object.__setattr__`, by which a value takes two to three
times as long to make, which was a tenth of the time of peers in the simulator. So mypy holds that nobody alters one of
these, and nothing does at run time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Declare a value: a dataclass with slots, equal and hashed by its fields, that is not altered once it is made."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
