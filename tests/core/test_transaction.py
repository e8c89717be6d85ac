"""One login under way: S01, S02, S04, S28, S37, S66."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.cookies import is_own_name, parse_cookies
from sidecar.core.runtime import SessionPolicy, Site
from sidecar.core.seal import KeyRing
from sidecar.core.transaction import (
    LIFETIME_SECONDS,
    MAX_ATTEMPTS,
    Transaction,
    attempts_before,
    begin,
    clear,
    completed,
    find,
    unmark,
)
from tests.core.sessionsetup import COOKIE, KEY_A, KEY_B, NOW, Browser, Entropy, make_provider, make_site

PROVIDER = make_provider()
SITE = make_site(provider=PROVIDER)
FORM_PROVIDER = make_provider(key="form", response_mode="form_post")
FORM_SITE = make_site(provider=FORM_PROVIDER)
URL = "/reports?from=2024-01-01&to=2024-12-31#totals"


class Tabs:
    """A browser whose tabs begin logins."""

    def __init__(self, site: Site = SITE) -> None:
        self.site = site
        self.browser = Browser()
        self.entropy = Entropy("tabs")

    @property
    def provider_key(self) -> str:
        return next(iter(self.site.providers))

    def begin(
        self,
        return_to: str = URL,
        *,
        now: float = NOW,
        cookies: Sequence[tuple[bytes, bytes]] | None = None,
        attempts: int = 0,
    ) -> Transaction:
        transaction, set_cookies = begin(
            self.site,
            self.site.providers[self.provider_key],
            return_to,
            now,
            self.entropy,
            cookies=self.browser.cookies if cookies is None else cookies,
            attempts=attempts,
        )
        assert all(len(cookie) <= 4096 for cookie in set_cookies)
        self.browser.take(*set_cookies)
        return transaction


def incompressible_url(length: int, seed: int) -> str:
    letters = random.Random(seed).choices(string.ascii_letters + string.digits + "-_.~%&=", k=length)
    return "/?" + "".join(letters)[: length - 2]


class TestOneLogin:
    def test_callback_finds_what_was_begun(self) -> None:
        tabs = Tabs()
        begun = tabs.begin()
        found = find(SITE, tabs.browser.cookies, begun.state, NOW + 60)
        assert (found.reason, found.transaction) == ("found", begun)
        assert (begun.provider, begun.issuer, begun.return_to) == ("main", "https://id.example.com", URL)

    def test_cookie_is_named_after_the_login_and_lasts_an_hour(self) -> None:
        """S28: Lax, so that it comes along with the redirect from the provider."""
        begun, (cookie,) = begin(SITE, PROVIDER, URL, NOW, Entropy(), cookies=())
        assert cookie.startswith(b"__Host-login." + begun.id.encode() + b"=")
        assert len(begun.id) == 8
        assert cookie.endswith(b"; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Lax")
        assert is_own_name(COOKIE, cookie.partition(b"=")[0])

    def test_form_post_needs_same_site_none_and_only_there(self) -> None:
        """S28: a POST from the provider's page carries no Lax cookie."""
        begun, (cookie,) = begin(FORM_SITE, FORM_PROVIDER, URL, NOW, Entropy(), cookies=())
        assert cookie.endswith(b"; Secure; HttpOnly; SameSite=None")
        assert clear(FORM_SITE, begun)[0].endswith(b"; Max-Age=0; Secure; HttpOnly; SameSite=None")

    def test_strict_session_cookie_does_not_make_the_login_s_strict(self) -> None:
        """S28: Strict would keep it from every callback."""
        site = make_site(cookie=replace(COOKIE, same_site="Strict"))
        assert begin(site, PROVIDER, URL, NOW, Entropy(), cookies=())[1][0].endswith(b"SameSite=Lax")

    def test_embedded_site_uses_none_for_the_login_too(self) -> None:
        site = make_site(cookie=replace(COOKIE, same_site="None", partitioned=True))
        assert begin(site, PROVIDER, URL, NOW, Entropy(), cookies=())[1][0].endswith(
            b"SameSite=None; Partitioned"
        )

    def test_verifier_nonce_state_and_id_are_new_for_each_login(self) -> None:
        """S02: never two logins sharing a verifier."""
        tabs = Tabs()
        logins = [tabs.begin() for _ in range(15)]
        for values in (
            {login.code_verifier.reveal() for login in logins},
            {login.nonce for login in logins},
            {login.state for login in logins},
            {login.id for login in logins},
            {login.claim_key for login in logins},
        ):
            assert len(values) == 15

    def test_verifier_and_nonce_have_43_characters_and_are_independent(self) -> None:
        """S02: RFC 7636 §4.1; 256 bits each."""
        begun = Tabs().begin()
        verifier = begun.code_verifier.reveal().decode()
        assert (len(verifier), len(begun.nonce)) == (43, 43)
        assert verifier != begun.nonce

    def test_neither_state_nor_cookie_shows_the_return_url_or_a_secret(self) -> None:
        """S10, S66."""
        tabs = Tabs()
        begun = tabs.begin("/?token=secret")
        for text in (b"secret", b"main", begun.nonce.encode(), begun.code_verifier.reveal()):
            assert text not in begun.state.encode()
            assert text not in tabs.browser.header

    def test_repr_hides_the_verifier(self) -> None:
        """S27."""
        begun = Tabs().begin()
        assert begun.code_verifier.reveal().decode() not in repr(begun)


