"""One request as the exact bytes that a probe needs, and the answer to it, within bounds.

No HTTP client of the usual kind would send what these probes send: names with dots, targets with `..`, an
`Upgrade` that is not meant. So the head is written here and h11 reads the answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import h11

from sidecar.core.errors import ConfigurationError, DoorwardError

__all__ = ["Answer", "Ingress", "NoAnswerError", "NotExaminedError", "Request", "parse_url"]

_CONNECT_SECONDS: Final = 10.0
_MAX_BODY_BYTES: Final = 256 * 1024
_MAX_HEAD_BYTES: Final = 128 * 1024
_READ_BYTES: Final = 64 * 1024
_SWITCHING: Final = 101
_LINE_ENDS: Final = frozenset("\r\n\0")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class NotExaminedError(DoorwardError):
    """Nothing can be said about this ingress, and why; one sentence."""


class NoAnswerError(DoorwardError):
    """One request got no answer, and why; a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent. Names and values of `headers` go out as they are, in this order, after Host."""

    target: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()

    def adding(self, *headers: tuple[str, str]) -> Request:
        """Return this request with further fields."""
        return Request(target=self.target, method=self.method, headers=(*self.headers, *headers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Names are in lower case; the body is cut at 256 KiB."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def value(self, name: str) -> str:
        """Return the field's first value, "" without one."""
        return next((value for known, value in self.headers if known == name), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """Where it listens, under which name it is asked, and how long one answer may take."""

    scheme: str
    host: str
    port: int
    authority: str
    patience_seconds: float = 15.0

    @property
    def origin(self) -> str:
        """Return its origin as browsers write it."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_local(self) -> bool:
        """Tell whether what is sent stays on this machine."""
        return self.host in {"localhost", "127.0.0.1", "::1"} or self.host.endswith(".localhost")

    async def send(self, request: Request) -> Answer:
        """Return the answer. Raises NoAnswerError, and NotExaminedError where no connection is to be had."""
        reader, writer = await self._connect()
        try:
            async with asyncio.timeout(self.patience_seconds):
                writer.write(self._head(request))
                await writer.drain()
                return await _read_answer(reader, request)
        except TimeoutError as error:
            raise NoAnswerError(f"no answer within {self.patience_seconds:g} s") from error
        except (OSError, EOFError) as error:
            raise NoAnswerError("the connection was closed without an answer") from error
        except h11.RemoteProtocolError as error:
            raise NoAnswerError(f"the answer is no HTTP: {error}") from error
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # RFC 6761 §6.3: such names are loopback; not every resolver knows.
        host = "127.0.0.1" if self.host.endswith(".localhost") else self.host
        context = ssl.create_default_context() if self.scheme == "https" else None
        name = self.host if context is not None else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(host, self.port, ssl=context, server_hostname=name)
        except TimeoutError as error:
            raise NotExaminedError(
                f"{self.origin} can't be reached: no connection within {_CONNECT_SECONDS:.0f} s"
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise NotExaminedError(
                f"{self.origin}: its certificate is not trusted here: {error.verify_message}"
                " (SSL_CERT_FILE names other authorities)"
            ) from error
        except ssl.SSLError as error:
            raise NotExaminedError(f"{self.origin}: TLS fails: {error.reason or error}") from error
        except OSError as error:
            raise NotExaminedError(
                f"{self.origin} can't be reached: {error.strerror or 'it hangs up'}"
            ) from error

    def _head(self, request: Request) -> bytes:
        fields = (("Host", self.authority), *request.headers)
        lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields)]
        if any(_LINE_ENDS.intersection(line) for line in lines):
            raise ConfigurationError("a request of one line each was expected: no line ends, no NUL")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def parse_url(url: str) -> tuple[Ingress, str]:
    """Return where a URL leads, and its path. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"--ingress {url}: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError(f"--ingress {url}: write https://host or http://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(f"--ingress {parts.hostname}: no user, query or fragment belongs there")
    ingress = Ingress(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        authority=parts.netloc,
    )
    return ingress, parts.path


async def _read_answer(reader: asyncio.StreamReader, request: Request) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    connection.send(_pretended(request))
    connection.send(h11.EndOfMessage())
    head: h11.Response | h11.InformationalResponse | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.InformationalResponse):
            if event.status_code == _SWITCHING:
                return _answer(event, b"")
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        if head is not None and (isinstance(event, h11.EndOfMessage) or len(body) >= _MAX_BODY_BYTES):
            return _answer(head, bytes(body[:_MAX_BODY_BYTES]))
        if isinstance(event, h11.ConnectionClosed):
            raise EOFError  # noqa: TRY004  the connection has ended, which no type says


def _pretended(request: Request) -> h11.Request:
    """Return what h11 has to know of the request in order to read its answer; it is never sent."""
    upgrade = [("Upgrade", "any"), ("Connection", "upgrade")] if _has_upgrade(request.headers) else []
    return h11.Request(method=request.method, target="/", headers=[("Host", "any"), *upgrade])


def _has_upgrade(headers: Iterable[tuple[str, str]]) -> bool:
    return any(name.lower() == "upgrade" for name, _ in headers)


def _answer(event: h11.Response | h11.InformationalResponse, body: bytes) -> Answer:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
    return Answer(status=event.status_code, headers=headers, body=body)
