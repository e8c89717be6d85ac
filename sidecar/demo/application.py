"""The small application behind the door. It has no login of its own: it shows what it is told."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from sidecar.core.decision import Note, Respond
from sidecar.core.http import NO_STORE, HeaderPair, Response
from sidecar.demo import views
from sidecar.demo.received import read_fields, read_visitor
from sidecar.devidp.local import SelfContained

if TYPE_CHECKING:
    from sidecar.application import BodyReader, Observer
    from sidecar.core.decision import Decision, Flow, Forward
    from sidecar.core.http import RequestHead
    from sidecar.demo.received import Visitor

__all__ = ["DemoApplication"]

_NOTE: Final = Note(site="demo", reason="own_page")
_JSON: Final[HeaderPair] = (b"Content-Type", b"application/json")


class DemoApplication(SelfContained):
    """Answers by path; what may be seen by whom is the gate's matter alone."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    def decide(self, head: RequestHead) -> Decision:
        """Answer at the head; bodies are left unread."""
        return Respond(_answer(head), _NOTE)

    async def run(self, flow: Flow, body: BodyReader) -> Respond | Forward:
        """Never happens: there are no flows here."""
        del body
        flow.steps.close()
        return self.refuse("internal_error", 500, flow.head.request_id, flow.head)


def _about(head: RequestHead, visitor: Visitor | None) -> Response:
    fields = [field for field in read_fields(head.headers) if field.kind == "identity"]
    document = {
        "you": None if visitor is None else asdict(visitor),
        "headers": {field.name: field.value for field in fields},
    }
    body = json.dumps(document, indent=2, ensure_ascii=False).encode()
    return Response(status=200, headers=(_JSON, NO_STORE), body=body)


def _answer(head: RequestHead) -> Response:
    visitor = read_visitor(head.headers)
    match head.target.partition(b"?")[0].decode("latin-1"):
        case "/":
            return views.home_page(head, visitor, read_fields(head.headers))
        case "/public" | "/public/":
            return views.room_page("public", visitor)
        case "/reports" | "/reports/":
            return views.room_page("reports", visitor)
        case "/admin" | "/admin/":
            return views.room_page("admin", visitor)
        case "/api/me":
            return _about(head, visitor)
        case "/favicon.ico":
            return Response(status=204, headers=((b"Cache-Control", b"max-age=86400"),))
        case _:
            return views.room_page("nothing", visitor, status=404)
