"""Trained ratios against exact densities, and the independence of the networks of a fold from its events."""

from dataclasses import replace

import numpy as np
import pytest

from zsig_hep.errors import InputError, TrainingError
from zsig_hep.learning import BCELossSettings, TrainingSettings, train
from zsig_hep.learning.ratios.calibrated_logits import CalibratedLogits
from zsig_hep.learning.ratios.train import train_ratios
from zsig_hep.learning.training.settings import MainSettings, WarmStartSettings
from zsig_hep.learning.training.train import make_sample
from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.variations import LuminosityVariation, NormalisationVariation, ShapeVariation, WeightVariation

CENTRES = {"higgs": (1.5, 1.5), "dy": (0.0, 0.0), "top": (1.5, -0.5)}
YIELDS = {"higgs": 30.0, "dy": 900.0, "top": 300.0}
ROLES = {"higgs": "signal", "dy": "background", "top": "background"}
SETTINGS = TrainingSettings(
    hidden=(16,),
    seeds=1,
    device="cpu",
    warm_start=WarmStartSettings(epochs=20, batch_size=128),
    main=MainSettings(epochs=0),
)
VARIATIONS = {
    "jes": ShapeVariation(kind="shape", processes=["dy"]),
    "cross_section": NormalisationVariation(kind="normalisation", up=1.2, down=0.9, processes=["top"]),
    "tilt": WeightVariation(kind="weight", function="weights.py:tilt", processes=["dy", "top"]),
    "signal_only": LuminosityVariation(kind="luminosity", relative=0.1, processes=["higgs"]),
}
SHIFT = 0.4


def densities(x):
    return {name: np.exp(-((x - np.array(centre)) ** 2).sum(1) / 2) for name, centre in CENTRES.items()}


def make_tables(events=3000, seed=0):
    """Nominal events with a tilt of their weights that fluctuates from event to event, and those moved up and down."""
    rng = np.random.default_rng(seed)
    process = np.repeat(list(CENTRES), events)
    x = np.concatenate([rng.normal(centre, 1.0, (events, 2)) for centre in CENTRES.values()])
    weight = np.repeat([total / events for total in YIELDS.values()], events)

    def table(features):
        return EventTable.from_arrays(
            {"x": features[:, 0], "y": features[:, 1]}, weight=weight, process=process, roles=ROLES,
            luminosity_ifb=1.0, folds=3, identity=np.arange(process.size),
        )  # fmt: skip

    factor = 1 + tilt(x) + rng.normal(0.0, 0.2, process.size)
    nominal = replace(table(x), weight_variations={"tilt": weight * np.stack([factor, 2 - factor])})
    shapes = {"jesUp": table(x + np.array([SHIFT, 0.0])), "jesDown": table(x - np.array([SHIFT, 0.0]))}
    return nominal, {name: each.select(each.process == 1) for name, each in shapes.items()}


def tilt(x):
    return 0.3 * np.tanh(x[:, 1])


@pytest.fixture(scope="module")
def made():
    nominal, shapes = make_tables()
    return nominal, shapes, train_ratios(nominal, SETTINGS, VARIATIONS, shapes)


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(9)
    return rng.normal([0.7, 0.3], 0.9, (2000, 2)).astype(np.float32)


def test_composition_is_the_exact_one(made, points):
    composition, _ = made[2].of(points)
    found = densities(points)
    dy, top = YIELDS["dy"] * found["dy"], YIELDS["top"] * found["top"]
    np.testing.assert_allclose(composition.sum(axis=1), 1.0)
    assert np.abs(composition[:, 0] - dy / (dy + top)).mean() < 0.03


def test_ratio_of_weights_is_averaged_over_what_features_do_not_fix(made, points):
    _, ratios = made[2].of(points)
    assert np.abs(ratios["tilt"][:, 0] - 1 - tilt(points)).mean() < 0.03
    assert np.abs(ratios["tilt"][:, 1] - 1 + tilt(points)).mean() < 0.03


def test_ratio_of_a_shape_is_that_of_the_densities_of_the_whole_background(made, points):
    _, ratios = made[2].of(points)
    nominal = densities(points)
    background = YIELDS["dy"] * nominal["dy"] + YIELDS["top"] * nominal["top"]
    for column, sign in enumerate((1, -1)):
        moved = densities(points - np.float32([sign * SHIFT, 0.0]))
        exact = (YIELDS["dy"] * moved["dy"] + YIELDS["top"] * nominal["top"]) / background
        assert np.abs(ratios["jes"][:, column] - exact).mean() < 0.05
        assert np.abs(exact - 1).mean() > 0.15


def test_ratio_of_a_normalisation_follows_from_the_composition(made, points):
    composition, ratios = made[2].of(points)
    expected = composition @ np.array([[1.0, 1.0], [1.2, 0.9]])
    np.testing.assert_allclose(ratios["cross_section"], expected)


def test_variations_that_touch_no_background_are_left_out(made):
    assert made[2].names == ("jes", "cross_section", "tilt")


def test_events_of_a_fold_do_not_train_its_networks(made):
    nominal, shapes, trained = made
    other, other_shapes = make_tables(seed=1)

    def mixed(first, second, fold):
        features = np.where((first.fold == fold)[:, None], second.features, first.features)
        return replace(first, features=features, weight_variations={
            name: np.where(first.fold == fold, second.weight_variations[name], values)
            for name, values in first.weight_variations.items()
        })  # fmt: skip

    changed = {name: mixed(each, other_shapes[name], 1) for name, each in shapes.items()}
    again = train_ratios(mixed(nominal, other, 1), SETTINGS, VARIATIONS, changed)
    x, fold = nominal.features[:500], np.full(500, 1)
    first, second = trained.of(x, fold), again.of(x, fold)
    np.testing.assert_array_equal(first[0], second[0])
    for name in trained.names:
        np.testing.assert_array_equal(first[1][name], second[1][name])
    assert (trained.of(x, np.full(500, 2))[0] != again.of(x, np.full(500, 2))[0]).any()


