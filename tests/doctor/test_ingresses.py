"""The doctor at real ingresses: it finds nothing at those of config/ingress/, and each break by its group."""

from __future__ import annotations

import pytest

from tests.doctor.patients import HAProxyPatient, NginxPatient, Surgery
from tests.ingress.harness import Ingress
from tests.ingress.test_caddy import Caddy
from tests.ingress.test_envoy import Envoy
from tests.ingress.test_traefik import Traefik

_ASKS = r"http-request lua\.doorward http"
_DEL_SIGNS = r" +http-request del-header \[\^a-z0-9-\] -m reg\n"
_DEL_AUTH = r"auth-request\|"


def test_haproxy_as_it_is_has_nothing_open_and_nothing_unseen(surgery: Surgery) -> None:
    found = surgery.examine(HAProxyPatient())

    assert found.code == 0
    assert found.rows("open") == []
    assert found.rows("unknown") == []
    assert len(found.rows("ok")) > 50


@pytest.mark.parametrize(
    ("patient", "kind"),
    [(NginxPatient(), "nginx"), (Caddy(), "caddy"), (Traefik(), None), (Envoy(), "envoy")],
    ids=["nginx", "caddy", "traefik", "envoy"],
)
def test_the_others_as_they_are_have_nothing_open(
    surgery: Surgery, patient: Ingress, kind: str | None
) -> None:
    """They leave the headers of other products to whoever believes them, and the doctor names those."""
    found = surgery.examine(patient)

    assert found.code == 0
    assert found.rows("open") == []
    assert all("unless the application believes them" in came for _, came in found.rows("unknown"))
    assert found.document["ingress"] == kind


@pytest.mark.parametrize("patient", [HAProxyPatient(), NginxPatient()], ids=["haproxy", "nginx"])
def test_an_examination_changes_nothing_and_shows_no_cookie(
    surgery: Surgery, patient: HAProxyPatient
) -> None:
    found = surgery.examine(patient)

    methods = {received.method for received in surgery.world.application.received}
    assert methods <= {"GET", "HEAD", "OPTIONS"}
    assert all(received.body_length == 0 for received in surgery.world.application.received)
    secret = surgery.cookie.read_text("ascii").strip().partition("=")[2]
    assert secret not in found.out


def test_a_missing_gate_is_found(surgery: Surgery) -> None:
    found = surgery.examine(NginxPatient({r"auth_request /oauth2/auth;": ""}))

    assert found.code == 1
    assert found.verdicts("gate") >= {"open"}
    assert "auth_request" in next(row["mend"]["nginx"] for row in found.document["findings"] if row["mend"])


def test_a_websocket_past_the_gate_is_found(surgery: Surgery) -> None:
    past = "http-request allow if is_upgrade has_key\n    http-request lua.doorward http"
    found = surgery.examine(HAProxyPatient({_ASKS: past}), path="/ws/echo")

    assert found.code == 1
    assert found.verdicts("websocket") == {"open"}
    assert found.verdicts("gate") == {"ok"}


def test_an_identity_header_of_a_client_is_found(surgery: Surgery) -> None:
    trusting = {
        "txn.http:req_del_header(name)": "",
        "req_set_header": "req_add_header",
        "if txn.f:req_fhdr(name) ~= field[0] then return false end": "",
    }
    found = surgery.examine(HAProxyPatient({_DEL_AUTH: ""}, trusting))

    assert found.code == 1
    assert "x-auth-request-user" in dict(found.rows("open"))["identity headers with hyphens"]


@pytest.mark.parametrize("spelling", ["underscores", "dots", "mixed signs"])
def test_an_identity_header_in_disguise_is_found(surgery: Surgery, spelling: str) -> None:
    found = surgery.examine(HAProxyPatient({_DEL_SIGNS: ""}))

    assert found.code == 1
    assert f"identity headers with {spelling}" in dict(found.rows("open"))


def test_an_identity_that_does_not_arrive_is_named(surgery: Surgery) -> None:
    """No hole, but a gate for nothing: some recipes hand over no identity at all."""
    taken = "http-request del-header ^x-auth-request- -m reg\n    http-response lua"
    found = surgery.examine(HAProxyPatient({"http-response lua": taken}))

    assert found.code == 0
    assert ("the identity with a session", "the application is told nothing of who it is") in (
        found.rows("unknown")
    )


