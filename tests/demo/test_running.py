"""The demo as a whole: real sockets, one loop, driven as a browser would."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sidecar.core.errors import ConfigurationError
from sidecar.core.state import Surroundings
from sidecar.demo import Demo
from sidecar.demo.configuration import DemoPorts, build_runtime, build_text
from sidecar.demo.narrator import Narrator
from tests.processes import find_free_port

SURROUNDINGS = Surroundings(clock=time.time, entropy=os.urandom)
BROWSER = {
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "none",
}
COMMAND = (sys.executable, "-m", "sidecar", "demo")


class Browser:
    """Enough of a browser: cookies, redirects, forms."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.AsyncClient(headers=BROWSER, follow_redirects=True, timeout=5)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(self.url + path, headers=headers)

    async def send_form(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Send the first form of a page."""
        form = re.search(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', page.text, re.DOTALL)
        assert form is not None
        found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form[2])
        data = {name: unescape(value) for name, value in found} | fields
        target = urljoin(str(page.url), unescape(form[1]))
        return await self.client.post(
            target, data=data, headers={"Origin": "null", "Sec-Fetch-Site": "same-origin"}
        )

    async def sign_in(self, person: str) -> httpx.Response:
        return await self.send_form(await self.get("/"), person=person)

    async def sign_out(self) -> httpx.Response:
        return await self.send_form(await self.get("/oauth2/sign_out"))

    def cookies(self) -> str:
        return "; ".join(
            f"{cookie.name}={cookie.value}" for cookie in self.client.cookies.jar if cookie.path == "/"
        )


async def receive_all(tunnel: ClientConnection) -> None:
    while True:
        await tunnel.recv()


def drive(script: Callable[[Browser, list[str]], Awaitable[None]]) -> None:
    """Run `script` against a demo; nothing may have gone wrong inside."""

    async def run() -> None:
        story: list[str] = []
        demo = Demo(Narrator(story.append, time.time), SURROUNDINGS)
        async with asyncio.timeout(30), demo.serving(0):
            browser = Browser(demo.url)
            try:
                await script(browser, story)
            finally:
                await browser.client.aclose()
        assert not [line for line in story if "defect" in line]

    asyncio.run(run())


def test_three_people_have_different_rights() -> None:
    async def script(browser: Browser, story: list[str]) -> None:
        for person, reports, admin in (("ada", 200, 200), ("ben", 200, 403), ("cleo", 403, 403)):
            hall = await browser.sign_in(person)
            assert hall.status_code == 200
            assert str(hall.url) == browser.url + "/"
            assert (await browser.get("/reports/")).status_code == reports
            assert (await browser.get("/admin/")).status_code == admin
            assert (await browser.get("/public/")).status_code == 200
            assert "You are signed out" in (await browser.sign_out()).text
        assert any("refused: not for this person" in line and "cleo" in line for line in story)

    drive(script)


def test_the_application_sees_whom_the_provider_vouches_for_and_no_lie() -> None:
    """A14: what a client sends under the same names never arrives."""

    async def script(browser: Browser, story: list[str]) -> None:
        await browser.sign_in("cleo")
        lies = {"X-Forwarded-User": "root", "X-Forwarded-Groups": "admins", "X_Forwarded_User": "root"}
        answer = (await browser.get("/api/me", **lies)).json()
        assert answer["you"]["user"] == "cleo"
        assert answer["you"]["name"] == "Cléo Marchand"
        assert answer["you"]["groups"] == ["guests"]
        hall = (await browser.get("/")).text
        assert "doorward" not in hall.partition("<tbody>")[2].partition("</tbody>")[0].lower()
        del story

    drive(script)


def test_a_stranger_sees_the_public_room_only() -> None:
    async def script(browser: Browser, story: list[str]) -> None:
        assert (await browser.get("/public/")).status_code == 200
        page = await browser.get("/admin/")
        assert "Who do you want to be?" in page.text
        fetch = await browser.client.get(browser.url + "/api/me", headers={"Sec-Fetch-Mode": "cors"})
        assert fetch.status_code == 401
        assert fetch.json()["error"] == "login_required"
        with pytest.raises(InvalidStatus):
            await connect(browser.url.replace("http", "ws") + "/live", proxy=None)
        del story

    drive(script)


def test_every_answer_of_the_gate_says_that_this_is_development() -> None:
    """S72."""

    async def script(browser: Browser, story: list[str]) -> None:
        await browser.sign_in("ada")
        for path in ("/", "/admin/", "/nothing", "/oauth2/userinfo", "/oauth2/none", "/public/"):
            answer = await browser.get(path)
            assert answer.headers["Doorward-Development"] == "development mode"
        del story

    drive(script)


def test_signing_out_ends_the_websocket_and_every_copy_of_the_cookie() -> None:
    """S36, S54."""

    async def script(browser: Browser, story: list[str]) -> None:
        await browser.sign_in("ada")
        copy = browser.cookies()
        headers = {"Cookie": copy, "Origin": browser.url}
        live = browser.url.replace("http", "ws") + "/live"
        async with connect(live, additional_headers=headers, proxy=None) as tunnel:
            assert "Ada Lovelace is connected" in str(await asyncio.wait_for(tunnel.recv(), 5))
            await browser.sign_out()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(receive_all(tunnel), 10)
        again = await browser.client.get(
            browser.url + "/api/me", headers={"Cookie": copy, "Sec-Fetch-Mode": "cors"}
        )
        assert again.status_code == 401
        del story

    drive(script)


def test_signing_out_signs_out_at_the_provider_too() -> None:
    async def script(browser: Browser, story: list[str]) -> None:
        await browser.sign_in("ada")
        done = await browser.sign_out()
        assert str(done.url).startswith(browser.url + "/oauth2/sign_out/return")
        assert "Who do you want to be?" in (await browser.get("/")).text
        del story

    drive(script)


def test_the_ticker_answers_nothing_but_a_handshake() -> None:
    async def script(browser: Browser, story: list[str]) -> None:
        await browser.sign_in("ada")
        assert (await browser.get("/live")).status_code == 426
        live = browser.url.replace("http", "ws") + "/live"
        headers = {"Cookie": browser.cookies(), "Origin": browser.url}
        async with connect(live, additional_headers=headers, proxy=None) as tunnel:
            await tunnel.recv()
        assert tunnel.close_code == 1000
        del story

    drive(script)


class TestConfiguration:
    PORTS = DemoPorts(gate=8080, provider=9001, application=9002, ticker=9003)

    def test_it_is_a_text_like_anybodys_without_a_secret_in_it(self) -> None:
        """S74."""
        document = yaml.safe_load(build_text(self.PORTS))
        assert document["provider"]["client_secret"] == {"env": "DEMO_CLIENT_SECRET"}
        assert document["session"]["keys"] == [{"env": "DEMO_SESSION_KEY"}]

    def test_two_demos_never_share_a_session_key(self) -> None:
        """S72."""
        rings = [build_runtime(self.PORTS, "s", os.urandom).sites[0].session.keys for _ in range(2)]
        token = rings[0].seal(b"x", purpose="session", name=b"s", site="a", entropy=os.urandom)
        assert rings[0].open(token, purpose="session", name=b"s", site="a") == b"x"
        with pytest.raises(Exception, match="sealed_invalid"):
            rings[1].open(token, purpose="session", name=b"s", site="a")


def test_a_port_in_use_is_told_with_a_mend_before_anything_starts() -> None:
    async def run(port: int) -> None:
        async with Demo(Narrator(lambda _: None, time.time), SURROUNDINGS).serving(port):
            pytest.fail("it must not start")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*--port {port + 1}"):
            asyncio.run(run(port))


class TestCommand:
    """`doorward demo` as a process."""

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )

    @pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
    def test_it_says_where_it_is_and_ends_cleanly(self, signal_name: str) -> None:
        import signal

        async def run() -> tuple[str, bytes, bytes, int | None]:
            process = await self.start("--port", str(find_free_port()))
            assert process.stdout is not None
            first = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
            found = re.search(r"http://localhost:\d+", first)
            assert found is not None
            async with httpx.AsyncClient() as client:
                assert (await client.get(found[0] + "/public/")).status_code == 200
            process.send_signal(getattr(signal, signal_name))
            out, err = await asyncio.wait_for(process.communicate(), 20)
            return first, out, err, process.returncode

        first, out, err, code = asyncio.run(run())
        assert "Doorward is open at http://localhost:" in first
        for name in ("Ada Lovelace", "Ben Okafor", "Marchand", "/admin/"):
            assert name in out.decode()
        assert "let in: open to anyone" in out.decode()
        assert (err, code) == (b"", 0)

    def test_a_port_in_use_is_one_line_and_exit_code_1(self) -> None:
        async def run(port: int) -> tuple[bytes, bytes, int | None]:
            process = await self.start("--port", str(port))
            out, err = await asyncio.wait_for(process.communicate(), 20)
            return out, err, process.returncode

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            out, err, code = asyncio.run(run(taken.getsockname()[1]))
        assert (out, code) == (b"", 1)
        assert err.count(b"\n") == 1
        assert b"--port" in err

    def test_a_reader_who_has_enough_ends_nothing(self) -> None:
        """`doorward demo | head -1` goes on serving, and complains of nothing at its end."""

        async def run() -> tuple[bytes, int | None]:
            process = await self.start("--port", str(find_free_port()))
            assert process.stdout is not None
            found = re.search(rb"http://localhost:\d+", await asyncio.wait_for(process.stdout.readline(), 20))
            assert found is not None
            transport = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]
            transport.close()
            async with httpx.AsyncClient() as client:
                for _ in range(3):
                    assert (await client.get(found[0].decode() + "/public/")).status_code == 200
            process.terminate()
            assert process.stderr is not None
            return await asyncio.wait_for(process.stderr.read(), 20), await asyncio.wait_for(
                process.wait(), 20
            )

        assert asyncio.run(run()) == (b"", 0)
