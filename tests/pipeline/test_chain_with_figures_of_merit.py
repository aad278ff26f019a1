"""The whole chain with figures of merit that have numbers of their own, or no gradients."""

import json

import pytest

from zsig_hep.pipeline.stages import Pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.mark.parametrize(
    ("selection", "differentiated", "words"),
    [
        (
            {"figure_of_merit": "poisson_with_uncertainty", "background_uncertainties": {"top": 0.2}},
            "Asimov significance with background uncertainty",
            "Z_Bi",
        ),
        (
            {"figure_of_merit": "ams", "ams_regularisation": 3.0},
            "approximate median significance (AMS), b_r = 3",
            "AMS",
        ),
    ],
)
def test_a_training_a_working_point_and_its_report(
    small_search, tmp_path, no_figures, selection, differentiated, words
):
    analysis = small_search.analysis(training={"loss": {"name": "soft_significance"}}, selection=selection)
    Pipeline(analysis, tmp_path / "out").run()
    summary = json.loads((tmp_path / "out" / "report" / "summary.json").read_text())
    for classifier in summary["classifiers"]:
        assert classifier["working_point"]["status"] == "ok"
        assert classifier["working_point"]["significance_uncertainty"] > 0
    assert summary["impact"]["figure_of_merit"] == differentiated
    assert words in summary["figure_of_merit"]
    assert not {"ams_regularisation", "punzi_sigmas"} & set(summary["requirements"])
