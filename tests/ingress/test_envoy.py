"""Envoy's ext_authz with config/ingress/envoy-http.yaml and envoy-grpc.yaml."""

from __future__ import annotations

import atexit
import contextlib
import http.client
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import yaml
from websockets.exceptions import InvalidStatus

from tests.blackbox.refreshing import sign_in_with_due_refresh
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.waiting import wait_until
from tests.blackbox.websocket import open_websocket
from tests.engines.test_tls import Authority
from tests.ingress.harness import HOST, IDENTITY, Ingress, World, folded
from tests.ingress.promises import FORGED, SIXTY, IngressPromises, OtherFieldsPromises
from tests.parts import require_part
from tests.processes import running, wait_for_port

grpc: Any = pytest.importorskip("grpc")
external_auth_pb2: Any = pytest.importorskip("envoy.service.auth.v3.external_auth_pb2")

SECRET = "envoy-and-doorward-know-this"
GRPC = {"callers": ["127.0.0.1"], "grpc": "127.0.0.1:4181"}
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# What an Envoy that makes no path plain could be sent; each leads out of the path that it asks at.
_OUTWARD = (
    "/../sign_in",
    "/../../sign_in",
    "/..%2fuserinfo",
    "/%2e%2e/jwks",
    "/..;/sign_in",
    "/../../../public/x",
)


class Envoy(Ingress):
    """Envoy from PyPI, asking by HTTP."""

    name = "envoy"
    part = "envoy"
    # An empty segment is what the dots take away, as RFC 3986 §5.2.4 has it.
    resolves: ClassVar[Mapping[str, str]] = {"/public//../admin/x": "/public/admin/x"}
    file: ClassVar[str] = "envoy-http.yaml"

    def text(self, world: World) -> str:
        """Return the configuration."""
        return world.config(self.file)

    @contextlib.contextmanager
    def start(self, world: World) -> Iterator[None]:
        """Run Envoy; a word of warning from it fails the tests."""
        config = world.folder / self.file
        config.write_text(self.text(world), encoding="utf-8")
        log = world.folder / "envoy.log"
        command: list[str | Path] = [
            require_part("envoy"),
            "-c",
            config,
            "--concurrency",
            "1",
            "--disable-hot-restart",
        ]
        with running([*command, "-l", "warning"], log=log) as process:
            wait_for_port(world.port, process)
            yield
            assert log.read_text("utf-8") == ""


class EnvoyGrpc(Envoy):
    """The same, asking by gRPC."""

    file = "envoy-grpc.yaml"
    settings: ClassVar[Mapping[str, Any]] = {"forward_auth": GRPC}


class _EnvoyPromises(IngressPromises):
    """What both forms promise beside what every ingress does."""

    @pytest.mark.parametrize("sign", list("_.~!+|^$%&#'*`"))
    def test_no_sign_makes_a_name_that_some_server_takes_for_ours(self, world: World, sign: str) -> None:
        """S41, S42: Envoy's own default lets all of them pass."""
        person = world.signed_in()
        told = ("X-Forwarded-Host", "X-Original-URI", "X-HTTP-Method-Override")
        forged = {name.replace("-", sign): FORGED for name in (*IDENTITY, *told)}

        assert world.raw("/mine", person=person, headers=forged).status == 200

        received = world.application.last("/mine")
        assert [folded(received, name) for name in IDENTITY] == [["ann"], ["ann@example.com"], ["staff"]]
        assert FORGED not in {value for _, value in received.headers}

    def test_a_handshake_names_none_of_our_fields_to_the_next_hop(self, world: World) -> None:
        """S45: Envoy sends the Connection field of an upgrade on as it came."""
        person = world.signed_in()
        handshake = {
            "Connection": f"Upgrade, {', '.join(IDENTITY)}",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": _KEY,
            "Origin": world.url,
        }

        assert world.raw("/mine", person=person, headers=handshake).status == 200  # no socket at that path

        received = world.application.last("/mine")
        assert [value.lower() for value in received.values("Connection")] == ["upgrade"]
        assert received.values("X-Auth-Request-User") == ["ann"]

    def test_a_denial_brings_page_and_renewed_cookies(self, world: World) -> None:
        """Several Set-Cookie fields on an answer that is no yes."""
        world.provider.claims["groups"] = SIXTY
        person = sign_in_with_due_refresh(world.agent(), world.url + "/x", world.provider)
        before = {cookie.value for cookie in world.session_cookies(person)}

        denied = person.open(world.url + "/admin/x")

        assert denied.status == 403
        assert denied.headers["content-type"].startswith("text/html")
        assert "content-security-policy" in denied.headers
        after = {cookie.value for cookie in world.session_cookies(person)}
        assert len(after) == len(before) > 1
        assert not after & before

    def test_http2_is_asked_about_as_http1(self, world: World) -> None:
        """RFC 9113 §8.2.3: cookies may come in several fields."""
        person = world.signed_in(groups=SIXTY)
        cookies = [("cookie", crumb) for crumb in person.cookie_header(world.url).split("; ")]
        assert len(cookies) > 1
        headers = [("host", f"{HOST}:{world.port}"), *cookies]
        with httpx.Client(http1=False, http2=True, trust_env=False) as client:
            told = client.get(f"http://127.0.0.1:{world.port}/two", headers=headers)
            stranger = client.get(f"http://127.0.0.1:{world.port}/two", headers=headers[:1])

        assert (told.http_version, told.status_code, stranger.status_code) == ("HTTP/2", 200, 401)
        assert world.application.last("/two").values("X-Auth-Request-User") == ["ann"]

    def test_a_host_that_is_none_of_ours_is_refused(self, world: World) -> None:
        """S49."""
        person = world.signed_in()
        world.application.forget()

        for host in ("evil.example", f"evil@{HOST}", f"{HOST},evil.example"):
            assert world.raw("/x", person=person, headers={"Host": host}).status in {400, 403, 404}
        assert world.application.received == []


