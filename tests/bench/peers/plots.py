"""Lines over the number of files, on two logarithmic axes, as SVG that reads on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 390, 50, 50
# Told apart also by who sees few colours (Okabe and Ito)
COLOURS = [
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c6d31",
    "#7f7f7f",
    "#b22222",
    "#333399",
    "#999933",
]


@dataclass(frozen=True)
class Line:
    """One target: (number of files, value) in ascending order; values above 0."""

    label: str
    points: Sequence[tuple[float, float]]


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def draw(title: str, unit: str, lines: Sequence[Line]) -> str:
    """Return a plot. Raises ValueError where there is nothing to draw."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        raise ValueError(f"{title}: no values")
    sizes = sorted({files for line in drawn for files, _value in line.points})
    x_low, x_high = math.log10(sizes[0]), math.log10(sizes[-1])
    y_low, y_high = _decades([value for line in drawn for _files, value in line.points])
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(files: float) -> float:
        return LEFT + (width / 2 if x_high == x_low else width * (math.log10(files) - x_low) / (x_high - x_low))

    def y(value: float) -> float:
        return TOP + height * (1 - (math.log10(value) - y_low) / (y_high - y_low))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        '<g font-family="sans-serif" font-size="13" fill="#777777">',
        f'<text x="{LEFT}" y="24" font-size="16">{escape(title)}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 8}">files in the index</text>',
        f'<text x="{LEFT - 70}" y="{TOP - 10}">{escape(unit)}</text>',
    ]
    for power in range(y_low, y_high + 1):
        at = y(10**power)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{LEFT + width}" stroke="#999999" stroke-opacity="0.35"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_number(10.0**power)}</text>')
    parts += [
        f'<text x="{x(files):.1f}" y="{TOP + height + 20}" text-anchor="middle">{_number(files)}</text>'
        for files in sizes
    ]
    for number, line in enumerate(drawn):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(files):.1f},{y(value):.1f}" for files, value in line.points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts += [
            f'<circle cx="{x(files):.1f}" cy="{y(value):.1f}" r="4" fill="{colour}"/>' for files, value in line.points
        ]
        at = TOP + 10 + 22 * number
        parts.append(f'<rect x="{LEFT + width + 16}" y="{at - 10}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + width + 34}" y="{at + 1}">{escape(line.label)}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])
