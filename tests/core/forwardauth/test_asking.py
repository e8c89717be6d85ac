from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from sidecar.core.decision import Flow, Respond
from sidecar.core.networks import Networks
from sidecar.core.policy import Anyone, Authenticated, Groups
from sidecar.core.rules import Rule, RuleTable
from sidecar.core.runtime import ForwardAuthPolicy, HeaderPolicy
from sidecar.core.secret import Secret
from tests.core.flows.flowsetup import setup
from tests.core.forwardauth.asksetup import DIALECTS, INGRESS, POLICY, ask, fields, values, world
from tests.core.gatesetup import (
    CROSS,
    HTML,
    NAVIGATE,
    NOW,
    PRESET,
    WEBSOCKET,
    World,
    head,
    identity,
    provider,
    session,
    site,
)
from tests.core.oidcsetup import answer

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
NARROW = {"nginx", "ingress-nginx"}


def status(
    dialect: str, of: World, target: bytes = b"/app/", *pairs: tuple[bytes, bytes], **parts: Any
) -> int:
    return ask(dialect, of, target, *pairs, **parts).response.status


@every_dialect
class TestVerdict:
    """S50: the verdict is that of the original method, host and path."""

    def test_somebody_who_is_signed_in_gets_200_and_the_identity(self, dialect: str) -> None:
        asked = world()
        cookie = asked.cookie()
        for _ in range(3):
            answer = ask(dialect, asked, b"/app/x?y=1", cookie=cookie)
            assert answer.response.status == 200
            assert values(answer, b"X-Auth-Request-User") == [b"alice"]
            assert values(answer, b"Cache-Control") == [b"no-store"]
            assert (answer.note.reason, answer.note.rule) == ("allowed", "all")
            assert answer.response.body == b""

    def test_the_original_path_decides_in_all_readings(self, dialect: str) -> None:
        """S57, S58: not one that the ingress has normalised, and not the endpoint's."""
        asked = world()
        cookie = asked.cookie()
        assert status(dialect, asked, b"/public/x") == 200
        assert status(dialect, asked, b"/admin/x", cookie=cookie) == 403
        for path in (
            b"/public/../admin/x",
            b"/public/%2e%2e/admin",
            b"/public/..%2fadmin",
            b"/public/..;/admin",
        ):
            assert status(dialect, asked, path) in {400, 401, 403}
            assert status(dialect, asked, path, cookie=cookie) in {400, 403}
        for path in (b"/app/%00", b"/app/\\x", b"/app/%c0%af"):
            assert status(dialect, asked, path, cookie=cookie) == (403 if dialect in NARROW else 400)

    def test_a_query_opens_nothing(self, dialect: str) -> None:
        """S59: neither the original's nor one that looks like ours."""
        asked = world()
        for target in (b"/app/?/public/", b"/app/?allowed_groups=users"):
            assert status(dialect, asked, target) == 401

    def test_the_original_method_decides(self, dialect: str) -> None:
        """S59: and no override of it."""
        rules = [
            Rule(name="read", path="/**", methods=frozenset({b"GET"}), allow=Anyone()),
            Rule(name="write", path="/**", allow=Groups(("admins",))),
        ]
        asked = world(sites=(site(rules=RuleTable.build(rules)),))
        cookie = asked.cookie()
        assert status(dialect, asked, cookie=cookie) == 200
        assert status(dialect, asked, cookie=cookie, method=b"POST") == 403
        override = (b"X-HTTP-Method-Override", b"GET")
        assert status(dialect, asked, b"/app/", override, cookie=cookie, method=b"DELETE") == 403

    def test_the_original_host_finds_site_and_rule(self, dialect: str) -> None:
        """S26, S40: another site's session is none here."""
        rules = [
            Rule(name="admin", hosts=("admin.example.com",), allow=Groups(("admins",))),
            Rule(name="all", allow=Authenticated()),
        ]
        hosts = frozenset({"app.example.com", "admin.example.com"})
        shared = replace(site().cookie, domain="example.com")
        asked = world(sites=(site(rules=RuleTable.build(rules), hosts=hosts, cookie=shared),))
        cookie = asked.cookie()
        for _ in range(2):
            assert status(dialect, asked, cookie=cookie) == 200
            for host in (b"admin.example.com", b"ADMIN.example.com:8443"):
                assert status(dialect, asked, cookie=cookie, host=host) == 403
            assert status(dialect, asked, cookie=cookie, host=b"other.example.com") == 403

    def test_nobody_is_sent_to_sign_in_by_a_navigation(self, dialect: str) -> None:
        answer = ask(dialect, world(), b"/app/x?a=1&b=%26", *HTML, *NAVIGATE)
        assert answer.response.status == (401 if dialect in NARROW else 302)
        (location,) = values(answer, b"Location")
        assert location == (
            b"https://app.example.com/oauth2/start?rd=%2Fapp%2Fx%3Fa%3D1%26b%3D%2526&cause=denied"
        )
        assert values(answer, b"Set-Cookie") == []
        assert answer.note.reason == "login_required"

    def test_a_script_gets_401_and_no_redirect(self, dialect: str) -> None:
        """S37, S38: fetch would follow it to another origin and fail."""
        answer = ask(dialect, world(), b"/app/", (b"Sec-Fetch-Mode", b"cors"))
        assert answer.response.status == 401
        assert values(answer, b"Location") == []
        assert values(answer, b"WWW-Authenticate")

    def test_a_form_without_a_session_gets_401(self, dialect: str) -> None:
        answer = ask(dialect, world(), b"/app/", *HTML, *NAVIGATE, method=b"POST")
        assert answer.response.status == 401
        assert values(answer, b"Location") == []

    def test_an_unsafe_request_of_another_origin_does_not_act_with_the_session(self, dialect: str) -> None:
        """S39: nor does a WebSocket, of which the ingress tells no more than its key."""
        asked = world()
        cookie = asked.cookie()
        assert status(dialect, asked, b"/app/", *CROSS, cookie=cookie, method=b"POST") == 403
        assert status(dialect, asked, b"/app/", *CROSS, *WEBSOCKET[2:], cookie=cookie) == 403
        own = (b"Origin", b"https://app.example.com")
        assert status(dialect, asked, b"/app/", own, *WEBSOCKET[2:], cookie=cookie) == 200
        assert status(dialect, asked, b"/app/", own, *WEBSOCKET[2:]) == 401

    def test_a_link_on_another_site_works(self, dialect: str) -> None:
        asked = world()
        cookie = asked.cookie()
        link = (b"Sec-Fetch-Site", b"cross-site")
        assert status(dialect, asked, b"/app/", link, *NAVIGATE, cookie=cookie) == 200

    def test_a_preflight_passes_where_its_rule_lets_it(self, dialect: str) -> None:
        asked = world()
        preflight = (CROSS[0], (b"Access-Control-Request-Method", b"POST"))
        assert status(dialect, asked, b"/hooks/x", *preflight, method=b"OPTIONS") == 200
        assert status(dialect, asked, b"/app/x", *preflight, method=b"OPTIONS") == 401

    def test_a_prepared_yes_ends_with_its_session(self, dialect: str) -> None:
        """S36: signed out is signed out, however often it was asked before."""
        asked = world()
        cookie = asked.cookie()
        for _ in range(2):
            assert status(dialect, asked, cookie=cookie) == 200
        asked.state.revocations.add("session-1", NOW + 50_000)
        assert status(dialect, asked, cookie=cookie) == 401

    def test_an_old_cookie_is_renewed(self, dialect: str) -> None:
        """S36: an ingress that passes Set-Cookie on keeps its users signed in."""
        asked = world()
        cookie = asked.cookie()
        asked.now += 400
        answer = ask(dialect, asked, cookie=cookie)
        assert answer.response.status == 200
        value, *_ = values(answer, b"Set-Cookie")
        assert value.startswith(b"__Host-doorward=")
        numbered = [value] if dialect in {*NARROW, "caddy"} else []
        assert values(answer, b"X-Doorward-Set-Cookie-1") == numbered

    def test_each_cookie_of_a_large_session_has_a_number(self, dialect: str) -> None:
        asked = world()
        groups = tuple(hashlib.sha256(b"%d" % index).hexdigest() for index in range(200))
        cookie = asked.cookie(session(identity=identity(groups=groups)))
        asked.now += 400
        answer = ask(dialect, asked, cookie=cookie)
        cookies = values(answer, b"Set-Cookie")
        assert len(cookies) > 2
        if dialect in {*NARROW, "caddy"}:
            numbered = [values(answer, b"X-Doorward-Set-Cookie-%d" % n) for n in range(1, len(cookies) + 1)]
            assert numbered == [[value] for value in cookies]

    def test_a_refusal_tells_a_cookie_to_no_script(self, dialect: str) -> None:
        """S28: it goes to the browser whole, where a script reads each field but Set-Cookie."""
        asked = world()
        cookie = asked.cookie()
        asked.now += 400
        told = ask(dialect, asked, b"/admin/", cookie=cookie)
        assert told.response.status == 403
        (value, *_) = values(told, b"Set-Cookie")
        assert value.startswith(b"__Host-doorward=")
        assert [name for name, told in told.response.headers if value == told] == [b"Set-Cookie"]

    def test_a_claim_that_is_missing_is_told_as_empty(self, dialect: str) -> None:
        """S44: the ingress then overwrites what the client sent under that name."""
        asked = world()
        cookie = asked.cookie(session(identity=identity(groups=(), email=None)))
        signed_in, public = ask(dialect, asked, cookie=cookie), ask(dialect, asked, b"/public/")
        assert values(signed_in, b"X-Auth-Request-User") == [b"alice"]
        for name in (b"X-Auth-Request-Email", b"X-Auth-Request-Groups"):
            assert values(signed_in, name) == [b""]
        for rule in PRESET.auth_response:
            assert values(public, rule.name.encode()) == [b""]

    def test_each_yes_carries_the_assertion(self, dialect: str) -> None:
        from tests.core.test_assertion import POLICY as ASSERTION

        policy = HeaderPolicy(upstream=(), auth_response=PRESET.auth_response, assertion=ASSERTION)
        asked = world(sites=(site(headers=policy),))
        cookie = asked.cookie()
        seen = set()
        for seconds in (0, 1, 31, 400):
            asked.now += seconds
            (assertion,) = values(ask(dialect, asked, cookie=cookie), b"X-Doorward-Assertion")
            seen.add(assertion)
        assert len(seen) == 3
        assert values(ask(dialect, asked, b"/public/"), b"X-Doorward-Assertion") == [b""]

    def test_a_rule_about_networks_sees_the_client(self, dialect: str) -> None:
        """S48: by the rightmost address that the ingress told, prepared or not."""
        rule = Rule(name="net", allow=Networks.of(["192.0.2.0/24"]))
        asked = world(sites=(site(rules=RuleTable.build([rule])),))
        cookie = asked.cookie()
        others = [(name, value) for name, value in fields(dialect, b"/app/") if name != b"X-Forwarded-For"]
        for _ in range(2):
            assert status(dialect, asked, cookie=cookie) == 200
            spoofed = head(
                b"/oauth2/auth/" + dialect.encode() + (b"/app/" if dialect == "envoy" else b""),
                *others,
                (b"X-Forwarded-For", b"192.0.2.7, 198.51.100.1"),
                cookie=cookie,
                peer=INGRESS,
            )
            decision = asked.decide(spoofed)
            assert isinstance(decision, Respond)
            assert decision.response.status == 403
            assert spoofed.client_ip == "198.51.100.1"

    def test_an_endpoint_of_ours_is_not_the_ingresss_to_ask_about(self, dialect: str) -> None:
        """S60: by whatever spelling, the application is never reached under our prefix."""
        asked = world()
        cookie = asked.cookie()
        answer = ask(dialect, asked, b"/oauth2/start", cookie=cookie)
        assert answer.response.status == 403
        assert answer.note.reason == "own_endpoint"
        assert status(dialect, asked, b"/oauth2/%73tart", cookie=cookie) in {400, 403}
        assert status(dialect, asked, b"/app/../oauth2/start", cookie=cookie) in {400, 403}

    @pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
    def test_methods_that_no_gateway_passes_are_refused(self, dialect: str, method: bytes) -> None:
        """S55: by whatever ingress, also when a yes for other methods is prepared."""
        asked = world()
        cookie = asked.cookie()
        assert status(dialect, asked, cookie=cookie, method=method) == 403
        assert status(dialect, asked, cookie=cookie) == 200
        assert status(dialect, asked, cookie=cookie, method=method) == 403

    def test_a_refusal_names_what_was_asked_about(self, dialect: str) -> None:
        asked = world()
        answer = ask(dialect, asked, b"/admin/x?secret=1", cookie=asked.cookie(), method=b"POST")
        assert answer.note.detail is not None
        assert answer.note.detail.endswith("asked about POST app.example.com/admin/x")

    def test_the_same_bytes_on_a_connection_are_read_once(self, dialect: str) -> None:
        asked, memo = world(), dict[object, object]()
        cookie = asked.cookie()
        answers = [ask(dialect, asked, cookie=cookie, memo=memo) for _ in range(3)]
        assert answers[1] is answers[2]
        # Another target with the same fields, as Envoy sends them.
        if dialect == "envoy":
            assert status(dialect, asked, b"/admin/", cookie=cookie, memo=memo) == 403


