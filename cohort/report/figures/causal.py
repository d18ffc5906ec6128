"""The causal graph of a person: which columns are made from which, in order from left to right."""

from cohort.display.style import PREDICTED, QUIET, grid, svg
from cohort.population.causal import Chain, Step

MANY = 3  # columns of one box that are named one by one
HALF = 0.33  # of a box's width, in layers


def boxes(chain: Chain) -> list[list[Step]]:
    """Steps in causal order; genes together, and the abundances of enzymes together."""
    found: dict[str, list[Step]] = {}
    for k, step in enumerate(chain.steps):
        first = next(iter(step.makes))
        gene = any(name.endswith("_phenotype") for name in step.makes)
        found.setdefault("genes" if gene else "abundance" if first.startswith("abundance_") else f"{k}", []).append(
            step
        )
    return list(found.values())


def label(box: list[Step]) -> str:
    """What a box makes, in words."""
    if len(box) > 1:
        gene = any(name.endswith("_phenotype") for name in box[0].makes)
        return f"genotypes and\nphenotypes\n({len(box)} genes)" if gene else f"abundances\n({len(box)} enzymes)"
    made = list(box[0].makes)
    if len(made) <= MANY:
        return "\n".join(name.replace("_", " ") for name in made)
    return f"{box[0].name}\n({len(made)} columns)"


def causal(chain: Chain) -> str:
    own = boxes(chain)
    maker = {name: k for k, box in enumerate(own) for step in box for name in step.makes}
    parents = [{maker[c] for step in box for c in step.needs} - {k} for k, box in enumerate(own)]
    layers: list[list[int]] = []
    layer_of: dict[int, int] = {}
    waiting = list(range(len(own)))
    while waiting:  # a box of several steps may stand before one of its parents in the list
        ready = [k for k in waiting if all(parent in layer_of for parent in parents[k])]
        layer_of |= dict.fromkeys(ready, len(layers))
        layers.append(ready)
        waiting = [k for k in waiting if k not in ready]
    tallest = max(map(len, layers))
    at: dict[int, tuple[float, float]] = {}
    for x, layer in enumerate(layers):
        # Near their parents, so that few lines cross.
        layer.sort(key=lambda k: sum(at[p][1] for p in parents[k]) / max(len(parents[k]), 1))
        at |= {k: (float(x), (row + 0.5) / len(layer) * tallest) for row, k in enumerate(layer)}
    figure, (axis,) = grid(1, 1, 0.5 * tallest + 0.4)
    for k, found in enumerate(parents):
        for parent in found:
            (x0, y0), (x1, y1) = at[parent], at[k]
            axis.plot([x0 + HALF, x1 - HALF], [y0, y1], color=QUIET, lw=0.4, zorder=1)
    for k, box in enumerate(own):
        varies = any(step.draws for step in box)
        axis.text(
            *at[k], label(box), ha="center", va="center", fontsize=5.4, zorder=2,
            bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": PREDICTED if varies else QUIET, "lw": 0.8},
        )  # fmt: skip
    axis.set_xlim(-0.5, len(layers) - 0.5)
    axis.set_ylim(tallest, 0)
    axis.set_axis_off()
    return svg(figure, "Causal graph of the population's variables")
