"""What the provider remembers: logins, codes and grants. In memory and bounded: the oldest goes first."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cachetools import TLRUCache

if TYPE_CHECKING:
    from sidecar.core.state import Surroundings
    from sidecar.devidp.values import Person

__all__ = ["CODE_SECONDS", "Access", "Code", "Grant", "Login", "Memory"]

CODE_SECONDS: Final = 60.0
LOGIN_SECONDS: Final = 8 * 3600.0
GRANT_SECONDS: Final = 24 * 3600.0
_MAX_ENTRIES: Final = 2000
_MAX_RECENT: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Somebody is signed in at the provider, in one browser. `sid` is what relying parties know it by."""

    sid: str
    person: Person
    auth_time: int
    until: float
    client_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """An authorization code; kept after its use, so that a second one is noticed (RFC 6749 §4.1.2)."""

    client_id: str
    redirect_uri: str
    challenge: str
    scopes: frozenset[str]
    nonce: str | None
    login: Login
    until: float
    grant_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a code was redeemed for: one family of tokens. Of its refresh tokens only this one is good."""

    id: str
    client_id: str
    scopes: frozenset[str]
    login: Login
    until: float
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What an access token stands for; good as long as its grant is there."""

    grant_id: str
    until: float


class Memory:
    """The provider's tables."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.logins: TLRUCache[str, Login] = self._table()
        self.codes: TLRUCache[str, Code] = self._table()
        self.grants: TLRUCache[str, Grant] = self._table()
        self.access: TLRUCache[str, Access] = self._table()
        self.recent: tuple[Person, ...] = ()

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self.surroundings.clock()

    def token(self) -> str:
        """Return 192 random bits as URL-safe text."""
        return base64.urlsafe_b64encode(self.surroundings.entropy(24)).decode()

    def remember(self, person: Person) -> None:
        """Offer somebody who was typed for a next time."""
        others = [other for other in self.recent if other.sub != person.sub]
        self.recent = (person, *others)[:_MAX_RECENT]

    def join(self, cookie: str, login: Login, client_id: str) -> Login:
        """Note that a client takes part in a login, so that it is told of its end."""
        joined = replace(login, client_ids=login.client_ids | {client_id})
        self.logins[cookie] = joined
        return joined

    def end_login(self, cookie: str) -> Login | None:
        """Forget a login and all tokens that came from it."""
        login = self.logins.pop(cookie, None)
        if login is not None:
            for grant in [grant for grant in self.grants.values() if grant.login.sid == login.sid]:
                self.end_grant(grant.id)
            for code in [text for text, code in self.codes.items() if code.login.sid == login.sid]:
                self.codes.pop(code, None)
        return login

    def end_grant(self, grant_id: str) -> None:
        """Take back a grant: its refresh token and every access token of it."""
        self.grants.pop(grant_id, None)

    def _table[V: (Login, Code, Grant, Access)](self) -> TLRUCache[str, V]:
        def until(_key: str, value: V, _now: float) -> float:
            return value.until

        timer: Callable[[], float] = self.surroundings.clock
        return TLRUCache(maxsize=_MAX_ENTRIES, ttu=until, timer=timer)
