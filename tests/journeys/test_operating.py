"""What an operator meets: messages at start, logs, metrics, health."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.blackbox.doorward import Doorward, new_key, run_to_end
from tests.blackbox.scripted import CLIENT_SECRET, ScriptedProvider
from tests.blackbox.upstream import Application
from tests.processes import find_free_port

pytestmark = pytest.mark.slow

ACCESS = [
    {"path": "/public/**", "allow": "anyone"},
    {"name": "admin", "path": "/admin/**", "allow": {"groups": ["admins"]}},
    {"allow": "authenticated"},
]


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(
        folder,
        provider=scripted.settings(),
        upstreams=application.upstreams,
        access=ACCESS,
        secret_source=scripted.secrets,
    ) as running:
        yield running


def write_config(folder: Path, **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "listen": f"127.0.0.1:{find_free_port()}",
        "public_url": "http://localhost:8080",
        "upstream": "http://127.0.0.1:9",
        "provider": {
            "type": "oidc",
            "issuer": "http://127.0.0.1:9",
            "client_id": "app",
            "client_secret": CLIENT_SECRET,
        },
        "session": {"keys": [new_key()]},
        "access": [{"allow": "authenticated"}],
        **changes,
    }
    path = folder / "doorward.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    path.chmod(0o600)
    return path


class TestBadStart:
    """One line for each problem, no traceback, nothing started."""

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"upstraem": "http://127.0.0.1:9"}, [r":\d+:\d+: .*upstraem.*upstream"]),
            ({"public_url": "http://app.example.com"}, [r"public_url.*https"]),
            ({"session": {"keys": ["c2hvcnQ="]}}, [r"session\.keys.*32"]),
            ({"session": {"keys": [{"file": "/does/not/exist"}]}}, [r"session\.keys.*/does/not/exist"]),
            ({"session": {"keys": [{"env": "DOORWARD_TEST_UNSET"}]}}, [r"DOORWARD_TEST_UNSET"]),
            ({"access": []}, [r"access"]),
            ({"access": [{"allow": {"group": ["a"]}}]}, [r"group.*groups"]),
            (
                {"lisen": 1, "worker": 2, "access": [{"alow": "anyone"}]},
                [r"lisen.*listen", r"worker.*workers", r"alow.*allow"],
            ),
        ],
    )
    def test_a_bad_configuration_names_line_key_and_mend(
        self, tmp_path: Path, changes: dict[str, Any], told: list[str]
    ) -> None:
        """All errors at once; exit code 2; the secret that stands in the file is never repeated."""
        path = write_config(tmp_path, **changes)

        done = run_to_end("run", "--config", path)

        lines = done.stderr.strip().splitlines()
        assert done.returncode == 2
        assert done.stdout == ""
        assert all(line.startswith(f"{path}:") for line in lines), lines
        for pattern in told:
            assert any(re.search(pattern, line) for line in lines), (pattern, lines)
        assert len(lines) <= len(told) + 1
        assert CLIENT_SECRET not in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_file_that_is_not_there_is_one_line(self, tmp_path: Path) -> None:
        done = run_to_end("run", "--config", tmp_path / "nowhere.yaml")

        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert str(tmp_path / "nowhere.yaml") in done.stderr

    def test_a_file_that_can_not_be_read_is_one_line(self, tmp_path: Path) -> None:
        """A folder, because root may read every file."""
        done = run_to_end("run", "--config", tmp_path)

        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert str(tmp_path) in done.stderr

    def test_a_secret_that_can_not_be_read_is_one_line(self, tmp_path: Path) -> None:
        path = write_config(tmp_path, session={"keys": [{"file": str(tmp_path)}]})

        done = run_to_end("run", "--config", path)

        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1
        assert "session.keys" in done.stderr

    @pytest.mark.parametrize("text", ["{", "a: b: c", "- 1\n- 2", "", "\x00", "\xff\xfe"])
    def test_what_is_no_configuration_at_all_is_told_in_a_line(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "doorward.yaml"
        path.write_bytes(text.encode("latin-1"))

        done = run_to_end("run", "--config", path)

        assert done.returncode == 2
        assert done.stderr.startswith(str(path))
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_port_in_use_is_one_line(self, tmp_path: Path, workers: int) -> None:
        """Exit code 1: the configuration is fine, the machine is not free."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            path = write_config(tmp_path, listen=f"127.0.0.1:{port}", workers=workers)

            done = run_to_end("run", "--config", path)

        told = [line for line in done.stderr.strip().splitlines() if not line.startswith("{")]
        assert done.returncode == 1
        assert len(told) == 1, done.stderr
        assert f"127.0.0.1:{port}" in told[0]
        assert "Traceback" not in done.stderr + done.stdout

    def test_an_admin_port_in_use_is_one_line(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = run_to_end("run", "--config", write_config(tmp_path, admin=f"127.0.0.1:{port}"))

        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr
        assert "Traceback" not in done.stderr


class TestSecrets:
    def test_secrets_come_from_files_and_the_environment(
        self,
        scripted: ScriptedProvider,
        application: Application,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """S74: a newline at a file's end is not part of it."""
        (tmp_path / "client").write_text(CLIENT_SECRET + "\n", encoding="utf-8")
        (tmp_path / "client").chmod(0o600)
        key = new_key()
        monkeypatch.setenv("DOORWARD_TEST_KEY", key)
        monkeypatch.setenv("DOORWARD_TEST_CLIENT", "the-client")
        settings = scripted.settings(client_secret={"file": "client"}, client_id="${DOORWARD_TEST_CLIENT}")
        with Doorward(
            tmp_path,
            provider=settings,
            upstreams=application.upstreams,
            session={"keys": [{"env": "DOORWARD_TEST_KEY"}]},
        ) as doorward:
            doorward.note_secrets([key, CLIENT_SECRET])

            assert doorward.agent().open(doorward.url + "/").status == 200


class TestAdmin:
    def test_health_readiness_and_metrics_are_on_the_admin_listener_whatever_the_host(
        self, doorward: Doorward
    ) -> None:
        """S71: a probe comes by address."""
        for path in ("/healthz", "/readyz", "/metrics"):
            url = f"http://127.0.0.1:{doorward.admin_port}{path}"
            for host in ("127.0.0.1", "localhost", "10.1.2.3:9080", "evil.example"):
                assert httpx.get(url, headers={"Host": host}, trust_env=False).status_code == 200
        assert doorward.admin("/").status_code == 404
        assert doorward.admin("/admin/../metrics").status_code in {200, 404}
        answer = httpx.post(f"http://127.0.0.1:{doorward.admin_port}/metrics", trust_env=False)
        assert answer.status_code == 405

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
    def test_they_are_not_on_the_public_one(self, doorward: Doorward, path: str) -> None:
        """S71: there these paths are the application's, behind the rules as all others."""
        assert doorward.agent().fetch(doorward.url + path).status == 401

    def test_health_tells_nothing_of_the_configuration(
        self, doorward: Doorward, scripted: ScriptedProvider
    ) -> None:
        """S71."""
        told = doorward.admin("/healthz").text + doorward.admin("/readyz").text

        assert scripted.issuer not in told
        assert str(doorward.port) not in told

    def test_metrics_count_requests_logins_and_provider_calls_and_name_nobody(
        self, doorward: Doorward, script: ScriptedProvider
    ) -> None:
        """S71: labels are bounded: no user, path, session or address."""
        before = doorward.metric("doorward_requests_total", reason="allowed")
        logins = doorward.metric("doorward_events_total", event="login_succeeded")
        person = doorward.agent()
        person.open(doorward.url + "/some/private/path")
        for _ in range(3):
            person.fetch(doorward.url + "/some/private/path")

        assert doorward.metric("doorward_requests_total", reason="allowed") == before + 4
        assert doorward.metric("doorward_events_total", event="login_succeeded") == logins + 1
        assert doorward.metric("doorward_provider_calls_total", operation="token", outcome="ok") >= 1
        assert doorward.metric("doorward_request_seconds_count") >= 4
        assert doorward.metric("doorward_provider_seconds_count", operation="token") >= 1
        text = doorward.admin("/metrics").text
        for secret in ("ann", "private", "127.0.0.1", *script.secrets):
            assert secret not in text

    def test_a_connection_is_counted_while_it_is_open(self, doorward: Doorward) -> None:
        with socket.create_connection(("127.0.0.1", doorward.port)) as connection:
            connection.sendall(b"GET /public/x HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % doorward.port)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            assert doorward.metric("doorward_connections") >= 1


class TestLogs:
    def test_each_request_is_one_line_of_json_with_id_rule_and_reason(
        self, doorward: Doorward, script: ScriptedProvider
    ) -> None:
        person = doorward.agent()
        person.open(doorward.url + "/logged?secret=of-a-query")

        line = doorward.request_line(path="/logged", status=200)

        assert line["method"] == "GET"
        assert line["reason"] == "allowed"
        assert line["rule"] == "access[2]"
        assert line["user"] == "ann"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["ms"] >= line["upstream_ms"] >= 0
        assert "of-a-query" not in doorward.log
        for text in doorward.log.splitlines():
            assert json.loads(text)["event"]

    @pytest.mark.parametrize(
        ("path", "status", "reason", "rule"),
        [
            ("/public/a", 200, "allowed_anyone", "access[0]"),
            ("/admin/a", 403, "denied", "admin"),
            ("/public/..%2fadmin", 400, "ambiguous_path", None),
        ],
    )
    def test_the_line_says_why(
        self,
        doorward: Doorward,
        script: ScriptedProvider,
        path: str,
        status: int,
        reason: str,
        rule: str | None,
    ) -> None:
        person = doorward.agent()
        person.open(doorward.url + "/")
        answer = person.fetch(doorward.url + path)

        line = doorward.request_line(path=path, status=status)

        assert answer.status == status
        assert line["reason"] == reason
        assert line.get("rule") == rule

    def test_a_person_who_reports_a_request_id_is_found(
        self, doorward: Doorward, script: ScriptedProvider
    ) -> None:
        """The id on the page, in the JSON and in the log are one."""
        person = doorward.agent()
        page = person.open(doorward.url + "/admin/page")
        told = person.fetch(doorward.url + "/admin/api").json()

        line = doorward.request_line(path="/admin/api", status=403)

        assert told["request_id"] == line["request_id"]
        assert doorward.request_line(path="/admin/page", status=403)["request_id"] in page.text

    def test_a_request_that_is_none_is_logged_and_harms_nobody(self, doorward: Doorward) -> None:
        """S27: what it held is not repeated."""
        with socket.create_connection(("127.0.0.1", doorward.port), timeout=10) as connection:
            connection.sendall(b"GET /x\x01secret-of-a-broken-request HTTP/1.1\r\nHost\r\n\r\n")
            answer = connection.recv(1000)

        assert answer.startswith(b"HTTP/1.1 400")
        assert "secret-of-a-broken-request" not in doorward.log
        assert doorward.metric("doorward_malformed_total") >= 1


def test_an_application_that_is_not_there_is_a_page_with_a_request_id(
    scripted: ScriptedProvider, script: ScriptedProvider, tmp_path: Path
) -> None:
    """Neither a crash nor an empty answer; programs get JSON; we stay ready, for it is not our fault."""
    upstream = f"http://127.0.0.1:{find_free_port()}"
    with Doorward(tmp_path, provider=scripted.settings(), upstream=upstream) as doorward:
        person = doorward.agent()
        page = person.open(doorward.url + "/x")
        told = person.fetch(doorward.url + "/x")

        line = doorward.request_line(path="/x", reason="upstream_unavailable")
        assert page.status == told.status == line["status"] == 503
        assert line["request_id"] in page.text
        assert told.json()["error"] == "upstream_unavailable"
        assert upstream not in page.text + told.text
        assert doorward.admin("/readyz").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(
    scripted: ScriptedProvider, application: Application, tmp_path: Path, number: signal.Signals
) -> None:
    """Exit code 0, and the last line says so."""
    doorward = Doorward(tmp_path, provider=scripted.settings(), upstreams=application.upstreams)
    doorward.process.send_signal(number)
    doorward.process.wait(20)
    doorward.stop()

    assert [line["event"] for line in doorward.log_lines("stopped")] == ["stopped"]
