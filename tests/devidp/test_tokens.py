"""The token, UserInfo and key endpoints of the embedded provider."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote_plus

import jwt
import pytest

from sidecar.core.http import HeaderPair, Response
from tests.devidp.setup import CALLBACK, ISSUER, PUBLIC, SECRET, World, document, header


def basic(client_id: str, secret: str) -> tuple[HeaderPair, ...]:
    text = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return ((b"Authorization", b"Basic " + base64.b64encode(text)),)


def claims_of(world: World, token: str, audience: str = "spa") -> dict[str, Any]:
    keys = document(world.request("GET", "/jwks").response)
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["ES256"], audience=audience, issuer=ISSUER, options=options
    )
    return claims


def refused(response: Response) -> str:
    assert response.status in {400, 401}
    assert header(response, b"cache-control") == "no-store"
    return str(document(response)["error"])


class TestCode:
    def test_a_code_becomes_tokens(self) -> None:
        answer = World().tokens()
        assert answer.keys() == {
            "access_token",
            "token_type",
            "expires_in",
            "scope",
            "refresh_token",
            "id_token",
        }
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 300)

    def test_the_id_token_says_who_for_whom_and_until_when(self) -> None:
        world = World()
        answer = world.tokens("ada")
        claims = claims_of(world, answer["id_token"])
        assert claims["sub"] == "ada"
        assert claims["groups"] == ["admins", "staff"]
        assert claims["nonce"] == "n-1"
        assert claims["exp"] - claims["iat"] == 300
        assert claims["auth_time"] == 1_800_000_000
        assert claims["sid"]
        assert claims["doorward_development"] is True

    def test_claims_follow_the_scopes(self) -> None:
        world = World()
        claims = claims_of(world, world.tokens("cleo", scope="openid")["id_token"])
        assert not claims.keys() & {"name", "email", "groups"}
        email = claims_of(world, world.tokens("cleo", scope="openid email groups")["id_token"])
        assert email.keys() & {"name", "email", "email_verified", "groups"} == {
            "email",
            "email_verified",
            "groups",
        }

    def test_a_code_is_good_once_and_a_second_use_takes_its_tokens_back(self) -> None:
        """RFC 6749 §4.1.2."""
        world = World()
        code = world.log_in()
        answer = document(world.redeem(code))
        assert refused(world.redeem(code)) == "invalid_grant"
        assert world.userinfo(answer["access_token"]).status == 401
        refresh = world.token(
            {
                "grant_type": "refresh_token",
                "client_id": "spa",
                "refresh_token": answer["refresh_token"],
            }
        )
        assert refused(refresh) == "invalid_grant"

    def test_a_code_is_good_for_sixty_seconds(self) -> None:
        world = World()
        code = world.log_in()
        world.clock.now += 60
        assert refused(world.redeem(code)) == "invalid_grant"

    @pytest.mark.parametrize(
        "more",
        [
            {"code": None},
            {"code": "other"},
            {"redirect_uri": None},
            {"redirect_uri": CALLBACK + "/"},
            {"redirect_uri": PUBLIC.redirect_uris[1]},
            {"code_verifier": None},
            {"code_verifier": "w" * 43},
            {"code_verifier": "v" * 42},
            {"code_verifier": "v" * 129},
        ],
    )
    def test_a_code_is_bound_to_its_request(self, more: dict[str, Any]) -> None:
        """S02."""
        world = World()
        assert refused(world.redeem(world.log_in(), **more)) == "invalid_grant"

    def test_a_wrong_verifier_burns_the_code(self) -> None:
        world = World()
        code = world.log_in()
        world.redeem(code, code_verifier="w" * 43)
        assert refused(world.redeem(code)) == "invalid_grant"

    def test_a_code_is_not_for_another_client(self) -> None:
        world = World()
        code = world.log_in()
        answer = world.redeem(code, basic("web", "s3cret:+ %"), client_id=None)
        assert refused(answer) == "invalid_grant"


class TestClients:
    def web_code(self, world: World) -> str:
        return world.log_in(client_id="web", redirect_uri=SECRET.redirect_uris[0])

    def redeem(self, world: World, headers: tuple[HeaderPair, ...] = (), **more: str | None) -> Response:
        code = self.web_code(world)
        form: dict[str, str | None] = {"client_id": None, "redirect_uri": SECRET.redirect_uris[0]}
        return world.redeem(code, headers, **(form | more))

    def test_a_secret_comes_by_basic_or_in_the_form(self) -> None:
        """RFC 6749 §2.3.1: form-encoded inside Basic."""
        assert self.redeem(World(), basic("web", "s3cret:+ %")).status == 200
        assert self.redeem(World(), client_id="web", client_secret="s3cret:+ %").status == 200

    def test_the_secret_itself_is_needed(self) -> None:
        for headers in (basic("web", "wrong"), basic("web", ""), basic("spa", "x"), basic("none", "x")):
            answer = self.redeem(World(), headers)
            assert refused(answer) == "invalid_client"
            assert answer.status == 401
            assert header(answer, b"www-authenticate").startswith("Basic ")
        assert refused(self.redeem(World(), client_id="web")) == "invalid_client"

    @pytest.mark.parametrize(
        "value",
        [b"Basic", b"Basic !!", b"Basic d2Vi", b"Bearer d2ViOng=", b"Basic w6TDpA=="],
    )
    def test_an_authorization_that_is_not_basic_is_refused(self, value: bytes) -> None:
        assert refused(self.redeem(World(), ((b"Authorization", value),))) == "invalid_client"

    def test_two_ways_at_once_are_refused(self) -> None:
        """RFC 6749 §2.3."""
        answer = self.redeem(World(), basic("web", "s3cret:+ %"), client_secret="s3cret:+ %")
        assert refused(answer) == "invalid_request"
        other = self.redeem(World(), basic("web", "s3cret:+ %"), client_id="spa")
        assert refused(other) == "invalid_request"
        twice = self.redeem(World(), basic("web", "s3cret:+ %") * 2)
        assert refused(twice) == "invalid_request"

    def test_a_public_client_has_no_secret(self) -> None:
        world = World()
        assert refused(world.redeem(world.log_in(), client_secret="x")) == "invalid_client"


class TestRefresh:
    def refresh(self, world: World, token: str, **more: str | None) -> Response:
        form: dict[str, str | None] = {
            "grant_type": "refresh_token",
            "client_id": "spa",
            "refresh_token": token,
        }
        return world.token(form | more)

    def test_a_refresh_gives_new_tokens_for_the_same_login(self) -> None:
        world = World()
        first = world.tokens()
        world.clock.now += 200
        second = document(self.refresh(world, first["refresh_token"]))
        before, after = claims_of(world, first["id_token"]), claims_of(world, second["id_token"])
        assert first["access_token"] != second["access_token"]
        assert first["refresh_token"] != second["refresh_token"]
        assert {name: after[name] for name in ("sub", "sid", "auth_time")} == {
            name: before[name] for name in ("sub", "sid", "auth_time")
        }
        assert after["iat"] == before["iat"] + 200
        assert "nonce" not in after

    def test_an_old_refresh_token_takes_the_whole_family_back(self) -> None:
        """RFC 9700 §4.14.2."""
        world = World()
        first = world.tokens()
        second = document(self.refresh(world, first["refresh_token"]))
        assert refused(self.refresh(world, first["refresh_token"])) == "invalid_grant"
        assert refused(self.refresh(world, second["refresh_token"])) == "invalid_grant"
        assert world.userinfo(second["access_token"]).status == 401

    def test_a_refresh_token_is_not_for_another_client(self) -> None:
        world = World()
        token = world.tokens()["refresh_token"]
        stolen = self.refresh(world, token, client_id="web", client_secret="s3cret:+ %")
        assert refused(stolen) == "invalid_grant"
        assert self.refresh(world, token).status == 200

    def test_a_refresh_never_widens_the_scopes(self) -> None:
        world = World()
        token = world.tokens(scope="openid profile")["refresh_token"]
        assert refused(self.refresh(world, token, scope="openid profile email")) == "invalid_scope"
        assert self.refresh(world, token, scope="openid").status == 200

    @pytest.mark.parametrize("token", [None, "", "x", "x.y", "é"])
    def test_an_unknown_refresh_token_is_refused(self, token: str | None) -> None:
        assert refused(self.refresh(World(), token or "")) == "invalid_grant"


class TestBadRequests:
    def test_a_doubled_parameter_is_refused(self) -> None:
        """S17."""
        answer = World().request(
            "POST", "/token", form="grant_type=refresh_token&client_id=spa&client_id=spa"
        )
        assert refused(answer.response) == "invalid_request"

    def test_only_a_form_is_read(self) -> None:
        world = World()
        json_header = ((b"Content-Type", b"application/json"),)
        assert refused(world.request("POST", "/token", headers=json_header).response) == "invalid_request"
        assert refused(world.request("POST", "/token").response) == "invalid_request"

    def test_a_form_that_can_not_be_read_is_refused(self) -> None:
        assert refused(World().request("POST", "/token", form="a=%ff").response) == "invalid_request"

    @pytest.mark.parametrize("kind", [None, "password", "client_credentials", "implicit"])
    def test_other_grants_are_refused(self, kind: str | None) -> None:
        """S07: there is no password grant."""
        assert refused(World().token({"grant_type": kind, "client_id": "spa"})) == "unsupported_grant_type"

    def test_get_is_refused(self) -> None:
        answer = World().request("GET", "/token").response
        assert (answer.status, header(answer, b"allow")) == (405, "POST")


class TestUserInfo:
    def test_it_says_what_the_scopes_ask_for(self) -> None:
        world = World()
        answer = world.userinfo(world.tokens("ben")["access_token"])
        assert document(answer) == {
            "sub": "ben",
            "name": "Ben Okafor",
            "preferred_username": "ben",
            "email": "ben@example.com",
            "email_verified": True,
            "groups": ["staff"],
            "department": "Sales",
        }
        assert header(answer, b"cache-control") == "no-store"

    def test_an_access_token_ends(self) -> None:
        world = World()
        token = world.tokens()["access_token"]
        world.clock.now += 299
        assert world.userinfo(token).status == 200
        world.clock.now += 1
        answer = world.userinfo(token)
        assert answer.status == 401
        assert header(answer, b"www-authenticate").startswith('Bearer error="invalid_token"')

    def test_a_refresh_token_is_no_access_token(self) -> None:
        world = World()
        assert world.userinfo(world.tokens()["refresh_token"]).status == 401

    def test_without_a_token_it_says_nothing(self) -> None:
        world = World()
        assert world.request("GET", "/userinfo").response.status == 401
        bearer = world.tokens()["access_token"]
        assert world.request("GET", "/userinfo", f"access_token={bearer}").response.status == 401


class TestDocuments:
    def test_discovery_names_every_endpoint_under_the_issuer(self) -> None:
        world = World()
        found = document(world.request("GET", "/.well-known/openid-configuration").response)
        assert found["issuer"] == ISSUER
        for name, value in found.items():
            if name.endswith("_endpoint") or name == "jwks_uri":
                assert value.startswith(ISSUER + "/")
                method = "POST" if name == "token_endpoint" else "GET"
                answer = world.request(method, value.removeprefix(ISSUER)).response
                assert answer.status in {200, 400, 401}
        assert found["code_challenge_methods_supported"] == ["S256"]
        assert found["authorization_response_iss_parameter_supported"] is True

    def test_the_key_set_holds_nothing_private(self) -> None:
        [key] = document(World().request("GET", "/jwks").response)["keys"]
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}

    def test_unknown_addresses_are_not_found(self) -> None:
        for path in ("", "/", "/authorize/", "/Authorize", "/token/x"):
            assert World().request("GET", path).response.status == 404