@every_dialect
class TestCallers:
    """S75: only configured ingresses may ask."""

    def test_an_address_that_is_not_listed_is_refused(self, dialect: str) -> None:
        asked = world()
        answer = ask(dialect, asked, cookie=asked.cookie(), peer="198.51.100.1")
        assert (answer.response.status, answer.note.reason) == (403, "caller_refused")
        assert values(answer, b"X-Auth-Request-User") == []

    @pytest.mark.parametrize("policy", [None, ForwardAuthPolicy()])
    def test_nobody_may_where_nobody_is_named(self, dialect: str, policy: ForwardAuthPolicy | None) -> None:
        asked = world(policy)
        answer = asked.respond(
            b"/oauth2/auth/" + dialect.encode(),
            *fields(dialect, b"/app/"),
            cookie=asked.cookie(),
            peer=INGRESS,
        )
        assert answer.response.status in {403, 404}
        assert values(answer, b"X-Auth-Request-User") == []

    def test_the_secret_must_be_there_once_and_right(self, dialect: str) -> None:
        asked = world(replace(POLICY, secret=Secret(b"s" * 32)))
        cookie = asked.cookie()
        right = (b"X-Doorward-Secret", b"s" * 32)
        assert status(dialect, asked, b"/app/", right, cookie=cookie) == 200
        for pairs in ((), (right, right), ((b"X-Doorward-Secret", b"s" * 31),)):
            assert status(dialect, asked, b"/app/", *pairs, cookie=cookie) == 403
        assert status(dialect, asked, b"/app/", right, cookie=cookie, peer="198.51.100.1") == 403

    def test_a_secret_alone_lets_any_address_ask(self, dialect: str) -> None:
        asked = world(ForwardAuthPolicy(secret=Secret(b"s" * 32)))
        right = (b"X-Doorward-Secret", b"s" * 32)
        assert status(dialect, asked, b"/app/", right, cookie=asked.cookie(), peer="198.51.100.1") == 200

    def test_a_certificate_comes_by_tls(self, dialect: str) -> None:
        """The listener has checked it before anything is heard."""
        asked = world(ForwardAuthPolicy(needs_certificate=True))
        cookie = asked.cookie()
        assert status(dialect, asked, cookie=cookie) == 403
        target = b"/oauth2/auth/" + dialect.encode() + (b"/app/" if dialect == "envoy" else b"")
        asking = head(target, *fields(dialect, b"/app/"), cookie=cookie, peer=INGRESS)
        asking.is_tls = True
        decision = asked.decide(asking)
        assert isinstance(decision, Respond)
        assert decision.response.status == 200

    def test_unix_stands_for_whoever_connects_to_our_socket(self, dialect: str) -> None:
        asked = world(ForwardAuthPolicy(trusts_unix=True))
        assert status(dialect, asked, cookie=asked.cookie(), peer="unix") == 200
        assert status(dialect, world(), cookie=asked.cookie(), peer="unix") == 403