@pytest.mark.slow
class TestEnvoyHttp(_EnvoyPromises):
    """config/ingress/envoy-http.yaml as it is."""

    ingress: ClassVar[Ingress] = Envoy()

    @pytest.mark.parametrize("path", _OUTWARD)
    def test_no_path_leads_out_of_the_one_that_is_asked_at(self, world: World, path: str) -> None:
        """S60: a page of ours, which has status 200 for anybody, would be a yes."""
        asked = {
            "Host": f"{HOST}:{world.port}",
            "X-Forwarded-For": "192.0.2.1",
            "X-Forwarded-Proto": "http",
        }

        connection = http.client.HTTPConnection("127.0.0.1", world.doorward.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"/oauth2/auth/envoy{path}", headers=asked)

            assert connection.getresponse().status in {400, 401, 403}


@pytest.mark.slow
class TestEnvoyGrpc(_EnvoyPromises):
    """config/ingress/envoy-grpc.yaml as it is."""

    ingress: ClassVar[Ingress] = EnvoyGrpc()

    @pytest.mark.parametrize("path", _OUTWARD)
    def test_no_path_leads_out_of_the_one_that_is_asked_at(self, world: World, path: str) -> None:
        """S60."""
        told = _ask(world, path, {})

        assert told.status.code != 0
        assert told.denied_response.status.code in {400, 401, 403}

    def test_a_yes_tells_every_name_that_the_site_may_send(self, world: World) -> None:
        """S44."""
        person = world.signed_in()

        told = _ask(world, "/x", {"cookie": person.cookie_header(world.url)})

        assert told.status.code == 0
        assert {option.header.key for option in told.ok_response.headers} >= set(IDENTITY)


def _ask(world: World, path: str, fields: Mapping[str, str], **options: Any) -> Any:
    """Ask Doorward as an Envoy would that makes no path plain."""
    request = external_auth_pb2.CheckRequest()
    about = request.attributes.request.http
    about.method, about.path, about.host, about.scheme = "GET", path, f"{HOST}:{world.port}", "http"
    for name, value in {"x-forwarded-for": "192.0.2.1", **fields}.items():
        about.header_map.headers.add(key=name.lower(), raw_value=value.encode())
    with grpc.insecure_channel(f"127.0.0.1:{world.grpc_port}") as channel:
        ask = channel.unary_unary(
            "/envoy.service.auth.v3.Authorization/Check",
            request_serializer=external_auth_pb2.CheckRequest.SerializeToString,
            response_deserializer=external_auth_pb2.CheckResponse.FromString,
        )
        return ask(request, timeout=10, **options)


