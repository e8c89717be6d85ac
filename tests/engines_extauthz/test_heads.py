"""A CheckRequest becomes the head that Envoy's HTTP form would have sent, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.http import RequestHead
from sidecar.core.runtime import Limits
from sidecar.engines.express.requesthead import HeadRefused
from sidecar.engines.extauthz.heads import Heads, peer_address
from tests.engines_extauthz.calls import PATH, external_auth_pb2, request_about


def build(request: Any, *secrets: bytes, limits: Limits | None = None) -> RequestHead:
    heads = Heads(limits or Limits(), PATH)
    return heads.build(request, secrets, peer="127.0.0.1", request_id="r1", is_tls=False)


class TestWhatIsTold:
    def test_our_path_stands_before_the_original_target(self) -> None:
        head = build(request_about("/a/..%2fb?x=%zz&y", method="PUT"))

        assert (head.method, head.target) == (b"PUT", b"/oauth2/auth/envoy/a/..%2fb?x=%zz&y")
        assert (head.peer, head.request_id) == ("127.0.0.1", "r1")

    def test_authority_becomes_host_and_stands_first(self) -> None:
        assert build(request_about()).headers[0] == (b"Host", b"app.example.com")

    @pytest.mark.parametrize("is_raw", [True, False])
    def test_fields_arrive_in_either_encoding(self, is_raw: bool) -> None:
        head = build(request_about(fields=[("cookie", "a=b"), ("accept", "*/*")], is_raw=is_raw))

        assert {(b"cookie", b"a=b"), (b"accept", b"*/*"), (b"x-forwarded-for", b"192.0.2.7")} <= set(
            head.headers
        )

    def test_two_cookie_fields_stay_two(self) -> None:
        head = build(request_about(fields=[("cookie", "a=b"), ("cookie", "c=d")]))

        assert [value for name, value in head.headers if name == b"cookie"] == [b"a=b", b"c=d"]

    def test_bytes_that_are_no_text_arrive_as_they_are(self) -> None:
        assert (b"x-name", b"J\xf6rg") in build(request_about(fields=[("x-name", b"J\xf6rg")])).headers

    def test_framing_of_a_body_that_is_not_sent_along_is_left_out(self) -> None:
        fields = [("content-length", "5"), ("transfer-encoding", "chunked"), ("expect", "100-continue")]
        names = {name for name, _ in build(request_about(method="POST", fields=fields)).headers}

        assert not names & {b"content-length", b"transfer-encoding", b"expect"}

    def test_a_handshake_arrives_with_its_fields(self) -> None:
        fields = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x")]

        assert {name for name, _ in build(request_about(fields=fields)).headers} >= {
            b"connection",
            b"upgrade",
            b"sec-websocket-key",
        }

    def test_without_forwarded_fields_the_attributes_tell(self) -> None:
        headers = build(request_about(from_envoy=())).headers

        assert (b"X-Forwarded-Proto", b"https") in headers
        assert (b"X-Forwarded-For", b"192.0.2.7") in headers

    @pytest.mark.parametrize("name", ["x-doorward-secret", "X-Doorward-Secret", "x_doorward_secret"])
    def test_the_secret_is_the_callers_and_never_the_browsers(self, name: str) -> None:
        """S75: what a browser sends is told among the fields of its request."""
        request = request_about(fields=[(name, "guess")])

        assert b"guess" not in {value for _, value in build(request).headers}
        assert (b"X-Doorward-Secret", b"real") in build(request, b"real").headers

    def test_the_secret_may_be_a_context_extension(self) -> None:
        """As Envoy Gateway sends it; beside one in the call there are two, and the core takes neither."""
        request = request_about()
        request.attributes.context_extensions["x-doorward-secret"] = "real"
        request.attributes.context_extensions["other"] = "x"

        assert [value for name, value in build(request).headers if name == b"X-Doorward-Secret"] == [b"real"]
        assert build(request, b"guess").headers[-2:] == [
            (b"X-Doorward-Secret", b"guess"),
            (b"X-Doorward-Secret", b"real"),
        ]


class TestWhatIsNoRequest:
    def test_no_attributes(self) -> None:
        with pytest.raises(HeadRefused):
            build(external_auth_pb2.CheckRequest())

    @pytest.mark.parametrize(
        "target", ["", "*", "evil", "http://other.example.com/", "/a b", "/a#b", "/\x00", "/\xe9"]
    )
    def test_a_target_that_is_no_path(self, target: str) -> None:
        """S50: never "/"."""
        with pytest.raises(HeadRefused):
            build(request_about(target))

    @pytest.mark.parametrize("method", ["", "GET /x", "G@T", "get\r\n"])
    def test_a_method_that_is_none(self, method: str) -> None:
        with pytest.raises(HeadRefused):
            build(request_about(method=method))

    @pytest.mark.parametrize(
        "fields",
        [
            [(":authority", "other.example.com")],
            [("host", "other.example.com")],
            [(":path", "/public")],
            [(":method", "OPTIONS")],
        ],
        ids=str,
    )
    def test_a_request_that_is_told_in_two_ways(self, fields: list[tuple[str, str]]) -> None:
        """S49: two hosts, two targets, two methods."""
        with pytest.raises(HeadRefused):
            build(request_about(fields=fields))

    @pytest.mark.parametrize(
        "field",
        [
            ("x-a", "b\r\nX-Doorward-Secret: guess"),
            ("x-a", "b\nc"),
            ("x-a", "b\x00"),
            ("x-a: b\r\nx-c", "d"),
            ("x-a:b", "c"),
            ("x a", "b"),
            ("", "b"),
        ],
        ids=repr,
    )
    def test_a_field_that_is_not_one(self, field: tuple[str, str]) -> None:
        with pytest.raises(HeadRefused):
            build(request_about(fields=[field]))

    def test_limits_are_those_of_every_listener(self) -> None:
        """S56."""
        with pytest.raises(HeadRefused) as refused:
            build(request_about(fields=[("cookie", "c" * 70_000)]))
        assert refused.value.status == 431
        with pytest.raises(HeadRefused) as refused:
            build(request_about(fields=[(f"x-{n}", "") for n in range(200)]))
        assert refused.value.status == 431
        with pytest.raises(HeadRefused) as refused:
            build(request_about("/" + "a" * 17_000))
        assert refused.value.status == 414

    @given(
        target=st.text(max_size=30),
        host=st.text(max_size=20),
        fields=st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=20)), max_size=4),
    )
    def test_anything_is_a_head_as_told_or_refused(
        self, target: str, host: str, fields: list[tuple[str, bytes]]
    ) -> None:
        try:
            head = build(request_about(target, fields, host=host))
        except HeadRefused:
            return
        assert head.target == PATH + target.encode()
        assert head.headers[0] == (b"Host", host.encode().strip(b" \t"))
        told = {name.encode() for name, _ in fields}
        assert {name for name, _ in head.headers[1:]} <= told | {b"x-forwarded-proto", b"x-forwarded-for"}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:4711", "127.0.0.1"),
        ("ipv6:[::1]:4711", "::1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", "fe80::1"),
        ("ipv6:[::ffff:10.0.0.1]:4711", "10.0.0.1"),
        ("unix:", "unix"),
        ("unix:/run/doorward.sock", "unix"),
        ("vsock:3:4", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_peer_is_known_by_its_address(peer: str, address: str) -> None:
    assert peer_address(peer) == address
