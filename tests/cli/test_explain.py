from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Outcome, doorward, write_config
from tests.config.files import KEY

_RULES = (
    "access:\n"
    "  - {name: public, path: /public/**, allow: anyone}\n"
    "  - {path: /admin/**, methods: [POST, DELETE], allow: {groups: [admins]}}\n"
    "  - {path: /lan/**, allow: {networks: [10.0.0.0/8]}}\n"
    "  - {path: /app/**, allow: {email_domains: [example.com]}}\n"
)
_ANN = {"sub": "ann", "email": "ann@example.com", "email_verified": True, "groups": ["admins", "ops"]}


class Asking:
    """One configuration, and who asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = write_config(folder, _RULES)

    def write(self, text: str) -> None:
        self.config = write_config(self.folder, text)

    def claims(self, claims: object) -> Path:
        file = self.folder / "claims.json"
        file.write_text(claims if isinstance(claims, str) else json.dumps(claims))
        return file

    def ask(self, *arguments: str | Path) -> Outcome:
        return doorward("explain", "--config", self.config, *arguments)

    def facts(self, *arguments: str | Path) -> dict[str, Any]:
        found = self.ask("--format", "json", *arguments)
        assert (found.code, found.err) == (0, "")
        facts: dict[str, Any] = found.json
        return facts


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


class TestSignedIn:
    def test_everything_is_told(self, asking: Asking) -> None:
        found = asking.ask("GET", "https://app.example.com/app/x?y=1", "--as", asking.claims(_ANN))
        assert (found.code, found.err) == (0, "")
        assert found.out == (
            "request   GET app.example.com/app/x?y=1\n"
            "site      app.example.com\n"
            "path      /app/x\n"
            "readings  /app/x\n"
            "rules     access[3]: /app/**: e-mail domains example.com\n"
            "decision  forward to http://127.0.0.1:3000\n"
            "rule      access[3]\n"
            "user      ann\n"
            "reason    allowed\n"
            "because   the rule admits this identity\n"
            "headers   X-Forwarded-For: 192.0.2.1\n"
            "          X-Real-IP: 192.0.2.1\n"
            "          X-Forwarded-Proto: https\n"
            "          X-Forwarded-Host: app.example.com\n"
            "          X-Forwarded-Port: 443\n"
            "          Forwarded: for=192.0.2.1;host=app.example.com;proto=https\n"
            "          X-Forwarded-User: ann\n"
            "          X-Forwarded-Email: ann@example.com\n"
            "          X-Forwarded-Groups: admins,ops\n"
        )

    def test_a_refusal_says_why(self, asking: Asking) -> None:
        facts = asking.facts("POST", "/admin/x", "--as", asking.claims({"sub": "bob", "groups": ["ops"]}))
        assert facts["decision"] == "answer 403"
        assert facts["reason"] == "denied"
        assert facts["rule"] == "access[1]"
        assert facts["detail"] == "none of the groups admins"

    def test_claims_go_the_way_of_a_login(self, asking: Asking) -> None:
        """S24: an address that the provider does not call verified counts as none."""
        unverified = {**_ANN, "email_verified": None}
        facts = asking.facts("GET", "/app/", "--as", asking.claims(unverified))
        assert (facts["reason"], facts["detail"]) == (
            "denied",
            "no usable email_domains known, so none of the email_domains example.com",
        )

    def test_claims_with_which_nobody_gets_in(self, asking: Asking) -> None:
        found = asking.ask("GET", "/app/", "--as", asking.claims({**_ANN, "email_verified": False}))
        assert (found.code, found.err) == (
            2,
            "explain: with these claims nobody gets in: email_not_verified\n",
        )

    def test_the_provider_of_the_claims_is_named_where_there_are_several(self, asking: Asking) -> None:
        provider = "{type: oidc, issuer: https://id.example.com, client_id: app"
        asking.write(f"providers: {{a: {provider}, claims: {{user: upn}}}}, b: {provider}}}}}\n")
        claims = asking.claims({"sub": "1", "upn": "ann"})
        found = asking.ask("GET", "/", "--as", claims)
        assert found.code == 2
        assert (
            found.err == "explain: the claims are from one of the providers a, b; name it with --provider\n"
        )
        assert asking.facts("GET", "/", "--as", claims, "--provider", "a")["user"] == "ann"
        assert asking.facts("GET", "/", "--as", claims, "--provider", "b")["user"] == "1"

    def test_a_large_session_is_explained_too(self, asking: Asking) -> None:
        groups = [secrets.token_hex(20) for _ in range(300)]
        facts = asking.facts(
            "POST", "/admin/", "--as", asking.claims({"sub": "a", "groups": [*groups, "admins"]})
        )
        assert facts["reason"] == "allowed"

    def test_no_assertion_is_handed_out(self, asking: Asking, tmp_path: Path) -> None:
        """S74: one would be as good as the login of whoever is asked about."""
        doorward("keys", "assertion", "--out", tmp_path / "key.pem")
        asking.write(f"headers: {{assertion: {{keys: [{{file: {tmp_path}/key.pem}}]}}}}\n")
        facts = asking.facts("GET", "/", "--as", asking.claims(_ANN))
        assert facts["headers"]["X-Doorward-Assertion"] == "(signed when it is sent)"

    def test_no_cookie_is_handed_out(self, asking: Asking) -> None:
        """S74: the sealed session would be as good as a login."""
        assert "__Host-" not in asking.ask("GET", "/app/", "--as", asking.claims(_ANN)).out


class TestNobody:
    def test_a_navigation_is_sent_to_sign_in(self, asking: Asking) -> None:
        facts = asking.facts("GET", "/app/x")
        assert facts["decision"] == "send the browser to sign in"
        assert facts["reason"] == "login_required"

    def test_a_program_gets_401(self, asking: Asking) -> None:
        facts = asking.facts(
            "GET", "/app/x", "--header", "Accept: application/json", "--header", "Sec-Fetch-Mode: cors"
        )
        assert facts["decision"] == "answer 401"
        assert facts["reason"] == "login_required_api"

    def test_a_public_path_is_forwarded(self, asking: Asking) -> None:
        facts = asking.facts("GET", "/public/x")
        assert (facts["rule"], facts["reason"]) == ("public", "allowed_anyone")
        assert "X-Forwarded-User" not in facts["headers"]

    def test_a_path_of_no_rule_is_closed(self, asking: Asking) -> None:
        facts = asking.facts("GET", "/else")
        assert facts["rules"] == ["no rule matches: nobody"]
        assert (facts["decision"], facts["reason"]) == ("answer 403", "no_rule")

    def test_the_sign_in_page_is_ours(self, asking: Asking) -> None:
        facts = asking.facts("GET", "/oauth2/sign_in")
        assert (facts["decision"], facts["reason"]) == ("answer 200", "sign_in_page")


class TestRequests:
    @pytest.mark.parametrize(("address", "reason"), [("10.1.2.3", "allowed"), ("192.0.2.1", "denied")])
    def test_where_it_comes_from(self, asking: Asking, address: str, reason: str) -> None:
        assert asking.facts("GET", "/lan/x", "--from", address)["reason"] == reason

    def test_a_trusted_proxy_tells_where_it_comes_from(self, asking: Asking) -> None:
        asking.write(f"trusted_proxies: [192.0.2.9]\n{_RULES}")
        facts = asking.facts("GET", "/lan/x", "--from", "192.0.2.9", "--header", "X-Forwarded-For: 10.1.1.1")
        assert facts["reason"] == "allowed"
        assert facts["headers"]["X-Real-IP"] == "10.1.1.1"

    def test_readings_that_disagree_are_told(self, asking: Asking) -> None:
        """S57: the path is judged in every reading."""
        facts = asking.facts("GET", "/public/..%2fapp/x")
        assert facts["readings"] == ["/public/..%2fapp/x", "/public/../app/x", "/app/x"]
        assert facts["rules"] == [
            "public: /public/**: anyone",
            "access[3]: /app/**: e-mail domains example.com",
        ]
        assert (facts["decision"], facts["reason"]) == ("answer 400", "ambiguous_path")

    def test_a_path_that_none_accepts_is_told(self, asking: Asking) -> None:
        facts = asking.facts("GET", "/public/%00")
        assert (facts["decision"], facts["reason"]) == ("answer 400", "invalid_path")

    def test_what_a_browser_would_escape_is_escaped(self, asking: Asking) -> None:
        facts = asking.facts("GET", "https://app.example.com/public/é x?q=1#fragment")
        assert facts["request"] == "GET app.example.com/public/%C3%A9%20x?q=1"
        assert facts["path"] == "/public/é x"

    def test_a_url_without_a_path_is_its_root(self, asking: Asking) -> None:
        assert asking.facts("GET", "https://app.example.com")["request"] == "GET app.example.com/"
        assert asking.facts("GET", "https://app.example.com?a")["request"] == "GET app.example.com/?a"

    def test_a_host_of_no_site(self, asking: Asking) -> None:
        facts = asking.facts("GET", "https://other.example.com/")
        assert "site" not in facts
        assert facts["reason"] == "unknown_host"

    def test_a_site_without_an_upstream_answers_for_itself_only(self, asking: Asking) -> None:
        asking.write("upstream: none\n")
        assert asking.facts("GET", "/x", "--as", asking.claims(_ANN))["reason"] == "no_route"
        assert asking.facts("GET", "/oauth2/userinfo", "--as", asking.claims(_ANN))["reason"] == "own_page"

    def test_what_an_ingress_is_told(self, asking: Asking) -> None:
        """S50: about the original request, whoever may ask."""
        asking.write("upstream: none\nforward_auth: {callers: [10.0.0.0/8]}\n")
        facts = asking.facts("GET", "/admin/x", "--as", asking.claims(_ANN))
        assert facts["decision"] == "tell the ingress 200"
        assert facts["headers"]["X-Auth-Request-User"] == "ann"
        assert asking.facts("GET", "/admin/x")["decision"] == "tell the ingress 302"
        assert asking.facts("POST", "/admin/x")["decision"] == "tell the ingress 401"
        assert asking.facts("GET", "/%5c")["decision"] == "tell the ingress 400"
        assert asking.facts("GET", "/oauth2/jwks")["decision"] == "answer 200"

    def test_a_method_that_is_not_served(self, asking: Asking) -> None:
        assert asking.facts("TRACE", "/public/")["reason"] == "method_refused"

    def test_a_request_of_another_origin(self, asking: Asking) -> None:
        facts = asking.facts(
            "POST",
            "/admin/x",
            "--as",
            asking.claims(_ANN),
            *("--header", "Origin: https://evil.example", "--header", "Sec-Fetch-Site: cross-site"),
        )
        assert facts["reason"] == "cross_origin"

    def test_the_site_is_found_by_the_host(self, asking: Asking) -> None:
        rest = f"upstream: http://a:1, session: {{keys: [{KEY}]}}, access: [{{allow: anyone}}]"
        provider = "provider: {type: oidc, issuer: https://id.example.com, client_id: app}"
        asking.write(
            f"sites: {{a: {{public_url: https://a.example, {rest}, {provider}}},"
            f" b: {{public_url: https://b.example, {rest}, {provider}}}}}\n"
        )
        assert asking.facts("GET", "https://b.example/")["site"] == "b"
        found = asking.ask("GET", "/")
        assert (found.code, found.err) == (2, "explain: there are several sites; write the whole URL\n")


class TestWrongQuestions:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (
                ("GET", "app.example.com"),
                "'app.example.com' is neither a URL nor a path; write https://app.example.com/path",
            ),
            (("GET", "https://a b/"), "'a%20b' is no host"),
            (("GET", "/", "--header", "nonsense"), "'nonsense' is no header; write 'Name: value'"),
            (
                ("GET", "/", "--from", "office"),
                "'office' is no address; write 192.0.2.1, 2001:db8::1 or unix",
            ),
            (("GÉT", "/"), "method and headers are ASCII"),
            (("GET", "/", "--as", "/nonexistent"), "can't read /nonexistent: No such file or directory"),
        ],
    )
    def test_what_can_not_be_asked_is_code_2(
        self, asking: Asking, arguments: tuple[str, ...], sentence: str
    ) -> None:
        found = asking.ask(*arguments)
        assert (found.code, found.out, found.err) == (2, "", f"explain: {sentence}\n")

    def test_claims_are_json(self, asking: Asking) -> None:
        file = asking.claims("{")
        found = asking.ask("GET", "/", "--as", file)
        assert found.code == 2
        assert found.err.startswith(f"explain: {file} is not JSON: Expecting property name")

    def test_claims_are_an_object(self, asking: Asking) -> None:
        file = asking.claims([])
        found = asking.ask("GET", "/", "--as", file)
        assert found.err == (
            f'explain: {file} holds no JSON object; write {{"sub": "ann", "email": "ann@example.com"}}\n'
        )

    def test_claims_without_a_subject_are_nobodys(self, asking: Asking) -> None:
        found = asking.ask("GET", "/", "--as", asking.claims({"email": "a@example.com"}))
        assert found.code == 2
        assert found.err.startswith("explain: with these claims nobody gets in: sub_invalid")

    def test_an_invalid_configuration_is_code_1(self, asking: Asking) -> None:
        asking.write("upstreem: x\n")
        found = asking.ask("GET", "/")
        assert found.code == 1
        assert found.err == f"{asking.config}:1:1: upstreem: unknown key; did you mean upstream?\n"

    def test_one_that_can_not_be_read_is_code_2(self, asking: Asking, tmp_path: Path) -> None:
        found = doorward("explain", "--config", tmp_path / "no.yaml", "GET", "/")
        assert (found.code, found.err) == (
            2,
            f"{tmp_path}/no.yaml: can't be read: No such file or directory; name another file\n",
        )
