"""The beginning of a login: from a request without a session to the provider's authorization endpoint.

That is at public_url's host, whose callback is registered. Where the site has other hosts (`core.entrance`),
those that share its cookies send the browser there with the whole URL to come back to, and the others ask for
the session that it has, or gets, there (`core.flows.handoff`).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from sidecar.core import transaction
from sidecar.core.authorization import build_authorization_request
from sidecar.core.decision import Flow
from sidecar.core.effects import LoadMetadata
from sidecar.core.entrance import absolute, entrance, start_location
from sidecar.core.errors import BadRequest
from sidecar.core.flows.answers import host_of, own_page, redirect
from sidecar.core.http import Page
from sidecar.core.returnurl import safe_return_url

if TYPE_CHECKING:
    from sidecar.core.decision import Forward, Respond, Steps
    from sidecar.core.flows.call import Call
    from sidecar.core.flows.parameters import Parameters
    from sidecar.core.runtime import Provider, Site
    from sidecar.core.tokens import ProviderMetadata

__all__ = [
    "DENIED",
    "begin",
    "begin_chosen",
    "begin_with",
    "entrance",
    "redirect_uri",
    "sign_in_page",
    "start_location",
    "start_url",
]


DENIED: Final = "denied"
"""The `cause` of a start that nobody has clicked on: the browser was refused something, and is sent there."""


def begin(call: Call, return_to: str) -> Flow:
    """Send the browser to sign in; it comes back to `return_to`, which is checked here once more (S66).

    At once to the only provider, or to our sign-in page where the site wants that or has a choice to offer.
    """
    site = call.site
    return_to = safe_return_url(site, return_to)
    attempts = transaction.attempts_before(site, call.cookies, call.now)
    if entrance(site, host_of(call)) != "here":
        steps = _elsewhere(call, return_to, attempts=attempts, parameters=(("cause", DENIED),))
        return Flow("login", steps, head=call.head, site=site)
    provider = _only_provider(site)
    if provider is None or site.sign_in == "page":
        return Flow("login", _to_sign_in(call, return_to), head=call.head, site=site)
    return begin_with(call, provider, return_to, attempts=attempts)


def begin_chosen(call: Call, return_to: str, parameters: Parameters) -> Flow:
    """Begin as a link to the start endpoint says: by which provider, with what for it, for which cause.

    Raises BadRequest when there is no such provider.
    """
    providers = call.site.providers
    chosen = parameters.single("provider")
    if parameters.single("cause") == DENIED or (chosen is None and len(providers) > 1):
        return begin(call, return_to)
    provider = next(iter(providers.values())) if chosen is None else providers.get(chosen)
    if provider is None:
        raise BadRequest("unknown_provider")
    return begin_with(call, provider, safe_return_url(call.site, return_to), forwarded=parameters.unique())


def begin_with(
    call: Call,
    provider: Provider,
    return_to: str,
    *,
    attempts: int = 0,
    forwarded: Iterable[tuple[str, str]] = (),
    cookies: Iterable[bytes] = (),
) -> Flow:
    """Send the browser to `provider`. `return_to` has been checked.

    `attempts` are the logins in a row that came to nothing, because the browser kept this cookie or that one
    not: after three of them a page explains instead of going round once more. `cookies` are further
    Set-Cookie values for the answer.
    """
    steps: Steps[Respond | Forward]
    if attempts >= transaction.MAX_ATTEMPTS:
        steps = _stop_loop(call, return_to)
    elif entrance(call.site, host_of(call)) != "here":
        allowed = tuple(pair for pair in forwarded if pair[0] in provider.forwarded_params)
        parameters = (("provider", provider.key), *allowed)
        steps = _elsewhere(call, return_to, attempts=attempts, parameters=parameters, cookies=tuple(cookies))
    else:
        steps = _to_provider(
            call, provider, return_to, attempts=attempts, forwarded=tuple(forwarded), cookies=tuple(cookies)
        )
    return Flow("login", steps, head=call.head, site=call.site)


def redirect_uri(site: Site, provider: Provider) -> str:
    """Return our callback's URL; each provider has its own (S06)."""
    return f"{site.public_url}{provider.redirect_path}"


def start_url(site: Site, return_to: str = "/", provider: str | None = None) -> str:
    """Return the path of our start endpoint for a link in a page."""
    chosen = {} if provider is None else {"provider": provider}
    query = urlencode({**chosen, "rd": return_to})
    return f"{site.prefix}/start?{query}"


def sign_in_page(call: Call, return_to: str) -> Respond:
    """Show the ways to sign in. `return_to` has been checked."""
    site = call.site
    providers = [
        {"name": provider.display_name, "url": start_url(site, return_to, provider.key)}
        for provider in site.providers.values()
    ]
    values = {
        "site_name": site.name,
        "providers": providers,
        "return_to": return_to,
        "keeps_fragment": True,
    }
    return own_page(call, Page(name="sign_in", values=values), "sign_in_page")


def _elsewhere(
    call: Call,
    return_to: str,
    *,
    attempts: int,
    parameters: tuple[tuple[str, str], ...],
    cookies: tuple[bytes, ...] = (),
) -> Steps[Respond | Forward]:
    """Send the browser to public_url's host, with `parameters` for the login there."""
    from sidecar.core.flows import handoff  # which begins logins too

    yield from ()
    site, host = call.site, host_of(call)
    if attempts >= transaction.MAX_ATTEMPTS:
        return (yield from _stop_loop(call, return_to))
    if entrance(site, host) == "handoff":
        return handoff.ask(call, return_to, attempts=attempts, parameters=parameters, cookies=cookies)
    query = urlencode([("rd", absolute(site, host, return_to)), *parameters])
    return redirect(call, f"{site.public_url}{site.prefix}/start?{query}", "login_started", cookies)


def _only_provider(site: Site) -> Provider | None:
    return next(iter(site.providers.values())) if len(site.providers) == 1 else None


def _to_provider(
    call: Call,
    provider: Provider,
    return_to: str,
    *,
    attempts: int,
    forwarded: tuple[tuple[str, str], ...],
    cookies: tuple[bytes, ...],
) -> Steps[Respond | Forward]:
    metadata: ProviderMetadata = yield LoadMetadata(provider=provider)
    under_way, set_cookies = transaction.begin(
        call.site,
        provider,
        return_to,
        call.now,
        call.state.surroundings.entropy,
        cookies=call.cookies,
        attempts=attempts,
    )
    request = build_authorization_request(
        provider,
        metadata.authorization_endpoint,
        redirect_uri=redirect_uri(call.site, provider),
        state=under_way.state,
        nonce=under_way.nonce,
        code_challenge=_challenge(under_way.code_verifier.reveal()),
        forwarded=forwarded,
    )
    return redirect(call, request.url(), "login_started", (*set_cookies, *cookies))


def _challenge(code_verifier: bytes) -> str:
    """Return the S256 code challenge (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(code_verifier).digest()).rstrip(b"=").decode("ascii")


def _to_sign_in(call: Call, return_to: str) -> Steps[Respond | Forward]:
    # A redirect without a fragment keeps the fragment of the URL that was asked for (RFC 9110 §10.2.2), so
    # the page's script finds it and takes it along to the provider and back.
    yield from ()
    return redirect(call, f"{call.site.prefix}/sign_in?{urlencode({'rd': return_to})}", "sign_in_page")


def _stop_loop(call: Call, return_to: str) -> Steps[Respond | Forward]:
    yield from ()
    page = Page(name="login_loop", values={"start_url": start_url(call.site, return_to)})
    return own_page(call, page, "login_loop", status=400)