class TestNarrowing:
    def test_a_query_asks_for_more(self) -> None:
        asked = world()
        cookie = asked.cookie()
        for query, expected in (
            (b"?allowed_groups=users", 200),
            (b"?allowed_groups=x,users&allowed_email_domains=example.com", 200),
            (b"?allowed_emails=alice@example.com", 200),
            (b"?allowed_groups=admins", 403),
            (b"?allowed_groups=users&allowed_emails=bob@example.com", 403),
            (b"?other=1", 200),
        ):
            for _ in range(2):
                assert status("traefik", asked, cookie=cookie, query=query) == expected

    def test_it_never_opens_what_the_rules_close(self) -> None:
        asked = world()
        cookie = asked.cookie()
        assert status("traefik", asked, b"/admin/", cookie=cookie, query=b"?allowed_groups=users") == 403

    def test_it_asks_for_a_sign_in_on_a_public_path(self) -> None:
        assert status("traefik", world(), b"/public/", query=b"?allowed_groups=users") == 401

    @pytest.mark.parametrize(
        "query", [b"?allowed_groups=", b"?allowed_groups", b"?allowed_group=users", b"?allowed_emails=nobody"]
    )
    def test_what_narrows_to_nobody_knows_what_is_refused(self, query: bytes) -> None:
        """S61: an empty list is none."""
        asked = world()
        answer = ask("traefik", asked, cookie=asked.cookie(), query=query)
        assert answer.response.status in {400, 403}

    def test_a_prepared_yes_is_not_another_narrowings(self) -> None:
        asked = world()
        cookie = asked.cookie()
        for _ in range(3):
            assert status("traefik", asked, cookie=cookie) == 200
            assert status("traefik", asked, cookie=cookie, query=b"?allowed_groups=admins") == 403


