from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.core.clientauth import ClientAuthentication, authenticate_client
from sidecar.core.secret import Secret
from tests.core.oidcsetup import CLIENT_ID, ISSUER, NOW, ec_key, provider, rsa_key


def authenticate(**settings: Any) -> ClientAuthentication:
    return authenticate_client(provider(**settings), now=NOW, entropy=lambda size: b"e" * size)


def pem(key: Any) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_basic_form_encodes_both_parts() -> None:
    """RFC 6749 §2.3.1: what a colon, a percent sign or an umlaut would break."""
    made = authenticate(
        auth_method="client_secret_basic", client_id="a:b c", client_secret=Secret("p%:+/ü".encode())
    )

    (name, value), *more = made.headers
    assert name == "Authorization"
    assert base64.b64decode(value.removeprefix("Basic ")) == b"a%3Ab+c:p%25%3A%2B%2F%C3%BC"
    assert more == []
    assert made.form == ()


def test_post_puts_both_into_the_form() -> None:
    made = authenticate(auth_method="client_secret_post", client_secret=Secret(b"s"))

    assert made == ClientAuthentication(form=(("client_id", CLIENT_ID), ("client_secret", "s")))


def test_a_public_client_sends_no_secret() -> None:
    """A2: not even one that is configured by mistake."""
    made = authenticate(auth_method="none", client_secret=Secret(b"s"))

    assert made == ClientAuthentication(form=(("client_id", CLIENT_ID),))


class TestPrivateKeyJwt:
    """S09, S18: RFC 7523 §2.2, §3."""

    @staticmethod
    def assertion(alg: str = "RS256", **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        key = rsa_key() if alg.startswith(("RS", "PS")) else ec_key()
        made = authenticate(
            auth_method="private_key_jwt", private_key=pem(key), private_key_alg=alg, **settings
        )
        form = dict(made.form)
        assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert made.headers == ()
        token = form["client_assertion"]
        options: Any = {"verify_aud": False, "verify_exp": False, "verify_iat": False}
        claims = jwt.decode(token, key.public_key(), algorithms=[alg], options=options)
        return jwt.get_unverified_header(token), claims

    def test_the_audience_is_the_issuer_as_one_text(self) -> None:
        _, claims = self.assertion()

        assert claims["aud"] == ISSUER

    def test_another_audience_can_be_set(self) -> None:
        _, claims = self.assertion(assertion_audience=f"{ISSUER}/token")

        assert claims["aud"] == f"{ISSUER}/token"

    def test_it_is_ours_short_lived_and_for_once(self) -> None:
        _, claims = self.assertion()

        assert (claims["iss"], claims["sub"]) == (CLIENT_ID, CLIENT_ID)
        assert (claims["iat"], claims["exp"]) == (int(NOW), int(NOW) + 60)
        assert len(claims["jti"]) == 22

    @pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
    def test_the_algorithm_can_be_chosen(self, alg: str) -> None:
        header, _ = self.assertion(alg)

        assert header["alg"] == alg

    def test_a_key_id_is_named_if_there_is_one(self) -> None:
        assert "kid" not in self.assertion()[0]
        assert self.assertion(private_key_id="k9")[0]["kid"] == "k9"


def test_secrets_do_not_show() -> None:
    """S27: in no repr."""
    assert "hidden" not in repr(
        authenticate(auth_method="client_secret_post", client_secret=Secret(b"hidden"))
    )
