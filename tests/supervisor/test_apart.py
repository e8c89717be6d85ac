"""A configuration that was read by another process means what it says, and its problems arrive whole."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path

import pytest

from sidecar.config import load_text
from sidecar.core.errors import ConfigurationError, UnreadableConfiguration
from sidecar.core.runtime import Runtime
from sidecar.core.secret import Secret
from sidecar.supervisor import apart
from sidecar.supervisor.apart import compile_apart, read_apart
from tests.config.files import complete

TEXT = complete(
    "provider: {type: oidc, issuer: https://id.example.com, client_id: app, client_secret: hush}\n"
    "access:\n"
    "  - {path: /api/*/admin/**, methods: [POST], allow: {groups: [admins]}}\n"
    "  - {path: /public/**, allow: anyone}\n"
    "  - {allow: {all: [{email_domains: [example.com]}, {not: {networks: [192.0.2.0/24]}}]}}\n"
    "trusted_proxies: [10.0.0.0/8]\n"
)


def here() -> Runtime:
    return load_text(TEXT, Path("/nowhere/doorward.yaml"), {})


def there() -> Runtime:
    return compile_apart(TEXT, Path("/nowhere/doorward.yaml"), {})


def test_what_was_read_apart_means_the_same() -> None:
    ours, theirs = here(), there()
    (site,), (other,) = ours.sites, theirs.sites
    assert (theirs.listen, theirs.limits, theirs.trusted_proxies) == (
        ours.listen,
        ours.limits,
        ours.trusted_proxies,
    )
    assert (other.public_url, other.cookie, other.headers, other.routes) == (
        site.public_url,
        site.cookie,
        site.headers,
        site.routes,
    )
    assert other.providers == site.providers
    assert other.rules.rules == site.rules.rules


@pytest.mark.parametrize("path", ["/api/x/admin/y", "/public/z", "/else"])
def test_its_rules_are_found_by_their_own_identity(path: str) -> None:
    """What is granted is kept by the rule object: a copy of it would be another rule."""
    rules = there().sites[0].rules
    for method in (b"GET", b"POST"):
        found = rules.match("app.example.com", path, method)
        assert any(found is rule for rule in rules.rules)
        # Both spellings fall under a rule that is made of two; it must be made of these two.
        both = rules.match("app.example.com", path.upper(), method)
        assert both is not None
        assert found is not None
        assert both.name in {found.name, f"{rules.rules[-1].name} and {found.name}"}


def test_its_keys_open_what_the_same_keys_sealed() -> None:
    """S34: secrets come along, though nothing else can pickle them."""
    ours, theirs = here().sites[0], there().sites[0]
    sealed = ours.session.keys.seal(b"x", purpose="session", name=b"n", site="s", entropy=os.urandom)
    assert theirs.session.keys.open(sealed, purpose="session", name=b"n", site="s") == b"x"
    secret = next(iter(theirs.providers.values())).client_secret
    assert secret == Secret(b"hush")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(theirs.session.keys)


def test_all_problems_of_a_configuration_arrive() -> None:
    text = "upstreem: x\naccess: [{allow: nobody-at-all}]\n"
    path = Path("/nowhere/doorward.yaml")
    with pytest.raises(ConfigurationError) as expected:
        load_text(text, path, {})
    with pytest.raises(ConfigurationError) as found:
        compile_apart(text, path, {})
    assert str(found.value) == str(expected.value)
    assert len(str(found.value).splitlines()) > 2


def test_a_file_is_read_there_and_its_text_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "doorward.yaml"
    file.write_text(TEXT, "utf-8")
    done: list[bool] = []
    runtime, text = read_apart(file, {}, lambda: done.append(True))
    assert (runtime.sites[0].name, text, done) == (here().sites[0].name, TEXT, [True])
    with pytest.raises(UnreadableConfiguration, match="can't be read"):
        read_apart(tmp_path / "absent.yaml", {})


def test_the_environment_is_the_one_that_is_given() -> None:
    text = TEXT.replace("client_secret: hush", "client_secret: {env: CLIENT}")
    runtime = compile_apart(text, Path("/nowhere/doorward.yaml"), {"CLIENT": "from-outside"})
    assert next(iter(runtime.sites[0].providers.values())).client_secret == Secret(b"from-outside")


def test_a_defect_there_is_one_here_and_leaves_no_process(capfd: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="ended with status 1"):
        apart._apart(broken, lambda: None)
    assert "ZeroDivisionError" in capfd.readouterr().err
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_result_of_many_rules_does_not_wait_for_its_reader() -> None:
    """A pipe holds 64 KiB."""
    rules = "".join(f"  - {{path: /t{number}/*/x, allow: authenticated}}\n" for number in range(2000))
    runtime = compile_apart(complete(f"access:\n{rules}"), Path("/nowhere/doorward.yaml"), {})
    assert len(runtime.sites[0].rules.rules) == 2000