class _WithSecret(Envoy):
    settings: ClassVar[Mapping[str, Any]] = {
        "forward_auth": {"callers": ["127.0.0.1"], "secret": SECRET},
        "headers": "authorization-username-email",
    }
    replaced: ClassVar[Mapping[str, str]] = {
        "# authorization_request: ": "authorization_request: ",
        'value: "..."': f'value: "{SECRET}"',
        "- prefix: x-auth-request-\n": (
            "- exact: authorization\n"
            "                              - exact: username\n"
            "                              - exact: email\n"
        ),
    }

    def text(self, world: World) -> str:
        return world.config(self.file, **self.replaced)


class _WithSecretGrpc(_WithSecret):
    file = "envoy-grpc.yaml"
    settings: ClassVar[Mapping[str, Any]] = {
        **_WithSecret.settings,
        "forward_auth": {**GRPC, "secret": SECRET},
        # Each has the port: connections are spread by the kernel.
        "workers": 2,
    }
    replaced: ClassVar[Mapping[str, str]] = {
        "# initial_metadata: ": "initial_metadata: ",
        'value: "..."': f'value: "{SECRET}"',
    }


class _LikeEnvoyGateway(EnvoyGrpc):
    """What Envoy Gateway 1.9 makes of config/ingress/envoy-gateway.yaml, as far as it is told Doorward."""

    settings: ClassVar[Mapping[str, Any]] = {"forward_auth": {"grpc": GRPC["grpc"], "secret": SECRET}}
    replaced: ClassVar[Mapping[str, str]] = {
        "encode_raw_headers: true": "encode_raw_headers: false",
        "route: {cluster: application, timeout: 0s}": (
            "route: {cluster: application, timeout: 0s}\n"
            "                          typed_per_filter_config:\n"
            "                            envoy.filters.http.ext_authz:\n"
            '                              "@type": type.googleapis.com/'
            "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n"
            "                              check_settings: {context_extensions: "
            f"{{x-doorward-secret: {SECRET}}}}}"
        ),
    }

    def text(self, world: World) -> str:
        return world.config(self.file, **self.replaced)


@pytest.mark.slow
class TestAsEnvoyGateway:
    """Fields joined by Envoy, and the secret as a context extension."""

    ingress: ClassVar[Ingress] = _LikeEnvoyGateway()

    @pytest.fixture(autouse=True)
    def _fresh(self, world: World, script: ScriptedProvider) -> None:
        world.application.forget()

    def test_somebody_with_sixty_groups_comes_through(self, world: World) -> None:
        person = world.signed_in(groups=SIXTY)

        assert world.raw("/x", person=person).status == 200
        assert world.application.last("/x").values("X-Auth-Request-Groups") == [",".join(SIXTY)]

    def test_a_socket_of_another_origin_is_refused(self, world: World) -> None:
        """S39."""
        cookie = world.signed_in().cookie_header(world.url)
        with open_websocket(world.url + "/ws/echo", cookie=cookie) as socket:
            socket.send("hello")
            assert socket.recv(timeout=10) == "hello"

        with pytest.raises(InvalidStatus):
            open_websocket(world.url + "/ws/echo", cookie=cookie, origin="http://evil.localhost").close()

    def test_only_who_knows_the_secret_may_ask(self, world: World) -> None:
        """S75."""
        cookie = {"cookie": world.signed_in().cookie_header(world.url)}

        told = _ask(world, "/x", {**cookie, "x-doorward-secret": SECRET})

        assert (told.status.code, told.denied_response.status.code) == (7, 403)


