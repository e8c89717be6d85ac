"""Which rule a request falls under, and what follows when the readings of its path disagree."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.errors import BadRequest, ConfigurationError
from sidecar.core.identity import Identity
from sidecar.core.paths import parse_target
from sidecar.core.policy import AnyOf, Anyone, Authenticated, Condition, Groups, Networks, Not
from sidecar.core.rules import Rule, RuleTable, judge

ADMIN = Identity(issuer="https://id.example.com", subject="1", user="ada", groups=("admins",), claims={})
USER = Identity(issuer="https://id.example.com", subject="2", user="bob", groups=("staff",), claims={})
HOST = "app.example.com"
ADMINS = Groups(("admins",))


def rule(
    name: str = "r",
    path: str = "/**",
    *,
    allow: Condition | None = None,
    methods: tuple[bytes, ...] = (),
    hosts: tuple[str, ...] = (),
    preflight: bool = False,
) -> Rule:
    return Rule(
        name=name,
        allow=allow or Authenticated(),
        path=path,
        methods=frozenset(methods),
        hosts=hosts,
        preflight=preflight,
    )


def matched(table: RuleTable, path: str, method: bytes = b"GET", host: str = HOST) -> str | None:
    found = table.match(host, path, method)
    return None if found is None else found.name


TABLE = RuleTable.build(
    [
        rule("public", "/public/**", allow=Anyone()),
        rule("admin", "/admin/**", allow=ADMINS),
        rule("internal", "/internal/**", allow=Networks.of(["10.0.0.0/8"])),
        rule("rest"),
    ]
)


def outcome(target: str, identity: Identity | None, table: RuleTable = TABLE) -> str:
    """Say what becomes of a request: "allowed", "login", "denied", or the code of its refusal."""
    try:
        parsed = parse_target(target.encode("latin-1"))
        rules = table.rules_for(HOST, parsed.readings, b"GET")
        _, verdict = judge(rules, identity, "192.0.2.1")
    except BadRequest as refused:
        return refused.code
    return "allowed" if verdict.allowed else "login" if verdict.needs_login else "denied"


class TestReadings:
    @pytest.mark.parametrize(
        ("target", "stranger", "user", "admin"),
        [
            ("/public/x", "allowed", "allowed", "allowed"),
            ("/admin/x", "login", "denied", "allowed"),
            ("/x", "login", "allowed", "allowed"),
            # The way out of what is open.
            ("/public/../admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/%2e%2e/admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/.%2e/admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/..%2fadmin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/..;/admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/..;a=b/admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/%252e%252e/admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/%252e%252e%252fadmin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/%2e%2e%3b/admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/.%FF./admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/public/..%20/admin", "ambiguous_path", "ambiguous_path", "allowed"),
            ("/x/../public/../admin", "login", "ambiguous_path", "allowed"),
            # Other names of what is closed.
            ("//admin", "login", "ambiguous_path", "allowed"),
            ("/./admin", "login", "ambiguous_path", "allowed"),
            ("//x/admin", "login", "ambiguous_path", "allowed"),
            ("/admin%20", "login", "ambiguous_path", "allowed"),
            ("/admin.", "login", "ambiguous_path", "allowed"),
            ("/admin;x=1", "login", "ambiguous_path", "allowed"),
            ("/admin%3f", "login", "ambiguous_path", "allowed"),
            ("/admin%23", "login", "ambiguous_path", "allowed"),
            ("/%61dmin", "login", "ambiguous_path", "allowed"),
            ("/%2561dmin", "login", "ambiguous_path", "allowed"),
            ("/x/..%2fadmin", "login", "ambiguous_path", "allowed"),
            ("/ADMIN", "login", "denied", "allowed"),
            ("/Admin/x", "login", "denied", "allowed"),
            ("/admin/", "login", "denied", "allowed"),
            ("/admin?", "login", "denied", "allowed"),
            ("/admin?public", "login", "denied", "allowed"),
            # No reading at all.
            ("\\admin", "invalid_path", "invalid_path", "invalid_path"),
            ("/\\admin", "invalid_path", "invalid_path", "invalid_path"),
            ("/%5cadmin", "invalid_path", "invalid_path", "invalid_path"),
            ("/public/..%5cadmin", "invalid_path", "invalid_path", "invalid_path"),
            ("/admin%00", "invalid_path", "invalid_path", "invalid_path"),
            ("/public/%c0%ae%c0%ae/admin", "invalid_path", "invalid_path", "invalid_path"),
            ("/public/%e0%80%ae./admin", "invalid_path", "invalid_path", "invalid_path"),
            # A network that nobody is in: no sign-in helps.
            ("/internal/x", "denied", "denied", "denied"),
            ("/x/../internal/y", "ambiguous_path", "ambiguous_path", "ambiguous_path"),
        ],
    )
    def test_a_path_passes_when_every_reading_does(
        self, target: str, stranger: str, user: str, admin: str
    ) -> None:
        """S57: judged in every reading, refused when the readings disagree."""
        assert (outcome(target, None), outcome(target, USER), outcome(target, ADMIN)) == (
            stranger,
            user,
            admin,
        )

    @pytest.mark.parametrize(
        "target",
        [
            *(
                "/api/queues/%2F/name",
                "/api/v4/projects/group%2Fproject",
                "/wiki/C%23",
                "/a/100%25",
                "/a%3Bb",
            ),
            *(
                "/api/v1/repositories/https%3A%2F%2Fexample.com%2Frepo",
                "/caf%C3%A9/a%20b",
                "/caf%E9",
                "/a//b",
            ),
        ],
    )
    def test_encoded_delimiters_pass_where_they_change_nothing(self, target: str) -> None:
        """S58: RabbitMQ, GitLab and Argo CD need `%2F`."""
        assert outcome(target, USER) == "allowed"
        assert outcome(target, None) == "login"
        assert outcome("/public" + target, None) == "allowed"

    def test_a_rule_is_written_in_readable_text(self) -> None:
        table = RuleTable.build([rule(path="/café/a b", allow=Anyone()), rule()])

        assert outcome("/caf%C3%A9/a%20b", None, table) == "allowed"
        assert outcome("/caf%E9/a%20b", None, table) == "ambiguous_path"

    def test_readings_under_one_rule_are_one_answer(self) -> None:
        readings = parse_target(b"/x//%2Fy;z").readings

        assert len(readings) > 4
        assert TABLE.rules_for(HOST, readings, b"GET") == (TABLE.rules[3],)

    def test_no_rule_is_an_answer_that_disagrees_with_a_rule(self) -> None:
        table = RuleTable.build([rule(path="/public/**", allow=Anyone())])

        assert outcome("/public/../x", None, table) == "ambiguous_path"
        assert outcome("/x", ADMIN, table) == "denied"

    def test_no_readings_are_denied(self) -> None:
        """S61: nothing to judge is no reason to pass."""
        assert not judge((), ADMIN, "192.0.2.1")[1].allowed

    def test_the_refusal_names_the_rules(self) -> None:
        rules = TABLE.rules_for(HOST, parse_target(b"/public/../admin").readings, b"GET")

        with pytest.raises(BadRequest, match="ambiguous_path: rule public and rule admin disagree"):
            judge(rules, None, "192.0.2.1")
        with pytest.raises(BadRequest, match="no rule"):
            judge((rules[0], None), None, "192.0.2.1")


class TestMatching:
    def test_the_first_rule_that_matches_decides(self) -> None:
        table = RuleTable.build([rule("a", "/a/*"), rule("b", "/a/b", allow=Anyone()), rule("c", "/**")])

        assert [matched(table, path) for path in ("/a/b", "/a", "/a/b/c")] == ["a", "c", "c"]

    def test_allow_takes_no_part_in_matching(self) -> None:
        """S61: a rule that refuses is not passed over for one that admits."""
        table = RuleTable.build([rule("closed", allow=Not(Anyone())), rule("open", allow=Anyone())])

        assert outcome("/x", ADMIN, table) == "denied"

    def test_no_rule_denies(self) -> None:
        """S61: what no rule speaks of is closed."""
        assert matched(RuleTable.build([]), "/") is None
        assert outcome("/", ADMIN, RuleTable.build([])) == "denied"

    @pytest.mark.parametrize(
        ("pattern", "covered", "other"),
        [
            ("/admin", ["/admin", "/admin/"], ["/admin/x", "/x/admin", "/administrator", "/", "//admin"]),
            ("/admin/**", ["/admin", "/admin/", "/admin/x/y", "/admin//x"], ["/administrator", "/x/admin"]),
            ("/", ["/"], ["/x", "//"]),
            ("/**", ["/", "/x", "/x/y/", "//"], []),
            ("/a/*/b", ["/a/x/b"], ["/a/b", "/a//b", "/a/x/y/b", "/a/x/b/c"]),
            ("/a/*", ["/a/x", "/a/x/"], ["/a", "/a/", "/a/x/y"]),
            ("/*.css", ["/x.css", "/.css", "/x.css/"], ["/x.css.js", "/a/x.css", "/css"]),
            ("/**/*.css", ["/x.css", "/a/b/x.css"], ["/x.css/y"]),
        ],
    )
    def test_patterns_are_anchored(self, pattern: str, covered: list[str], other: list[str]) -> None:
        """S59: a pattern covers the whole path."""
        table = RuleTable.build([rule("it", pattern), rule("rest")])

        assert {matched(table, path) for path in covered} == {"it"}
        assert {matched(table, path) for path in other} <= {"rest"}


class TestMethods:
    def test_a_rule_for_get_does_not_open_post(self) -> None:
        """S59: rules know methods, and nothing but the method itself counts as one."""
        table = RuleTable.build([rule("read", methods=(b"GET",), allow=Anyone()), rule("rest")])

        assert [matched(table, "/", method) for method in (b"GET", b"HEAD", b"POST", b"OPTIONS", b"")] == [
            *("read", "read", "rest", "rest", "rest")
        ]

    def test_a_rule_for_head_is_not_one_for_get(self) -> None:
        table = RuleTable.build([rule("head", methods=(b"HEAD",)), rule("rest")])

        assert [matched(table, "/", method) for method in (b"HEAD", b"GET")] == ["head", "rest"]

    def test_case_of_a_method_makes_no_difference(self) -> None:
        """S61: Django and Werkzeug serve `post` as POST."""
        table = RuleTable.build([rule("write", methods=(b"post", b"Delete")), rule("rest", allow=Anyone())])

        assert {matched(table, "/", method) for method in (b"POST", b"post", b"DELETE", b"dElEte")} == {
            "write"
        }

    @pytest.mark.parametrize("method", [b"", b"GET POST", b"GET,", b"\xc3\xa9"])
    def test_what_is_no_method_is_refused(self, method: bytes) -> None:
        """S61: an error, never a rule that does not match."""
        with pytest.raises(ConfigurationError, match="is no method; write GET, POST and so on"):
            rule(methods=(method,))


class TestHosts:
    TABLE = RuleTable.build(
        [
            rule("exact", "/a", hosts=("App.example.com", "other.example.org")),
            rule("below", "/a", hosts=("*.example.com",)),
            rule("any", "/a"),
        ]
    )

    @pytest.mark.parametrize(
        ("host", "name"),
        [
            ("app.example.com", "exact"),
            ("APP.example.com:8443", "exact"),
            ("other.example.org", "exact"),
            ("b.example.com", "below"),
            ("c.b.example.com", "below"),
            ("example.com", "any"),
            ("evil-example.com", "any"),
            ("app.example.com.evil.org", "any"),
            ("[::1]:80", "any"),
        ],
    )
    def test_a_rule_for_hosts_covers_those_alone(self, host: str, name: str) -> None:
        """S59: rules know hosts, by whole labels and in any case."""
        assert matched(self.TABLE, "/a", host=host) == name

    def test_the_order_of_rules_counts_across_hosts(self) -> None:
        table = RuleTable.build([rule("any", "/a/*"), rule("exact", "/a/b", hosts=("app.example.com",))])

        assert matched(table, "/a/b", host="app.example.com") == "any"

    def test_a_table_tells_whether_hosts_count(self) -> None:
        answers = [self.TABLE.rules_for(host, ("/a",), b"GET") for host in ("app.example.com", "x.org") * 2]

        assert [rules[0].name for rules in answers if rules[0]] == ["exact", "any", "exact", "any"]
        assert self.TABLE.has_hosts
        assert not TABLE.has_hosts

    def test_a_bad_host_pattern_is_refused(self) -> None:
        """S61: an error, never a rule that does not match."""
        with pytest.raises(ConfigurationError, match="is no host"):
            rule(hosts=("https://a.example",))


class TestCase:
    """Express, IIS and ASP.NET take /ADMIN for /admin; most others don't."""

    def test_a_path_in_another_case_must_satisfy_both_rules(self) -> None:
        """S57: `/ADMIN` is another path, or the same."""
        both = TABLE.match(HOST, "/ADMIN", b"GET")

        assert both is not None
        assert both.name == "rest and admin"
        assert TABLE.match(HOST, "/ADMIN", b"GET") is both
        assert [outcome("/ADMIN", identity) for identity in (None, USER, ADMIN)] == [
            *("login", "denied", "allowed")
        ]

    def test_a_rule_in_capitals_closes_the_path_in_small_letters_too(self) -> None:
        table = RuleTable.build([rule("admin", "/Admin/**", allow=ADMINS), rule("rest")])

        assert [outcome(path, USER, table) for path in ("/Admin/x", "/admin/x", "/aDMIN/x")] == ["denied"] * 3

    def test_what_is_open_is_not_open_in_another_case(self) -> None:
        assert outcome("/PUBLIC/x", None) == "login"
        assert outcome("/PUBLIC/x", USER) == "allowed"

    def test_a_path_that_has_a_rule_in_one_case_only_is_denied_in_others(self) -> None:
        table = RuleTable.build([rule(path="/a", allow=Anyone())])

        assert outcome("/A", ADMIN, table) == "denied"

    def test_a_preflight_passes_where_both_rules_let_it(self) -> None:
        table = RuleTable.build([rule(path="/a", preflight=True), rule(preflight=False)])

        both = table.match(HOST, "/A", b"GET")

        assert both is not None
        assert not both.preflight

    def test_rules_that_ask_for_the_same_are_not_combined(self) -> None:
        table = RuleTable.build([rule("it", "/a"), rule("rest")])

        assert matched(table, "/A") == "rest"

    def test_letters_beyond_ascii_are_folded_too(self) -> None:
        table = RuleTable.build([rule("it", "/straße", allow=ADMINS), rule("rest")])

        assert outcome("/STRASSE", USER, table) == "denied"

    def test_an_operator_may_tell_cases_apart(self) -> None:
        table = RuleTable.build(TABLE.rules, fold_case=False)

        assert matched(table, "/ADMIN") == "rest"
        assert matched(table, "/admin") == "admin"

    def test_combinations_are_bounded(self) -> None:
        table = RuleTable.build([*(rule(f"r{i}", f"/a{i}", allow=ADMINS) for i in range(1100)), rule("rest")])

        for i in range(1100):
            assert matched(table, f"/A{i}") == f"rest and r{i}"
        assert len(table._combined) <= 1024


