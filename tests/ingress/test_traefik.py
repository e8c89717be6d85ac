"""Traefik with config/ingress/traefik.yaml and traefik-dynamic.yaml."""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import yaml

from sidecar.core.sessioncookie import MAX_CHUNKS
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.waiting import wait_until
from tests.ingress.harness import CONFIG, HOST, Ingress, World, folded
from tests.ingress.promises import IngressPromises, OtherFieldsPromises
from tests.parts import require_part
from tests.processes import running, wait_for_port

SECRET = "traefik-and-doorward-know-this"
FORGED = "mallory"
# The lines of the file that somebody with a secret takes the signs of a comment from.
_SECRET_LINES = {
    "middlewares: [doorward-clean, doorward-ask]": (
        "middlewares: [doorward-clean, doorward-secret, doorward-ask, doorward-forget]"
    ),
    "# doorward-secret:\n    #  ": "doorward-secret:\n     ",
    "# doorward-forget:\n    #  ": "doorward-forget:\n     ",
    "{{ env `FORWARD_AUTH_SECRET` }}": SECRET,
}


class Traefik(Ingress):
    """Traefik from PyPI, with its file provider."""

    name = "traefik"
    part = "traefik"
    replaced: ClassVar[Mapping[str, str]] = {}
    static: ClassVar[Mapping[str, str]] = {}

    def texts(self, world: World, dynamic: Path) -> tuple[str, str]:
        """Return the static file, which names the path of the other one, and the dynamic file."""
        static = world.config("traefik.yaml", **{"/etc/traefik/dynamic.yaml": dynamic}, **self.static)
        return static, world.config("traefik-dynamic.yaml", **self.replaced)

    @contextlib.contextmanager
    def start(self, world: World) -> Iterator[None]:
        paths = world.folder / "traefik.yaml", world.folder / "traefik-dynamic.yaml"
        for path, text in zip(paths, self.texts(world, paths[1]), strict=True):
            path.write_text(text, "utf-8")
        log = world.folder / "traefik.log"
        with running([require_part("traefik"), f"--configFile={paths[0]}"], log=log) as process:
            wait_for_port(world.port, process)
            # It listens before it has read its routes.
            wait_until(lambda: world.raw("/").status != 404, "Traefik's routes")
            yield


class TestTraefik(IngressPromises):
    """The files as they are."""

    ingress = Traefik()

    def test_with_a_hanging_doorward_nobody_passes(self, world: World) -> None:
        """S70: Traefik waits for half a minute, which nothing changes; nobody here waits as long."""
        person = world.signed_in()
        world.application.forget()

        with world.doorward_hanging():
            for cookie in (person.cookie_header(world.url), ""):
                connection = http.client.HTTPConnection("127.0.0.1", world.port, timeout=1.0)
                with contextlib.closing(connection):
                    connection.request("GET", "/x", headers={"Host": world.url[7:], "Cookie": cookie})
                    with pytest.raises(TimeoutError):
                        connection.getresponse()

            assert world.application.received == []
        assert person.fetch(world.url + "/x").status == 200
        assert len(world.application.requests("/x")) == 1

    @pytest.mark.parametrize("sign", list("_.~!+|^$%&#'*`"))
    def test_no_sign_makes_a_name_that_some_server_takes_for_ours(self, world: World, sign: str) -> None:
        """S41, S42: Traefik's own default lets all of them pass."""
        person = world.signed_in()

        told = world.raw("/x", person=person, headers={f"X-Auth{sign}Request-User": FORGED})

        assert told.status == 200
        assert folded(world.application.last("/x"), "X-Auth-Request-User") == ["ann"]

    def test_what_reroutes_behind_the_decision_does_not_arrive(self, world: World) -> None:
        """S48: the rules have judged /x, by GET."""
        person = world.signed_in()
        names = ("X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Uri")

        told = world.raw("/x", person=person, headers=dict.fromkeys(names, "/admin"))

        assert told.status == 200
        assert [folded(world.application.last("/x"), name) for name in names] == [[]] * len(names)


class TestTraefikWithASpoiltEntryPoint:
    """Somebody else's static file, which keeps every name and believes every client."""

    class Spoilt(Traefik):
        static: ClassVar[Mapping[str, str]] = {
            "aliasHeadersStrategy: delete": "aliasHeadersStrategy: keep",
            "    # No forwardedHeaders": "    forwardedHeaders: {insecure: true}\n    # No forwardedHeaders",
        }
        replaced: ClassVar[Mapping[str, str]] = {
            "        # Leave trustForwardHeader off": "        trustForwardHeader: true\n        #"
        }

    ingress = Spoilt()
    pytestmark = pytest.mark.slow

    @pytest.mark.parametrize("sign", list("_.~!"))
    def test_the_middleware_removes_the_names_by_itself(
        self, world: World, script: ScriptedProvider, sign: str
    ) -> None:
        """S41."""
        person = world.signed_in()

        for path, who, users in (("/x", person, ["ann"]), ("/public/x", None, [])):
            told = world.raw(path, person=who, headers={f"X{sign}Auth{sign}Request{sign}User": FORGED})

            assert told.status == 200
            received = world.application.last(path)
            assert [value for value in folded(received, "X-Auth-Request-User") if value] == users

    def test_a_clients_own_uri_decides_nothing(self, world: World, script: ScriptedProvider) -> None:
        """S48, S50: though trustForwardHeader is set."""
        world.application.forget()
        told = {"X-Forwarded-Uri": "/public/x", "X-Forwarded-Method": "OPTIONS"}

        assert world.raw("/x", headers=told).status == 401
        assert world.raw("/x", "DELETE", headers=told).status == 401
        assert world.application.received == []


