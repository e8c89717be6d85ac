"""Access lines: readable by machines and people, and never a carrier of secrets."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Note
from sidecar.core.http import RequestHead
from sidecar.observe import AccessLog

if TYPE_CHECKING:
    from collections.abc import Callable

NOTE = Note(site="app", reason="allowed", rule="access[2]", user="ada@example.com", session_id="s1")


class Written:
    """Collects what a log writes; `timers` are what it asked to be called later."""

    def __init__(self, style: str = "json", now: float = 1_700_000_000.5) -> None:
        self.text = b""
        self.timers: list[Callable[[], None]] = []
        assert style in {"json", "console"}
        self.log = AccessLog(
            self.write,
            lambda _seconds, function: self.timers.append(function),
            lambda: now,
            style="json" if style == "json" else "console",
        )

    def write(self, lines: bytes) -> None:
        self.text += lines


def head(target: bytes = b"/a?code=SECRET", method: bytes = b"GET") -> RequestHead:
    cookie = (b"Cookie", b"__Host-doorward=SECRET")
    return RequestHead(method, target, [(b"Host", b"app"), cookie], "192.0.2.1", "r-1")


def test_a_line_says_who_did_what_under_which_rule_and_why() -> None:
    written = Written()
    written.log.line(head(), NOTE, 200, 512, 0.0123, 0.01)
    written.log.flush()
    assert json.loads(written.text) == {
        "time": "2023-11-14T22:13:20.500Z",
        "event": "request",
        "request_id": "r-1",
        "method": "GET",
        "path": "/a",
        "status": 200,
        "bytes": 512,
        "ms": 12.3,
        "upstream_ms": 10.0,
        "peer": "192.0.2.1",
        "site": "app",
        "reason": "allowed",
        "rule": "access[2]",
        "user": "ada@example.com",
    }


def test_a_line_tells_the_address_that_trusted_proxies_saw() -> None:
    line = head()
    line.client_ip = "198.51.100.7"
    written, console = Written(), Written("console")
    for log in (written.log, console.log):
        log.line(line, NOTE, 200, 512, 0.0123, 0.01)
        log.flush()
    found = json.loads(written.text)
    assert (found["peer"], found["client"]) == ("192.0.2.1", "198.51.100.7")
    assert b"from 198.51.100.7 " in console.text


@pytest.mark.parametrize("style", ["json", "console"])
def test_query_and_headers_are_never_written(style: str) -> None:
    """S27: codes travel in queries, sessions in cookies: neither is in a line, at any level."""
    written = Written(style)
    written.log.line(head(), NOTE, 302, 0, 0.001, 0.0)
    written.log.flush()
    assert b"SECRET" not in written.text


def test_a_line_waits_for_company_a_quarter_of_a_second_at_most() -> None:
    written = Written()
    written.log.line(head(), NOTE, 200, 0, 0.0, 0.0)
    written.log.line(head(), NOTE, 200, 0, 0.0, 0.0)
    assert written.text == b""
    assert len(written.timers) == 1
    written.timers[0]()
    assert written.text.count(b"\n") == 2


def test_sixty_four_lines_are_written_at_once() -> None:
    written = Written()
    for _ in range(64):
        written.log.line(head(), NOTE, 200, 0, 0.0, 0.0)
    assert written.text.count(b"\n") == 64


def test_what_a_peer_sent_neither_floods_the_log_nor_stays_in_memory() -> None:
    """S25, S56: an unknown Host, say, of 60 KB in each of many requests."""
    written = Written()
    tracemalloc.start()
    for number in range(1000):
        note = Note(site="", reason="unknown_host", detail=f"{number}" + "a" * 60_000)
        written.log.line(head(), note, 421, 0, 0.0, 0.0)
    written.log.flush()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(written.text) < 1_000_000
    assert held - len(written.text) < 1_000_000


@given(st.binary(min_size=1, max_size=800), st.text(max_size=40))
def test_whatever_arrives_a_line_is_one_json_object(path: bytes, user: str) -> None:
    written = Written()
    written.log.line(head(b"/" + path), Note(site="s", reason="denied", user=user), 403, 0, 0.0, 0.0)
    written.log.flush()
    assert written.text.count(b"\n") == 1
    assert json.loads(written.text)["user"] == user


@given(st.binary(min_size=1, max_size=100), st.text(max_size=40))
def test_a_console_line_holds_no_control_character(path: bytes, user: str) -> None:
    """A log that a person reads in a terminal must not be steered by whoever sends requests."""
    written = Written("console")
    written.log.line(head(b"/" + path), Note(site="s", reason="denied", user=user), 403, 0, 0.0, 0.0)
    written.log.flush()
    text = written.text.decode()
    assert text.endswith("\n")
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in text[:-1])


def test_the_cached_part_of_one_note_is_never_given_to_another() -> None:
    written = Written()
    for number in range(10_000):  # each note is garbage at once: ids come again
        written.log.line(head(), Note(site="s", reason="allowed", user=str(number)), 200, 0, 0.0, 0.0)
    written.log.flush()
    users = [json.loads(line)["user"] for line in written.text.splitlines()]
    assert users == [str(number) for number in range(10_000)]
