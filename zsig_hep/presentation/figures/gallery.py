"""The figures of the report with their captions, one by one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hist
from matplotlib.figure import Figure

from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.presentation.figures.categories import category_figure
from zsig_hep.presentation.figures.classifiers import efficiency_purity_figure, roc_figure, significance_figure
from zsig_hep.presentation.figures.cuts import cutflow_figure, n_minus_one_figure
from zsig_hep.presentation.figures.distributions import feature_figure, score_figure
from zsig_hep.presentation.figures.impact import impact_figure
from zsig_hep.presentation.figures.style import Look, Style
from zsig_hep.presentation.figures.training import graduated_figure, training_figure
from zsig_hep.selection import ClassifierEvaluation, CutResult, HeldOutCategories, ImpactTable

SIGNIFICANCE = """Significance above each threshold of the out-of-fold score with its Monte-Carlo uncertainty; faint
where a requirement of the working point is not met. Dotted: the cut of each fold, chosen on the other folds."""
SCORE = "Out-of-fold scores: backgrounds stacked with their Monte-Carlo uncertainty, signals overlaid."
ROC = "Background against signal efficiency, weighted with cross sections and counting simulated events."
CATEGORIES = """Score categories. Left: held-out yields and significance of each, labelled with the median of its lower edges. Right:
significance of 1, 2, ... categories together, beside categories of equal signal yield and on the events that chose the
edges; below, the gain over the single cut and over equal signal."""
BLINDED = """ Data above the cuts are left out, simulation above them is not: their ratio falls where signal-like events
are."""
PURITY = "Signal efficiency and purity above each threshold."
IMPACT = """How the highest significance and the cut that gives it answer to relative changes of cross sections,
luminosity and background uncertainties, with bootstrap errors."""
GRADUATED = """Stages of the graduated schedules: step size, batch size, smoothing degree delta of the noise of the
minibatches, and loss."""
TRAINING = "Training and validation loss of every network of the ensemble; a dot marks the epoch that was kept."


N_MINUS_ONE = """{} with the cuts on all other variables applied; what its own cut rejects is shaded. Below: significance
against each edge of the cut, on the events that chose the cuts."""
CUTFLOW = "Significance after each rectangular cut, on the events that chose the cuts and held out."


@dataclass(frozen=True)
class CutGallery:
    """What the figures of rectangular cuts are drawn from.

    Attributes:
        cuts: what was found.
        look: of processes and features.
        style: of the experiment.
    """

    cuts: CutResult
    look: Look
    style: Style

    def figures(self) -> Iterator[tuple[str, str, Figure]]:
        """Draw one figure after the other.

        Yields:
            File name without suffix, caption, figure.
        """
        if self.cuts.cutflow or self.cuts.held_out_cutflow:
            yield "cutflow", CUTFLOW, cutflow_figure(self.cuts, self.look, self.style)
        for name, found in self.cuts.n_minus_one.items():
            figure = n_minus_one_figure(found, self.look, self.style)
            yield f"cut_{name}", N_MINUS_ONE.replace("\n", " ").format(name), figure


@dataclass(frozen=True)
class Gallery:
    """What the figures of a report are drawn from.

    Attributes:
        evaluations: classifiers to compare.
        histories: of their trainings, by label.
        features: histogram of each input feature, by name.
        look: of processes and features.
        style: of the experiment.
        impacts: of the first classifier's optimal cut; None, or without rows, is not drawn.
        categories: of the first classifier; None is not drawn.
        blinded: whether data above the cuts are left out of what is drawn.
    """

    evaluations: Sequence[ClassifierEvaluation]
    histories: Mapping[str, TrainingHistory]
    features: Mapping[str, hist.Hist[Any]]
    look: Look
    style: Style
    impacts: ImpactTable | None = None
    categories: HeldOutCategories | None = None
    blinded: bool = False

    def figures(self) -> Iterator[tuple[str, str, Figure]]:
        """Draw one figure after the other.

        Yields:
            File name without suffix, caption, figure.
        """
        evaluations, look, style = self.evaluations, self.look, self.style
        yield "significance", SIGNIFICANCE.replace("\n", " "), significance_figure(evaluations, style)
        yield "score", SCORE, score_figure(evaluations, look, style)
        yield "roc", ROC, roc_figure(evaluations, style)
        yield "efficiency_purity", PURITY, efficiency_purity_figure(evaluations, style)
        if self.categories is not None:
            drawn = category_figure(self.categories, look, style)
            yield "categories", CATEGORIES.replace("\n", " "), drawn
        if self.impacts is not None and self.impacts.rows:
            yield "impact", IMPACT.replace("\n", " "), impact_figure(self.impacts, look, style)
        yield "training", TRAINING, training_figure(self.histories, style)
        if graduated := {label: each.graduated for label, each in self.histories.items() if each.graduated}:
            yield "graduated", GRADUATED.replace("\n", " "), graduated_figure(graduated, style)
        hidden = BLINDED.replace("\n", " ") if self.blinded else ""
        for name, histogram in self.features.items():
            yield f"feature_{name}", f"Input feature {name}.{hidden}", feature_figure(histogram, look, style)
