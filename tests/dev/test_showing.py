"""What the view holds of a request: a masked copy without a body, the latest of so many."""

from __future__ import annotations

from mitmproxy.addons.view import View
from mitmproxy.http import HTTPFlow
from mitmproxy.test import tflow

from addons.login_view import LoginView
from sidecar.dev.showing import Showing


def shown_in(view: View) -> list[HTTPFlow]:
    return [flow for flow in view if isinstance(flow, HTTPFlow)]


def a_flow(path: str) -> HTTPFlow:
    flow: HTTPFlow = tflow.tflow(resp=True)
    flow.request.path = path
    flow.request.headers["Cookie"] = "a=secret-value"
    return flow


def test_a_copy_is_shown_and_the_flow_stays_as_it_was() -> None:
    view = View()
    flow = a_flow("/x?token=secret-value")
    Showing(view, LoginView(), lambda: 0.0).response(flow)
    (shown,) = shown_in(view)
    assert shown is not flow
    assert (shown.id, shown.request.path) == (flow.id, "/x?token=secr…")
    assert shown.request.raw_content is None
    assert shown.response is not None
    assert shown.response.raw_content is None
    assert flow.request.path == "/x?token=secret-value"
    assert flow.request.headers["Cookie"] == "a=secret-value"
    assert flow.response is not None
    assert flow.response.content


def test_a_request_is_shown_once_and_brought_up_to_date() -> None:
    view = View()
    showing, flow = Showing(view, LoginView(), lambda: 0.0), a_flow("/x")
    showing.requestheaders(flow)
    flow.comment = "let in"
    showing.response(flow)
    (shown,) = shown_in(view)
    assert shown.comment == "let in"


def test_the_oldest_go() -> None:
    view = View()
    showing = Showing(view, LoginView(), lambda: 0.0, most=3)
    for number in range(5):
        showing.response(a_flow(f"/{number}"))
    assert {flow.request.path for flow in shown_in(view)} == {"/2", "/3", "/4"}
    view.clear()
    showing.response(a_flow("/5"))
    assert [flow.request.path for flow in shown_in(view)] == ["/5"]