class TestRulesOfReadings:
    @settings(deadline=None)
    @given(
        st.lists(st.sampled_from(["/a", "/A", "/a/b", "/b", "/A/b"]), min_size=1, max_size=3, unique=True),
        st.lists(
            st.tuples(st.sampled_from(["/a", "/A/*", "/*", "/**"]), st.sampled_from([(), (b"GET",)])),
            max_size=4,
        ),
    )
    def test_the_rules_of_readings_are_those_of_each_once(
        self, readings: list[str], patterns: list[tuple[str, tuple[bytes, ...]]]
    ) -> None:
        table = RuleTable.build([rule(str(i), path, methods=m) for i, (path, m) in enumerate(patterns)])
        for method in (b"GET", b"POST", b"GET"):
            expected = [table.match(HOST, path, method) for path in readings]
            assert table.rules_for(HOST, tuple(readings), method) == tuple(dict.fromkeys(expected))

    def test_rules_of_equal_content_stay_apart(self) -> None:
        table = RuleTable.build([rule("a", "/x", allow=AnyOf((Anyone(),))), rule("b", "/y")])

        assert table.rules_for(HOST, ("/x", "/y", "/x"), b"GET") == table.rules


@pytest.mark.parametrize("fold_case", [True, False])
def test_a_pickled_table_is_made_anew(fold_case: bool) -> None:
    """What it remembers by the identity of rules would mean other rules elsewhere."""
    table = RuleTable.build([rule("admin", "/admin", allow=ADMINS), rule("rest")], fold_case=fold_case)
    name = matched(table, "/ADMIN")
    copied = copy.copy(table)  # as pickle makes one
    assert not copied._combined
    assert copied.rules == table.rules
    assert matched(copied, "/ADMIN") == name == ("rest and admin" if fold_case else "rest")
    assert copied.match(HOST, "/admin", b"GET") is copied.rules[0]
