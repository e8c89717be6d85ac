"""The runner: carries out each effect and sends its result into the flow, for every engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, assert_never

from sidecar.core.effects import (
    CallProvider,
    ClaimOnce,
    DeleteStored,
    Effect,
    Emit,
    LoadKeys,
    LoadMetadata,
    LoadStored,
    Once,
    ReadBody,
    Revoke,
    SaveStored,
)
from sidecar.core.errors import BadRequest, DoorwardError, ProviderUnavailable, StoreUnavailable
from sidecar.core.flows.failures import answer_failure
from sidecar.effects.calls import ProviderCalls
from sidecar.effects.known import KnownProvider

if TYPE_CHECKING:
    from sidecar.application import BodyReader, Observer
    from sidecar.coordination import Coordinator
    from sidecar.core.decision import Flow, Forward, Respond, Steps
    from sidecar.core.runtime import Provider
    from sidecar.core.state import Surroundings
    from sidecar.sessions import SessionStore

__all__ = ["Runner"]

_MAX_KNOWN_PROVIDERS: Final = 256
_FIRST_RETRY_SECONDS: Final = 0.5
_LAST_RETRY_SECONDS: Final = 15.0


class Runner:
    """One per process. Holds connections and what is known of providers; a reload keeps it."""

    def __init__(
        self,
        coordinator: Coordinator,
        stores: Mapping[str, SessionStore],
        surroundings: Surroundings,
        observer: Observer,
        calls: ProviderCalls | None = None,
    ) -> None:
        """Bind the surroundings; nothing is opened before it is needed. `calls` replaces the usual ones."""
        self._coordinator = coordinator
        self._stores = stores
        self._clock: Callable[[], float] = surroundings.clock
        self._observer = observer
        self._calls = calls or ProviderCalls(observer)
        self._known: dict[tuple[object, ...], KnownProvider] = {}

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Carry out the flow's effects until it has decided; an error that it leaves becomes its page.

        Raises nothing of `core.errors`; a defect of ours passes through to the engine's edge.
        """
        try:
            return await self._drive(flow.steps, body)
        except DoorwardError as error:
            if isinstance(error, ProviderUnavailable):
                fields = (("flow", flow.name), ("code", error.code), ("detail", error.detail))
                self._observer.event("provider_call_failed", (*fields, ("request_id", flow.head.request_id)))
            return answer_failure(flow, error)

    async def prepare(self, provider: Provider) -> None:
        """Load the provider's metadata and keys, retrying with growing pauses until it works (S70, D3)."""
        known = self._known_provider(provider)
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                await known.metadata.get()
                await known.keys.get()
            except ProviderUnavailable as error:
                fields = (("provider", provider.key), ("code", error.code), ("detail", error.detail))
                self._observer.event("provider_call_failed", fields)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_RETRY_SECONDS)
            else:
                return

    def is_ready(self, provider: Provider) -> bool:
        """Tell whether metadata and keys were loaded once; a provider that goes down later stays ready."""
        known = self._known_provider(provider)
        return known.metadata.is_known and known.keys.is_known

    async def close(self) -> None:
        """Cancel fetches under way and close every connection."""
        for known in self._known.values():
            await known.close()
        await self._calls.close()

    async def _drive[T](self, steps: Steps[T], body: BodyReader | None) -> T:
        """Run a generator of effects to its end. However that comes, the generator is closed."""
        result: object = None
        error: DoorwardError | None = None
        try:
            while True:
                try:
                    effect = steps.send(result) if error is None else steps.throw(error)
                except StopIteration as stop:
                    value: T = stop.value
                    return value
                result, error = None, None
                try:
                    result = await self._carry_out(effect, body)
                except DoorwardError as caught:
                    error = caught
        finally:
            steps.close()

    async def _carry_out(self, effect: Effect, body: BodyReader | None) -> Any:  # noqa: ANN401, C901, PLR0912  one arm for each of a closed set
        match effect:
            case CallProvider():
                return await self._calls.call(effect)
            case LoadMetadata():
                return await self._known_provider(effect.provider).metadata.get()
            case LoadKeys():
                return await self._known_provider(effect.provider).keys_for(effect.unknown_kid)
            case Emit():
                return self._observer.event(effect.event, effect.fields)
            case ReadBody():
                if body is None:
                    raise BadRequest("no_body", "shared work reads no request's body")
                return await body.read(effect.max_bytes)
            case Once():
                return await self._coordinator.once(
                    effect.key, lambda: self._drive(effect.steps(), None), effect.keep_seconds
                )
            case ClaimOnce():
                return await self._coordinator.claim(effect.key, effect.until)
            case Revoke():
                return await self._coordinator.revoke(effect.session_id, effect.until)
            case SaveStored():
                return await self._store(effect.store).save(effect.key, effect.sealed, effect.until)
            case LoadStored():
                return await self._store(effect.store).load(effect.key)
            case DeleteStored():
                return await self._store(effect.store).delete(effect.key)
            case _ as never:
                assert_never(never)

    def _store(self, name: str) -> SessionStore:
        store = self._stores.get(name)
        if store is None:
            raise StoreUnavailable("store_unknown", name)
        return store

    def _known_provider(self, provider: Provider) -> KnownProvider:
        """Return what is known of a provider, by what that depends on; other settings may change."""
        key = (
            provider.issuer,
            provider.discovery,
            provider.discovery_url,
            provider.authorization_endpoint,
            provider.token_endpoint,
            provider.userinfo_endpoint,
            provider.jwks_uri,
            provider.end_session_endpoint,
            provider.ca_file,
            provider.http_proxy,
            provider.insecure_http,
        )
        known = self._known.get(key)
        if known is None:
            while len(self._known) >= _MAX_KNOWN_PROVIDERS:
                self._known.pop(next(iter(self._known)))
            known = self._known[key] = KnownProvider(provider, self._calls, self._clock)
        known.provider = provider
        return known
