"""The samples: toys judged exactly, and simulated searches judged out of fold.

The toys' cuts are judged by a quadrature of the plane, which gives what infinitely many test events would give. At a signal
efficiency of 0.1, three of the 303 000 background events of paper case 1 are left: 10^6 test events per process would have
an error of 30 %, the quadrature has 10^-4. It has 500 x 500 points; 1000 x 1000 change Z by less than that.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analyses import efficiency_curves
from analyses.comparison.searches import UNCERTAINTIES, SearchCase
from analyses.comparison.units import EFFICIENCIES, Case, Floats, Predict, Unit
from analyses.efficiency_curves import EfficiencyCurve
from analyses.toys import FEATURES, OVERLAP_100, OVERLAP_3000, PAPER_CASE_1, PAPER_CASE_2, GaussianToy
from zsig_hep.analysis import Analysis
from zsig_hep.learning import TrainingSample, TrainingSettings
from zsig_hep.learning.training.members import Member
from zsig_hep.pipeline import Pipeline
from zsig_hep.selection import (
    ScoredEvents,
    WorkingPointSettings,
    choose_working_point,
    scan_thresholds,
    training_goal,
)
from zsig_hep.statistics import FigureOfMerit

POINTS_PER_AXIS = 500
VALIDATION_SHARE = 5


@dataclass(frozen=True)
class ToyCase:
    """A toy whose seeds are independent data sets; every fifth event of a process validates.

    Attributes:
        name: key in the results.
        toy: the toy.
        events: of each process and seed.
        epochs: of the warm start and of the main phase.
        batch_sizes: likewise.
        warm_start_step: step size of the MLP's warm start.
    """

    name: str
    toy: GaussianToy
    events: int = 20_000
    epochs: tuple[int, int] = (40, 16)
    batch_sizes: tuple[int, int] = (256, 1024)
    warm_start_step: float = 3e-3
    training: TrainingSettings = dataclasses.field(default_factory=lambda: TrainingSettings(device="cpu"))
    hidden: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=lambda: {"linear": (), "mlp": (16,)})

    @property
    def title(self) -> str:
        """For tables."""
        return self.toy.name

    @property
    def has_uncertainties(self) -> bool:
        """Whether the figure of merit has systematic uncertainties of the backgrounds."""
        return bool(self.toy.background_uncertainties)

    @cached_property
    def settings(self) -> WorkingPointSettings:
        """How a working point is chosen: by the figure of known yields, which the limits of the toys have."""
        suffix = "_with_uncertainty" if self.has_uncertainties else ""
        return WorkingPointSettings(
            figure_of_merit=FigureOfMerit(f"s_over_sqrt_b{suffix}"),
            background_uncertainties=self.toy.background_uncertainties,
            simulation_uncertainty_in_figure=False,
            minimum_effective_background=10,
            dominant_background_fraction=0.1,
            minimum_signal_efficiency=self.toy.minimum_signal_efficiency,
        )

    @property
    def validation_events(self) -> int:
        """Validation events of each process."""
        return self.events // VALIDATION_SHARE

    def units(self, seeds: Sequence[int]) -> list[Unit]:
        """One ensemble, with a member for each data set."""
        drawn = [self.toy.draw(self.events, np.random.default_rng([seed, 2412_09500])) for seed in seeds]
        size = self.events * len(self.toy.processes)
        sample = TrainingSample(
            features=np.concatenate([each.features for each in drawn]).astype(np.float32),
            feature_names=FEATURES,
            weights=np.concatenate([each.weight for each in drawn]) / len(drawn),
            process=np.concatenate([each.process for each in drawn]).astype(np.int64),
            yields=self.toy.yields,
            # Members are told apart by folds of their own; no event is withheld for a test.
            fold=np.full(size * len(drawn), -1),
            fold_count=len(drawn),
            processes=self.toy.process_table,
        )
        validates = np.arange(size) % VALIDATION_SHARE == 0
        members = tuple(
            Member(row, seed, np.flatnonzero(~validates) + row * size, np.flatnonzero(validates) + row * size)
            for row, seed in enumerate(seeds)
        )
        return [Unit(tuple(seeds), sample, members, training_goal(self.settings))]

    def judge(self, unit: Unit, predict: Predict) -> list[dict[str, object]]:
        """Exact significances of each seed."""
        grid = self.toy.grid(POINTS_PER_AXIS)
        outputs = predict(grid.points.astype(np.float32))
        rows = []
        for index, member in enumerate(unit.members):
            curve = self.toy.exact_curve(outputs[index], POINTS_PER_AXIS)
            validation = predict(unit.sample.features[member.validation])[index]
            rows.append(
                {
                    "at_efficiency": curve.significance_at(EFFICIENCIES).tolist(),
                    "best": curve.best(self.toy.minimum_signal_efficiency).significance,
                }
                | self._working_point(validation, unit, member, outputs[index], grid.yields)
            )
        return rows

    def _working_point(
        self, validation: Floats, unit: Unit, member: Member, outputs: Floats, yields: Floats
    ) -> dict[str, object]:
        processes = self.toy.process_table
        events = ScoredEvents.from_arrays(
            validation,
            unit.sample.weights[member.validation] * unit.sample.fold_count * VALIDATION_SHARE,
            unit.sample.process[member.validation],
            names=processes.names,
            roles=processes.roles,
        )
        threshold = choose_working_point(scan_thresholds(events, self.settings), self.settings).threshold
        if threshold is None:
            return {"working_point": None, "signal_efficiency": None}
        selected = yields[:, outputs >= threshold].sum(1)
        signal, backgrounds = selected[self.toy.is_signal][0], selected[~self.toy.is_signal]
        z = efficiency_curves.significance(signal, backgrounds, self.toy.relative_uncertainties)
        return {
            "working_point": float(z),
            "signal_efficiency": float(signal / self.toy.yields[self.toy.is_signal][0]),
        }

    def limits(self) -> dict[str, list[float]]:
        """The optimal selection and the best linear cut; working points are subject to the rules of the settings."""
        if self.has_uncertainties:
            best = [self.toy.effective_weights_limit(each).significance for each in EFFICIENCIES]
            curve = self.toy.effective_weights_limit().curve
        else:
            curve = self.toy.likelihood_ratio_curve(points_per_axis=POINTS_PER_AXIS)
            best = curve.significance_at(EFFICIENCIES).tolist()
        cuts = [self.toy.best_linear_cut(float(each)) for each in np.linspace(0.005, 0.995, 199)]
        linear_curve = EfficiencyCurve(
            np.array([cut.signal_efficiency for cut in cuts]),
            np.array([cut.background_yields for cut in cuts]).T,
            curve.signal_yield,
            curve.relative_uncertainties,
        )
        linear = [self.toy.best_linear_cut(each).significance for each in EFFICIENCIES]
        # The grid of efficiencies meets the minimum but for rounding.
        minimum = self.toy.minimum_signal_efficiency - 1e-9
        overall = [each.best(minimum).significance for each in (curve, linear_curve)]
        return {
            "limit": [*best, self._best_allowed(curve), overall[0]],
            "linear": [*linear, self._best_allowed(linear_curve), overall[1]],
        }

    def _best_allowed(self, curve: EfficiencyCurve) -> float:
        """Largest Z of a curve where the settings find, on average, enough validation events above the cut."""
        weights = self.toy.yields[~self.toy.is_signal] / self.validation_events
        above = curve.background_yields
        entries = above.sum(0) ** 2 / np.maximum((above * weights[:, None]).sum(0), np.finfo(float).tiny)
        shares = weights / weights.sum()
        for row in np.flatnonzero(shares > self.settings.dominant_background_fraction):
            entries = np.minimum(entries, above[row] / weights[row])
        allowed = entries >= self.settings.minimum_effective_background
        allowed &= curve.signal_efficiency >= self.toy.minimum_signal_efficiency - 1e-9
        return float(np.max(np.where(allowed, curve.significance(), -np.inf)))


TOYS = {
    "case_1": PAPER_CASE_1,
    "case_2": PAPER_CASE_2,
    "overlap_100": OVERLAP_100,
    "overlap_3000": OVERLAP_3000,
}

SAMPLES = (*TOYS, "hmumu", "leptoquark", "hmumu_systematics", "leptoquark_systematics")


def load_case(
    name: str, output: Path, ntuples: Path | None = None, epochs: int | None = None, *, reduced: bool = False
) -> Case:
    """Make a sample ready.

    Args:
        name: one of `SAMPLES`.
        output: folder for the columns of the searches.
        ntuples: folder with a folder of ntuples per search, in place of those of the repository.
        epochs: of the main phase, in place of the sample's own.
        reduced: few events and one epoch each, for tests.

    Returns:
        The sample.
    """
    case: ToyCase | SearchCase
    if name in TOYS:
        case = ToyCase(name, TOYS[name])
        small = {"events": 400}
    else:
        case = _load_search(name, output, ntuples)
        small = {"table": case.table.select(np.arange(len(case.table.weight)) % 4 == 0)} if reduced else {}
    if reduced:
        case = dataclasses.replace(case, epochs=(1, 4), batch_sizes=(256, 256), **small)
    return case if epochs is None else dataclasses.replace(case, epochs=(case.epochs[0], epochs))


def _load_search(name: str, output: Path, ntuples: Path | None) -> SearchCase:
    stem = name.removesuffix("_systematics")
    analysis = Analysis.from_file(Path(__file__).parents[1] / stem)
    if ntuples is not None:
        analysis = analysis.with_ntuples(ntuples / stem)
    pipeline = Pipeline(analysis, output / "columns" / stem)
    pipeline.columns()
    uncertainties = UNCERTAINTIES[stem] if name != stem else {}
    # The sample with half of the events gets as many steps from smaller batches and more epochs.
    epochs, batch_sizes = ((15, 10), (256, 1024)) if stem == "leptoquark" else ((15, 6), (256, 2048))
    return SearchCase(name, analysis, pipeline.table.simulated, uncertainties, epochs, batch_sizes)
