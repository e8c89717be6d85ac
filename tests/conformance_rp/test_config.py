"""Config RP: discovery and keys, and a key that changes; D2 and D3 over real connections."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conformance_rp.op import Provider
from tests.conformance_rp.relyingparty import RelyingParty, against, location
from tests.core.oidcsetup import jwk, rsa_key
from tests.effects.surroundings import reply


async def completes(party: RelyingParty) -> None:
    assert location(await party.log_in()) == "/app/x?y=1", party.bench.observer.events


def test_discovery_openid_config() -> None:
    """oidcc-client-test-discovery-openid-config: the endpoints are those of the document."""
    op = Provider()

    against(op, completes)

    assert op.paths()[0] == "/.well-known/openid-configuration"


def test_discovery_jwks_uri_keys() -> None:
    """oidcc-client-test-discovery-jwks-uri-keys: the keys are those of its jwks_uri."""
    op = Provider()

    against(op, completes)

    assert op.paths().count("/keys") == 1


def test_discovery_issuer_mismatch() -> None:
    """oidcc-client-test-discovery-issuer-mismatch: another issuer's document is not used at all."""
    op = Provider(on_metadata=lambda told: {**told, "issuer": told["issuer"] + "/"})

    async def script(party: RelyingParty) -> None:
        respond = await party.get("/app/")
        assert respond.response.status == 502
        assert location(respond) is None

    party = against(op, script)

    (event,) = party.bench.observer.events
    assert event[1]["code"] == "metadata_issuer_mismatch"
    assert op.paths() == ["/.well-known/openid-configuration"]


def test_signing_key_rotation() -> None:
    """oidcc-client-test-signing-key-rotation: the provider has another key at the second login."""
    op = Provider()

    async def script(party: RelyingParty) -> None:
        await completes(party)
        party.cookies.clear()
        op.key, op.kid = rsa_key(2), "k2"
        await completes(party)

    against(op, script)

    assert op.paths().count("/keys") == 2


def test_signing_key_rotation_just_before_signing() -> None:
    """oidcc-client-test-signing-key-rotation-just-before-signing: the key changes during the login."""
    op = Provider()

    def rotate(told: dict[str, Any]) -> dict[str, Any]:
        op.key, op.kid = rsa_key(2), "k2"
        return told

    async def script(party: RelyingParty) -> None:
        await completes(party)
        party.cookies.clear()
        op.on_response = rotate
        await completes(party)

    against(op, script)

    assert op.paths().count("/keys") == 2


def test_a_key_that_is_never_shown_costs_one_fetch_a_minute() -> None:
    """S21: whoever can make the provider sign with unknown kids can't make us fetch with each."""
    op = Provider()

    async def script(party: RelyingParty) -> None:
        await completes(party)
        op.shown_keys, op.key = [jwk(op.key, kid="k1")], rsa_key(2)
        for number in range(5):
            party.cookies.clear()
            op.kid = f"random-{number}"
            assert (await party.log_in()).response.status == 403

    party = against(op, script)

    assert party.refusals() == ["unknown_key"] * 5
    assert op.paths().count("/keys") == 2


def test_discovery_is_down_at_the_start() -> None:
    """D3: no login, and then one as soon as it answers."""
    op = Provider()

    async def down(writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"", 503))

    op.raw["/.well-known/openid-configuration"] = down

    async def script(party: RelyingParty) -> None:
        assert (await party.get("/app/")).response.status == 502
        op.raw.clear()
        party.wait(1)
        await completes(party)

    against(op, script)


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


def saying(data: bytes) -> Any:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return script


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (drip, 504),
        (saying(reply(b'{"error":"invalid_grant","error_description":"code the-code is used"}')), 400),
        (saying(reply(b'{"error":"invalid_grant"}', 400)), 400),
        (saying(reply(b'{"error":"invalid_client"}', 401)), 400),
        (saying(reply(b"slow down", 429)), 502),
        (saying(reply(b"oops", 500)), 502),
        (saying(reply(b"<html>maintenance</html>", kind="text/html")), 502),
        (saying(reply(b" " * ((1 << 20) + 1))), 502),
        (saying(reply(b"", 307, "Location: /token2")), 502),
        (saying(reply(b"", 302, "Location: https://evil.example/token")), 502),
    ],
)
def test_a_token_endpoint_that_misbehaves_ends_on_a_page(answer: Any, status: int) -> None:
    """D2: a page with a request id; no loop, no code or secret in what operators read."""
    op = Provider(raw={"/token": answer})

    async def script(party: RelyingParty) -> None:
        respond = await party.log_in()
        assert respond.response.status == status
        assert location(respond) is None
        page = respond.response.page
        assert page is not None
        assert page.values["request_id"] == "req-1"
        assert not await party.is_signed_in()

    party = against(op, script, call_seconds=0.5)

    told = repr(party.bench.observer.events)
    assert "the-code" not in told
    assert "p%" not in told
    assert op.paths().count("/token") == 1


@pytest.mark.parametrize("path", ["/userinfo", "/keys"])
def test_another_endpoint_that_drips_ends_on_a_page(path: str) -> None:
    """D2: a timeout."""

    async def script(party: RelyingParty) -> None:
        assert (await party.log_in()).response.status == 504

    against(Provider(raw={path: drip}), script, call_seconds=0.5)
