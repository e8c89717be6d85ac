"""The few HTML pages that people see of us.

Owns: templates, style, the table of pages with the values each takes, and the headers that a page is sent
with (Content-Security-Policy and its kin). Depends on: `core` and, from the first page on, Jinja2. Leaves to
others: which page is shown and when (`core.flows`, `core.refusals`), status and framing (engines).

    render(page, request_id) -> RenderedPage(headers, body)

No page needs anything from elsewhere: style and drawings are inside, named in the policy by their hash.
"""

from __future__ import annotations

from sidecar.pages.render import RenderedPage, render
from sidecar.pages.table import PAGES, PageSpec

__all__ = ["PAGES", "PageSpec", "RenderedPage", "render"]
