"""The lines of the security checklist that a configuration decides, each by name.

The words of each refusal are in `refusals.txt`; here is what must never get through.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.files import KEY, loaded, problems, site

_PROVIDER = "provider: {{type: oidc, issuer: https://id.example.com, client_id: app, {}}}\n"


def refused(text: str) -> list[str]:
    """Return the paths at which a configuration is refused."""
    return [sentence.split(": ")[1] for sentence in problems(text)]


@pytest.mark.parametrize("host", ["id.example.com", "10.0.0.5", "localhost.example.com", "id", "128.0.0.1"])
def test_an_issuer_over_http_beyond_loopback_is_refused(host: str) -> None:
    """S16: unless the operator says that the network in between is theirs alone."""
    text = f"provider: {{type: oidc, issuer: http://{host}, client_id: app%s}}\n"
    assert refused(text % "") == ["provider.issuer"]
    assert refused(text % ", insecure_http: true") == []


@pytest.mark.parametrize("name", ["authorization", "token", "userinfo", "jwks", "end_session"])
def test_an_endpoint_over_http_beyond_loopback_is_refused(name: str) -> None:
    """S16: each of them, and the discovery document too."""
    assert refused(_PROVIDER.format(f"endpoints: {{{name}: http://id.example.com/x}}")) == [
        f"provider.endpoints.{name}"
    ]
    assert refused(_PROVIDER.format("discovery_url: http://id.example.com/x")) == ["provider.discovery_url"]


@pytest.mark.parametrize("name", ["__Host-app", "__host-app", "__HOST-app"])
def test_a_host_cookie_with_a_domain_is_refused(name: str) -> None:
    """S29: browsers would drop it, whatever the case of its prefix."""
    assert refused(f"cookie: {{name: {name}, domain: example.com}}\n") == ["cookie.name"]


def test_a_cookie_with_a_domain_is_secure_and_not_host() -> None:
    """S29: `__Secure-` is used instead."""
    cookie = site("cookie: {domain: example.com}\n").cookie
    assert (cookie.session_name, cookie.domain) == (b"__Secure-doorward", "example.com")


@pytest.mark.parametrize(
    "rule",
    [
        "{}",
        "{path: /x}",
        "{allow: {}}",
        "{allow: []}",
        "{allow: true}",
        "{allow: ''}",
        "{allow: anybody}",
        "{allow: {users: []}}",
        "{allow: {groups: ['']}}",
        "{allow: {claims: {a: []}}}",
        "{allow: {claims: {a: ~}}}",
        "{allow: {networks: []}}",
        "{allow: {all: []}}",
        "{allow: {any: []}}",
        "{allow: {not: {}}}",
        "{allow: {not: authenticated}}",
        "{allow: {group: [a]}}",
        "{allow: anyone, deny: x}",
        "{allow: anyone, path: ''}",
        "{allow: anyone, path: '^/admin'}",
        "{allow: anyone, path: '/[a-z]+'}",
        "{allow: anyone, path: admin}",
        "{allow: anyone, path: []}",
        "{allow: anyone, methods: []}",
        "{allow: anyone, methods: GET}",
        "{allow: anyone, methods: ['!GET']}",
        "{allow: anyone, hosts: []}",
        "{allow: anyone, hosts: ['*']}",
        "{allow: anyone, preflight: true}",
        "anyone",
        "[]",
    ],
)
def test_a_rule_that_can_not_be_understood_starts_nothing(rule: str) -> None:
    """S61: it neither admits everybody nor is it left out."""
    found = refused(f"access: [{rule}, {{allow: authenticated}}]\n")
    assert found
    assert all(path.startswith("access[0]") for path in found)


@pytest.mark.parametrize("access", ["[]", "{}", "~", "anyone", "true"])
def test_rules_that_are_none_start_nothing(access: str) -> None:
    """S61: who may pass is said by the operator, never guessed."""
    assert refused(f"access: {access}\n") == ["access"]


def test_a_configuration_without_rules_starts_nothing() -> None:
    """S61: and names the choice."""
    text = f"sites: {{a: {{public_url: https://a.example, upstream: http://a:1, session: {{keys: [{KEY}]}},"
    (found,) = problems(f"{text} provider: {{type: oidc, issuer: https://i, client_id: a}}}}}}\n")
    assert found == (
        "1:9: sites.a.access: is missing, and who may pass is your choice: write `access: [{allow:"
        " authenticated}]` for everybody who can sign in, `[{allow: {email_domains: [example.com]}}]` for"
        " some of them, `[{allow: anyone}]` for the world"
    )


@pytest.mark.parametrize(
    ("admin", "listen"),
    [
        (":8080", ":8080"),
        ("*:8080", ":8080"),
        ("unix:/run/d.sock", "unix:/run/d.sock"),
        ("LOCALHOST:1", "localhost:1"),
    ],
)
def test_the_admin_listener_has_an_address_of_its_own(admin: str, listen: str) -> None:
    """S71: however the two are spelled."""
    assert refused(f'admin: "{admin}"\nlisten: "{listen}"\n') == ["admin"]


def test_nothing_administrative_listens_by_itself() -> None:
    """S71: health and metrics are served where the operator says, and nowhere else."""
    assert loaded("").runtime.admin is None


def test_secrets_come_from_files_and_variables(tmp_path: Path) -> None:
    """S74: and no command takes one as an argument."""
    (tmp_path / "secret").write_text("hush\n")
    (tmp_path / "secret").chmod(0o600)
    for source in ("{file: secret}", "{env: SECRET}"):
        text = _PROVIDER.format(f"client_secret: {source}")
        secret = (
            loaded(text, {"SECRET": "hush"}, tmp_path).runtime.sites[0].providers["default"].client_secret
        )
        assert secret is not None
        assert secret.reveal() == b"hush"


def test_no_secret_is_in_what_is_printed_of_a_configuration() -> None:
    """S74: neither in the runtime's own form nor in a refusal of the value next to it."""
    text = _PROVIDER.format("client_secret: hush, http_proxy: 'http://user:hush@proxy:3128'")
    found = loaded(text)
    assert KEY not in repr(found)
    assert "hush" not in repr(found.runtime.sites[0].providers["default"].client_secret)
    assert "hush" not in "\n".join(problems(f"{text}sign_in: x\n"))


def test_the_files_that_secrets_came_from_are_known(tmp_path: Path) -> None:
    """S74: so that they can be read again when they change."""
    (tmp_path / "secret").write_text("hush\n")
    found = loaded(_PROVIDER.format("client_secret: {file: secret}"), folder=tmp_path)
    assert found.files == (tmp_path / "secret",)
