"""Who may ask about requests of others (S75): every condition that is configured must hold."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from sidecar.core.http import header_values
from sidecar.core.peers import Peers

if TYPE_CHECKING:
    from sidecar.core.http import RequestHead
    from sidecar.core.runtime import ForwardAuthPolicy

__all__ = ["SECRET_HEADER", "Callers"]

SECRET_HEADER: Final = b"x-doorward-secret"


class Callers:
    """The callers of one policy."""

    __slots__ = ("_listed", "_needs_certificate", "_secret")

    def __init__(self, policy: ForwardAuthPolicy) -> None:
        """Prepare for `policy`."""
        self._listed = Peers(policy.callers, has_unix=policy.trusts_unix)
        self._needs_certificate = policy.needs_certificate
        self._secret = None if policy.secret is None else policy.secret.reveal()

    def why_not(self, head: RequestHead) -> str | None:
        """Return why the peer of `head` may not ask, None when it may."""
        if not (self._listed or self._needs_certificate or self._secret is not None):
            return "forward_auth names no caller"
        if self._needs_certificate and not head.is_tls:
            return "the caller showed no certificate"
        if self._listed and not self._listed.holds(head.peer):
            return f"{head.peer} is not among forward_auth.callers"
        if self._secret is not None:
            sent = header_values(head.headers, SECRET_HEADER)
            if len(sent) != 1 or not compare_digest(sent[0], self._secret):
                return "X-Doorward-Secret is not forward_auth.secret"
        return None