def test_same_seed_same_ratios(made, points):
    nominal, _, trained = made
    again = train_ratios(nominal, SETTINGS)
    np.testing.assert_array_equal(again.of(points)[0], trained.of(points)[0])


def test_a_single_background_needs_no_composition(points):
    nominal, _ = make_tables(300)
    alone = nominal.select(nominal.process < 2)
    alone = replace(alone, process_names=alone.process_names[:2], roles=alone.roles[:2], labels=alone.labels[:2])
    trained = train_ratios(alone, SETTINGS)
    assert trained.composition is None
    assert trained.of(points)[0].tolist() == [[1.0]] * len(points)


def test_a_variation_that_only_scales_yields_has_a_constant_ratio(points):
    nominal, _ = make_tables(500)
    scaled = replace(nominal, weight_variations={"scale": nominal.weight * np.array([[1.1], [0.95]])})
    variation = {"scale": WeightVariation(kind="weight", function="weights.py:scale", processes=["dy", "top"])}
    _, ratios = train_ratios(scaled, SETTINGS, variation).of(points)
    np.testing.assert_allclose(ratios["scale"], np.tile([1.1, 0.95], (len(points), 1)), rtol=1e-5)


def test_a_one_sided_shape_is_mirrored(points):
    nominal, shapes = make_tables(500)
    variation = {"jes": ShapeVariation(kind="shape", processes=["dy"], one_sided=True)}
    _, ratios = train_ratios(nominal, SETTINGS, variation, {"jesUp": shapes["jesUp"]}).of(points)
    np.testing.assert_allclose(ratios["jes"].sum(axis=1), 2.0)


def test_negative_weights_of_a_background(points):
    nominal, shapes = make_tables(1000)
    sign = np.where((nominal.process == 1) & (np.arange(len(nominal)) % 5 == 0), -1.0, 1.0)
    signed = replace(nominal, weight=sign * nominal.weight, weight_variations={
        name: sign * values for name, values in nominal.weight_variations.items()
    })  # fmt: skip
    with pytest.raises(TrainingError, match="negative weights"):
        train_ratios(signed, SETTINGS, VARIATIONS, shapes)
    settings = SETTINGS.model_copy(update={"negative_weights": "absolute"})
    composition, ratios = train_ratios(signed, settings, VARIATIONS, shapes).of(points)
    # The yield of dy is 540 instead of 900.
    found = densities(points)
    dy, top = 540.0 * found["dy"], YIELDS["top"] * found["top"]
    assert np.abs(composition[:, 0] - dy / (dy + top)).mean() < 0.06
    assert np.abs(ratios["tilt"][:, 0] - 1 - tilt(points)).mean() < 0.08


def test_a_shape_without_its_events():
    nominal, shapes = make_tables(100)
    with pytest.raises(TrainingError, match="no events under jesDown"):
        train_ratios(nominal, SETTINGS, VARIATIONS, {"jesUp": shapes["jesUp"]})


def test_a_warm_start_without_epochs():
    nominal, _ = make_tables(100)
    settings = SETTINGS.model_copy(update={"warm_start": WarmStartSettings(epochs=0)})
    with pytest.raises(TrainingError, match="`warm_start`, which has no epoch"):
        train_ratios(nominal, settings)


def test_a_background_with_fewer_events_than_folds():
    nominal, _ = make_tables(100)
    few = nominal.select((nominal.process != 2) | (np.cumsum(nominal.process == 2) <= 1))
    with pytest.raises(TrainingError, match="no event in the training folds"):
        train_ratios(few, SETTINGS)


def test_an_unknown_fold(made, points):
    with pytest.raises(InputError, match="of fold 7"):
        made[2].of(points, np.full(len(points), 7))


@pytest.fixture(scope="module")
def logits(made):
    nominal = made[0]
    classifier = train(nominal, SETTINGS, loss=BCELossSettings())
    return CalibratedLogits.fit(classifier, make_sample(nominal, SETTINGS))


def test_calibrated_logit_is_the_ratio_of_the_densities(made, logits):
    nominal = made[0]
    x = nominal.features.astype(np.float64)
    found = densities(x)
    exact = np.log(found["higgs"] * 1200.0 / (YIELDS["dy"] * found["dy"] + YIELDS["top"] * found["top"]))
    difference = logits.out_of_fold(nominal.features, nominal.fold) - exact
    assert np.abs(difference[exact > 0]).mean() < 0.25


def test_calibration_uses_the_stopping_fold_only(made, logits):
    nominal = made[0]
    sample = make_sample(nominal, SETTINGS)
    weights = np.where(sample.fold == 1, sample.weights, sample.weights * np.linspace(1, 2, len(sample.weights)))
    again = CalibratedLogits.fit(logits.classifier, replace(sample, weights=weights))
    np.testing.assert_array_equal(again.of_fold[0].coefficients, logits.of_fold[0].coefficients)
    assert (again.of_fold[1].coefficients != logits.of_fold[1].coefficients).any()


def test_new_events_get_the_mean_of_the_folds(logits, points):
    of_folds = [logits.out_of_fold(points, np.full(len(points), fold)) for fold in range(3)]
    np.testing.assert_allclose(logits.of_new(points), np.mean(of_folds, axis=0))


def test_the_logit_of_an_unknown_fold(logits, points):
    with pytest.raises(InputError, match="of fold 5"):
        logits.out_of_fold(points, np.full(len(points), 5))