class TestDetection:
    """A plain `auth`: by the fields that are there, where they are one dialect's only."""

    TARGET = b"/oauth2/auth"

    def asked(self, *pairs: tuple[bytes, bytes], **parts: Any) -> Respond:
        asked = world()
        return asked.respond(self.TARGET, *pairs, cookie=asked.cookie(), peer=INGRESS, **parts)

    @pytest.mark.parametrize("dialect", ["nginx", "ingress-nginx", "traefik", "caddy"])
    def test_it_is_told_by_its_fields(self, dialect: str) -> None:
        assert self.asked(*fields(dialect, b"/app/")).response.status == 200
        assert self.asked(*fields(dialect, b"/admin/")).response.status == 403

    def test_nothing_is_never_the_root(self) -> None:
        """S50: no original request, no yes."""
        answer = self.asked((b"X-Forwarded-For", b"192.0.2.7"))
        assert answer.response.status == 403
        assert answer.note.detail is not None
        assert "no field with the original URI" in answer.note.detail

    @pytest.mark.parametrize("other", ["nginx", "ingress-nginx"])
    def test_fields_of_two_dialects_are_nobodys(self, other: str) -> None:
        """S50: a client may have sent the other one's."""
        pairs = (*fields("traefik", b"/public/"), *fields(other, b"/app/")[2:])
        assert self.asked(*pairs).response.status == 403

    def test_a_method_of_another_dialect_is_no_help(self) -> None:
        pairs = [pair for pair in fields("traefik", b"/app/") if pair[0] != b"X-Forwarded-Method"]
        assert self.asked(*pairs, (b"X-Original-Method", b"GET")).response.status == 403

    def test_an_unknown_dialect_is_not_found(self) -> None:
        asked = world()
        for target in (b"/oauth2/auth/", b"/oauth2/auth/ngnix", b"/oauth2/auth/envoy", b"/oauth2/authx"):
            answer = asked.respond(target, *fields("nginx", b"/app/"), cookie=asked.cookie(), peer=INGRESS)
            assert answer.response.status in {400, 403, 404}

    @pytest.mark.parametrize("rest", [b"ngnix", b"", b"envoy*", b"envoyhttp://lax.example.com/"])
    def test_an_unknown_dialect_is_no_question_for_an_application(self, rest: bytes) -> None:
        """S50: one that answers every path would say yes for us, at a host with another prefix."""
        lax = site(
            name="lax",
            hosts=frozenset({"lax.example.com"}),
            prefix="/sso",
            rules=RuleTable.build([Rule(name="any", allow=Anyone())]),
        )
        asked = world(sites=(site(), lax))
        for _ in range(3):
            told = asked.respond(b"/oauth2/auth/" + rest, host=b"lax.example.com", peer=INGRESS)
            assert told.response.status == 403
            assert "auth/nginx, auth/ingress-nginx" in (told.note.detail or "")


