"""A person at Chromium before the interception engine: a server by HTTP/2, and a proxy with our authority."""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from tests.blackbox.certificates import Certificate, make_certificate
from tests.blackbox.chromium import new_person, received_by_application
from tests.blackbox.doorward import Doorward
from tests.blackbox.interop import certified_provider, provider_settings
from tests.blackbox.upstream import Application
from tests.interop.provider import InteropProvider
from tests.parts import require_part
from tests.processes import find_free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, CDPSession, Page

pytestmark = pytest.mark.slow

PORT = find_free_port()
SERVED = f"https://localhost:{PORT}"
# What a proxy gates has the name and the port that people know.
PROXIED = "https://app.test"
AUTHORITY = "authority/mitmproxy-ca-cert.pem"
PAYLOAD = bytes(range(256)) * 4096
ECHO = (
    "new Promise(done => { const s = new WebSocket('/ws/echo'); s.onerror = () => done('refused');"
    " s.onopen = () => s.send('hello'); s.onmessage = m => { done(m.data); s.close(); } })"
)
PROTOCOL = "performance.getEntriesByType('navigation')[0].nextHopProtocol"


@pytest.fixture(scope="module")
def certificate(folder: Path) -> Certificate:
    return make_certificate(folder)


@pytest.fixture(scope="module")
def provider(folder: Path) -> Iterator[InteropProvider]:
    with certified_provider(folder, [SERVED, PROXIED]) as running:
        yield running


@contextlib.contextmanager
def intercepting(
    folder: Path, provider: InteropProvider, application: Application, **settings: Any
) -> Iterator[Doorward]:
    """Run Doorward on mitmproxy."""
    with Doorward(
        folder,
        provider=provider_settings(provider, "confidential"),
        upstreams=application.upstreams,
        engine="interception",
        authority_folder=str(folder / "authority"),
        workers=1,
        **settings,
    ) as running:
        yield running


def sign_in(page: Page, name: str, origin: str) -> None:
    """Fill in the certified provider's form; return when the browser is back."""
    page.fill("input[name=login]", name)
    page.click("button")
    page.wait_for_url(lambda url: url.startswith(origin))


def sign_out(page: Page, origin: str) -> None:
    """Sign out here and at the provider."""
    page.goto(origin + "/oauth2/sign_out")
    page.click("main button")
    page.click("button[value=yes]")
    page.wait_for_url(origin + "/oauth2/sign_out/return**")


@pytest.fixture(scope="module")
def server(
    provider: InteropProvider, application: Application, folder: Path, certificate: Certificate
) -> Iterator[Doorward]:
    with intercepting(
        folder,
        provider,
        application,
        port=PORT,
        scheme="https",
        mode="reverse",
        tls=certificate.settings,
        trust=certificate.trust,
    ) as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Doorward) -> Iterator[Page]:
    with new_person(browser, server, ignore_https_errors=True) as person:
        yield person.new_page()


class TestReverse:
    """`mode: reverse` with `tls`: clients take us for the server."""

    def test_a_person_signs_in_by_http2_and_comes_back_with_the_query(self, page: Page) -> None:
        """A1: the exact URL, and the application sees who it is."""
        url = SERVED + "/page/reports?year=2026&q=a%2Fb"
        page.goto(url)
        sign_in(page, "ann", SERVED)

        assert page.url == url
        assert page.evaluate(PROTOCOL) == "h2"
        received = received_by_application(page)
        assert received["target"] == "/page/reports?year=2026&q=a%2Fb"
        assert received["fields"]["x-forwarded-user"] == "ann"
        assert received["fields"]["x-forwarded-proto"] == "https"
        assert "cookie" not in received["fields"]

    def test_a_script_and_a_websocket_pass_with_the_session_alone(self, page: Page) -> None:
        """S37, S38, D4: a fetch gets a 401 that it can read, a WebSocket is refused at its handshake."""
        page.goto(SERVED + "/page/x")
        sign_in(page, "ann", SERVED)
        fetched = (
            "fetch('/api/items', {method: 'POST', body: '{}'}).then(async r => [r.status, await r.json()])"
        )
        status, told = page.evaluate(fetched)
        assert (status, told["method"], told["body_length"]) == (200, "POST", 2)
        assert page.evaluate(ECHO) == "hello"

        page.context.clear_cookies(domain="localhost")

        status, told = page.evaluate(fetched)
        assert (status, told["error"]) == (401, "login_required")
        assert page.evaluate(ECHO) == "refused"

    def test_signing_out_ends_the_session_here_and_at_the_provider(self, page: Page) -> None:
        """A10."""
        page.goto(SERVED + "/page/x")
        sign_in(page, "ann", SERVED)
        sign_out(page, SERVED)
        assert page.title().startswith("Signed out")

        page.goto(SERVED + "/page/x")
        assert page.title() == "Sign in"


