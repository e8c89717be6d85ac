"""The story that the terminal tells."""

from __future__ import annotations

import pytest

from sidecar.core.decision import Note
from sidecar.core.http import RequestHead
from sidecar.core.reasons import REASONS
from sidecar.demo.narrator import _WORDS, Narrator


class Paper:
    def __init__(self) -> None:
        self.text = ""

    def __call__(self, text: str) -> None:
        self.text += text


def told(
    target: bytes = b"/admin/?token=s3cret", status: int = 403, *, is_coloured: bool = False, **note: str
) -> str:
    paper = Paper()
    narrator = Narrator(paper, lambda: 0.0, is_coloured=is_coloured)
    head = RequestHead(b"GET", target, [], "127.0.0.1", "1")
    given = {"site": "demo", "reason": "denied", **note}
    narrator.request_done(head, Note(**given), status, 1, 0.1, 0.1)
    return paper.text


def test_a_line_says_what_was_decided_by_which_rule_and_for_whom() -> None:
    line = told(rule="admins only", user="cleo")
    assert line.count("\n") == 1
    for part in ("GET", "/admin/", "403", "refused: not for this person", "(rule: admins only)", "cleo"):
        assert part in line


def test_a_query_is_never_told() -> None:
    """S27: codes and states travel in it."""
    assert "s3cret" not in told()


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\x07", "\u202e"])
def test_nothing_that_steers_a_terminal_is_passed_on(hostile: str) -> None:
    line = told(("/" + hostile).encode("utf-8"), user=hostile).removesuffix("\n")
    assert line.isprintable()


def test_long_paths_and_names_are_cut() -> None:
    assert len(told(b"/" + b"a" * 5000, user="b" * 5000)) < 200


def test_colours_are_for_terminals() -> None:
    assert "\x1b[33m403\x1b[0m" in told(is_coloured=True)
    assert "\x1b" not in told()


def test_every_reason_has_words_and_every_word_a_reason() -> None:
    assert _WORDS.keys() <= REASONS.keys()
    for reason in REASONS:
        assert "_" not in told(reason=reason, status=200)


def test_a_closed_terminal_ends_the_story_and_nothing_else() -> None:
    calls = []

    def broken(text: str) -> None:
        calls.append(text)
        raise BrokenPipeError

    narrator = Narrator(broken, lambda: 0.0)
    narrator.say("a")
    narrator.say("b")
    assert calls == ["a\n"]


def test_failures_with_the_provider_and_defects_are_told() -> None:
    paper = Paper()
    narrator = Narrator(paper, lambda: 0.0)
    narrator.event("session_refreshed", ())
    narrator.malformed("127.0.0.1", "invalid_request", "\x1b[2J")
    narrator.event("login_refused", (("code", "nonce_mismatch"), ("detail", None)))
    narrator.connection_opened()
    narrator.connection_closed()
    narrator.provider_call("a", "token", "ok", 0.1)
    try:
        _ = 1 // len("")
    except ZeroDivisionError:
        narrator.defect("decide", "r-1")
    assert "session refreshed" not in paper.text
    assert "not a request: invalid_request ?[2J" in paper.text
    assert "login refused: code nonce_mismatch" in paper.text
    assert "ZeroDivisionError" in paper.text
    assert "r-1" in paper.text
