"""mitmproxy's messages, made of values that are known to be right.

mitmproxy checks the type of each part of a message as it is made, which costs 40 µs, and looks a field up by
two calls for each field there is. Both sum up to a quarter of a request (docs/performance.md). What is made
here comes from our parsers and from the core: bytes in pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from mitmproxy.http import Headers, Request, RequestData, Response, ResponseData

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.core.http import HeaderPair

__all__ = ["Fields", "make_request", "make_response"]


class Fields(Headers):
    """mitmproxy's headers, in which a name is looked for in one pass."""

    @classmethod
    def of(cls, pairs: Iterable[HeaderPair]) -> Fields:
        """Return the fields of `pairs`, which are not looked at."""
        fields = cls.__new__(cls)
        fields.fields = tuple(pairs)
        return fields

    def get_all(self, name: str | bytes) -> list[str]:
        """Return the values of all fields called `name`."""
        wanted = _lower(name)
        return [
            value.decode("utf-8", "surrogateescape") for key, value in self.fields if key.lower() == wanted
        ]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a field called `name`."""
        if not isinstance(name, str | bytes):
            return False
        wanted = _lower(name)
        return any(key.lower() == wanted for key, _ in self.fields)

    @overload
    def get(self, key: str | bytes) -> str | None: ...
    @overload
    def get[T](self, key: str | bytes, default: T) -> str | T: ...
    def get(self, key: str | bytes, default: object = None) -> object:
        """Return the values called `key`, joined; else `default`."""
        values = self.get_all(key)
        return ", ".join(values) if values else default


def _lower(name: str | bytes) -> bytes:
    return (name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")).lower()


def make_request(
    *,
    host: str,
    port: int,
    method: bytes,
    scheme: bytes,
    authority: bytes,
    path: bytes,
    http_version: bytes,
    pairs: Iterable[HeaderPair],
    content: bytes | None,
    started: float,
) -> Request:
    """Return a request; without `content` its body is still to come. `started` is Unix time."""
    request, data = Request.__new__(Request), RequestData.__new__(RequestData)
    vars(data).update(
        host=host,
        port=port,
        method=method,
        scheme=scheme,
        authority=authority,
        path=path,
        http_version=http_version,
        headers=Fields.of(pairs),
        content=content,
        trailers=None,
        timestamp_start=started,
        timestamp_end=None,
    )
    request.data = data
    return request


def make_response(
    *, status: int, reason: bytes, pairs: Iterable[HeaderPair], content: bytes | None, started: float
) -> Response:
    """Return an answer; without `content` its body is still to come. `started` is Unix time."""
    response, data = Response.__new__(Response), ResponseData.__new__(ResponseData)
    vars(data).update(
        http_version=b"HTTP/1.1",
        status_code=status,
        reason=reason,
        headers=Fields.of(pairs),
        content=content,
        trailers=None,
        timestamp_start=started,
        timestamp_end=None if content is None else started,
    )
    response.data = data
    return response
