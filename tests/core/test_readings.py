"""Every reading that a back end may give to a path (S57, S58)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest
from sidecar.core.readings import STEPS, readings_of

PARTS = [
    *(
        "/",
        "//",
        ".",
        "..",
        "/../",
        "/./",
        ";",
        ";a",
        "a",
        "x",
        "%41",
        "%2e",
        "%2E%2e",
        "%2f",
        "%2F",
        "%252e",
    ),
    *("%252f", "%25", "%3b", "%3f", "%23", "%20", "%c3%a9", "%e9", "%ff", "%80", "%E2%82", "~", "+"),
]
hostile_paths = st.lists(st.sampled_from(PARTS), max_size=10).map(
    lambda parts: ("/" + "".join(parts)).encode()
)


def readings(path: str) -> tuple[str, ...]:
    return readings_of(path.encode()).readings


def refusal(path: str) -> str:
    with pytest.raises(BadRequest) as refused:
        readings(path)
    return refused.value.code


class TestReadings:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/public/../admin", {"/public/../admin", "/admin"}),
            ("/public/%2e%2e/admin", {"/public/%2e%2e/admin", "/public/../admin", "/admin"}),
            ("/public/.%2E/admin", {"/public/.%2E/admin", "/public/../admin", "/admin"}),
            ("/public/..%2fadmin", {"/public/..%2fadmin", "/public/../admin", "/admin"}),
            ("/public/..;/admin", {"/public/..;/admin", "/public/../admin", "/admin"}),
            ("/public/..;x=1/admin", {"/public/..;x=1/admin", "/public/../admin", "/admin"}),
            ("//admin", {"//admin", "/admin", "/"}),
            ("/a//b", {"/a//b", "/a/b"}),
            ("/a//../b", {"/a//../b", "/a/../b", "/a/b", "/b"}),
            ("/./admin", {"/./admin", "/admin"}),
            ("/admin/.", {"/admin/.", "/admin/"}),
            ("/a/..", {"/a/..", "/"}),
            ("/../../admin", {"/../../admin", "/admin"}),
            ("/admin%20", {"/admin ", "/admin"}),
            ("/admin.", {"/admin.", "/admin"}),
            ("/..%20/admin", {"/.. /admin", "/../admin", "/admin"}),
            ("/admin;x=1", {"/admin;x=1", "/admin"}),
            ("/admin;x.css", {"/admin;x.css", "/admin"}),
            ("/admin%3bx", {"/admin%3bx", "/admin;x", "/admin"}),
            ("/admin%3fx.css", {"/admin%3fx.css", "/admin?x.css", "/admin"}),
            ("/admin%23x.css", {"/admin%23x.css", "/admin#x.css", "/admin"}),
            ("/%61dmin", {"/%61dmin", "/admin"}),
            ("/%2561dmin", {"/%2561dmin", "/%61dmin", "/admin"}),
            (
                "/public/%252e%252e/admin",
                {"/public/%252e%252e/admin", "/public/%2e%2e/admin", "/public/../admin", "/admin"},
            ),
            # What WHATWG parsers make of an encoded dot segment, and not of the rest.
            ("/a/%2e%2e/%62", {"/a/%2e%2e/%62", "/a/../b", "/%62", "/b"}),
            # The authority of a network-path reference.
            ("//evil/admin", {"//evil/admin", "/evil/admin", "/admin"}),
            ("////evil/admin", {"////evil/admin", "/evil/admin", "/admin"}),
            ("/%2Fevil/admin", {"/%2Fevil/admin", "//evil/admin", "/evil/admin", "/admin"}),
        ],
    )
    def test_a_path_that_reads_in_several_ways_has_all_of_them(self, path: str, expected: set[str]) -> None:
        """S57: as sent, decoded, merged, resolved, without parameters, in any order, decoded twice too."""
        assert readings(path)[0] == path.replace("%20", " ")
        assert set(readings(path)) == expected

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/api/queues/%2F/name", ["/api/queues///name", "/api/queues/name"]),
            ("/api/v4/projects/group%2Fproject", ["/api/v4/projects/group/project"]),
            (
                "/api/v1/repositories/https%3A%2F%2Fexample.com",
                [
                    "/api/v1/repositories/https://example.com",
                    "/api/v1/repositories/https:%2F%2Fexample.com",
                    "/api/v1/repositories/https:/example.com",
                ],
            ),
            ("/wiki/C%23", ["/wiki/C#", "/wiki/C"]),
            ("/discount/100%25", ["/discount/100%"]),
            ("/a%3Bb", ["/a;b", "/a"]),
        ],
    )
    def test_encoded_delimiters_are_read_and_not_refused(self, path: str, expected: list[str]) -> None:
        """S58: whether they change anything is for the rules to say."""
        assert list(readings(path)) == [path, *expected]

    @pytest.mark.parametrize("path", ["/caf%C3%A9/a%20b", "/caf%c3%a9/a%20b"])
    def test_an_octet_that_can_only_be_sent_encoded_is_shown_decoded(self, path: str) -> None:
        assert readings(path) == ("/café/a b",)

    @pytest.mark.parametrize("case", ["lower", "upper"])
    def test_case_of_escapes_makes_no_difference(self, case: str) -> None:
        path = "/public/%2e%2e%2fadmin"
        assert "/admin" in readings(path if case == "lower" else path.replace("2e", "2E").replace("2f", "2F"))


class TestRefused:
    @pytest.mark.parametrize("escape", ["%00", "%0a", "%0D", "%1f", "%7f", "%5c", "%5C"])
    @pytest.mark.parametrize("layer", ["{}", "%25{}", "%2525{}"])
    def test_encoded_controls_and_backslashes_are_refused_however_often_encoded(
        self, escape: str, layer: str
    ) -> None:
        """S58: encoded NUL and backslash are refused with 400."""
        assert refusal("/admin" + layer.format(escape[1:] if layer != "{}" else escape)) == "invalid_path"

    @pytest.mark.parametrize(
        "sequence",
        [
            *(
                "%c0%ae",
                "%c0%af",
                "%C1%9C",
                "%c0%2f",
                "%e0%80%ae",
                "%e0%9f%bf",
                "%f0%80%80%af",
                "%f0%8f%bf%bf",
            ),
            *("%f8%80%80%80%af", "%fc%80%80%80%80%af", "%25c0%25af", "%c0"),
        ],
    )
    def test_overlong_utf8_is_refused(self, sequence: str) -> None:
        """S58: overlong UTF-8 is refused with 400."""
        assert refusal(f"/public/{sequence}/admin") == "invalid_path"

    @pytest.mark.parametrize("path", ["\\admin", "/a\\b"])
    def test_a_raw_backslash_is_refused(self, path: str) -> None:
        assert refusal("/" + path) == "invalid_path"

    @pytest.mark.parametrize(
        "path", ["/%" + "25" * 40, "/%252e;%252f/./%2520%25%2e//%e9" * 2, "/" + ";%2541" * 3000]
    )
    def test_a_path_with_more_readings_than_anybody_means_is_refused(self, path: str) -> None:
        assert refusal(path) == "ambiguous_path"


class TestOtherEncodings:
    """RFC 3986 §2.5 allows octets that are no UTF-8, and applications in Latin-1 are still about."""

    def test_latin_1_is_read_as_such_too(self) -> None:
        assert readings("/caf%E9/menu") == ("/caf\\xe9/menu", "/café/menu", "/caf/menu", "/cafenu")

    def test_a_stray_octet_that_a_decoder_drops_hides_no_dot_segment(self) -> None:
        """S57: `.%FF.` is `..` to decoders that ignore what they can't decode."""
        assert "/admin" in readings("/public/.%FF./admin")

    def test_a_stray_lead_octet_that_swallows_what_follows_hides_no_path(self) -> None:
        """S57: an old decoder takes three octets for E9 whatever they are."""
        assert "/admin" in readings("/admin%E9/x")

    def test_sound_utf8_is_read_once(self) -> None:
        assert readings("/%E2%82%AC/%F0%9F%98%80/%C3%BC") == ("/€/😀/ü",)

    def test_no_reading_holds_what_can_not_be_encoded_for_a_log(self) -> None:
        for reading in readings("/%FF%80%ED%A0%80"):
            reading.encode()


class TestClosure:
    @given(hostile_paths)
    def test_any_step_applied_to_a_reading_gives_a_reading(self, path: bytes) -> None:
        """S57: so that every order and number of the steps is covered."""
        if re.search(rb"%(?![0-9A-Fa-f]{2})", path):
            return
        try:
            found = readings_of(path)
        except BadRequest:
            return
        known = set(found.readings)
        for reading in found.readings:
            octets = re.sub(rb"\\x(..)", lambda m: bytes.fromhex(m[1].decode()), reading.encode())
            for step in STEPS:
                assert step(octets).decode("utf-8", "backslashreplace") in known
        assert found.canonical in known

    @given(hostile_paths)
    def test_a_step_is_a_path_again(self, path: bytes) -> None:
        for step in STEPS:
            assert step(path).startswith(b"/")
