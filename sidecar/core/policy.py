"""Whether an identity satisfies a condition, and why.

Theory of operation. A condition is true, false or *unknown*: unknown while nobody is signed in, and for good
when the claim it asks for is missing or of the wrong type. Unknown never admits, and its negation is unknown
too (Kleene's logic), so that `not: {groups: [contractors]}` lets in neither strangers nor people of whom the
provider told no groups. `needs_login` is set when a sign-in could make the answer true.

The answers that need no composing are made at construction: evaluating a leaf allocates nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, override

from sidecar.core.emails import canonical_domain, canonical_email
from sidecar.core.errors import ConfigurationError
from sidecar.core.identity import Identity, Json

__all__ = [
    "All",
    "AnyOf",
    "Anyone",
    "Authenticated",
    "ClaimEquals",
    "Condition",
    "EmailDomains",
    "Emails",
    "Groups",
    "Networks",
    "Not",
    "Roles",
    "Users",
    "Verdict",
    "claims_used",
    "evaluate",
    "is_public",
    "lookup_claim",
]

type Scalar = bool | int | float | str


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


def evaluate(condition: Condition, identity: Identity | None, client_ip: str) -> Verdict:
    """Answer whether `condition` admits `identity` (None: nobody is signed in) at `client_ip`.

    `client_ip` is the address in text, already found behind trusted proxies (S48); "unix" and anything else
    that is no address is in no network.
    """
    return condition.judge(identity, client_ip)


@dataclass(frozen=True, slots=True)
class Anyone(Condition):
    """Admits everybody, signed in or not."""

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Say yes."""
        return _ANYONE


@dataclass(frozen=True, slots=True)
class Authenticated(Condition):
    """Admits everybody who is signed in."""

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Say yes to an identity."""
        return _NOBODY if identity is None else _SIGNED_IN


_ANYONE: Final = Verdict(allowed=True, needs_login=False, why="anyone may")
_SIGNED_IN: Final = Verdict(allowed=True, needs_login=False, why="signed in")
_NOBODY: Final = Verdict(allowed=False, needs_login=True, why="nobody is signed in", is_known=False)


@dataclass(frozen=True, slots=True)
class _Listed(Condition, ABC):
    """What the conditions "one of these values" share: `values` as written, and the four answers to them.

    Raises `ConfigurationError` for an empty list (it would admit nobody, or everybody to whom reads it
    otherwise: S61) and for a value that could never match.
    """

    values: tuple[str, ...]
    _accepted: frozenset[str] = field(init=False, repr=False, compare=False)
    _yes: Verdict = field(init=False, repr=False, compare=False)
    _no: Verdict = field(init=False, repr=False, compare=False)
    _missing: Verdict = field(init=False, repr=False, compare=False)
    _login: Verdict = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the values and prepare the answers."""
        word = self._word()
        _require_list(word, self.values)
        listed = _enumerate(self.values)
        answers = {
            "_accepted": frozenset(map(self._normal, self.values)),
            "_yes": Verdict(allowed=True, needs_login=False, why=f"one of the {word} {listed}"),
            "_no": Verdict(allowed=False, needs_login=False, why=f"none of the {word} {listed}"),
            "_missing": _unknown(f"no {word} known, none of the {word} {listed}"),
            "_login": _login(f"one of the {word} {listed}"),
        }
        for name, value in answers.items():
            object.__setattr__(self, name, value)

    @abstractmethod
    def _word(self) -> str:
        """Return what the values are, as the configuration calls them."""

    def _normal(self, value: str) -> str:
        """Return the value in the form to compare; raises `ConfigurationError`."""
        if not value.strip():
            raise ConfigurationError(f"{self._word()} holds an empty value; remove it or name somebody.")
        return value


