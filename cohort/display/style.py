"""How the figures look, and how one becomes SVG text that is the same whenever it is drawn from the same numbers."""

import html
import io
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

# Blue for what was predicted, orange for what was observed: apart for the colour-blind, and in print by their markers.
PREDICTED, OBSERVED, QUIET, PRIOR = "#1f5fa8", "#d95f02", "#8a8f98", "#b9c4d0"
# Of the designs that are compared: by colour, and by dashes where there is none.
DESIGNS = {
    "no borrowing": (OBSERVED, "-"),
    "robust": (PREDICTED, (0, (5, 1.5))),
    "robust borrowing": (PREDICTED, (0, (5, 1.5))),
    "full borrowing": (QUIET, (0, (1, 1.2))),
}
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)))
WIDTH = 6.6  # inches: text stays readable when a phone shrinks it

plt.rcParams.update(
    {
        "font.family": "DejaVu Sans",  # ships with matplotlib
        "font.size": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.labelcolor": "#333",
        "axes.edgecolor": "#888",
        "xtick.color": "#444",
        "ytick.color": "#444",
        "legend.frameon": False,
        "svg.hashsalt": "cohort",
        "svg.fonttype": "path",
        "text.parse_math": False,  # a $ in a name is a $
        "figure.constrained_layout.use": True,
    }
)


def grid(panels: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[Any]]:
    """A figure of so many panels of that height (inches); the axes left over are removed."""
    rows = -(-panels // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, height * rows), squeeze=False, **options)
    flat = list(axes.ravel())
    for spare in flat[panels:]:
        spare.remove()
    return figure, flat[:panels]


def svg(figure: Figure, title: str) -> str:
    """The figure as an <svg> element that scales, with `title` for those who cannot see it."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    plt.close(figure)
    body = text.getvalue()
    body = body[body.index("<svg") :]
    # Its size comes from the page.
    head, rest = body.split(">", 1)
    words = [w for w in head.split(" ") if not w.startswith(("width=", "height="))]
    return f'{" ".join(words)} role="img" aria-label="{html.escape(title)}">{rest}'


def arm_label(name: str) -> str:
    return name.replace("_", " ")
