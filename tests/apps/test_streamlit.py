"""Streamlit behind Doorward: everything a page shows comes by WebSocket, files go up by PUT."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
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

SCRIPT = """
import hashlib
import streamlit as st

st.title("A small tool")
st.write("You are " + st.context.headers.get("X-Forwarded-Email", "nobody"))
name = st.text_input("Whom to greet")
if name:
    st.write("Hello, " + name)
file = st.file_uploader("A file")
if file:
    st.write("Digest " + hashlib.sha256(file.read()).hexdigest())
"""


@pytest.fixture(scope="module")
def streamlit(folder: Path, bin_folder: Path) -> Iterator[str]:
    (folder / "tool.py").write_text(SCRIPT, encoding="utf-8")
    port = find_free_port()
    command: list[str | Path] = [
        *(bin_folder / "streamlit", "run", folder / "tool.py", "--server.port", str(port)),
        *("--server.address", "127.0.0.1", "--server.headless", "true"),
        *("--server.fileWatcherType", "none", "--browser.gatherUsageStats", "false"),
    ]
    environment = {**os.environ, "HOME": str(folder)}
    with running(command, log=folder / "streamlit.log", cwd=folder, env=environment) as process:
        wait_for_port(port, process, seconds=60)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def doorward(streamlit: str, scripted: ScriptedProvider, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstream=streamlit) as running_doorward:
        yield running_doorward


@pytest.mark.timeout(180)
def test_a_person_uses_the_tool_and_uploads_a_file(
    browser: Browser, doorward: Doorward, script: ScriptedProvider
) -> None:
    content = os.urandom(2 << 20)
    with new_person(browser, doorward) as person:
        person.set_default_timeout(60_000)
        page = person.new_page()
        page.goto(doorward.url + "/")
        page.wait_for_selector("text=A small tool")
        page.wait_for_selector("text=You are ann@example.com")

        page.fill("input[aria-label='Whom to greet']", "Grete")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Hello, Grete")

        upload = {"name": "data.bin", "mimeType": "application/octet-stream", "buffer": content}
        page.set_input_files("input[type=file]", upload)  # type: ignore[arg-type]  # a FilePayload
        page.wait_for_selector(f"text=Digest {hashlib.sha256(content).hexdigest()}")


def test_a_stranger_reaches_none_of_it(doorward: Doorward, scripted: ScriptedProvider) -> None:
    paths = [
        "/",
        "/_stcore/stream",
        "/_stcore/health",
        "/_stcore/upload_file/a/b",
        "/static/index.html",
        "/media/x",
    ]
    assert_strangers_reach_nothing(doorward, scripted, paths)
