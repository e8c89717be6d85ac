"""nginx with config/ingress/nginx.conf."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.blackbox.agent import on_loopback
from tests.blackbox.certificates import make_certificate
from tests.blackbox.doorward import new_key
from tests.blackbox.scripted import ScriptedProvider
from tests.ingress.harness import HOST, Ingress, World
from tests.ingress.promises import SIXTY, IngressPromises, OtherFieldsPromises
from tests.parts import require_part
from tests.processes import running, wait_for_port

_SECRET = new_key()


class Nginx(Ingress):
    """Debian's nginx."""

    name = "nginx"
    part = "nginx"

    def text(self, world: World) -> str:
        """Return the configuration, which has to name the paths that `start` replaces."""
        return world.config("nginx.conf")

    @contextlib.contextmanager
    def start(self, world: World) -> Iterator[None]:
        folder = world.folder
        text = self.text(world)
        for place in ("/run/", "/var/log/nginx/"):
            assert place in text
            text = text.replace(place, f"{folder}/")
        config = folder / "nginx.conf"
        config.write_text(text, encoding="utf-8")
        command: list[str | Path] = [require_part("nginx"), "-g", "daemon off;", "-p", folder, "-c", config]
        with running([*command, "-e", folder / "error.log"], log=folder / "nginx.log") as process:
            wait_for_port(world.port, process)
            yield


class TestNginx(IngressPromises):
    """config/ingress/nginx.conf as it is."""

    ingress = Nginx()

    @pytest.mark.parametrize(
        "fields",
        [{"Cookie": "x=" + "a" * 50_000, "X-More": "a" * 50_000}, {f"X-{n}": "1" for n in range(300)}],
        ids=["bytes", "fields"],
    )
    @pytest.mark.parametrize("path", ["/mine", "/public/x"])
    def test_more_than_doorward_reads_is_the_browsers_fault(
        self, world: World, path: str, fields: dict[str, str]
    ) -> None:
        """S50: 400, and neither a page that says "try again" nor the application's answer."""
        assert world.raw(path, headers=fields).status == 400
        assert world.application.requests(path) == []


class _Tls(Nginx):
    """With the commented lines for TLS and HTTP/2."""

    scheme = "https"
    settings: ClassVar[Mapping[str, Any]] = {"public_url": f"https://{HOST}:8000"}

    def text(self, world: World) -> str:
        certificate = make_certificate(world.folder)
        self.trust = certificate.trust
        text = super().text(world)
        offered = {
            f"listen 127.0.0.1:{world.port};": "",
            "# listen 443 ssl http2;": f"listen 127.0.0.1:{world.port} ssl http2;",
            "# ssl_certificate     /etc/nginx/tls/app.crt;": f"ssl_certificate {certificate.certificate};",
            "# ssl_certificate_key /etc/nginx/tls/app.key;": f"ssl_certificate_key {certificate.key};",
        }
        for old, new in offered.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        return text


@pytest.mark.slow
class TestNginxTls:
    """config/ingress/nginx.conf as it is on the net."""

    ingress = _Tls()

    def test_a_person_signs_in_and_comes_back_by_http_2_too(
        self, world: World, script: ScriptedProvider
    ) -> None:
        """S28: with cookies that only this host gets, by https."""
        script.claims["groups"] = SIXTY
        person = world.signed_in("/reports?a=1&b=2")
        assert world.application.last("/reports").values("X-Auth-Request-User") == ["ann"]
        assert all(cookie.name.startswith("__Host-") for cookie in person.cookies(HOST))

        with httpx.HTTPTransport(verify=person.verify, http2=True, trust_env=False) as transport:
            cookie = person.cookie_header(world.url)
            asked = httpx.Request(
                "GET",
                on_loopback(world.url + "/again?a=1&b=2"),
                headers={"Host": f"{HOST}:{world.port}", "Cookie": cookie},
                extensions={"sni_hostname": HOST},
            )
            answer = transport.handle_request(asked)
            answer.read()

        assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
        received = world.application.last("/again")
        assert received.target == "/again?a=1&b=2"
        assert received.values("X-Auth-Request-User") == ["ann"]
        assert received.values("X-Forwarded-Proto") == ["https"]


class _Changed(Nginx):
    """The changes that its page describes: a secret, and other identity fields."""

    settings: ClassVar[Mapping[str, Any]] = {
        "forward_auth": {"callers": ["127.0.0.1"], "secret": _SECRET},
        "headers": "authorization-username-email",
    }
    fields: ClassVar[Mapping[str, str]] = {
        "X-Auth-Request-User": "Authorization",
        "X-Auth-Request-Email": "Email",
        "X-Auth-Request-Groups": "Username",
    }

    def text(self, world: World) -> str:
        text = super().text(world)
        for old, new in self.fields.items():
            text = text.replace(old, new).replace(
                f"upstream_http_{old.lower().replace('-', '_')}", f"upstream_http_{new.lower()}"
            )
        offered = r'# (proxy_set_header X-Doorward-Secret) "[^"]+";'
        assert len(re.findall(offered, text)) == 2
        return re.sub(offered, rf'\1 "{_SECRET}";', text)


@pytest.mark.slow
class TestNginxChanged(OtherFieldsPromises):
    """config/ingress/nginx.conf with what its page says that one may change."""

    ingress = _Changed()

    @pytest.fixture(autouse=True)
    def _fresh(self, world: World, script: ScriptedProvider) -> None:
        world.application.forget()

    def test_only_who_knows_the_secret_may_ask(self, world: World) -> None:
        """S75: a neighbour of nginx with the same address and somebody's cookie learns nothing."""
        person = world.signed_in()
        asked = {
            "Host": f"{HOST}:{world.port}",
            "Cookie": person.cookie_header(world.url),
            "X-Original-Method": "GET",
            "X-Original-URI": "/x",
            "X-Forwarded-For": "192.0.2.1",
        }
        url = f"http://127.0.0.1:{world.doorward.port}/oauth2/auth/nginx"

        told = [
            httpx.get(url, headers={**asked, **secret}, trust_env=False)
            for secret in ({}, {"X-Doorward-Secret": "guessed"}, {"X-Doorward-Secret": _SECRET})
        ]

        assert [answer.status_code for answer in told] == [403, 403, 200]
        assert ["authorization" in answer.headers for answer in told] == [False, False, True]
