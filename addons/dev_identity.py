r"""Be somebody: a chosen identity for every request, without any provider. For this machine only.

    mitmdump -s addons/dev_identity.py --set dev_identity_as=alice --set dev_identity_groups=admins,staff \
        --listen-host 127.0.0.1 --mode reverse:http://localhost:3000

The application gets the identity headers of the `oauth2-proxy` preset, as it would behind the gate; what the
client sends under such names goes. Options: `dev_identity_as` (the user; without it nobody is anybody and
nothing passes), `dev_identity_email`, `dev_identity_name`, `dev_identity_groups` (separated by commas).
Command: `doorward.be` changes who it is.

Whoever reaches this can be anybody, so it only starts where nobody else reaches it: `listen_host` must be a
loopback address, and a request from any other is refused. Each answer says `Doorward-Development` (S72); the
key of its sessions is made at the start and leaves the process never.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mitmproxy import command, ctx, exceptions

from addons.authenticate import Authenticate
from addons.passing import OPEN, PassingApplication, PassingGate, host_of
from sidecar.coordination import LocalCoordinator
from sidecar.core.development import ISSUER_PATH
from sidecar.core.headers import PRESETS
from sidecar.core.hosts import is_loopback_name
from sidecar.core.http import RequestHead
from sidecar.core.identity import Identity
from sidecar.core.navigation import sends_lax_cookie
from sidecar.core.revocation import RevocationList
from sidecar.core.runtime import (
    CookiePolicy,
    HeaderPolicy,
    Limits,
    Origin,
    Route,
    Runtime,
    SessionPolicy,
    Site,
    Upstream,
)
from sidecar.core.seal import KeyRing
from sidecar.core.secret import Secret
from sidecar.core.session import Session
from sidecar.core.sessioncache import SessionCache
from sidecar.core.sessioncookie import set_session
from sidecar.core.state import State, Surroundings
from sidecar.effects import Runner
from sidecar.observe import Meters, Observation
from sidecar.observe.logs import build_event_log

if TYPE_CHECKING:
    from mitmproxy.addonmanager import Loader

    from sidecar.core.decision import Decision

__all__ = ["DevIdentity", "addons", "is_loopback"]

_TEXT_OPTIONS: Final[Mapping[str, str]] = {
    "dev_identity_as": "Who every request comes from; without it nothing passes.",
    "dev_identity_email": "Their e-mail address.",
    "dev_identity_name": "Their name.",
    "dev_identity_groups": "Their groups, separated by commas.",
    "dev_identity_hosts": "Hosts besides loopback ones that may be asked for, separated by commas.",
}
_MAX_SITES: Final = 64
_SECONDS: Final = 86_400.0
# Nobody's path: none of our endpoints is served here.
_PREFIX: Final = "/.doorward-development"


def is_loopback(address: str) -> bool:
    """Tell whether an address is one that only this machine reaches."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