class _Certified(Envoy):
    """Doorward hears nobody who shows no certificate; Envoy shows one, for questions and for pages."""

    @cached_property
    def authority(self) -> Authority:
        folder = Path(tempfile.mkdtemp(prefix="envoy-certificates-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return Authority.create(folder)

    @property
    def settings(self) -> Mapping[str, Any]:  # type: ignore[override]  # made when it is asked for
        certificate, key = self.authority.issue("doorward.example", "doorward")
        tls = {"certificate": certificate, "key": key, "client_ca": str(self.authority.ca_file)}
        return {"forward_auth": {"grpc": GRPC["grpc"]}, "tls": tls}

    def text(self, world: World) -> str:
        certificate, key = self.authority.issue("envoy.example", "envoy")
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
        context = {
            "@type": kind,
            "sni": "doorward.example",
            "common_tls_context": {
                "tls_certificates": [
                    {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
                ],
                "validation_context": {
                    "trusted_ca": {"filename": str(self.authority.ca_file)},
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": "doorward.example"}}
                    ],
                },
            },
        }
        config = yaml.safe_load(world.config(self.file))
        for cluster in config["static_resources"]["clusters"]:
            if cluster["name"] != "application":
                cluster["transport_socket"] = {
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": context,
                }
        return json.dumps(config)


class _CertifiedGrpc(_Certified):
    file = "envoy-grpc.yaml"


class _CertifiedPromises:
    def test_envoy_shows_its_certificate_and_people_come_through(self, world: World) -> None:
        """S75: mTLS, without a secret and whatever the address."""
        person = world.signed_in()

        assert world.raw("/x", person=person).status == 200
        assert world.application.last("/x").values("X-Auth-Request-User") == ["ann"]

    def test_whoever_shows_none_is_not_heard(self, world: World) -> None:
        """S75: on both listeners."""
        ingress = world.ingress
        assert isinstance(ingress, _Certified)
        credentials = grpc.ssl_channel_credentials(ingress.authority.ca_file.read_bytes())
        name = (("grpc.ssl_target_name_override", "doorward.example"),)

        with grpc.secure_channel(f"127.0.0.1:{world.grpc_port}", credentials, name) as channel:
            ask = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")
            with pytest.raises(grpc.RpcError):
                ask(b"", timeout=5)
        context = ingress.authority.client_context()
        context.check_hostname = False
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://127.0.0.1:{world.doorward.port}/", verify=context, trust_env=False)


@pytest.mark.slow
class TestEnvoyHttpCertified(_CertifiedPromises):
    """config/ingress/envoy-http.yaml with TLS towards Doorward."""

    ingress: ClassVar[Ingress] = _Certified()


@pytest.mark.slow
class TestEnvoyGrpcCertified(_CertifiedPromises):
    """config/ingress/envoy-grpc.yaml with TLS towards Doorward."""

    ingress: ClassVar[Ingress] = _CertifiedGrpc()


class _Changed(OtherFieldsPromises):
    """With the changes that docs/ingress/envoy.md describes: a secret, and other identity fields."""

    passes_empty_fields = True

    @pytest.fixture(autouse=True)
    def _fresh(self, world: World, script: ScriptedProvider) -> None:
        world.application.forget()

    def test_a_browser_can_not_bring_the_secret(self, world: World) -> None:
        """S75: neither does it reach the application."""
        person = world.signed_in()

        assert world.raw("/mine", person=person, headers={"X-Doorward-Secret": "guessed"}).status == 200

        assert world.application.last("/mine").values("X-Doorward-Secret") == []


@pytest.mark.slow
class TestEnvoyHttpChanged(_Changed):
    """config/ingress/envoy-http.yaml."""

    ingress: ClassVar[Ingress] = _WithSecret()


@pytest.mark.slow
class TestEnvoyGrpcChanged(_Changed):
    """config/ingress/envoy-grpc.yaml, with two workers."""

    ingress: ClassVar[Ingress] = _WithSecretGrpc()

    def test_the_log_tells_where_envoy_asks(self, world: World) -> None:
        (line,) = world.doorward.log_lines("listening")[-1:]

        assert line["grpc"] == f"127.0.0.1:{world.grpc_port}"

    def test_a_drain_waits_for_no_idle_connection(self, world: World) -> None:
        """Envoy keeps its connections to Doorward: those of both workers end, and then nobody passes."""
        person = world.signed_in()
        process = world.doorward.process
        process.terminate()
        try:
            # Far less than the half minute that a running answer may take.
            assert process.wait(20) == 0
            assert world.raw("/x", person=person).status == 403
        finally:
            world.doorward.start()
        wait_until(lambda: world.raw("/x", person=person).status == 200, "Envoy finds Doorward again")

    def test_only_who_knows_the_secret_may_ask(self, world: World) -> None:
        """S75: whatever the request that is asked about says."""
        cookie = {"cookie": world.signed_in().cookie_header(world.url)}

        for metadata, is_answered in (
            ((), False),
            ((("x-doorward-secret", "guessed"),), False),
            ((("x-doorward-secret", SECRET), ("x-doorward-secret", "guessed")), False),
            ((("x-doorward-secret", SECRET),), True),
        ):
            told = _ask(world, "/x", {**cookie, "x-doorward-secret": SECRET}, metadata=metadata)
            assert (told.status.code == 0) is is_answered
