"""The causal graph of a person: which columns are made from which, in order from left to right."""

from cohort.population.causal import Chain, Step
from cohort.report.figures.style import PREDICTED, QUIET, grid, svg

MANY = 3  # columns of one step that are named one by one


def label(step: Step) -> str:
    """What a step makes, in words."""
    made = list(step.makes)
    if len(made) <= MANY:
        return "\n".join(name.replace("_", " ") for name in made)
    return f"{step.name}\n({len(made)} columns)"


def levels(chain: Chain) -> list[list[int]]:
    """Steps, by their place in the chain, in layers: each after all that it needs."""
    layer_of: dict[str, int] = {}
    layers: list[list[int]] = []
    for k, step in enumerate(chain.steps):
        layer = max((layer_of[c] + 1 for c in step.needs), default=0)
        layer_of |= dict.fromkeys(step.makes, layer)
        while len(layers) <= layer:
            layers.append([])
        layers[layer].append(k)
    return layers


def causal(chain: Chain) -> str:
    layers = levels(chain)
    tallest = max(map(len, layers))
    figure, (axis,) = grid(1, 1, 0.42 * tallest + 0.3)
    at: dict[int, tuple[float, float]] = {}
    for x, layer in enumerate(layers):
        for row, k in enumerate(layer):
            at[k] = (x, (row + 0.5) / len(layer) * tallest)
    maker: dict[str, int] = {}
    for k, step in enumerate(chain.steps):
        for parent in {maker[c] for c in step.needs}:
            (x0, y0), (x1, y1) = at[parent], at[k]
            axis.annotate(
                "",
                (x1 - 0.28, y1),
                (x0 + 0.28, y0),
                arrowprops={"arrowstyle": "-", "color": QUIET, "lw": 0.35},
                zorder=1,
            )
        maker |= dict.fromkeys(step.makes, k)
    for k, step in enumerate(chain.steps):
        axis.text(
            *at[k], label(step), ha="center", va="center", fontsize=5.2, zorder=2,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": PREDICTED if step.draws else QUIET, "lw": 0.8},
        )  # fmt: skip
    axis.set_xlim(-0.5, len(layers) - 0.5)
    axis.set_ylim(tallest, 0)
    axis.set_axis_off()
    return svg(figure, "Causal graph of the population's variables")
