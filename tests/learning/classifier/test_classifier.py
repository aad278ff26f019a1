import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.trainings import settings
from zsig_hep.errors import InputError, ModelFileError, OutputError
from zsig_hep.learning import Classifier, train
from zsig_hep.learning.classifier.calibration import signal_share_below
from zsig_hep.learning.tensor_files import read_tensors, write_tensors

PHASE = {"epochs": 1, "batch_size": 256, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def trained():
    from tests.learning.toy import make_table

    table = make_table(600)
    return table, train(table, settings(warm_start=PHASE, main=PHASE))


@pytest.fixture(scope="module")
def embedded():
    """A model with an embedding, and indicators of features that may be missing."""
    from tests.learning.toy import make_table

    table = make_table(600, missing=True)
    return table, train(table, settings(warm_start=PHASE, main=PHASE, embedding=EMBEDDING))


def test_the_folder_holds_the_whole_model_as_data(trained, tmp_path):
    table, classifier = trained
    classifier.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["feature_names"] == ["x", "y"]
    assert description["network"] == {"hidden": [8], "activation": "silu", "embedding": None}
    assert (description["indicated"], description["is_bounded"]) == ([], True)
    assert description["configuration"]["seeds"] == 2
    assert description["input_hash"] == classifier.input_hash
    loaded = Classifier.load(tmp_path)
    assert np.array_equal(loaded.logits(table.features), classifier.logits(table.features))
    assert loaded.history.phase == classifier.history.phase
    assert np.array_equal(loaded.history.validation_loss, classifier.history.validation_loss)


def test_embedding_and_indicators_survive_the_folder(embedded, tmp_path):
    table, classifier = embedded
    classifier.save(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    assert description["network"]["embedding"] == {"frequencies": 4, "scale": 0.2, "width": 2}
    assert description["indicated"] == ["y"]
    loaded = Classifier.load(tmp_path)
    assert (loaded.embedding, loaded.preprocessing.indicated) == (classifier.embedding, ("y",))
    assert np.array_equal(loaded.logits(table.features), classifier.logits(table.features))
    assert np.array_equal(
        loaded.out_of_fold_scores(table.features, table.fold),
        classifier.out_of_fold_scores(table.features, table.fold),
    )


def test_a_linear_model_is_linear(tmp_path):
    from tests.learning.toy import make_table

    table = make_table(600)
    train(table, settings(warm_start=PHASE, main=PHASE, hidden=[])).save(tmp_path)
    x = np.array([[0.0, 0.0], [1.0, 2.0], [50.0, 100.0], [500.0, 1000.0]], dtype=np.float32)
    logits = Classifier.load(tmp_path).logits(x)
    slope = logits[:, 1] - logits[:, 0]
    assert logits[:, 2] == pytest.approx(logits[:, 0] + 50 * slope, rel=1e-9)
    assert logits[:, 3] == pytest.approx(logits[:, 0] + 500 * slope, rel=1e-9)


def share_below(classifier, member, table, logit):
    """Share of the validation signal of a member below an output, counted event by event."""
    fold = (classifier.history.member_fold[member] + 1) % table.fold_count
    events = table.is_signal & (table.fold == fold)
    outputs = classifier.logits(table.features[events])[member]
    weights = table.weight[events]
    return weights[outputs < logit].sum() / weights.sum()


def test_out_of_fold_scores_are_signal_shares_of_the_members_of_the_fold(trained):
    table, classifier = trained
    logits = classifier.logits(table.features)
    scores = classifier.out_of_fold_scores(table.features, table.fold)
    for event in (0, 77, 550, 1799):
        members = np.flatnonzero(classifier.history.member_fold == table.fold[event])
        assert len(members) == 2
        expected = np.mean([share_below(classifier, member, table, logits[member, event]) for member in members])
        assert scores[event] == pytest.approx(expected, abs=0.06)


def test_the_out_of_fold_score_is_the_mean_over_the_seeds(trained):
    table, classifier = trained
    every = classifier.out_of_fold_seed_scores(table.features, table.fold)
    assert every.shape == (2, len(table.fold))
    np.testing.assert_array_equal(every.mean(axis=0), classifier.out_of_fold_scores(table.features, table.fold))
    for event in (0, 550):
        members = np.flatnonzero(classifier.history.member_fold == table.fold[event])
        of_members = classifier.logits(table.features[[event]])[members]
        expected = signal_share_below(of_members, classifier.quantiles[members])[:, 0]
        assert every[:, event] == pytest.approx(expected, rel=1e-9)


def test_signal_is_flat_in_the_score(trained):
    table, classifier = trained
    scores = classifier.out_of_fold_scores(table.features, table.fold)
    for level in (0.2, 0.5):
        kept = table.weight[table.is_signal & (scores >= level)].sum() / table.weight[table.is_signal].sum()
        assert kept == pytest.approx(1 - level, abs=0.1)


def test_new_events_are_scored_by_the_whole_ensemble(trained):
    table, classifier = trained
    logits = classifier.logits(table.features[:5])
    expected = [
        np.mean([share_below(classifier, member, table, logits[member, event]) for member in range(len(logits))])
        for event in range(5)
    ]
    assert classifier.scores(table.features[:5]) == pytest.approx(expected, abs=0.05)
    assert classifier.scores(table.features[:0]).shape == (0,)


def test_columns_are_found_by_name_whatever_their_order(trained):
    _, classifier = trained
    assert classifier.columns_of(("y", "other", "x")) == [2, 0]
    with pytest.raises(ModelFileError, match="needs the feature 'y'"):
        classifier.columns_of(("x", "yy"))


def test_another_number_of_features_is_refused(trained):
    table, classifier = trained
    with pytest.raises(ModelFileError, match="takes 2 features"):
        classifier.scores(table.features[:, :1])


@pytest.mark.parametrize("damage", ["missing", "text", "truncated", "foreign", "format"])
def test_a_folder_that_is_no_model_is_refused(trained, tmp_path, damage):
    _, classifier = trained
    classifier.save(tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("hello")
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(2)}, path)
    else:
        tensors, description = read_tensors(path)
        write_tensors(path, tensors, description | {"format": 99})
    with pytest.raises(ModelFileError):
        Classifier.load(tmp_path)


def set_to(*keys, value):
    """A change of a nested description."""

    def change(description):
        inner = description
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


NAN, INFINITY = float("nan"), float("inf")
EMBEDDING = {"frequencies": 4, "scale": 0.2, "width": 2}
BAD_DESCRIPTIONS = {
    "format": (set_to("format", value=99), "format 99, expected 2"),
    "unknown key": (set_to("code", value="import os"), "code: Extra inputs are not permitted"),
    "no history": (lambda content: content.pop("history"), "history: Field required"),
    "widths of a giant": (set_to("network", "hidden", value=[10**9]), "layers.0.bias is float32 of shape"),
    "width of no number": (set_to("network", "hidden", value=[8.0]), "network.hidden.0: Input should be a valid int"),
    "width is a flag": (set_to("network", "hidden", value=[True]), "network.hidden.0: .* found True"),
    "negative width": (set_to("network", "hidden", value=[-8]), "network.hidden.0: .* greater than 0, found -8"),
    "more layers": (set_to("network", "hidden", value=[8, 8]), "layers.2.bias is float32 of shape"),
    "no layers": (set_to("network", "hidden", value=[]), "layers.0.bias"),
    "an embedding that is not there": (set_to("network", "embedding", value=EMBEDDING), "no tensor network.embedding"),
    "frequencies of a giant": (
        set_to("network", "embedding", value=EMBEDDING | {"frequencies": 10**9}),
        "network.embedding.frequencies: .* less than or equal to 1024",
    ),
    "frequencies of no number": (
        set_to("network", "embedding", value=EMBEDDING | {"frequencies": "8"}),
        "network.embedding.frequencies: Input should be a valid int",
    ),
    "a scale that is infinite": (
        set_to("network", "embedding", value=EMBEDDING | {"scale": INFINITY}),
        "network.embedding.scale: ",
    ),
    "an unknown indicator": (set_to("indicated", value=["z"]), "indicated has 'z', which is no feature"),
    "an indicator twice": (set_to("indicated", value=["x", "x"]), "indicated: a name occurs twice"),
    "an indicator more": (set_to("indicated", value=["x"]), r"layers.0.weight is .*\[10, 2, 8\], expected .*\[10, 3, 8\]"),
    "bounds that are a number": (set_to("is_bounded", value=1), "is_bounded: "),
    "activation": (set_to("network", "activation", value="eval"), "network.activation: .*'relu', 'silu' or 'tanh'"),
    "a feature twice": (set_to("feature_names", value=["x", "x"]), "feature_names: a name occurs twice"),
    "a feature that is a number": (set_to("feature_names", 1, value=3), "feature_names.1: Input should be a valid str"),
    "a feature more": (set_to("feature_names", value=["x", "y", "z"]), "expected float32 of shape .*3"),
    "no features": (set_to("feature_names", value=[]), "feature_names: "),
    "hash": (set_to("input_hash", value=None), "input_hash: "),
    "configuration": (set_to("configuration", value=[]), "configuration: "),
    "no folds": (set_to("history", "member_fold", value=[]), "history.member_fold: "),
    "a negative fold": (set_to("history", "member_fold", 0, value=-1), "history.member_fold.0: .* found -1"),
    "a fold that is a flag": (set_to("history", "member_fold", 0, value=False), "history.member_fold.0: .* found False"),
    "a fold of another member": (set_to("history", "member_fold", 0, value=1), "each fold from 0 on equally often"),
    "a fold out of reach": (set_to("history", "member_fold", 9, value=10**9), "each fold from 0 on equally often"),
    "a seed without end": (set_to("history", "member_seed", 0, value=10**30), "history.member_seed.0"),
    "an epoch that was not": (set_to("history", "best_epoch", 0, value=2), "best_epoch 2 of 2 epochs"),
    "a seed less": (set_to("history", "member_seed", value=[1]), "member_seed has 1 values for 10 members"),
    "an epoch less": (set_to("history", "phase", value=["warm start"]), "training_loss has 2 values for 1 epochs"),
    "a short row": (set_to("history", "training_loss", 1, value=[0.5]), "a row of training_loss has 1 values"),
    "a loss that is NaN": (set_to("history", "validation_loss", 0, 0, value=NAN), "validation_loss.0.0: .*finite"),
    "a collapse that is a number": (set_to("history", "collapsed", 0, value=1), "history.collapsed.0: "),
    "an unknown round": (set_to("history", "kept_round", value=[7] * 5), "not all of which are numbers of rounds"),
    "optimiser": (set_to("history", "eve", value=[{"feedback": 1.0}]), "history.eve.0.floor_fraction: "),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_DESCRIPTIONS)
def test_a_description_that_is_no_models_is_refused_with_the_reason(trained, tmp_path, name):
    change, reason = BAD_DESCRIPTIONS[name]
    path = stored_with(trained[1], tmp_path, change, lambda tensors: None)
    with pytest.raises(ModelFileError, match=rf"{path.name} is not a model .*\(.*{reason}"):
        Classifier.load(tmp_path)


def stored_with(classifier, folder, change_description, change_tensors):
    """Store a model with a changed content, of which the file has the digest."""
    classifier.save(folder)
    path = folder / "model.safetensors"
    tensors, description = read_tensors(path)
    change_description(description)
    change_tensors(tensors)
    write_tensors(path, tensors, description)
    return path


def put(name, place, value):
    return lambda tensors: tensors[name].__setitem__(place, value)


BAD_TENSORS = {
    "a weight is NaN": (put("network.layers.0.weight", (3, 1, 2), NAN), "layers.0.weight has values that are not fin"),
    "a bias is infinite": (put("network.layers.2.bias", 4, INFINITY), "layers.2.bias has values that are not finite"),
    "a scale is zero": (put("preprocessing.scale", (1, 1), 0.0), "scale has values that are not finite and positive"),
    "a scale is negative": (put("preprocessing.scale", (1, 1), -1.0), "scale has values"),
    "the reciprocal of a scale is infinite": (put("preprocessing.scale", (1, 1), 1e-45), "scale has values"),
    "a scale is infinite": (put("preprocessing.scale", (1, 1), INFINITY), "scale has values"),
    "a centre is NaN": (put("preprocessing.centre", (1, 1), NAN), "centre has values that are not finite"),
    "one member fills": (put("preprocessing.fill", (1, 1), 0.0), "fill must be finite, or NaN for all members"),
    "a filling is infinite": (put("preprocessing.fill", (slice(None), 1), INFINITY), "fill must be finite"),
    "quantiles decrease": (put("calibration.quantiles", (0, 100), 1e6), "calibration.quantiles decrease"),
    "a quantile is NaN": (put("calibration.quantiles", (0, 100), NAN), "calibration.quantiles has values"),
    "unknown": (lambda t: t.update(other=torch.zeros(2)), "unknown tensor other"),
    "absent": (lambda t: t.pop("preprocessing.centre"), "no tensor preprocessing.centre"),
    "type": (lambda t: t.update({"preprocessing.centre": t["preprocessing.centre"].double()}), "centre is float64 of shape"),
    "a member less": (lambda t: t.update({k: v[1:].clone() for k, v in t.items()}), r"shape \[9, 201\], expected .*10"),
    "a quantile less": (
        lambda t: t.update({"calibration.quantiles": t["calibration.quantiles"][:, :200].clone()}),
        r"shape \[10, 200\], expected float32 of shape \[10, 201\]",
    ),
}  # fmt: skip


BAD_EMBEDDINGS = {
    "a frequency is NaN": (put("network.embedding.frequency", (0, 1, 2), NAN), "embedding.frequency has values"),
    "a phase is infinite": (put("network.embedding.phase", (0, 1, 2), INFINITY), "embedding.phase has values"),
    "absent": (lambda t: t.pop("network.embedding.bias"), "no tensor network.embedding.bias"),
    "a frequency less": (
        lambda t: t.update({"network.embedding.phase": t["network.embedding.phase"][..., 1:].clone()}),
        r"shape \[10, 2, 3\], expected float32 of shape \[10, 2, 4\]",
    ),
    "an indicator without a filling": (
        put("preprocessing.fill", (slice(None), 1), NAN),
        "indicated has a feature without a value in fill",
    ),
}


@pytest.mark.parametrize("name", BAD_EMBEDDINGS)
def test_tensors_that_are_no_embedding_are_refused_with_the_reason(embedded, tmp_path, name):
    change, reason = BAD_EMBEDDINGS[name]
    path = stored_with(embedded[1], tmp_path, lambda description: None, change)
    with pytest.raises(ModelFileError, match=rf"{path.name} is not a model .*\(.*{reason}"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_tensors_that_are_not_the_described_networks_are_refused_with_the_reason(trained, tmp_path, name):
    change, reason = BAD_TENSORS[name]
    path = stored_with(trained[1], tmp_path, lambda description: None, change)
    with pytest.raises(ModelFileError, match=rf"{path.name} is not a model .*\(.*{reason}"):
        Classifier.load(tmp_path)


def test_a_refused_description_allocates_nothing(trained, tmp_path, monkeypatch):
    stored_with(trained[1], tmp_path, set_to("network", "hidden", value=[10**9]), lambda tensors: None)
    monkeypatch.setattr(torch, "empty", lambda *shape: pytest.fail(f"allocates {shape}"))
    with pytest.raises(ModelFileError, match="1000000000"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_without_networks_is_named(trained, fold):
    table, classifier = trained
    folds = table.fold.copy()
    folds[7] = fold
    with pytest.raises(ModelFileError, match=f"of fold {fold}, for which .* it has 5 folds, 0 to 4"):
        classifier.out_of_fold_scores(table.features, folds)


def test_a_model_without_members_gives_no_scores(trained):
    """Scores of events without networks were what the memory held before."""
    table, classifier = trained
    without = replace(classifier, history=replace(classifier.history, member_fold=np.full(10, 3)))
    with pytest.raises(ModelFileError, match="of fold 0, for which the model has no member"):
        without.out_of_fold_scores(table.features, table.fold)


@pytest.mark.parametrize(
    "fold",
    [np.zeros(3, int), np.zeros((1800, 1), int), np.int64(0), np.zeros(1800), np.zeros(1800, bool)],
    ids=["short", "two axes", "a number", "floats", "flags"],
)
def test_folds_that_are_not_one_whole_number_for_each_event_are_refused(trained, fold):
    table, classifier = trained
    with pytest.raises(InputError, match="1800 events need as many folds, whole numbers; found"):
        classifier.out_of_fold_scores(table.features, fold)


def test_the_copy_of_the_description_is_replaced_whole_or_not_at_all(trained, tmp_path, monkeypatch):
    _, classifier = trained
    classifier.save(tmp_path)
    before = (tmp_path / "model.json").read_text()

    def write_half(path, text):
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", write_half)
    with pytest.raises(OutputError, match=r"cannot write .*model\.json: No space left"):
        classifier.save(tmp_path)
    assert (tmp_path / "model.json").read_text() == before
