"""All figures of a report together."""

from collections.abc import Callable
from types import SimpleNamespace

import hist
import matplotlib as mpl
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tests.presentation.conftest import Evaluations
from tests.presentation.figures.drawing import LOOK, PLAIN, assert_legends_clear, legend_texts, texts
from zsig_hep.learning.classifier.history import TrainingHistory
from zsig_hep.ntuples.table import EventTable
from zsig_hep.presentation import (
    Style,
    efficiency_purity_figure,
    feature_figure,
    roc_figure,
    score_figure,
    significance_figure,
    training_figure,
)
from zsig_hep.presentation.figures import gallery
from zsig_hep.selection.histograms import feature_histogram


def all_figures(
    evaluations: Evaluations, table: EventTable, history: TrainingHistory, style: Style
) -> dict[str, Figure]:
    return {
        "roc": roc_figure(evaluations, style),
        "significance": significance_figure(evaluations, style),
        "efficiency_purity": efficiency_purity_figure(evaluations, style),
        "score": score_figure(evaluations, LOOK, style),
        "feature": feature_figure(feature_histogram(table, "dimuon_mass"), LOOK, style),
        "training": training_figure({"Z loss": history}, style),
    }


@pytest.mark.slow
@pytest.mark.parametrize("with_data", [False, True])
def test_figures_are_labelled_clear_and_leave_no_trace(
    evaluations: Evaluations,
    data_evaluations: Evaluations,
    table: EventTable,
    data_table: EventTable,
    make_history: Callable[..., TrainingHistory],
    style: Style,
    with_data: bool,
) -> None:
    before = dict(mpl.rcParams)
    events, scored = (data_table, data_evaluations) if with_data else (table, evaluations)
    figures = all_figures(scored, events, make_history(collapsed=(1,)), style)
    for name, figure in figures.items():
        assert_legends_clear(figure)
        assert "140" in texts(figure), name
        assert "13 TeV" in texts(figure), name
        assert style.experiment == "plain" or style.experiment in texts(figure), name
        shows_data = with_data and name in {"score", "feature"}
        assert ("Simulation" in texts(figure)) is not shows_data, name
        for axes in figure.axes:
            assert axes.get_ylabel(), name
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []


def test_figures_without_qualifying_thresholds(
    unqualified: Evaluations, table: EventTable, make_history: Callable[..., TrainingHistory]
) -> None:
    figures = all_figures(unqualified, table, make_history(), PLAIN)
    for figure in figures.values():
        assert_legends_clear(figure)
    assert legend_texts(figures["significance"].axes[0]).count("no cut qualifies") == 2


def test_figures_of_features_are_files_of_one_folder_whatever_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gallery, "feature_figure", lambda *_: Figure())
    monkeypatch.setattr(gallery, "n_minus_one_figure", lambda *_: Figure())
    names = ["x", "X", "../../x", "a/b"]
    features = gallery.Gallery((), {}, dict.fromkeys(names, hist.Hist(hist.axis.Regular(1, 0, 1))), LOOK, PLAIN)
    for name in ("significance", "score", "roc", "efficiency_purity", "training"):
        monkeypatch.setattr(gallery, f"{name}_figure", lambda *_: Figure())
    cuts = SimpleNamespace(cutflow=(), held_out_cutflow=(), n_minus_one=dict.fromkeys(names))
    for found, prefix in ((features, "feature_"), (gallery.CutGallery(cuts, LOOK, PLAIN), "cut_")):
        files = [name for name, *_ in found.figures() if name.startswith(prefix)]
        assert files[0] == f"{prefix}x"
        assert len({file.casefold() for file in files}) == 4
        assert not any("/" in file for file in files)
