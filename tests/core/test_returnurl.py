"""Which URLs a browser may be sent back to: S62-S66, and what the URL Standard's parser says about them."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.returnurl import MAX_RETURN_URL_BYTES, safe_return_url
from sidecar.core.runtime import Origin, Site
from tests.core.sessionsetup import make_site
from tests.parts import require_part

SITE = make_site(
    return_hosts=frozenset({"docs.example.com", "api.example.com:8443", "xn--bcher-kva.example"})
)
PERMITTED = {
    "https://app.example.com",
    "https://www.example.com",
    "https://docs.example.com",
    "https://api.example.com:8443",
    "https://xn--bcher-kva.example",
}
LOOPBACK = make_site(
    public_url=Origin(scheme="http", host="localhost", port=8080), hosts=frozenset({"localhost:8080"})
)


def corpus() -> Iterator[tuple[str, str]]:
    """Yield each URL of the corpus with what becomes of it."""
    decoder = json.JSONDecoder()
    for line in Path(__file__).with_name("return_urls.txt").read_text(encoding="utf-8").splitlines():
        verdict, _, rest = line.partition(" ")
        if verdict in {"refuse", "accept", "become"}:
            raw, end = decoder.raw_decode(rest.lstrip())
            expected = {"refuse": "/", "accept": raw, "become": rest.lstrip()[end:].strip().strip('"')}[
                verdict
            ]
            yield raw, expected


CORPUS = list(corpus())
TOKENS = [
    *"/\\:@?#.;%&=-_~[]<>|^`'\"*+,()!{}$ \t\n\r\x00\x1f\x7f",
    *[
        "//",
        "///",
        "https",
        "http",
        "https://",
        "https:",
        "HTTPS://",
        "javascript:",
        "%2f",
        "%5c",
        "%09",
        "%00",
    ],
    *[
        "app.example.com",
        "www.example.com",
        "docs.example.com",
        "api.example.com:8443",
        "evil.example",
        "xn--",
    ],
    *[
        "bücher.example",
        "xn--bcher-kva.example",
        "localhost",
        "127.0.0.1",
        "[::1]",
        ":443",
        ":8443",
        "..",
        "a",
    ],
    *[
        "\u3002",
        "\uff0f",
        "\uff0e",
        "\uff3c",
        "\u00a0",
        "\u2028",
        "\u200b",
        "\u00e9",
        "\u00df",
        "\u2100",
        "\u017f",
    ],
]


def generated(count: int) -> list[str]:
    rng = random.Random(9)
    starts = ["/", "", "https://", "https://app.example.com", "//", "http:", "https://docs.example.com"]
    return [rng.choice(starts) + "".join(rng.choices(TOKENS, k=rng.randint(0, 7))) for _ in range(count)]


class TestCorpus:
    @pytest.mark.parametrize(("raw", "expected"), CORPUS, ids=[ascii(raw)[:60] for raw, _ in CORPUS])
    def test_corpus(self, raw: str, expected: str) -> None:
        """S62, S63, S64, S65: the classes are the headings of return_urls.txt."""
        assert safe_return_url(SITE, raw) == expected

    def test_corpus_is_as_large_as_it_should_be(self) -> None:
        assert len(CORPUS) >= 300


# One process for all: reads pairs of [text, base], answers each with origin and href, or null for no URL.
_NODE = """
const pairs = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const parse = ([text, base]) => {
  try { const url = new URL(text, base); return [url.origin, url.href]; } catch { return null; }
};
process.stdout.write(JSON.stringify(pairs.map(parse)));
"""


def as_browsers_read(urls: list[str], base: str) -> list[tuple[str, str] | None]:
    """Parse each URL as the Location of an answer of `base`, by the URL Standard."""
    ran = subprocess.run(
        [require_part("node"), "-e", _NODE],
        input=json.dumps([[url, base] for url in urls]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [None if item is None else (item[0], item[1]) for item in json.loads(ran.stdout)]


class TestAsBrowsersReadThem:
    """S65: the differential test against a WHATWG parser, Node's."""

    @pytest.mark.parametrize(
        "base", ["https://app.example.com/oauth2/callback?code=1", "https://www.example.com/a/b/"]
    )
    def test_what_we_send_leads_to_a_permitted_origin(self, base: str) -> None:
        raws = [raw for raw, _ in CORPUS] + generated(20_000)
        results = [safe_return_url(SITE, raw) for raw in raws]
        read = as_browsers_read(results, base)
        wrong = [
            (raw, result)
            for raw, result, url in zip(raws, results, read, strict=True)
            if url is None or url[0] not in PERMITTED
        ]
        assert wrong == []
        assert len({result for result in results if result != "/"}) > 500

    def test_what_we_send_is_the_place_that_was_asked_for(self) -> None:
        """Another spelling at most: never somewhere else, and never a prettier path."""
        base = "https://app.example.com/"
        asked = [
            raw for raw in [raw for raw, _ in CORPUS] + generated(20_000) if safe_return_url(SITE, raw) != "/"
        ]
        sent = [safe_return_url(SITE, raw) for raw in asked]
        pairs = zip(asked, as_browsers_read(asked, base), as_browsers_read(sent, base), strict=True)
        assert [raw for raw, first, second in pairs if first != second] == []

    def test_python_s_own_parser_would_have_been_fooled(self) -> None:
        """S64: why `urlsplit` is not used; these have no host to it, and one to a browser."""
        from urllib.parse import urlsplit

        fooled = ["////evil.example", "https:evil.example", "https:/evil.example", "/\\evil.example"]
        assert [urlsplit(url).netloc for url in fooled] == [""] * 4
        read = as_browsers_read(fooled, "http://app.example.com/")
        assert all(url is not None and url[0].endswith("//evil.example") for url in read)
        assert {safe_return_url(SITE, url) for url in fooled} == {"/"}