class TestUndecidable:
    """S48, S49: what no honest ingress sends."""

    @pytest.mark.parametrize(
        ("dialect", "pair"),
        [
            ("nginx", (b"X-Original-URI", b"/public/")),
            ("nginx", (b"X-Original-Method", b"GET")),
            ("nginx", (b"X-Forwarded-Proto", b"http")),
            ("traefik", (b"X-Forwarded-Uri", b"/public/")),
            ("traefik", (b"X-Forwarded-Host", b"app.example.com")),
            ("traefik", (b"x-forwarded-method", b"GET")),
            ("traefik", (b"Content-Length", b"5")),
            ("envoy", (b"Transfer-Encoding", b"chunked")),
            ("envoy", (b"Host", b"app.example.com")),
        ],
    )
    def test_a_field_too_many_is_refused(self, dialect: str, pair: tuple[bytes, bytes]) -> None:
        asked = world()
        assert status(dialect, asked, b"/app/", pair, cookie=asked.cookie()) in {400, 403}

    @pytest.mark.parametrize(
        "missing", [b"X-Forwarded-Uri", b"X-Forwarded-Method", b"X-Forwarded-Host", b"X-Forwarded-For"]
    )
    def test_a_field_that_is_missing_is_refused(self, missing: bytes) -> None:
        asked = world()
        pairs = [pair for pair in fields("traefik", b"/app/") if pair[0] != missing]
        answer = asked.respond(b"/oauth2/auth/traefik", *pairs, cookie=asked.cookie(), peer=INGRESS)
        assert answer.response.status == 400
        assert missing.lower() in (answer.note.detail or "").lower().encode()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (b"X-Forwarded-Uri", b""),
            (b"X-Forwarded-Uri", b"app/"),
            (b"X-Forwarded-Uri", b"https://app.example.com/app/"),
            (b"X-Forwarded-Uri", b"http://evil.example/public/"),
            (b"X-Forwarded-Uri", b"/app/\x01"),
            (b"X-Forwarded-Uri", b"*"),
            (b"X-Forwarded-Method", b""),
            (b"X-Forwarded-Method", b"G ET"),
            (b"X-Forwarded-Host", b"evil@app.example.com"),
            (b"X-Forwarded-Host", b"app.example.com, evil.example"),
            (b"X-Forwarded-Host", b""),
            (b"X-Forwarded-Proto", b"gopher"),
            (b"X-Forwarded-For", b"nowhere"),
            (b"X-Forwarded-For", b""),
        ],
    )
    def test_a_value_that_makes_no_sense_is_refused(self, name: bytes, value: bytes) -> None:
        asked = world()
        pairs = [(n, value if n == name else v) for n, v in fields("traefik", b"/app/")]
        answer = asked.respond(b"/oauth2/auth/traefik", *pairs, cookie=asked.cookie(), peer=INGRESS)
        assert answer.response.status in {400, 403}
        assert values(answer, b"X-Auth-Request-User") == []

    @pytest.mark.parametrize(
        "url",
        [
            b"/app/",
            b"https://app.example.com",
            b"https://evil@app.example.com/",
            b"ftp://app.example.com/",
            b"https:///app/",
        ],
    )
    def test_a_url_that_is_none_is_refused(self, url: bytes) -> None:
        asked = world()
        pairs = ((b"X-Original-URL", url), (b"X-Original-Method", b"GET"), (b"X-Forwarded-For", b"192.0.2.7"))
        answer = asked.respond(b"/oauth2/auth/ingress-nginx", *pairs, cookie=asked.cookie(), peer=INGRESS)
        assert answer.response.status == 403


