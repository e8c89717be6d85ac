"""Being somebody without signing in: each request gets the cookie of a session that nobody logged in to.

The gate reads that cookie as it reads any other, so that everything behind it (rules, headers, leases, the
checks of where a request comes from) is what a person who has signed in meets. What a browser's SameSite=Lax
does for a real cookie is done here: without it a page of any site on the web, opened in the same browser,
could read from the application as this person.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.core.claims import build_identity
from sidecar.core.cookies import without
from sidecar.core.errors import ConfigurationError, InvalidToken
from sidecar.core.http import RequestHead, header_values
from sidecar.core.navigation import sends_lax_cookie
from sidecar.dev.standins import build_session, cookie_pairs
from sidecar.devidp.claims import person_claims

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime, Site
    from sidecar.core.session import Session
    from sidecar.core.state import State
    from sidecar.devidp import Person

__all__ = ["Persona"]

_SCOPES: Final = frozenset({"openid", "profile", "email", "groups"})
_SEEN_SECONDS: Final = 60.0
"""How old the cookie's `seen_at` may grow: less than a tenth of any idle limit, so that none is renewed."""


class Persona:
    """Who every request of the only site comes from."""

    def __init__(self, person: Person, runtime: Runtime, state: State) -> None:
        """Make the first session. Raises ConfigurationError when the gate would not let this person be."""
        self._person = person
        self._state = state
        self._runtime = runtime
        self._session = self._begin()
        self._cookie = self._sealed()

    def dress(self, runtime: Runtime, head: RequestHead) -> RequestHead:
        """Return the head with the session's cookie in place of any other session's."""
        site = runtime.sites[0]
        if not sends_lax_cookie(str(site.public_url).encode("ascii"), head):
            return head
        self._keep_fresh(runtime)
        headers = [pair for pair in head.headers if pair[0].lower() != b"cookie"]
        theirs = b"; ".join(header_values(head.headers, b"cookie"))
        others = without(theirs, lambda name: _is_session(site, name)) if theirs else None
        value = self._cookie if others is None else others + b"; " + self._cookie
        headers.append((b"Cookie", value))
        return RequestHead(head.method, head.target, headers, head.peer, head.request_id, head.is_tls)

    def _keep_fresh(self, runtime: Runtime) -> None:
        now = self._state.surroundings.clock()
        session = self._session
        policy = runtime.sites[0].session
        is_over = now >= session.created_at + policy.absolute_seconds / 2
        if runtime is not self._runtime or is_over or self._state.revocations.is_revoked(session.id, now):
            # Somebody who signs out is back with the next request: there is nobody else to be.
            self._runtime = runtime
            self._session = self._begin()
        elif now >= session.seen_at + _SEEN_SECONDS:
            self._session = replace(session, seen_at=now)
        else:
            return
        self._cookie = self._sealed()

    def _begin(self) -> Session:
        site = self._runtime.sites[0]
        key, provider = next(iter(site.providers.items()))
        try:
            identity = build_identity(
                person_claims(self._person, _SCOPES), provider, site.session.kept_claims
            )
        except InvalidToken as error:
            raise ConfigurationError(
                f"--as {self._person.sub}: nobody gets in with these claims: {error}"
            ) from error
        return build_session(site, key, identity, self._state.surroundings.clock())

    def _sealed(self) -> bytes:
        try:
            return b"; ".join(cookie_pairs(self._runtime.sites[0], self._session))
        except InvalidToken as error:
            raise ConfigurationError(f"--as {self._person.sub}: does not fit a cookie: {error}") from error


def _is_session(site: Site, name: bytes) -> bool:
    own = site.cookie.session_name
    return name == own or name.startswith(own + b".")