class Elsewhere(ThreadingHTTPServer):
    """A host of somebody else's, by https. `seen` are all fields that it was sent."""

    daemon_threads = True

    def __init__(self, certificate: Certificate) -> None:
        self.seen: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"https://localhost:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: browsers open connections that they don't use."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Elsewhere)
        self.server.seen.extend((name.lower(), value) for name, value in self.headers.items())
        body = PAYLOAD if self.path == "/payload" else b"somebody else"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def proxy(provider: InteropProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with intercepting(folder, provider, application, public_url=PROXIED, mode="regular") as running:
        yield running


@pytest.fixture(scope="module")
def elsewhere(certificate: Certificate) -> Iterator[Elsewhere]:
    server = Elsewhere(certificate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def proxied(browser: Browser, proxy: Doorward, certificate: Certificate, folder: Path) -> Iterator[Browser]:
    """Start a Chromium whose person has trusted our authority, in the certificates of their home."""
    home = folder / "home"
    trusting(home, {"Doorward": folder / AUTHORITY, "elsewhere": certificate.certificate})
    arguments = [
        f"--proxy-server=127.0.0.1:{proxy.port}",
        # Chromium leaves proxies out for loopback unless it is told otherwise.
        "--proxy-bypass-list=<-loopback>",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]
    own = browser.browser_type.launch(
        executable_path=str(require_part("chromium")),
        args=arguments,
        env={**os.environ, "HOME": str(home)},
    )
    yield own
    own.close()


@pytest.fixture
def person(proxied: Browser, proxy: Doorward) -> Iterator[BrowserContext]:
    with new_person(proxied, proxy) as context:
        yield context
        proxy.note_secrets(cookie["value"] for cookie in context.cookies(PROXIED))


class TestRegular:
    """`mode: regular`: Chromium is told of the proxy, and trusts the authority of this installation."""

    def test_a_person_signs_in_at_a_host_that_the_proxy_gates(
        self, person: BrowserContext, folder: Path
    ) -> None:
        """The name that nobody resolves leads to the upstream; our authority vouches for it."""
        page = person.new_page()
        url = PROXIED + "/page/reports?year=2026&q=a%2Fb"
        seen = watched(page)
        page.goto(url)
        assert page.title() == "Sign in"
        sign_in(page, "ann", PROXIED)

        assert page.url == url
        assert page.evaluate(PROTOCOL) == "h2"
        assert received_by_application(page)["fields"]["x-forwarded-user"] == "ann"
        assert page.evaluate(ECHO) == "hello"
        authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        certificate_of(seen, PROXIED).verify_directly_issued_by(authority)

        sign_out(page, PROXIED)
        page.goto(PROXIED + "/page/x")
        assert page.title() == "Sign in"

    def test_another_host_is_tunnelled_with_its_own_certificate_and_bytes(
        self, person: BrowserContext, elsewhere: Elsewhere, certificate: Certificate, proxy: Doorward
    ) -> None:
        page = person.new_page()
        seen = watched(page)
        page.goto(elsewhere.url + "/any")
        assert page.inner_text("body") == "somebody else"
        digest = page.evaluate(
            "fetch('/payload', {headers: {'X-Forwarded-User': 'mine'}}).then(r => r.arrayBuffer())"
            ".then(b => crypto.subtle.digest('SHA-256', b))"
            ".then(d => Array.from(new Uint8Array(d), n => n.toString(16).padStart(2, '0')).join(''))"
        )

        assert digest == hashlib.sha256(PAYLOAD).hexdigest()
        own = x509.load_pem_x509_certificate(certificate.certificate.read_bytes())
        assert certificate_of(seen, elsewhere.url) == own
        assert ("x-forwarded-user", "mine") in elsewhere.seen
        assert "/any" not in proxy.log


def trusting(home: Path, authorities: dict[str, Path]) -> None:
    """Make the certificate store of a person's home, as `certutil` does for anybody."""
    certutil = require_part("certutil")
    store = home / ".pki/nssdb"
    store.mkdir(parents=True)
    where = ["-d", f"sql:{store}"]
    commands = [["-N", "--empty-password"]]
    commands += [["-A", "-n", name, "-t", "C,,", "-i", str(file)] for name, file in authorities.items()]
    for words in commands:
        subprocess.run([str(certutil), *where, *words], check=True, timeout=20, capture_output=True)


def watched(page: Page) -> CDPSession:
    """Have Chromium keep the certificates of a page's connections from now on."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    return session


def certificate_of(session: CDPSession, origin: str) -> x509.Certificate:
    """Return the certificate that Chromium was shown there."""
    chain = session.send("Network.getCertificate", {"origin": origin})["tableNames"]
    return x509.load_der_x509_certificate(b64decode(chain[0]))
