"""Sums without rounding and the yield of one unit of weight."""

import math
from fractions import Fraction

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.ntuples.conftest import event_arrays, write_ntuple
from zsig_hep.errors import NormalisationError
from zsig_hep.ntuples.datasets import SumValue
from zsig_hep.ntuples.normalisation import GeneratorSums, comparison_note, exact_sum, normalise, read_runs_sum
from zsig_hep.ntuples.resolution import ResolvedDataset

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(arrays(np.float64, st.integers(0, 50), elements=FINITE))
def test_exact_sum_equals_fractions(values):
    assert exact_sum(values) == sum(map(Fraction, values.tolist()), Fraction(0))


@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e4, 1e4, width=32)), st.randoms())
def test_exact_sum_ignores_order_and_chunks(values, random):
    cut = random.randrange(len(values))
    shuffled = list(values)
    random.shuffle(shuffled)
    assert exact_sum(values) == exact_sum(values[:cut]) + exact_sum(values[cut:]) == exact_sum(np.array(shuffled))
    assert float(exact_sum(values)) == math.fsum(values.astype("f8"))


def test_exact_sum_refuses_nan():
    with pytest.raises(NormalisationError, match="not finite"):
        exact_sum(np.array([1.0, np.nan]))


def dataset(source, weight="genWeight"):
    return ResolvedDataset("d", "p", "background", (), weight, source, 2.0)


def sums(total, entries=100):
    return GeneratorSums(Fraction(total), None, entries)


def normalised(source, *, events, runs=None, negative=True, **options):
    return normalise(
        dataset(source, **options), luminosity_ifb=140.0, events=events, has_negative_weights=negative, runs=runs
    )


def test_factor_from_each_source():
    runs = normalised("runs", events=sums(80), runs=sums(400, 500))
    assert runs.factor == pytest.approx(2.0 * 140_000.0 / 400.0, rel=1e-15)
    assert (runs.skim_ratio, runs.generated_entries, runs.source) == (0.2, 500, "runs")
    assert "share of 0.2" in comparison_note(runs)
    events = normalised("events", events=sums(80))
    assert events.factor == pytest.approx(2.0 * 140_000.0 / 80.0, rel=1e-15)
    assert comparison_note(events) is None
    assert normalised(SumValue(value=160.0), events=sums(80)).factor == pytest.approx(2.0 * 140_000.0 / 160.0)


def test_events_that_agree_with_runs_within_rounding_are_accepted():
    assert normalised("events", events=sums(80), runs=sums(Fraction(80 * 1.0005), 100)).source == "events"


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ("runs", {"events": sums(80)}, "no sum of weights in a Runs tree"),
        ("runs", {"events": sums(80), "runs": sums(0)}, "is zero"),
        ("events", {"events": sums(-3)}, "is negative"),
        ("events", {"events": sums(80), "runs": sums(240)}, "3 times too large"),
        (SumValue(value=70.0), {"events": sums(80), "negative": False}, "more than the sum of weights 70"),
        ("runs", {"events": sums(80, 100), "runs": sums(400, 50)}, "count only 50 generated"),
        ("runs", {"events": sums(80), "runs": sums(400), "weight": None}, "not the generator weight"),
    ],
)
def test_refused_sums(source, options, match):
    with pytest.raises(NormalisationError, match=match):
        normalised(source, **options)


def sums_of(*weights, entries=None):
    return GeneratorSums(
        exact_sum(np.array(weights)), exact_sum(np.square(weights)), len(weights) if entries is None else entries
    )


KEPT = sums_of(1.0, 2.0, 1.5, -1.0)


@pytest.mark.parametrize(
    ("runs", "match"),
    [
        (
            GeneratorSums(Fraction(7, 2), Fraction(5), 4),
            "squared weights of their events add to 8.25, more than the 5 of all",
        ),
        (sums_of(1.0, 2.0, 1.5, 1.0), "0 generated events that are not in the files have weights of sum 2 "),
        (
            GeneratorSums(KEPT.sum_of_weights + 3, KEPT.sum_of_squares + 2, 8),
            r"4 generated .* sum 3 and .* limit .* 2.8",
        ),
        (
            GeneratorSums(KEPT.sum_of_weights - 2.9, KEPT.sum_of_squares + 2, 8),
            "4 generated .* sum -2.9 and .* limit .* 2.8",
        ),
    ],
)
def test_events_that_cannot_be_a_skim_of_the_generated_ones(runs, match):
    with pytest.raises(NormalisationError, match=f"dataset 'd': .*{match}.*a file is damaged"):
        normalised("runs", events=KEPT, runs=runs)


@given(
    arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32).map(lambda w: w or 1.0)),
    st.integers(0, 39),
)
def test_every_part_of_the_generated_events_is_accepted(weights, kept):
    weights = weights.astype("f8")
    if weights.sum() <= 1e-3:
        weights = np.abs(weights)
    assert normalised("runs", events=sums_of(*weights[:kept]), runs=sums_of(*weights)).source == "runs"


def test_generated_events_without_weight_are_noted():
    counted = GeneratorSums(KEPT.sum_of_weights, KEPT.sum_of_squares, 2**54)
    note = comparison_note(normalised("runs", events=KEPT, runs=counted))
    assert "its 4 events have the whole sum of weights of the 18014398509481984 events" in note


