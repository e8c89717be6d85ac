"""Real logins, through a provider of the tests that lets everybody in at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import httpx

from tests.blackbox.scripted import ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ScriptedProvider", "sign_in"]

_MAX_STEPS: Final = 12


def sign_in(url: str) -> str:
    """Open `url` as a new browser and follow where it leads; return the Cookie header of its host and port.

    Raises RuntimeError when that does not end at `url` with a 2xx.
    """
    home = urlsplit(url).netloc
    jars: dict[str, dict[str, str]] = {}
    here = url
    with httpx.Client(timeout=20, headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}) as client:
        for _ in range(_MAX_STEPS):
            jar = jars.setdefault(urlsplit(here).netloc, {})
            cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())} if jar else {}
            # The client's own jar would not send Secure cookies over http, as browsers do to localhost.
            client.cookies.clear()
            answer = client.get(here, headers=cookie)
            jar.update(_set_cookies(answer))
            for name in [name for name, value in jar.items() if not value]:
                del jar[name]
            if answer.is_success and here == url:
                return "; ".join(f"{name}={value}" for name, value in jars[home].items())
            if not answer.is_redirect:
                raise RuntimeError(f"{url} led to {here}: {answer.status_code} {answer.text[:300]}")
            here = urljoin(here, answer.headers["location"])
    raise RuntimeError(f"{url} leads on and on, at last to {here}")


def _set_cookies(answer: httpx.Response) -> Iterator[tuple[str, str]]:
    for field in answer.headers.get_list("set-cookie"):
        name, _, value = field.partition(";")[0].partition("=")
        is_deleted = "max-age=0" in field.lower() or "1970" in field
        yield name.strip(), "" if is_deleted else value.strip()
