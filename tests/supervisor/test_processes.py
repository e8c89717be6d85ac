"""Several workers as one: what one learns all know, and none is missed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.blackbox.agent import Agent
from tests.blackbox.doorward import Doorward
from tests.blackbox.httpserver import Answer, Received
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.blackbox.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux", reason="finds out from /proc which worker serves a connection"
    ),
]

WORKERS = 2
SHORT = 0.1


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(
        folder,
        provider=scripted.settings(),
        upstreams=application.upstreams,
        workers=WORKERS,
        secret_source=scripted.secrets,
    ) as running:
        yield running


@dataclass(slots=True)
class Line:
    """A connection that is kept open, and so stays with the worker that accepted it."""

    connection: http.client.HTTPConnection
    worker: int

    def get(self, path: str, cookie: str = "") -> tuple[int, bytes]:
        self.connection.request(
            "GET", path, headers={"Accept": "*/*", **({"Cookie": cookie} if cookie else {})}
        )
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def workers_of(doorward: Doorward) -> set[int]:
    """Return the process ids of the supervisor's children."""
    children = Path(f"/proc/{doorward.process.pid}/task/{doorward.process.pid}/children")
    return {int(pid) for pid in children.read_text(encoding="ascii").split()}


def worker_behind(doorward: Doorward, connection: socket.socket) -> int | None:
    """Return which worker holds the other end of a connection."""
    own_port = connection.getsockname()[1]
    wanted = f":{doorward.port:04X} ", f":{own_port:04X} "
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if (fields[1] + " ").endswith(wanted[0]) and (fields[2] + " ").endswith(wanted[1]):
            name = f"socket:[{fields[9]}]"
            for pid in workers_of(doorward):
                if any(_link(entry) == name for entry in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
    return None


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


@pytest.fixture
def lines(doorward: Doorward) -> Iterator[dict[int, Line]]:
    """Return an open connection to each worker, by its process id."""
    wait_until(lambda: len(workers_of(doorward)) == WORKERS, "all workers run")
    found: dict[int, Line] = {}
    opened: list[http.client.HTTPConnection] = []
    for _ in range(100):
        connection = http.client.HTTPConnection("localhost", doorward.port, timeout=15)
        opened.append(connection)
        connection.request("GET", "/oauth2/auth")
        connection.getresponse().read()
        worker = worker_behind(doorward, connection.sock)
        if worker is not None and worker not in found:
            found[worker] = Line(connection, worker)
        if len(found) == WORKERS:
            break
    assert set(found) == workers_of(doorward)
    yield found
    for connection in opened:
        connection.close()


def sign_in(doorward: Doorward) -> Agent:
    agent = doorward.agent()
    assert agent.open(doorward.url + "/").status == 200
    return agent


def test_all_workers_serve_and_know_each_others_sessions(
    doorward: Doorward, lines: dict[int, Line], script: ScriptedProvider
) -> None:
    """A login at one is a session at all; metrics speak for all."""
    cookie = sign_in(doorward).cookie_header(doorward.url)
    before = doorward.metric("doorward_requests_total", reason="allowed")

    answers = [line.get("/x", cookie)[0] for line in lines.values() for _ in range(3)]

    assert answers == [200] * (3 * WORKERS)
    assert doorward.metric("doorward_workers") == WORKERS
    assert doorward.metric("doorward_requests_total", reason="allowed") == before + 3 * WORKERS


def test_a_sign_out_at_one_worker_kills_a_copied_cookie_at_all_at_once(
    doorward: Doorward, lines: dict[int, Line], script: ScriptedProvider
) -> None:
    """S36, A10: the very next request at another worker is refused."""
    for line in lines.values():
        person = sign_in(doorward)
        cookie = person.cookie_header(doorward.url)
        assert {other.get("/x", cookie)[0] for other in lines.values()} == {200}

        page = person.open(doorward.url + "/oauth2/sign_out")
        token = page.forms[0].fields["csrf_token"]
        line.connection.request(
            "POST",
            "/oauth2/sign_out",
            body=f"csrf_token={token}",
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Cookie": cookie,
                "Origin": doorward.url,
            },
        )
        answer = line.connection.getresponse()
        answer.read()

        assert answer.status == 303
        assert {other.get("/x", cookie)[0] for other in lines.values()} == {401}


def test_a_worker_that_is_killed_is_replaced_and_its_successor_knows_what_is_revoked(
    doorward: Doorward, lines: dict[int, Line], script: ScriptedProvider
) -> None:
    """S36: and metrics tell of the restart; the others go on meanwhile."""
    gone = sign_in(doorward)
    stolen = gone.cookie_header(doorward.url)
    gone.submit(gone.open(doorward.url + "/oauth2/sign_out"))
    cookie = sign_in(doorward).cookie_header(doorward.url)
    restarts = doorward.metric("doorward_worker_restarts")
    old = set(lines)
    victim, survivor = sorted(old)

    os.kill(victim, signal.SIGKILL)

    assert lines[survivor].get("/x", cookie)[0] == 200
    wait_until(
        lambda: (
            doorward.metric("doorward_worker_restarts") == restarts + 1
            and doorward.metric("doorward_workers") == WORKERS
        ),
        "a new worker serves",
    )
    (new,) = workers_of(doorward) - old
    line = wait_until(lambda: _line_to(doorward, new), "a connection to the new worker")
    assert line.get("/x", cookie)[0] == 200
    assert line.get("/x", stolen)[0] == 401
    assert doorward.log_lines("worker_ended")
    line.connection.close()


