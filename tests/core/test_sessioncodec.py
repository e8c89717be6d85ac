"""A session as bytes, and back: only what we wrote ourselves is read."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import InvalidCookie, InvalidToken
from sidecar.core.identity import Identity
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.sessioncodec import (
    MAX_IDENTITY_BYTES,
    StoredTicket,
    decode_session,
    decode_ticket,
    encode_session,
    encode_ticket,
)
from tests.core.sessionsetup import NOW, Entropy, make_identity, make_session

FULL = make_session(
    generation=7,
    sid="provider-session",
    access_token=Secret(b"access"),
    access_issued_at=NOW + 0.5,
    access_expires_at=NOW + 300.5,
    refresh_token=Secret(b"refresh"),
    id_token=Secret(b"a.b.c"),
    auth_time=NOW - 10,
    acr="urn:mfa",
    nonce="n-1",
)
MANY_GROUPS = make_identity(groups=tuple(f"/engineering/team-{index}" for index in range(500)))

texts = st.text(st.characters(), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
times = st.floats(min_value=0, max_value=4e9)
identities = st.builds(
    Identity,
    issuer=texts,
    subject=texts,
    user=texts,
    email=st.none() | texts,
    preferred_username=st.none() | texts,
    name=st.none() | texts,
    groups=st.lists(texts, max_size=60).map(tuple),
    roles=st.lists(texts, max_size=3).map(tuple),
    claims=st.dictionaries(texts, json_values, max_size=4),
)
sessions = st.builds(
    Session,
    id=texts,
    site=texts,
    provider=texts,
    identity=identities,
    created_at=times,
    seen_at=times,
    absolute_end=times,
    generation=st.integers(min_value=0),
    sid=st.none() | texts,
    access_token=st.none() | texts.map(lambda text: Secret(text.encode("utf-8", "surrogatepass"))),
    access_issued_at=st.none() | times,
    access_expires_at=st.none() | times,
    auth_time=st.none() | times,
    acr=st.none() | texts,
    nonce=st.none() | texts,
)


def split(data: bytes) -> tuple[list[Any], list[Any]]:
    """Take an uncompressed encoding apart."""
    assert data[:2] == b"\x01\x00"
    length = int.from_bytes(data[2:6])
    return json.loads(data[6 : 6 + length]), json.loads(data[6 + length :])


def join(bookkeeping: object, identity: object, start: bytes = b"\x01\x00") -> bytes:
    first, second = json.dumps(bookkeeping).encode(), json.dumps(identity).encode()
    return start + len(first).to_bytes(4) + first + second


class TestRoundTrip:
    @pytest.mark.parametrize("session", [make_session(), FULL, replace(FULL, identity=MANY_GROUPS)])
    def test_session_comes_back(self, session: Session) -> None:
        assert decode_session(encode_session(session)) == session

    @given(sessions)
    def test_every_session_comes_back(self, session: Session) -> None:
        assert decode_session(encode_session(session)) == session

    def test_lone_surrogate_in_a_claim_comes_back(self) -> None:
        r"""A provider may send "\ud800": valid JSON that UTF-8 can't write."""
        session = make_session(identity=make_identity(name="\ud800", claims={"x": ["\udfff"]}))
        assert decode_session(encode_session(session)) == session

    def test_typical_session_fits_one_cookie(self) -> None:
        """20 groups and a refresh token of 1 KB: less than half of the 4 KB that a cookie may have."""
        groups = tuple(f"/engineering/team-{index}" for index in range(20))
        session = replace(
            FULL, identity=make_identity(groups=groups), refresh_token=Secret(Entropy()(512).hex().encode())
        )
        assert len(encode_session(session)) < 1600


class TestCompression:
    def test_identity_is_compressed_and_nothing_else_is(self) -> None:
        """No credential shares a window with what somebody else may choose (CRIME)."""
        data = encode_session(replace(FULL, identity=MANY_GROUPS))
        length = int.from_bytes(data[2:6])
        for secret in (b"access", b"refresh", b"a.b.c", b"n-1"):
            assert secret in data[6 : 6 + length]
        identity = zlib.decompress(data[6 + length :], -zlib.MAX_WBITS)
        assert b"/engineering/team-499" in identity
        assert len(data) - length < len(identity) / 3

    def test_token_that_repeats_the_identity_makes_nothing_shorter(self) -> None:
        """The length tells nothing about a token: same length of token, same length of all."""
        groups = make_identity(groups=tuple(f"guess-{index:04}" for index in range(100)))
        right, wrong = (
            len(encode_session(make_session(identity=groups, refresh_token=Secret(token))))
            for token in (b"guess-0042", b"zzzzzzzzzz")
        )
        assert right == wrong

    def test_identity_beyond_all_measure_is_refused_at_login(self) -> None:
        """S25: 10,000 groups with long names: a clear error, no cookie that no one could send back."""
        groups = tuple(f"{Entropy(str(index))(16).hex()}" for index in range(10_000))
        with pytest.raises(InvalidToken, match="session_too_large: the claims take"):
            encode_session(make_session(identity=make_identity(groups=groups)))

    def test_decompression_is_bounded(self) -> None:
        """S25: a few hundred bytes never become more than the bound."""
        bomb = zlib.compress(b"[" + b" " * (MAX_IDENTITY_BYTES * 4) + b"]", 9, -zlib.MAX_WBITS)
        bookkeeping = encode_session(FULL)[6 : 6 + int.from_bytes(encode_session(FULL)[2:6])]
        with pytest.raises(InvalidCookie):
            decode_session(b"\x01\x01" + len(bookkeeping).to_bytes(4) + bookkeeping + bomb)


