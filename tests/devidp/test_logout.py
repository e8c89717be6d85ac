"""Sign-out at the embedded provider."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from sidecar.devidp import Reply
from tests.devidp.setup import AFTER, ISSUER, SECRET, World, document, header, hidden


def end(world: World, **query: str) -> Reply:
    return world.request("GET", "/end_session", query)


def is_signed_in(world: World) -> bool:
    return world.authorize().status == 303


class TestByTheRelyingParty:
    def test_a_hint_and_a_registered_uri_sign_out_and_go_back(self) -> None:
        """OIDC RP-Initiated Logout §2, §3."""
        world = World()
        hint = world.tokens()["id_token"]
        reply = end(world, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="a b")
        assert reply.response.status == 303
        assert header(reply.response, b"location") == AFTER + "?state=a+b"
        assert not is_signed_in(world)

    def test_an_expired_id_token_is_still_a_hint(self) -> None:
        world = World()
        hint = world.tokens()["id_token"]
        world.clock.now += 3600
        reply = end(world, id_token_hint=hint, post_logout_redirect_uri=AFTER)
        assert header(reply.response, b"location") == AFTER

    def test_it_may_come_by_post(self) -> None:
        world = World()
        form = {"id_token_hint": world.tokens()["id_token"], "post_logout_redirect_uri": AFTER}
        assert world.request("POST", "/end_session", form=form).response.status == 303

    @pytest.mark.parametrize("uri", [AFTER + "/", AFTER + "?x", "http://evil.example/", "//evil.example"])
    def test_an_unregistered_uri_is_never_gone_to(self, uri: str) -> None:
        """S08."""
        world = World()
        hint = world.tokens()["id_token"]
        reply = end(world, id_token_hint=hint, post_logout_redirect_uri=uri)
        assert reply.response.status == 400
        assert is_signed_in(world)

    def test_a_uri_without_a_client_is_never_gone_to(self) -> None:
        assert end(World(), post_logout_redirect_uri=AFTER).response.status == 400

    def test_another_clients_uri_is_never_gone_to(self) -> None:
        assert end(World(), client_id="web", post_logout_redirect_uri=AFTER).response.status == 400

    def test_a_hint_that_we_did_not_sign_is_refused(self) -> None:
        world, other = World(), World()
        world.tokens()
        forged = jwt.encode({"iss": ISSUER, "aud": "spa", "sub": "ada"}, "x" * 32, algorithm="HS256")
        assert end(world, id_token_hint=forged).response.status == 400
        assert is_signed_in(world)
        assert other.authorize().status == 200

    def test_client_and_hint_must_agree(self) -> None:
        world = World()
        hint = world.tokens()["id_token"]
        reply = end(world, id_token_hint=hint, client_id="web", post_logout_redirect_uri=AFTER)
        assert reply.response.status == 400

    def test_a_doubled_parameter_is_refused(self) -> None:
        """S17."""
        assert World().request("GET", "/end_session", "state=a&state=b").response.status == 400

    def test_tokens_end_with_the_login(self) -> None:
        world = World()
        tokens = world.tokens()
        code = world.log_in()
        end(world, id_token_hint=tokens["id_token"])
        assert world.userinfo(tokens["access_token"]).status == 401
        assert world.redeem(code).status == 400


class TestAsking:
    def test_without_a_hint_the_person_is_asked_first(self) -> None:
        """Any site can send a browser here: that alone signs nobody out."""
        world = World()
        world.tokens()
        reply = end(world, client_id="spa", post_logout_redirect_uri=AFTER, state="s")
        assert reply.response.status == 200
        assert is_signed_in(world)
        answer = world.request("POST", "/end_session/confirm", form=hidden(reply.response)).response
        assert header(answer, b"location") == AFTER + "?state=s"
        assert not is_signed_in(world)

    def test_a_hint_of_somebody_else_asks(self) -> None:
        world = World()
        hint = world.tokens("ben")["id_token"]
        world.log_in("ada", prompt="login")
        assert end(world, id_token_hint=hint).response.status == 200
        assert is_signed_in(world)

    def test_a_confirmation_from_elsewhere_is_refused(self) -> None:
        world = World()
        world.tokens()
        assert world.request("POST", "/end_session/confirm", form={"csrf_token": "x"}).response.status == 400
        assert is_signed_in(world)

    def test_a_confirmation_whose_target_was_changed_is_refused(self) -> None:
        world = World()
        world.tokens()
        fields = hidden(end(world).response)
        form = {**fields, "client_id": "spa", "post_logout_redirect_uri": AFTER}
        assert world.request("POST", "/end_session/confirm", form=form).response.status == 400

    def test_who_is_not_signed_in_is_signed_out(self) -> None:
        assert "Nobody is signed in here" in end(World()).response.body.decode()


class TestTellingTheOthers:
    def world_with_two(self) -> tuple[World, dict[str, Any]]:
        world = World()
        tokens = world.tokens()
        world.log_in(client_id="web", redirect_uri=SECRET.redirect_uris[0])
        return world, tokens

    def test_each_client_of_the_login_that_wants_one_gets_a_logout_token(self) -> None:
        """OIDC Back-Channel Logout §2.4."""
        world, tokens = self.world_with_two()
        reply = end(world, id_token_hint=tokens["id_token"])
        [notice] = reply.notices
        assert (notice.client_id, notice.url) == ("web", "http://localhost:8081/logout")
        keys = jwt.PyJWKSet.from_dict(document(world.request("GET", "/jwks").response))
        head = jwt.get_unverified_header(notice.logout_token)
        assert head["typ"] == "logout+jwt"
        options: Any = {"verify_exp": False, "verify_iat": False}
        claims = jwt.decode(
            notice.logout_token,
            keys[head["kid"]],
            algorithms=["ES256"],
            audience="web",
            issuer=ISSUER,
            options=options,
        )
        sid = jwt.decode(tokens["id_token"], options={"verify_signature": False})["sid"]
        assert claims["sid"] == sid
        assert claims["sub"] == "ada"
        assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
        assert claims["exp"] == claims["iat"] + 120
        assert claims["jti"]
        assert "nonce" not in claims

    def test_choosing_another_person_ends_the_tokens_of_the_one_before(self) -> None:
        world = World()
        before = world.tokens("ben")
        world.log_in("ada", prompt="login")
        assert world.userinfo(before["access_token"]).status == 401

    def test_a_login_without_such_a_client_tells_nobody(self) -> None:
        world = World()
        assert end(world, id_token_hint=world.tokens()["id_token"]).notices == ()
