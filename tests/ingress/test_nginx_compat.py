"""nginx as people have it who come from oauth2-proxy: its recipe, unchanged, against `compat`.

Every directive that has to do with signing in is as published. Only in `rd` stands `$http_host` for `$host`,
which has no port: the tests' is not 80 or 443.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from tests.blackbox.refreshing import sign_in_with_due_refresh
from tests.blackbox.scripted import ScriptedProvider
from tests.ingress.harness import World
from tests.ingress.promises import FORGED
from tests.ingress.test_nginx import Nginx

pytestmark = pytest.mark.slow

RECIPE = """
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
  access_log off;
  server {
    listen 127.0.0.1:8000;

    location /oauth2/ {
      proxy_pass http://127.0.0.1:4180;
      proxy_set_header Host                    $host;
      proxy_set_header X-Real-IP               $remote_addr;
      proxy_set_header X-Auth-Request-Redirect $request_uri;
    }

    location = /oauth2/auth {
      proxy_pass http://127.0.0.1:4180;
      proxy_set_header Host            $host;
      proxy_set_header X-Real-IP       $remote_addr;
      proxy_set_header X-Forwarded-Uri $request_uri;
      proxy_set_header Content-Length  "";
      proxy_pass_request_body off;
    }

    location / {
      auth_request /oauth2/auth;
      error_page 401 = @oauth2_signin;

      auth_request_set $user  $upstream_http_x_auth_request_user;
      auth_request_set $email $upstream_http_x_auth_request_email;
      proxy_set_header X-User  $user;
      proxy_set_header X-Email $email;

      auth_request_set $auth_cookie $upstream_http_set_cookie;
      add_header Set-Cookie $auth_cookie;

      proxy_pass http://127.0.0.1:3000;
    }

    location @oauth2_signin {
      return 302 /oauth2/sign_in?rd=$scheme://$http_host$request_uri;
    }
  }
}
"""


class _Recipe(Nginx):
    """oauth2-proxy's recipe."""

    settings: ClassVar[Mapping[str, Any]] = {
        "compat": "oauth2-proxy",
        "access": [
            {"path": "/public/**", "methods": ["GET", "HEAD"], "allow": "anyone"},
            {"path": "/admin/**", "allow": {"groups": ["admins"]}},
            {"allow": "authenticated"},
        ],
    }

    def text(self, world: World) -> str:
        return world.with_ports(RECIPE)


class TestRecipe:
    """Its paths, parameters, statuses and fields."""

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
        assert page.hops[0][2].startswith(world.url + "/oauth2/sign_in?rd=http://")
        received = world.application.last("/reports")
        assert received.target == "/reports?year=2026&q=a%2Fb&r=1"
        assert (received.values("X-User"), received.values("X-Email")) == (["ann"], ["ann@example.com"])

    def test_nobody_can_say_who_he_is(self, world: World) -> None:
        """S44."""
        person = sign_in(world)

        world.raw("/mine", person=person, headers={"X-User": FORGED, "X-Email": FORGED})
        world.raw("/public/mine", headers={"X-User": FORGED, "X-Email": FORGED})

        for received in world.application.received:
            assert FORGED not in {value for _, value in received.headers}

    def test_without_a_method_only_what_every_method_may_do_is_allowed(self, world: World) -> None:
        """S59: the public path is public to GET alone, and the recipe does not say that it is a GET."""
        assert world.raw("/public/x").status == 302
        assert world.raw("/public/x", "DELETE").status == 302
        assert world.application.received == []

    @pytest.mark.parametrize(
        "invented",
        [
            {"X-Forwarded-Host": "evil.example"},
            {"X-Original-URI": "/public/x"},
            {"X-Original-Method": "GET", "X-Original-URI": "/public/x"},
            {"X-Forwarded-Method": "GET"},
        ],
        ids=",".join,
    )
    def test_what_a_browser_says_of_the_request_opens_nothing(
        self, world: World, invented: dict[str, str]
    ) -> None:
        """S48, S50: the recipe lets these through."""
        person = sign_in(world)
        world.application.forget()

        assert world.raw("/admin/x", person=person, headers=invented).status in {302, 403, 500}
        assert world.raw("/x", headers=invented).status in {302, 403, 500}
        assert world.application.received == []

    def test_the_auth_endpoint_opens_nothing_to_a_browser(self, world: World) -> None:
        """S75: the recipe lets browsers reach it; nginx says then that it is asked for itself."""
        person = sign_in(world)

        answer = world.raw("/oauth2/auth", person=person, headers={"X-Forwarded-Uri": "/x"})

        assert answer.status == 403
        assert "X-Auth-Request-User" not in answer.headers

    def test_a_plain_link_signs_out(self, world: World) -> None:
        """As there, but not from another site."""
        person = sign_in(world)
        thief = person.clone()

        page = person.open(world.url + "/oauth2/sign_out", site=world.url, follow=False)

        assert page.location.startswith(world.provider.issuer)
        assert world.session_cookies(person) == []
        assert thief.fetch(world.url + "/x").status == 302

    def test_a_refreshed_cookie_reaches_the_browser(self, world: World) -> None:
        person = world.agent()
        sign_in_with_due_refresh(person, world.url + "/oauth2/start?rd=/x", world.provider)
        (before,) = world.session_cookies(person)

        assert person.fetch(world.url + "/x").status == 200

        (after,) = world.session_cookies(person)
        assert after.value != before.value


def sign_in(world: World) -> Any:
    """Return somebody who has signed in by a link."""
    person = world.agent()
    assert person.open(world.url + "/oauth2/start?rd=/start-page").status == 200
    return person