class TestCompat:
    """oauth2-proxy's recipes as published."""

    URI = (b"X-Forwarded-Uri", b"/app/x")
    REAL = (b"X-Real-IP", b"192.0.2.7")

    def asked(self, of: World, *pairs: tuple[bytes, bytes], **parts: Any) -> Respond:
        return of.respond(b"/oauth2/auth", *pairs, peer=INGRESS, **parts)

    def test_yes_is_202(self) -> None:
        asked = world(compat="oauth2-proxy")
        assert self.asked(asked, self.URI, self.REAL, cookie=asked.cookie()).response.status == 202

    def test_envoy_is_told_200_all_the_same(self) -> None:
        """It takes any other status for a denial, and is not told what another ingress was."""
        asked = world(compat="oauth2-proxy")
        for dialect, status in (("traefik", 202), ("envoy", 200), ("traefik", 202), ("envoy", 200)):
            assert ask(dialect, asked, cookie=asked.cookie()).response.status == status

    def test_nobody_gets_a_401_whoever_asks(self) -> None:
        answer = self.asked(world(compat="oauth2-proxy"), self.URI, self.REAL, *HTML, *NAVIGATE)
        assert answer.response.status == 401
        assert values(answer, b"Location") == []

    def test_what_every_method_may_do_is_allowed(self) -> None:
        """S59: the recipes tell no method, and a client may send a field that names one."""
        rules = [
            Rule(name="read", path="/docs/**", methods=frozenset({b"GET"}), allow=Authenticated()),
            Rule(name="write", path="/docs/**", allow=Groups(("admins",))),
            Rule(name="all", allow=Authenticated()),
        ]
        asked = world(compat="oauth2-proxy", sites=(site(rules=RuleTable.build(rules)),))
        user, admin = asked.cookie(), asked.cookie(session(id="s2", identity=identity(groups=("admins",))))
        docs, spoof = (b"X-Forwarded-Uri", b"/docs/x"), (b"X-Forwarded-Method", b"GET")
        for _ in range(2):
            assert self.asked(asked, self.URI, self.REAL, cookie=user).response.status == 202
            assert self.asked(asked, docs, self.REAL, cookie=user).response.status == 403
            assert self.asked(asked, docs, self.REAL, spoof, cookie=user).response.status == 403
            assert self.asked(asked, docs, self.REAL, cookie=admin).response.status == 202
            assert self.asked(asked, docs, self.REAL).response.status == 401

    def test_an_origin_stands_for_an_unsafe_method(self) -> None:
        """S39: what another page sends does not act with the session; a link does."""
        asked = world(compat="oauth2-proxy")
        cookie = asked.cookie()
        assert self.asked(asked, self.URI, self.REAL, *CROSS, cookie=cookie).response.status == 403
        link = (b"Sec-Fetch-Site", b"cross-site")
        assert self.asked(asked, self.URI, self.REAL, link, *NAVIGATE, cookie=cookie).response.status == 202

    def test_a_forwarded_host_that_nginx_let_through_changes_no_rule(self) -> None:
        """S48: Host is what nginx tells."""
        lax = site(
            name="lax",
            hosts=frozenset({"lax.example.com"}),
            rules=RuleTable.build([Rule(name="any", allow=Anyone())]),
        )
        asked = world(compat="oauth2-proxy", sites=(site(), lax))
        spoof = (b"X-Forwarded-Host", b"lax.example.com")
        assert self.asked(asked, self.URI, self.REAL, spoof).response.status == 403

    @pytest.mark.parametrize("name", [b"doorward.internal:4180", b"bogus", b"app.example.com."])
    def test_a_host_that_we_do_not_know_gives_no_choice_of_rules(self, name: bytes) -> None:
        """S48, S49: nginx's default server takes every name, and hands a client's X-Forwarded-Host on."""
        lax = RuleTable.build([Rule(name="any", allow=Anyone())])
        by_host = RuleTable.build([Rule(name="lax", hosts=("lax.example.com",), allow=Anyone())])
        hosts = frozenset({"app.example.com", "lax.example.com"})
        spoof = (b"X-Forwarded-Host", b"lax.example.com")
        for sites in (
            (site(), site(name="lax", hosts=frozenset({"lax.example.com"}), rules=lax)),
            (site(hosts=hosts, rules=by_host),),
        ):
            asked = world(compat="oauth2-proxy", sites=sites)
            told = self.asked(asked, self.URI, self.REAL, spoof, host=name)
            assert (told.response.status, told.note.reason) == (403, "invalid_forwarded")
            # Traefik and Caddy write every field of theirs.
            yes = asked.respond(
                b"/oauth2/auth/traefik", *fields("traefik", b"/x")[:-1], spoof, peer=INGRESS, host=name
            )
            assert yes.response.status == 202
        same = world(compat="oauth2-proxy", sites=(site(hosts=hosts),))
        own = (b"X-Forwarded-Host", b"app.example.com")
        yes = self.asked(same, self.URI, self.REAL, own, host=name, cookie=same.cookie())
        assert yes.response.status == 202

    def test_the_second_recipe_for_traefik_asks_at_the_root(self) -> None:
        asked = world(compat="oauth2-proxy", sites=(site(routes=()),))
        told = fields("traefik", b"/app/x")
        for host in (b"doorward.internal:4180", b"app.example.com"):
            yes = asked.respond(b"/", *told, peer=INGRESS, cookie=asked.cookie(), host=host)
            assert yes.response.status == 202
            no = asked.respond(b"/", *told, *HTML, *NAVIGATE, peer=INGRESS, host=host)
            assert no.response.status == 302
        assert asked.respond(b"/", *told, peer="198.51.100.1", cookie=asked.cookie()).response.status == 403

    def test_a_site_with_an_application_is_not_asked_at_its_root(self) -> None:
        """The request is one for the application, whatever its fields say."""
        asked = world(compat="oauth2-proxy")
        asked.forward(b"/", *fields("traefik", b"/public/"), peer=INGRESS, cookie=asked.cookie())


