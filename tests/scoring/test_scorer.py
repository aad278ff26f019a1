"""What every scorer does, by ONNX Runtime and by torch, and which of its networks score an event."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from tests.scoring.scored import Described
from zsig_hep.errors import InputError, ModelFileError
from zsig_hep.ntuples.chunk import SelectedChunk
from zsig_hep.ntuples.identity import assign_folds
from zsig_hep.ntuples.variations import ShapeVariation
from zsig_hep.scoring.metadata import FORMAT, ModelMetadata
from zsig_hep.scoring.onnx_scorer import OnnxScorer
from zsig_hep.scoring.processor import ScoreProcessor
from zsig_hep.scoring.scorer import is_trained_on, match_features, score_chunk
from zsig_hep.scoring.torch_scorer import TorchScorer


@pytest.fixture(params=["onnx", "torch"])
def scorer(request, stored):
    _, _, folder, path = stored
    return OnnxScorer(path) if request.param == "onnx" else TorchScorer(folder, OnnxScorer(path).metadata)


def test_scores_are_those_of_the_training(stored, scorer):
    table, classifier, *_ = stored
    assert scorer.scores(table.features) == pytest.approx(classifier.scores(table.features), abs=1e-6)
    by_fold = scorer.fold_scores(table.features)
    assert by_fold.shape == (len(table), scorer.fold_count)
    own = scorer.out_of_fold_scores(table.features, table.fold)
    assert np.array_equal(own, by_fold[np.arange(len(table)), table.fold])
    assert own == pytest.approx(classifier.out_of_fold_scores(table.features, table.fold), abs=1e-6)


def test_scorers_know_how_they_are_applied(scorer):
    assert scorer.feature_names == ("x", "y")
    assert scorer.fold_count == scorer.metadata.fold_count == 5
    assert scorer.metadata.may_be_missing == ("y",)
    assert scorer.metadata.threshold == 0.5


def test_scorers_travel_without_their_model(stored, scorer):
    table, *_ = stored
    expected = scorer.scores(table.features)
    travelled = pickle.loads(pickle.dumps(scorer))
    assert set(vars(travelled)) <= {"path", "_content", "folder", "metadata"}
    assert np.array_equal(travelled.scores(table.features), expected)


def test_no_events(scorer):
    nothing = np.empty((0, 2), dtype="f4")
    assert scorer.scores(nothing).shape == (0,)
    assert scorer.fold_scores(nothing).shape == (0, 5)
    assert scorer.out_of_fold_scores(nothing, np.empty(0, dtype="i2")).shape == (0,)


def test_the_result_does_not_depend_on_the_other_events(stored, scorer):
    table, *_ = stored
    alone = np.concatenate([scorer.scores(row[None]) for row in table.features[:5]])
    assert alone == pytest.approx(scorer.scores(table.features)[:5], abs=1e-6)


def test_unusable_features_are_refused(scorer):
    with pytest.raises(ModelFileError, match=r"takes 2 features per event, found shape \(3, 3\)"):
        scorer.scores(np.zeros((3, 3), "f4"))
    with pytest.raises(ModelFileError, match=r"found shape \(2,\)"):
        scorer.fold_scores(np.zeros(2, "f4"))
    with pytest.raises(InputError, match=r"Missing values \(NaN\) in 'x'"):
        scorer.scores(np.array([[np.nan, 0.0]], "f4"))
    with pytest.raises(InputError, match="Infinite values in 'y'"):
        scorer.scores(np.array([[0.0, np.inf]], "f4"))


def test_folds_of_another_model_or_table_are_refused(scorer):
    features = np.zeros((3, 2), "f4")
    with pytest.raises(ModelFileError, match="An event is of fold 5, for which the model has no member"):
        scorer.out_of_fold_scores(features, np.array([0, 5, 1], "i2"))
    with pytest.raises(InputError, match=r"3 events need as many folds, whole numbers; found int64 of shape \(2,\)"):
        scorer.out_of_fold_scores(features, np.array([0, 1]))
    with pytest.raises(InputError, match="found float64"):
        scorer.out_of_fold_scores(features, np.zeros(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": None}, "does not state the datasets that it was trained on"),
        ({"fold_seed": None}, "does not state the seed"),
        ({"event_identity": ("event",)}, "were by .'event',. in the training"),
        ({"event_identity": "content"}, "were by 'content' in the training"),
    ],
)
def test_folds_that_would_differ_are_refused(search, changes, message):
    with pytest.raises(ModelFileError, match=message):
        ScoreProcessor(search.reader, Described(search.onnx, **changes))


def test_events_identified_by_what_a_variation_shifts_are_refused(search):
    variations = {"dy": {"scale": ShapeVariation(kind="shape")}}
    reader = replace(search.reader, event_identity="content", variations=variations)
    with pytest.raises(ModelFileError, match="'scale' of 'dy' shifts features, which identify the events"):
        ScoreProcessor(reader, Described(search.onnx, event_identity="content"))
    ScoreProcessor(reader, Described(search.onnx, event_identity="content", datasets=()))


class Toy:
    """Scores by the second feature, and by ten times the fold."""

    feature_names, fold_count = ("y", "x"), 3

    def __init__(self, **changes):
        known = {"fold_seed": 4, "event_identity": ("event",), "datasets": ("dy",), "thresholds": (1.0, 12.0, 20.5)}
        described = {"feature_names": ("y", "x"), "may_be_missing": (), "units": {}, "fold_count": 3}
        written = {"loss": "Z loss", "input_hash": "", "zsig_hep_version": "", "format": FORMAT}
        self.metadata = ModelMetadata(**(described | written | known | changes))

    def scores(self, features):
        return features[:, 1].astype("f8")

    def out_of_fold_scores(self, features, fold):
        return features[:, 1].astype("f8") + 10.0 * fold


X = np.array([1.0, 2.0, 3.0, 0.0, 0.4, 11.5], "f4")
CHUNK = SelectedChunk({"x": X, "other": -X, "y": 0 * X}, (), np.ones(6), np.arange(6, dtype="u8"), None)


def test_an_event_of_the_training_is_scored_by_its_fold_and_has_the_cut_of_its_fold():
    found = score_chunk(Toy(), CHUNK, trained_on=True)
    np.testing.assert_array_equal(found.fold, assign_folds(CHUNK.identity, 3, 4))
    np.testing.assert_array_equal(found.score, X.astype("f8") + 10 * found.fold)
    np.testing.assert_array_equal(found.passed, found.score >= np.array([1.0, 12.0, 20.5])[found.fold])
    assert len(set(found.fold)) > 1


def test_a_new_event_is_scored_by_all_and_has_the_mean_cut():
    found = score_chunk(Toy(), CHUNK, trained_on=False)
    assert found.fold is None
    np.testing.assert_array_equal(found.score, X.astype("f8"))
    # The mean of the cuts is 11.17.
    assert found.passed.tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("thresholds", [(), (1.0, None, 2.0)])
def test_without_the_cut_of_every_fold_nothing_passes_or_fails(thresholds):
    for trained_on in (True, False):
        assert score_chunk(Toy(thresholds=thresholds), CHUNK, trained_on=trained_on).passed is None


def test_only_datasets_of_the_training_keep_events_from_networks():
    assert is_trained_on(Toy(), "dy")
    assert not is_trained_on(Toy(), "data")
    assert not is_trained_on(Toy(), None)
    with pytest.raises(ModelFileError, match="does not state the datasets that it was trained on"):
        is_trained_on(Toy(datasets=None), "dy")


def test_features_are_matched_by_name_in_the_order_of_the_model():
    assert match_features(("y", "x"), ("x", "other", "y")) == [2, 0]
    with pytest.raises(ModelFileError, match=r"takes 2 features, the columns have 2 and lack the feature 'x'.*'xx'"):
        match_features(("x", "y"), ("xx", "y"))
