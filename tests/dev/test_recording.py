"""Recordings and replays, by real processes and real files."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader, FlowWriter

from tests.blackbox.agent import Agent
from tests.blackbox.doorward import new_key
from tests.blackbox.upstream import Application
from tests.blackbox.waiting import wait_until
from tests.dev.process import NAVIGATION, dev, dev_to_end
from tests.processes import find_free_port, running, wait_for_port

ADMINS = "{path: /admin/**, allow: {groups: [admins]}}"
OTHERS = "{name: members, allow: authenticated}"
SECRETS = ("s3cret-cookie", "s3cret-token", "s3cret-body", "s3cret-query", "s3cret-key", "s3cret-path")


@pytest.fixture(scope="module")
def recording(folder: Path, application: Application) -> Path:
    """Record bob and nobody in front of two rules."""
    file = folder / "flows.mitm"
    rules = ("--rule", ADMINS, "--rule", OTHERS)
    with dev(
        folder, application.upstream.url, "--as", "bob", "--groups", "staff", *rules, "--record", file
    ) as gate:
        gate.get("/admin/x")
        for _ in range(2):
            gate.get(
                "/page/1;jsessionid=s3cret-path?q=s3cret-query&s3cret-query",
                Cookie="app=s3cret-cookie",
                Authorization="Bearer s3cret-token",
                **{"X-Api-Key": "s3cret-key"},
            )
        gate.get("/admin/x", "DELETE")
        gate.get("/page/2", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"})
        gate.get("/oauth2/userinfo")
    return file


def flows(file: Path) -> list[HTTPFlow]:
    with file.open("rb") as opened:
        found = list(FlowReader(opened).stream())
    return [flow for flow in found if isinstance(flow, HTTPFlow)]


class TestRecording:
    def test_nobody_else_can_read_it(self, recording: Path) -> None:
        assert stat.S_IMODE(recording.stat().st_mode) == 0o600

    def test_mitmproxy_opens_it_and_shows_what_was_decided(self, recording: Path) -> None:
        found = [
            (f.request.method, f.request.path, f.response and f.response.status_code)
            for f in flows(recording)
        ]
        assert ("GET", "/admin/x", 403) in found
        assert ("DELETE", "/admin/x", 403) in found
        comments = {flow.comment for flow in flows(recording)}
        assert {"allowed, rule members, bob", "denied, rule access[0], bob"} <= comments

    @pytest.mark.slow
    def test_mitmproxys_own_programs_read_it(self, recording: Path, folder: Path) -> None:
        """As its page says: `mitmdump -nr` and `mitmweb -nr`, the programs themselves."""
        programs = Path(sys.executable).parent
        words = ["-nr", str(recording), "--set", f"confdir={folder / 'mitmproxy'}"]
        told = subprocess.run(
            [programs / "mitmdump", *words], capture_output=True, text=True, check=True, timeout=30
        ).stdout
        assert "/admin/x" in told
        assert "403 Forbidden" in told
        port = find_free_port()
        view = ["--no-web-open-browser", "--web-port", str(port), "--set", "web_password=of-this-test"]
        with running([programs / "mitmweb", *words, *view], log=folder / "mitmweb.log") as process:
            wait_for_port(port, process)
            url = f"http://127.0.0.1:{port}/flows?token=of-this-test"
            shown = wait_until(lambda: httpx.get(url, trust_env=False, timeout=5).json(), "the flows")
        assert "denied, rule access[0], bob" in {flow["comment"] for flow in shown}

    def test_it_holds_the_identity_and_nothing_that_lets_anybody_be_somebody(self, recording: Path) -> None:
        """S27."""
        data = recording.read_bytes()
        assert b"bob@example.com" in data
        for secret in SECRETS:
            assert secret.encode() not in data
        for flow in flows(recording):
            assert "cookie" not in flow.request.headers
            assert not flow.request.raw_content
        assert b"doorward_session" not in data.lower().replace(b"-", b"_")

    def test_a_login_is_recorded_without_its_code_and_tokens(
        self, folder: Path, application: Application
    ) -> None:
        file = folder / "login.mitm"
        with dev(folder, application.upstream.url, "--record", file) as gate:
            agent = Agent()
            agent.submit(agent.open(gate.url + "/page/x"), {"person": "ada"})
            cookie = agent.cookie_header(gate.url + "/")
        data = file.read_bytes()
        assert b"ada@example.com" in data
        for pair in cookie.split("; "):
            assert pair.partition("=")[2].encode() not in data
        assert any(flow.request.path == "/oauth2/callback?code=~&iss=~&state=~" for flow in flows(file))

    def test_a_file_that_is_there_is_not_overwritten(self, recording: Path) -> None:
        before = recording.read_bytes()
        ended = dev_to_end("3000", "--listen", "0", "--record", recording)
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert recording.read_bytes() == before


class TestReplay:
    def test_the_same_rules_change_nothing(self, recording: Path) -> None:
        ended = dev_to_end("--replay", recording, "--rule", ADMINS, "--rule", "{allow: authenticated}")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert (
            ended.stdout == "0 of 5 requests are decided otherwise; 2 of Doorward's own endpoints left out.\n"
        )

    def test_a_table_shows_what_other_rules_change(self, recording: Path) -> None:
        rules = ("--rule", "{name: readers, methods: [GET], allow: {groups: [staff]}}")
        ended = dev_to_end("--replay", recording, *rules)
        assert ended.returncode == 1
        header, *rows, summary = ended.stdout.splitlines()
        assert header.split() == ["REQUEST", "WHO", "BEFORE", "AFTER"]
        assert [row.split() for row in rows] == [
            [
                "opened",
                "GET",
                "/admin/x",
                "bob",
                "refused",
                "(rule:",
                "access[0])",
                "let",
                "in",
                "(rule:",
                "readers)",
            ]
        ]
        assert summary.startswith("1 of 5 requests are decided otherwise: 1 opened")

    def test_all_shows_the_others_too_and_counts_what_was_repeated(self, recording: Path) -> None:
        ended = dev_to_end("--replay", recording, "--rule", "{allow: nobody}", "--all")
        assert ended.returncode == 1
        assert "(x2)" in ended.stdout
        assert "nobody" in ended.stdout
        assert "closed  GET /page/1;jsessionid=~ (x2)" in ended.stdout
        assert "refused (rule: access[0])" in ended.stdout

    def test_a_configuration_with_another_host_is_asked_as_its_own(
        self, recording: Path, folder: Path
    ) -> None:
        file = folder / "new.yaml"
        file.write_text(
            "public_url: https://app.example.com\nupstream: http://127.0.0.1:3000\n"
            "provider: {type: oidc, issuer: 'https://id.example.com', client_id: app}\n"
            f"session: {{keys: ['{new_key()}']}}\n"
            "access: [{path: /admin/**, allow: {users: [bob]}}, {allow: authenticated}]\n",
            encoding="utf-8",
        )
        file.chmod(0o600)
        ended = dev_to_end("--replay", recording, "--config", file)
        assert ended.returncode == 1
        assert "GET /admin/x" in ended.stdout
        assert "DELETE /admin/x" in ended.stdout
        assert ended.stdout.splitlines()[-1].startswith("2 of 5")

    def test_a_claim_that_was_not_recorded_is_told(self, recording: Path) -> None:
        ended = dev_to_end("--replay", recording, "--rule", "{allow: {claims: {department: [Sales]}}}")
        assert "claim department" in ended.stderr

    @pytest.mark.parametrize(
        "content", [b"", b"nonsense", b"5:hello,", b"{}", b"\xff" * 100, b"12:4:type;0:~}"]
    )
    def test_a_broken_file_is_one_line(self, folder: Path, content: bytes) -> None:
        file = folder / "broken.mitm"
        file.write_bytes(content)
        ended = dev_to_end("--replay", file, "--rule", "{allow: anyone}")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert str(file) in ended.stderr
        assert file.read_bytes() == content

    def test_a_recording_that_was_cut_off_is_one_line(self, recording: Path, folder: Path) -> None:
        file = folder / "cut.mitm"
        file.write_bytes(recording.read_bytes()[:-10])
        ended = dev_to_end("--replay", file, "--rule", "{allow: anyone}")
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)

    @pytest.mark.parametrize(
        "metadata",
        [None, "", "[]", "{}", '{"version": 2}', '{"version": 1, "identity": 5}', '{"version": 1}'],
    )
    def test_flows_of_another_program_are_one_line(
        self, recording: Path, folder: Path, metadata: str | None
    ) -> None:
        file, flow = folder / "other.mitm", flows(recording)[0]
        flow.metadata = {} if metadata is None else {"doorward": metadata}
        with file.open("wb") as opened:
            FlowWriter(opened).add(flow)
        ended = dev_to_end("--replay", file, "--rule", "{allow: anyone}")
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
        assert "no recording of doorward dev" in ended.stderr

    def test_broken_rules_are_one_line(self, recording: Path, folder: Path) -> None:
        file = folder / "broken-rules.yaml"
        file.write_text("- {alow: x}\n- {alow: y}\n", encoding="utf-8")
        ended = dev_to_end("--replay", recording, "--rules", file)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
        assert ended.stderr.startswith(f"{file}:1:")


def test_a_recorded_refusal_of_a_navigation_is_to_sign_in(folder: Path, application: Application) -> None:
    file = folder / "nobody.mitm"
    with dev(folder, application.upstream.url, "--record", file) as gate:
        assert gate.get("/page/1", **NAVIGATION).status_code == 302
    ended = dev_to_end("--replay", file, "--rule", "{allow: anyone}")
    assert ended.returncode == 1
    assert "sign in first" in ended.stdout
    assert dev_to_end("--replay", file, "--rule", "{allow: authenticated}").returncode == 0
