"""`doorward dev` as a process, in front of a real application."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx
import pytest
import yaml
from websockets.exceptions import ConnectionClosed

from tests.blackbox.agent import Agent
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.blackbox.websocket import open_websocket
from tests.dev.process import NAVIGATION, dev, dev_to_end, fields

ADMINS = "{name: admins only, path: /admin/**, allow: {groups: [admins]}}"


class TestBeingSomebody:
    """`--as`."""

    def test_every_request_is_that_person_without_a_login_page(
        self, folder: Path, application: Application
    ) -> None:
        with dev(folder, application.upstream.url, "--as", "alice", "--groups", "admins, staff") as gate:
            received = fields(gate.get("/"))
            assert received["x-forwarded-user"] == "alice"
            assert received["x-forwarded-email"] == "alice@example.com"
            assert received["x-forwarded-groups"] == "admins,staff"
            assert "cookie" not in received
            assert gate.get("/", **NAVIGATION).status_code == 200
            # Two seconds on a machine that has nothing else to do.
            assert gate.seconds < 2 * _slowness()
            assert gate.cpu_seconds < 2

    def test_the_applications_own_cookies_pass(self, folder: Path, application: Application) -> None:
        with dev(folder, application.upstream.url, "--as", "alice") as gate:
            assert fields(gate.get("/", Cookie="a=1; b=2"))["cookie"] == "a=1; b=2"

    def test_claims_and_constants_become_headers_and_clients_can_not_send_them(
        self, folder: Path, application: Application
    ) -> None:
        claims = ("--claim", "department=Sales", "--claim", 'teams=["a","b"]')
        headers = ("--header", "X-Department=claim:department", "--header", "X-Teams=claim:teams")
        constant = ("--header", "X-Stage=testing", "--header", "X-Mail=email")
        with dev(folder, application.upstream.url, "--as", "bob", *claims, *headers, *constant) as gate:
            received = fields(gate.get("/", **{"X-Stage": "lie", "X_Stage": "lie", "X-Department": "lie"}))
            assert received["x-department"] == "Sales"
            assert received["x-teams"] == "a,b"
            assert received["x-stage"] == "testing"
            assert received["x-mail"] == "bob@example.com"
            assert "lie" not in json.dumps(received)

    def test_a_page_of_another_site_is_not_that_person(self, folder: Path, application: Application) -> None:
        """S39: what SameSite=Lax is for a cookie; else any page on the web could read as alice."""
        with dev(folder, application.upstream.url, "--as", "alice") as gate:
            elsewhere = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
            assert gate.get("/", **elsewhere).status_code == 401
            assert gate.get("/", Origin="https://evil.example").status_code == 401
            assert gate.get("/", "POST", **elsewhere).status_code == 401
            followed = NAVIGATION | {"Sec-Fetch-Site": "cross-site"}
            assert gate.get("/", **followed).status_code == 200
            framed = followed | {"Sec-Fetch-Dest": "iframe"}
            assert gate.get("/", **framed).status_code != 200
            other_port = NAVIGATION | {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"}
            assert gate.get("/", "POST", **other_port).status_code == 403

    def test_a_name_that_resolves_to_loopback_is_nobodys(
        self, folder: Path, application: Application
    ) -> None:
        """S72: DNS rebinding."""
        with dev(folder, application.upstream.url, "--as", "alice") as gate:
            assert gate.get("/", Host="evil.example:8080").status_code == 421

    def test_who_signs_out_is_back_with_the_next_request(
        self, folder: Path, application: Application
    ) -> None:
        with dev(folder, application.upstream.url, "--as", "alice") as gate:
            agent = Agent()
            page = agent.open(gate.url + "/oauth2/sign_out")
            agent.submit(page)
            assert fields(gate.get("/"))["x-forwarded-user"] == "alice"

    def test_a_websocket_is_that_persons_too(self, folder: Path, application: Application) -> None:
        with (
            dev(folder, application.upstreams["/ws"], "--as", "alice") as gate,
            open_websocket(gate.url + "/ws") as tunnel,
        ):
            tunnel.send("headers")
            received = {name.lower(): value for name, value in json.loads(tunnel.recv(5))["headers"]}
            assert received["x-forwarded-user"] == "alice"


class TestSigningIn:
    def test_the_embedded_provider_asks_who_one_wants_to_be(
        self, folder: Path, application: Application
    ) -> None:
        with dev(folder, application.upstream.url) as gate:
            assert gate.get("/").status_code == 401
            agent = Agent()
            page = agent.open(gate.url + "/page/x")
            assert "Who do you want to be?" in page.text
            assert "ada" in agent.submit(page, {"person": "ada"}).text

    def test_a_real_provider_is_that_of_a_configuration(self, folder: Path, application: Application) -> None:
        """Its client and claims are taken; its rules and keys are not."""
        provider = ScriptedProvider()
        with provider.running():
            file = folder / "staging.yaml"
            whole = {
                "public_url": "https://x.example",
                "provider": provider.settings(),
                "access": [{"no": 1}],
            }
            file.write_text(yaml.safe_dump(whole), encoding="utf-8")
            with dev(folder, application.upstream.url, "--provider", file) as gate:
                gate.wait_for(f"redirect URI there: {gate.url}/oauth2/callback")
                page = Agent().open(gate.url + "/page/x")
                assert page.status == 200
                assert "ann" in page.text
            file.write_text(yaml.safe_dump(provider.settings()), encoding="utf-8")
            with dev(folder, application.upstream.url, "--provider", file) as gate:
                assert Agent().open(gate.url + "/page/x").status == 200


class TestRules:
    def test_rules_of_the_command_line_decide(self, folder: Path, application: Application) -> None:
        rules = ("--rule", ADMINS, "--rule", "{path: /open/**, allow: anyone}")
        with dev(folder, application.upstream.url, "--as", "bob", *rules) as gate:
            assert gate.get("/admin/x").status_code == 403
            assert gate.get("/open/x").status_code == 200
            assert gate.get("/none").status_code == 403

    def test_each_decision_is_one_readable_line(self, folder: Path, application: Application) -> None:
        with dev(folder, application.upstream.url, "--as", "bob", "--rule", ADMINS) as gate:
            gate.get("/admin/x?token=secret")
            gate.wait_for("/admin/x")
            line = next(line for line in gate.text().splitlines() if "/admin/x" in line)
            for word in ("GET", "403", "refused", "admins only", "bob"):
                assert word in line
            assert "secret" not in gate.text()

    def test_a_changed_file_of_rules_takes_effect_and_a_broken_one_does_not(
        self, folder: Path, application: Application
    ) -> None:
        """S73."""
        file = folder / "rules.yaml"
        file.write_text("- {path: /a/**, allow: authenticated}\n", encoding="utf-8")
        with dev(folder, application.upstream.url, "--as", "bob", "--rules", file) as gate:
            assert (gate.get("/a/x").status_code, gate.get("/b/x").status_code) == (200, 403)
            file.write_text("- {path: /b/**, allow: authenticated}\n", encoding="utf-8")
            gate.wait_for("1 rules now in force")
            assert (gate.get("/a/x").status_code, gate.get("/b/x").status_code) == (403, 200)
            file.write_text(
                "- {path: /b/**, allow: authenticated}\n- {path: 5, alow: anyone}\n", encoding="utf-8"
            )
            gate.wait_for("the rules before it stay")
            line = next(line for line in gate.text().splitlines() if "before it stay" in line)
            assert f"{file}:2:" in line
            assert (gate.get("/a/x").status_code, gate.get("/b/x").status_code) == (403, 200)
            file.unlink()
            gate.wait_for("can't be read")
            assert gate.get("/b/x").status_code == 200

    def test_a_login_outlives_a_reload_and_an_open_tunnel_does_not(
        self, folder: Path, application: Application
    ) -> None:
        file = folder / "tunnel-rules.yaml"
        file.write_text("access: [{allow: authenticated}]\n", encoding="utf-8")
        with dev(folder, application.upstreams["/ws"], "--rules", file) as gate:
            agent = Agent()
            page = agent.open(gate.url + "/oauth2/start?rd=/oauth2/userinfo")
            agent.submit(page, {"person": "ada"})
            cookie = agent.cookie_header(gate.url + "/")
            with open_websocket(gate.url + "/ws", cookie=cookie) as tunnel:
                tunnel.send("hello")
                assert tunnel.recv(5) == "hello"
                file.write_text("access: [{name: again, allow: authenticated}]\n", encoding="utf-8")
                with pytest.raises(ConnectionClosed):
                    tunnel.recv(10)
            assert gate.get("/oauth2/userinfo", Cookie=cookie).status_code == 200


class TestDevelopment:
    """S72."""

    def test_every_answer_says_so(self, folder: Path, application: Application) -> None:
        rules = ("--rule", ADMINS, "--rule", "{path: /open/**, allow: anyone}")
        with dev(folder, application.upstream.url, "--as", "bob", *rules) as gate:
            for path in ("/open/x", "/admin/x", "/none", "/oauth2/userinfo", "/oauth2/nothing"):
                assert gate.get(path).headers["Doorward-Development"] == "development mode"

    @pytest.mark.parametrize("address", ["0.0.0.0:8080", "192.0.2.1:8080", "[::]:8080", "app.example:80"])
    def test_nothing_but_loopback_where_one_may_be_anybody(self, address: str) -> None:
        for more in ((), ("--as", "alice"), ("--expose",), ("--as", "alice", "--expose")):
            ended = dev_to_end("3000", "--listen", address, *more)
            assert (ended.returncode, ended.stdout) == (2, "")
            assert ended.stderr.count("\n") == 1
            assert "127.0.0.1:PORT" in ended.stderr

    def test_a_real_provider_may_be_exposed_only_when_told(self, folder: Path) -> None:
        ended = dev_to_end("3000", "--listen", "0.0.0.0:0", "--provider", folder / "any.yaml")
        assert ended.returncode == 2
        assert "--expose" in ended.stderr

    def test_exposed_it_is_reached_by_the_name_that_it_is_told(
        self, folder: Path, application: Application
    ) -> None:
        file = folder / "far.yaml"
        file.write_text("{issuer: 'https://id.invalid', client_id: app}\n", encoding="utf-8")
        more = ("--expose", "--provider", file, "--rule", "{allow: anyone}")
        url = ("--public-url", "https://app.example.com")
        with dev(folder, application.upstream.url, *more, *url, host="0.0.0.0") as gate:
            assert gate.get("/", Host="app.example.com").status_code == 200


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "Which application?"),
            (("ftp://x", "--listen", "0"), "upstream"),
            (("3000", "--listen", "99999"), "--listen 99999"),
            (("3000", "--groups", "a"), "--as"),
            (("3000", "--as", "a", "--provider", "x.yaml"), "leave out --as or --provider"),
            (("3000", "--rule", "nonsense", "--listen", "0"), "--rule 'nonsense'"),
            (("3000", "--rule", "{alow: x}", "--listen", "0"), "access[0].alow"),
            (("3000", "--rules", "no-such-file.yaml", "--listen", "0"), "no-such-file.yaml"),
            (("3000", "--header", "X-A", "--listen", "0"), "--header X-A"),
            (("3000", "--header", "Host=x", "--listen", "0"), "Host"),
            (("3000", "--as", "a", "--claim", "iss=x"), "--claim iss"),
            (("3000", "--config", "x.yaml"), "--replay"),
            (("--replay", "no-such.mitm", "--rule", "{allow: anyone}"), "no-such.mitm"),
            (("--replay", "no-such.mitm"), "by which rules"),
        ],
    )
    def test_a_mistake_is_told_without_a_traceback(self, arguments: tuple[str, ...], words: str) -> None:
        ended = dev_to_end(*arguments)
        assert ended.returncode in {1, 2}
        assert ended.stdout == ""
        assert words in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_a_port_in_use_is_one_line(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            ended = dev_to_end("3000", "--listen", str(port))
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert "another process is there" in ended.stderr

    def test_an_application_that_is_not_there_yet_is_told_and_a_line(self, folder: Path) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            with dev(folder, str(port), "--as", "alice") as gate:
                assert gate.get("/").status_code in {502, 503}
                gate.wait_for("can't be reached")


def test_an_application_on_ipv6_loopback_alone_is_found_as_localhost(folder: Path) -> None:
    """Servers of today's JavaScript tools listen on whatever localhost means first."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        probe.listen()
        if "::1" not in {found[4][0] for found in socket.getaddrinfo("localhost", 80)}:
            pytest.skip("localhost is not ::1 here")
        with dev(folder, str(probe.getsockname()[1]), "--as", "alice") as gate:
            with pytest.raises(httpx.ReadTimeout):
                httpx.get(gate.url, trust_env=False, timeout=0.5)
            probe.settimeout(5)
            connection, _ = probe.accept()
            with connection:
                assert b"X-Forwarded-User: alice" in connection.recv(65536)


def _slowness() -> float:
    """Return how many times slower than a developer's machine this one may be while other tests run."""
    return 4.0
