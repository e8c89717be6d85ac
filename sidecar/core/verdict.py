"""What an answer to a condition is, and what all conditions share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity

__all__ = [
    "Condition",
    "Verdict",
    "enumerate_values",
    "keep",
    "login",
    "no",
    "require_list",
    "unknown",
    "yes",
]

_MAX_LISTED: Final = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a condition. `needs_login`: not allowed, but a sign-in could change that.

    `why` is a sentence's end for logs and `explain`: "none of the groups admins". `is_known` is False when
    something needed for the answer is missing, so that a negation must not turn it into a yes.
    """

    allowed: bool
    needs_login: bool
    why: str
    is_known: bool = True


class Condition(ABC):
    """One of the closed set below."""

    __slots__ = ()

    @abstractmethod
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Answer for this identity (None: nobody is signed in) at this address."""


def yes(why: str) -> Verdict:
    """Return a yes."""
    return Verdict(allowed=True, needs_login=False, why=why)


def no(why: str) -> Verdict:
    """Return a no that is known."""
    return Verdict(allowed=False, needs_login=False, why=why)


def unknown(why: str) -> Verdict:
    """Return a no for want of something that a sign-in does not bring."""
    return Verdict(allowed=False, needs_login=False, why=why, is_known=False)


def login(wanted: str) -> Verdict:
    """Return a no for want of an identity; `wanted` is what the condition asks of it."""
    why = f"nobody is signed in; needs {wanted}"
    return Verdict(allowed=False, needs_login=True, why=why, is_known=False)


def require_list(name: str, values: tuple[object, ...]) -> None:
    """Refuse an empty list: it admits nobody, or to whoever reads it otherwise everybody (S61).

    Raises `ConfigurationError`.
    """
    if not values:
        raise ConfigurationError(
            f"{name}: the list is empty, so nobody could pass; name somebody, or remove it."
        )


def enumerate_values(values: Iterable[str]) -> str:
    """Return the first few of `values` for a sentence; long lists would fill the log."""
    texts = list(values)
    more = len(texts) - _MAX_LISTED
    listed = ", ".join(texts[:_MAX_LISTED])
    return f"{listed} and {more} more" if more > 0 else listed


def keep(condition: Condition, **prepared: object) -> None:
    """Set what a frozen condition prepares of itself at construction."""
    for name, value in prepared.items():
        object.__setattr__(condition, name, value)
