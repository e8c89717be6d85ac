"""What a stranger gets from any application behind Doorward: nothing, by whatever way."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from websockets.exceptions import InvalidStatus

from tests.blackbox.doorward import Doorward
from tests.blackbox.scripted import ScriptedProvider
from tests.blackbox.websocket import open_websocket

__all__ = ["assert_strangers_reach_nothing"]


def assert_strangers_reach_nothing(
    doorward: Doorward, provider: ScriptedProvider, paths: Iterable[str]
) -> None:
    """Try each path as page, by scripts with several methods, and as WebSocket."""
    stranger = doorward.agent()
    for path in paths:
        url = doorward.url + path
        page = stranger.open(url, follow=False)
        assert page.status == 302, path
        assert page.location.startswith(provider.issuer), path
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            answer = stranger.fetch(url, method, content=None if method in {"GET", "HEAD"} else b"x")
            assert answer.status == 401, (method, path)
        with pytest.raises(InvalidStatus) as refused:
            open_websocket(url).close()
        assert refused.value.response.status_code == 401, path
