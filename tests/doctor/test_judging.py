"""What an answer means. Whatever could be somebody else's is unknown."""

from __future__ import annotations

import pytest

from sidecar.doctor.findings import Verdict
from sidecar.doctor.judging import Gate, came_words, judge_endpoint
from sidecar.doctor.mends import INGRESSES, guess_ingress, mend
from sidecar.doctor.wire import Answer
from tests.ingress.harness import CONFIG


def _answer(status: int, **headers: str) -> Answer:
    return Answer(status=status, headers=tuple((n.replace("_", "-"), v) for n, v in headers.items()))


def _ours(status: int, reason: str = "login_required_api") -> Answer:
    return _answer(status, doorward_intercepted=reason)


_SIGN_IN = "https://app.example.com/oauth2/start?rd=https%3A%2F%2Fapp.example.com%2Fx"
_PROVIDER = "https://id.example.com/authorize?redirect_uri=https%3A%2F%2Fapp.example.com%2Foauth2%2Fcallback"
_GATE = Gate(page=_answer(302, location=_SIGN_IN), script=_ours(401), path="/x", prefix="/oauth2")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (_ours(401), Verdict.OK),
        (_ours(403, "denied"), Verdict.OK),
        (_ours(503, "upstream_unavailable"), Verdict.OK),
        (_answer(302, location=_SIGN_IN), Verdict.OK),
        (_answer(302, location="/oauth2/sign_in?rd=/x"), Verdict.OK),
        (_answer(302, location=_PROVIDER), Verdict.OK),
        (_answer(301, location="/x"), Verdict.OK),
        (_answer(400), Verdict.OK),
        (_answer(431), Verdict.OK),
        (_answer(200), Verdict.OPEN),
        (_answer(204), Verdict.OPEN),
        (_answer(101), Verdict.OPEN),
        (_answer(302, location="https://doorward-doctor.invalid/oauth2/start"), Verdict.OPEN),
        (_answer(302, location="/oauth2/start?rd=https%3A%2F%2Fdoorward-doctor.invalid"), Verdict.OPEN),
        (_answer(302, location="/login"), Verdict.UNKNOWN),
        (_answer(401), Verdict.UNKNOWN),
        (_answer(403), Verdict.UNKNOWN),
        (_answer(404), Verdict.UNKNOWN),
        (_answer(502), Verdict.UNKNOWN),
    ],
)
def test_an_answer_without_a_session_is_a_refusal_of_doorwards_or_a_finding(
    answer: Answer, verdict: Verdict
) -> None:
    assert _GATE.judge(answer)[0] is verdict


def test_an_ingress_that_hides_who_refuses_is_held_against_itself() -> None:
    gate = Gate(page=_answer(302, location=_SIGN_IN), script=_answer(401), path="/x", prefix="/oauth2")

    assert gate.is_doorwards
    assert gate.judge(_answer(401))[0] is Verdict.OK
    assert gate.judge(_answer(403))[0] is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (_answer(404), Verdict.OK),
        (_ours(403, "own_endpoint"), Verdict.OK),
        (_ours(403, "caller_refused"), Verdict.OK),
        (_ours(400, "invalid_request"), Verdict.OK),
        (_ours(401), Verdict.OPEN),
        (_answer(302, location=_SIGN_IN), Verdict.OPEN),
        (_answer(200, x_auth_request_user=""), Verdict.OPEN),
        (_answer(202), Verdict.OPEN),
        (_answer(502), Verdict.UNKNOWN),
    ],
)
def test_the_endpoint_of_the_ingress_may_only_refuse(answer: Answer, verdict: Verdict) -> None:
    assert judge_endpoint(_GATE, answer)[0] is verdict


def test_what_came_back_is_told_without_a_query() -> None:
    assert came_words(_answer(302, location=_SIGN_IN)) == "302 to https://app.example.com/oauth2/start"
    assert came_words(_ours(401)) == "401 login_required_api"


@pytest.mark.parametrize(
    ("server", "ingress"),
    [("nginx/1.24.0", "nginx"), ("Caddy", "caddy"), ("envoy", "envoy"), ("gunicorn", None), ("", None)],
)
def test_an_ingress_is_known_by_its_own_word(server: str, ingress: str | None) -> None:
    assert guess_ingress(_answer(401, server=server)) == ingress
    assert guess_ingress(_answer(401, via="1.1 Caddy", server="uvicorn")) == "caddy"


GROUPS = (
    "gate",
    "refusal",
    "websocket",
    "identity",
    "connection",
    "forwarded",
    "client",
    "method",
    "path",
    "endpoint",
    "upgrade",
    "rerouting",
)


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_has_a_mend_for_each_ingress(group: str) -> None:
    assert [name for name, _ in mend(group, None)] == list(INGRESSES)
    assert [name for name, _ in mend(group, "haproxy")] == ["haproxy"]


_FILES = {
    "nginx": ["nginx.conf"],
    "ingress-nginx": ["ingress-nginx.yaml"],
    "traefik": ["traefik.yaml", "traefik-dynamic.yaml"],
    "caddy": ["Caddyfile"],
    "envoy": ["envoy-http.yaml"],
    "haproxy": ["haproxy.cfg"],
}


@pytest.mark.parametrize("ingress", INGRESSES)
def test_a_mend_is_a_line_of_the_ingresss_file(ingress: str) -> None:
    """By its first word; a mend that begins with "no" or "nothing" is about a line that is not there."""
    text = "".join((CONFIG / name).read_text("utf-8") for name in _FILES[ingress])
    for group in GROUPS:
        word = mend(group, ingress)[0][1].split()[0].rstrip(":,")
        assert word in text or word in {"no", "nothing"}, (group, word)
