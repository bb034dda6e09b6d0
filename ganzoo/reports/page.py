"""Parts of the project's HTML pages: one file that needs no network and no script.

Every text is escaped, and a page forbids itself to load anything that is not inside it.
"""

import base64
import io
import itertools
import math
import string
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganzoo.files.reading import MOST_IMAGE, FileProblem, guard, is_number, read_bytes
from ganzoo.files.writing import atomic_write_bytes

_POINTS = 150  # of a curve
_COLOURS = 8
_MARKED = 20  # points of a curve, at most, that are marked


def write_page(path: Path, title: str, parts: Sequence[str]) -> Path:
    """Write parts of HTML into the project's page, in one step, and return its path."""
    template = string.Template(resources.files("ganzoo.reports").joinpath("report.html").read_text(encoding="utf-8"))
    page = template.substitute(title=show(title), body="\n".join(parts))
    # The name of the data's folder may be any bytes.
    return atomic_write_bytes(path, page.encode("utf-8", "backslashreplace"))


def read_text(path: Path) -> str:
    """A file of at most `ganzoo.files.reading.MOST_TEXT` bytes as text, whatever its bytes."""
    with guard(path):
        return read_bytes(path).decode("utf-8", "replace")


def show(value: Any) -> str:
    """A value as escaped text; integers with separators, floats with four digits."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return escape("none" if value is None else str(value))
    return f"{value:,.0f}" if isinstance(value, int) or 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], style: str = "") -> str:
    """A table; nothing where there are no rows."""
    cells = "".join("<tr>" + "".join(f"<td>{show(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    titles = "<tr>" + "".join(f"<th>{escape(title)}</th>" for title in head) + "</tr>"
    whole = f'<table class="{style}"><thead>{titles}</thead><tbody>{cells}</tbody></table>'
    return f'<div class="wide">{whole}</div>' if rows else ""


def pairs(rows: Sequence[tuple[str, Any]], style: str) -> str:
    """A list of names with their values; those that are None are left out."""
    shown = [f"<div><dt>{show(name)}</dt><dd>{show(value)}</dd></div>" for name, value in rows if value is not None]
    return f'<dl class="{style}">{"".join(shown)}</dl>'


def bullets(texts: Sequence[Any]) -> str:
    """A list of texts; nothing where there are none."""
    return "<ul>" + "".join(f"<li>{show(text)}</li>" for text in texts) + "</ul>" if texts else ""


def details(summary: str, content: str) -> str:
    """What opens at a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def image(path: Path, caption: str, unread: list[str]) -> tuple[str, str]:
    """The figure of a PNG and its thumbnail, both with data URIs; empty, and noted, where the file is broken."""
    try:
        content, buffer = read_bytes(path, MOST_IMAGE), io.BytesIO()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            small = opened.convert("RGB")
        style = "small" if small.width < 320 else ""  # enlarged: without blur
        small.thumbnail((140, 140))
        small.save(buffer, "JPEG", quality=85)
    except (FileProblem, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        unread.append(f"{path.name}: no whole PNG ({error})")
        return "", ""
    png, jpeg = (base64.b64encode(data).decode("ascii") for data in (content, buffer.getvalue()))
    image = f'<img src="data:image/png;base64,{png}" class="{style}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>", f"data:image/jpeg;base64,{jpeg}"


def chart(
    title: str,
    xs: Sequence[float],
    series: Mapping[str, Sequence[Any]],
    events: Sequence[tuple] = (),
    axis: str = "samples seen",
    log: bool = False,
) -> str:
    """Curves as SVG: long ones are averaged in groups, single outliers cut at the edge; both are noted beneath.

    Curves of few points (a single one, too) have their points marked.

    Args:
        title: of the chart; with the protocol of the score where the page has others of the same name.
        xs: in rising order.
        series: by name, a value or None for each x.
        events: `(x, text)`, drawn as vertical lines.
        axis: what `xs` are.
        log: a logarithmic height, if any value is positive; those at 0 or below are drawn as the lowest positive one.

    Returns:
        HTML; nothing where no value is known.
    """
    size = math.ceil(len(xs) / _POINTS)
    middles, *curves = [[_mean(v[i : i + size]) for i in range(0, len(xs), size)] for v in (xs, *series.values())]
    known = sorted(value for curve in curves for value in curve if value is not None)
    if not known:
        return ""
    inner = known[len(known) // 50], known[-1 - len(known) // 50]
    room = 2 * (inner[1] - inner[0]) or math.inf
    x_ticks = _ticks(middles[0], middles[-1])
    positive = [value for value in known if value > 0]
    if log and positive:
        known = [max(value, positive[0]) for value in known]
        y_ticks = _powers(known[0], known[-1])

        def height(value: float) -> float:
            return math.log10(value if value > 0 else positive[0])
    else:
        y_ticks, height = _ticks(max(known[0], inner[0] - room), min(known[-1], inner[1] + room)), float
    heights = [height(tick) for tick in y_ticks]

    def scale(value: float, ticks: Sequence[float], start: float, length: float) -> float:
        return round(start + length * min(max((value - ticks[0]) / (ticks[-1] - ticks[0]), 0), 1), 1)

    x, y = (lambda value: scale(value, x_ticks, 62, 366)), (lambda value: scale(height(value), heights, 210, -200))
    svg = [f'<path class="grid" d="M62 {y(t)}H428"/><text x="56" y="{y(t)}" class="y">{t:.6g}</text>' for t in y_ticks]
    svg += [f'<text x="{x(t)}" y="230" class="x">{t:,.7g}</text>' for t in x_ticks]
    legend, notes = "", [f"each point is the mean of {size} lines"] * (size > 1)
    for number, (name, curve) in enumerate(zip(series, curves, strict=True)):
        points = [None if value is None else (x(at), y(value)) for at, value in zip(middles, curve, strict=True)]
        svg.append(_curve(points, f"c{number % _COLOURS}"))
        last = next((value for value in reversed(series[name]) if value is not None), None)
        legend += f'<li class="c{number % _COLOURS}"><i></i><span>{show(name)} <b>{show(last)}</b></span></li>'
    svg += _hover(x, middles, (axis, *series), curves)
    for at, text in events:
        if is_number(at) and x_ticks[0] <= at <= x_ticks[-1]:
            svg.append(f'<path class="event" d="M{x(at)} 10V210"><title>{at:,}: {show(text)}</title></path>')
    if cut := sum(not y_ticks[0] <= value <= y_ticks[-1] for value in known):
        notes.append(f"points beyond the axis: {cut}")
    return (
        f'<div class="chart"><h3>{escape(_heading(title))}</h3><ul class="legend">{legend}</ul>'
        f'<svg viewBox="0 0 460 252" role="img" aria-label="{escape(title)} over {escape(axis)}">{"".join(svg)}'
        f'<text x="245" y="249" class="x">{escape(axis)}</text></svg><p class="faint">{"; ".join(notes)}</p></div>'
    )


def _heading(title: str) -> str:
    """A title with a capital; the scores whose names are abbreviations are in capitals."""
    first, *rest = title.split(" ", 1)
    return " ".join([first.upper() if first.rstrip(",") in ("fid", "kid") else first[:1].upper() + first[1:], *rest])


def _curve(points: Sequence[tuple[float, float] | None], style: str) -> str:
    """A line through the points, broken at those that are None; few points are marked."""
    texts = [None if point is None else f"{point[0]},{point[1]}" for point in points]
    path = " ".join(("L" if i and texts[i - 1] else "M") + text + "h0" for i, text in enumerate(texts) if text)
    marked = [point for point in points if point]
    circles = "".join(f'<circle cx="{x}" cy="{y}" r="4"/>' for x, y in marked) if len(marked) <= _MARKED else ""
    return f'<path class="curve {style}" d="{path}"/>' + (f'<g class="{style}">{circles}</g>' if circles else "")


def _hover(x: Callable, middles: Sequence[float], names: Sequence[str], curves: Sequence[Sequence[Any]]) -> list[str]:
    """For each place on the axis a strip that shows the values there when it is pointed at."""
    edges = [x(middles[0]), *(x((a + b) / 2) for a, b in itertools.pairwise(middles)), x(middles[-1])]
    strips = []
    for at, left, right, *values in zip(middles, edges, edges[1:], *curves, strict=False):
        if left == right:  # a single place: a strip about its mark
            left, right = left - 12, right + 12
        text = "\n".join(f"{name}: {show(v)}" for name, v in zip(names, (round(at, 2), *values), strict=True))
        strips.append(f'<rect x="{left}" width="{right - left:.1f}" height="210"><title>{escape(text)}</title></rect>')
    return strips


def on_one_axis(
    curves: Mapping[str, Sequence[tuple[float, float]]],
) -> tuple[list[float], dict[str, list[float | None]]]:
    """Curves of (x, y) over a common axis, for `chart`: straight between two points, None beyond a curve's ends."""
    xs = sorted({x for points in curves.values() for x, _ in points})
    series: dict[str, list[float | None]] = {}
    for name, points in curves.items():
        if points:
            at, values = zip(*points, strict=True)
            drawn = np.interp(xs, at, values)
            series[name] = [float(y) if at[0] <= x <= at[-1] else None for x, y in zip(xs, drawn, strict=True)]
    return xs, series


def _mean(values: Sequence[Any]) -> float | None:
    numbers = [value for value in values if is_number(value)]
    return sum(numbers) / len(numbers) if numbers else None


def _powers(low: float, high: float) -> list[float]:
    """Up to nine of 1, 2 and 5 times powers of ten, the first not above `low`, the last not below `high`."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    first = max(index for index, number in enumerate(found) if number <= low * (1 + 1e-9))
    last = min(index for index, number in enumerate(found) if number >= high * (1 - 1e-9))
    chosen = found[first : max(last, first + 1) + 1]
    return chosen if len(chosen) <= 9 else [10.0**exponent for exponent in exponents]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, three or more, the first not above `low`, the last not below `high`.

    A single value is in the middle, a single 0 at the beginning.
    """
    if high == low == 0:
        high = 1.0
    elif high == low:
        room = abs(high) / 2 or 1.0
        low, high = low - room, high + room
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * 4.5 >= span)
    first = math.floor(low / step)
    return [number * step for number in range(first, max(math.ceil(high / step), first + 2) + 1)]
