"""The provider as an Application that an engine serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.coordination import LocalCoordinator
from sidecar.core.decision import Flow, Note, Respond
from sidecar.core.development import ISSUER_PATH
from sidecar.core.effects import CallProvider, ReadBody
from sidecar.core.errors import ProviderUnavailable
from sidecar.core.hosts import is_loopback_name
from sidecar.core.http import Response, single_header
from sidecar.core.runtime import Provider
from sidecar.devidp import views
from sidecar.devidp.local import SelfContained
from sidecar.devidp.people import PEOPLE
from sidecar.devidp.provider import DevProvider, with_banner
from sidecar.devidp.values import ProviderRequest
from sidecar.effects import Runner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.application import BodyReader, Observer, WireResponse
    from sidecar.core.decision import Decision, Forward, Steps
    from sidecar.core.http import RequestHead, Response
    from sidecar.core.state import Surroundings
    from sidecar.devidp.values import Client, LogoutNotice, Person

__all__ = ["DevIdentityProvider"]

_NOTE: Final = Note(site="development", reason="own_page")
_REFUSED: Final = Note(site="development", reason="unknown_host")
_MAX_BODY: Final = 65536
_NOTICE_SECONDS: Final = 5.0


class DevIdentityProvider(SelfContained):
    """Serves a `DevProvider`. Arguments as there."""

    def __init__(
        self,
        *,
        issuer: str,
        clients: Sequence[Client],
        surroundings: Surroundings,
        observer: Observer,
        people: Sequence[Person] = PEOPLE,
        development: bool = False,
    ) -> None:
        self.observer = observer
        self.provider = DevProvider(issuer, clients, surroundings, people=people, development=development)
        # The runner reads bodies and posts logout tokens; what workers share is not needed here.
        coordinator = LocalCoordinator(lambda _id, _until: None, surroundings.clock)
        self._runner = Runner(coordinator, {}, surroundings, observer)

    def decide(self, head: RequestHead) -> Decision:
        """Answer at once what needs no body; nobody but this machine's own browsers is answered (S72)."""
        if not _is_local(head, self.provider.authority):
            return Respond(
                views.error_page("forbidden", "Only this machine may use this provider.", 403), _REFUSED
            )
        request = _request(head)
        if request is None:
            return Respond(views.error_page("not_found", "There is nothing at this address.", 404), _NOTE)
        return Flow("provider", self._steps(head, request), head)

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Carry a flow out; a defect refuses."""
        try:
            return await self._runner.run(flow, body)
        except Exception:  # noqa: BLE001  the outermost edge: fail closed, tell the operator
            self.observer.defect(flow.name, flow.head.request_id)
            return self.refuse("internal_error", 500, flow.head.request_id, flow.head)

    def render(self, response: Response, request_id: str) -> WireResponse:
        """Render a Response to bytes, marked as development's whoever made it (S72)."""
        return super().render(with_banner(response), request_id)

    async def close(self) -> None:
        """Close the connections to relying parties."""
        await self._runner.close()

    def _steps(self, head: RequestHead, request: ProviderRequest) -> Steps[Respond | Forward]:
        if head.method == b"POST":
            request = ProviderRequest(
                method=request.method,
                path=request.path,
                query=request.query,
                headers=request.headers,
                body=(yield ReadBody(max_bytes=_MAX_BODY)),
            )
        reply = self.provider.handle(request)
        for notice in reply.notices:
            yield from self._notify(notice)
        return Respond(reply.response, _NOTE)

    def _notify(self, notice: LogoutNotice) -> Steps[None]:
        """Post a logout token (Back-Channel Logout §2.5); who does not answer is not waited for longer."""
        party = Provider(
            key=notice.client_id,
            type="oidc",
            display_name=notice.client_id,
            issuer=self.provider.issuer,
            client_id=notice.client_id,
            redirect_path="/",
            call_seconds=_NOTICE_SECONDS,
        )
        form = (("logout_token", notice.logout_token),)
        call = CallProvider(
            provider=party, operation="backchannel_logout", method="POST", url=notice.url, form=form
        )
        try:
            yield call
        except ProviderUnavailable:
            # Told to the observer by the runner; the logout goes on for everybody else.
            return


def _is_local(head: RequestHead, authority: str) -> bool:
    """Tell whether the peer is this machine and means us.

    The Host must be the issuer's: a page of another site that lets its name resolve to 127.0.0.1 (DNS
    rebinding) would else be of one origin with us.
    """
    host = single_header(head.headers, b"host")
    return is_loopback_name(head.peer) and host is not None and host.decode("latin-1").lower() == authority


def _request(head: RequestHead) -> ProviderRequest | None:
    path, _, query = head.target.partition(b"?")
    prefix = ISSUER_PATH.encode("ascii")
    if not path.startswith(prefix + b"/"):
        return None
    return ProviderRequest(
        method=head.method.decode("latin-1"),
        path=path[len(prefix) :].decode("latin-1"),
        query=query,
        headers=tuple(head.headers),
    )
