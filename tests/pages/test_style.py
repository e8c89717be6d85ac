"""Colours that can be read, in light and in dark."""

from __future__ import annotations

import re

import pytest

from sidecar.pages.dress import Wardrobe

PAIRS = [
    ("ink", "card"),
    ("ink", "paper"),
    ("soft", "card"),
    ("soft", "paper"),
    ("accent", "card"),
    ("accent", "paper"),
    ("accent-strong", "tint"),
    ("ink", "tint"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("warn", "card"),
]


def palettes() -> list[dict[str, str]]:
    """Return the light palette and the dark one (which stands on the light one)."""
    blocks = re.findall(r":root \{(.*?)\}", Wardrobe().style(), re.DOTALL)
    found = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in blocks]
    return [found[0], found[0] | found[1]]


def luminance(colour: str) -> float:
    """Return the relative luminance (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), PAIRS)
def test_text_has_the_contrast_that_everybody_can_read(
    palette: dict[str, str], front: str, back: str
) -> None:
    """At least 4.5:1 (WCAG 2.2, 1.4.3)."""
    light, dark = sorted((luminance(palette[front]), luminance(palette[back])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
