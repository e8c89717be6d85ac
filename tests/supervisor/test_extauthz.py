"""The gate, asked by gRPC as Envoy asks: the listener that `forward_auth.grpc` starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from sidecar.config.addresses import parse_network
from sidecar.core.runtime import ForwardAuthPolicy, Origin, Site
from sidecar.core.secret import Secret
from sidecar.gateapplication import GateApplication
from sidecar.supervisor.extauthz import serve_envoy
from tests.core.gatesetup import World, site
from tests.engines.harness import Recorder, bounded
from tests.engines_extauthz.calls import caller, request_about

POLICY = ForwardAuthPolicy(callers=(parse_network("127.0.0.0/8"),), grpc="127.0.0.1:0")
SECRET = "a secret of some length"


def other_site() -> Site:
    url = Origin(scheme="https", host="b.example.com", port=443)
    return site(name="other", public_url=url, hosts=frozenset({"b.example.com"}), prefix="/door")


@contextlib.asynccontextmanager
async def asking(
    world: World, policy: ForwardAuthPolicy = POLICY
) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Serve the world's gate and return how to ask it."""
    world.runtime = replace(world.runtime, forward_auth=policy)
    # No flow is expected here, so nobody runs any.
    application = GateApplication(world.runtime, world.state, None, Recorder())  # type: ignore[arg-type]
    server = await serve_envoy(application, world.runtime)
    assert server is not None
    try:
        async with caller(server.address) as ask:
            yield ask
    finally:
        await server.drain(0)


def status(answer: Any) -> int:
    """Return what Envoy makes of an answer."""
    return 200 if answer.status.code == 0 else int(answer.denied_response.status.code)


def test_without_the_key_nothing_listens() -> None:
    world = World()

    async def main() -> None:
        for policy in (None, replace(POLICY, grpc=None)):
            runtime = replace(world.runtime, forward_auth=policy)
            application = GateApplication(runtime, world.state, None, Recorder())  # type: ignore[arg-type]
            assert await serve_envoy(application, runtime) is None

    bounded(main)


def test_each_site_judges_the_requests_of_its_hosts() -> None:
    """With whatever prefix: the path that is asked at is one for all."""
    world = World(sites=(site(), other_site()))
    cookies = [world.cookie(at=one).decode() for one in world.sites]

    async def main() -> list[int]:
        async with asking(world) as ask:
            return [
                status(await ask(request_about("/app/x", [("cookie", cookie)], host=host)))
                for host in ("app.example.com", "b.example.com", "evil.example.com")
                for cookie in cookies
            ]

    assert bounded(main) == [200, 401, 401, 200, 403, 403]


def test_the_verdict_is_of_the_original_request() -> None:
    """S50, S57: its method, its path in every reading."""
    world = World()
    cookie = [("cookie", world.cookie().decode())]

    async def main() -> dict[str, int]:
        async with asking(world) as ask:
            return {
                target: status(await ask(request_about(target, cookie)))
                for target in (
                    "/app/x",
                    "/public/../admin/x",
                    "/public/..%2fadmin/x",
                    "/oauth2/userinfo",
                    "/none",
                )
            }

    told = bounded(main)
    assert told.pop("/app/x") == 200
    assert set(told.values()) <= {400, 403}, told


def test_all_that_is_written_about_callers_must_hold() -> None:
    """S75."""
    world = World()
    request = request_about("/app/x", [("cookie", world.cookie().decode())])
    elsewhere = replace(POLICY, callers=(parse_network("10.0.0.0/8"),))
    secret = replace(POLICY, secret=Secret(SECRET.encode()))
    certified = replace(POLICY, needs_certificate=True)

    async def ask_once(policy: ForwardAuthPolicy, *metadata: tuple[str, str]) -> int:
        async with asking(world, policy) as ask:
            return status(await ask(request, metadata=metadata))

    async def main() -> list[int]:
        proof = ("x-doorward-secret", SECRET)
        return [
            await ask_once(POLICY),
            await ask_once(elsewhere),
            await ask_once(elsewhere, proof),
            await ask_once(secret),
            await ask_once(secret, proof),
            await ask_once(certified, proof),
        ]

    assert bounded(main) == [200, 403, 403, 403, 200, 403]


def test_many_questions_at_once_get_each_their_own_answer() -> None:
    world = World(sites=(site(), other_site()))
    cookie = [("cookie", world.cookie().decode())]

    async def main() -> list[int]:
        async with asking(world) as ask:
            questions = (
                ask(request_about("/app/x", cookie, host=host))
                for _ in range(50)
                for host in ("app.example.com", "b.example.com")
            )
            return [status(answer) for answer in await asyncio.gather(*questions)]

    assert bounded(main) == [200, 401] * 50