class TestRefusal:
    """S01: accepted only with a one-time value that is bound to this browser."""

    @pytest.mark.parametrize("state", ["", "x", "A" * 300, "A" * 200_000, "é", "\ud800", "../..", "a b"])
    def test_state_that_is_not_ours_is_invalid(self, state: str) -> None:
        tabs = Tabs()
        tabs.begin()
        found = find(SITE, tabs.browser.cookies, state, NOW)
        assert (found.reason, found.transaction, found.return_to, found.provider) == (
            "invalid",
            None,
            "/",
            None,
        )

    def test_changed_state_is_invalid(self) -> None:
        tabs = Tabs()
        state = tabs.begin().state
        for position in range(len(state)):
            other = "A" if state[position] != "A" else "B"
            changed = state[:position] + other + state[position + 1 :]
            assert find(SITE, tabs.browser.cookies, changed, NOW).reason == "invalid"

    def test_state_without_its_cookie_redeems_nothing(self) -> None:
        """S01, S18: another browser, or a dropped cookie; it may begin anew where it wanted to go."""
        begun = Tabs().begin()
        found = find(SITE, (), begun.state, NOW)
        assert (found.reason, found.transaction) == ("no_cookie", None)
        assert (found.return_to, found.provider, found.attempts) == (URL, "main", 0)

    def test_state_of_another_browser_does_not_fit_ours(self) -> None:
        """S01: login CSRF with the attacker's state and code."""
        victim, attacker = Tabs(), Tabs()
        attacker.entropy = Entropy("attacker")
        victim.begin()
        planted = attacker.begin()
        assert find(SITE, victim.browser.cookies, planted.state, NOW).reason == "no_cookie"

    def test_cookie_of_another_login_under_this_login_s_name_does_not_fit(self) -> None:
        tabs = Tabs()
        first, second = tabs.begin(), tabs.begin()
        swapped = [
            (b"__Host-login." + first.id.encode(), tabs.browser.jar[b"__Host-login." + second.id.encode()])
        ]
        assert find(SITE, swapped, first.state, NOW).reason == "no_cookie"

    def test_planted_duplicate_of_the_cookie_changes_nothing(self) -> None:
        """S32."""
        tabs = Tabs()
        begun = tabs.begin()
        planted = (b"__Host-login." + begun.id.encode(), b"garbage")
        for cookies in ([planted, *tabs.browser.cookies], [*tabs.browser.cookies, planted]):
            assert find(SITE, cookies, begun.state, NOW).transaction == begun

    def test_authentic_cookie_with_another_secret_does_not_fit(self) -> None:
        """S01: two logins whose names are the same by chance; the one with the right proof counts."""
        tabs = Tabs()
        begun = tabs.begin()
        name = b"__Host-login." + begun.id.encode()
        other = SITE.session.keys.seal(
            b"x" * 37, purpose="transaction", name=name, site=str(SITE.public_url), entropy=Entropy()
        )
        assert find(SITE, [(name, other)], begun.state, NOW).reason == "no_cookie"
        assert find(SITE, [(name, other), *tabs.browser.cookies], begun.state, NOW).transaction == begun

    def test_session_cookie_is_no_login_cookie_nor_the_other_way(self) -> None:
        """S33: a cookie of one purpose opens for no other."""
        tabs = Tabs()
        begun = tabs.begin()
        name = b"__Host-login." + begun.id.encode()
        for purpose in ("session", "state", "transaction-completed"):
            sealed = SITE.session.keys.seal(
                b"x" * 37, purpose=purpose, name=name, site=str(SITE.public_url), entropy=Entropy()
            )
            assert find(SITE, [(name, sealed)], begun.state, NOW).reason == "no_cookie"

    def test_used_login_is_gone_from_the_browser_and_claimed(self) -> None:
        """S01, S11: the cookie is deleted, and a copy of it meets the claim."""
        tabs = Tabs()
        begun = tabs.begin()
        tabs.browser.take(*clear(SITE, begun))
        assert find(SITE, tabs.browser.cookies, begun.state, NOW).reason == "no_cookie"
        assert begun.claim_key.startswith(b"login:")
        assert begun.until == NOW + LIFETIME_SECONDS

    def test_login_ends_after_an_hour(self) -> None:
        tabs = Tabs()
        begun = tabs.begin()
        assert find(SITE, tabs.browser.cookies, begun.state, NOW + 3599).reason == "found"
        found = find(SITE, tabs.browser.cookies, begun.state, NOW + 3600)
        assert (found.reason, found.transaction, found.return_to) == ("expired", None, URL)

    def test_key_rotation_in_the_middle_of_a_login(self) -> None:
        """S34, S73: goes on while the key is there, and begins anew afterwards."""
        tabs = Tabs()
        begun = tabs.begin()
        for keys, reason in (([KEY_B, KEY_A], "found"), ([KEY_B], "invalid")):
            site = make_site(session=SessionPolicy(keys=KeyRing.from_secrets(keys)))
            assert find(site, tabs.browser.cookies, begun.state, NOW).reason == reason

    def test_development_login_does_not_continue_in_normal_mode(self) -> None:
        """S72."""
        tabs = Tabs(make_site(session=SessionPolicy(keys=KeyRing.from_secrets([KEY_A], mode="dev"))))
        begun = tabs.begin()
        assert find(SITE, tabs.browser.cookies, begun.state, NOW).reason == "invalid"

    @pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
    def test_foreign_return_url_is_not_taken_along(self, target: str) -> None:
        """S08, S66."""
        assert Tabs().begin(target).return_to == "/"

    def test_return_url_is_checked_again_at_the_callback(self) -> None:
        """S66: the configuration may have changed in between."""
        tabs = Tabs(make_site(return_hosts=frozenset({"docs.example.com"})))
        begun = tabs.begin("https://docs.example.com/a")
        assert begun.return_to == "https://docs.example.com/a"
        assert (
            find(tabs.site, tabs.browser.cookies, begun.state, NOW).return_to == "https://docs.example.com/a"
        )
        assert find(SITE, tabs.browser.cookies, begun.state, NOW).return_to == "/"

    @given(st.text(max_size=200), st.binary(max_size=300))
    def test_no_input_raises(self, state: str, field: bytes) -> None:
        assert find(SITE, parse_cookies(field), state, NOW).reason == "invalid"
        assert attempts_before(SITE, parse_cookies(b"__Host-login.done=" + field), NOW) == 0


