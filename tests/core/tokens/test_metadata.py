from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.errors import ProviderUnavailable
from sidecar.core.tokens import build_metadata, metadata_url, parse_metadata
from tests.core.oidcsetup import ISSUER, metadata_document, provider


def test_endpoints_come_from_the_document() -> None:
    """S16: and nothing but the document and the settings says where they are."""
    metadata = parse_metadata(metadata_document(), provider())

    assert metadata.authorization_endpoint == f"{ISSUER}/authorize"
    assert metadata.token_endpoint == f"{ISSUER}/token"
    assert metadata.userinfo_endpoint == f"{ISSUER}/userinfo"
    assert metadata.jwks_uri == f"{ISSUER}/keys"
    assert metadata.end_session_endpoint == f"{ISSUER}/logout"
    assert metadata.code_challenge_methods == ("S256",)
    assert not metadata.sends_iss


@pytest.mark.parametrize(
    "issuer",
    [
        f"{ISSUER}/",
        "https://ID.example.com",
        "https://id.example.com:443",
        "http://id.example.com",
        "https://evil.example.com",
        "",
        None,
        [ISSUER],
    ],
)
def test_another_issuer_is_refused(issuer: Any) -> None:
    """S16: byte for byte; a slash more, another case or a default port is another issuer."""
    with pytest.raises(ProviderUnavailable) as caught:
        parse_metadata(metadata_document(issuer=issuer), provider())

    assert caught.value.code == "metadata_issuer_mismatch"
    assert f"'{ISSUER}'" in caught.value.detail


@pytest.mark.parametrize("document", [b"", b"[]", b"<html>", b'{"issuer": "a", "issuer": "a"}'])
def test_what_is_no_json_object_is_refused(document: bytes) -> None:
    with pytest.raises(ProviderUnavailable, match="metadata_unreadable"):
        parse_metadata(document, provider())


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_a_needed_endpoint_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(ProviderUnavailable, match=f"metadata_incomplete: {name} is missing"):
        parse_metadata(metadata_document(**{name: None}), provider())


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/token",
        "http://127.0.0.1:9000/token",
        "http://localhost/token",
        "ftp://id.example.com/token",
        "javascript:alert(1)",
        "//id.example.com/token",
        "/token",
        "https:///token",
        "https://user:password@id.example.com/token",
        "https://id.example.com/token#fragment",
        "https://id.example.com/to ken",
        "https://id.example.com\\token",
        "https://id.example.com/\ntoken",
        "https://id.example.com:99999/token",
        "https://[::1/token",
        "https://id.example.com/" + "a" * 3000,
        7,
        ["https://id.example.com/token"],
    ],
)
def test_an_endpoint_that_is_no_safe_https_url_is_refused(url: Any) -> None:
    """S16: http, and everything that two URL parsers read differently."""
    with pytest.raises(ProviderUnavailable, match="metadata_endpoint_refused: token_endpoint"):
        parse_metadata(metadata_document(token_endpoint=url), provider())


def test_plain_http_needs_the_operators_word() -> None:
    """S16: `insecure_http: true` is for an issuer inside a cluster."""
    document = metadata_document(token_endpoint="http://id.internal/token")

    metadata = parse_metadata(document, provider(insecure_http=True))

    assert metadata.token_endpoint == "http://id.internal/token"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9000", "127.8.8.8", "[::1]:9000", "localhost:9000", "id.localhost"]
)
def test_a_loopback_issuer_may_have_http_endpoints_on_loopback(host: str) -> None:
    local = provider(issuer=f"http://{host}")
    document = metadata_document(
        issuer=f"http://{host}",
        authorization_endpoint=f"http://{host}/a",
        token_endpoint=f"http://{host}/t",
        jwks_uri=f"http://{host}/k",
        userinfo_endpoint=None,
        end_session_endpoint=None,
    )

    assert parse_metadata(document, local).token_endpoint == f"http://{host}/t"


@pytest.mark.parametrize("host", ["127.0.0.1.evil.com", "localhost.evil.com", "notlocalhost", "0.0.0.0", "1"])
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    local = provider(issuer="http://localhost")
    document = metadata_document(issuer="http://localhost", token_endpoint=f"http://{host}/t")

    with pytest.raises(ProviderUnavailable, match="metadata_endpoint_refused"):
        parse_metadata(document, local)


def test_overrides_win() -> None:
    """S16: a cluster where browser and sidecar reach the provider by different names."""
    settings = provider(token_endpoint="http://127.0.0.1:8443/token", jwks_uri="https://id.internal/keys")

    metadata = parse_metadata(metadata_document(), settings)

    assert metadata.token_endpoint == "http://127.0.0.1:8443/token"
    assert metadata.jwks_uri == "https://id.internal/keys"
    assert metadata.authorization_endpoint == f"{ISSUER}/authorize"


def test_without_discovery_the_settings_say_it_all() -> None:
    settings = provider(
        discovery=False,
        authorization_endpoint="https://id.example.com/a",
        token_endpoint="https://id.example.com/t",
        jwks_uri="https://id.example.com/k",
    )

    metadata = build_metadata(settings)

    assert metadata.issuer == ISSUER
    assert metadata.userinfo_endpoint is None
    assert metadata.code_challenge_methods is None


def test_without_discovery_a_missing_endpoint_is_named() -> None:
    with pytest.raises(ProviderUnavailable, match="authorization_endpoint is missing"):
        build_metadata(provider(discovery=False))


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://id.example.com", "https://id.example.com/.well-known/openid-configuration"),
        ("https://id.example.com/", "https://id.example.com/.well-known/openid-configuration"),
        (
            "https://id.example.com/realms/a",
            "https://id.example.com/realms/a/.well-known/openid-configuration",
        ),
    ],
)
def test_the_document_is_below_the_issuer(issuer: str, url: str) -> None:
    assert metadata_url(provider(issuer=issuer)) == url


def test_another_place_for_the_document_can_be_set() -> None:
    assert metadata_url(provider(discovery_url="https://in.example/x")) == "https://in.example/x"


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), ("true", False), (1, False)])
def test_only_true_promises_an_iss_parameter(value: Any, expected: bool) -> None:
    document = metadata_document(authorization_response_iss_parameter_supported=value)

    assert parse_metadata(document, provider()).sends_iss is expected
