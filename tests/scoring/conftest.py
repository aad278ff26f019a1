"""Models that were trained and searches that were run once for all tests of the room; worker processes as for ntuples."""

import pytest

from tests.learning.forests import SMALL
from tests.learning.toy import make_table
from tests.ntuples.conftest import pool
from tests.scoring.models import describe, trained_on
from tests.scoring.scored import make_search

__all__ = ["pool"]


@pytest.fixture(scope="session")
def search(small_search, finished_output, tmp_path_factory):
    """The finished search with its exported model."""
    pytest.importorskip("onnxruntime")
    return make_search(small_search, finished_output, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def search_of_trees(small_search, tmp_path_factory):
    """The same search with boosted trees."""
    pytest.importorskip("onnxruntime")
    from zsig_hep.pipeline.stages import Pipeline

    output = tmp_path_factory.mktemp("trees") / "out"
    Pipeline(small_search.analysis(training={"classifier": "boosted_trees", "trees": SMALL}), output).scan()
    return make_search(small_search, output, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def trained():
    table = make_table(600)
    return table, trained_on(table)


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """A table, its classifier, the folder of the model and the ONNX file."""
    pytest.importorskip("onnxruntime")
    from zsig_hep.scoring.onnx_export import export_onnx

    folder = tmp_path_factory.mktemp("model")
    table = make_table(900, missing=True)
    classifier = trained_on(table, missing={"y": "median"})
    classifier.save(folder)
    export_onnx(classifier, folder / "model.onnx", describe(classifier, thresholds=(0.5,) * 5))
    return table, classifier, folder, folder / "model.onnx"