class TestManyTabs:
    """S37: each tab's login completes, and the Cookie field stays small."""

    def test_ten_tabs_with_long_urls_all_log_in_in_any_order(self) -> None:
        tabs = Tabs()
        urls = [incompressible_url(2048, seed) for seed in range(10)]
        # At once: no tab's request shows another's cookie.
        logins = [tabs.begin(url, cookies=()) for url in urls]
        assert len(tabs.browser.header) < 4096
        random.Random(1).shuffle(logins)
        for login in logins:
            found = find(SITE, tabs.browser.cookies, login.state, NOW + 5)
            assert found.transaction == login
            tabs.browser.take(*clear(SITE, login))
        assert {login.return_to for login in logins} == set(urls)
        assert tabs.browser.header == b""

    def test_state_of_a_long_url_fits_the_provider(self) -> None:
        assert len(Tabs().begin(incompressible_url(2048, 1)).state) <= PROVIDER.max_state_chars
        assert len(Tabs().begin("/").state) < 300

    @pytest.mark.parametrize("at_once", [True, False])
    def test_of_fifty_tabs_the_oldest_are_dropped_and_none_breaks(self, at_once: bool) -> None:
        tabs = Tabs()
        logins = [
            tabs.begin(f"/tab/{index}", now=NOW + index, cookies=() if at_once else None)
            for index in range(50)
        ]
        if not at_once:
            assert len(tabs.browser.jar) == 20
            assert len(tabs.browser.header) < 4096
            assert find(SITE, tabs.browser.cookies, logins[-1].state, NOW + 60).reason == "found"
            assert find(SITE, tabs.browser.cookies, logins[0].state, NOW + 60).reason == "no_cookie"
        assert len(tabs.browser.header) < 8192
        for index, login in enumerate(logins):
            found = find(SITE, tabs.browser.cookies, login.state, NOW + 60)
            if found.transaction is None:
                # Begins anew, and comes back to the same page.
                assert (found.reason, found.return_to) == ("no_cookie", f"/tab/{index}")
                again = tabs.begin(found.return_to, now=NOW + 60, attempts=found.attempts + 1)
                found = find(SITE, tabs.browser.cookies, again.state, NOW + 61)
            assert found.transaction is not None
            assert found.transaction.return_to == f"/tab/{index}"
            tabs.browser.take(*clear(SITE, found.transaction))
        assert tabs.browser.jar == {}

    def test_too_many_cookies_shrink_with_each_login(self) -> None:
        """The head of one answer stays small, so not all go at once."""
        tabs = Tabs()
        for index in range(60):
            tabs.begin(now=NOW + index, cookies=())
        sizes = []
        for index in range(8):
            tabs.begin(now=NOW + 100 + index)
            sizes.append(len(tabs.browser.jar))
        assert sizes[-1] == 20
        assert all(before - after <= 9 for before, after in pairwise(sizes))

    def test_what_does_not_open_goes_first(self) -> None:
        tabs = Tabs()
        logins = [tabs.begin(now=NOW + index) for index in range(15)]
        tabs.browser.jar.update({b"__Host-login.planted%d" % index: b"x" for index in range(5)})
        tabs.begin(now=NOW + 20)
        assert all(find(SITE, tabs.browser.cookies, login.state, NOW).reason == "found" for login in logins)

    def test_work_for_a_flood_of_cookies_is_bounded(self) -> None:
        """S56."""
        flood = [(b"__Host-login.%08d" % index, b"A" * 90) for index in range(5000)]
        _, set_cookies = begin(SITE, PROVIDER, URL, NOW, Entropy(), cookies=flood)
        assert len(set_cookies) <= 11