def test_a_refresh_that_is_due_goes_with_the_answer() -> None:
    asked = world()
    tired = session(refresh_token=Secret(b"r"), access_issued_at=NOW - 290, access_expires_at=NOW + 10)
    asking = head(b"/oauth2/auth/nginx", *fields("nginx", b"/app/"), cookie=asked.cookie(tired), peer=INGRESS)
    decision = asked.decide(asking)
    assert isinstance(decision, Flow)
    assert decision.name == "refresh"


def refused_refresh(dialect: str, target: bytes, *pairs: tuple[bytes, bytes], **parts: Any) -> Respond:
    """Ask for somebody whose session is due for a refresh, which the provider refuses or has answered."""
    browser = setup(provider())
    browser.op.on_token = lambda _: answer({"error": "invalid_grant"}, 400)
    if parts.pop("is_good", False):
        browser.op.on_token = None
        browser.op.id_claims = {"nonce": None, "groups": ["users"]}
    asked = browser.world
    asked.runtime = replace(asked.runtime, forward_auth=POLICY, compat=parts.pop("compat", None))
    tired = session(refresh_token=Secret(b"r"), access_issued_at=NOW - 290, access_expires_at=NOW + 10)
    path = b"/oauth2/auth" + (b"/" + dialect.encode() if dialect else b"")
    told = fields(dialect or "traefik", target)
    asking = head(
        path + (target if dialect == "envoy" else b""),
        *told,
        *pairs,
        cookie=asked.cookie(tired),
        peer=INGRESS,
    )
    decision = asked.decide(asking)
    assert isinstance(decision, Flow)
    result = browser.carry_out(decision)
    assert isinstance(result, Respond)
    return result


