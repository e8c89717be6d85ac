from __future__ import annotations

import pytest

from sidecar.engines.express.fields import CONTENT_LENGTH, HOST, KINDS, classify


class TestSpellings:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [(b"Host", HOST), (b"hOsT", HOST), (b"content-LENGTH", CONTENT_LENGTH), (b"X-Host", 0)],
    )
    def test_a_name_is_known_in_any_case(self, name: bytes, kind: int) -> None:
        assert classify(name) == kind

    def test_a_flood_of_names_makes_nothing_slow_for_good(self) -> None:
        """S56: a peer chooses the spellings; those of everybody else are remembered again after its own."""
        for number in range(5000):
            classify(b"X-Flood-%d" % number)
        classify(b"Accept")
        assert KINDS[b"Accept"] == 0
        assert len(KINDS) <= 2048

    def test_long_names_are_not_remembered(self) -> None:
        classify(b"X" * 1000)
        assert b"X" * 1000 not in KINDS
