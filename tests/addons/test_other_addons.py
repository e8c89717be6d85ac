"""The addons that don't gate: each in a real mitmdump."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from addons.dev_identity import is_loopback
from addons.login_view import masked
from tests.addons.mitmdump import ADDONS, mitmdump, refusing_to_start, teller, write_config
from tests.blackbox.agent import Agent
from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.waiting import wait_until
from tests.processes import find_free_port

pytestmark = pytest.mark.slow


class TestIdentityHeaders:
    def test_a_session_of_another_gate_becomes_headers_and_spoofs_go(self, tmp_path: Path) -> None:
        """S41, S43: whoever has no session is nobody, and is let through all the same."""
        script = ADDONS / "identity_headers.py"
        with ScriptedProvider().running() as provider, teller() as application:
            assert isinstance(provider, ScriptedProvider)
            upstreams = {"/": application.url}
            with Doorward(tmp_path, provider=provider.settings(), upstreams=upstreams) as gate:
                person = gate.agent()
                assert person.open(gate.url + "/").status == 200
                cookie = person.cookie_header(gate.url)
                setting = f"identity_config={gate.path}"
                with mitmdump(script, application.url, tmp_path, setting) as proxy:
                    host = gate.url.removeprefix("http://")
                    fields = {"Host": host, "X-Forwarded-User": "root"}
                    known = proxy.get("/", headers={**fields, "Cookie": cookie}).json()
                    nobody = proxy.get("/", headers=fields).json()
                    endpoint = proxy.get("/oauth2/sign_in", headers=fields)
        assert ["X-Forwarded-User", "ann"] in known["headers"]
        assert "root" not in json.dumps(known) + json.dumps(nobody)
        assert "doorward" not in json.dumps(known).lower()
        assert "ann" not in json.dumps(nobody)
        assert endpoint.status_code == 404

    def test_a_broken_configuration_ends_mitmdump(self, tmp_path: Path) -> None:
        said = refusing_to_start(
            ADDONS / "identity_headers.py", tmp_path, "identity_config=/nonexistent.yaml"
        )
        assert "/nonexistent.yaml" in said


# What a browser says of a page of ours in a frame of another site's.
_FRAMED = {
    "Accept": "text/html",
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "iframe",
}


class TestDevIdentity:
    SCRIPT = ADDONS / "dev_identity.py"

    def test_every_request_is_that_persons_and_its_answer_says_so(self, tmp_path: Path) -> None:
        """S72."""
        settings = ("dev_identity_as=alice", "dev_identity_groups=admins,staff")
        with teller() as application, mitmdump(self.SCRIPT, application.url, tmp_path, *settings) as proxy:
            answer = proxy.get("/x", headers={"X-Forwarded-User": "root", "X-Forwarded-Groups": "wheel"})
            fetched = proxy.get("/x", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"})
            old = proxy.get("/x", headers={"Origin": "http://evil.example"})
            framed = proxy.get("/x", headers=_FRAMED)
            rebound = proxy.get("/x", headers={"Host": "evil.example"})
        fields = {name.lower(): value for name, value in answer.json()["headers"]}
        assert answer.headers["doorward-development"]
        assert fields["x-forwarded-user"] == "alice"
        assert fields["x-forwarded-groups"] == "admins,staff"
        assert "root" not in answer.text
        assert not [read for read in (fetched, old, framed) if "alice" in read.text]
        assert rebound.status_code == 403

    @pytest.mark.parametrize("settings", [(), ("dev_identity_as=alice", "listen_host=0.0.0.0")])
    def test_it_does_not_start_unasked_or_where_others_reach_it(
        self, tmp_path: Path, settings: tuple[str, ...]
    ) -> None:
        """S72."""
        assert "dev_identity" in refusing_to_start(self.SCRIPT, tmp_path, *settings)

    @pytest.mark.parametrize(
        ("address", "is_ours"),
        [
            *((address, True) for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost")),
            *((address, False) for address in ("", "0.0.0.0", "::", "10.0.0.1", "example.com")),
        ],
    )
    def test_loopback_is_this_machine_alone(self, address: str, is_ours: bool) -> None:
        """S72."""
        assert is_loopback(address) is is_ours


class TestLoginView:
    def test_each_step_is_explained_and_no_secret_shown(self, tmp_path: Path) -> None:
        """S27: state, nonce and PKCE held against each other, values masked."""
        port = find_free_port()
        script = tmp_path / "both.py"
        script.write_text(
            "from addons.authenticate import Authenticate\nfrom addons.login_view import LoginView\n"
            "import logging\n\n"
            "class Teller:\n"
            "    def response(self, flow):\n"
            "        logging.warning('EXPLAINED %r %r', flow.marked, flow.comment)\n\n"
            "addons = [Authenticate(), LoginView(), Teller()]\n",
            encoding="utf-8",
        )
        with ScriptedProvider().running() as provider, teller() as application:
            assert isinstance(provider, ScriptedProvider)
            config = write_config(tmp_path, port, application.url, provider=provider.settings())
            with mitmdump(script, application.url, tmp_path, f"doorward_config={config}", port=port) as proxy:
                codes: list[str] = []
                person = Agent(note_secret=codes.append)
                assert person.open(proxy.url + "/").status == 200
                log = wait_until(
                    lambda: proxy.log if proxy.log.count("EXPLAINED") >= 3 else None, "three flows"
                )
        lines = [line for line in log.splitlines() if "EXPLAINED" in line]
        assert "1 sent to sign in" in lines[0]
        assert "state, nonce and PKCE challenge are there" in lines[0]
        assert "3 back with a code" in lines[1]
        assert "state matches a request that was seen" in lines[1]
        assert ":key:" in lines[1]
        assert "''" in lines[2]
        assert codes
        assert not [code for code in codes if len(code) > 8 and any(code in line for line in lines)]

    def test_secrets_are_recognisable_and_no_more(self) -> None:
        """S27."""
        assert masked("client_id", "app") == "app"
        assert masked("code", "abcdefghijkl") == "abcd… (12 characters)"
        assert masked("code", "abc") == "…"