def _line_to(doorward: Doorward, worker: int) -> Line | None:
    connection = http.client.HTTPConnection("localhost", doorward.port, timeout=15)
    connection.request("GET", "/oauth2/auth")
    connection.getresponse().read()
    if worker_behind(doorward, connection.sock) == worker:
        return Line(connection, worker)
    connection.close()
    return None


def test_a_refresh_happens_once_across_all_workers(
    doorward: Doorward, lines: dict[int, Line], script: ScriptedProvider
) -> None:
    """Requests at every worker wait for one call; a late one, at any of them, takes its result."""
    script.access_token_seconds = SHORT
    person = doorward.agent()
    callback = person.open(person.open(doorward.url + "/", follow=False).location, follow=False).location
    person.open(callback, follow=False)
    cookie = person.cookie_header(doorward.url)
    script.access_token_seconds = 3600
    script.forget()
    threading.Event().wait(SHORT)
    answered = threading.Event()

    def slowly(received: Received) -> Answer:
        answered.wait(10)
        return script.redeem(received)

    script.script["/token"] = slowly
    with ThreadPoolExecutor(WORKERS) as pool:
        asked = [pool.submit(line.get, "/x", cookie) for line in lines.values()]
        wait_until(lambda: script.calls("/token"), "the refresh")
        threading.Timer(0.5, answered.set).start()
        statuses = [answer.result(20)[0] for answer in asked]
    late = [line.get("/x", cookie)[0] for line in lines.values()]

    assert statuses == late == [200] * WORKERS
    assert len(script.calls("/token")) == 1


def test_a_callback_counts_once_across_all_workers(
    doorward: Doorward, lines: dict[int, Line], script: ScriptedProvider
) -> None:
    """S01: one code is never redeemed twice, whichever worker the copies reach."""
    person = doorward.agent()
    callback = person.open(person.open(doorward.url + "/", follow=False).location, follow=False).location
    cookie = person.cookie_header(doorward.url)
    path = callback.removeprefix(doorward.url)
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = [pool.submit(line.get, path, cookie) for line in lines.values()]
        statuses = sorted(answer.result(20)[0] for answer in answers)

    assert statuses[0] == 302
    assert len(script.calls("/token")) == 1


@pytest.mark.parametrize("workers", [1, WORKERS])
def test_sigterm_lets_a_running_download_end(
    scripted: ScriptedProvider, application: Application, tmp_path: Path, workers: int
) -> None:
    """S70: it stops accepting, what runs ends in full, exit code 0."""
    doorward = Doorward(
        tmp_path, provider=scripted.settings(), upstreams=application.upstreams, workers=workers
    )
    cookie = sign_in(doorward).cookie_header(doorward.url)
    connection = http.client.HTTPConnection("localhost", doorward.port, timeout=15)
    connection.request("GET", "/slow", headers={"Cookie": cookie})
    answer = connection.getresponse()
    first = answer.read1(100)

    doorward.process.terminate()
    wait_until(lambda: _refuses(doorward.port), "no new connection is accepted")
    application.upstream.release()
    application.upstream.release()
    rest = answer.read()
    connection.close()
    doorward.stop()

    assert first + rest == b"piece 1\npiece 2\npiece 3\n"


def _refuses(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return False
    except OSError:
        return True


def test_a_supervisor_that_is_killed_leaves_no_worker_behind(
    scripted: ScriptedProvider, application: Application, tmp_path: Path
) -> None:
    """Else the next start would find its port in use, or share it with strangers."""
    doorward = Doorward(
        tmp_path, provider=scripted.settings(), upstreams=application.upstreams, workers=WORKERS
    )
    workers = workers_of(doorward)
    doorward.process.kill()
    doorward.process.wait(10)

    wait_until(lambda: not any(_is_alive(pid) for pid in workers), "the workers end too", seconds=15)
    doorward.judge_log()


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def test_no_code_is_taken_from_the_folder_that_it_is_started_in(
    scripted: ScriptedProvider, application: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside an application, that is the application's folder, and has modules with all kinds of names."""
    for name in ("sidecar", "uvloop", "httptools", "yaml", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign code')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with Doorward(
        tmp_path, provider=scripted.settings(), upstreams=application.upstreams, workers=WORKERS
    ) as running:
        assert running.metric("doorward_workers") == WORKERS


def test_workers_share_one_unix_socket(
    tmp_path: Path, scripted: ScriptedProvider, application: Application
) -> None:
    """A listening socket is passed on to each; the file stays while one is replaced, and goes at the end."""
    path = tmp_path / "d.sock"
    doorward = Doorward(
        tmp_path,
        provider=scripted.settings(),
        upstreams=application.upstreams,
        access=[{"allow": "anyone"}],
        listen=f"unix:{path}",
        workers=WORKERS,
    )

    def statuses(number: int) -> set[int]:
        with httpx.HTTPTransport(uds=str(path)) as transport:
            found = set()
            for _ in range(number):
                request = httpx.Request("GET", doorward.url + "/x", headers={"Connection": "close"})
                response = transport.handle_request(request)
                response.close()
                found.add(response.status_code)
            return found

    assert statuses(10) == {200}
    killed = min(workers_of(doorward))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(workers_of(doorward) - {killed}) == WORKERS, "another worker runs")
    assert statuses(10) == {200}

    with socket.socket(socket.AF_UNIX) as busy:
        busy.settimeout(10)
        busy.connect(str(path))
        busy.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % doorward.port)
        assert busy.recv(1) == b"H"
        doorward.process.send_signal(signal.SIGTERM)
        wait_until(lambda: _is_refused(path), "nobody listens any more")
        application.upstream.release()
        application.upstream.release()
        while b"0\r\n\r\n" not in (part := busy.recv(65536)):
            assert part
    doorward.stop()
    assert not path.exists()


def _is_refused(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        return False
