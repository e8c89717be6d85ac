"""RP-Initiated Logout RP, and the refresh modules."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from sidecar.core.decision import Forward, Respond
from tests.conformance_rp.op import Provider
from tests.conformance_rp.relyingparty import RelyingParty, against, location


async def sign_out(party: RelyingParty) -> dict[str, str]:
    """Sign out by the form; return what was asked of the provider's endpoint."""
    page = (await party.get("/oauth2/sign_out?rd=/public/bye")).response.page
    assert page is not None
    body = f"csrf_token={page.values['csrf_token']}".encode()
    respond = await party.send(
        b"POST", "/oauth2/sign_out?rd=/public/bye", body, (b"Sec-Fetch-Site", b"same-origin")
    )
    assert isinstance(respond, Respond)
    url = urlsplit(str(location(respond)))
    assert f"{url.scheme}://{url.netloc}" == party.op.issuer
    assert url.path == "/logout"
    return dict(parse_qsl(url.query))


async def signed_out(party: RelyingParty, query: str) -> Respond:
    assert not await party.is_signed_in()
    return await party.get(f"/oauth2/sign_out/return{query}")


def test_rp_init_logout() -> None:
    """oidcc-client-test-rp-init-logout: with id_token_hint, return URL and a state, checked on return."""

    async def script(party: RelyingParty) -> None:
        await party.log_in()
        asked = await sign_out(party)
        assert asked["id_token_hint"] == party.op.id_token()
        assert asked["post_logout_redirect_uri"] == "https://app.example.com/oauth2/sign_out/return"
        assert location(await signed_out(party, f"?state={asked['state']}")) == "/public/bye"

    against(Provider(), script)


@pytest.mark.parametrize("query", ["", "?other=x"])
def test_rp_init_logout_no_state(query: str) -> None:
    """oidcc-client-test-rp-init-logout-no-state: signed out all the same, and led nowhere."""

    async def script(party: RelyingParty) -> None:
        await party.log_in()
        await sign_out(party)
        respond = await signed_out(party, query)
        assert respond.response.page is not None
        assert respond.response.page.name == "signed_out"

    against(Provider(), script)


def test_rp_init_logout_other_state() -> None:
    """oidcc-client-test-rp-init-logout-other-state: likewise."""

    async def script(party: RelyingParty) -> None:
        await party.log_in()
        await sign_out(party)
        respond = await signed_out(party, "?state=other")
        assert respond.response.page is not None
        assert respond.response.page.name == "signed_out"

    against(Provider(), script)


async def refreshed(party: RelyingParty) -> bool:
    """Log in, wait until a refresh is due, and tell whether the session outlived it."""
    await party.log_in()
    party.wait(250)
    return isinstance(await party.send(b"GET", "/app/"), Forward)


def test_refresh_token() -> None:
    """oidcc-client-test-refresh-token, fapi2-refresh-token-test: new tokens, and the session goes on."""

    async def script(party: RelyingParty) -> None:
        assert await refreshed(party)
        assert party.op.refreshes == 1
        party.wait(250)
        assert await party.is_signed_in()
        assert party.op.refreshes == 2

    assert against(Provider(), script).refusals() == []


@pytest.mark.parametrize("omitted", ["id_token", "refresh_token", "expires_in"])
def test_refresh_token_with_less_in_the_answer(omitted: str) -> None:
    op = Provider()

    async def script(party: RelyingParty) -> None:
        await party.log_in()
        op.on_token_answer = lambda told: {**told, omitted: None}
        party.wait(250)
        assert await party.is_signed_in()

    assert against(op, script).refusals() == []


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("iss", "https://evil.example", "iss_mismatch"), ("sub", "other", "sub_changed")],
)
def test_refresh_token_of_somebody_else(name: str, value: Any, code: str) -> None:
    """oidcc-client-test-refresh-token-invalid-issuer, oidcc-client-test-refresh-token-invalid-sub: no."""
    op = Provider()

    async def script(party: RelyingParty) -> None:
        await party.log_in()
        op.on_claims = lambda told: {**told, name: value}
        party.wait(250)
        assert not await party.is_signed_in()

    assert against(op, script).refusals() == [code]
