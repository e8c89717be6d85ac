"""From a Page to bytes and headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.core.sentences import safe_sentence
from sidecar.pages.dress import Wardrobe
from sidecar.pages.security import page_headers, source_hash
from sidecar.pages.table import PAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.core.http import HeaderPair, Page
    from sidecar.pages.table import PageSpec

__all__ = ["RenderedPage", "render"]

_WARDROBE: Final = Wardrobe()
# Pages on which a person has something to report show the request id; on others it would only be noise.
_WITH_REQUEST_ID: Final = frozenset({"error", "denied", "login_loop"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedPage:
    """A page ready to send: its own headers (content and security) and its body."""

    headers: tuple[HeaderPair, ...]
    body: bytes


def render(page: Page, request_id: str) -> RenderedPage:
    """Render `page` with the values it was given, and `request_id` where somebody may have to report it.

    Raises KeyError for a page that is not in the table or a value that is missing: defects of ours, found
    by `tests/pages/test_table.py`. What the values hold is never a reason to fail.
    """
    spec = PAGES[page.name]
    values = _complete(page, spec, request_id)
    script = spec.script if values.get("keeps_fragment") else None
    html = _WARDROBE.html(f"{page.name}.html", values, door=spec.door, script=script)
    script_hash = source_hash(_WARDROBE.text(script)) if script else None
    headers = page_headers(
        _WARDROBE.style_hash(), script_hash, page.form_targets, is_isolated=spec.is_isolated
    )
    return RenderedPage(headers=headers, body=html.encode())


def _complete(page: Page, spec: PageSpec, request_id: str) -> Mapping[str, object]:
    """Return the page's values with defaults for what it may leave out."""
    missing = spec.required - page.values.keys()
    if missing:
        raise KeyError(f"page {page.name} lacks {', '.join(sorted(missing))}")
    values = {"site_name": "", **spec.optional, **page.values}
    values["request_id"] = request_id if page.name in _WITH_REQUEST_ID else ""
    if page.name == "error":
        values["title"], values["message"] = safe_sentence(
            values["status"], values["title"], values["message"]
        )
    return values
