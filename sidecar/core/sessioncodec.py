"""A session as bytes, for the inside of a sealed cookie or of a server-side store.

    version     1 byte, 0x01
    form        1 byte: 0 = identity as JSON, 1 = identity as raw DEFLATE of JSON
    length      4 bytes, of the next part
    bookkeeping JSON array: ids, clocks, tokens
    identity    JSON array: who it is, groups, roles, kept claims

Positions instead of names save 200 bytes. Only the identity is ever compressed (group lists shrink to a
third, which often saves a whole chunk), and it holds no credential: tokens, session id and nonce stand in
the other part. So no text that somebody else can influence (a display name, a group's name) shares a
compression window with a secret, and the cookie's length tells nothing about one (the attack called CRIME).
What the length does tell, about how many groups somebody is in, it would tell uncompressed too.

What is decoded here was authenticated before, so nobody but us made it. It is checked all the same, because
"us" may be a newer or older version: an unknown version, a wrong type, a surplus byte is "no session", never
a defect later.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NoReturn

from sidecar.core.errors import InvalidCookie, InvalidToken
from sidecar.core.identity import Identity, Json
from sidecar.core.seal import encode_base64url
from sidecar.core.secret import Secret
from sidecar.core.session import Session

__all__ = [
    "MAX_IDENTITY_BYTES",
    "StoredTicket",
    "decode_session",
    "decode_ticket",
    "encode_session",
    "encode_ticket",
]

MAX_IDENTITY_BYTES: Final = 256 * 1024
"""An identity that is larger as JSON is refused at login, and at decompression (S25)."""

_SESSION_VERSION: Final = 1
_TICKET_VERSION: Final = 2
_PLAIN, _DEFLATED = 0, 1
_HEADER_BYTES: Final = 6
_COMPRESS_FROM_BYTES: Final = 400
_MAX_TIME: Final = 1e12
_TICKET_SECRET_BYTES: Final = 32
_TICKET_TIME_BYTES: Final = 8


def encode_session(session: Session) -> bytes:
    """Return the session as bytes. Raises InvalidToken when its identity is too large for any cookie."""
    bookkeeping = _dump(
        [
            session.id,
            session.site,
            session.provider,
            session.created_at,
            session.seen_at,
            session.absolute_end,
            session.generation,
            session.sid,
            _revealed(session.access_token),
            session.access_issued_at,
            session.access_expires_at,
            _revealed(session.refresh_token),
            _revealed(session.id_token),
            session.auth_time,
            session.acr,
            session.nonce,
        ]
    )
    identity = _dump_identity(session.identity)
    if len(identity) > MAX_IDENTITY_BYTES:
        raise InvalidToken("session_too_large", f"the claims take {len(identity)} bytes")
    form = _PLAIN
    if len(identity) >= _COMPRESS_FROM_BYTES:
        form, identity = _DEFLATED, zlib.compress(identity, 6, -zlib.MAX_WBITS)
    return bytes((_SESSION_VERSION, form)) + len(bookkeeping).to_bytes(4) + bookkeeping + identity


def decode_session(data: bytes) -> Session:
    """Return the session. Raises InvalidCookie for anything that `encode_session` does not make."""
    if len(data) < _HEADER_BYTES or data[0] != _SESSION_VERSION:
        raise InvalidCookie("session_version")
    split = _HEADER_BYTES + int.from_bytes(data[2:_HEADER_BYTES])
    if split > len(data):
        raise InvalidCookie("session_invalid")
    identity = data[split:]
    if data[1] == _DEFLATED:
        identity = _inflate(identity)
    elif data[1] != _PLAIN:
        raise InvalidCookie("session_version")
    fields = _Fields(data[_HEADER_BYTES:split], 16)
    return Session(
        id=fields.text(),
        site=fields.text(),
        provider=fields.text(),
        created_at=fields.time(),
        seen_at=fields.time(),
        absolute_end=fields.time(),
        generation=fields.count(),
        sid=fields.text_or_none(),
        access_token=fields.secret_or_none(),
        access_issued_at=fields.time_or_none(),
        access_expires_at=fields.time_or_none(),
        refresh_token=fields.secret_or_none(),
        id_token=fields.secret_or_none(),
        auth_time=fields.time_or_none(),
        acr=fields.text_or_none(),
        nonce=fields.text_or_none(),
        identity=_load_identity(identity),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTicket:
    """What the cookie holds when the session itself is in a server-side store.

    `store_key` is made from `secret` by a hash: who reads the store learns neither the ticket nor, the data
    being sealed under that key's name, what is stored, and can't put one session in another's place. The
    session's id and end are here too, so that a revoked or ended one costs no look-up.
    """

    session_id: str
    secret: Secret = field(repr=False)
    until: float

    @property
    def store_key(self) -> str:
        """Return the key under which a store holds the session."""
        return encode_base64url(sha256(b"doorward store key\0" + self.secret.reveal()).digest()).decode()


def encode_ticket(ticket: StoredTicket) -> bytes:
    """Return the ticket as bytes: version, 32 bytes of secret, end in microseconds, id."""
    secret = ticket.secret.reveal()
    if len(secret) != _TICKET_SECRET_BYTES:
        raise ValueError("a ticket's secret has 32 bytes")
    until = int(ticket.until * 1e6).to_bytes(_TICKET_TIME_BYTES)
    return bytes((_TICKET_VERSION,)) + secret + until + ticket.session_id.encode()


def decode_ticket(data: bytes) -> StoredTicket:
    """Return the ticket. Raises InvalidCookie for anything else."""
    start, end = 1 + _TICKET_SECRET_BYTES, 1 + _TICKET_SECRET_BYTES + _TICKET_TIME_BYTES
    if len(data) <= end or data[0] != _TICKET_VERSION:
        raise InvalidCookie("session_version")
    try:
        session_id = data[end:].decode()
    except UnicodeDecodeError as error:
        raise InvalidCookie("session_invalid") from error
    until = int.from_bytes(data[start:end]) / 1e6
    return StoredTicket(session_id=session_id, secret=Secret(data[1:start]), until=until)


class _Fields:
    """The elements of a JSON array, taken one after the other, each by its type."""

    __slots__ = ("_next",)

    def __init__(self, data: bytes, count: int) -> None:
        values = _load(data)
        if not isinstance(values, list) or len(values) != count:
            raise InvalidCookie("session_invalid")
        self._next = iter(values).__next__

    def text(self) -> str:
        value = self._next()
        if not isinstance(value, str):
            raise InvalidCookie("session_invalid")
        return value

    def text_or_none(self) -> str | None:
        value = self._next()
        if value is not None and not isinstance(value, str):
            raise InvalidCookie("session_invalid")
        return value

    def secret_or_none(self) -> Secret | None:
        value = self.text_or_none()
        return None if value is None else Secret(value.encode("utf-8", "surrogatepass"))

    def time(self) -> float:
        value = self.time_or_none()
        if value is None:
            raise InvalidCookie("session_invalid")
        return value

    def time_or_none(self) -> float | None:
        value = self._next()
        if value is None:
            return None
        # True is an int; 1e999 is valid JSON and infinite.
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_TIME:
            raise InvalidCookie("session_invalid")
        return float(value)

    def count(self) -> int:
        value = self._next()
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidCookie("session_invalid")
        return value

    def texts(self) -> tuple[str, ...]:
        value = self._next()
        if not isinstance(value, list):
            raise InvalidCookie("session_invalid")
        texts = tuple(item for item in value if isinstance(item, str))
        if len(texts) != len(value):
            raise InvalidCookie("session_invalid")
        return texts

    def mapping(self) -> dict[str, Json]:
        value = self._next()
        if not isinstance(value, dict):
            raise InvalidCookie("session_invalid")
        return value


def _dump_identity(identity: Identity) -> bytes:
    return _dump(
        [
            identity.issuer,
            identity.subject,
            identity.user,
            identity.email,
            identity.preferred_username,
            identity.name,
            list(identity.groups),
            list(identity.roles),
            dict(identity.claims),
        ]
    )


def _load_identity(data: bytes) -> Identity:
    fields = _Fields(data, 9)
    return Identity(
        issuer=fields.text(),
        subject=fields.text(),
        user=fields.text(),
        email=fields.text_or_none(),
        preferred_username=fields.text_or_none(),
        name=fields.text_or_none(),
        groups=fields.texts(),
        roles=fields.texts(),
        claims=fields.mapping(),
    )


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(data, MAX_IDENTITY_BYTES)
    except zlib.error as error:
        raise InvalidCookie("session_invalid") from error
    if not inflater.eof or inflater.unused_data:
        raise InvalidCookie("session_invalid")
    return plain


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal().decode("utf-8", "surrogatepass")


def _dump(value: list[Json]) -> bytes:
    # A claim may hold a lone surrogate ("\\ud800" is valid JSON): it passes through unchanged.
    return _ENCODER.encode(value).encode("utf-8", "surrogatepass")


def _load(data: bytes) -> Json:
    try:
        value: Json = _DECODER.decode(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise InvalidCookie("session_invalid") from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidCookie("session_invalid", f"{name} is not JSON")


# Made once: `json.loads` and `json.dumps` build these anew for each call that names an option.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
