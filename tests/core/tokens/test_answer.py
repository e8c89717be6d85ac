"""RFC 6749 §5: the token endpoint's answer."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.core.errors import DoorwardError, InvalidToken, ProviderRefused, ProviderUnavailable
from sidecar.core.tokens import parse_token_answer
from sidecar.core.tokens.answer import safe_error_code
from tests.core.oidcsetup import answer

GOOD = {
    "access_token": "at",
    "token_type": "Bearer",
    "expires_in": 300,
    "refresh_token": "rt",
    "id_token": "a.b.c",
}


def failure(body: Any, **parts: Any) -> DoorwardError:
    with pytest.raises(DoorwardError) as caught:
        parse_token_answer(answer(body, **parts))
    return caught.value


def test_a_good_answer_is_read() -> None:
    read = parse_token_answer(answer(GOOD))

    assert read.access_token.reveal() == b"at"
    assert read.refresh_token is not None
    assert read.refresh_token.reveal() == b"rt"
    assert read.expires_in == 300
    assert read.unverified_id_token == "a.b.c"


def test_what_need_not_be_there_may_be_missing() -> None:
    read = parse_token_answer(answer({"access_token": "at", "token_type": "bearer"}))

    assert (read.expires_in, read.refresh_token, read.unverified_id_token) == (None, None, None)


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER", "bEARER"])
def test_the_case_of_the_token_type_does_not_matter(kind: str) -> None:
    """RFC 6749 §5.1."""
    assert parse_token_answer(answer({**GOOD, "token_type": kind})).expires_in == 300


@pytest.mark.parametrize("kind", ["DPoP", "mac", "", None, 7, ["Bearer"]])
def test_another_token_type_is_refused(kind: Any) -> None:
    assert failure({**GOOD, "token_type": kind}).__class__ is InvalidToken


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (300, 300.0),
        (300.5, 300.5),
        ("3600", 3600.0),
        (None, None),
        (0, None),
        (-1, None),
        (True, None),
        ("soon", None),
        ("", None),
        ("9" * 5000, None),
        (10**400, None),
        ([300], None),
    ],
)
def test_a_lifetime_is_seconds_or_not_told(value: Any, seconds: float | None) -> None:
    assert parse_token_answer(answer({**GOOD, "expires_in": value})).expires_in == seconds


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_an_error_is_a_refusal_whatever_the_status(status: int) -> None:
    """D2: some providers send their errors with status 200."""
    refused = failure({"error": "invalid_grant", "error_description": "code 4711 used"}, status=status)

    assert isinstance(refused, ProviderRefused)
    assert refused.code == "invalid_grant"


def test_a_client_error_without_a_code_is_a_refusal() -> None:
    refused = failure({}, status=400)

    assert isinstance(refused, ProviderRefused)
    assert refused.code == "unknown_error"


def test_the_providers_words_go_nowhere() -> None:
    """S27: of an error only its code is kept, and only if it looks like one."""
    refused = failure({"error": "bad secret=abc\n", "error_description": "secret=abc"}, status=400)

    assert "abc" not in str(refused)
    assert safe_error_code(["invalid_grant"]) == "unknown_error"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"<html>", 200),
        (b"", 200),
        (b"[]", 200),
        (b"<html>", 404),
        (b"{}", 302),
        (GOOD, 201),
        (GOOD, 429),
        (GOOD, 408),
    ],
)
def test_what_is_no_token_answer_is_unavailability(body: Any, status: int) -> None:
    """D2: 429 asks for patience."""
    assert isinstance(failure(body, status=status), ProviderUnavailable)


@pytest.mark.parametrize("value", ["a b", "a\r\nX: y", "é", 7, ["a"], "a" * 65537])
@pytest.mark.parametrize("name", ["access_token", "refresh_token"])
def test_a_token_holds_visible_ascii(name: str, value: Any) -> None:
    """S47: it will stand in a header."""
    assert failure({**GOOD, name: value}).__class__ is InvalidToken


def test_an_access_token_is_required() -> None:
    missing = {name: value for name, value in GOOD.items() if name != "access_token"}

    assert str(failure(missing)) == "access_token_missing"
    assert str(failure({**GOOD, "access_token": ""})) == "access_token_missing"


def test_an_id_token_is_text() -> None:
    assert str(failure({**GOOD, "id_token": {"sub": "a"}})).startswith("token_malformed")


def test_a_name_that_is_there_twice_is_refused() -> None:
    body = b'{"access_token":"a","access_token":"b","token_type":"Bearer"}'

    assert isinstance(failure(body), ProviderUnavailable)


def test_tokens_do_not_show() -> None:
    """S27: in no repr."""
    assert "at" not in repr(parse_token_answer(answer(GOOD)).access_token)
    assert "'rt'" not in repr(parse_token_answer(answer(GOOD)))