class TestRefusal:
    def test_unknown_version_is_no_session(self) -> None:
        """A cookie of a newer release met by an older one: sign in again, not a defect."""
        data = encode_session(FULL)
        for version in (0, 2, 255):
            with pytest.raises(InvalidCookie, match="session_version"):
                decode_session(bytes((version,)) + data[1:])

    def test_unknown_form_is_no_session(self) -> None:
        data = encode_session(FULL)
        with pytest.raises(InvalidCookie, match="session_version"):
            decode_session(b"\x01\x02" + data[2:])

    @given(st.binary(max_size=100))
    def test_no_bytes_are_a_session_by_chance(self, data: bytes) -> None:
        with pytest.raises(InvalidCookie):
            decode_session(data)

    @given(st.data())
    def test_damaged_session_is_refused_or_still_well_formed(self, data: st.DataObject) -> None:
        encoded = bytearray(encode_session(replace(FULL, identity=MANY_GROUPS)))
        position = data.draw(st.integers(0, len(encoded) - 1))
        encoded[position] ^= data.draw(st.integers(1, 255))
        try:
            decode_session(bytes(encoded))
        except InvalidCookie:
            return

    @pytest.mark.parametrize("cut", [0, 1, 5, 6, 7, 50, -1])
    def test_cut_session_is_refused(self, cut: int) -> None:
        for session in (FULL, replace(FULL, identity=MANY_GROUPS)):
            with pytest.raises(InvalidCookie):
                decode_session(encode_session(session)[:cut])

    def test_surplus_bytes_are_refused(self) -> None:
        for session in (FULL, replace(FULL, identity=MANY_GROUPS)):
            with pytest.raises(InvalidCookie):
                decode_session(encode_session(session) + b"x")

    @pytest.mark.parametrize(
        ("position", "value"),
        [
            (0, 1),
            (0, None),
            (1, ["main"]),
            (3, "now"),
            (3, None),
            (3, True),
            (4, 1e999),
            (5, -1e999),
            (5, 10**400),
            (6, 1.5),
            (6, -1),
            (6, True),
            (7, 7),
            (8, 8),
            (9, "soon"),
            (14, {}),
        ],
    )
    def test_wrong_type_in_the_bookkeeping_is_refused(self, position: int, value: object) -> None:
        bookkeeping, identity = split(encode_session(FULL))
        assert decode_session(join(bookkeeping, identity)) == FULL
        bookkeeping[position] = value
        with pytest.raises(InvalidCookie):
            decode_session(join(bookkeeping, identity))

    @pytest.mark.parametrize(
        ("position", "value"),
        [(0, None), (1, 1), (2, []), (3, 3), (6, "admins"), (6, [1]), (6, None), (7, {}), (8, []), (8, None)],
    )
    def test_wrong_type_in_the_identity_is_refused(self, position: int, value: object) -> None:
        bookkeeping, identity = split(encode_session(FULL))
        identity[position] = value
        with pytest.raises(InvalidCookie):
            decode_session(join(bookkeeping, identity))

    @pytest.mark.parametrize("document", [None, {}, [], [1], "x", [None] * 16, [[]] * 15])
    def test_other_documents_are_refused(self, document: object) -> None:
        bookkeeping, identity = split(encode_session(FULL))
        for data in (join(document, identity), join(bookkeeping, document)):
            with pytest.raises(InvalidCookie):
                decode_session(data)

    @pytest.mark.parametrize(
        "text", [b"NaN", b"[NaN]", b"[" * 100_000, b"\xff", b"", b"[1" + b"0" * 5000 + b"]"]
    )
    def test_what_is_not_json_is_refused(self, text: bytes) -> None:
        with pytest.raises(InvalidCookie):
            decode_session(b"\x01\x00" + len(text).to_bytes(4) + text + b"[]")


class TestTicket:
    TICKET = StoredTicket(session_id="session-1", secret=Secret(b"t" * 32), until=NOW + 43200)

    def test_ticket_comes_back(self) -> None:
        assert decode_ticket(encode_ticket(self.TICKET)) == self.TICKET

    def test_store_key_is_not_the_secret_nor_tells_it(self) -> None:
        other = replace(self.TICKET, secret=Secret(b"u" * 32))
        assert len(self.TICKET.store_key) == 43
        assert self.TICKET.store_key != other.store_key
        assert b"tttt" not in self.TICKET.store_key.encode()

    def test_ticket_is_not_a_session_nor_a_session_a_ticket(self) -> None:
        with pytest.raises(InvalidCookie):
            decode_session(encode_ticket(self.TICKET))
        with pytest.raises(InvalidCookie):
            decode_ticket(encode_session(FULL))

    @given(st.binary(max_size=60))
    def test_no_other_bytes_are_a_ticket(self, data: bytes) -> None:
        try:
            ticket = decode_ticket(data)
        except InvalidCookie:
            return
        assert data[0] == 2
        assert ticket.session_id

    def test_id_that_is_no_text_is_refused(self) -> None:
        with pytest.raises(InvalidCookie):
            decode_ticket(encode_ticket(self.TICKET) + b"\xff")

    def test_secret_of_another_length_is_a_defect(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            encode_ticket(replace(self.TICKET, secret=Secret(b"short")))
