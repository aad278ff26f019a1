"""Tables of the results in markdown.

Numbers are mean ± standard deviation over seeds. Toys are given as fractions of what the optimal selection reaches at the
same signal efficiency. "cut" is the working point chosen on validation events, as a fraction of what the optimal selection
reaches where such a choice is possible on average; this fraction may exceed one where a fluctuation of the validation events
allows a tighter threshold. "best cut" is the best of all thresholds, as a fraction of that of the optimal selection.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from analyses.comparison.methods import BASELINE, LABELS, OPTIMIZERS
from analyses.comparison.samples import SAMPLES
from analyses.comparison.units import EFFICIENCIES
from analyses.tables import Spread, paired_difference, table

Row = Mapping[str, Any]
Limits = Mapping[str, Mapping[str, Sequence[float]]]
Floats = npt.NDArray[np.float64]

CUT = len(EFFICIENCIES)
TREES = {BASELINE: "boosted trees"} | {
    loss: f"boosted trees, {LABELS[loss]}" for loss in ("z_sigmoid", "effective_weights")
}

MODELS = {"mlp": "MLP", "linear": "linear", "trees": "boosted trees"}


def numbers(row: Row) -> Floats:
    """Significances at the efficiencies, at the working point, and of the best cut where it is known."""
    if "error" in row:
        return np.full(CUT + 2, np.nan)
    values = [*row["at_efficiency"], row["working_point"], row.get("best")]
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


class Results:
    """Results by sample, model, loss, optimiser and seed, as fractions of a limit where one is known.

    Args:
        rows: of the results file; the last of equals counts.
        limits: by sample.
    """

    def __init__(self, rows: Sequence[Row], limits: Limits) -> None:
        self.limits = limits
        self.rows: dict[tuple[str, str, str, str], dict[int, Row]] = {}
        for row in rows:
            key = (row["sample"], row["model"], row["loss"], row["optimizer"])
            self.rows.setdefault(key, {})[row["seed"]] = row

    def samples(self) -> list[str]:
        """Samples with a result."""
        return [sample for sample in SAMPLES if any(key[0] == sample for key in self.rows)]

    def losses(self, sample: str, model: str, optimizer: str) -> list[str]:
        """Losses with a result, in the order of the labels."""
        return [loss for loss in LABELS if (sample, model, loss, optimizer) in self.rows]

    def values(self, sample: str, model: str, loss: str, optimizer: str, limit: str = "limit") -> dict[int, Floats]:
        """Numbers of each seed."""
        of_seed = self.rows.get((sample, model, loss, optimizer), {})
        scale = np.array(self.limits.get(sample, {}).get(limit) or [1.0] * (CUT + 2))
        return {seed: numbers(row) / scale for seed, row in sorted(of_seed.items())}

    def error(self, sample: str, model: str, loss: str, optimizer: str) -> str | None:
        """Why there are no numbers."""
        of_seed = self.rows.get((sample, model, loss, optimizer), {})
        return next((row["error"] for row in of_seed.values() if "error" in row), None)


def spread(of_seeds: Mapping[int, Floats], column: int) -> Spread:
    """Mean and standard deviation over seeds of one number."""
    return Spread.of([row[column] for row in of_seeds.values()], 3)


def difference(mine: Mapping[int, Floats], baseline: Mapping[int, Floats], column: int = CUT) -> str:
    """Mean difference over the seeds that both have, with the error of the mean."""
    pairs = [(mine[seed][column], baseline[seed][column]) for seed in mine if seed in baseline]
    return paired_difference([own for own, _ in pairs], [other for _, other in pairs])


def _kinds(results: Results, sample: str, model: str) -> Iterator[tuple[str, str, str, str]]:
    """Label, model, loss and optimiser of a table's rows: the networks with Adam, then the trees."""
    for loss in results.losses(sample, model, "adam"):
        yield LABELS[loss], model, loss, "adam"
    for loss in results.losses(sample, "trees", "xgboost"):
        yield TREES[loss], "trees", loss, "xgboost"


def loss_table(results: Results, sample: str, model: str, limit: str = "limit") -> str:
    """Losses of one sample and model with Adam, and boosted trees, at every efficiency and at the working point."""
    is_toy = sample in results.limits and bool(results.limits[sample])
    heads = ["loss", *(f"{each:g}" for each in EFFICIENCIES), "cut", f"cut − {LABELS[BASELINE]}"]
    if is_toy:
        heads += ["best cut", f"best cut − {LABELS[BASELINE]}"]
    lines = []
    baseline = results.values(sample, model, BASELINE, "adam", limit)
    for label, of_model, loss, optimizer in _kinds(results, sample, model):
        values = results.values(sample, of_model, loss, optimizer, limit)
        if results.error(sample, of_model, loss, optimizer):
            lines.append([label, "refused", *[""] * (len(heads) - 2)])
            continue
        is_baseline = (of_model, loss) == (model, BASELINE)
        columns = [spread(values, column) for column in range(CUT + 2)]
        cells = [label, *columns[: CUT + 1], "" if is_baseline else difference(values, baseline)]
        if is_toy:
            cells += [columns[CUT + 1], "" if is_baseline else difference(values, baseline, CUT + 1)]
        lines.append(cells)
    return table(heads, lines)


