"""How pictures of all pages are drawn: colours, style, a grid of axes, SVG text."""

import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLANT, SURROGATE, INPUT, LIMIT = "#1f5a94", "#e07b1a", "#4d4d4d", "#9a9a9a"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "surrogate-fmu",  # equal data give equal bytes
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}


def draw(pictures: Mapping[str, Callable[[], "Figure"]]) -> dict[str, str]:
    """Draw pictures in the house's style: title to SVG text, in the same order."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        return {title: to_svg(make()) for title, make in pictures.items()}


def make_grid(rows: int, columns: int, width: float, height: float, one_time: bool = True) -> tuple["Figure", Any]:
    """A figure and its axes (rows, columns), each of so many inches; with `one_time` those of a column share their abscissa."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)  # no display, whatever the user's configuration says
    return figure, figure.subplots(rows, columns, squeeze=False, sharex="col" if one_time and rows > 1 else False)


def to_svg(figure: "Figure") -> str:
    """A figure as SVG text without date and creator, so that equal data give equal bytes."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    return text[text.index("<svg") :]
