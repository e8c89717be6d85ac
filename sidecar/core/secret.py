"""A secret that does not leak by accident."""

from __future__ import annotations

import hmac
from typing import NoReturn

__all__ = ["Secret"]


class Secret:
    """Bytes that neither repr, str, logs nor pickle will show; `reveal()` is the one way out."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        """Hold `value`."""
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes, for the one call that needs them."""
        return self._value

    def __repr__(self) -> str:
        """Show that there is a secret and nothing of it."""
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        """Refuse: a hash of a secret in a dictionary outlives its purpose."""
        message = "a Secret is not hashable"
        raise TypeError(message)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled."""
        message = "a Secret is not pickled"
        raise TypeError(message)
