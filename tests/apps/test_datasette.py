"""Datasette behind Doorward: pages, and a long CSV that is made while it is sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.apps.strangers import assert_strangers_reach_nothing
from tests.blackbox.chromium import new_person
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.processes import find_free_port, running, wait_for_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.browser]

ROWS = 30_000


@pytest.fixture(scope="module")
def datasette(folder: Path, bin_folder: Path) -> Iterator[str]:
    database = folder / "library.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table books (id integer primary key, title text, note text)")
        rows = (
            (n, f"Book {n}", f"A note of some length about the book with number {n}") for n in range(ROWS)
        )
        connection.executemany("insert into books values (?, ?, ?)", rows)
    port = find_free_port()
    command: list[str | Path] = [
        bin_folder / "datasette",
        "serve",
        database,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    with running(command, log=folder / "datasette.log", cwd=folder) as process:
        wait_for_port(port, process, seconds=40)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def doorward(datasette: str, scripted: ScriptedProvider, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstream=datasette) as running_doorward:
        yield running_doorward


def test_a_person_reads_tables_and_downloads_them(
    browser: Browser, doorward: Doorward, script: ScriptedProvider
) -> None:
    with new_person(browser, doorward) as person:
        page = person.new_page()
        page.goto(doorward.url + "/")
        page.click("text=library")
        page.click("a:text-is('books')")
        assert page.url.startswith(doorward.url + "/library/books")
        assert page.locator("table.rows-and-columns tbody tr").count() == 100
        page.goto(doorward.url + "/library/books?title__exact=Book+29999")
        assert "Book 29999" in page.inner_text("table.rows-and-columns")

        with page.expect_download() as waiting:
            page.evaluate("location = '/library/books.csv?_stream=on&_size=max&_dl=1'")
        lines = waiting.value.path().read_text(encoding="utf-8").splitlines()

    assert len(lines) == ROWS + 1
    assert lines[-1].startswith(f"{ROWS - 1},Book {ROWS - 1},")


def test_a_stranger_reaches_none_of_it(doorward: Doorward, scripted: ScriptedProvider) -> None:
    paths = [
        "/",
        "/library",
        "/library/books",
        "/library/books.csv?_stream=on",
        "/-/static/app.css",
        "/library.db",
    ]
    assert_strangers_reach_nothing(doorward, scripted, paths)