class TestTraefikChanged(OtherFieldsPromises):
    """The changes that its page describes: a secret, and other identity fields."""

    passes_empty_fields = True

    class Changed(Traefik):
        replaced: ClassVar[Mapping[str, str]] = {
            **_SECRET_LINES,
            "- X-Auth-Request-User\n": "- Authorization\n",
            "- X-Auth-Request-Email\n": "- Username\n",
            "- X-Auth-Request-Groups\n": "- Email\n",
        }
        settings: ClassVar[Mapping[str, Any]] = {
            "forward_auth": {"secret": SECRET},
            "headers": "authorization-username-email",
        }

    ingress = Changed()
    pytestmark = pytest.mark.slow

    def test_the_application_never_sees_the_secret(self, world: World, script: ScriptedProvider) -> None:
        person = world.signed_in()
        headers = {"X-Doorward-Secret": "guessed", "Connection": "X-Doorward-Secret"}

        assert world.raw("/x", person=person, headers=headers).status == 200

        received = world.application.last("/x")
        assert folded(received, "X-Doorward-Secret") == []
        assert SECRET not in str(received.headers)

    def test_who_does_not_know_it_may_not(self, world: World) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", world.ports[4180], timeout=10.0)
        asked = {"Host": "doorward", "X-Forwarded-Host": f"{HOST}:{world.port}", "X-Forwarded-Method": "GET"}
        asked |= {"X-Forwarded-Uri": "/public/x", "X-Forwarded-Proto": "http", "X-Forwarded-For": "127.0.0.1"}
        with contextlib.closing(connection):
            for secret, status in (({}, 403), ({"X-Doorward-Secret": SECRET}, 200)):
                connection.request("GET", "/oauth2/auth/traefik", headers=asked | secret)
                answer = connection.getresponse()
                answer.read()

                assert answer.status == status


def test_each_part_of_a_large_session_is_named() -> None:
    """A12: Traefik copies cookies by their exact names."""
    ask = _dynamic()["middlewares"]["doorward-ask"]["forwardAuth"]
    parts = ["", *(f".{number}" for number in range(MAX_CHUNKS))]

    assert ask["addAuthCookiesToResponse"] == [
        f"{name}{part}" for name in ("__Host-doorward", "doorward-8000") for part in parts
    ]


class TestCustomResources:
    """config/ingress/traefik-crd.yaml says in Kubernetes' words what traefik-dynamic.yaml says."""

    documents: ClassVar[list[dict[str, Any]]] = list(
        yaml.safe_load_all((CONFIG / "traefik-crd.yaml").read_text("utf-8"))
    )

    # What is used here of the definitions that Traefik publishes, for 3.7; any other name is refused.
    schemas: ClassVar[dict[str, Any]] = json.loads(
        (Path(__file__).parent / "schemas" / "traefik.json").read_text("utf-8")
    )

    def test_they_are_as_traefiks_definitions_have_them(self) -> None:
        for document in self.documents:
            schema = self.schemas[f"{document['apiVersion']} {document['kind']}"]
            jsonschema.validate(document, schema)

        assert {document["metadata"]["namespace"] for document in self.documents} == {"apps"}

    @pytest.mark.parametrize("misspelt", ["authResponseHeader", "addAuthCookieToResponse", "url"])
    def test_a_name_that_is_none_of_traefiks_would_be_noticed(self, misspelt: str) -> None:
        (document,) = (copy.deepcopy(one) for one in self.documents if "forwardAuth" in one["spec"])
        document["spec"]["forwardAuth"][misspelt] = []

        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, self.schemas["traefik.io/v1alpha1 Middleware"])

    def test_the_middlewares_are_the_same(self) -> None:
        """Which the real Traefik has read, by the same names of options."""
        found = {
            document["metadata"]["name"]: document["spec"]
            for document in self.documents
            if document["kind"] == "Middleware"
        }
        expected = _dynamic()["middlewares"]
        ask = expected["doorward-ask"]["forwardAuth"]
        ask["address"] = found["doorward-ask"]["forwardAuth"]["address"]
        ask["addAuthCookiesToResponse"] = [
            name for name in ask["addAuthCookiesToResponse"] if name.startswith("__Host-")
        ]
        chain = expected["doorward"]["chain"]
        chain["middlewares"] = [{"name": name} for name in chain["middlewares"]]

        assert found == expected
        assert ask["address"].endswith("/oauth2/auth/traefik")

    def test_the_routes_are_the_same(self) -> None:
        (routes,) = (document["spec"] for document in self.documents if document["kind"] == "IngressRoute")
        expected = [
            {
                "kind": "Rule",
                "match": router["rule"].replace("app.localhost", "app.example.com"),
                "priority": router["priority"],
                "middlewares": [{"name": name} for name in router.get("middlewares", ())],
                "services": [{"name": router["service"], "port": _PORTS[router["service"]]}],
            }
            for router in _dynamic()["routers"].values()
        ]
        for route in routes["routes"]:
            route.setdefault("middlewares", [])

        assert routes == {"entryPoints": ["websecure"], "routes": expected, "tls": {}}


_PORTS = {"application": 3000, "doorward": 4180}


def _dynamic() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CONFIG / "traefik-dynamic.yaml").read_text("utf-8"))
    http_part: dict[str, Any] = document["http"]
    return http_part
