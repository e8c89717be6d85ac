"""Asking only those addons that have an answer.

mitmproxy asks each of its addons about each event, and guards each question with a context manager. A
request brings eight events, and the engine has eight addons: most of these sixty questions are to nobody, and
they cost a tenth of a request (docs/performance.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.addonmanager import AddonManager, safecall
from mitmproxy.exceptions import AddonHalt

if TYPE_CHECKING:
    from mitmproxy.hooks import Hook
    from mitmproxy.master import Master

__all__ = ["AskingManager", "ask_sparingly"]


class AskingManager(AddonManager):
    """mitmproxy's addon manager, which passes over an addon that does not know an event."""

    async def trigger_event(self, event: Hook) -> None:
        """Tell of an event whoever wants to know; an addon's exception is logged, as mitmproxy does."""
        name = event.name
        for addon in self.chain:
            # Looked up anew each time: addons come, go and change. One with others in it answers for them.
            if not hasattr(addon, name) and not hasattr(addon, "addons"):
                continue
            try:
                with safecall():
                    await self.invoke_addon(addon, event)
            except AddonHalt:
                return


def ask_sparingly(master: Master) -> None:
    """Have a master ask so; before it has any addon."""
    master.addons = AskingManager(master)  # type: ignore[no-untyped-call]  # mitmproxy's
