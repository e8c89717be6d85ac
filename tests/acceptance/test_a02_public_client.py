"""A2: a client without a secret."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.doorward import Doorward
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.processes import find_free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    settings = scripted.settings()
    del settings["client_secret"]
    with Doorward(folder, provider=settings, upstreams=application.upstreams) as running:
        yield running


def test_the_token_request_carries_no_secret_and_proves_itself_by_pkce(
    doorward: Doorward, script: ScriptedProvider
) -> None:
    """A2, S02: the verifier is the one whose challenge was sent."""
    assert doorward.agent().open(doorward.url + "/").status == 200

    (authorization,), (token,) = script.calls("/authorize"), script.calls("/token")
    assert token.form["grant_type"] == ["authorization_code"]
    assert token.values("Authorization") == []
    assert {"client_secret", "client_assertion"}.isdisjoint(token.form)
    assert token.form["client_id"] == authorization.query["client_id"]
    digest = hashlib.sha256(token.form["code_verifier"][0].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert authorization.query["code_challenge"] == [challenge]
    assert authorization.query["code_challenge_method"] == ["S256"]


def test_no_two_logins_share_a_verifier(doorward: Doorward, script: ScriptedProvider) -> None:
    """S02: likewise no two share state or nonce."""
    for _ in range(2):
        doorward.agent().open(doorward.url + "/")

    verifiers = {call.form["code_verifier"][0] for call in script.calls("/token")}
    states = {call.query["state"][0] for call in script.calls("/authorize")}
    nonces = {call.query["nonce"][0] for call in script.calls("/authorize")}
    assert (len(verifiers), len(states), len(nonces)) == (2, 2, 2)


def test_a_public_client_of_the_certified_provider_logs_in(application: Application, folder: Path) -> None:
    """A2: the same where somebody else wrote the provider."""
    port = find_free_port()
    with (
        certified_provider(folder, [f"http://localhost:{port}"]) as provider,
        Doorward(
            folder,
            port=port,
            provider=provider_settings(provider, "public"),
            upstreams=application.upstreams,
        ) as doorward,
    ):
        page = doorward.agent().login(doorward.url + "/a?b=c", "ann")

        assert page.url == doorward.url + "/a?b=c"
        assert page.status == 200
        assert application.upstream.last("/a").values("X-Forwarded-User") == ["ann"]
