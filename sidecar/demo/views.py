"""The application's pages. It wears the same dress as Doorward's own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.core.http import Response
from sidecar.pages.dress import Wardrobe
from sidecar.pages.security import page_headers, source_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.core.http import RequestHead
    from sidecar.demo.received import Field, Visitor

__all__ = ["home_page", "room_page"]

_WARDROBE: Final = Wardrobe(Path(__file__).parent / "templates", styles=("demo.css",))
_SCRIPT: Final = "demo.js"
_ROOMS: Final = {
    "public": ("The public room", "No sign-in is needed here: a rule says `allow: anyone`."),
    "reports": ("Reports", "You are here because you are in the group staff."),
    "admin": ("The admin room", "You are here because you are in the group admins."),
    "nothing": ("Nothing here", "Doorward let you pass, but the application has no such page."),
}


def home_page(head: RequestHead, visitor: Visitor | None, fields: Sequence[Field]) -> Response:
    """Show who somebody is, what to try, and every header that arrived."""
    values = {
        "request_line": f"{head.method.decode('latin-1')} {head.target.decode('latin-1')}",
        "fields": [asdict(field) for field in fields],
        "visitor": _shown(visitor),
    }
    html = _WARDROBE.html("home.html", _common | values, door="open", script=_SCRIPT)
    own = page_headers(
        _WARDROBE.style_hash(), source_hash(_WARDROBE.text(_SCRIPT)), (), is_isolated=True, connects=True
    )
    return Response(status=200, headers=own, body=html.encode())


def room_page(room: str, visitor: Visitor | None, *, status: int = 200) -> Response:
    """Show one of the rooms behind the door."""
    title, message = _ROOMS[room]
    values = {"heading": title, "message": message, "visitor": _shown(visitor)}
    door = "dark" if room == "nothing" else "open"
    html = _WARDROBE.html("room.html", _common | values, door=door)
    own = page_headers(_WARDROBE.style_hash(), None, (), is_isolated=True)
    return Response(status=status, headers=own, body=html.encode())


_common: Final[dict[str, object]] = {"site_name": "", "request_id": ""}


def _shown(visitor: Visitor | None) -> dict[str, object] | None:
    if visitor is None:
        return None
    words = [word for word in visitor.name.split() if word[0].isalnum()]
    initials = "".join(word[0] for word in (*words[:1], *words[1:][-1:])).upper()
    return {**asdict(visitor), "initials": initials or "?"}
