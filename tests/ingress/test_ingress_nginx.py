"""ingress-nginx, which needs a cluster: its annotations, and nginx with the directives that come of them.

`directives` writes what the controller's template makes of the annotations that we use, so far as signing in
has to do with it. It is no controller: what it shows is that the annotations say the right thing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import pytest
import yaml

from tests.blackbox.agent import Agent
from tests.blackbox.refreshing import sign_in_with_due_refresh
from tests.blackbox.scripted import ScriptedProvider
from tests.ingress.harness import CONFIG, HOST, IDENTITY, World, folded
from tests.ingress.promises import FORGED, FOUR_HUNDRED, NAVIGATION, SIXTY
from tests.ingress.test_nginx import Nginx

PAGE_OF_IT: Final = CONFIG.parents[1] / "docs" / "ingress" / "ingress-nginx.md"
FILE: Final = "ingress-nginx.yaml"
PREFIX: Final = "nginx.ingress.kubernetes.io/"
# Of the controller's own list, by the risk that it gives them; ours need no more than its default allows.
KNOWN: Final = {
    *("auth-url", "auth-signin", "auth-response-headers", "auth-always-set-cookie"),
    *("proxy-body-size", "proxy-buffer-size", "proxy-buffers-number", "proxy-read-timeout"),
    *("proxy-request-buffering", "proxy-send-timeout"),
}

TEMPLATE: Final = """
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {{}}
http {{
  access_log off;
  underscores_in_headers off;
  large_client_header_buffers {client_buffers};
  # The controller has a function of its own that escapes; here two parameters of a query have to do.
  map $request_uri $escaped_request_uri {{
    "~^(?<p>[^?&=]*)[?](?<a>[^&=]*)=(?<b>[^&=]*)&(?<c>[^&=]*)=(?<d>[^&=]*)$" "$p%3F$a%3D$b%26$c%3D$d";
    default $request_uri;
  }}
  server {{
    listen 127.0.0.1:8000;
    location = /_external-auth {{
      internal;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Forwarded-Proto "";
      proxy_set_header Host "doorward.default.svc.cluster.local";
      proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Auth-Request-Redirect $request_uri;
      proxy_buffer_size {buffer};
      proxy_buffers {buffers} {buffer};
      proxy_http_version 1.1;
      {auth_snippet}
      set $target {url};
      proxy_pass $target;
    }}
    location @signin {{
      internal;
      add_header Set-Cookie $auth_cookie;
      return 302 {signin};
    }}
    location / {{
      auth_request /_external-auth;
      auth_request_set $auth_cookie $upstream_http_set_cookie;
      add_header Set-Cookie $auth_cookie {always};
      {headers}
      error_page 401 = @signin;
      proxy_set_header Host $http_host;
      {snippet}
      proxy_pass http://127.0.0.1:3000;
    }}
    {pages}
  }}
}}
"""
PAGE: Final = """
    location = {path} {{
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_buffer_size {buffer};
      proxy_buffers 4 {buffer};
      proxy_pass http://127.0.0.1:4180;
    }}
"""


def documents() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the Ingress of the application, that of our pages, and the controller's ConfigMap."""
    application, pages, controller = yaml.safe_load_all((CONFIG / FILE).read_text("utf-8"))
    return application, pages, controller


def said_of(document: dict[str, Any]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): value
        for name, value in document["metadata"]["annotations"].items()
        if name.startswith(PREFIX)
    }