@pytest.mark.parametrize("name", ["genEventCounu", "genEventRumw2"])
def test_damaged_name_of_a_sum(tmp_path, name):
    names = ["genEventSumw", "genEventSumw2", "genEventCount"]
    right = "genEventCount" if name == "genEventCounu" else "genEventSumw2"
    names[names.index(right)] = name
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Runs", dict.fromkeys(names, "f8")).extend({key: np.ones(1) for key in names})
    with uproot.open(tmp_path / "a.root") as file, pytest.raises(NormalisationError, match=f"'{name}'.*'{right}'"):
        read_runs_sum(file, "a.root", "d")


@pytest.mark.parametrize(
    ("runs", "match"),
    [
        ((0.0, 300), r"dataset 'b': the sum of weights from 'runs' is zero"),
        ((-5.0, 300), r"is negative \(-5\)"),
        ((np.nan, 300), r"genEventSumw in the Runs tree of .*b\.root is not finite"),
        ((30.0, 40), r"hold 100 events, but their Runs trees count only 40"),
        (None, r"b\.root has no Runs tree with genEventSumw.*`events`"),
    ],
)
def test_sum_of_weights(refused, checked, tmp_path, runs, match):
    write_ntuple(tmp_path / "b.root", 100, 2, runs=runs)
    refused(match, NormalisationError)
    with pytest.raises(NormalisationError, match=match):
        checked()


def test_sum_of_weights_smaller_than_the_events(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 100, 2, runs=(50.0, 100), signed=False)
    refused(r"more than the sum of weights 50 of all generated events \(runs\)", NormalisationError)


def test_sum_over_skimmed_events(refused, checked, tmp_path):
    write_ntuple(tmp_path / "b.root", 100, 2, runs=(300.0, 300), signed=False)
    refused(
        r"are a skim.*3.01 times too large: set sum_of_weights to `runs`",
        NormalisationError,
        options={"sum_of_weights": "events"},
    )


def test_sum_over_events_is_zero(refused, tmp_path):
    arrays = event_arrays(100, 2)
    arrays["genWeight"] = np.tile(np.array([1.0, -1.0], "f4"), 50)
    write_ntuple(tmp_path / "b.root", arrays, runs=None)
    refused(r"from 'events' is zero", NormalisationError, options={"sum_of_weights": "events"})


def test_runs_do_not_sum_signs(refused, tmp_path):
    write_ntuple(tmp_path / "b.root", 100, 2)
    refused(
        r"not the generator weight that the Runs tree sums",
        NormalisationError,
        options={"weight": {"sign_of": "genWeight"}},
    )


def stored_sums(path, rows):
    """Write (sum, squares, count) of every row, in the types of NanoAOD."""
    arrays = [np.array(column, kind) for column, kind in zip(zip(*rows, strict=True), ("f8", "f8", "i8"), strict=True)]
    names = dict(zip(("genEventSumw", "genEventSumw2", "genEventCount"), arrays, strict=True))
    with uproot.recreate(path) as file:
        file.mktree("Runs", {name: array.dtype for name, array in names.items()}).extend(names)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ((5.0, np.inf, 3), r"genEventSumw2 in the Runs tree of .*r\.root is not finite \(inf\)"),
        ((5.0, -20.0, 3), r"genEventSumw2 in the Runs tree of .*r\.root is negative \(-20\)"),
        ((5.0, 20.0, -3), r"genEventCount in the Runs tree of .*r\.root is negative \(-3\)"),
        (
            (9.0, 20.0, 4),
            r"genEventSumw in the Runs tree of .*r\.root is 9, but genEventCount 4 .*2 20 limit it to 8.944",
        ),
        ((-9.0, 20.0, 4), r"genEventSumw in the Runs tree of .*r\.root is -9, but genEventCount 4"),
    ],
)
def test_sums_that_no_events_can_have(tmp_path, row, match):
    stored_sums(tmp_path / "r.root", [(2.0, 2.0, 2), row])
    with uproot.open(tmp_path / "r.root") as file, pytest.raises(NormalisationError, match=match):
        read_runs_sum(file, str(tmp_path / "r.root"), "b")


def test_equal_weights_reach_the_limit_of_their_sums_within_rounding(tmp_path):
    weight = float(np.float32(0.1))
    stored_sums(tmp_path / "r.root", [(3 * weight * 1.0005, 3 * weight**2, 3), (0.0, 0.0, 0)])
    with uproot.open(tmp_path / "r.root") as file:
        found = read_runs_sum(file, "r.root", "b")
    assert found == GeneratorSums(Fraction(3 * weight * 1.0005), Fraction(3 * weight**2), 3)


def test_an_object_that_is_no_tree_has_no_sums(tmp_path):
    with uproot.recreate(tmp_path / "r.root") as file:
        file["Runs"] = np.histogram([1.0], bins=2)
    with uproot.open(tmp_path / "r.root") as file, pytest.raises(NormalisationError, match=r"r\.root has no Runs tree"):
        read_runs_sum(file, "r.root", "b")
