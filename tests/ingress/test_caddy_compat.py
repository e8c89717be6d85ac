"""Caddy as people have it who come from oauth2-proxy: its recipe, unchanged, against `compat`.

Only names of hosts and addresses are others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from tests.blackbox.agent import Agent
from tests.blackbox.scripted import ScriptedProvider
from tests.ingress.harness import World
from tests.ingress.promises import FORGED, NAVIGATION
from tests.ingress.test_caddy import Caddy

pytestmark = pytest.mark.slow

RECIPE = """
http://app.localhost:8000 {
	handle /oauth2/* {
		reverse_proxy 127.0.0.1:4180 {
			header_up X-Real-IP {remote_host}
			header_up X-Forwarded-Uri {uri}
		}
	}

	handle {
		forward_auth 127.0.0.1:4180 {
			uri /oauth2/auth
			header_up X-Real-IP {remote_host}
			copy_headers X-Auth-Request-User X-Auth-Request-Email

			@error status 401
			handle_response @error {
				redir * /oauth2/sign_in?rd={scheme}://{host}{uri}
			}
		}
		reverse_proxy 127.0.0.1:3000
	}
}
"""


class _Recipe(Caddy):
    settings: ClassVar[Mapping[str, Any]] = {"compat": "oauth2-proxy"}

    def text(self, world: World) -> str:
        # {host} is without the port, which is neither 80 nor 443 here.
        recipe = RECIPE.replace("{host}", "{hostport}")
        return "{\n\tdefault_bind 127.0.0.1\n}\n" + world.with_ports(recipe)


class TestRecipe:
    ingress = _Recipe()

    @pytest.fixture(autouse=True)
    def _fresh(self, world: World, script: ScriptedProvider) -> None:
        world.application.forget()

    def test_a_person_signs_in_and_comes_back_with_the_whole_query(self, world: World) -> None:
        """The recipe does not escape `rd`: what follows its first `&` is not lost all the same."""
        person = world.agent()
        url = world.url + "/reports?year=2026&q=a%2Fb&r=1"

        page = person.open(url)

        assert (page.status, page.url) == (200, url)
        received = world.application.last("/reports")
        assert received.target == "/reports?year=2026&q=a%2Fb&r=1"
        assert received.values("X-Auth-Request-User") == ["ann"]
        assert received.values("X-Auth-Request-Email") == ["ann@example.com"]

    def test_nobody_can_say_who_he_is(self, world: World) -> None:
        """S44."""
        forged = {"X-Auth-Request-User": FORGED, "X-Auth-Request-Email": FORGED}

        world.raw("/mine", person=sign_in(world), headers=forged)
        world.raw("/public/mine", headers=forged)

        assert len(world.application.received) >= 2
        for received in world.application.received:
            assert FORGED not in {value for _, value in received.headers}

    def test_the_rules_see_the_original_path(self, world: World) -> None:
        person = sign_in(world)
        world.application.forget()

        for target in ("/admin/x", "/public/../admin/x", "/public/%2e%2e/admin/x", "//admin/x"):
            assert world.raw(target, person=person, headers={"X-Forwarded-Uri": "/x"}).status in {400, 403}
        assert world.application.received == []

    @pytest.mark.parametrize("query", ["a=1&b=2", "allowed=1&allowed_things=2", "q=%zz&=;", "a=1&a=1"])
    def test_the_query_of_a_page_does_no_harm(self, world: World, query: str) -> None:
        """The recipe makes it the question's own."""
        assert world.raw(f"/x?{query}", person=sign_in(world)).status == 200

    def test_a_client_can_only_narrow(self, world: World) -> None:
        """As with oauth2-proxy."""
        person = sign_in(world)

        assert world.raw("/x?allowed_groups=staff", person=person).status == 200
        assert world.raw("/x?allowed_groups=nobody", person=person).status == 403
        assert world.raw("/admin/x?allowed_groups=staff", person=person).status == 403

    def test_a_plain_link_signs_out(self, world: World) -> None:
        person = sign_in(world)
        thief = person.clone()

        person.open(world.url + "/oauth2/sign_out", site=world.url)

        assert world.session_cookies(person) == []
        assert world.raw("/x", person=thief, headers=NAVIGATION).status == 302


def sign_in(world: World) -> Agent:
    """Return somebody who has signed in by a link."""
    person = world.agent()
    assert person.open(world.url + "/oauth2/start?rd=/start-page").status == 200
    return person
