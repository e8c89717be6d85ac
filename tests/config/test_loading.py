from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.config import compile_text, load, load_text, read_config
from sidecar.config.fields import settings_of
from sidecar.config.models.document import LongDocument, ShortDocument
from sidecar.config.reference import SECTIONS
from sidecar.core.errors import ConfigurationError, UnreadableConfiguration
from tests.config.files import KEY, complete, problems


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableConfiguration) as caught:
        read_config(path)
    assert len(caught.value.problems) == 1
    return str(caught.value)


class TestReading:
    """An unreadable file is one line, whatever it is."""

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.yaml"
        assert refusal(path) == f"{path}: can't be read: No such file or directory; name another file"

    def test_a_folder(self, tmp_path: Path) -> None:
        assert refusal(tmp_path) == f"{tmp_path}: can't be read: Is a directory; name the file in it"

    def test_a_file_that_is_not_ours_to_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> NoReturn:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        path = tmp_path / "doorward.yaml"
        mend = "let the user that runs doorward read it"
        assert refusal(path) == f"{path}: can't be read: Permission denied; {mend}"

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.yaml"
        path.write_bytes(b"a: b\nc: d\xff\n")
        assert refusal(path) == f"{path}:2:5: is not UTF-8 (byte 0xff); save the file as UTF-8"

    def test_a_file_that_no_configuration_is(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.yaml"
        path.write_bytes(b"#" * ((16 << 20) + 1))
        assert refusal(path) == f"{path}: is larger than 16MiB, which no configuration is"

    def test_a_byte_order_mark_is_no_part_of_the_text(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.yaml"
        path.write_bytes(b"\xef\xbb\xbf" + complete("").encode())
        assert load(path, {}).sites[0].name == "app.example.com"

    def test_an_empty_file(self, tmp_path: Path) -> None:
        path = tmp_path / "doorward.yaml"
        path.write_bytes(b"")
        with pytest.raises(ConfigurationError) as caught:
            load(path, {})
        assert str(caught.value) == (
            f"{path}: is empty; begin with public_url, upstream, provider, session and access"
            " (config/doorward.example.yaml)"
        )

    @pytest.mark.parametrize("text", ["- a\n", "text\n", "42\n"])
    def test_a_file_that_is_no_mapping(self, text: str) -> None:
        with pytest.raises(ConfigurationError) as caught:
            load_text(text, Path("f.yaml"), {})
        assert str(caught.value) == (
            "f.yaml:1:1: must be a mapping of settings: public_url, upstream, provider, session, access"
        )


class TestProblems:
    def test_they_come_in_the_order_of_the_file(self) -> None:
        places = [
            sentence.split(": ")[0]
            for sentence in problems("sign_in: x\nworkers: x\nupstream: x\nprefix: x\n")
        ]
        assert places == ["1:10", "2:10", "3:11", "4:9"]

    def test_what_an_alias_repeats_is_told_once(self) -> None:
        text = (
            "sites:\n"
            "  a: &a {public_url: https://a.example, upstream: http://a:1, session: {keys: [c2hvcnQ=]},\n"
            "    access: [{allow: anyone}], provider: {type: oidc, issuer: https://i, client_id: a}}\n"
            "  b: {<<: *a, public_url: https://b.example}\n"
        )
        assert len(problems(text)) == 1

    def test_a_value_that_was_refused_brings_no_further_problem(self) -> None:
        assert problems(
            "cookie: {name: 'a b', domain: example.com, same_site: nnone, partitioned: true}\n"
        ) == [
            '1:16: cookie.name: "a b" is no name for a cookie; write letters, digits, _ and -',
            '1:55: cookie.same_site: "nnone" is not known here; did you mean none?',
        ]

    def test_a_value_that_was_refused_hides_no_problem_elsewhere(self) -> None:
        found = problems("listen: nowhere\nadmin: nowhere\npublic_url: http://app.example.com\n")
        assert [sentence.split(": ")[1] for sentence in found] == ["listen", "admin", "public_url"]


_KEYS = sorted({key for _, model in SECTIONS for key, _ in settings_of(model)} | {"sites", "x"})
_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-10, 10**7),
    st.floats(0, 10, allow_nan=False),
    st.sampled_from(
        ["", "a", "1h", "64KiB", "https://a.example", "http://a:1", "unix:/x", "anyone", "/a/**", KEY]
    ),
    st.sampled_from(
        ["${A}", "${B:-c}", "oidc", "none", "10.0.0.0/8", "openid", "a.b", "__Host-a", "\u2028", "é"]
    ),
    st.none(),
    st.text(max_size=8),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)
    ),
    max_leaves=20,
)


class TestAnything:
    """Whatever a file holds, the answer is a Runtime or sentences: never a traceback."""

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=8))
    def test_no_settings_raise_anything_else(self, values: dict[str, Any]) -> None:
        text = yaml.safe_dump(values, allow_unicode=True)
        with pytest.raises(ConfigurationError) as caught:
            compile_text(text, Path("/nonexistent/f.yaml"), {"A": "b"})
        assert caught.value.problems
        assert all(sentence.startswith("/nonexistent/f.yaml") for sentence in caught.value.problems)
        assert all("\n" not in sentence for sentence in caught.value.problems)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.sampled_from([key for key, _ in settings_of(ShortDocument)]), _VALUES)
    def test_no_single_setting_breaks_the_others(self, key: str, value: object) -> None:
        text = yaml.safe_dump({key: value}, allow_unicode=True)
        for sentence in problems(text):
            assert "\n" not in sentence

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=100))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        with pytest.raises(ConfigurationError):
            compile_text(text, Path("f.yaml"), {})


def test_both_forms_have_the_same_settings() -> None:
    """A site has the same keys wherever it stands."""
    short = {key for key, _ in settings_of(ShortDocument)}
    long = {key for key, _ in settings_of(LongDocument)}
    assert long - short == {"sites"}