def snippets() -> dict[str, str]:
    """Return the snippets that the page offers."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE_OF_IT.read_text("utf-8"), re.DOTALL)
    offered: dict[str, str] = yaml.safe_load(block)
    return {name.removeprefix(PREFIX): value for name, value in offered.items()}


def directives(more: Mapping[str, str]) -> str:
    """Return what the controller makes of the file and of these snippets, with the addresses replaced."""
    application, pages, controller = documents()
    said, own = said_of(application), said_of(pages)
    headers = "\n".join(
        f"auth_request_set $auth{n} $upstream_http_{name.lower().replace('-', '_')};"
        f" proxy_set_header '{name}' $auth{n};"
        for n, name in enumerate(said["auth-response-headers"].split(","))
    )
    paths = [path["path"] for rule in pages["spec"]["rules"] for path in rule["http"]["paths"]]
    return TEMPLATE.format(
        client_buffers=controller["data"]["large-client-header-buffers"],
        buffer=said["proxy-buffer-size"],
        buffers=said["proxy-buffers-number"],
        url=said["auth-url"].replace("doorward.default.svc.cluster.local", "127.0.0.1"),
        signin=said["auth-signin"].replace("https://$host", "http://$http_host"),
        always="always" if said["auth-always-set-cookie"] == "true" else "",
        headers=headers,
        auth_snippet=more.get("auth-snippet", ""),
        snippet=more.get("configuration-snippet", "").replace("app[.]example[.]com", HOST),
        pages="".join(PAGE.format(path=path, buffer=own["proxy-buffer-size"]) for path in paths),
    )


class TestFile:
    """What can be said of it without a controller."""

    def test_each_annotation_is_one_that_the_controller_knows(self) -> None:
        """And none of those that it refuses by default, the snippets."""
        for document in documents()[:2]:
            assert said_of(document).keys() <= KNOWN
            assert all(isinstance(value, str) for value in said_of(document).values())

    def test_each_ingress_has_the_form_of_its_version(self) -> None:
        for document in documents()[:2]:
            assert (document["apiVersion"], document["kind"]) == ("networking.k8s.io/v1", "Ingress")
            spec = document["spec"]
            assert spec.keys() == {"ingressClassName", "tls", "rules"}
            for rule in spec["rules"]:
                assert rule["host"] in spec["tls"][0]["hosts"]
                for path in rule["http"]["paths"]:
                    assert path.keys() == {"path", "pathType", "backend"}
                    assert path["pathType"] in {"Exact", "Prefix"}
                    assert isinstance(path["backend"]["service"]["port"]["number"], int)

    def test_browsers_are_led_to_no_auth_endpoint(self) -> None:
        """S75: each of our pages is there by name."""
        (rule,) = documents()[1]["spec"]["rules"]
        assert all(path["pathType"] == "Exact" for path in rule["http"]["paths"])
        assert "/oauth2/auth" not in {path["path"] for path in rule["http"]["paths"]}


class _Directives(Nginx):
    """nginx with what the annotations become."""

    name = "ingress-nginx"

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        self._more = more or {}

    def text(self, world: World) -> str:
        return world.with_ports(directives(self._more))


@pytest.mark.slow
class TestDirectives:
    """nginx with what the annotations become."""

    ingress = _Directives()

    @pytest.fixture(autouse=True)
    def _fresh(self, world: World, script: ScriptedProvider) -> None:
        world.application.forget()

    def test_a_person_signs_in_and_comes_back_to_the_exact_url(self, world: World) -> None:
        person = world.agent()
        url = world.url + "/reports?year=2026&q=ab"

        page = person.open(url)

        assert (page.status, page.url) == (200, url)
        received = world.application.last("/reports")
        assert [received.values(name) for name in IDENTITY] == [["ann"], ["ann@example.com"], ["staff"]]

    def test_a_script_without_a_session_ends_at_401(self, world: World) -> None:
        """S38: the controller redirects it, to us; we redirect it no further."""
        stranger = world.agent()

        told = stranger.fetch(world.url + "/api/x")
        followed = stranger.fetch(told.location)

        assert told.status == 302
        assert followed.status == 401
        assert followed.json()["login_url"].startswith(world.url)

    def test_whom_the_rules_refuse_does_not_pass(self, world: World) -> None:
        person = world.signed_in()
        world.application.forget()

        assert person.open(world.url + "/admin/x").status == 403
        assert world.application.received == []

    @pytest.mark.parametrize("spelling", ["X-Auth-Request-User", "X_Auth_Request_User"])
    def test_nobody_can_say_who_he_is(self, world: World, spelling: str) -> None:
        """S41, S44."""
        person = world.signed_in()

        assert world.raw("/mine", person=person, headers={spelling: FORGED}).status == 200
        assert world.raw("/public/mine", headers={spelling: FORGED}).status == 200

        assert folded(world.application.last("/mine"), IDENTITY[0]) == ["ann"]
        assert folded(world.application.last("/public/mine"), IDENTITY[0]) == []

    @pytest.mark.parametrize(
        "invented",
        [
            {"X-Original-URI": "/public/x", "X-Forwarded-Uri": "/public/x"},
            {"X-Forwarded-Host": "evil.example"},
            {"X-Forwarded-Method": "GET", "X-HTTP-Method-Override": "GET"},
            {"X-Auth-Request-Redirect": "https://evil.example/"},
        ],
        ids=",".join,
    )
    def test_what_a_browser_says_of_the_request_opens_nothing(
        self, world: World, invented: dict[str, str]
    ) -> None:
        """S48, S50."""
        navigation = world.raw("/x?a=1&b=2", headers={**NAVIGATION, **invented})

        assert navigation.status == 302
        assert navigation.headers["Location"].startswith(f"http://{HOST}:{world.port}/oauth2/start?")
        assert world.application.received == []

    @pytest.mark.parametrize(
        "target", ["/oauth2/auth", "/oauth2/auth/ingress-nginx", "/oauth2/%61uth", "/x/../oauth2/auth"]
    )
    def test_a_browser_does_not_reach_the_endpoint_that_the_ingress_asks(
        self, world: World, target: str
    ) -> None:
        """S75."""
        person = world.signed_in()
        world.application.forget()

        asked = {"X-Original-URL": f"{world.url}/x", "X-Original-Method": "GET"}
        answer = world.raw(target, person=person, headers=asked)

        assert answer.status in {403, 404}
        assert world.application.received == []

    def test_four_hundred_groups_arrive(self, world: World) -> None:
        """A12."""
        person = world.signed_in(groups=FOUR_HUNDRED)

        assert person.fetch(world.url + "/all").status == 200
        assert world.application.last("/all").values(IDENTITY[2]) == [",".join(FOUR_HUNDRED)]

    def test_a_refreshed_cookie_reaches_the_browser(self, world: World) -> None:
        """One, as its page says."""
        person: Agent = sign_in_with_due_refresh(world.agent(), world.url + "/x", world.provider)
        (before,) = world.session_cookies(person)

        assert person.fetch(world.url + "/again").status == 200

        (after,) = world.session_cookies(person)
        assert after.value != before.value


@pytest.mark.slow
class TestSnippets:
    """The same with the snippets of its page."""

    ingress = _Directives(snippets())

    def test_a_refreshed_session_in_several_cookies_reaches_the_browser(
        self, world: World, script: ScriptedProvider
    ) -> None:
        """A12."""
        script.claims["groups"] = SIXTY
        person = sign_in_with_due_refresh(world.agent(), world.url + "/x", world.provider)
        before = {cookie.value for cookie in world.session_cookies(person)}

        assert person.fetch(world.url + "/again").status == 200

        after = {cookie.value for cookie in world.session_cookies(person)}
        assert len(after) == len(before) > 1
        assert not after & before
        assert person.fetch(world.url + "/once-more").status == 200

    def test_two_hosts_in_one_request_are_refused(self, world: World, script: ScriptedProvider) -> None:
        """S49: nginx serves the target's and tells Doorward of the other one."""
        person = world.signed_in()
        world.application.forget()

        assert world.raw("http://evil.example/x", person=person).status == 400
        assert world.raw("/x", headers={"Host": "evil.example"}).status == 400
        assert world.application.received == []


def test_its_page_names_annotations_that_are_there() -> None:
    named = set(re.findall(r"^\| `([a-z-]+)`", PAGE_OF_IT.read_text("utf-8"), re.MULTILINE))

    assert named
    assert named <= said_of(documents()[0]).keys()
