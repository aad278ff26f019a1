"""Reproduce the toy of arXiv:2412.09500.

    python -m analyses.paper_toy --output output/paper_toy

Writes the figures (PDF and PNG), `tables.md` and `results.json`, and prints the tables.
"""

import argparse
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

# Before torch is imported: OpenMP threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from analyses.paper_toy import figures, tables, training_figures
from analyses.paper_toy.experiments import TOYS, Size, run
from zsig_hep.presentation.figures.style import StyledFigure

SMALL_DPI = 58
"""Resolution of the working-point figure, which the README shows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything and write it to the output folder."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    results = run(Size(options.seeds, options.events, options.effort, options.points))
    options.output.mkdir(parents=True, exist_ok=True)
    _save(figures.boundaries(results), options.output / "boundaries")
    _save(figures.landscapes(), options.output / "landscapes")
    for index, toy in enumerate(TOYS, start=1):
        _save(figures.efficiencies(results, toy), options.output / f"efficiencies_case_{index}")
    _save(training_figures.collapse(results), options.output / "collapse")
    _save(training_figures.eps_working_point(results), options.output / "eps_working_point", SMALL_DPI)
    text = tables.markdown(results)
    (options.output / "tables.md").write_text(text, encoding="utf-8")
    (options.output / "results.json").write_text(json.dumps(tables.values(results), indent=1), encoding="utf-8")
    print(text)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    size = Size()
    parser = argparse.ArgumentParser(prog="python -m analyses.paper_toy", description="Reproduce arXiv:2412.09500.")
    parser.add_argument("--output", type=Path, default=Path("output/paper_toy"), help="folder to write to")
    parser.add_argument("--seeds", type=int, default=size.seeds, help="networks per case, each with its own events")
    parser.add_argument("--events", type=int, default=size.events, help="training events per process")
    parser.add_argument("--effort", type=float, default=size.effort, help="factor on the steps of every training")
    parser.add_argument("--points", type=int, default=size.points_per_axis, help="quadrature points per axis")
    return parser.parse_args(arguments)


def _save(figure: StyledFigure, path: Path, dots_per_inch: int = 110) -> None:
    figure.savefig(path.with_suffix(".png"), dpi=dots_per_inch, pil_kwargs={"optimize": True})
    figure.savefig(path.with_suffix(".pdf"))


if __name__ == "__main__":
    main()
