"""The table and the chart."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bench.load import Cost
from bench.report import chart, machine, table, updated
from bench.rows import Row, compare, flat

SVG = "{http://www.w3.org/2000/svg}"


def cost(user: float, system: float = 0.0, *, rate: float = 1000.0, errors: int = 0) -> Cost:
    return Cost(requests=1000, user_us=user, system_us=system, rate=rate, errors=errors)


NGINX = [cost(5, 15), cost(6, 14), cost(50, 50)]
ROWS = [
    compare("reverse proxy, log off", 0.65, NGINX, [cost(10, 15), cost(10, 15), cost(200, 50)], "Doorward"),
    compare(
        "oauth2-proxy & <kin>", None, NGINX, [cost(200), cost(200), cost(1000)], "o & <kin>", "oauth2-proxy"
    ),
    flat("many", [cost(10)], [cost(20)]),
    Row("RSS", "<= 64 MiB", "53.0 MiB", "a | b", is_reached=True),
]


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    row = ROWS[0]
    assert (row.measured, row.goal, row.is_reached) == ("0.80", ">= 0.65", True)
    assert "nginx 21.0 us (6.0 user + 15.0 system)" in row.details


def test_a_goal_is_not_reached_with_errors_or_below_it() -> None:
    assert compare("x", 0.5, [cost(10)], [cost(10, errors=1)], "").is_reached is False
    assert compare("x", 0.5, [cost(10)], [cost(30)], "").is_reached is False
    assert compare("x", None, [cost(10)], [cost(30)], "").is_reached is None
    assert (ROWS[2].measured, ROWS[2].is_reached) == ("2.00 x", False)


def test_the_table_says_what_is_reached_and_what_falls_short() -> None:
    lines = table(ROWS, "2026-11-24").splitlines()
    assert "2026-11-24" in lines[2]
    rows = [line for line in lines if line.startswith("|")][2:]
    assert [line.split(" | ")[3] for line in rows] == ["reached", "for scale", "**falls short**", "reached"]
    assert "a \\| b" in rows[3]


def test_some_rows_are_updated_and_the_others_stay() -> None:
    before = table(ROWS, "2026-11-24")
    newer = Row("RSS", "<= 64 MiB", "70.0 MiB", "worse", is_reached=False)
    further = Row("p50 | x", "", "1 ms", "for once", is_reached=None)
    after = updated(before, [newer, further], "2026-11-25").splitlines()
    assert after[:-2] == before.splitlines()[:-1]
    assert after[-2:] == [
        "| RSS | <= 64 MiB | 70.0 MiB | **falls short** | worse; measured 2026-11-25 |",
        "| p50 \\| x |  | 1 ms | for scale | for once; measured 2026-11-25 |",
    ]
    assert updated("\n".join(after) + "\n", [further], "2026-11-25").splitlines() == after


def test_the_chart_shows_each_ratio_to_scale() -> None:
    root = ET.fromstring(chart(ROWS))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts[2:] == [
        *("nginx, no authentication", "1.00"),
        *("Doorward", "0.80"),
        *("o & <kin>", "0.10"),
    ]
    widths = [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect")][1:]
    assert abs(widths[1] / widths[0] - 0.8) < 0.01
    assert abs(widths[2] / widths[0] - 0.1) < 0.01


def test_the_machine_is_told_in_a_line() -> None:
    assert "CPython" in machine()
    assert "profile-guided optimisation" in machine()
    assert "\n" not in machine()
