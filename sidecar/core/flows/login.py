"""The beginning of a login: from a request without a session to the provider's authorization endpoint."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from sidecar.core import transaction
from sidecar.core.authorization import build_authorization_request
from sidecar.core.decision import Flow
from sidecar.core.effects import LoadMetadata
from sidecar.core.entrance import entrance, start_location
from sidecar.core.flows.answers import own_page, redirect
from sidecar.core.http import Page
from sidecar.core.returnurl import safe_return_url

if TYPE_CHECKING:
    from sidecar.core.decision import Forward, Respond, Steps
    from sidecar.core.flows.call import Call
    from sidecar.core.runtime import Provider, Site
    from sidecar.core.tokens import ProviderMetadata

__all__ = [
    "begin",
    "begin_with",
    "entrance",
    "redirect_uri",
    "sign_in_page",
    "start_location",
    "start_url",
]


def begin(call: Call, return_to: str) -> Flow:
    """Send the browser to sign in; it comes back to `return_to`, which is checked here once more (S66).

    At once to the only provider, or to our sign-in page where the site wants that or has a choice to offer.
    """
    site = call.site
    return_to = safe_return_url(site, return_to)
    provider = _only_provider(site)
    if provider is None or site.sign_in == "page":
        return Flow("login", _to_sign_in(call, return_to), head=call.head, site=site)
    attempts = transaction.attempts_before(site, call.cookies, call.now)
    return begin_with(call, provider, return_to, attempts=attempts)


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
    if attempts >= transaction.MAX_ATTEMPTS:
        return Flow("login", _stop_loop(call, return_to), head=call.head, site=call.site)
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
