"""The gate as an application: what only this binding does."""

from __future__ import annotations

from sidecar.core.http import NO_STORE, Page, Response
from sidecar.gateapplication import render_response


def test_a_field_that_every_page_has_is_sent_once() -> None:
    mark = (b"Doorward-Intercepted", b"denied")
    page = Page(name="signed_out", values={"sign_in_url": "/oauth2/start"})

    wire = render_response(Response(status=403, headers=(NO_STORE, mark), page=page), "id")

    assert [pair for pair in wire.headers if pair[0] == b"Cache-Control"] == [NO_STORE]
    assert mark in wire.headers
