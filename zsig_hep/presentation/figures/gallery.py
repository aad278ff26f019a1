"""The figures of the report with their captions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hist
from matplotlib.figure import Figure

from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.names import slugs
from zsig_hep.presentation.figures.categories import category_figure
from zsig_hep.presentation.figures.classifiers import efficiency_purity_figure, roc_figure, significance_figure
from zsig_hep.presentation.figures.cuts import cutflow_figure, n_minus_one_figure
from zsig_hep.presentation.figures.distributions import feature_figure, score_figure
from zsig_hep.presentation.figures.impact import impact_figure
from zsig_hep.presentation.figures.style import Look, Style
from zsig_hep.presentation.figures.training import graduated_figure, training_figure
from zsig_hep.selection import ClassifierEvaluation, CutResult, HeldOutCategories, ImpactTable

SIGNIFICANCE = (
    "Significance above each threshold on the out-of-fold score, with its Monte-Carlo uncertainty; faint where a "
    "requirement of the working point is not met. Dotted: the cut of each fold, chosen on the other folds."
)
SCORE = "Out-of-fold scores: stacked backgrounds with their Monte-Carlo uncertainty, and signals."
ROC = "Background efficiency against signal efficiency, from weighted yields and from numbers of simulated events."
CATEGORIES = (
    "Score categories. Left: held-out yields and significance of each category, labelled with the median of its lower "
    "edges. Right: combined significance against the number of categories, for the best edges, held out and on the "
    "events that chose them, and for categories of equal signal yield; below, the gain of the best edges over a single "
    "cut and over equal signal."
)
BLINDED = " Data above the cuts are left out but simulation is not, so their ratio is low where events are signal-like."
PURITY = "Signal efficiency and purity above each threshold."
IMPACT = (
    "Derivatives of the highest significance and of the optimal cut in the logarithms of cross sections, luminosity and "
    "background uncertainties, with bootstrap errors."
)
GRADUATED = (
    "Stages of the graduated schedules: step size, batch size, degree of smoothing δ by the noise of the minibatches, and "
    "loss."
)
TRAINING = "Training and validation loss of every network of the ensemble; a dot marks the epoch that was kept."
N_MINUS_ONE = (
    "{} with the cuts on all other variables applied; the region that its own cut rejects is shaded. Below: significance "
    "against each edge of the cut, on the events that chose the cuts."
)
CUTFLOW = "Significance after each rectangular cut, on the events that chose the cuts and held out."


@dataclass(frozen=True)
class CutGallery:
    """The figures of rectangular cuts.

    Attributes:
        cuts: the rectangular cuts.
        look: labels and colours of processes and features.
        style: style of the experiment.
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
        files = slugs(self.cuts.n_minus_one)
        for name, found in self.cuts.n_minus_one.items():
            figure = n_minus_one_figure(found, self.look, self.style)
            yield f"cut_{files[name]}", N_MINUS_ONE.format(name), figure


@dataclass(frozen=True)
class Gallery:
    """The figures of a report.

    Attributes:
        evaluations: classifiers to compare.
        histories: histories of their trainings, by label of the classifier.
        features: histogram of each input feature, by name.
        look: labels and colours of processes and features.
        style: style of the experiment.
        impacts: sensitivities of the optimal cut of the first classifier; not drawn if None or without rows.
        categories: score categories of the first classifier; not drawn if None.
        blinded: whether the results leave out data above the cuts.
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
        yield "significance", SIGNIFICANCE, significance_figure(evaluations, style)
        yield "score", SCORE, score_figure(evaluations, look, style)
        yield "roc", ROC, roc_figure(evaluations, style)
        yield "efficiency_purity", PURITY, efficiency_purity_figure(evaluations, style)
        if self.categories is not None:
            yield "categories", CATEGORIES, category_figure(self.categories, look, style)
        if self.impacts is not None and self.impacts.rows:
            yield "impact", IMPACT, impact_figure(self.impacts, look, style)
        yield "training", TRAINING, training_figure(self.histories, style)
        if graduated := {label: each.graduated for label, each in self.histories.items() if each.graduated}:
            yield "graduated", GRADUATED, graduated_figure(graduated, style)
        hidden = BLINDED if self.blinded else ""
        files = slugs(self.features)
        for name, histogram in self.features.items():
            yield f"feature_{files[name]}", f"Input feature {name}.{hidden}", feature_figure(histogram, look, style)
