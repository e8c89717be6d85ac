"""HTTP to providers: one deadline over everything, a limit on the decoded size, no way to another origin.

httpx's time-outs are per operation, so a provider that drips a byte each second never meets them; the
deadline here covers name look-up, connection, TLS, every redirect and the whole body. Its decoders inflate
whatever a read brings, so compressed bodies are inflated here, by the piece (S25).
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sidecar.core.effects import CallProvider, ProviderAnswer
from sidecar.core.errors import ProviderUnavailable
from sidecar.lean import without

if TYPE_CHECKING:
    import httpx

    from sidecar.application import Observer
    from sidecar.core.runtime import Provider

__all__ = ["ProviderCalls"]

_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500
# Shorter than the 5 s after which common servers close: a POST must not meet a connection that is dying.
_KEEPALIVE_SECONDS: Final = 4.0
_MAX_CONNECTIONS: Final = 50
_INFLATE_BYTES: Final = 64 * 1024
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class ProviderCalls:
    """The connections of one process to its providers; one pool for each way to trust and to reach them."""

    def __init__(self, observer: Observer) -> None:
        """Open nothing yet."""
        self._observer = observer
        self._clients: dict[tuple[object, ...], httpx.AsyncClient] = {}

    async def call(self, request: CallProvider) -> ProviderAnswer:
        """Make the request. Raises ProviderUnavailable: too slow, too large, 5xx or unreadable."""
        clock = asyncio.get_running_loop().time
        started = clock()
        outcome = "unavailable"
        try:
            answer = await self._within_deadline(request)
            outcome = "ok" if answer.status < _CLIENT_ERROR else "refused"
            return answer
        finally:
            self._observer.provider_call(request.provider.key, request.operation, outcome, clock() - started)

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def _within_deadline(self, request: CallProvider) -> ProviderAnswer:
        with without("httpx._main", "h2"):  # its command line, and HTTP/2, which we don't speak to providers
            import httpcore  # noqa: F401  else httpx imports it later
            import httpx

        seconds = request.provider.call_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(request)
        except TimeoutError as error:
            raise ProviderUnavailable("provider_timeout", f"{request.operation}: {seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            # The text of httpx's errors holds addresses and protocol facts, nothing of a body or a form.
            detail = f"{request.operation}: {type(error).__name__}: {str(error)[:200]}"
            raise ProviderUnavailable("provider_unreachable", detail) from error

    async def _follow(self, request: CallProvider) -> ProviderAnswer:
        url = request.url
        for _ in range(_MAX_REDIRECTS + 1):
            answer, location = await self._exchange(request, url)
            if location is None:
                return answer
            url = _redirect_target(request, url, location)
        raise ProviderUnavailable("redirect_refused", f"{request.operation}: more than {_MAX_REDIRECTS}")

    async def _exchange(self, request: CallProvider, url: str) -> tuple[ProviderAnswer, str | None]:
        client = self._client(request.provider, url)
        headers = {"Accept": "application/json", **dict(request.headers)}
        content = None
        if request.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            content = urlencode(request.form).encode("ascii")
        async with client.stream(request.method, url, headers=headers, content=content) as response:
            if response.status_code >= _SERVER_ERROR:
                detail = f"{request.operation}: answered {response.status_code}"
                raise ProviderUnavailable("provider_answered_5xx", detail)
            if response.status_code in _REDIRECTS:
                return _answer(response, b""), response.headers.get("location", "")
            return _answer(response, await _read(response, request)), None

    def _client(self, provider: Provider, url: str) -> httpx.AsyncClient:
        """Return the pool for this provider's trust. A CA file that was replaced on disk makes a new one."""
        is_tls = url.lower().startswith("https:")
        changed_at = Path(provider.ca_file).stat().st_mtime_ns if is_tls and provider.ca_file else None
        key = (is_tls, provider.ca_file, changed_at, provider.http_proxy)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _open_client(provider, is_tls=is_tls)
        return client


def _open_client(provider: Provider, *, is_tls: bool) -> httpx.AsyncClient:
    # Both with the first call only: they bring urllib, http.client and more.
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    import httpx

    return httpx.AsyncClient(
        verify=_trust(provider.ca_file) if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        proxy=provider.http_proxy,
        trust_env=False,
        follow_redirects=False,
        timeout=None,  # noqa: S113  the deadline is over the whole call
        limits=httpx.Limits(max_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEEPALIVE_SECONDS),
        headers={"User-Agent": "doorward", "Accept-Encoding": "identity"},
        # A cookie that a provider sets in one person's call must not go along with another's.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def _trust(ca_file: str | None) -> ssl.SSLContext:
    """Return whom we trust: the operator's CA alone, else the system's, else (in bare images) certifi's."""
    if ca_file is not None:
        return ssl.create_default_context(cafile=ca_file)
    paths = ssl.get_default_verify_paths()
    # Each of the two is None where it does not exist.
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return ssl.create_default_context()
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


def _redirect_target(request: CallProvider, url: str, location: str) -> str:
    """Return where a redirect leads, if it may be followed: a GET, to the same origin."""
    import httpx

    here = httpx.URL(url)
    there = here.join(location)
    if request.method != "GET" or not location or _origin(here) != _origin(there):
        detail = f"{request.operation}: from {here.scheme}://{here.host} to {there.scheme}://{there.host}"
        raise ProviderUnavailable("redirect_refused", detail)
    return str(there)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme)


def _answer(response: httpx.Response, body: bytes) -> ProviderAnswer:
    return ProviderAnswer(status=response.status_code, headers=tuple(response.headers.raw), body=body)


async def _read(response: httpx.Response, request: CallProvider) -> bytes:
    limit = request.provider.call_max_bytes
    pieces = _decoder(response.headers.get("content-encoding", "identity"), request)
    body = bytearray()
    async for chunk in response.aiter_raw():
        for piece in pieces(chunk):
            body += piece
            if len(body) > limit:
                detail = f"{request.operation}: over {limit} bytes"
                raise ProviderUnavailable("provider_answer_too_large", detail)
    return bytes(body)


def _decoder(coding: str, request: CallProvider) -> Callable[[bytes], Iterable[bytes]]:
    """Return what makes pieces of a chunk. We ask for no compression; some send gzip anyway."""
    match coding.strip().lower():
        case "" | "identity":
            return lambda chunk: (chunk,)
        case "gzip" | "x-gzip" | "deflate":
            return _Inflater(request.operation).pieces
        case _:
            raise ProviderUnavailable("provider_answer_unreadable", f"{request.operation}: unknown coding")


class _Inflater:
    """gzip or zlib, at most `_INFLATE_BYTES` at a time."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: tell gzip and zlib apart

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the chunk inflates to. What follows the end of the stream is ignored."""
        rest, is_full = chunk, False
        # A full piece may have left something inside the decompressor, also when no input is left.
        while (rest or is_full) and not self._stream.eof:
            try:
                piece = self._stream.decompress(rest, _INFLATE_BYTES)
            except zlib.error as error:
                detail = f"{self._operation}: broken compression"
                raise ProviderUnavailable("provider_answer_unreadable", detail) from error
            rest, is_full = self._stream.unconsumed_tail, len(piece) == _INFLATE_BYTES
            yield piece