WITHOUT_CUT = {
    "log loss × 1000": ("log_loss", 0.0, 1e3),
    "(1 − AUC) × 10⁴": ("area", 1e4, -1e4),
    "binned Z": ("binned", 0.0, 1.0),
}
"""Heads of the quantities without a cut: key of the row, and the number shown is offset + factor * value."""


def without_cut_table(results: Results, sample: str, model: str) -> str:
    """Losses of a search with Adam, and boosted trees, by what needs no cut."""
    baseline = results.rows.get((sample, model, BASELINE, "adam"), {})
    lines = []
    for label, of_model, loss, optimizer in _kinds(results, sample, model):
        of_seed = results.rows[sample, of_model, loss, optimizer]
        if results.error(sample, of_model, loss, optimizer):
            continue
        cells: list[object] = [label]
        for key, offset, factor in WITHOUT_CUT.values():
            cells.append(Spread.of([offset + factor * row[key] for row in of_seed.values()]))
        shared = [seed for seed in of_seed if seed in baseline]
        pairs = [[rows[seed]["binned"] for seed in shared] for rows in (of_seed, baseline)]
        cells.append("" if (of_model, loss) == (model, BASELINE) else paired_difference(*pairs))
        lines.append(cells)
    return table(["loss", *WITHOUT_CUT, f"binned Z − {LABELS[BASELINE]}"], lines)


def _column(results: Results, sample: str) -> int:
    """The one number of a sample: the best cut where it is known exactly, else the held-out working point."""
    return CUT + 1 if results.limits.get(sample) else CUT


def optimizer_table(results: Results, sample: str, model: str) -> str:
    """Losses against optimisers: best cut of a toy, held-out working point of a search."""
    column = _column(results, sample)
    present = [name for name in OPTIMIZERS if results.losses(sample, model, name)]
    lines = []
    for loss in LABELS:
        found = [results.values(sample, model, loss, name) for name in present]
        if any(found):
            lines.append([LABELS[loss], *(spread(each, column) for each in found)])
    return table(["loss", *(OPTIMIZERS[name].label for name in present)], lines)


def summary_table(results: Results, model: str = "mlp") -> str:
    """Methods with Adam against samples: best cut of a toy over the limit, held-out Z of a search."""
    samples = results.samples()
    lines = []
    for kind in dict.fromkeys(kind for sample in samples for kind in _kinds(results, sample, model)):
        label, of_model, loss, optimizer = kind
        cells = []
        for sample in samples:
            values = results.values(sample, of_model, loss, optimizer)
            cells.append(spread(values, _column(results, sample)) if values else "")
        lines.append([label, *cells])
    order = [*LABELS.values(), *TREES.values()]
    lines.sort(key=lambda cells: order.index(cells[0]))
    return table(["method", *(sample.replace("_", " ") for sample in samples)], lines)


def refusals(results: Results) -> str:
    """What could not be trained, and why."""
    found: dict[str, list[str]] = {}
    for key in results.rows:
        if reason := results.error(*key):
            found.setdefault(f"{LABELS[key[2]]}: {reason}", []).append(f"{key[0]} {key[1]} {key[3]}")
    return "\n".join(f"- {reason} ({', '.join(where)})" for reason, where in found.items())


def all_tables(rows: Sequence[Row], limits: Limits) -> str:
    """Every table: the summary, then sample by sample."""
    results = Results(rows, limits)
    parts = []
    for model in ("mlp", "linear"):
        parts += [f"## Summary, {MODELS[model]} with Adam", summary_table(results, model)]
    for sample in results.samples():
        for model in ("mlp", "linear"):
            if not results.losses(sample, model, "adam"):
                continue
            parts += [f"## {sample}, {MODELS[model]}, Adam", loss_table(results, sample, model)]
            if not limits.get(sample):
                parts += ["Without a cut:", without_cut_table(results, sample, model)]
            if model == "linear" and limits.get(sample):
                parts += ["As fractions of the best linear cut:", loss_table(results, sample, model, "linear")]
            if any(results.losses(sample, model, name) for name in OPTIMIZERS if name != "adam"):
                parts += [f"## {sample}, {MODELS[model]}, optimisers", optimizer_table(results, sample, model)]
    if reasons := refusals(results):
        parts += ["## Refused", reasons]
    return "\n\n".join(parts)
