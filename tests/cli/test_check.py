from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from tests.cli.commands import doorward, write_config
from tests.config.files import KEY

_RULES = (
    "admin: 127.0.0.1:9080\n"
    "access:\n"
    "  - {path: /public/**, allow: anyone}\n"
    "  - {path: /api/**, methods: [POST, DELETE], hosts: [app.example.com], preflight: pass,\n"
    "     allow: {groups: [admins], not: {claims: {a.b: [1, true]}}}}\n"
    "  - {path: /closed, allow: nobody}\n"
    "  - {allow: {any: [{email_domains: [example.com]}, {networks: [10.0.0.0/8]}, {users: [a, b]}]}}\n"
    "headers: {set: {X-D: 'claim:d'}}\n"
)


def shape(text: str) -> str:
    """Return what is printed with the sizes, which differ by a byte or two, taken out."""
    return re.sub(r"about \d+ bytes", "about N bytes", text)


class TestForwardAuth:
    """What an operator of an ingress has to know."""

    def test_who_may_ask_and_what_is_told_is_said(self, tmp_path: Path) -> None:
        """S75: and which ingress loses cookies that a session may need."""
        rules = "upstream: none\ntrusted_proxies: [10.0.0.0/8]\n"
        ingress = "forward_auth: {callers: [10.0.0.0/8], secret: 0123456789abcdef, grpc: '127.0.0.1:4181'}\n"
        found = doorward("check", write_config(tmp_path, rules + ingress))
        assert found.code == 0
        for line in (
            "may ask       an ingress from 10.0.0.0/8, with the secret",
            "              by gRPC at 127.0.0.1:4181",
            "  asked at      /oauth2/auth/<dialect>: nginx, ingress-nginx, traefik, caddy, haproxy, envoy",
            "  told          X-Auth-Request-User (user), X-Auth-Request-Email (email),",
            "  loses         ingress-nginx: without its page's snippets, all cookies of a renewed session",
            "                there, keep a session within one cookie (above)",
        ):
            assert f"\n{line}" in found.out
        assert "0123456789abcdef" not in found.out

    def test_nothing_is_said_where_nobody_may_ask(self, tmp_path: Path) -> None:
        out = doorward("check", write_config(tmp_path, "")).out
        assert "asked at" not in out
        assert "may ask" not in out


class TestText:
    def test_what_is_right_is_said_in_words(self, tmp_path: Path) -> None:
        file = write_config(tmp_path, _RULES)
        found = doorward("check", file)
        assert (found.code, found.err) == (0, "")
        assert shape(found.out) == (
            f"{file}: valid\n"
            "\n"
            "listen        127.0.0.1:8080\n"
            "admin         127.0.0.1:9080\n"
            "workers       1\n"
            "trusts        no proxy: forwarded headers of clients are removed\n"
            "\n"
            "site app.example.com\n"
            "  public URL    https://app.example.com\n"
            "  upstream      http://127.0.0.1:3000\n"
            "  provider      https://id.example.com as app (public client)\n"
            "  callback      https://app.example.com/oauth2/callback  (register it at the provider)\n"
            "  after logout  https://app.example.com/oauth2/sign_out/return  (likewise)\n"
            "  rules         access[0]: /public/**: anyone\n"
            "                access[1]: DELETE, POST /api/** at app.example.com, CORS preflights pass:"
            " groups admins and not (claim a.b = 1 or true)\n"
            "                access[2]: /closed: nobody\n"
            "                access[3]: /**: e-mail domains example.com or from 10.0.0.0/8 or users a or b\n"
            "                everything else: nobody\n"
            "  headers       X-Forwarded-User (user), X-Forwarded-Email (email), X-Forwarded-Groups (groups),"
            " X-Forwarded-Preferred-Username (preferred_username), X-D (claim:d)\n"
            "  session       ends after 1h without use, 12h in all\n"
            "                keeps who it is, refresh token, ID token, claim a.b, claim d\n"
            "  cookie        __Host-doorward\n"
            "                no groups: about N bytes\n"
            "                20 groups: about N bytes\n"
            "                200 groups: about N bytes in 4 cookies; many servers in front take 8KiB of"
            " headers only\n"
        )

    def test_warnings_come_last_and_do_not_fail(self, tmp_path: Path) -> None:
        file = write_config(tmp_path, "access: [{allow: anyone}]\n", mode=0o644)
        found = doorward("check", file)
        assert found.code == 0
        assert found.out.endswith(
            "\n"
            "warnings\n"
            f"  {file}: holds secrets, and others can read it (mode 0644); chmod 600 it, or move them out"
            " with {file: ...}\n"
            f"  {file}:1:1: access: lets everybody in: no rule asks anybody to sign in\n"
        )

    def test_what_is_wrong_is_told_on_stderr_with_code_1(self, tmp_path: Path) -> None:
        file = write_config(tmp_path, "upstreem: http://a:1\nsign_in: popup\n")
        found = doorward("check", file)
        assert (found.code, found.out) == (1, "")
        assert found.err == (
            f"{file}:1:1: upstreem: unknown key; did you mean upstream?\n"
            f'{file}:2:10: sign_in: "popup" is not known here; write redirect or page\n'
        )

    def test_what_can_not_be_read_is_code_2(self, tmp_path: Path) -> None:
        found = doorward("check", tmp_path)
        assert (found.code, found.out) == (2, "")
        assert found.err == f"{tmp_path}: can't be read: Is a directory; name the file in it\n"

    def test_an_unknown_option_is_code_2(self) -> None:
        assert doorward("check", "--nope").code == 2

    def test_several_sites_each_have_a_section(self, tmp_path: Path) -> None:
        upstreams = "upstreams: {/: http://a:1, /api: http://b:2}"
        site = f"{upstreams}, session: {{keys: [{KEY}]}}, access: [{{allow: anyone}}]"
        provider = "{type: oidc, issuer: https://id.example.com, client_id: app, client_secret: hush}"
        text = (
            "trusted_proxies: [10.0.0.0/8]\n"
            "sites:\n"
            f"  a: {{public_url: https://a.example, hosts: [b.example], provider: {provider}, {site}}}\n"
            f"  c: {{public_url: https://c.example, providers: {{x: {provider}, y: {provider}}}, {site}}}\n"
        )
        found = doorward("check", write_config(tmp_path, text)).out
        assert "trusts        10.0.0.0/8\n" in found
        assert "site a\n" in found
        assert "  also          b.example  (the session is handed over)\n" in found
        assert "  upstream      http://a:1\n                http://b:2 for /api\n" in found
        assert "site c\n" in found
        assert "  callback      https://c.example/oauth2/callback/x  (register it at the provider)\n" in found
        assert "  provider      https://id.example.com as app (client_secret_basic)\n" in found

    def test_no_secret_is_printed(self, tmp_path: Path) -> None:
        """S74: neither keys nor client secrets, in either form of the answer."""
        text = "provider: {type: oidc, issuer: https://id.example.com, client_id: app, client_secret: hush}\n"
        file = write_config(tmp_path, text)
        for form in ("text", "json"):
            found = doorward("check", file, "--format", form)
            assert found.code == 0
            assert "hush" not in found.out
            assert KEY not in found.out


