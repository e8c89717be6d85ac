"""The gate in a real mitmdump: it lets in who may, and stays closed whatever breaks."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import httpx
import pytest

from tests.addons.mitmdump import ADDONS, mitmdump, refusing_to_start, teller, write_config
from tests.blackbox.agent import Agent
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.waiting import wait_until
from tests.processes import find_free_port

pytestmark = pytest.mark.slow

SCRIPT = ADDONS / "authenticate.py"
NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def saboteur(folder: Path, *lines: str) -> Path:
    """Write a script with the addon in it, after `lines` have broken something."""
    path = folder / "saboteur.py"
    text = (
        "from addons.authenticate import Authenticate\n"
        "from addons.gate import Gate\n\n"
        "def broken(*args, **named):\n"
        "    raise RuntimeError('sabotage')\n\n"
    )
    path.write_text(text + "\n".join(lines) + "\naddons = [Authenticate()]\n", encoding="utf-8")
    return path


def test_somebody_signs_in_and_the_application_sees_who_it_is(tmp_path: Path) -> None:
    """S41: redirect, callback, session and identity headers, by hand."""
    port = find_free_port()
    with ScriptedProvider().running() as provider, teller() as application:
        assert isinstance(provider, ScriptedProvider)
        config = write_config(tmp_path, port, application.url, provider=provider.settings())
        with mitmdump(SCRIPT, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
            person = Agent()
            page = person.open(proxy.url + "/reports?x=1")
            stranger = proxy.get("/reports")
            spoofed = proxy.get("/public/", headers={"X-Forwarded-User": "root"})
    assert page.status == 200
    told = json.loads(page.text)
    fields = {name.lower(): value for name, value in told["headers"]}
    assert told["target"] == "/reports?x=1"
    assert fields["x-forwarded-user"] == "ann"
    assert fields["host"] == f"localhost:{port}"
    assert "doorward" not in fields.get("cookie", "")
    assert stranger.status_code == 401
    assert stranger.headers["doorward-intercepted"] == "login_required_api"
    assert "root" not in spoofed.text


@pytest.mark.parametrize(
    "sabotage",
    [
        "Gate.decide = broken",
        "Gate._settle = broken",
        "Gate._respond = broken",
        "Gate.settings = property(broken)",
        "Authenticate.requestheaders = broken",
        "Authenticate.next_layer = broken",
        "Authenticate._choose = broken",
        "Authenticate.client_connected = broken",
        "Authenticate.gate = broken",
        "Authenticate.running = broken",
        "del Authenticate.requestheaders",
    ],
)
def test_a_gate_that_raises_lets_nothing_through(tmp_path: Path, sabotage: str) -> None:
    """S61: mitmproxy logs an addon's exception and goes on; the layer does not."""
    port = find_free_port()
    with teller() as application:
        config = write_config(tmp_path, port, application.url)
        script = saboteur(tmp_path, sabotage)
        try:
            with mitmdump(script, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
                for path in ("/private", "/public/x"):
                    try:
                        answer = proxy.get(path, headers=NAVIGATION)
                    except httpx.TransportError:
                        continue
                    assert (
                        answer.status_code >= 400 or path.startswith("/public") or answer.status_code == 302
                    )
        except AssertionError as error:
            if "before it accepted" not in str(error):
                raise
        assert not [r for r in application.received if r.path == "/private"]
        may_pass = {
            "Authenticate.running = broken",
            "Authenticate.client_connected = broken",
            "Gate._respond = broken",
        }
        assert sabotage in may_pass or not application.received


@pytest.mark.parametrize("sabotage", ["Gate.finish = broken", "Authenticate.responseheaders = broken"])
def test_of_an_answer_that_the_core_has_not_seen_nothing_passes(tmp_path: Path, sabotage: str) -> None:
    """S40, S61."""
    port = find_free_port()
    with teller() as application:
        config = write_config(tmp_path, port, application.url)
        script = saboteur(tmp_path, sabotage)
        with mitmdump(script, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
            answer = proxy.get("/public/secret")
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_gate_that_raises_while_a_body_streams_answers_500(tmp_path: Path) -> None:
    """S61."""
    port = find_free_port()
    with teller() as application:
        config = write_config(tmp_path, port, application.url)
        script = saboteur(tmp_path, "Gate.decide_again = broken")
        with mitmdump(script, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
            answer = httpx.post(
                proxy.url + "/public/", content=iter([b"a" * 10, b"b" * 10]), timeout=10.0, trust_env=False
            )
    assert answer.status_code == 500


def test_an_upstream_that_fails_is_503_even_when_reporting_is_broken(tmp_path: Path) -> None:
    port = find_free_port()
    config = write_config(tmp_path, port, "http://127.0.0.1:9")
    script = saboteur(tmp_path, "Gate.report = broken")
    with mitmdump(script, "http://127.0.0.1:9", tmp_path, f"doorward_config={config}", port=port) as proxy:
        answer = proxy.get("/public/")
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text


def test_a_script_that_can_not_be_imported_ends_mitmdump(tmp_path: Path) -> None:
    """S61."""
    script = saboteur(tmp_path, "import nothing_of_this_name")
    assert "nothing_of_this_name" in refusing_to_start(script, tmp_path)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("doorward_config=/nonexistent.yaml", "/nonexistent.yaml"),
        ("doorward_confg=x", "doorward_config: "),
    ],
)
def test_a_wrong_option_ends_mitmdump(tmp_path: Path, setting: str, said: str) -> None:
    """S61: no configuration, no gate, no proxy."""
    assert said in refusing_to_start(SCRIPT, tmp_path, setting)


def test_without_a_configuration_nothing_passes(tmp_path: Path) -> None:
    """S61."""
    with teller() as application:
        try:
            with mitmdump(SCRIPT, application.url, tmp_path) as proxy, pytest.raises(httpx.TransportError):
                proxy.get("/public/")
        except AssertionError as error:
            if "before it accepted" not in str(error):
                raise
        assert not application.received


def test_a_script_that_breaks_while_it_is_edited_leaves_everything_closed(tmp_path: Path) -> None:
    """S61: mitmproxy reloads a script that changes, and goes on without it when it can't."""
    port = find_free_port()
    with teller() as application:
        config = write_config(tmp_path, port, application.url)
        script = saboteur(tmp_path)
        with mitmdump(script, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
            kept = httpx.Client(base_url=proxy.url, trust_env=False)
            assert kept.get("/public/").status_code == 200
            script.write_text("this is no Python", encoding="utf-8")
            wait_until(lambda: "error in script" in proxy.log, "the script to be loaded again", seconds=20.0)
            count = len(application.received)
            for client in (kept, httpx.Client(base_url=proxy.url, trust_env=False)):
                with contextlib.closing(client):
                    try:
                        assert client.get("/public/").status_code == 500
                    except httpx.TransportError:
                        continue
            assert len(application.received) == count


def test_a_configuration_that_is_changed_into_a_broken_one_is_refused(tmp_path: Path) -> None:
    """S73: what held goes on holding."""
    port = find_free_port()
    with teller() as application:
        config = write_config(tmp_path, port, application.url)
        with mitmdump(SCRIPT, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
            assert proxy.get("/public/").status_code == 200
            assert proxy.get("/private").status_code == 401
            with socket.create_connection(("127.0.0.1", port)) as raw:
                raw.sendall(b"GARBAGE\r\n\r\n")
                assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


BAD_HEADS = (
    b"GARBAGE\r\n\r\n",
    b"GET /public/ HTTP/1.1\r\n\r\n",
    b"GET /public/ HTTP/1.1\r\nHost: a\r\nHost: %(host)b\r\n\r\n",
    b"GET /public/ HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n",
    b"GET http://elsewhere.test/public/ HTTP/1.1\r\nHost: %(host)b\r\n\r\n",
    b"CONNECT %(host)b HTTP/1.1\r\nHost: %(host)b\r\n\r\n",
    b"GET /public/..%%2f..%%2fprivate HTTP/1.1\r\nHost: %(host)b\r\n\r\n",
    b"GET /public/\x00 HTTP/1.1\r\nHost: %(host)b\r\n\r\n",
    b"GET /public/ HTTP/1.1\nHost: %(host)b\n\n",
    b"GET /public/ HTTP/1.1\r\nHost: %(host)b\r\nX: a\r\n b\r\n\r\n",
    (
        b"POST /public/ HTTP/1.1\r\nHost: %(host)b\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    b"POST /public/ HTTP/1.1\r\nHost: %(host)b\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
)


def test_what_is_no_request_is_answered_by_us_and_passed_on_to_nobody(tmp_path: Path) -> None:
    """S55: in a real mitmdump, each on a connection of its own."""
    port = find_free_port()
    with teller() as application:
        config = write_config(tmp_path, port, application.url)
        with mitmdump(SCRIPT, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
            for head in BAD_HEADS:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                    raw.sendall(head % {b"host": b"localhost:%d" % port})
                    raw.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(ConnectionResetError):
                        begun = raw.recv(12)
                        assert not begun or begun[9:10] in {b"4", b"5"}, head
            assert not application.received
            assert proxy.get("/public/").status_code == 200


def test_what_is_sent_again_is_passed_on_to_nobody(tmp_path: Path) -> None:
    """S61: mitmproxy replays a flow through a layer of its own, and its old verdict is none for that."""
    port = find_free_port()
    with teller() as application:
        config = write_config(tmp_path, port, application.url)
        script = saboteur(
            tmp_path,
            "import asyncio",
            "from mitmproxy import ctx",
            "class Again:",
            "    def response(self, flow):",
            "        if not flow.is_replay:",
            "            flow.request.stream, flow.request.content, flow.response.content = False, b'', b''",
            "            again = lambda: ctx.master.commands.call('replay.client', [flow])",
            "            asyncio.get_running_loop().call_later(0.1, again)",
        )
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace("[Authenticate()]", "[Authenticate(), Again()]"), encoding="utf-8")
        with mitmdump(script, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
            assert proxy.get("/public/x").status_code == 200
            assert proxy.get("/private").status_code == 401
            wait_until(lambda: proxy.log.count("Undecided: a second time") == 2, "two refusals")
            assert "Can't replay" not in proxy.log
            proxy.get("/public/y")
            wait_until(lambda: proxy.log.count("Undecided: a second time") == 3, "the third")
        assert [request.path for request in application.received] == ["/public/x", "/public/y"]
