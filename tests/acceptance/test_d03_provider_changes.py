"""D3: keys rotate, clocks differ, discovery is down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.doorward import Doorward
from tests.blackbox.httpserver import Answer
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.upstream import Application
from tests.blackbox.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def doorward(scripted: ScriptedProvider, application: Application, folder: Path) -> Iterator[Doorward]:
    with Doorward(folder, provider=scripted.settings(), upstreams=application.upstreams) as running:
        yield running


@pytest.mark.parametrize("seconds", [-45, 0, 45])
def test_a_clock_within_tolerance_logs_in(
    doorward: Doorward, script: ScriptedProvider, seconds: float
) -> None:
    """D3: a minute either way by default."""
    script.clock_offset = seconds

    assert doorward.agent().open(doorward.url + "/").status == 200


@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_clock_beyond_tolerance_is_refused(
    doorward: Doorward, script: ScriptedProvider, seconds: float
) -> None:
    """D3: an ID token that has ended or is not yet, and the log says which check failed."""
    script.clock_offset = seconds

    page = doorward.agent().open(doorward.url + "/")

    assert page.status == 403
    assert doorward.log_lines("login_refused")[-1]["code"]


def test_a_key_that_changes_between_logins_is_fetched(doorward: Doorward, script: ScriptedProvider) -> None:
    """D3, S21: by the first login that meets it, and open sessions don't notice.

    oidcc-client-test-signing-key-rotation: in this very order.
    """
    early = doorward.agent()
    assert early.open(doorward.url + "/").status == 200
    script.rotate_key("key-2")
    script.forget()

    assert doorward.agent().open(doorward.url + "/").status == 200
    assert doorward.agent().open(doorward.url + "/").status == 200

    assert len(script.calls("/jwks")) == 1
    assert early.fetch(doorward.url + "/").status == 200


class TestDiscoveryDown:
    @pytest.fixture
    def absent(self) -> Iterator[ScriptedProvider]:
        """Return a provider whose port is known and which does not run."""
        provider = ScriptedProvider()
        provider.stop()
        yield provider
        provider.stop()

    def test_a_provider_that_is_down_at_start_makes_us_not_ready_until_it_comes(
        self, absent: ScriptedProvider, application: Application, tmp_path: Path
    ) -> None:
        """D3, S70: alive, not ready, retried; public pages are served, and a login says whose fault it is."""
        access = [{"path": "/public/**", "allow": "anyone"}, {"allow": "authenticated"}]
        with Doorward(
            tmp_path,
            provider=absent.settings(timeout="2s"),
            upstreams=application.upstreams,
            access=access,
            wait="alive",
        ) as doorward:
            person = doorward.agent()
            assert doorward.admin("/healthz").status_code == 200
            assert doorward.admin("/readyz").status_code == 503
            assert absent.issuer not in doorward.admin("/readyz").text
            assert person.fetch(doorward.url + "/public/x").status == 200
            assert person.open(doorward.url + "/x").status in {502, 503, 504}

            absent.start()
            wait_until(lambda: doorward.admin("/readyz").status_code == 200, "ready", seconds=30)
            assert person.open(doorward.url + "/x").status == 200

            absent.stop()
            assert person.fetch(doorward.url + "/y").status == 200
            assert doorward.admin("/readyz").status_code == 200
            assert doorward.agent().open(doorward.url + "/z", follow=False).status == 302

    def test_metadata_of_another_issuer_never_makes_us_ready(
        self, scripted: ScriptedProvider, script: ScriptedProvider, application: Application, tmp_path: Path
    ) -> None:
        """S16: oidcc-client-test-discovery-issuer-mismatch is this; the log tells both."""
        with Doorward(
            tmp_path,
            provider=script.settings(issuer=script.issuer + "/"),
            upstreams=application.upstreams,
            wait="alive",
        ) as doorward:
            wait_until(lambda: "issuer" in doorward.log, "a line about the issuer")

            assert doorward.admin("/readyz").status_code == 503
            assert doorward.agent().open(doorward.url + "/").status in {502, 503}

    def test_once_ready_a_provider_that_fails_never_makes_us_unready(
        self, doorward: Doorward, script: ScriptedProvider
    ) -> None:
        """S70: also when its discovery answers rubbish."""
        script.script["/.well-known/openid-configuration"] = lambda _: Answer(status=500)

        assert doorward.admin("/readyz").status_code == 200
        assert doorward.agent().open(doorward.url + "/").status == 200
