"""The provider's own pages, in the dress of Doorward's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.core.http import HeaderPair, Response
from sidecar.pages.dress import Wardrobe
from sidecar.pages.security import page_headers, source_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.devidp.values import Client, Person

__all__ = ["choose_page", "error_page", "form_post_page", "sign_out_page", "signed_out_page"]

_WARDROBE: Final = Wardrobe(Path(__file__).parent / "templates", styles=("people.css",))


def _page(
    template: str,
    values: Mapping[str, object],
    *,
    status: int = 200,
    door: str = "closed",
    script: str | None = None,
    form_targets: tuple[str, ...] = (),
    headers: tuple[HeaderPair, ...] = (),
) -> Response:
    html = _WARDROBE.html(template, {"site_name": "", "request_id": "", **values}, door=door, script=script)
    script_hash = source_hash(_WARDROBE.text(script)) if script else None
    # Not isolated: an application may open its login in a pop-up, which must keep its opener.
    own = page_headers(_WARDROBE.style_hash(), script_hash, form_targets, is_isolated=False)
    return Response(status=status, headers=(*own, *headers), body=html.encode())


def choose_page(
    client: Client,
    people: Sequence[Person],
    values: Mapping[str, object],
    *,
    form_targets: tuple[str, ...],
    headers: tuple[HeaderPair, ...],
    status: int = 200,
) -> Response:
    """Ask who somebody wants to be. `values`: action, request, csrf_token, hint, problem, typed."""
    shown = {
        **values,
        "client_name": client.name or client.client_id,
        "people": [
            {
                "sub": person.sub,
                "name": person.name or person.sub,
                "email": person.email or "",
                "about": person.about,
                "groups": list(person.groups),
                "initials": _initials(person.name or person.sub),
                "is_hinted": bool(values["hint"]) and values["hint"] in {person.sub, person.email},
            }
            for person in people
        ],
    }
    return _page("choose.html", shown, status=status, door="ajar", form_targets=form_targets, headers=headers)


def form_post_page(redirect_uri: str, parameters: Mapping[str, str], origin: str) -> Response:
    """Send the answer by a form that posts itself (OAuth 2.0 Form Post Response Mode)."""
    values = {"redirect_uri": redirect_uri, "parameters": parameters}
    return _page("form_post.html", values, door="open", script="form_post.js", form_targets=(origin,))


def sign_out_page(
    action: str, csrf_token: str, fields: Mapping[str, str], user: str, headers: tuple[HeaderPair, ...]
) -> Response:
    """Ask whether somebody wants to sign out: a request without a good id_token_hint is anybody's."""
    values = {"action": action, "csrf_token": csrf_token, "fields": fields, "user": user}
    return _page("sign_out.html", values, door="open", headers=headers)


def signed_out_page(headers: tuple[HeaderPair, ...] = ()) -> Response:
    """Say that nobody is signed in here any more."""
    return _page("signed_out_here.html", {}, headers=headers)


def error_page(code: str, detail: str, status: int = 400) -> Response:
    """Say what is wrong with a request whose answer must not go to a client."""
    return _page(
        "provider_error.html", {"code": code, "detail": detail, "status": status}, status=status, door="dark"
    )


def _initials(name: str) -> str:
    words = [word for word in name.split() if word[0].isalnum()]
    return "".join(word[0] for word in (*words[:1], *words[1:][-1:])).upper() or "?"
