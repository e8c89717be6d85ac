"""The one tree of errors, by who is at fault.

    DoorwardError
    ├── ConfigurationError        the operator: start nothing, name key, value, mend
    │   └── UnreadableConfiguration   there is no configuration to judge: missing, a directory, not text
    ├── PeerError                 whoever sent us something
    │   ├── BadRequest            the user agent or another downstream: 400, connection closed by engines
    │   ├── InvalidCookie         a cookie of ours that does not open: as if there was none
    │   ├── InvalidToken          a token or claim set that fails a check: the login is refused
    │   └── ProviderRefused       the provider said no (OAuth error response): the login is refused
    └── SurroundingsError         something outside does not work now: 502/503/504, retried by the peer
        ├── ProviderUnavailable   unreachable, too slow, too large, 5xx or unreadable
        └── StoreUnavailable      the session store does not answer

Errors carry facts as fields; `__str__` is built from them and goes to logs, never to a browser.
"""

from __future__ import annotations

__all__ = [
    "BadRequest",
    "ConfigurationError",
    "DoorwardError",
    "InvalidCookie",
    "InvalidToken",
    "PeerError",
    "ProviderRefused",
    "ProviderUnavailable",
    "StoreUnavailable",
    "SurroundingsError",
    "UnreadableConfiguration",
]


class DoorwardError(Exception):
    """The root of the tree; never raised itself."""


class ConfigurationError(DoorwardError):
    """The operator's configuration can't be used; `problems` are complete sentences, one each line."""

    def __init__(self, *problems: str) -> None:
        """Keep the sentences, in the order in which an operator reads the file."""
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        """Join the sentences."""
        return "\n".join(self.problems)


class UnreadableConfiguration(ConfigurationError):
    """The configuration file can't be read; one sentence."""


class _Explained(DoorwardError):
    """An error with a machine-readable `code` (snake_case, stable) and a `detail` for the log."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        """Put the detail behind the code."""
        return f"{self.code}: {self.detail}" if self.detail else self.code


class PeerError(_Explained):
    """Somebody sent something wrong."""


class BadRequest(PeerError):
    """The downstream's request is malformed or hostile: answered 400."""


class InvalidCookie(PeerError):
    """A cookie under one of our names that does not open or is not what it should be."""


class InvalidToken(PeerError):
    """A token, its signature or a claim fails a check (OIDC Core §3.1.3.7 and its kin)."""


class ProviderRefused(PeerError):
    """The provider answered with an OAuth error (RFC 6749 §4.1.2.1, §5.2); `code` is its `error`."""


class SurroundingsError(_Explained):
    """Something that we depend on does not work at the moment."""


class ProviderUnavailable(SurroundingsError):
    """The provider can't be reached, is too slow, or answers with something unusable."""


class StoreUnavailable(SurroundingsError):
    """The session store can't be reached."""