class TestShortStates:
    """A provider that takes 500 characters of state."""

    SITE = make_site(provider=make_provider(max_state_chars=500))

    def test_url_that_fits_travels_in_the_state(self) -> None:
        tabs = Tabs(self.SITE)
        begun = tabs.begin(URL)
        assert len(begun.state) <= 500
        assert find(self.SITE, (), begun.state, NOW).return_to == URL

    def test_long_url_waits_in_the_cookie(self) -> None:
        tabs = Tabs(self.SITE)
        url = incompressible_url(2048, 1)
        begun = tabs.begin(url)
        assert len(begun.state) <= 500
        found = find(self.SITE, tabs.browser.cookies, begun.state, NOW)
        assert found.transaction is not None
        assert (found.transaction.return_to, found.return_to) == (url, url)

    def test_login_without_its_cookie_knows_the_path_at_least(self) -> None:
        tabs = Tabs(self.SITE)
        begun = tabs.begin("/reports/2024?" + incompressible_url(2000, 1)[2:])
        assert find(self.SITE, (), begun.state, NOW).return_to == "/reports/2024"
        begun = tabs.begin("/" + incompressible_url(2000, 1)[2:].replace("?", "x"))
        assert find(self.SITE, (), begun.state, NOW).return_to == "/"

    def test_cookies_with_long_urls_stay_within_the_bound(self) -> None:
        """S37: what has no room is cut to its path, in both halves alike."""
        tabs = Tabs(self.SITE)
        logins = [tabs.begin("/p" + incompressible_url(2000, seed), now=NOW + seed) for seed in range(12)]
        assert len(tabs.browser.header) < 4096 + 200
        for login in logins:
            found = find(self.SITE, tabs.browser.cookies, login.state, NOW + 20)
            assert found.return_to in {login.return_to, "/p/"}

    def test_url_too_long_for_either_half_is_cut_to_its_path(self) -> None:
        tabs = Tabs(SITE)
        begun = tabs.begin("/reports" + incompressible_url(7000, 1)[1:])
        found = find(SITE, tabs.browser.cookies, begun.state, NOW)
        assert found.reason == "found"
        assert found.return_to == "/reports"
        assert begun.return_to == found.return_to


