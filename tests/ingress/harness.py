"""A real ingress in front of a real application, asking a real Doorward: what the tests of an ingress share.

Each file of config/ingress/ names the same addresses, which `World.config` replaces by free ones:

- 8000 the ingress, as http://app.localhost:8000
- 4180 Doorward, 4181 its gRPC listener for Envoy, 9080 its admin listener
- 3000 the application
- 9000 the ingress's own admin listener, where it has one

These numbers must stand for nothing else in such a file. Other paths and names are the ingress's own: it
gives them to `World.config` as further replacements.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from tests.blackbox.agent import Agent, Cookie
from tests.blackbox.doorward import Doorward, new_key
from tests.blackbox.httpserver import Received
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Upstream
from tests.processes import find_free_port

__all__ = ["CONFIG", "HOST", "IDENTITY", "Ingress", "Limit", "RawAnswer", "World", "folded", "open_world"]

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "ingress"
HOST = "app.localhost"
IDENTITY = ("X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups")
"""Fields by which the application knows who it is."""

_SECONDS = 20.0

type Limit = Literal["400 groups", "refreshed cookie in chunks", "refreshed cookie"]
"""What an ingress may not be able to carry."""


class Ingress:
    """One ingress, as its tests see it. A subclass says how it is started.

    `limits` names what it cannot carry, each with a sentence that its page docs/ingress/<page>.md holds word
    by word. `resolves` are targets that it makes plain itself before anybody is asked, and to what: so nobody
    is told one thing and sent another. `settings` are changes to config/ingress/doorward.yaml, with the ports
    as they are written there.
    """

    name: ClassVar[str]
    part: ClassVar[str]
    page: ClassVar[str] = ""
    limits: ClassVar[Mapping[Limit, str]] = {}
    resolves: ClassVar[Mapping[str, str]] = {}
    scheme: ClassVar[str] = "http"
    trust: ssl.SSLContext | bool = True
    settings: ClassVar[Mapping[str, Any]] = {}

    def start(self, world: World) -> AbstractContextManager[object]:
        """Run the real program with its file of config/ingress/ on `world.port`, until the block ends."""
        raise NotImplementedError

    def is_limited(self, limit: Limit) -> bool:
        """Tell whether that is beyond this ingress, and hold its page against it."""
        if limit not in self.limits:
            return False
        page = (ROOT / "docs" / "ingress" / f"{self.page or self.name}.md").read_text("utf-8")
        assert " ".join(self.limits[limit].split()) in " ".join(page.split())
        return True


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer to a request that no polite client sends."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(kw_only=True)
class World:
    """Everything that runs. `folder` is for the files of its processes."""

    folder: Path
    ingress: Ingress
    provider: ScriptedProvider
    application: Upstream
    port: int = field(default_factory=find_free_port)
    grpc_port: int = field(default_factory=find_free_port)
    ingress_admin_port: int = field(default_factory=find_free_port)
    doorward: Doorward = field(init=False)
    _doorward_port: int = field(default_factory=find_free_port)

    def __post_init__(self) -> None:
        """Begin with a folder that is there."""
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Return what people type."""
        return f"{self.ingress.scheme}://{HOST}:{self.port}"

    @property
    def ports(self) -> dict[int, int]:
        """Return which port stands for which in the files of config/ingress/."""
        return {
            8000: self.port,
            4180: self._doorward_port,
            4181: self.grpc_port,
            3000: self.application.port,
            9000: self.ingress_admin_port,
        }

    def config(self, name: str, **replaced: object) -> str:
        """Return a file of config/ingress/ as it is, with only addresses replaced.

        `replaced` are further texts by what stands for them in the file, which must be there: paths, as
        `config("nginx.conf", **{"/run/nginx.pid": folder / "nginx.pid"})`.
        """
        text = (CONFIG / name).read_text("utf-8")
        for old, new in replaced.items():
            assert old in text, f"{name} does not hold {old}"
            text = text.replace(old, str(new))
        return self.with_ports(text)

    def with_ports(self, text: str) -> str:
        """Return `text` with the ports of this world in the place of the recipes'."""
        return re.sub(r"\b(8000|4180|4181|3000|9000)\b", lambda found: str(self.ports[int(found[0])]), text)

    def write_config(self, name: str, **replaced: object) -> Path:
        """Write that into the folder, and return where."""
        path = self.folder / name
        path.write_text(self.config(name, **replaced), encoding="utf-8")
        return path

    # --- people ---

    def agent(self) -> Agent:
        """Return a new person's browser."""
        person = self.doorward.agent()
        person.verify = self.ingress.trust
        return person

    def signed_in(self, path: str = "/start-page", **claims: object) -> Agent:
        """Return somebody who has signed in through the ingress, with changed claims if any.

        The fixture `script` puts the claims back after the test.
        """
        self.provider.claims.update(claims)
        person = self.agent()
        page = person.open(self.url + path)
        assert (page.status, page.url) == (200, self.url + path), (page.status, page.hops, page.text[:500])
        return person

    def session_cookies(self, person: Agent) -> list[Cookie]:
        """Return the session's cookies, not those of logins in progress."""
        return [cookie for cookie in person.cookies(HOST) if int(cookie.attributes["max-age"]) > 7200]

    def raw(
        self,
        target: str,
        method: str = "GET",
        *,
        person: Agent | None = None,
        headers: Mapping[str, str] | None = None,
        source: str = "127.0.0.1",
    ) -> RawAnswer:
        """Send a target and fields exactly as they are, from the loopback address `source`."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=_SECONDS, source_address=(source, 0)
        )
        cookie = {} if person is None else {"Cookie": person.cookie_header(self.url)}
        with contextlib.closing(connection):
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": f"{HOST}:{self.port}", **cookie, **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return RawAnswer(answer.status, answer.headers, answer.read())

    # --- Doorward, taken away ---

    @contextlib.contextmanager
    def doorward_killed(self) -> Iterator[None]:
        """Take Doorward away without a warning, and start it again at the end of the block."""
        self.doorward.process.kill()
        self.doorward.process.wait(_SECONDS)
        try:
            yield
        finally:
            self.doorward.start()

    @contextlib.contextmanager
    def doorward_hanging(self) -> Iterator[None]:
        """Let Doorward accept connections and say nothing, until the block ends."""
        self.doorward.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.doorward.process.send_signal(signal.SIGCONT)

    def statuses(self, asked: list[tuple[str, Agent | None]]) -> list[int]:
        """Ask for these paths at once, each as that person or as nobody, and return the statuses."""
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = [pool.submit(self.raw, path, person=person) for path, person in asked]
            return [answer.result(_SECONDS).status for answer in answers]


def folded(received: Received, name: str) -> list[str]:
    """Return the values of each field that some server takes for `name`: any sign for a hyphen, any case."""
    wanted = re.sub(r"[^a-z0-9]", "-", name.lower())
    return [value for known, value in received.headers if re.sub(r"[^a-z0-9]", "-", known.lower()) == wanted]


def _settings(world: World) -> dict[str, Any]:
    """Return config/ingress/doorward.yaml with the addresses, the provider and the keys of this world."""
    settings: dict[str, Any] = yaml.safe_load(world.config("doorward.yaml"))
    del settings["listen"], settings["admin"]
    provider = world.provider.settings()
    return {
        **settings,
        "provider": {**settings["provider"], **provider},
        "session": {"keys": [new_key()]},
        # One process, which a test can stop.
        "workers": 1,
        **yaml.safe_load(world.with_ports(yaml.safe_dump(dict(world.ingress.settings)))),
    }


@contextlib.contextmanager
def open_world(
    folder: Path, ingress: Ingress, provider: ScriptedProvider, application: Upstream
) -> Iterator[World]:
    """Run Doorward and the ingress in front of the application, until the block ends."""
    world = World(folder=folder, ingress=ingress, provider=provider, application=application)
    world.doorward = Doorward(
        folder,
        port=world.ports[4180],
        secret_source=provider.secrets,
        **_settings(world),
    )
    with world.doorward, ingress.start(world):
        yield world
