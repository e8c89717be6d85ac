"""How a claim becomes a header field that nobody can forge."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.headers import (
    PRESETS,
    auth_response_headers,
    encode_list,
    encode_value,
    identity_edits,
    identity_pairs,
)
from sidecar.core.http import HeaderPair
from sidecar.core.identity import Identity
from sidecar.core.runtime import HeaderPolicy, HeaderRule
from sidecar.core.secret import Secret
from sidecar.core.session import Session

IDENTITY = Identity(
    issuer="https://id.example.com",
    subject="248289",
    user="alice",
    email="alice@example.com",
    preferred_username="al",
    name="Alice Ångström",
    groups=("admins", "a,b"),
    roles=("owner",),
    claims={
        "department": "R&D",
        "level": 4,
        "active": True,
        "org": {"id": "org_1", "units": ["x", "y,z"]},
        "nothing": None,
        "ratio": 0.5,
    },
)
SESSION = Session(
    id="s1",
    site="main",
    provider="main",
    identity=IDENTITY,
    created_at=0.0,
    seen_at=0.0,
    absolute_end=1.0,
    access_token=Secret(b"at%,x"),
    id_token=Secret(b"h.p.s"),
)


def field(source: str, session: Session = SESSION, prefix: str = "") -> bytes | None:
    pairs = identity_pairs((HeaderRule(name="X", source=source, prefix=prefix),), session)
    return pairs[0][1] if pairs else None


class TestEncoding:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("alice", b"alice"),
            ("Alice B. Smith", b"Alice B. Smith"),
            ("Zoë", b"Zo%C3%AB"),
            ("50%", b"50%25"),
            ("%2C", b"%252C"),
            ("a,b", b"a,b"),
            (" a ", b"%20a%20"),
            ("  ", b"%20%20"),
            ("a\r\nX: y", b"a%0D%0AX: y"),
            ("a\0\x7f\x1b", b"a%00%7F%1B"),
            ("\u2028\u00a0", b"%E2%80%A8%C2%A0"),
            ("\ud800", b"%ED%A0%80"),
            ("", b""),
        ],
    )
    def test_a_value_is_visible_ascii(self, text: str, expected: bytes) -> None:
        """S47: a value is visible ascii."""
        assert encode_value(text) == expected

    @pytest.mark.parametrize(
        ("members", "expected"),
        [
            (["a", "b"], b"a,b"),
            (["a,admin"], b"a%2Cadmin"),
            (["a%2Cadmin"], b"a%252Cadmin"),
            (["a", "", "b"], b"a,b"),
            ([" a", "b "], b"%20a,b%20"),
            (["größe"], b"gr%C3%B6%C3%9Fe"),
            ([], b""),
        ],
    )
    def test_a_list_cannot_forge_a_member(self, members: list[str], expected: bytes) -> None:
        """S47: a group named `a,admin` stays one group."""
        assert encode_list(members) == expected

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_decoding_gives_back_the_claim(self, text: str) -> None:
        """S47: so two claims never become the same field."""
        value = encode_value(text)
        assert unquote(value.decode("ascii")) == text
        assert value.strip() == value
        assert all(0x20 <= byte < 0x7F for byte in value)

    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
    def test_splitting_then_decoding_gives_back_the_list(self, members: list[str]) -> None:
        """S47: splitting then decoding gives back the list."""
        value = encode_list(members).decode("ascii")
        assert [unquote(member) for member in value.split(",") if member] == members

    @given(st.text())
    def test_no_text_breaks_out_of_its_field(self, text: str) -> None:
        """S47: lone surrogates included."""
        assert not set(encode_value(text)) & {0x0D, 0x0A, 0x00}


class TestSources:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("user", b"alice"),
            ("email", b"alice@example.com"),
            ("groups", b"admins,a%2Cb"),
            ("roles", b"owner"),
            ("preferred_username", b"al"),
            ("name", b"Alice %C3%85ngstr%C3%B6m"),
            ("subject", b"248289"),
            ("issuer", b"https://id.example.com"),
            ("access_token", b"at%,x"),
            ("id_token", b"h.p.s"),
            ("claim:department", b"R&D"),
            ("claim:level", b"4"),
            ("claim:active", b"true"),
            ("claim:ratio", b"0.5"),
            ("claim:org.id", b"org_1"),
            ("claim:org.units", b"x,y%2Cz"),
            ("claim:org", b'{"id":"org_1","units":["x","y,z"]}'),
        ],
    )
    def test_each_source_has_its_value(self, source: str, expected: bytes) -> None:
        assert field(source) == expected

    @pytest.mark.parametrize("source", ["claim:nothing", "claim:absent", "claim:org.absent", "unheard-of"])
    def test_what_is_absent_makes_no_field(self, source: str) -> None:
        """S44: and the client's own was dropped before."""
        assert field(source) is None

    def test_empty_values_make_no_field(self) -> None:
        bare = replace(SESSION, identity=replace(IDENTITY, email=None, groups=()), access_token=None)
        assert [field(source, bare) for source in ("email", "groups", "access_token")] == [None] * 3

    def test_a_prefix_stands_in_front_of_a_value_only(self) -> None:
        assert field("id_token", prefix="Bearer ") == b"Bearer h.p.s"
        assert field("id_token", replace(SESSION, id_token=None), prefix="Bearer ") is None

    @pytest.mark.parametrize("token", [b"a b", b"a\r\nX: y", b"\xe9", b""])
    def test_a_token_that_is_no_field_value_is_not_sent(self, token: bytes) -> None:
        """S47: it would reach nobody as what it is."""
        assert field("access_token", replace(SESSION, access_token=Secret(token))) is None