class TestJson:
    def test_what_is_right_is_said_to_programs(self, tmp_path: Path) -> None:
        found = doorward("check", write_config(tmp_path, _RULES), "--format", "json")
        assert found.code == 0
        (site,) = found.json["sites"]
        sizes = site["session"].pop("cookie_sizes")
        assert found.json | {"sites": []} == {
            "valid": True,
            "warnings": [],
            "listen": "127.0.0.1:8080",
            "admin": "127.0.0.1:9080",
            "tls": False,
            "workers": 1,
            "trusted_proxies": [],
            "forward_auth": None,
            "sites": [],
        }
        assert site["providers"] == {
            "default": {
                "issuer": "https://id.example.com",
                "client_id": "app",
                "auth_method": "none",
                "redirect_uri": "https://app.example.com/oauth2/callback",
            }
        }
        assert site["rules"][0] == {"name": "access[0]", "matches": "/public/**", "allow": "anyone"}
        assert site["session"] == {
            "store": "cookie",
            "idle_seconds": 3600,
            "absolute_seconds": 43200,
            "cookie": "__Host-doorward",
            "kept_claims": ["a.b", "d"],
            "kept_tokens": ["refresh token", "ID token"],
        }
        assert list(sizes) == ["no groups", "20 groups", "200 groups"]

    def test_what_is_wrong_is_said_to_programs(self, tmp_path: Path) -> None:
        file = write_config(tmp_path, "upstreem: http://a:1\n")
        found = doorward("check", file, "--format", "json")
        assert found.code == 1
        assert found.json == {
            "valid": False,
            "problems": [f"{file}:1:1: upstreem: unknown key; did you mean upstream?"],
        }


class TestCookieSize:
    """How large the session cookie will be: sealed by the code that seals it."""

    def sizes(self, folder: Path, text: str) -> dict[str, dict[str, int]]:
        (site,) = doorward("check", write_config(folder, text), "--format", "json").json["sites"]
        found: dict[str, dict[str, int]] = site["session"]["cookie_sizes"]
        return found

    def test_groups_make_it_larger(self, tmp_path: Path) -> None:
        sizes = self.sizes(tmp_path, "")
        small, typical, large = (sizes[key]["bytes"] for key in ("no groups", "20 groups", "200 groups"))
        assert small < typical < large
        assert sizes["no groups"]["cookies"] == 1
        assert sizes["200 groups"]["cookies"] > 1

    def test_what_is_kept_makes_it_larger(self, tmp_path: Path) -> None:
        usual = self.sizes(tmp_path, "")["no groups"]["bytes"]
        tokens = self.sizes(tmp_path, "headers: {set: {X-Token: access_token}}\n")["no groups"]["bytes"]
        claims = self.sizes(tmp_path, "headers: {set: {X-A: 'claim:a'}}\n")["no groups"]["bytes"]
        assert usual + 20 < claims < usual + 100
        assert tokens > usual + 900

    @pytest.mark.slow
    def test_a_session_that_does_not_fit_is_told(self, tmp_path: Path) -> None:
        many = ", ".join(f"X-{number}: 'claim:{secrets.token_hex(32)}'" for number in range(600))
        found = doorward("check", write_config(tmp_path, f"headers: {{set: {{{many}}}}}\n"))
        assert (
            "200 groups: does not fit, such people can't log in; ask the provider for fewer groups"
            in found.out
        )
