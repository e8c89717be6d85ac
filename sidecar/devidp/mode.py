"""Development mode: what a runtime must be before it may talk to the embedded provider (S72)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.core.errors import ConfigurationError
from sidecar.core.hosts import is_loopback_name
from sidecar.core.seal import KEY_BYTES, KeyRing
from sidecar.core.secret import Secret
from sidecar.devidp.serving import check_listen

if TYPE_CHECKING:
    from sidecar.core.runtime import Runtime, Site

__all__ = ["in_development"]


def in_development(runtime: Runtime, entropy: Callable[[int], bytes]) -> Runtime:
    """Return `runtime` in development mode: the one way to accept what the embedded provider says.

    Its sessions are sealed with a key that lives and dies with the process, under the label of development,
    whatever keys are configured: neither mode opens the other's cookies. Each answer carries the banner.
    Raises ConfigurationError when it would be served, or reached, beyond loopback.
    """
    check_listen(runtime.listen)
    keys = KeyRing.from_secrets([Secret(entropy(KEY_BYTES))], mode="dev")
    return replace(runtime, sites=tuple(_in_development(site, keys) for site in runtime.sites))


def _in_development(site: Site, keys: KeyRing) -> Site:
    if not is_loopback_name(site.public_url.host):
        raise ConfigurationError(
            f"Development mode is for this machine only: public_url is {site.public_url}; use http://localhost:PORT."
        )
    return replace(
        site,
        session=replace(site.session, keys=keys),
        providers={key: replace(party, is_development=True) for key, party in site.providers.items()},
        dev_banner="development mode",
    )