class TestPresets:
    def pairs(self, preset: str, *, auth: bool = False) -> tuple[HeaderPair, ...]:
        chosen = PRESETS[preset]
        policy = HeaderPolicy(upstream=chosen.upstream, auth_response=chosen.auth_response)
        return auth_response_headers(policy, SESSION) if auth else identity_edits(policy, SESSION).pairs

    def test_oauth2_proxy_has_one_family_for_each_side(self) -> None:
        assert self.pairs("oauth2-proxy") == (
            (b"X-Forwarded-User", b"alice"),
            (b"X-Forwarded-Email", b"alice@example.com"),
            (b"X-Forwarded-Groups", b"admins,a%2Cb"),
            (b"X-Forwarded-Preferred-Username", b"al"),
        )
        assert self.pairs("oauth2-proxy", auth=True) == (
            (b"X-Auth-Request-User", b"alice"),
            (b"X-Auth-Request-Email", b"alice@example.com"),
            (b"X-Auth-Request-Groups", b"admins,a%2Cb"),
            (b"X-Auth-Request-Preferred-Username", b"al"),
        )

    @pytest.mark.parametrize(
        ("preset", "names"),
        [
            ("remote-user", [b"Remote-User", b"Remote-Email", b"Remote-Groups", b"Remote-Name"]),
            (
                "dex-authproxy",
                [
                    b"X-Remote-User",
                    b"X-Remote-User-Id",
                    b"X-Remote-User-Name",
                    b"X-Remote-User-Email",
                    b"X-Remote-Group",
                ],
            ),
            ("openmetadata", [b"X-Auth-Params-Email"]),
            ("authorization-username-email", [b"Authorization", b"Username", b"Email"]),
            ("none", []),
        ],
    )
    def test_a_preset_sends_its_names_on_both_sides(self, preset: str, names: list[bytes]) -> None:
        assert [name for name, _ in self.pairs(preset)] == names
        assert [name for name, _ in self.pairs(preset, auth=True)] == names

    def test_the_authorization_preset_says_that_it_needs_the_id_token(self) -> None:
        assert PRESETS["authorization-username-email"].keeps_id_token
        assert self.pairs("authorization-username-email")[0][1] == b"Bearer h.p.s"

    def test_the_block_is_the_pairs(self) -> None:
        chosen = PRESETS["openmetadata"]
        policy = HeaderPolicy(upstream=chosen.upstream, auth_response=())
        assert identity_edits(policy, SESSION).block == b"X-Auth-Params-Email: alice@example.com\r\n"


class TestPage:
    PAGE = (Path(__file__).parents[2] / "docs/headers.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("preset", sorted(PRESETS))
    def test_every_preset_is_described(self, preset: str) -> None:
        assert re.search(rf"^\| `{preset}`", self.PAGE, re.MULTILINE)

    @pytest.mark.parametrize("text", ["Zoë", "50%", "Doe, Jane"])
    def test_the_examples_are_true(self, text: str) -> None:
        assert f"| `{text}` | `{encode_value(text).decode()}` |" in self.PAGE

    def test_the_example_of_a_list_is_true(self) -> None:
        assert encode_list(["users", "a,admin"]) == b"users,a%2Cadmin"
        assert "`users,a%2Cadmin`" in self.PAGE