@every_dialect
class TestRefresh:
    def test_who_has_to_sign_in_again_is_told_so_as_anybody(self, dialect: str) -> None:
        """The ingress can't use a redirect to the provider, and a login begins at our start endpoint."""
        told = refused_refresh(dialect, b"/app/x?a=1", *HTML, *NAVIGATE)
        assert told.response.status == (401 if dialect in NARROW else 302)
        (location,) = values(told, b"Location")
        assert location == b"https://app.example.com/oauth2/start?rd=%2Fapp%2Fx%3Fa%3D1&cause=denied"
        assert values(told, b"Set-Cookie") == []
        assert told.note.reason == "session_expired"

    def test_a_path_that_can_be_read_in_two_ways_is_refused_as_the_ingress_wants_it(
        self, dialect: str
    ) -> None:
        """S57: nginx makes 500 of any other refusal than 401 and 403."""
        told = refused_refresh(dialect, b"/public/..%2fadmin", is_good=True)
        assert told.response.status == (403 if dialect in NARROW else 400)
        assert told.note.reason == "ambiguous_path"
        assert (told.note.detail or "").endswith("asked about GET app.example.com/public/..%2fadmin")


def test_compat_answers_401_to_who_has_to_sign_in_again() -> None:
    told = refused_refresh("", b"/app/x", *HTML, *NAVIGATE, compat="oauth2-proxy")
    assert told.response.status == 401
    assert values(told, b"Location") == []


def test_a_site_is_asked_about_without_an_application_of_its_own() -> None:
    asked = world(sites=(site(routes=()),))
    assert status("nginx", asked, cookie=asked.cookie()) == 200