def test_a_connection_field_that_goes_on_is_found(surgery: Surgery) -> None:
    found = surgery.examine(HAProxyPatient({r" +http-request del-header Connection[^\n]+\n": ""}))

    assert found.code == 1
    assert found.verdicts("connection") == {"open"}


def test_a_path_that_a_client_makes_up_is_found(surgery: Surgery) -> None:
    believed = {
        "server {\n        listen": (
            'map $http_x_original_uri $believed { "" $request_uri; default $http_x_original_uri; }\n'
            "    server {\n        listen"
        ),
        r"X-Original-URI    \$request_uri;": "X-Original-URI $believed;",
    }
    found = surgery.examine(NginxPatient(believed))

    assert found.code == 1
    assert found.verdicts("forwarded") == {"ok", "open"}


def test_a_method_that_a_client_makes_up_is_found(surgery: Surgery) -> None:
    believed = {
        "server {\n        listen": (
            'map $http_x_forwarded_method $believed { default OPTIONS; "" $request_method; }\n'
            "    server {\n        listen"
        ),
        r"X-Original-Method \$request_method;": "X-Original-Method $believed;",
    }
    found = surgery.examine(NginxPatient(believed), path="/cors/x")

    assert found.code == 1
    assert found.verdicts("method") == {"ok", "open"}


def test_an_address_that_a_client_makes_up_is_found(surgery: Surgery) -> None:
    kept = {r"proxy_set_header X-Real-IP         \$remote_addr;": ""}
    found = surgery.examine(NginxPatient(kept))

    assert found.code == 1
    assert ("a made-up client", "arrive as they were: X-Real-IP") in found.rows("open")


def test_a_prefix_that_passes_by_itself_is_found(surgery: Surgery) -> None:
    past = "http-request allow if { path_beg /public/ }\n    http-request lua.doorward http"
    found = surgery.examine(HAProxyPatient({_ASKS: past}))

    assert found.code == 1
    assert "out of the open path" in dict(found.rows("open"))


def test_the_endpoint_of_the_ingress_within_reach_is_found(surgery: Surgery) -> None:
    found = surgery.examine(
        HAProxyPatient({r"is_doorward path -m reg \^/oauth2/\(start": "is_doorward path -m beg /oauth2/ #"})
    )

    assert found.code == 1
    assert found.verdicts("endpoint") >= {"open"}


def test_another_upgrade_is_found(surgery: Surgery) -> None:
    kept = {r" +http-request del-header (Connection|Upgrade)[^\n]+\n": ""}
    found = surgery.examine(HAProxyPatient(kept))

    assert found.code == 1
    assert "open" in found.verdicts("upgrade")


def test_fields_that_ask_for_another_request_are_named(surgery: Surgery) -> None:
    found = surgery.examine(NginxPatient({r'proxy_set_header X-Original-URL +"";': ""}))

    assert found.code == 0
    assert (
        "another request behind the gate",
        "arrive: X-Original-URL; fine unless something believes them",
    ) in (found.rows("unknown"))


def test_a_redirect_for_every_401_is_named(surgery: Surgery) -> None:
    """Today's recipes do so, and scripts see a network error."""
    url = f"{surgery.world.url}/oauth2/start?rd=$request_uri"
    found = surgery.examine(
        NginxPatient({r"error_page 401 403 = @doorward_answers;": f"error_page 401 {url};"})
    )

    assert found.code == 0
    assert found.verdicts("refusal") == {"unknown"}


def test_without_a_page_to_look_through_the_doctor_says_so(surgery: Surgery) -> None:
    found = surgery.examine(HAProxyPatient(), echo="")

    assert found.code == 0
    assert [probe for probe, _ in found.rows("unknown")] == ["what reaches the application"]


def test_a_page_that_shows_no_headers_is_no_window(surgery: Surgery) -> None:
    found = surgery.examine(HAProxyPatient(), echo="/download?size=10")

    assert found.code == 0
    assert [probe for probe, _ in found.rows("unknown")] == ["the page that shows headers"]
