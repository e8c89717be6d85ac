"""Which pages there are, and which values each takes: the agreement with `core.flows` and `core.refusals`.

`tests/pages/test_table.py` holds every `Page(...)` of the core against this table, so that a page that does
not exist, or a value that is missing, is found when the tests run and not when somebody needs the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

__all__ = ["PAGES", "Door", "PageSpec"]

type Door = Literal["ajar", "open", "closed", "barred", "dark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSpec:
    """One page: the values it must and may be given, and how it is dressed.

    `door` is how the drawing stands; `script` names a file of `templates` that is sent inline, by hash;
    `is_isolated` sends Cross-Origin-Opener-Policy: not on pages that a pop-up of the application may pass
    through on its way to a login, which would lose its opener.
    """

    required: frozenset[str]
    optional: Mapping[str, object] = field(default_factory=dict)
    door: Door = "closed"
    script: str | None = None
    is_isolated: bool = True

    @property
    def names(self) -> frozenset[str]:
        """Return the names of all values that the page knows."""
        return self.required | frozenset(self.optional)


PAGES: Final[Mapping[str, PageSpec]] = MappingProxyType(
    {
        # providers: [{"name": ..., "url": ...}]; keeps_fragment adds the script for the URL's #fragment
        "sign_in": PageSpec(
            required=frozenset({"site_name", "providers"}),
            optional={"return_to": "/", "keeps_fragment": False},
            door="ajar",
            script="keep_fragment.js",
            is_isolated=False,
        ),
        "signed_out": PageSpec(
            required=frozenset({"sign_in_url"}), optional={"site_name": ""}, door="closed"
        ),
        # a form that posts csrf_token and nothing else to `action`
        "sign_out_confirm": PageSpec(
            required=frozenset({"action", "csrf_token"}),
            optional={"user": "", "cancel_url": "/", "site_name": ""},
            door="open",
        ),
        "denied": PageSpec(
            required=frozenset({"user", "sign_out_url"}),
            optional={"request_id": "", "site_name": ""},
            door="barred",
        ),
        # title and message: sentences of `core.sentences` only; anything else is replaced by the general one
        "error": PageSpec(
            required=frozenset({"status"}),
            optional={"title": "", "message": "", "request_id": "", "retry_url": None, "site_name": ""},
            door="dark",
            is_isolated=False,
        ),
        "session_ended": PageSpec(
            required=frozenset({"sign_in_url"}),
            optional={"was_form": False, "site_name": ""},
            is_isolated=False,
        ),
        "login_loop": PageSpec(
            required=frozenset({"start_url"}), optional={"site_name": ""}, door="closed", is_isolated=False
        ),
        # expires: seconds since the epoch, or None
        "who_am_i": PageSpec(
            required=frozenset({"user", "sign_out_url"}),
            optional={
                "name": None,
                "email": None,
                "preferred_username": None,
                "groups": (),
                "roles": (),
                "subject": None,
                "issuer": None,
                "provider": None,
                "expires": None,
                "site_name": "",
            },
            door="open",
        ),
    }
)
