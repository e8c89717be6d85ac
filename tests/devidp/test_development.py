"""The embedded provider stays on this machine and is never taken for a real one (S72)."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import time
from pathlib import Path

import pytest

from sidecar.config import load_text
from sidecar.core.decision import Flow, Respond
from sidecar.core.errors import ConfigurationError, InvalidCookie, InvalidToken
from sidecar.core.http import RequestHead, Response, header_values
from sidecar.core.runtime import Provider, Runtime
from sidecar.core.seal import KeyRing
from sidecar.core.secret import Secret
from sidecar.core.state import Surroundings
from sidecar.core.tokens import parse_jwks, parse_metadata, verify_id_token
from sidecar.devidp import (
    Client,
    DevIdentityProvider,
    DevProvider,
    Person,
    ProviderRequest,
    check_listen,
    in_development,
    serve,
)
from sidecar.supervisor.admin import QuietObserver
from tests.devidp.setup import CALLBACK, ISSUER, World, answer_of, authorization, document, encoded, hidden

SURROUNDINGS = Surroundings(clock=time.time, entropy=os.urandom)
BANNER = (b"Doorward-Development", b"embedded provider")


class Body:
    def __init__(self, content: bytes = b"") -> None:
        self.content = content

    async def read(self, max_bytes: int) -> bytes:
        assert len(self.content) <= max_bytes
        return self.content


def application(logout_uri: str | None = None) -> DevIdentityProvider:
    clients = [Client(client_id="spa", redirect_uris=(CALLBACK,), backchannel_logout_uri=logout_uri)]
    return DevIdentityProvider(
        issuer=ISSUER, clients=clients, surroundings=SURROUNDINGS, observer=QuietObserver(), development=True
    )


def head(
    target: bytes = b"/doorward-development/jwks",
    *,
    method: bytes = b"GET",
    host: bytes = b"localhost:9000",
    peer: str = "127.0.0.1",
) -> RequestHead:
    return RequestHead(method, target, [(b"Host", host)], peer, "request-1")


async def ask(app: DevIdentityProvider, request: RequestHead, body: bytes = b"") -> Respond:
    decision = app.decide(request)
    answer = await app.run(decision, Body(body)) if isinstance(decision, Flow) else decision
    assert isinstance(answer, Respond)
    return answer


async def sign_in_and_out(app: DevIdentityProvider) -> int:
    """Sign somebody in and out, and return the status of the last answer."""
    form = (b"Content-Type", b"application/x-www-form-urlencoded")
    jar: list[bytes] = []

    async def send(path: bytes, fields: dict[str, str] | None = None) -> Response:
        request = head(b"/doorward-development" + path, method=b"GET" if fields is None else b"POST")
        request.headers += [(b"Cookie", b"; ".join(jar)), form]
        answer = (await ask(app, request, encoded(fields or {}))).response
        for value in header_values(answer.headers, b"set-cookie"):
            jar[:] = [value.partition(b";")[0]]
        return answer

    page = await send(b"/authorize?" + encoded(authorization()))
    assert answer_of(await send(b"/choose", {**hidden(page), "person": "ada"}))["code"]
    confirm = await send(b"/end_session")
    done = await send(b"/end_session/confirm", hidden(confirm))
    await app.close()
    assert "Nobody is signed in here" in done.body.decode()
    return done.status


class TestStarting:
    def test_it_must_be_told_that_it_is_for_development(self) -> None:
        with pytest.raises(ConfigurationError, match="development mode only"):
            DevProvider(ISSUER, (), SURROUNDINGS)

    @pytest.mark.parametrize(
        "issuer",
        [
            "https://localhost:9000/doorward-development",
            "http://localhost/doorward-development",
            "http://localhost:9000",
            "http://localhost:9000/",
            "http://localhost:9000/doorward-development/",
            "http://id.example.com:9000/doorward-development",
            "http://localhost.example.com:9000/doorward-development",
            "http://10.0.0.1:9000/doorward-development",
            "http://0.0.0.0:9000/doorward-development",
        ],
    )
    def test_an_issuer_that_is_not_this_machine_starts_nothing(self, issuer: str) -> None:
        with pytest.raises(ConfigurationError, match="issuer"):
            DevProvider(issuer, (), SURROUNDINGS, development=True)

    @pytest.mark.parametrize(
        "issuer", ["http://127.0.0.1:1/doorward-development", "http://[::1]:1/doorward-development"]
    )
    def test_every_loopback_host_will_do(self, issuer: str) -> None:
        assert DevProvider(issuer, (), SURROUNDINGS, development=True).issuer == issuer

    @pytest.mark.parametrize("sub", ["", "a" * 256, "a\nb"])
    def test_a_person_needs_a_sub(self, sub: str) -> None:
        with pytest.raises(ConfigurationError, match="sub"):
            Person(sub=sub)


class TestListening:
    @pytest.mark.parametrize(
        "listen",
        [
            "0.0.0.0:9000",
            "[::]:9000",
            ":9000",
            "10.0.0.1:9000",
            "example.com:9000",
            "localhost.example.com:9000",
            "unix:/run/x.sock",
            "localhost",
            "127.0.0.1:",
            "",
        ],
    )
    def test_anything_but_loopback_is_refused_with_a_mend(self, listen: str) -> None:
        with pytest.raises(ConfigurationError, match=r"Use 127\.0\.0\.1:PORT") as refusal:
            check_listen(listen)
        assert f"listen on {listen}:" in str(refusal.value)

    @pytest.mark.parametrize("listen", ["127.0.0.1:9000", "127.8.8.8:0", "[::1]:9000", "localhost:9000"])
    def test_loopback_is_accepted(self, listen: str) -> None:
        check_listen(listen)

    def test_a_socket_that_is_open_to_the_network_is_refused(self) -> None:
        with socket.socket() as sock:
            sock.bind(("0.0.0.0", 0))
            with pytest.raises(ConfigurationError, match="can't listen"):
                asyncio.run(serve(application(), "127.0.0.1:0", sock=sock))


class TestAnswering:
    @pytest.mark.parametrize(
        "request_head",
        [
            head(peer="10.0.0.7"),
            head(peer="unix"),
            head(host=b"evil.example:9000"),
            head(host=b"localhost"),
            head(host=b"localhost:9001"),
            head(host=b"127.0.0.1:9000"),
            RequestHead(b"GET", b"/doorward-development/jwks", [], "127.0.0.1", "1"),
        ],
    )
    def test_nobody_but_this_machine_by_the_issuers_name_is_answered(self, request_head: RequestHead) -> None:
        """A page whose name was made to resolve to 127.0.0.1 can't use it either (DNS rebinding)."""
        answer = asyncio.run(ask(application(), request_head))
        assert answer.response.status == 403

    @pytest.mark.parametrize(
        "target",
        [b"/", b"/jwks", b"/doorward-development", b"/doorward-developmentx/jwks"],
    )
    def test_only_what_is_under_the_issuer_is_there(self, target: bytes) -> None:
        assert asyncio.run(ask(application(), head(target))).response.status == 404

    def test_every_answer_carries_the_banner(self) -> None:
        """Also refusals of the engine and of strangers."""
        app = application()
        answers = [asyncio.run(ask(app, head(t))) for t in (b"/doorward-development/jwks", b"/x")]
        answers.append(asyncio.run(ask(app, head(peer="10.0.0.7"))))
        answers.append(app.refuse("invalid_request", 400, "1", None))
        for answer in answers:
            assert app.render(answer.response, "1").headers.count(BANNER) == 1

    def test_a_post_is_read_and_answered(self) -> None:
        app = application()

        async def drive() -> bytes:
            query = b"/doorward-development/authorize?" + encoded(authorization())
            page = (await ask(app, head(query))).response
            [cookie] = header_values(page.headers, b"set-cookie")
            post = head(b"/doorward-development/choose", method=b"POST")
            post.headers.append((b"Cookie", cookie.partition(b";")[0]))
            post.headers.append((b"Content-Type", b"application/x-www-form-urlencoded"))
            answer = (await ask(app, post, encoded({**hidden(page), "person": "ada"}))).response
            await app.close()
            return answer_of(answer)["code"].encode()

        assert asyncio.run(drive())

    def test_a_client_gets_its_logout_token_by_post(self) -> None:
        """OIDC Back-Channel Logout §2.5."""
        received: list[bytes] = []

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sent = await reader.readuntil(b"\r\n\r\n")
            length = int(sent.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            received.append(sent + await reader.readexactly(length))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            writer.close()

        async def run() -> int:
            server = await asyncio.start_server(take, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            status = await sign_in_and_out(application(f"http://127.0.0.1:{port}/logout"))
            server.close()
            return status

        assert asyncio.run(run()) == 200
        [request] = received
        assert request.startswith(b"POST /logout HTTP/1.1\r\n")
        assert request.partition(b"\r\n\r\n")[2].startswith(b"logout_token=ey")

    def test_a_client_that_does_not_take_its_logout_token_keeps_nobody_signed_in(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        assert asyncio.run(sign_in_and_out(application(f"http://127.0.0.1:{port}/logout"))) == 200

    def test_a_defect_is_told_and_refuses(self) -> None:
        """Fail closed."""
        app = application()
        app.provider.handle = None  # type: ignore[assignment,method-assign]
        assert asyncio.run(ask(app, head())).response.status == 500


class TestNeverTheRealThing:
    def test_its_tokens_open_nothing_in_normal_mode(self) -> None:
        """The provider's own tokens and keys, fed to the checks of a normal relying party."""
        world = World()
        token = world.tokens()["id_token"]
        metadata = world.request("GET", "/.well-known/openid-configuration").response.body
        keys = parse_jwks(world.request("GET", "/jwks").response.body)

        def party(*, is_development: bool) -> Provider:
            return Provider(
                key="a",
                type="oidc",
                display_name="a",
                issuer=ISSUER,
                client_id="spa",
                redirect_path="/oauth2/callback",
                is_development=is_development,
            )

        accepted = parse_metadata(metadata, party(is_development=True))
        now = world.clock.now
        ours = party(is_development=True)
        assert verify_id_token(token, ours, accepted, keys, nonce="n-1", now=now)["sub"] == "ada"
        with pytest.raises(InvalidToken, match="development_token"):
            verify_id_token(token, party(is_development=False), accepted, keys, nonce="n-1", now=now)

    def test_two_processes_never_share_a_key(self) -> None:
        first, second = (DevProvider(ISSUER, (), SURROUNDINGS, development=True) for _ in range(2))
        jwks = ProviderRequest(method="GET", path="/jwks")
        keys = [document(provider.handle(jwks).response)["keys"][0] for provider in (first, second)]
        assert keys[0]["x"] != keys[1]["x"]
        assert keys[0]["kid"] != keys[1]["kid"]


class TestMode:
    CONFIG = """
listen: {listen}
public_url: {public_url}
upstream: http://127.0.0.1:2
provider: {{type: oidc, issuer: "{issuer}", client_id: spa}}
session: {{keys: [{{env: KEY}}]}}
access: [{{allow: authenticated}}]
"""

    def runtime(self, listen: str = "127.0.0.1:1", public_url: str = "http://localhost:1") -> Runtime:
        text = self.CONFIG.format(listen=listen, public_url=public_url, issuer=ISSUER)
        key = base64.b64encode(os.urandom(32)).decode()
        return load_text(text, Path("doorward.yaml"), {"KEY": key})

    def test_a_configuration_alone_never_makes_development_mode(self) -> None:
        """An embedded provider's issuer in a file is refused as soon as it is asked for its metadata."""
        [site] = self.runtime().sites
        assert not any(party.is_development for party in site.providers.values())
        assert site.dev_banner is None

    def test_development_mode_marks_answers_and_accepts_the_embedded_provider(self) -> None:
        [site] = in_development(self.runtime(), os.urandom).sites
        assert all(party.is_development for party in site.providers.values())
        assert site.dev_banner == "development mode"

    def test_neither_mode_opens_the_others_cookies(self) -> None:
        """Not even when somebody gives both the same key."""
        keys = [Secret(b"k" * 32)]
        live, dev = KeyRing.from_secrets(keys), KeyRing.from_secrets(keys, mode="dev")
        for seals, opens in ((live, dev), (dev, live)):
            token = seals.seal(b"x", purpose="session", name=b"s", site="a", entropy=os.urandom)
            with pytest.raises(InvalidCookie):
                opens.open(token, purpose="session", name=b"s", site="a")

    def test_the_configured_key_is_not_used(self) -> None:
        normal = self.runtime()
        [before], [after] = normal.sites, in_development(normal, os.urandom).sites
        token = before.session.keys.seal(b"x", purpose="session", name=b"s", site="a", entropy=os.urandom)
        with pytest.raises(InvalidCookie):
            after.session.keys.open(token, purpose="session", name=b"s", site="a")

    def test_it_is_refused_beyond_loopback(self) -> None:
        with pytest.raises(ConfigurationError, match="can't listen"):
            in_development(self.runtime(listen="0.0.0.0:1"), os.urandom)
        with pytest.raises(ConfigurationError, match="public_url"):
            in_development(self.runtime(public_url="https://app.example.com"), os.urandom)
