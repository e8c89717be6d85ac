"""`doorward dev` on the interception engine, and its view."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.blackbox.agent import Agent
from tests.blackbox.upstream import Application
from tests.blackbox.websocket import open_websocket
from tests.dev.process import DevProcess, dev, dev_to_end, fields

ENGINE = ("--engine", "interception")


def test_a_persona_with_headers_and_rules_is_the_same_there(folder: Path, application: Application) -> None:
    more = ("--as", "alice", "--groups", "staff", "--header", "X-Stage=testing")
    rules = ("--rule", "{path: /admin/**, allow: {groups: [admins]}}", "--rule", "{allow: authenticated}")
    with dev(folder, application.upstream.url, *ENGINE, *more, *rules) as gate:
        answer = gate.get("/x", **{"X-Forwarded-User": "lie", "X-Stage": "lie"})
        received = fields(answer)
        assert (received["x-forwarded-user"], received["x-stage"]) == ("alice", "testing")
        assert answer.headers["Doorward-Development"] == "development mode"
        assert gate.get("/admin/x").status_code == 403
        gate.wait_for("refused")


def test_a_login_at_the_embedded_provider_is_the_same_there(folder: Path, application: Application) -> None:
    with dev(folder, application.upstream.url, *ENGINE) as gate:
        agent = Agent()
        assert "ada" in agent.submit(agent.open(gate.url + "/page/x"), {"person": "ada"}).text


def test_a_reload_ends_its_tunnels(folder: Path, application: Application) -> None:
    file = folder / "interception-rules.yaml"
    file.write_text("- {allow: authenticated}\n", encoding="utf-8")
    with (
        dev(folder, application.upstreams["/ws"], *ENGINE, "--as", "alice", "--rules", file) as gate,
        open_websocket(gate.url + "/ws") as tunnel,
    ):
        tunnel.send("hello")
        assert tunnel.recv(5) == "hello"
        file.write_text("- {name: again, allow: authenticated}\n", encoding="utf-8")
        with pytest.raises(ConnectionClosed):
            tunnel.recv(10)


def test_a_recording_is_the_same_there(folder: Path, application: Application) -> None:
    file = folder / "interception.mitm"
    with dev(folder, application.upstream.url, *ENGINE, "--as", "alice", "--record", file) as gate:
        gate.get("/x", Authorization="Bearer s3cret-token")
    assert b"s3cret-token" not in file.read_bytes()
    assert dev_to_end("--replay", file, "--rule", "{allow: nobody}").returncode == 1


class TestInspect:
    def test_each_step_of_a_login_is_shown_and_explained(
        self, folder: Path, application: Application
    ) -> None:
        with dev(folder, application.upstream.url, "--inspect") as gate:
            agent = Agent()
            agent.submit(agent.open(gate.url + "/page/x"), {"person": "ada"})
            deadline = time.monotonic() + 10
            while "callback" not in (comments := "\n".join(f["comment"] for f in _flows(gate))):
                assert time.monotonic() < deadline, comments
                time.sleep(0.05)
            assert "state matches a request that was seen" in comments

    def test_nobody_sees_it_without_the_token(self, folder: Path, application: Application) -> None:
        with dev(folder, application.upstream.url, "--inspect") as gate:
            view = urlsplit(_view(gate))
            assert view.hostname == "127.0.0.1"
            for token in ("", "?token=", "?token=wrong"):
                bare = f"http://{view.netloc}/flows{token}"
                assert httpx.get(bare, trust_env=False, timeout=5).status_code == 403

    def test_the_other_engine_has_none(self) -> None:
        ended = dev_to_end("3000", "--inspect", "--engine", "express")
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)


def _view(gate: DevProcess) -> str:
    gate.wait_for("Every step is shown at")
    found = re.search(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]+", gate.text())
    assert found is not None
    return found[0]


def _flows(gate: DevProcess) -> list[dict[str, str]]:
    shown: list[dict[str, str]] = json.loads(
        httpx.get(_view(gate).replace("/?", "/flows?"), trust_env=False, timeout=5).text
    )
    return shown
