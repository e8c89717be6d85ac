"""Istio and Envoy Gateway, which need a cluster.

Their files are held against published schemas, and what they have Envoy do against
envoy-http.yaml, which runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.ingress.harness import CONFIG

SCHEMAS = Path(__file__).parent / "schemas"
FILES = {"istio.yaml": "istio", "istio-mesh.yaml": "istio", "envoy-gateway.yaml": "envoy-gateway"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CONFIG / name).read_text("utf-8")))


def document(name: str, kind: str, title: str = "") -> dict[str, Any]:
    """Return the specification of the first document of a kind, or of that name."""
    for found in documents(name):
        if found["kind"] == kind and title in {"", found.get("metadata", {}).get("name")}:
            spec: dict[str, Any] = found["spec"]
            return spec
    raise KeyError(kind)


def problems(found: dict[str, Any], schemas: str) -> list[str]:
    known = json.loads((SCHEMAS / f"{schemas}.json").read_text("utf-8"))
    schema = known[f"{found['apiVersion']} {found['kind']}"]
    return [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(found)
    ]


def envoy_filters(name: str) -> dict[str, dict[str, Any]]:
    """Return the HTTP filters of a file of Envoy's, by name."""
    (listener,) = yaml.safe_load((CONFIG / name).read_text("utf-8"))["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return {one["name"].rpartition(".")[2]: one["typed_config"] for one in manager["http_filters"]}


def matcher(pattern: dict[str, str]) -> str:
    """Return a pattern of Envoy's in Istio's words."""
    return pattern["exact"] if "exact" in pattern else f"{pattern['prefix']}*"


HTTP, GRPC = envoy_filters("envoy-http.yaml"), envoy_filters("envoy-grpc.yaml")
ASKED = [matcher(pattern) for pattern in HTTP["ext_authz"]["allowed_headers"]["patterns"]]
ANSWER = HTTP["ext_authz"]["http_service"]["authorization_response"]
ANSWERED = [matcher(pattern) for pattern in ANSWER["allowed_upstream_headers"]["patterns"]]


class TestSchemas:
    @pytest.mark.parametrize(("name", "schemas"), FILES.items())
    def test_a_file_is_what_is_published(self, name: str, schemas: str) -> None:
        assert [problems(found, schemas) for found in documents(name)] == [[] for _ in documents(name)]

    @pytest.mark.parametrize(("name", "schemas"), FILES.items())
    def test_a_misspelled_key_is_found(self, name: str, schemas: str) -> None:
        found = documents(name)[0]
        found["spec"]["actoin"] = "CUSTOM"

        assert len(problems(found, schemas)) == 1

    def test_envoys_part_of_istios_file_is_what_envoy_publishes(self) -> None:
        any_pb2 = pytest.importorskip("google.protobuf.any_pb2")
        pytest.importorskip("envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2")
        from google.protobuf import json_format

        (patch,) = document("istio.yaml", "EnvoyFilter")["configPatches"]

        json_format.ParseDict(patch["patch"]["value"]["typed_config"], any_pb2.Any())


class TestBothFilesOfEnvoy:
    def test_they_differ_in_how_they_ask_alone(self) -> None:
        assert HTTP.keys() == GRPC.keys()
        assert HTTP["header_mutation"] == GRPC["header_mutation"]
        for name in ("failure_mode_allow", "status_on_error"):
            assert HTTP["ext_authz"][name] == GRPC["ext_authz"][name]


class TestIstio:
    MESH = document("istio-mesh.yaml", "IstioOperator")["meshConfig"]
    PROVIDERS: ClassVar[list[dict[str, Any]]] = MESH["extensionProviders"]

    def test_it_asks_as_envoy_does(self) -> None:
        (asking,) = (one["envoyExtAuthzHttp"] for one in self.PROVIDERS if one["name"] == "doorward")

        assert asking["includeRequestHeadersInCheck"] == ASKED
        assert asking["headersToUpstreamOnAllow"] == ANSWERED
        assert asking["headersToDownstreamOnAllow"] == ["set-cookie"]
        assert asking["pathPrefix"] == HTTP["ext_authz"]["http_service"]["path_prefix"]

    def test_it_fails_closed(self) -> None:
        for provider in self.PROVIDERS:
            (asking,) = (value for key, value in provider.items() if key != "name")
            assert (asking["failOpen"], asking["statusOnError"], asking["timeout"]) == (False, "403", "5s")

    def test_it_drops_what_envoy_drops(self) -> None:
        (patch,) = document("istio.yaml", "EnvoyFilter")["configPatches"]

        assert patch["patch"]["value"]["typed_config"] == HTTP["header_mutation"]

    def test_what_is_not_asked_about_goes_to_doorward_alone(self) -> None:
        """S50: else a path would reach the application without a question."""
        policy = document("istio.yaml", "AuthorizationPolicy")
        ((to,),) = (rule["to"] for rule in policy["rules"])
        routes = document("istio.yaml", "VirtualService")["http"]

        assert to["operation"]["notPaths"] == ["/oauth2/*"]
        unasked = [route for route in routes if "match" in route]
        assert all(m["uri"]["prefix"].startswith("/oauth2/") for route in unasked for m in route["match"])
        targets = [one["destination"]["host"] for route in unasked for one in route.get("route", [])]
        assert targets == ["doorward.apps.svc.cluster.local"]
        assert routes[0]["directResponse"] == {"status": 404}
        provider = policy["provider"]["name"]
        assert provider in {one["name"] for one in self.PROVIDERS}


class TestEnvoyGateway:
    NAME = "envoy-gateway.yaml"

    @pytest.mark.parametrize("policy", ["ask-doorward", "ask-doorward-by-http"])
    def test_it_fails_closed(self, policy: str) -> None:
        asking = document(self.NAME, "SecurityPolicy", policy)["extAuth"]

        assert (asking["failOpen"], asking["statusOnError"], asking["timeout"]) == (False, 403, "5s")

    def test_it_asks_as_envoy_does(self) -> None:
        """By HTTP it knows exact names only."""
        asking = document(self.NAME, "SecurityPolicy", "ask-doorward-by-http")["extAuth"]

        def is_told(name: str, patterns: list[str]) -> bool:
            return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in patterns)

        told = asking["headersToExtAuth"]
        assert all(is_told(name, ASKED) for name in told)
        assert {one for one in ASKED if not one.endswith("*")} <= set(told)
        assert {
            one for one in ASKED if one.endswith("*") and not any(n.startswith(one[:-1]) for n in told)
        } == set()
        assert all(is_told(name, ANSWERED) for name in asking["http"]["headersToBackend"])
        assert asking["http"]["path"] == HTTP["ext_authz"]["http_service"]["path_prefix"]

    def test_it_drops_what_envoy_drops(self) -> None:
        policy = document(self.NAME, "ClientTrafficPolicy")
        mutations = HTTP["header_mutation"]["mutations"]["request_mutations"]
        wanted = [one["remove_on_match"] for one in mutations if "remove_on_match" in one]

        dropped = policy["headers"]["earlyRequestHeaders"]["removeOnMatch"]
        assert {one["type"] for one in dropped} == {"RegularExpression"}
        assert [one["value"] for one in dropped] == [o["key_matcher"]["safe_regex"]["regex"] for o in wanted]
        assert policy["headers"]["withUnderscoresAction"] == "DropHeader"

    def test_everything_that_goes_to_the_application_is_asked_about(self) -> None:
        """S50."""
        asked = {one["name"] for one in document(self.NAME, "SecurityPolicy")["targetRefs"]}
        routes = [found for found in documents(self.NAME) if found["kind"] == "HTTPRoute"]
        to_application = {
            route["metadata"]["name"]
            for route in routes
            for rule in route["spec"]["rules"]
            for back_end in rule.get("backendRefs", [])
            if back_end["name"] != "doorward"
        }

        assert to_application == asked == {"application"}
