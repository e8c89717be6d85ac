"""The runner: sends each effect's result into its flow, for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.application import BodyReader, Observer
    from sidecar.coordination import Coordinator
    from sidecar.core.decision import Flow, Forward, Respond
    from sidecar.core.runtime import Provider
    from sidecar.core.state import Surroundings

__all__ = ["Runner"]


class Runner:
    """One per process. Holds connection pools and what is known of providers; a reload keeps it."""

    def __init__(
        self,
        coordinator: Coordinator,
        stores: Mapping[str, object],
        surroundings: Surroundings,
        observer: Observer,
    ) -> None:
        """Bind the surroundings; nothing is opened before it is needed."""

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Carry out the flow's effects until it has decided. An error of ours becomes its page."""
        raise NotImplementedError

    async def prepare(self, provider: Provider) -> None:
        """Load the provider's metadata and keys, retrying with growing pauses until it works."""
        raise NotImplementedError

    def is_ready(self, provider: Provider) -> bool:
        """Tell whether the provider's metadata has been loaded once."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection; work under way is cancelled."""
        raise NotImplementedError