class TestAttempts:
    """A browser that keeps no cookies ends at a page, never in a circle."""

    def test_attempts_travel_in_the_state(self) -> None:
        tabs = Tabs()
        attempts = 0
        for expected in range(MAX_ATTEMPTS):
            begun = tabs.begin(attempts=attempts)
            found = find(SITE, (), begun.state, NOW)
            assert found.attempts == expected
            attempts = found.attempts + 1
        assert attempts == MAX_ATTEMPTS

    def test_login_that_is_needed_again_at_once_is_another_attempt(self) -> None:
        """A browser that keeps the login's cookie and loses the session's."""
        tabs = Tabs()
        attempts = attempts_before(SITE, tabs.browser.cookies, NOW)
        seen = [attempts]
        while attempts < MAX_ATTEMPTS:
            begun = tabs.begin(attempts=attempts)
            tabs.browser.take(*clear(SITE, begun), completed(SITE, begun, NOW, tabs.entropy))
            attempts = attempts_before(SITE, tabs.browser.cookies, NOW + 1)
            seen.append(attempts)
        assert seen == [0, 1, 2, 3]

    def test_ten_tabs_that_complete_are_not_ten_attempts(self) -> None:
        tabs = Tabs()
        for login in [tabs.begin() for _ in range(10)]:
            tabs.browser.take(completed(SITE, login, NOW, tabs.entropy))
        assert attempts_before(SITE, tabs.browser.cookies, NOW + 1) == 1

    def test_mark_lasts_half_a_minute(self) -> None:
        tabs = Tabs()
        mark = completed(SITE, tabs.begin(), NOW, tabs.entropy)
        assert b"; Max-Age=30;" in mark
        tabs.browser.take(mark)
        assert attempts_before(SITE, tabs.browser.cookies, NOW + 29) == 1
        assert attempts_before(SITE, tabs.browser.cookies, NOW + 30) == 0

    def test_sign_out_takes_the_mark_along(self) -> None:
        """Signing in again at once, as somebody else say, is no circle."""
        tabs = Tabs()
        assert unmark(SITE, tabs.browser.cookies) == ()
        tabs.browser.take(completed(SITE, tabs.begin(), NOW, tabs.entropy))
        tabs.browser.take(*unmark(SITE, tabs.browser.cookies))
        assert attempts_before(SITE, tabs.browser.cookies, NOW + 1) == 0

    def test_mark_is_not_a_login_under_way(self) -> None:
        tabs = Tabs()
        logins = [tabs.begin(now=NOW + index) for index in range(19)]
        tabs.browser.take(completed(SITE, logins[0], NOW, tabs.entropy))
        tabs.begin(now=NOW + 30)
        assert b"__Host-login.done" in tabs.browser.jar
        assert all(find(SITE, tabs.browser.cookies, login.state, NOW).reason == "found" for login in logins)