class TestLoopback:
    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ("http://localhost:8080/a", "http://localhost:8080/a"),
            ("HTTP://LOCALHOST:8080", "http://localhost:8080/"),
            ("http://localhost/a", "/"),
            ("https://localhost:8080/a", "/"),
            ("http://localhost:9090/", "/"),
            ("http://127.0.0.1:8080/", "/"),
            ("//localhost:8080/", "/"),
        ],
    )
    def test_scheme_host_and_port_are_the_site_s(self, raw: str, expected: str) -> None:
        """S62."""
        assert safe_return_url(LOOPBACK, raw) == expected

    def test_http_return_host_is_for_http_sites_only(self) -> None:
        hosts = frozenset({"other.localhost:9090"})
        assert safe_return_url(make_site(return_hosts=hosts), "http://other.localhost:9090/") == "/"
        loopback = make_site(public_url=LOOPBACK.public_url, hosts=LOOPBACK.hosts, return_hosts=hosts)
        assert safe_return_url(loopback, "http://other.localhost:9090/") == "http://other.localhost:9090/"

    def test_own_host_written_as_an_ipv6_address(self) -> None:
        site = make_site(
            public_url=Origin(scheme="http", host="::1", port=8080), hosts=frozenset({"[::1]:8080"})
        )
        assert safe_return_url(site, "http://[::1]:8080/a") == "http://[::1]:8080/a"
        assert safe_return_url(site, "http://[::2]:8080/a") == "/"


class TestLength:
    def test_longest_url(self) -> None:
        """S25."""
        longest = "/" + "a" * (MAX_RETURN_URL_BYTES - 1)
        assert safe_return_url(SITE, longest) == longest
        assert safe_return_url(SITE, longest + "a") == "/"

    def test_length_counts_after_encoding(self) -> None:
        assert safe_return_url(SITE, "/" + "é" * 2000) == "/"

    def test_megabytes_are_refused_at_once(self) -> None:
        assert safe_return_url(SITE, "https://" + "a" * 5_000_000) == "/"


class TestAnyText:
    @pytest.mark.parametrize("site", [SITE, LOOPBACK])
    @given(
        raw=st.text(st.characters(), max_size=60) | st.lists(st.sampled_from(TOKENS), max_size=8).map("".join)
    )
    def test_result_is_always_safe_to_send(self, site: Site, raw: str) -> None:
        """S63: ASCII without anything that ends a header; checked again it stays as it is (S66)."""
        result = safe_return_url(site, raw)
        assert all(0x21 <= ord(char) <= 0x7E and char != "\\" for char in result)
        assert not result.startswith("//")
        assert safe_return_url(site, result) == result
