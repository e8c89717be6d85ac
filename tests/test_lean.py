"""Imports without a library's optional parts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sidecar.lean import postpone, without

# Nothing of these serves a request. structlog and httpx would load some because they are installed; the
# configuration, which needs others, is read by another process.
_UNUSED = ("rich", "pygments", "click", "h2", "typer", "pydantic", "yaml")

_SERVE = """
import asyncio, sys
from pathlib import Path
from sidecar.supervisor.apart import compile_apart
from sidecar.supervisor.serving import Serving, build_state, build_surroundings
from sidecar.coordination import LocalCoordinator

TEXT = '''
listen: 127.0.0.1:0
public_url: http://localhost:8080
upstream: http://127.0.0.1:9
provider: {type: oidc, issuer: "http://127.0.0.1:9", client_id: app, client_secret: s}
session: {keys: ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="]}
access: [{allow: authenticated}]
'''

async def main():
    state = build_state(build_surroundings())
    runtime = compile_apart(TEXT, Path("/nowhere/doorward.yaml"), {})
    coordinator = LocalCoordinator(state.revocations.add, state.surroundings.clock)
    serving = Serving(runtime, state, coordinator)
    await serving.start()
    while "httpx" not in sys.modules:  # the first call to the provider, which nobody answers
        await asyncio.sleep(0.01)
    await serving.drain()

asyncio.run(main())
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_hidden_module_can_not_be_imported_within_the_block_only() -> None:
    sys.modules.pop("colorsys", None)
    with without("colorsys"), pytest.raises(ModuleNotFoundError):
        import colorsys  # noqa: F401
    import colorsys as found

    assert found.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


def test_module_that_is_loaded_already_stays_available() -> None:
    import json

    with without("json"):
        import json as again
    assert again is json
    assert sys.modules["json"] is json


def test_name_is_free_again_when_the_block_raises() -> None:
    sys.modules.pop("colorsys", None)
    with pytest.raises(RuntimeError), without("colorsys"):
        raise RuntimeError
    assert "colorsys" not in sys.modules


def test_serving_process_loads_nothing_that_it_does_not_use() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _SERVE], capture_output=True, text=True, timeout=60, check=True
    )
    assert not set(run.stdout.splitlines()[-1].split()) & set(_UNUSED)


_INTERCEPT = """
import sys
import {module}
unused = {"flask", "ldap3", "werkzeug", "passlib"}
print(sorted(unused & set(sys.modules)))
from mitmproxy import addons
from mitmproxy.addons import core
print(core is addons.core, len(addons.default_addons()) > 20, "flask" in sys.modules)
"""


@pytest.mark.parametrize("module", ["sidecar.supervisor.interception", "sidecar.engines.mitm"])
def test_interception_loads_only_the_addons_of_mitmproxys_that_it_runs(module: str) -> None:
    """The package is whole again for whoever asks for all of it, as mitmweb's view does."""
    run = subprocess.run(
        [sys.executable, "-c", _INTERCEPT.replace("{module}", module)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.splitlines() == ["[]", "True True True"]


def test_a_package_that_is_loaded_is_not_postponed() -> None:
    import json

    postpone("json")
    assert sys.modules["json"] is json
    with pytest.raises(ModuleNotFoundError):
        postpone("json.nonsense")


def test_a_postponed_package_runs_when_something_of_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("xml.dom")]:
        monkeypatch.delitem(sys.modules, name)
    postpone("xml.dom")
    package = sys.modules["xml.dom"]
    monkeypatch.setitem(sys.modules, "xml.dom", package)
    from xml.dom import domreg

    assert domreg.well_known_implementations
    assert "Node" not in vars(package)
    assert package.Node.ELEMENT_NODE == 1
    assert package.domreg is domreg
    with pytest.raises(AttributeError):
        _ = package.nonsense
