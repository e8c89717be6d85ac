from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sidecar.config.addresses import Listen, ProxyUrl, Url, is_loopback, parse_authority, parse_origin
from sidecar.config.substitution import Substituted
from sidecar.config.values import Duration, HeaderName, Size, Switch, Text, Whole, duration_text, size_text

_DURATION: TypeAdapter[float] = TypeAdapter(Duration)
_SIZE: TypeAdapter[int] = TypeAdapter(Size)
_LISTEN: TypeAdapter[str] = TypeAdapter(Listen)


def is_refused(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return True
    return False


class TestDurations:
    @pytest.mark.parametrize(
        ("written", "seconds"),
        [
            ("1h", 3600),
            ("30m", 1800),
            ("90s", 90),
            ("1h30m", 5400),
            ("1d", 86400),
            ("1d2h3m4s5ms", 93784.005),
            ("500ms", 0.5),
            ("90", 90),
            ("0.5", 0.5),
            (90, 90),
            (0.5, 0.5),
        ],
    )
    def test_a_duration_is_seconds(self, written: object, seconds: float) -> None:
        assert _DURATION.validate_python(written) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        "written",
        ["", "1", "h", "1 h", "1h 30m", "30m1h", "1.5h", "-1h", "1w", "0s", 0, -1, True, None, ["1h"]],
    )
    def test_anything_else_is_refused(self, written: object) -> None:
        assert is_refused(Duration, written) == (written != "1")

    @given(st.integers(1, 300_000_000))
    def test_what_is_written_is_read_back(self, milliseconds: int) -> None:
        assert _DURATION.validate_python(duration_text(milliseconds / 1000)) == pytest.approx(
            milliseconds / 1000
        )

    @given(st.text(alphabet="0123456789hmsd. -", max_size=12))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        is_refused(Duration, text)

    @pytest.mark.parametrize(
        ("seconds", "text"), [(3600, "1h"), (5400, "1h30m"), (86400, "1d"), (90000, "25h"), (0.5, "500ms")]
    )
    def test_a_duration_is_written_as_people_do(self, seconds: float, text: str) -> None:
        assert duration_text(seconds) == text


class TestSizes:
    @pytest.mark.parametrize(
        ("written", "size"),
        [
            ("64KiB", 65536),
            ("1MiB", 1 << 20),
            ("2GiB", 2 << 30),
            ("10B", 10),
            ("100", 100),
            (100, 100),
            ("1 KiB", 1024),
        ],
    )
    def test_a_size_is_bytes(self, written: object, size: int) -> None:
        assert _SIZE.validate_python(written) == size

    @pytest.mark.parametrize("written", ["", "1KB", "1kib", "1.5MiB", "-1", "0", 0, 1.5, True, None, "KiB"])
    def test_anything_else_is_refused(self, written: object) -> None:
        assert is_refused(Size, written)

    @given(st.integers(1, 1 << 40))
    def test_what_is_written_is_read_back(self, size: int) -> None:
        assert _SIZE.validate_python(size_text(size)) == size


class TestTextsNumbersAndSwitches:
    @pytest.mark.parametrize("value", [1, True, 1.5, "", " a", "a\n", "a\x00b", ("a",), {"a": "b"}])
    def test_text_is_visible_text(self, value: object) -> None:
        assert is_refused(Text, value)

    def test_a_number_may_come_from_the_environment(self) -> None:
        assert TypeAdapter(Whole).validate_python(Substituted("4", "${N}")) == 4
        assert is_refused(Whole, "4")
        assert is_refused(Whole, Substituted("4x", "${N}"))
        assert is_refused(Whole, True)

    def test_a_switch_may_come_from_the_environment(self) -> None:
        assert TypeAdapter(Switch).validate_python(Substituted("false", "${N}")) is False
        assert is_refused(Switch, "false")
        assert is_refused(Switch, 0)


class TestAddresses:
    @pytest.mark.parametrize(
        ("written", "address"),
        [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            ("localhost:0", "localhost:0"),
            ("[::1]:443", "[::1]:443"),
            ("[::]:443", "[::]:443"),
            ("APP:80", "app:80"),
            ("unix:/run/doorward.sock", "unix:/run/doorward.sock"),
        ],
    )
    def test_a_listening_address_has_one_form(self, written: str, address: str) -> None:
        assert _LISTEN.validate_python(written) == address

    @pytest.mark.parametrize(
        "written",
        ["8080", "host", "host:", "host:x", "host:65536", "host:-1", "::1:80", "unix:", "unix:x", "a b:80"],
    )
    def test_anything_else_is_refused(self, written: str) -> None:
        assert is_refused(Listen, written)

    def test_a_socket_path_must_fit(self) -> None:
        assert not is_refused(Listen, "unix:/" + "a" * 106)
        assert is_refused(Listen, "unix:/" + "a" * 107)

    @pytest.mark.parametrize(
        ("text", "origin"),
        [
            ("https://App.Example.com", "https://app.example.com"),
            ("https://app.example.com:443/", "https://app.example.com"),
            ("http://app.example.com:8080", "http://app.example.com:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ],
    )
    def test_an_origin_has_one_form(self, text: str, origin: str) -> None:
        assert str(parse_origin(text)) == origin

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a b",
            "a:b",
            "a:0",
            "a:99999",
            "-a",
            "a-",
            "1.2.3",
            "1.2.3.999",
            "0x7f.1",
            "[::g]",
            "a..b",
            "a@b",
        ],
    )
    def test_what_is_no_host_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            parse_authority(text)

    @pytest.mark.parametrize("host", ["localhost", "app.localhost", "127.0.0.1", "127.8.9.10", "::1"])
    def test_loopback_is_this_machine(self, host: str) -> None:
        assert is_loopback(host)

    @pytest.mark.parametrize(
        "host", ["localhost.example.com", "notlocalhost", "128.0.0.1", "::2", "example.com"]
    )
    def test_anything_else_is_not(self, host: str) -> None:
        assert not is_loopback(host)

    @pytest.mark.parametrize(
        "text", ["https://a.example/x\\y", "https://a.example/é", "https://a b", "javascript:x"]
    )
    def test_a_url_holds_what_urls_hold(self, text: str) -> None:
        assert is_refused(Url, text)

    def test_an_issuer_stays_byte_for_byte(self) -> None:
        """S16: it is compared exactly."""
        assert (
            TypeAdapter(Url).validate_python("https://ID.example.com:443/a/")
            == "https://ID.example.com:443/a/"
        )

    def test_a_proxy_may_have_a_password(self) -> None:
        assert not is_refused(ProxyUrl, "http://user:hush@proxy:3128")
        assert is_refused(ProxyUrl, "socks5://proxy:1080")

    @given(st.text(max_size=40))
    def test_no_text_raises_anything_but_a_refusal(self, text: str) -> None:
        for kind in (Listen, Url, ProxyUrl, HeaderName):
            is_refused(kind, text)
            is_refused(kind, f"https://{text}")