@dataclass(frozen=True, slots=True)
class Users(_Listed):
    """Admits these users: exact values of the claim that is the identity's `user`."""

    @override
    def _word(self) -> str:
        return "users"

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Compare exactly."""
        if identity is None:
            return self._login
        if not identity.user:
            return self._missing
        return self._yes if identity.user in self._accepted else self._no


@dataclass(frozen=True, slots=True)
class Emails(_Listed):
    """Admits these verified e-mail addresses, case folded (S24)."""

    @override
    def _word(self) -> str:
        return "emails"

    @override
    def _normal(self, value: str) -> str:
        email = canonical_email(value)
        if email is None:
            raise ConfigurationError(
                f"emails: {value!r} is no address that can be compared; write it as name@example.com."
            )
        return email

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Compare in canonical form; an address that has none counts as missing."""
        if identity is None:
            return self._login
        email = None if identity.email is None else canonical_email(identity.email)
        if email is None:
            return self._missing
        return self._yes if email in self._accepted else self._no


@dataclass(frozen=True, slots=True)
class EmailDomains(_Listed):
    """Admits verified e-mail addresses of these domains (S24).

    `example.com` is that domain alone; `*.example.com` or `.example.com` each domain below it, and not
    itself. The dot is a boundary: `evil-example.com` is below neither.
    """

    @override
    def _word(self) -> str:
        return "email_domains"

    @override
    def _normal(self, value: str) -> str:
        rest = value.removeprefix("*")
        domain = canonical_domain(rest.removeprefix("."))
        if domain is None or (value.startswith("*") and not rest.startswith(".")):
            raise ConfigurationError(
                f"email_domains: {value!r} is no domain; write example.com, *.example.com for the domains"
                " below it, or `authenticated` to admit every address."
            )
        return f".{domain}" if rest.startswith(".") else domain

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Compare the domain, then what it is below of."""
        if identity is None:
            return self._login
        email = None if identity.email is None else canonical_email(identity.email)
        if email is None:
            return self._missing
        domain = email.rpartition("@")[2]
        if domain in self._accepted:
            return self._yes
        while "." in domain:
            domain = domain.partition(".")[2]
            if f".{domain}" in self._accepted:
                return self._yes
        return self._no


@dataclass(frozen=True, slots=True)
class Groups(_Listed):
    """Admits members of one of these groups, compared exactly.

    No groups at all count as unknown: providers leave the claim out when it grows too long (Entra ID beyond
    200 groups), and a negation must not read that as "in none".
    """

    @override
    def _word(self) -> str:
        return "groups"

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Look for one in common."""
        if identity is None:
            return self._login
        if not identity.groups:
            return self._missing
        return self._no if self._accepted.isdisjoint(identity.groups) else self._yes


