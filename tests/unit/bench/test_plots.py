"""Plots are whole SVG files whose points stand where they belong."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.bench.peers.plots import COLOURS, Line, draw
from tests.bench.peers.report import ORDER

SVG = "{http://www.w3.org/2000/svg}"


def test_speed_falls_to_the_right_where_a_server_slows_down() -> None:
    lines = [
        Line("the limit", [(2_000, 20_000), (200_000, 20_000)]),
        Line("bare & slow", [(2_000, 15), (200_000, 0.2)]),
    ]
    root = ET.fromstring(draw("Simple page", "requests/s", lines))  # noqa: S314
    flat, falling = (
        [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
        for line in root.iter(f"{SVG}polyline")
    )
    assert flat[0][1] == flat[1][1]
    assert falling[0][1] < falling[1][1]
    assert falling[0][0] == flat[0][0] < flat[1][0] == falling[1][0]
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {"Simple page", "requests/s", "2,000", "200,000", "the limit", "bare & slow", "0.1", "100,000"} <= texts


def test_line_without_values_is_left_out_and_one_size_is_enough() -> None:
    root = ET.fromstring(draw("Simple page", "requests/s", [Line("none", []), Line("one", [(2_000, 1)])]))  # noqa: S314
    assert len(list(root.iter(f"{SVG}polyline"))) == 1


def test_plot_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        draw("Simple page", "requests/s", [Line("none", [])])


def test_every_target_has_its_colour() -> None:
    assert len(set(COLOURS)) >= len(ORDER)
