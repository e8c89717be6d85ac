from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from sidecar.core.authorization import RESERVED_PARAMETERS, AuthorizationRequest, build_authorization_request
from tests.core.oidcsetup import CLIENT_ID, provider

FIXED = {
    "redirect_uri": "https://app.example.com/oauth2/callback",
    "state": "the-state",
    "nonce": "the-nonce",
    "code_challenge": "the-challenge",
}


def build(
    endpoint: str = "https://id.example.com/authorize", forwarded: Any = (), **settings: Any
) -> AuthorizationRequest:
    return build_authorization_request(provider(**settings), endpoint, forwarded=forwarded, **FIXED)


def parameters(request: AuthorizationRequest) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(request.url()).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_a_request_is_for_a_code_with_s256_state_and_nonce() -> None:
    """S02, S03, S07: always all of them; no token ever comes through the browser."""
    assert parameters(build()) == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "scope": "openid profile email",
        "code_challenge_method": "S256",
        **FIXED,
    }


def test_form_post_is_asked_for() -> None:
    assert parameters(build(response_mode="form_post"))["response_mode"] == "form_post"


def test_an_audience_is_asked_for() -> None:
    assert parameters(build(audience="https://api.example.com"))["audience"] == "https://api.example.com"


def test_configured_parameters_are_added() -> None:
    extra = (("prompt", "select_account"), ("hd", "example.com"))

    assert parameters(build(extra_params=extra)).items() >= dict(extra).items()


@pytest.mark.parametrize("name", sorted(RESERVED_PARAMETERS))
def test_a_reserved_parameter_cannot_be_set(name: str) -> None:
    """S02, S03: neither by the operator's mistake nor by a browser."""
    request = build(
        extra_params=((name, "evil"),), forwarded=((name, "evil"),), forwarded_params=frozenset({name})
    )

    assert parameters(request) == parameters(build())


def test_only_listed_parameters_are_forwarded() -> None:
    forwarded = (("login_hint", "a@b"), ("prompt", "none"), ("audience", "x"))

    request = build(forwarded=forwarded, forwarded_params=frozenset({"login_hint"}))

    assert parameters(request)["login_hint"] == "a@b"
    assert not {"prompt", "audience"} & set(parameters(request))


def test_an_endpoint_keeps_its_own_query() -> None:
    """RFC 6749 §3.1; what it says about a parameter of ours does not count."""
    url = build("https://id.example.com/a?tenant=x&state=evil&empty=").url()

    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert pairs[:2] == [("tenant", "x"), ("empty", "")]
    assert [value for name, value in pairs if name == "state"] == ["the-state"]


def test_values_are_encoded() -> None:
    url = build(extra_params=(("x", "a&b=c #+ü"),)).url()

    assert "x=a%26b%3Dc+%23%2B%C3%BC" in url
    assert url.isascii()


def test_a_step_may_transform_it() -> None:
    request = build().with_parameters([("scope", "openid"), ("acr_values", "mfa")])

    assert parameters(request)["scope"] == "openid"
    assert parameters(request)["acr_values"] == "mfa"