@dataclass(frozen=True, slots=True)
class Roles(_Listed):
    """Admits holders of one of these roles, compared exactly; no roles at all count as unknown."""

    @override
    def _word(self) -> str:
        return "roles"

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Look for one in common."""
        if identity is None:
            return self._login
        if not identity.roles:
            return self._missing
        return self._no if self._accepted.isdisjoint(identity.roles) else self._yes


@dataclass(frozen=True, slots=True)
class ClaimEquals(Condition):
    """Admits identities whose claim at `path` is one of `values`, or is a list that holds one.

    Types must agree: "1" is not 1 and 1 is not true. A missing claim, an object, null or a list of others
    than scalars is unknown. `path` is dotted ("resource_access.app.roles"); a claim whose whole name is the
    path goes first, since names are often URLs.
    """

    path: str
    values: tuple[Scalar, ...]
    _accepted: frozenset[tuple[str, Scalar]] = field(init=False, repr=False, compare=False)
    _yes: Verdict = field(init=False, repr=False, compare=False)
    _no: Verdict = field(init=False, repr=False, compare=False)
    _missing: Verdict = field(init=False, repr=False, compare=False)
    _login: Verdict = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check path and values and prepare the answers."""
        if not self.path or "" in self.path.split("."):
            raise ConfigurationError(
                f"claim: {self.path!r} is no path to a claim; write names with dots between them."
            )
        if self.path in {"email", "email_verified"}:
            # S24: the bare claim may be unverified; `emails` looks at the verified address only.
            raise ConfigurationError(
                f"claim: {self.path!r} can't be used here; `emails` and `email_domains` compare the verified"
                " address."
            )
        _require_list(f"the values of claim {self.path}", self.values)
        word = f"claim {self.path} is"
        listed = _enumerate(map(_json_text, self.values))
        answers = {
            "_accepted": frozenset(map(_typed, self.values)),
            "_yes": Verdict(allowed=True, needs_login=False, why=f"{word} one of {listed}"),
            "_no": Verdict(allowed=False, needs_login=False, why=f"{word} none of {listed}"),
            "_missing": _unknown(f"{word} missing or no plain value, none of {listed}"),
            "_login": _login(f"claim {self.path} to be one of {listed}"),
        }
        for name, value in answers.items():
            object.__setattr__(self, name, value)

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Compare value and type."""
        if identity is None:
            return self._login
        value = lookup_claim(identity.claims, self.path)
        held = value if isinstance(value, list) else [value]
        scalars = [item for item in held if isinstance(item, bool | int | float | str)]
        if not scalars:
            return self._missing
        return self._no if self._accepted.isdisjoint(map(_typed, scalars)) else self._yes


@dataclass(frozen=True, slots=True)
class Networks(Condition):
    """Admits requests from these networks, whoever makes them. An IPv4-mapped IPv6 address is IPv4."""

    networks: tuple[IPv4Network | IPv6Network, ...]
    _masks: tuple[tuple[int, int, frozenset[int]], ...] = field(init=False, repr=False, compare=False)
    _yes: Verdict = field(init=False, repr=False, compare=False)
    _no: Verdict = field(init=False, repr=False, compare=False)
    _missing: Verdict = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Sort the networks by version and length of the prefix, so that many cost no more than few."""
        _require_list("networks", self.networks)
        prefixes: dict[tuple[int, int], set[int]] = {}
        for network in map(_unmapped_network, self.networks):
            shift = network.max_prefixlen - network.prefixlen
            prefixes.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        listed = _enumerate(map(str, self.networks))
        answers = {
            "_masks": tuple((*key, frozenset(values)) for key, values in sorted(prefixes.items())),
            "_yes": Verdict(allowed=True, needs_login=False, why=f"from one of the networks {listed}"),
            "_no": Verdict(allowed=False, needs_login=False, why=f"from none of the networks {listed}"),
            "_missing": _unknown(f"from no known address, so from none of the networks {listed}"),
        }
        for name, value in answers.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Networks:
        """Parse networks such as "10.0.0.0/8" or single addresses; raises `ConfigurationError`."""
        return cls(tuple(map(_parse_network, texts)))

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Look for the address's prefixes."""
        address = _parse_address(client_ip)
        if address is None:
            return self._missing
        version, number = address
        for mask_version, shift, prefixes in self._masks:
            if mask_version == version and number >> shift in prefixes:
                return self._yes
        return self._no


@dataclass(frozen=True, slots=True)
class All(Condition):
    """Admits whom each of `conditions` admits."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list, which logic would call true."""
        _require_list("all", self.conditions)

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Give the first no, else the first unknown that no sign-in mends, else the first unknown."""
        verdicts = [condition.judge(identity, client_ip) for condition in self.conditions]
        refusals = [verdict for verdict in verdicts if not verdict.allowed]
        if not refusals:
            return verdicts[0] if len(verdicts) == 1 else _composed(verdicts, " and ", allowed=True)
        return min(refusals, key=lambda verdict: (verdict.is_known * -1, verdict.needs_login))


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    """Admits whom at least one of `conditions` admits."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        """Refuse an empty list."""
        _require_list("any", self.conditions)

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Give the first yes; else unknown when one is, and a sign-in may help when it may help one."""
        refusals: list[Verdict] = []
        for condition in self.conditions:
            verdict = condition.judge(identity, client_ip)
            if verdict.allowed:
                return verdict
            refusals.append(verdict)
        return refusals[0] if len(refusals) == 1 else _composed(refusals, "; ", allowed=False)


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """Admits whom `condition` surely does not admit: the negation of unknown is unknown."""

    condition: Condition

    def __post_init__(self) -> None:
        """Refuse what could never admit anybody although it looks as if."""
        if isinstance(self.condition, Authenticated):
            raise ConfigurationError(
                "not: authenticated would send everybody to sign in and then refuse them; to close a path"
                " write `not: anyone`."
            )

    @override
    def judge(self, identity: Identity | None, client_ip: str) -> Verdict:
        """Turn yes and no round, and leave unknown."""
        verdict = self.condition.judge(identity, client_ip)
        if not verdict.is_known:
            return verdict
        return Verdict(allowed=not verdict.allowed, needs_login=False, why=f"not ({verdict.why})"[:_MAX_WHY])


