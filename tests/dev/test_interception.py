"""`doorward dev` on the interception engine, and its view."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from websockets.exceptions import ConnectionClosed

from tests.blackbox.agent import Agent
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.blackbox.websocket import open_websocket
from tests.dev.process import NAVIGATION, DevProcess, dev, dev_to_end, fields
from tests.processes import find_free_port

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

    def test_no_secret_of_a_login_at_a_real_provider_is_in_it(
        self, folder: Path, application: Application
    ) -> None:
        """S27: client secret, code, tokens and cookies; also in the file that the view saves."""
        provider = ScriptedProvider()
        with provider.running():
            file = folder / "inspected-provider.yaml"
            file.write_text(yaml.safe_dump(provider.settings()), encoding="utf-8")
            with dev(folder, application.upstream.url, "--inspect", "--provider", file) as gate:
                agent = Agent(note_secret=provider.secrets.add)
                assert agent.open(gate.url + "/page/x?token=s3cret-query").status == 200
                gate.get(
                    "/x;jsessionid=s3cret-path", **{"X-Api-Key": "s3cret-key", "Cookie": "a=s3cret-cookie"}
                )
                gate.get("/x", Authorization="Bearer s3cret-bearer", Referer="/?code=s3cret-referer")
                shown = _get(gate, "flows") + _get(gate, "flows/dump")
        assert "4 code for tokens" in shown
        assert "s3cr" in shown
        told = {
            *provider.secrets,
            *(f"s3cret-{what}" for what in ("query", "path", "key", "cookie", "bearer")),
        }
        assert len(told) > 8
        assert [secret for secret in told if len(secret) > 8 and secret in shown] == []
        assert "s3cret-referer" not in shown

    def test_a_provider_that_is_not_there_is_shown_too(self, folder: Path, application: Application) -> None:
        file = folder / "nobody.yaml"
        nobody = f"http://127.0.0.1:{find_free_port()}"
        file.write_text(f"{{issuer: '{nobody}', client_id: app}}\n", encoding="utf-8")
        with dev(folder, application.upstream.url, "--inspect", "--provider", file) as gate:
            assert gate.get("/page/x", **NAVIGATION).status_code >= 500
            failed = [flow for flow in _flows(gate) if "discovery: provider_unreachable" in flow["comment"]]
            assert failed

    def test_it_shows_and_changes_nothing(self, folder: Path, application: Application) -> None:
        """S72: mitmweb's other buttons would listen on the network, or ask the application past the gate."""
        with dev(folder, application.upstream.url, "--inspect", "--as", "alice") as gate:
            gate.get("/once?a=1")
            flow = next(flow for flow in _flows(gate) if "/once" in str(flow["request"]))
            assert flow["comment"].startswith("let in (rule: access[0])  alice\n")
            view = urlsplit(_view(gate))
            with httpx.Client(base_url=f"http://{view.netloc}", trust_env=False, timeout=5) as client:
                client.get(f"/?{view.query}")
                client.cookies["_mitmproxy_xsrf"] = "aa"
                token = {"X-XSRFToken": "aa"}
                refused = [
                    client.put("/options", headers=token, json={"mode": ["regular@0.0.0.0:0"]}),
                    client.post(f"/flows/{flow['id']}/replay", headers=token),
                    client.post("/commands/replay.client", headers=token, json={"arguments": ["@all"]}),
                    client.put(f"/flows/{flow['id']}", headers=token, json={"request": {"path": "/other"}}),
                    client.request("DELETE", f"/flows/{flow['id']}", headers=token),
                ]
                assert [answer.status_code for answer in refused] == [403] * 5
                assert client.post("/clear", headers=token).status_code == 200
                assert client.get("/flows").json() == []
            assert len(application.upstream.requests("/once")) == 1

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


def _get(gate: DevProcess, path: str) -> str:
    return httpx.get(_view(gate).replace("/?", f"/{path}?"), trust_env=False, timeout=5).text


def _flows(gate: DevProcess) -> list[dict[str, str]]:
    shown: list[dict[str, str]] = json.loads(_get(gate, "flows"))
    return shown
