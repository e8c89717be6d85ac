"""Recordings: what was asked, who asked, what was decided, as a file of mitmproxy flows.

mitmproxy's programs open it (`mitmweb -r flows.mitm`), `doorward dev --replay` asks another configuration
with it. It goes to colleagues and into bug reports, so it holds nothing that lets anybody be somebody: no
Cookie, no credentials, no body. Of header fields only those are kept whose value a decision may depend on,
or that name the program; of others only the name; of a query only its names. In place of the cookie stands
the identity that its session had.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.core.cookies import parse_cookies
from sidecar.core.decision import Respond
from sidecar.core.errors import ConfigurationError
from sidecar.core.http import header_values, single_header
from sidecar.core.identity import Identity
from sidecar.core.sessioncookie import read_session

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

    from sidecar.core.decision import Flow, Forward
    from sidecar.core.http import HeaderPair, RequestHead
    from sidecar.core.runtime import Runtime
    from sidecar.core.state import State

__all__ = ["Recorded", "Recorder", "read_recording", "without_path_sessions"]

_METADATA: Final = "doorward"
_VERSION: Final = 1
_MAX_PENDING: Final = 4096
_MASK: Final = b"(not-kept)"
_KEPT: Final = frozenset(
    {
        *(b"host", b"accept", b"accept-language", b"user-agent", b"origin", b"sec-purpose", b"purpose"),
        *(b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-user", b"x-requested-with"),
        *(b"content-type", b"content-length", b"transfer-encoding", b"connection", b"upgrade"),
        *(b"sec-websocket-version", b"sec-websocket-key", b"sec-websocket-extensions"),
        *(b"access-control-request-method", b"access-control-request-headers"),
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"),
        *(b"forwarded", b"x-real-ip"),
    }
)
# Java's, PHP's and others' sessions in the path, where cookies do not work.
_PATH_SESSION: Final = re.compile(rb"(?i)(;(?:jsessionid|phpsessid|sessionid|sid|token)=)[^/;?]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One request of a recording, masked; `answer` is our status, None where it was passed on."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    peer: str
    is_tls: bool
    identity: Identity | None
    provider: str | None
    reason: str
    rule: str | None
    answer: int | None


class Recorder:
    """Writes a recording, each request when it is over. A full disk ends it, never what is served."""

    def __init__(self, file: Path, state: State, say: Callable[[str], object]) -> None:
        """Make `file`, which only its owner can read. Raises ConfigurationError, also when it exists."""
        from mitmproxy.io import FlowWriter

        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise ConfigurationError(
                f"--record {file}: is there already; name another file, or remove it."
            ) from error
        except OSError as error:
            raise ConfigurationError(f"--record {file}: can't be written: {error.strerror}.") from error
        os.fchmod(descriptor, 0o600)
        self._out = os.fdopen(descriptor, "wb")
        self._writer: FlowWriter | None = FlowWriter(self._out)
        self._file = file
        self._state = state
        self._say = say
        self._pending: dict[str, Recorded] = {}

    def note(self, runtime: Runtime, head: RequestHead, decision: Respond | Forward | Flow) -> None:
        """Keep who asks, and what was decided if that is known at the head."""
        if self._writer is None:
            return
        while len(self._pending) >= _MAX_PENDING:
            self._pending.pop(next(iter(self._pending)))
        identity, provider = self._identity(runtime, head)
        self._pending[head.request_id] = Recorded(
            method=head.method.decode("latin-1"),
            target=_masked_target(head.target).decode("latin-1"),
            headers=tuple(_masked_headers(head.headers)),
            peer=head.peer,
            is_tls=head.is_tls,
            identity=identity,
            provider=provider,
            **_decided(decision),
        )

    def note_result(self, request_id: str, result: Respond | Forward) -> None:
        """Keep what a flow has decided."""
        known = self._pending.get(request_id)
        if known is not None:
            self._pending[request_id] = replace(known, **_decided(result))

    def finish(self, request_id: str, status: int, seconds: float) -> None:
        """Write a request that is over."""
        known = self._pending.pop(request_id, None)
        if known is None or self._writer is None:
            return
        flow = _flow(known, status, self._state.surroundings.clock(), seconds)
        try:
            self._writer.add(flow)
            self._out.flush()
        except OSError as error:
            self._writer = None
            why = f"can't be written any more: {error.strerror}"
            self._say(f"--record {self._file}: {why}; the recording ends here.")

    def close(self) -> None:
        """Close the file."""
        self._writer = None
        self._out.close()

    def _identity(self, runtime: Runtime, head: RequestHead) -> tuple[Identity | None, str | None]:
        cookie = single_header(head.headers, b"cookie")
        if cookie is None:
            return None, None
        site, now = runtime.sites[0], self._state.surroundings.clock()
        session = read_session(site, self._state, parse_cookies(cookie), now).session
        return (None, None) if session is None else (session.identity, session.provider)


def read_recording(file: Path) -> list[Recorded]:
    """Return the requests of a recording. Raises ConfigurationError with one sentence for any other file."""
    try:
        with file.open("rb") as opened:
            return [_recorded(flow, number) for number, flow in enumerate(_flows(opened), 1)]
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be read: {error.strerror}") from error
    except _BrokenError as error:
        raise ConfigurationError(f"{file}: is no recording of doorward dev: {error}") from error


class _BrokenError(Exception):
    """The file is something else, or was cut off."""


def _flows(opened: Any) -> Iterator[object]:  # noqa: ANN401  mitmproxy's reader takes what it gets
    from mitmproxy.io import FlowReader

    reader = iter(FlowReader(opened).stream())
    number = 0
    while True:
        try:
            flow = next(reader, None)
        except Exception as error:
            # Its reader raises of many kinds for what is no flow, and every one of them means this.
            raise _BrokenError(f"flow {number + 1} can't be read") from error
        if flow is None:
            break
        number += 1
        yield flow
    if not number:
        raise _BrokenError("it holds no flows")


def _decided(decision: Respond | Forward | Flow) -> dict[str, Any]:
    note = getattr(decision, "note", None)
    if note is None:
        return {"reason": "login_started", "rule": None, "answer": None}
    answer = decision.response.status if isinstance(decision, Respond) else None
    return {"reason": note.reason, "rule": note.rule, "answer": answer}


def without_path_sessions(path: bytes) -> bytes:
    """Return a path that names sessions without their values."""
    return _PATH_SESSION.sub(rb"\1~", path)


def _masked_target(target: bytes) -> bytes:
    path, mark, query = target.partition(b"?")
    names = [name + equals + (b"~" if equals else b"") for name, equals, _ in map(_split, query.split(b"&"))]
    return without_path_sessions(path) + mark + b"&".join(names)


def _split(part: bytes) -> tuple[bytes, bytes, bytes]:
    name, equals, value = part.partition(b"=")
    # A part without "=" may be the secret itself.
    return (name if equals or not name else b"~"), equals, value


def _masked_headers(headers: list[HeaderPair]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        lower = name.lower()
        if lower != b"cookie":
            yield name.decode("latin-1"), (value if lower in _KEPT else _MASK).decode("latin-1")


def _flow(known: Recorded, status: int, now: float, seconds: float) -> HTTPFlow:
    from mitmproxy import connection
    from mitmproxy.http import HTTPFlow, Request, Response

    client = connection.Client(peername=(known.peer, 0), sockname=("", 0), timestamp_start=now - seconds)
    flow = HTTPFlow(client, connection.Server(address=None))
    scheme = "https" if known.is_tls else "http"
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in known.headers]
    host = next(iter(header_values(headers, b"host")), b"").decode("latin-1")
    name, _, port = host.rpartition(":")
    flow.request = Request(
        name or host,
        int(port) if name and port.isdigit() else {"http": 80, "https": 443}[scheme],
        known.method.encode("latin-1"),
        scheme.encode("ascii"),
        b"",
        known.target.encode("latin-1"),
        b"HTTP/1.1",
        tuple(headers),
        b"",
        None,
        now - seconds,
        now - seconds,
    )
    if status:
        flow.response = Response.make(status, b"")
        flow.response.timestamp_start = flow.response.timestamp_end = now
    who = "nobody" if known.identity is None else known.identity.user
    flow.comment = f"{known.reason}{f', rule {known.rule}' if known.rule else ''}, {who}"
    flow.metadata[_METADATA] = json.dumps({"version": _VERSION, **asdict(known)}, default=dict)
    return flow


def _recorded(flow: object, number: int) -> Recorded:
    metadata = getattr(flow, "metadata", {})
    try:
        facts = json.loads(metadata[_METADATA])
        if facts.pop("version") != _VERSION:
            raise _BrokenError(f"flow {number} is of another version")
        facts["identity"] = None if facts["identity"] is None else _identity_of(facts["identity"])
        facts["headers"] = tuple((str(name), str(value)) for name, value in facts["headers"])
        return _checked(Recorded(**facts))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _BrokenError(f"flow {number} does not say what was decided") from error


def _identity_of(facts: dict[str, Any]) -> Identity:
    texts = [facts["issuer"], facts["subject"], facts["user"], *facts["groups"], *facts["roles"]]
    maybe = [facts["email"], facts["preferred_username"], facts["name"]]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(t, str | None) for t in maybe):
        raise TypeError("an identity is made of text")
    if not isinstance(facts["claims"], dict):
        raise TypeError("claims are a mapping")
    return Identity(**{**facts, "groups": tuple(facts["groups"]), "roles": tuple(facts["roles"])})


def _checked(recorded: Recorded) -> Recorded:
    """Return it when it is of the types that it says. Raises TypeError or ValueError."""
    # Joining refuses what is no text, encoding what no wire carries.
    fields = [part for pair in recorded.headers for part in pair]
    "".join((recorded.method, recorded.target, recorded.peer, recorded.reason, *fields)).encode("latin-1")
    "".join((recorded.rule or "", recorded.provider or ""))
    return recorded
