"""Sessions that are due for their refresh."""

from __future__ import annotations

import time

from tests.blackbox.agent import Agent
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.waiting import wait_until

__all__ = ["sign_in_with_due_refresh"]

# Half of it, and a session is due for its refresh.
_SHORT = 0.1


def sign_in_with_due_refresh(agent: Agent, url: str, provider: ScriptedProvider) -> Agent:
    """Sign in by a protected URL; the session is due for its refresh, and its next token lasts long."""
    provider.access_token_seconds = _SHORT
    page = agent.open(url, follow=False)
    while not page.location.startswith(provider.issuer):
        page = agent.open(page.location, follow=False)
    callback = agent.open(page.location, follow=False).location
    assert agent.open(callback, follow=False).status == 302
    signed_in_at = time.monotonic()
    wait_until(lambda: time.monotonic() > signed_in_at + _SHORT, "the refresh is due")
    provider.access_token_seconds = 3600
    provider.forget()
    return agent
