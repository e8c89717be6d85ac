"""Caddy with config/ingress/Caddyfile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest

from tests.blackbox.scripted import ScriptedProvider
from tests.ingress.harness import IDENTITY, Ingress, World, folded
from tests.ingress.promises import IngressPromises, OtherFieldsPromises
from tests.parts import require_part
from tests.processes import running, wait_for_port

SECRET = "caddy-and-doorward-know-this"
FORGED = "mallory"
_OTHER = ("Authorization", "Username", "Email")


class Caddy(Ingress):
    """Caddy from PyPI."""

    name = "caddy"
    part = "caddy"
    replaced: ClassVar[Mapping[str, str]] = {}

    def text(self, world: World) -> str:
        """Return the Caddyfile."""
        return world.config("Caddyfile", **self.replaced)

    @contextlib.contextmanager
    def start(self, world: World) -> Iterator[None]:
        config = world.folder / "Caddyfile"
        config.write_text(self.text(world), "utf-8")
        folder = str(world.folder)
        environment = {
            **os.environ,
            "HOME": folder,
            "XDG_CONFIG_HOME": folder,
            "XDG_DATA_HOME": folder,
            "CADDY_ADMIN": f"127.0.0.1:{world.ingress_admin_port}",
            "FORWARD_AUTH_SECRET": SECRET,
        }
        command = [str(require_part("caddy")), "run", "--adapter=caddyfile", f"--config={config}"]
        with running(command, log=world.folder / "caddy.log", env=environment) as process:
            wait_for_port(world.port, process)
            yield


class TestCaddy(IngressPromises):
    """The file as it is."""

    ingress = Caddy()

    @pytest.mark.parametrize("sign", list("_.~!+"))
    def test_no_sign_makes_a_name_that_some_server_takes_for_ours(self, world: World, sign: str) -> None:
        """S41, S42."""
        person = world.signed_in()

        told = world.raw("/x", person=person, headers={f"X-Auth{sign}Request-User": FORGED})

        assert told.status == 200
        assert folded(world.application.last("/x"), "X-Auth-Request-User") == ["ann"]

    def test_what_reroutes_behind_the_decision_does_not_arrive(self, world: World) -> None:
        """S48: the rules have judged /x, by GET. Caddy itself passes all of these on."""
        person = world.signed_in()
        names = ("X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Uri")

        told = world.raw("/x", person=person, headers=dict.fromkeys(names, "/admin"))

        assert told.status == 200
        assert [folded(world.application.last("/x"), name) for name in names] == [[]] * len(names)

    @pytest.mark.parametrize("query", ["allowed_groups=nobody", "allowed_x=1", "a=%zz&;&&=", "rd=/evil"])
    def test_a_query_of_the_application_is_none_of_ours(self, world: World, query: str) -> None:
        """S50: Caddy's short form appends the client's query to the URL that it asks."""
        person = world.signed_in()

        assert world.raw(f"/x?{query}", person=person).status == 200
        assert world.application.last("/x").target == f"/x?{query}"

    def test_a_claim_is_no_placeholder_of_caddys(self, world: World) -> None:
        """S47: what the provider says is not read again by Caddy."""
        person = world.signed_in(groups=["{env.FORWARD_AUTH_SECRET}", "{http.request.uri}"])

        assert world.raw("/x", person=person).status == 200

        told = world.application.last("/x").values("X-Auth-Request-Groups")
        assert told == ["{env.FORWARD_AUTH_SECRET},{http.request.uri}"]

    def test_a_claim_that_is_missing_makes_no_field(self, world: World) -> None:
        """S44: Caddy would write the name of a placeholder that it does not know."""
        person = world.signed_in(groups=[])

        assert world.raw("/x", person=person, headers={"X-Auth-Request-Groups": FORGED}).status == 200

        assert folded(world.application.last("/x"), "X-Auth-Request-Groups") == []

    def test_a_connection_field_takes_no_identity_from_a_websocket(self, world: World) -> None:
        """S45: what is needed of Connection is kept, and no more."""
        person = world.signed_in()
        handshake = {
            "Connection": f"Upgrade, {', '.join(IDENTITY)}, Cookie",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
            "Origin": world.url,
        }

        told = world.raw("/x", person=person, headers=handshake)

        assert told.status == 200  # of an application that speaks no WebSocket there
        assert folded(world.application.last("/x"), "X-Auth-Request-User") == ["ann"]


class TestCaddyChanged(OtherFieldsPromises):
    """The changes that its page describes: a secret, and other identity fields."""

    class Changed(Caddy):
        replaced: ClassVar[Mapping[str, str]] = {
            "# header_up X-Doorward": "header_up X-Doorward",
            "request_header -X-Auth-Request-*": "\n".join(f"request_header -{name}" for name in _OTHER),
            "X-Auth-Request-User": "Authorization",
            "X-Auth-Request-Email": "Username",
            "X-Auth-Request-Groups": "Email",
        }
        settings: ClassVar[Mapping[str, Any]] = {
            "forward_auth": {"secret": SECRET},
            "headers": "authorization-username-email",
        }

    ingress = Changed()
    pytestmark = pytest.mark.slow

    def test_the_application_never_sees_the_secret(self, world: World, script: ScriptedProvider) -> None:
        """S75: which Caddy alone can tell Doorward."""
        person = world.signed_in()
        headers = {"X-Doorward-Secret": "guessed", "Connection": "X-Doorward-Secret"}

        assert world.raw("/x", person=person, headers=headers).status == 200

        received = world.application.last("/x")
        assert folded(received, "X-Doorward-Secret") == []
        assert SECRET not in str(received.headers)
