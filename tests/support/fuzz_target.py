"""A parser of bytes that somebody else may have written, and what is held of each: damaged specimens end in a value or
in the one error.

What a target reads it gives back as bytes, if they can be encoded again: for the exact ones these are the bytes that it
was given; of the others (SIP, SDP, XML: there are several ways to say the same) what they are read as again is the
same. The mutants of a target are made by its name and nothing else, one after the other: a failure says which it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from effort import times
from mutations import mutant


@dataclass(frozen=True)
class Target:
    """A parser: `read` gives back what it read, as bytes again, or None if that cannot be written."""

    name: str
    read: Callable[[bytes], bytes | None]
    error: type[Exception] | tuple[type[Exception], ...]
    specimens: Callable[[], Sequence[bytes]]
    count: int = 4_000
    is_exact: bool = True

    def __str__(self) -> str:
        return self.name

    def check(self, data: bytes) -> bool:
        """True if the bytes are accepted."""
        try:
            written = self.read(data)
        except self.error:
            return False
        if written is not None:
            assert (written == data) if self.is_exact else (self.read(written) == written)
        return True

    def try_damaged_specimens(self) -> None:
        """A value or the one error; and what is a value can be written again."""
        specimens, rng = self.specimens(), random.Random(self.name)
        accepted = 0
        for number in range(times(self.count)):
            data = mutant(specimens, rng)
            try:
                accepted += self.check(data)
            except Exception as error:
                error.add_note(f"{self.name}, mutant {number}: {data.hex()}")
                raise
        assert 0 < accepted < times(self.count), "some mutants are values and some are not, or nothing is tested"

    def try_sound_specimens(self) -> None:
        """Each is accepted, except what only has the form; none of them hides the others."""
        assert any(self.check(specimen) for specimen in self.specimens())
