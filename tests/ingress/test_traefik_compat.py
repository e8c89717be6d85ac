"""Traefik as people have it who come from oauth2-proxy: both of its recipes, unchanged, against `compat`.

What has to do with signing in is as published, names of hosts and addresses apart: app.localhost stands for
a-service.example.com, and localhost for oauth.example.com, at which Traefik asks itself. TLS and the fields
for browsers are left out. The recipes are for Traefik 2, whose rules Traefik 3 reads by `defaultRuleSyntax`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.blackbox.agent import Agent
from tests.blackbox.chromium import new_person, received_by_application
from tests.blackbox.scripted import ScriptedProvider
from tests.ingress.harness import World, folded
from tests.ingress.promises import FORGED, NAVIGATION
from tests.ingress.test_traefik import Traefik

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

# Traefik believes its own questions, which come back to it: oauth2-proxy's page leaves that to the reader.
STATIC = """
entryPoints:
  web:
    address: localhost:8000
    forwardedHeaders: {trustedIPs: [127.0.0.1/32, "::1/128"]}
core: {defaultRuleSyntax: v2}
providers: {file: {filename: DYNAMIC}}
global: {checkNewVersion: false, sendAnonymousUsage: false}
"""
SERVICES = """
  services:
    a-service-backend:
      loadBalancer:
        servers:
          - url: http://127.0.0.1:3000
    oauth-backend:
      loadBalancer:
        servers:
          - url: http://127.0.0.1:4180
"""
ERRORS = f"""
http:
  routers:
    a-service:
      rule: "Host(`app.localhost`)"
      service: a-service-backend
      middlewares: [oauth-errors, oauth-auth]
    oauth:
      rule: "Host(`app.localhost`, `localhost`) && PathPrefix(`/oauth2/`)"
      service: oauth-backend
{SERVICES}
  middlewares:
    oauth-auth:
      forwardAuth:
        address: http://localhost:8000/oauth2/auth
    oauth-errors:
      errors:
        status: ["401-403"]
        service: oauth-backend
        query: "/oauth2/sign_in?rd={{url}}"
        statusRewrites: {{"401": 302}}
"""
ROOT = f"""
http:
  routers:
    a-service-route-1:
      rule: "Host(`app.localhost`, `b.localhost`) && PathPrefix(`/`)"
      service: a-service-backend
      middlewares: [oauth-auth-redirect]
    a-service-route-2:
      rule: "Host(`app.localhost`) && PathPrefix(`/no-auto-redirect`)"
      service: a-service-backend
      middlewares: [oauth-auth-wo-redirect]
    services-oauth2-route:
      rule: "Host(`app.localhost`, `b.localhost`) && PathPrefix(`/oauth2/`)"
      service: oauth-backend
    oauth2-proxy-route:
      rule: "Host(`localhost`) && PathPrefix(`/`)"
      service: oauth-backend
{SERVICES}
  middlewares:
    oauth-auth-redirect:
      forwardAuth:
        address: http://localhost:8000/
        authResponseHeaders: [X-Auth-Request-Access-Token, Authorization]
    oauth-auth-wo-redirect:
      forwardAuth:
        address: http://localhost:8000/oauth2/auth
        authResponseHeaders: [X-Auth-Request-Access-Token, Authorization]
"""


class _Recipe(Traefik):
    dynamic: ClassVar[str]
    settings: ClassVar[Mapping[str, Any]] = {"compat": "oauth2-proxy"}

    def texts(self, world: World, dynamic: Path) -> tuple[str, str]:
        return world.with_ports(STATIC).replace("DYNAMIC", str(dynamic)), world.with_ports(self.dynamic)


class _Promises:
    """What both recipes are for."""

    @pytest.fixture(autouse=True)
    def _fresh(self, world: World, script: ScriptedProvider) -> None:
        world.application.forget()

    def test_whom_the_rules_refuse_does_not_get_there(self, world: World) -> None:
        """The rules see the original path, though oauth2-proxy's own endpoint looks at none."""
        person = sign_in(world)
        world.application.forget()

        assert world.raw("/admin/x", person=person).status == 403
        assert world.raw("/admin/x", "DELETE", person=person).status == 403
        assert world.raw("/public/../admin/x", person=person).status == 403
        assert world.application.received == []

    def test_what_a_stranger_says_of_the_request_opens_nothing(self, world: World) -> None:
        """S48: a recipe whose Traefik believes this address would let these through."""
        for invented in ({"X-Forwarded-Uri": "/public/x"}, {"X-Forwarded-Method": "GET"}):
            assert world.raw("/x", headers=invented).status in {302, 401, 403}
        assert world.application.received == []

    def test_a_plain_link_signs_out(self, world: World) -> None:
        person = sign_in(world)
        thief = person.clone()

        person.open(world.url + "/oauth2/sign_out", site=world.url)

        assert world.session_cookies(person) == []
        assert world.raw("/x", person=thief, headers=NAVIGATION).status != 200


class TestErrorsRecipe(_Promises):
    """ForwardAuth with 401 errors middleware."""

    class WithErrors(_Recipe):
        dynamic = ERRORS

    ingress = WithErrors()

    def test_a_person_signs_in_and_comes_back(self, world: World, browser: Browser) -> None:
        """The redirect is the sign-in endpoint's, which Traefik asks for in the page's place."""
        url = world.url + "/page/x?a=1&b=a%2Fb"
        with new_person(browser, world.doorward) as context:
            page = context.new_page()
            page.goto(url)

            assert page.url == url
            assert received_by_application(page)["target"] == "/page/x?a=1&b=a%2Fb"

    def test_two_tabs_at_once_both_come_back(self, world: World) -> None:
        """S37: each login under way has a cookie of its own, which the errors middleware hands over."""
        person = world.agent()
        urls = [f"{world.url}/tab{number}?a=1&b={number}" for number in range(2)]
        begun = [person.open(url, follow=False) for url in urls]

        ends = [person.open(page.location) for page in begun]

        assert [(page.status, page.url) for page in ends] == [(200, url) for url in urls]


class TestRootRecipe(_Promises):
    """ForwardAuth with static upstreams configuration, which needs no static upstream here."""

    class AtRoot(_Recipe):
        dynamic = ROOT

    ingress = AtRoot()

    def test_a_person_signs_in_and_comes_back(self, world: World) -> None:
        url = world.url + "/x?a=1&b=a%2Fb"

        page = world.agent().open(url)

        assert (page.status, page.url) == (200, url)
        assert world.application.last("/x").target == "/x?a=1&b=a%2Fb"

    def test_where_no_redirect_is_wanted_there_is_none(self, world: World) -> None:
        told = world.raw("/no-auto-redirect/x", headers=NAVIGATION)

        assert told.status == 401
        assert "Location" not in told.headers
        assert world.raw("/no-auto-redirect/x", person=sign_in(world)).status == 200

    def test_nobody_brings_a_token_of_his_own(self, world: World) -> None:
        """S44: Doorward hands over none by default, and Traefik then deletes the client's."""
        forged = {"Authorization": "Bearer forged", "X-Auth-Request-Access-Token": FORGED}

        assert world.raw("/x", person=sign_in(world), headers=forged).status == 200

        received = world.application.last("/x")
        assert [folded(received, name) for name in forged] == [[], []]


def sign_in(world: World) -> Agent:
    """Return somebody who has signed in by a link."""
    person = world.agent()
    assert person.open(world.url + "/oauth2/start?rd=/start-page").status == 200
    return person