class _Persona(PassingApplication):
    """Every request is this person's: it gets the cookie of a session that nobody logged in to."""

    def __init__(self, identity: Identity, hosts: frozenset[str]) -> None:
        surroundings = Surroundings(clock=time.time, entropy=os.urandom)
        state = State(surroundings=surroundings, sessions=SessionCache(), revocations=RevocationList())
        events = build_event_log(sys.stderr, time.time, style="console", level="warning")
        observation = Observation(Meters(), events, None)
        coordinator = LocalCoordinator(state.revocations.add, time.time)
        self._keys = KeyRing.from_secrets([Secret(os.urandom(32))], mode="dev")
        self._identity = identity
        self._hosts = hosts
        self._sites: dict[str, Runtime] = {}
        super().__init__(
            self._runtime("localhost"), state, Runner(coordinator, {}, surroundings, observation), observation
        )

    def decide(self, head: RequestHead) -> Decision:
        """Decide for the host that is asked for, as this person."""
        host = host_of(head).lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if not is_loopback(head.peer) or not (is_loopback_name(name.strip("[]")) or host in self._hosts):
            # A name that somebody else's server chose may lead here too (DNS rebinding).
            return self.refuse("denied", 403, head.request_id, head)
        self.runtime = self._sites.get(host) or self._runtime(host)
        return super().decide(self._dressed(head))

    def _dressed(self, head: RequestHead) -> RequestHead:
        """Return the head with the person's cookie, where a browser would send one that is SameSite=Lax.

        A page of any site, opened in the same browser, could else read from the application as this person.
        """
        own = f"{'https' if head.is_tls else 'http'}://{host_of(head).lower()}".encode("latin-1")
        if not sends_lax_cookie(own, head):
            return head
        now = time.time()
        site = self.runtime.sites[0]
        session = Session(
            id=base64.urlsafe_b64encode(os.urandom(18)).decode("ascii"),
            site=site.name,
            provider="development",
            identity=self._identity,
            created_at=now,
            seen_at=now,
            absolute_end=now + _SECONDS,
        )
        cookies = [value.partition(b";")[0] for value in set_session(site, session, (), os.urandom)]
        sent = [pair for pair in cookies if not pair.endswith(b"=")]
        headers = [*head.headers, (b"Cookie", b"; ".join(sent))]
        return RequestHead(head.method, head.target, headers, head.peer, head.request_id, head.is_tls)

    def _runtime(self, host: str) -> Runtime:
        if len(self._sites) >= _MAX_SITES:
            self._sites.clear()
        runtime = self._sites[host] = _build_runtime(host, self._keys)
        return runtime


def _build_runtime(host: str, keys: KeyRing) -> Runtime:
    preset = PRESETS["oauth2-proxy"]
    name, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "80")
    origin = Origin(scheme="http", host=name.strip("[]"), port=int(port))
    # Where it really goes is the mode's word (`PassingGate`).
    upstream = Upstream(name="application", scheme="http", host="localhost", port=0)
    site = Site(
        name="development",
        public_url=origin,
        hosts=frozenset({host, origin.authority}),
        prefix=_PREFIX,
        routes=(Route(prefix="/", upstream=upstream),),
        providers={},
        rules=OPEN,
        cookie=CookiePolicy(
            session_name=b"doorward-dev", transaction_name=b"doorward-dev-login", secure=False
        ),
        session=SessionPolicy(keys=keys),
        headers=HeaderPolicy(upstream=preset.upstream, auth_response=preset.auth_response),
        csrf_check=False,
        dev_banner="chosen identity",
    )
    return Runtime(sites=(site,), trusted_proxies=(), listen="127.0.0.1:0", admin=None)


class DevIdentity(Authenticate):
    """The addon."""

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        for name, meaning in _TEXT_OPTIONS.items():
            loader.add_option(name, str, "", meaning)

    def configure(self, updated: set[str]) -> None:
        """Become somebody. Refuses to be anybody where others reach it."""
        if not updated & {*_TEXT_OPTIONS, "listen_host", "mode"}:
            return
        listen_host = ctx.options.listen_host
        places = [mode.partition("@")[2].rpartition(":")[0] or listen_host for mode in ctx.options.mode]
        for place in places:
            if not is_loopback(place or ""):
                raise exceptions.OptionsError(
                    f"dev_identity: whoever reaches {place or 'all addresses of this machine'} could be"
                    " anybody; use --listen-host 127.0.0.1"
                )
        self.use(_build, "dev_identity")

    @command.command("doorward.be")  # type: ignore[untyped-decorator]  # mitmproxy's
    def be(self, user: str, groups: str = "") -> None:
        r"""Be somebody else from now on."""
        ctx.options.update(dev_identity_as=user, dev_identity_groups=groups, dev_identity_email="")


def _build() -> PassingGate:
    options = ctx.options
    user = options.dev_identity_as
    if not user:
        raise ValueError("dev_identity_as is empty; say who to be, as in --set dev_identity_as=alice")
    identity = Identity(
        issuer=f"http://localhost{ISSUER_PATH}",
        subject=user,
        user=user,
        email=options.dev_identity_email or f"{user}@example.com",
        preferred_username=user,
        name=options.dev_identity_name or None,
        groups=_split(options.dev_identity_groups),
        claims={},
    )
    application = _Persona(identity, frozenset(_split(options.dev_identity_hosts)))
    return PassingGate(application, Limits())


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


addons: list[object] = [DevIdentity()]
