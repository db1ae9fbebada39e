"""From the bindings of a user to the places to try (RFC 3327 section 5.4, RFC 5626 section 7, RFC 5627 section 6.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from p2psip.sip.entities.questions import RegisteredBinding, Target
from p2psip.sip.entities.registrar.bindings import Binding

MARK_CHARACTERS = 24

_NOBODY = (404, 410, 481, 604)
"""What a phone answers that knows nothing of the Contact it is called by."""


def targets_of(user: str, bindings: Sequence[Binding]) -> tuple[Target, ...]:
    """One target for each phone, best first; `bindings` are in that order.

    RFC 5626 section 7: "The proxy MUST NOT populate the target set with more than one contact with the same AOR and
    instance-id at a time." The other ways to an instance, its flows and what it called itself before it was started
    anew, wait in its target's `others`.
    """
    phones: dict[object, list[Binding]] = {}
    seen: set[object] = set()
    for number, binding in enumerate(bindings):
        place = (str(binding.contact), binding.hops[:1], binding.path)
        if place not in seen:
            seen.add(place)
            phones.setdefault(binding.instance_key or number, []).append(binding)
    return tuple(_phone(user, ways, bindings) for ways in phones.values())


def is_outlived(old: Binding, bindings: Iterable[Binding]) -> bool:
    """True if something has registered since from where this binding leads: the same phone anew, or another one."""
    return any(
        one.path == old.path and one.registered_at > old.registered_at and not set(one.hops).isdisjoint(old.hops)
        for one in bindings
    )


def is_disowned(registered: RegisteredBinding, status: int, bindings: Iterable[Binding]) -> bool:
    """True if an answer says that nobody is (any more) where a binding leads; `bindings` are all of its user."""
    if status == 430:
        # RFC 5626 section 7: who learns "that no future messages will be delivered on a specific flow", "MUST
        # invalidate all the bindings in the target set that use that flow".
        return True
    # A phone that was started anew and has another Contact since knows nobody by the old one. Where it is alone at its
    # place the same words are its answer.
    return status in _NOBODY and is_outlived(registered.binding, bindings)


def phone_mark(user: str, binding: Binding) -> str:
    """By what several peers know that they have the same phone of a user; "" if the phone says no instance.

    An instance-id often has the hardware's address in it (RFC 5626 section 4.1), which is not everybody's business.
    """
    named = f"{user.lower()} {binding.instance_key}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(named).hexdigest()[:MARK_CHARACTERS] if binding.instance else ""


def target_of(user: str, binding: Binding, *, is_doubtful: bool = False) -> Target:
    """The phone of a user that has this binding, as a place to try."""
    label = f"{user}'s phone at {binding.hops[0]}"
    registered = RegisteredBinding(user, binding)
    return Target(
        binding.contact,
        binding.hops,
        label,
        binding.path,
        registered,
        is_doubtful=is_doubtful,
        user=user,
        server=binding.server,
        q=binding.q,
        phones=frozenset(filter(None, (phone_mark(user, binding),))),
    )


def _phone(user: str, ways: list[Binding], bindings: Sequence[Binding]) -> Target:
    # RFC 5627 section 6.1: "The proxy MUST select the most recently refreshed contact."
    newest_first = sorted(ways, key=lambda binding: (binding.missed > 0, -binding.registered_at, binding.rank))
    first, *others = [
        target_of(user, binding, is_doubtful=binding.missed > 0 or is_outlived(binding, bindings))
        for binding in newest_first
    ]
    return first.with_others(others)
