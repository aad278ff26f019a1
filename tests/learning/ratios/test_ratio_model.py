"""The file of trained ratios: a round trip equal to the bit, and refusals of files that are damaged or made up."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.learning.ratios.test_train import SETTINGS, VARIATIONS, make_tables
from zsig_hep.errors import ModelFileError
from zsig_hep.learning import (
    BCELossSettings,
    Classifier,
    RatioModel,
    load_classifier,
    make_sample,
    train,
    train_ratio_model,
)
from zsig_hep.learning.ratios.calibrated_logits import CalibratedLogits
from zsig_hep.learning.tensor_files import read_tensors, write_tensors
from zsig_hep.learning.training.settings import WarmStartSettings

SHORT = SETTINGS.model_copy(
    update={"seeds": 2, "embedding": "periodic", "warm_start": WarmStartSettings(epochs=2, batch_size=256)}
)


def make_model(table, shapes=None, variations=None):
    classifier = train(table, SHORT, loss=BCELossSettings())
    logits = CalibratedLogits.fit(classifier, make_sample(table, SHORT))
    return classifier, logits, train_ratio_model(table, SHORT, classifier, variations, shapes)


@pytest.fixture(scope="module")
def made():
    nominal, shapes = make_tables(300)
    # A feature that may be missing gives the networks a further input.
    features = nominal.features.copy()
    features[::7, 1] = np.nan
    nominal = replace(nominal, features=features)
    return nominal, *make_model(nominal, shapes, VARIATIONS)


@pytest.fixture
def stored(made, tmp_path):
    made[3].save(tmp_path)
    return tmp_path


def test_a_round_trip_is_equal_to_the_bit(made, stored):
    table, classifier, logits, model = made
    loaded = RatioModel.load(stored)
    for fold in (table.fold, None):
        first, second = model.ratios.of(table.features, fold), loaded.ratios.of(table.features, fold)
        np.testing.assert_array_equal(first[0], second[0])
        assert list(first[1]) == list(second[1]) == ["jes", "cross_section", "tilt"]
        for name in first[1]:
            np.testing.assert_array_equal(first[1][name], second[1][name])
    np.testing.assert_array_equal(
        loaded.logits(classifier).out_of_fold(table.features, table.fold),
        logits.out_of_fold(table.features, table.fold),
    )
    assert loaded.description() == model.description()
    assert loaded.ratios.processes == model.ratios.processes


def test_the_description_is_readable(stored):
    description = json.loads((stored / "model.json").read_text())
    assert (description["kind"], description["folds"]) == ("ratios", 3)
    assert description["shape_names"] == [["jes", "up"], ["jes", "down"]]
    assert description["indicated"] == ["y"]
    assert description["scaled"] == {"cross_section": [[1.0, 1.2], [1.0, 0.9]]}
    assert description["configuration"]["seeds"] == 2


def test_a_single_background_without_variations(tmp_path):
    nominal, _ = make_tables(200)
    alone = nominal.select(nominal.process < 2)
    alone = replace(alone, process_names=alone.process_names[:2], roles=alone.roles[:2], labels=alone.labels[:2])
    _, _, model = make_model(alone)
    model.save(tmp_path)
    assert RatioModel.load(tmp_path).ratios.of(alone.features)[0].tolist() == [[1.0]] * len(alone.features)


def test_a_flipped_bit_is_found(stored):
    path = stored / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match="does not have the digest in its header"):
        RatioModel.load(stored)


def refused(folder, match, *, tensors=None, **changes):
    """Write a file with a right digest and a wrong content, and read it."""
    found, description = read_tensors(folder / "model.safetensors")
    if tensors is not None:
        found = tensors(found)
    write_tensors(folder / "model.safetensors", found, description | changes)
    with pytest.raises(ModelFileError, match=match):
        RatioModel.load(folder)


def test_a_tensor_of_another_shape(stored):
    name = "composition.network.layers.2.bias"
    refused(stored, rf"tensor {name} is float32 of shape \[6, 1, 1\], expected float32 of shape \[6, 1, 2\]",
            tensors=lambda found: found | {name: found[name][..., :1]})  # fmt: skip


def test_a_missing_and_an_unknown_tensor(stored):
    refused(stored, "no tensor shapes.calibration.knots",
            tensors=lambda found: {name: each for name, each in found.items() if name != "shapes.calibration.knots"})  # fmt: skip
    refused(stored, "unknown tensor extra",
            tensors=lambda found: found | {"shapes.calibration.knots": torch.zeros(6, 2, 7, dtype=torch.float64),
                                           "extra": torch.zeros(1)})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("weights.scale", -1.0, "weights.scale has negative values"),
        ("weights.mean", np.nan, "weights.mean has values that are not finite"),
        ("logit.coefficients", np.inf, "logit.coefficients has values that are not finite"),
        ("shapes.network.layers.0.weight", np.nan, "not finite"),
        ("composition.preprocessing.scale", 0.0, "scale has values that are not finite and positive"),
    ],
)
def test_values_that_no_training_gives(stored, name, value, match):
    refused(stored, match, tensors=lambda found: found | {name: torch.full_like(found[name], value)})


def test_knots_that_decrease(stored):
    refused(stored, "logit.knots decrease",
            tensors=lambda found: found | {"logit.knots": found["logit.knots"].flip(-1)})  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"kind": "trees"}, "ratios"),
        ({"format": 99}, "format 99"),
        ({"extra": 1}, "extra"),
        ({"roles": ["signal", "background"]}, "roles must have one value for each of process_names"),
        ({"roles": ["signal", "background", "data"]}, "roles"),
        ({"indicated": ["z"]}, "indicated has a name that is no feature"),
        ({"names": ["jes", "tilt"]}, "names must be those of weight_names"),
        ({"shape_names": [["jes", "down"]]}, "has no direction up"),
        ({"shape_names": [["jes", "sideways"]]}, "shape_names"),
        ({"scaled": {"cross_section": [[1.0, 1.2, 1.0], [1.0, 0.9, 1.0]]}}, r"shape \(2, 2\)"),
        ({"composition": None}, "composition is missing"),
        ({"weight_names": [], "names": ["jes", "cross_section"]}, "weights has networks of no ratio"),
        ({"network": None}, "network must be described"),
        ({"folds": 2}, "member_fold of composition must have each of 2 folds"),
    ],
)
def test_descriptions_that_contradict_themselves(stored, changes, match):
    refused(stored, match, **changes)


def test_histories_of_other_members(stored):
    _, description = read_tensors(stored / "model.safetensors")
    refused(stored, "one value for each of 6 members", composition=description["composition"] | {"best_epoch": [0]})
    refused(stored, "best_epoch 9 of 2 epochs", composition=description["composition"] | {"best_epoch": [9] * 6})


def test_ratios_are_no_classifier_and_the_other_way_round(made, stored, tmp_path):
    with pytest.raises(ModelFileError, match="not a model that this version"):
        load_classifier(stored)
    made[1].save(tmp_path / "classifier")
    assert isinstance(load_classifier(tmp_path / "classifier"), Classifier)
    with pytest.raises(ModelFileError, match="not a model that this version"):
        RatioModel.load(tmp_path / "classifier")


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="There is no model file"):
        RatioModel.load(tmp_path)
