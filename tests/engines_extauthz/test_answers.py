"""What Envoy is told, message by message."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.application import WireResponse
from sidecar.core.http import NO_STORE, HeaderPair, RequestHead
from sidecar.engines.extauthz.answers import build_answer, deny

OVERWRITE, APPEND = 2, 0
USER = (b"X-Auth-Request-User", b"ann")
LACKS = (b"X-Auth-Request-Email", b"")


def about(*names: bytes) -> RequestHead:
    return RequestHead(
        b"GET", b"/oauth2/auth/envoy/x", [(name, b"mallory") for name in names], "127.0.0.1", "r1"
    )


def answer_to(status: int, *headers: HeaderPair, body: bytes = b"", asked: RequestHead | None = None) -> Any:
    return build_answer(WireResponse(status, headers, body), asked or about())


def told(options: Any) -> list[tuple[str, str, int]]:
    return [(option.header.key, option.header.value, option.append_action) for option in options]


class TestYes:
    def test_identity_overwrites_and_is_sent_when_empty(self) -> None:
        """S44: a claim that somebody lacks leaves nothing of the client's."""
        answer = answer_to(200, NO_STORE, USER, LACKS)

        assert answer.status.code == 0
        assert answer.WhichOneof("http_response") == "ok_response"
        assert told(answer.ok_response.headers) == [
            ("X-Auth-Request-User", "ann", OVERWRITE),
            ("X-Auth-Request-Email", "", OVERWRITE),
        ]
        assert all(option.keep_empty_value for option in answer.ok_response.headers)

    def test_cookies_go_to_the_browser_each_by_itself(self) -> None:
        answer = answer_to(200, USER, (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"))

        assert told(answer.ok_response.response_headers_to_add) == [
            ("Set-Cookie", "a=1", APPEND),
            ("Set-Cookie", "b=2", APPEND),
        ]
        assert [key for key, _, _ in told(answer.ok_response.headers)] == ["X-Auth-Request-User"]

    def test_spellings_that_some_server_folds_are_removed(self) -> None:
        """S41."""
        asked = about(b"x.auth.request.user", b"x_auth_request_email", b"x-auth-request-user", b"accept")
        answer = answer_to(200, USER, LACKS, asked=asked)

        assert list(answer.ok_response.headers_to_remove) == ["x.auth.request.user", "x_auth_request_email"]

    def test_a_field_that_is_no_text_is_a_defect_and_no_yes(self) -> None:
        with pytest.raises(UnicodeDecodeError):
            answer_to(200, (b"X-Auth-Request-User", b"J\xf6rg"))


class TestNo:
    @pytest.mark.parametrize("status", [302, 303, 400, 401, 403, 404, 421, 429, 431, 500, 503])
    def test_the_browser_gets_the_answer_as_it_is(self, status: int) -> None:
        answer = answer_to(status, (b"Location", b"/x"), (b"Content-Type", b"text/html"), body=b"<p>no")

        assert answer.status.code == 7
        assert answer.WhichOneof("http_response") == "denied_response"
        assert answer.denied_response.status.code == status
        assert told(answer.denied_response.headers) == [
            ("Location", "/x", OVERWRITE),
            ("Content-Type", "text/html", OVERWRITE),
        ]
        assert answer.denied_response.body == "<p>no"

    @pytest.mark.parametrize("status", [0, 100, 101, 201, 202, 204, 206, 299, 304, 418, 999])
    def test_a_status_that_is_no_refusal_becomes_403(self, status: int) -> None:
        answer = answer_to(status, USER)

        assert (answer.status.code, answer.denied_response.status.code) == (7, 403)

    def test_a_200_with_content_is_a_page_of_ours_and_no_yes(self) -> None:
        answer = answer_to(200, USER, body=b"{}")

        assert (answer.status.code, answer.denied_response.status.code) == (7, 403)

    def test_a_yes_about_no_request_is_none(self) -> None:
        assert build_answer(WireResponse(200, (USER,), b""), None).status.code == 7

    def test_several_cookies_stay_several(self) -> None:
        cookies = ((b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"))

        assert [action for _, _, action in told(deny(302, cookies).denied_response.headers)] == [
            APPEND,
            APPEND,
        ]
