"""What settings become: the Runtime that serves."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from sidecar.core import policy
from sidecar.core.policy import Condition
from sidecar.core.runtime import HeaderRule, Limits
from tests.config.files import KEY, loaded, problems, runtime, site, warnings

_NEVER = "can never decide: access[0] comes first and matches all that it matches"
_OIDC = "{type: oidc, issuer: https://id.example.com, client_id: app%s}"

_SITE = (
    f"public_url: https://wiki.example.com, upstream: http://a:1, provider: {_OIDC % ''},"
    f" session: {{keys: [{KEY}]}}, access: [{{allow: authenticated}}]"
)


class TestProcess:
    def test_defaults_are_those_of_a_sidecar(self) -> None:
        found = runtime("")
        assert (found.listen, found.admin, found.workers) == ("127.0.0.1:8080", None, 1)
        assert (found.trusted_proxies, found.trusts_unix_peers, found.tls) == ((), False, None)
        assert (found.access_log, found.log_format, found.log_level) == (True, "json", "info")

    def test_default_limits_are_those_of_the_core(self) -> None:
        assert runtime("").limits == Limits()

    def test_each_limit_can_be_set(self) -> None:
        text = (
            "limits: {head_size: 32KiB, headers: 64, target_size: 8KiB, head_timeout: 5s, body_grace: 10s,"
            " body_min_rate: 50, idle_timeout: 1m, connections: 100,"
            " session_memory: 128MiB, drain: 5s}\n"
        )
        assert runtime(text).limits == Limits(
            max_head_bytes=32 << 10,
            max_headers=64,
            session_memory_bytes=128 << 20,
            max_target_bytes=8 << 10,
            head_seconds=5,
            body_grace_seconds=10,
            body_min_rate=50,
            idle_seconds=60,
            max_connections=100,
            drain_seconds=5,
        )

    def test_trusted_proxies_are_networks_and_the_socket(self) -> None:
        found = runtime(
            "listen: unix:/run/d.sock\ntrusted_proxies: [10.0.0.0/8, 192.0.2.1, '2001:db8::/32', unix]\n"
        )
        assert found.trusted_proxies == tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.1", "2001:db8::/32")))
        assert found.trusts_unix_peers

    def test_numbers_and_switches_may_come_from_the_environment(self) -> None:
        found = runtime("workers: ${N}\nlog: {access: '${LOG}'}\n", {"N": "3", "LOG": "false"})
        assert (found.workers, found.access_log) == (3, False)

    def test_port_0_may_be_asked_for_twice(self) -> None:
        found = runtime("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n")
        assert (found.listen, found.admin) == ("127.0.0.1:0", "127.0.0.1:0")


class TestSites:
    def test_a_site_is_called_by_its_host(self) -> None:
        assert site("public_url: https://App.example.com:8443\n").name == "app.example.com:8443"

    def test_hosts_are_authorities_without_default_ports(self) -> None:
        found = site('hosts: [WWW.example.com, "a.example.com:443", "b.example.com:80", "[::1]:8443"]\n')
        assert found.hosts == {
            "app.example.com",
            "www.example.com",
            "a.example.com",
            "b.example.com:80",
            "[::1]:8443",
        }

    def test_sites_may_be_a_mapping(self) -> None:
        text = (
            "sites:\n"
            f"  wiki: &base {{{_SITE}}}\n"
            "  shop: {<<: *base, public_url: https://shop.example.com, prefix: /auth}\n"
        )
        found = runtime(text)
        assert [s.name for s in found.sites] == ["wiki", "shop"]
        assert [s.prefix for s in found.sites] == ["/oauth2", "/auth"]
        assert found.sites[1].providers["default"].redirect_path == "/auth/callback"

    def test_sites_may_be_a_list(self) -> None:
        text = (
            "sites:\n"
            f"  - &base {{name: wiki, {_SITE}}}\n"
            "  - {<<: *base, public_url: https://shop.example.com, name: shop}\n"
        )
        assert [s.name for s in runtime(text).sites] == ["wiki", "shop"]

    def test_a_host_belongs_to_one_site(self) -> None:
        text = (
            "sites:\n"
            f"  wiki: &base {{{_SITE}}}\n"
            "  shop: {<<: *base, public_url: https://shop.example.com, hosts: [wiki.example.com]}\n"
        )
        complaint = '"wiki.example.com" is a host of the site wiki too; a host belongs to one site'
        assert problems(text) == [f"3:33: sites.shop.public_url: {complaint}"]

    def test_a_name_belongs_to_one_site(self) -> None:
        text = (
            "sites:\n"
            f"  - &base {{name: wiki, {_SITE}}}\n"
            "  - {<<: *base, public_url: https://shop.example.com, name: wiki}\n"
        )
        assert problems(text) == ['3:61: sites[1].name: "wiki" is another site\'s name too; choose another']

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("public_url: https://a.example.com", "public_url: https://a.example.com:8443"),
            (
                "public_url: https://a.example.com, cookie: {domain: example.com}",
                "public_url: https://b.example.com, cookie: {domain: example.com}",
            ),
            (
                "public_url: https://example.com, cookie: {domain: example.com}",
                "public_url: https://b.example.com, cookie: {domain: b.example.com}",
            ),
        ],
    )
    def test_sites_whose_cookies_would_meet_need_names_of_their_own(self, first: str, second: str) -> None:
        rest = _SITE.partition(", ")[2]
        found = problems(f"sites:\n  a: {{{rest}, {first}}}\n  b: {{{rest}, {second}}}\n")
        assert len(found) == 1
        mend = "and browsers would send each to both; give one of them another cookie.name"
        assert found[0].endswith(f"of the site a's, {mend}")
        renamed = (
            second.replace("cookie: {", "cookie: {name: b, ")
            if "cookie" in second
            else f"{second}, cookie: {{name: b}}"
        )
        assert problems(f"sites:\n  a: {{{rest}, {first}}}\n  b: {{{rest}, {renamed}}}\n") == []

    def test_origins_and_return_hosts(self) -> None:
        found = site(
            "trusted_origins: ['https://Console.example.com:443/']\nreturn_hosts: [Docs.example.com]\n"
        )
        assert found.trusted_origins == {"https://console.example.com"}
        assert found.return_hosts == {"docs.example.com"}


class TestUpstreams:
    def test_an_upstream_by_url(self) -> None:
        (route,) = site("upstream: http://127.0.0.1:3000/\n").routes
        assert (route.prefix, route.upstream.host, route.upstream.port) == ("/", "127.0.0.1", 3000)
        assert (route.upstream.scheme, route.upstream.tls) == ("http", None)

    def test_an_upstream_over_https_is_verified_by_its_own_name(self) -> None:
        upstream = site("upstream: https://app.internal\n").routes[0].upstream
        assert (upstream.scheme, upstream.port) == ("https", 443)
        assert upstream.tls is not None
        assert upstream.tls.server_name is None

    @pytest.mark.parametrize("written", ["unix:/run/app.sock", "unix:///run/app.sock"])
    def test_an_upstream_on_a_socket(self, written: str) -> None:
        assert site(f"upstream: {written}\n").routes[0].upstream.unix_path == "/run/app.sock"

    def test_upstreams_by_path(self) -> None:
        routes = site("upstreams: {/: http://a:1, /api/: {url: http://b:2, response_timeout: 5m}}\n").routes
        assert [(r.prefix, r.upstream.host, r.upstream.response_seconds) for r in routes] == [
            ("/", "a", None),
            ("/api", "b", 300.0),
        ]

    def test_a_site_may_have_nothing_behind_it(self) -> None:
        assert site("upstream: none\n").routes == ()
        assert problems("upstreams: {/: none}\n")

    def test_each_option_of_an_upstream_can_be_set(self) -> None:
        text = (
            "upstream: {url: https://a:1, server_name: b, host_header: c, connect_timeout: 1s,"
            " response_timeout: 2s, keepalive: 3s, max_idle: 4}\n"
        )
        upstream = site(text).routes[0].upstream
        assert upstream.tls is not None
        assert upstream.tls.server_name == "b"
        assert (upstream.host_header, upstream.connect_seconds, upstream.response_seconds) == ("c", 1, 2)
        assert (upstream.keepalive_seconds, upstream.max_idle_connections) == (3, 4)


class TestProviders:
    def test_without_a_secret_the_client_is_public(self) -> None:
        provider = site(f"provider: {_OIDC % ''}\n").providers["default"]
        assert (provider.auth_method, provider.client_secret) == ("none", None)
        assert provider.redirect_path == "/oauth2/callback"
        assert provider.display_name == "id.example.com"

    def test_with_a_secret_it_is_sent_by_basic(self) -> None:
        provider = site(f"provider: {_OIDC % ', client_secret: hush'}\n").providers["default"]
        assert provider.auth_method == "client_secret_basic"

    def test_each_of_several_has_a_callback_of_its_own(self) -> None:
        """S06: a code for one is never redeemed at another."""
        found = site(f"providers: {{a: {_OIDC % ''}, b: {_OIDC % ''}}}\n")
        assert {key: provider.redirect_path for key, provider in found.providers.items()} == {
            "a": "/oauth2/callback/a",
            "b": "/oauth2/callback/b",
        }
        assert found.sign_in == "page"

    def test_the_issuer_stays_as_it_is_written(self) -> None:
        """S16: tokens and metadata are compared with it byte for byte."""
        text = "provider: {type: oidc, issuer: https://ID.example.com:443/realms/x/, client_id: app}\n"
        assert site(text).providers["default"].issuer == "https://ID.example.com:443/realms/x/"

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "'[::1]'", "localhost", "id.localhost"])
    def test_an_issuer_over_http_is_fine_on_loopback(self, host: str) -> None:
        """S16: nobody is in between there."""
        issuer = f"http://{host.strip(chr(39))}:9000"
        assert problems(f"provider: {{type: oidc, issuer: '{issuer}', client_id: app}}\n") == []

    def test_an_issuer_over_http_may_be_asked_for(self) -> None:
        text = (
            "provider: {type: oidc, issuer: http://id.auth.svc, client_id: app, insecure_http: true,"
            " endpoints: {authorization: https://id.example.com/auth}}\n"
        )
        provider = site(text).providers["default"]
        assert provider.insecure_http
        assert provider.authorization_endpoint == "https://id.example.com/auth"

    def test_each_setting_of_a_provider_arrives(self) -> None:
        text = (
            "provider: {type: oidc, issuer: https://id.example.com, client_id: app, client_secret: hush,"
            " display_name: ID, auth_method: client_secret_post, scopes: [openid, groups],"
            " response_mode: form_post, audience: api, extra_params: {prompt: login},"
            " forwarded_params: [login_hint], algorithms: [ES256], claims: {user: [upn, sub], groups: a.b},"
            " require_verified_email: false, userinfo: never, clock_skew: 5s, timeout: 3s,"
            " max_answer: 64KiB, keys_refetch: 10s, http_proxy: 'http://u:p@proxy:3128',"
            " discovery_url: https://id.example.com/d, assertion_audience: aud, max_state: 500,"
            " private_key_id: kid, endpoints: {token: https://t, userinfo: https://u, jwks: https://j,"
            " end_session: https://e}}\n"
        )
        provider = site(text).providers["default"]
        assert (provider.auth_method, provider.display_name) == ("client_secret_post", "ID")
        assert (provider.scopes, provider.response_mode) == (("openid", "groups"), "form_post")
        assert (provider.audience, provider.extra_params) == ("api", (("prompt", "login"),))
        assert (provider.forwarded_params, provider.algorithms) == (frozenset({"login_hint"}), ("ES256",))
        assert (provider.claims.user, provider.claims.groups) == (("upn", "sub"), "a.b")
        assert (provider.require_verified_email, provider.userinfo) == (False, "never")
        assert (provider.leeway_seconds, provider.call_seconds) == (5, 3)
        assert (provider.call_max_bytes, provider.keys_min_refetch_seconds) == (65536, 10)
        assert (provider.http_proxy, provider.discovery_url) == (
            "http://u:p@proxy:3128",
            "https://id.example.com/d",
        )
        assert (provider.token_endpoint, provider.userinfo_endpoint) == ("https://t", "https://u")
        assert (provider.jwks_uri, provider.end_session_endpoint) == ("https://j", "https://e")
        assert (provider.assertion_audience, provider.max_state_chars) == ("aud", 500)
        assert provider.private_key_id == "kid"

    def test_no_configuration_makes_a_provider_a_development_one(self) -> None:
        """S72: only the commands that run an embedded provider can."""
        assert not site("").providers["default"].is_development
        assert problems(f"provider: {_OIDC % ', is_development: true'}\n") == [
            "1:72: provider.is_development: unknown key"
        ]


class TestRules:
    @pytest.mark.parametrize(
        ("allow", "condition"),
        [
            ("anyone", policy.Anyone()),
            ("authenticated", policy.Authenticated()),
            ("nobody", policy.Not(policy.Anyone())),
            ("{users: [a, b]}", policy.Users(("a", "b"))),
            ("{emails: [A@example.com]}", policy.Emails(("A@example.com",))),
            ("{email_domains: [example.com]}", policy.EmailDomains(("example.com",))),
            ("{groups: [g]}", policy.Groups(("g",))),
            ("{roles: [r]}", policy.Roles(("r",))),
            ("{claims: {a.b: [x, 1, true]}}", policy.ClaimEquals("a.b", ("x", 1, True))),
            ("{claims: {a.b: x}}", policy.ClaimEquals("a.b", ("x",))),
            ("{networks: [10.0.0.0/8]}", policy.Networks.of(["10.0.0.0/8"])),
            ("{not: {groups: [g]}}", policy.Not(policy.Groups(("g",)))),
            ("{any: [anyone, authenticated]}", policy.AnyOf((policy.Anyone(), policy.Authenticated()))),
            ("{all: [authenticated]}", policy.All((policy.Authenticated(),))),
            (
                "{groups: [g], networks: [10.0.0.0/8]}",
                policy.All((policy.Groups(("g",)), policy.Networks.of(["10.0.0.0/8"]))),
            ),
            (
                "{claims: {a: [1], b: [2]}}",
                policy.All((policy.ClaimEquals("a", (1,)), policy.ClaimEquals("b", (2,)))),
            ),
        ],
    )
    def test_allow_says_who_may_pass(self, allow: str, condition: Condition) -> None:
        (rule,) = site(f"access: [{{allow: {allow}}}]\n").rules.rules
        assert rule.allow == condition

    def test_a_rule_is_called_by_its_name_or_place(self) -> None:
        rules = site("access: [{path: /a, allow: anyone}, {name: rest, allow: authenticated}]\n").rules.rules
        assert [rule.name for rule in rules] == ["access[0]", "rest"]

    def test_a_rule_with_several_paths_is_for_any_of_them(self) -> None:
        rules = site(
            "access: [{path: [/a, /b/**], methods: [get], allow: anyone, preflight: pass}]\n"
        ).rules.rules
        assert [(r.name, r.path, r.methods, r.preflight) for r in rules] == [
            ("access[0]", "/a", frozenset({b"GET"}), True),
            ("access[0]", "/b/**", frozenset({b"GET"}), True),
        ]

    def test_path_case_is_folded_unless_the_upstream_tells_it_apart(self) -> None:
        text = "access: [{path: /admin, allow: nobody}, {allow: anyone}]\n"
        folded, exact = site(text).rules, site(f"path_case: exact\n{text}").rules
        assert [rule.name for rule in exact.rules] == [rule.name for rule in folded.rules]
        found = exact.match("app.example.com", "/ADMIN", b"GET")
        assert found is not None
        assert found.name == "access[1]"
        both = folded.match("app.example.com", "/ADMIN", b"GET")
        assert both is not None
        assert both.name != "access[1]"


class TestCookies:
    @pytest.mark.parametrize(
        ("text", "name", "login"),
        [
            ("", b"__Host-doorward", b"__Host-doorward-login"),
            ("cookie: {name: app}\n", b"__Host-app", b"__Host-app-login"),
            ("cookie: {name: __Host-app}\n", b"__Host-app", b"__Host-app-login"),
            ("cookie: {domain: example.com}\n", b"__Secure-doorward", b"__Secure-doorward-login"),
            (
                "cookie: {name: __Secure-app, domain: example.com}\n",
                b"__Secure-app",
                b"__Secure-app-login",
            ),
            ("public_url: http://localhost:8080\n", b"doorward-8080", b"doorward-login-8080"),
            ("public_url: http://127.0.0.1\n", b"doorward-80", b"doorward-login-80"),
            ("public_url: https://localhost:8443\n", b"__Host-doorward", b"__Host-doorward-login"),
        ],
    )
    def test_the_name_says_who_may_set_it(self, text: str, name: bytes, login: bytes) -> None:
        """S28, S29: __Host- by default, __Secure- with a domain, the port on loopback over http."""
        cookie = site(text).cookie
        assert (cookie.session_name, cookie.transaction_name) == (name, login)
        assert cookie.secure == (b"__" in name)

    def test_a_cookie_is_lax_and_of_one_host(self) -> None:
        cookie = site("").cookie
        assert (cookie.same_site, cookie.partitioned, cookie.domain) == ("Lax", False, None)

    def test_a_cookie_for_frames(self) -> None:
        cookie = site("cookie: {same_site: none, partitioned: true}\n").cookie
        assert (cookie.same_site, cookie.partitioned) == ("None", True)


class TestSessions:
    def test_life_times(self) -> None:
        session = site(f"session: {{keys: [{KEY}], idle: 30m, absolute: 8h, refresh_before: 2m}}\n").session
        assert (session.idle_seconds, session.absolute_seconds) == (1800, 28800)
        assert (session.refresh_before_seconds, session.store) == (120, "cookie")

    def test_a_session_keeps_the_claims_that_rules_and_headers_need(self) -> None:
        text = (
            "access: [{path: /a, allow: {any: [{claims: {b.c: [1]}}, {not: {claims: {a: [1]}}}]}},"
            " {allow: authenticated}]\n"
            "headers: {set: {X-D: 'claim:d', X-E: email}, set_auth_response: {X-F: 'claim:f'}}\n"
        )
        assert site(text).session.kept_claims == ("a", "b.c", "d", "f")

    def test_a_session_keeps_no_claim_that_nothing_needs(self) -> None:
        assert site("").session.kept_claims == ()

    @pytest.mark.parametrize(
        ("text", "access_token", "id_token"),
        [
            ("", False, True),
            ("headers: {set: {Authorization: {source: access_token, prefix: 'Bearer '}}}\n", True, True),
            ("headers: {set_auth_response: {X-Token: access_token}}\n", True, True),
            (
                (
                    "provider: {type: oidc, issuer: https://i, client_id: a, discovery: false,"
                    " endpoints: {authorization: https://a, token: https://t, jwks: https://j}}\n"
                ),
                False,
                False,
            ),
            (
                (
                    "provider: {type: oidc, issuer: https://i, client_id: a, discovery: false,"
                    " endpoints: {authorization: https://a, token: https://t, jwks: https://j, end_session: https://e}}\n"
                ),
                False,
                True,
            ),
            (
                (
                    "headers: authorization-username-email\n"
                    "provider: {type: oidc, issuer: https://i, client_id: a, discovery: false,"
                    " endpoints: {authorization: https://a, token: https://t, jwks: https://j}}\n"
                ),
                False,
                True,
            ),
        ],
    )
    def test_a_session_keeps_the_tokens_that_something_needs(
        self, text: str, access_token: bool, id_token: bool
    ) -> None:
        session = site(text).session
        assert (session.keep_access_token, session.keep_id_token) == (access_token, id_token)


class TestHeaders:
    def test_the_default_is_the_family_of_oauth2_proxy(self) -> None:
        headers = site("").headers
        assert [rule.name for rule in headers.upstream] == [
            "X-Forwarded-User",
            "X-Forwarded-Email",
            "X-Forwarded-Groups",
            "X-Forwarded-Preferred-Username",
        ]
        assert headers.auth_response[0].name == "X-Auth-Request-User"

    def test_several_presets_add_up(self) -> None:
        names = [rule.name for rule in site("headers: [remote-user, openmetadata]\n").headers.upstream]
        assert names == ["Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name", "X-Auth-Params-Email"]

    def test_an_own_header_goes_before_one_of_a_preset(self) -> None:
        text = (
            "headers: {presets: [openmetadata], set: {x-auth-params-email: 'claim:mail', X-Team: groups}}\n"
        )
        headers = site(text).headers
        assert headers.upstream == (
            HeaderRule(name="x-auth-params-email", source="claim:mail"),
            HeaderRule(name="X-Team", source="groups"),
        )
        assert [rule.name for rule in headers.auth_response] == ["X-Auth-Params-Email"]

    def test_no_preset_is_no_header(self) -> None:
        assert site("headers: []\n").headers.upstream == ()
        assert site("headers: {presets: []}\n").headers.upstream == ()

    def test_a_prefix_keeps_its_space(self) -> None:
        text = "headers: {presets: [], set: {Authorization: {source: id_token, prefix: 'Bearer '}}}\n"
        assert site(text).headers.upstream == (
            HeaderRule(name="Authorization", source="id_token", prefix="Bearer "),
        )

    def test_kept_headers_are_in_small_letters(self) -> None:
        assert site("headers: {keep_inbound: [X-Remote-Addr]}\n").headers.keep_inbound == {"x-remote-addr"}

    def test_headers_with_other_signs_can_be_kept(self) -> None:
        """S42: some applications do use them, and nothing else lets them through."""
        text = "headers: {keep_inbound: [X_Api.Key, 'x~y']}\n"
        assert site(text).headers.keep_inbound == {"x_api.key", "x~y"}


_PROBABLY_NOT_MEANT: list[tuple[str, list[str]]] = [
    ("", []),
    (
        "access: [{allow: authenticated}, {path: /x, allow: anyone}, {path: /y, allow: anyone}]\n",
        [
            f"1:34: access[1]: {_NEVER}",
            f"1:61: access[2]: {_NEVER}",
        ],
    ),
    (
        (
            "access: [{path: /a/**, methods: [GET], allow: anyone}, {path: /a/b,"
            " allow: authenticated}, {path: '/a/*.css', methods: [GET], allow: authenticated}]\n"
        ),
        [f"1:92: access[2]: {_NEVER}"],
    ),
    (
        (
            "access: [{path: '/a*/b', allow: anyone}, {path: /ax/b, allow: authenticated},"
            " {path: /a/b, allow: authenticated}]\n"
        ),
        [
            f"1:42: access[1]: {_NEVER}",
            f"1:79: access[2]: {_NEVER}",
        ],
    ),
    (
        (
            "hosts: [a.example.com]\n"
            "access: [{hosts: [a.example.com], allow: anyone}, {hosts: ['*.example.com'],"
            " allow: authenticated}, {hosts: [a.example.com], path: /x, allow: authenticated}]\n"
        ),
        [f"2:101: access[2]: {_NEVER}"],
    ),
    (
        "access: [{allow: anyone}]\n",
        ["1:1: access: lets everybody in: no rule asks anybody to sign in"],
    ),
    (
        "access: [{path: /oauth2/start, allow: anyone}, {allow: authenticated}]\n",
        ["1:17: access[0].path: is below /oauth2, where our own endpoints are; rules do not reach them"],
    ),
    (
        "access: [{hosts: [other.example.com], allow: anyone}, {allow: authenticated}]\n",
        ["1:19: access[0].hosts[0]: is none of the site's hosts, so the rule never decides there"],
    ),
    (
        (
            "provider: {type: oidc, issuer: https://i, client_id: a, scopes: [openid]}\n"
            "access: [{allow: {all: [{not: {emails: [a@example.com]}}]}}]\n"
        ),
        [
            (
                "1:65: provider.scopes: lacks email, and rules ask for e-mail addresses, which many providers"
                " then do not tell"
            )
        ],
    ),
    (
        f"session: {{keys: [{KEY}], idle: 24h}}\n",
        ["1:71: session.idle: is 1d and never ends a session: absolute ends it after 12h"],
    ),
    (
        "headers: {keep_inbound: [X-Forwarded-User]}\n",
        ["1:26: headers.keep_inbound[0]: is set by us, so what a client sends is removed all the same"],
    ),
    (
        "headers: {keep_inbound: [X_Forwarded.User]}\n",
        ["1:26: headers.keep_inbound[0]: is set by us, so what a client sends is removed all the same"],
    ),
    (
        "upstream: none\n",
        [
            (
                "1:11: upstream: lets nothing through, and no ingress may ask; add forward_auth, or name the"
                " application"
            )
        ],
    ),
    (
        "trusted_proxies: [10.1.0.0/16]\nforward_auth: {callers: [10.1.2.3, 10.0.0.0/8]}\n",
        [
            (
                "2:36: forward_auth.callers[1]: is not among trusted_proxies: what the ingress sends to our"
                " own endpoints counts as 10.0.0.0/8's, not the browser's; add it there"
            )
        ],
    ),
]


class TestWarnings:
    @pytest.mark.parametrize(("text", "expected"), _PROBABLY_NOT_MEANT)
    def test_what_is_probably_not_meant_is_told(self, text: str, expected: list[str]) -> None:
        assert warnings(text) == expected

    def test_a_short_absolute_life_is_no_reason_to_warn_of_the_default(self) -> None:
        assert warnings(f"session: {{keys: [{KEY}], absolute: 30m}}\n") == []

    def test_many_rules_are_compared_with_those_that_match_everything(self) -> None:
        many = "".join(f"  - {{path: /a{n}, allow: anyone}}\n" for n in range(500))
        text = f"access:\n{many}  - {{allow: authenticated}}\n  - {{path: /late, allow: anyone}}\n"
        assert warnings(text) == [
            "503:5: access[501]: can never decide: access[500] comes first and matches all that it matches"
        ]


@pytest.mark.slow
def test_ten_thousand_rules_load() -> None:
    rules = "".join(f"  - {{path: /a{n}/*/b, allow: {{groups: [g{n}]}}}}\n" for n in range(10_000))
    assert len(loaded(f"access:\n{rules}").runtime.sites[0].rules.rules) == 10_000
