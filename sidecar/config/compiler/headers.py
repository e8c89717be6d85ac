"""Identity headers, and what a session must keep for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from sidecar.config.compiler.context import Context
from sidecar.config.compiler.keys import private_key, signing_algorithms
from sidecar.config.models.headers import AssertionSettings, HeaderSettings, HeaderSource
from sidecar.config.problems import Path
from sidecar.core.headers import PRESETS
from sidecar.core.hygiene import fold
from sidecar.core.runtime import AssertionPolicy, HeaderPolicy, HeaderRule

if TYPE_CHECKING:
    from sidecar.core.runtime import Origin
    from sidecar.core.secret import Secret

__all__ = ["claims_in", "compile_headers", "sources_in"]

_CLAIM = "claim:"


def compile_headers(
    context: Context, path: Path, form: str | tuple[str, ...] | HeaderSettings, public_url: Origin
) -> HeaderPolicy:
    """Return a site's identity headers; the assertion is left out after a problem."""
    if isinstance(form, str):
        settings = HeaderSettings(presets=(form,))
    elif isinstance(form, tuple):
        settings = HeaderSettings(presets=form)
    else:
        settings = form
    presets = [PRESETS[name] for name in settings.presets]
    own = {"upstream": _rules(settings.set), "auth_response": _rules(settings.set_auth_response)}
    _refuse_twice(context, (*path, "set"), own["upstream"])
    _refuse_twice(context, (*path, "set_auth_response"), own["auth_response"])
    policy = HeaderPolicy(
        upstream=_merged([rule for preset in presets for rule in preset.upstream], own["upstream"]),
        auth_response=_merged(
            [rule for preset in presets for rule in preset.auth_response], own["auth_response"]
        ),
        assertion=_assertion(context, (*path, "assertion"), settings.assertion, str(public_url)),
        keep_inbound=frozenset(name.lower() for name in settings.keep_inbound),
    )
    _check_names(context, path, settings, policy)
    return policy


def _rules(sources: Mapping[str, str | HeaderSource]) -> list[HeaderRule]:
    return [
        HeaderRule(name=name, source=source)
        if isinstance(source, str)
        else HeaderRule(name=name, source=source.source, prefix=source.prefix)
        for name, source in sources.items()
    ]


def _merged(presets: Iterable[HeaderRule], own: Iterable[HeaderRule]) -> tuple[HeaderRule, ...]:
    """Return each header once: the operator's own goes before a preset's, a later preset's before others."""
    merged: dict[str, HeaderRule] = {}
    for rule in (*presets, *own):
        merged[rule.name.lower()] = rule
    return tuple(merged.values())


def _refuse_twice(context: Context, path: Path, rules: Iterable[HeaderRule]) -> None:
    names: set[str] = set()
    for rule in rules:
        if rule.name.lower() in names:
            context.refuse((*path, rule.name), "is there twice, in another spelling; remove one", at_key=True)
        names.add(rule.name.lower())


def _check_names(context: Context, path: Path, settings: HeaderSettings, policy: HeaderPolicy) -> None:
    ours = {rule.name.lower() for rule in policy.upstream}
    if settings.assertion is not None:
        header = settings.assertion.header.lower()
        if header in ours:
            context.refuse(
                (*path, "assertion", "header"), "is the name of an identity header too; choose another"
            )
        ours.add(header)
    folded = {fold(name.encode("ascii")) for name in ours}
    for index, name in enumerate(settings.keep_inbound):
        if fold(name.encode("ascii")) in folded:
            context.warn(
                (*path, "keep_inbound", index), "is set by us, so what a client sends is removed all the same"
            )


def _assertion(
    context: Context, path: Path, settings: AssertionSettings | None, public_url: str
) -> AssertionPolicy | None:
    if settings is None:
        return None
    keys = [_key(context, (*path, "keys", index), form) for index, form in enumerate(settings.keys)]
    sound = tuple(key for key in keys if key is not None)
    if not sound:
        return None
    return AssertionPolicy(
        header=settings.header,
        keys=sound,
        issuer=settings.issuer or public_url,
        audience=settings.audience or public_url,
        lifetime_seconds=settings.lifetime,
    )


def _key(context: Context, path: Path, form: object) -> Secret | None:
    from sidecar.config.models.base import SecretSource
    from sidecar.core.secret import Secret

    secret = context.secret(path, form) if isinstance(form, Secret | SecretSource) else None
    key = None if secret is None else private_key(context, path, secret)
    if key is None:
        return None
    if "ES256" not in signing_algorithms(context, path, key):
        context.refuse(path, "is no EC P-256 key; `doorward keys assertion` makes one")
        return None
    return secret


def sources_in(policy: HeaderPolicy) -> set[str]:
    """Return the sources that any header is made from."""
    return {rule.source for rule in (*policy.upstream, *policy.auth_response)}


def claims_in(policy: HeaderPolicy) -> set[str]:
    """Return the paths of the claims among them."""
    return {source.removeprefix(_CLAIM) for source in sources_in(policy) if source.startswith(_CLAIM)}