def claims_used(condition: Condition) -> set[str]:
    """Return the paths of the claims that `condition` looks at beyond the fields of `Identity`."""
    match condition:
        case ClaimEquals():
            return {condition.path}
        case All() | AnyOf():
            return set[str]().union(*map(claims_used, condition.conditions))
        case Not():
            return claims_used(condition.condition)
        case _:
            return set()


def is_public(condition: Condition) -> bool:
    """Return whether `condition` admits everybody, whoever and wherever they are."""
    match condition:
        case Anyone():
            return True
        case All():
            return all(map(is_public, condition.conditions))
        case AnyOf():
            return any(map(is_public, condition.conditions))
        case _:
            return False


def lookup_claim(claims: Mapping[str, Json], path: str) -> Json:
    """Return the claim at the dotted `path`, None when there is none.

    At each level the longest name goes first, so that "https://example.com/roles" is found although it holds
    dots.
    """
    if path in claims:
        return claims[path]
    end = path.rfind(".")
    while end > 0:
        below = claims.get(path[:end])
        if isinstance(below, dict):
            return lookup_claim(below, path[end + 1 :])
        end = path.rfind(".", 0, end)
    return None


_MAX_WHY: Final = 400
_MAX_LISTED: Final = 5


def _require_list(name: str, values: tuple[object, ...]) -> None:
    if not values:
        raise ConfigurationError(
            f"{name}: the list is empty, so nobody could pass; name somebody, or remove it."
        )


def _enumerate(values: Iterable[str]) -> str:
    """List a few values; long lists would fill the log."""
    texts = list(values)
    more = len(texts) - _MAX_LISTED
    listed = ", ".join(texts[:_MAX_LISTED])
    return f"{listed} and {more} more" if more > 0 else listed


def _unknown(why: str) -> Verdict:
    return Verdict(allowed=False, needs_login=False, why=why, is_known=False)


def _login(wanted: str) -> Verdict:
    why = f"nobody is signed in; needs {wanted}"
    return Verdict(allowed=False, needs_login=True, why=why, is_known=False)


def _composed(verdicts: list[Verdict], joint: str, *, allowed: bool) -> Verdict:
    return Verdict(
        allowed=allowed,
        needs_login=any(verdict.needs_login for verdict in verdicts),
        why=joint.join(verdict.why for verdict in verdicts)[:_MAX_WHY],
        is_known=all(verdict.is_known for verdict in verdicts),
    )


def _json_text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(value: Scalar) -> tuple[str, Scalar]:
    """Pair a value with its JSON type, since Python holds True, 1 and 1.0 for equal."""
    if isinstance(value, bool):
        return "boolean", value
    return ("string" if isinstance(value, str) else "number"), value


def _unmapped_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


_MAPPED_BITS: Final = 96  # RFC 4291 §2.5.5.2: ::ffff:0:0/96 holds the IPv4 addresses


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ConfigurationError(
            f"networks: {text!r} is no network ({error}); write it as 10.0.0.0/8 or 2001:db8::/32."
        ) from error


@lru_cache(maxsize=4096)
def _parse_address(text: str) -> tuple[int, int] | None:
    """Return version and number of an address, an IPv4-mapped one as IPv4, without a zone; else None."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)
