"""The yield of one unit of weight, and sums that contradict events."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.ntuples.conftest import event_arrays, write_ntuple
from zsig_hep.errors import NormalisationError
from zsig_hep.ntuples.datasets import SumInHistogram, SumInTree, SumValue, WeightsAtLuminosity
from zsig_hep.ntuples.generator_sums import EventWeights, GeneratorSums, exact_sum
from zsig_hep.ntuples.normalisation import normalise
from zsig_hep.ntuples.resolution import ResolvedDataset


def dataset(source, weight="genWeight", cross_section_pb=2.0):
    return ResolvedDataset("d", "p", "background", (), weight, source, cross_section_pb)


def sums(total, entries=100):
    return GeneratorSums(Fraction(total), None, entries)


def events_of(total, entries=100, negatives=0, largest=1.0):
    return EventWeights(entries, Fraction(total), Fraction(total) ** 2 / entries, Fraction(negatives), largest)


def normalised(source, *, events, stored=None, runs=None, **options):
    """With the sums of Runs trees as the stored ones where these are the source, and a value as itself."""
    if source == "runs" and stored is None:
        stored = runs
    if source == "runs" and runs is None:
        runs = stored
    if isinstance(source, SumValue):
        stored = GeneratorSums(Fraction(source.value), None, None)
    return normalise(dataset(source, **options), luminosity_ifb=140.0, events=events, stored=stored, runs=runs)


def test_factor_from_each_source():
    runs = normalised("runs", events=events_of(80), runs=sums(400, 500))
    assert runs.factor == pytest.approx(2.0 * 140_000.0 / 400.0, rel=1e-15)
    assert (runs.skim_ratio, runs.generated_entries, runs.entries_in_files, runs.source) == (0.2, 500, 100, "runs")
    assert "dataset 'd': its files hold a share of 0.2 of the sum" in runs.notes[0]
    events = normalised("events", events=events_of(80))
    assert events.factor == pytest.approx(2.0 * 140_000.0 / 80.0, rel=1e-15)
    assert events.notes == ()
    assert normalised(SumValue(value=160.0), events=events_of(80)).factor == pytest.approx(2.0 * 140_000.0 / 160.0)
    tree, histogram = SumInTree(tree="sums"), SumInHistogram(histogram="counts", bin=1)
    for source, name in ((tree, "tree"), (histogram, "histogram")):
        found = normalised(source, events=events_of(80), stored=sums(160, None))
        assert (found.source, found.sum_of_weights) == (name, 160.0)


@pytest.mark.parametrize(
    ("source", "factor"),
    [("normalised", 1.0), (WeightsAtLuminosity(weights_at_luminosity_ifb=35.0), 4.0)],
)
def test_weights_that_are_yields(source, factor):
    found = normalised(source, events=events_of(80), cross_section_pb=None, runs=sums(400, 500))
    assert (found.factor, found.source, found.sum_over_events) == (factor, "normalised", 80.0)
    assert (found.sum_of_weights, found.skim_ratio, found.cross_section_pb) == (None, None, None)


def test_generator_weights_are_no_yields():
    with pytest.raises(
        NormalisationError, match="'d': its weights add to 80, as the generator weights of its Runs trees do"
    ):
        normalised("normalised", events=events_of(80), cross_section_pb=None, runs=sums(80, 100))


def test_events_that_agree_with_runs_within_rounding_are_accepted():
    assert normalised("events", events=events_of(80), runs=sums(Fraction(80 * 1.0005), 100)).source == "events"


def test_a_skim_that_removes_negative_weights_keeps_more_than_the_sum():
    # A quarter of the absolute weights is negative: the positive ones make 0.75 / 0.5 of the sum.
    events = events_of(60, 100, negatives=-30)
    assert normalised("runs", events=events, runs=sums(40.5, 200)).skim_ratio > 1.48
    with pytest.raises(
        NormalisationError, match=r"negative weights have a share of 0.25, more than the sum of weights 39 "
    ):
        normalised("runs", events=events, runs=sums(39, 200))


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        ("runs", {"events": events_of(80)}, "no sum of weights in a Runs tree"),
        ("runs", {"events": events_of(80), "runs": sums(0)}, "is zero"),
        ("events", {"events": events_of(-3)}, "is negative"),
        ("events", {"events": events_of(80), "runs": sums(240)}, "3 times too large"),
        (SumValue(value=70.0), {"events": events_of(80)}, "more than the sum of weights 70"),
        ("runs", {"events": events_of(80, 100), "runs": sums(400, 50)}, "count only 50 generated"),
        ("runs", {"events": events_of(80), "runs": sums(400), "weight": None}, "not the generator weight"),
        (
            SumInTree(tree="sums"),
            {"events": events_of(80), "stored": sums(300, None), "runs": sums(400)},
            "sum of weights in the tree is 300, but the Runs trees of the same files have 400",
        ),
    ],
)
def test_refused_sums(source, options, match):
    with pytest.raises(NormalisationError, match=match):
        normalised(source, **options)


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        (
            SumValue(value=800.0),
            {"events": events_of(80), "runs": sums(400, 500)},
            "stated sum of weights 800 is 2 times the 400 of the Runs trees",
        ),
        (
            SumValue(value=200.0),
            {"events": events_of(80), "runs": sums(400, 500)},
            "stated sum of weights 200 is 0.5 times the 400 of the Runs trees",
        ),
        (
            "runs",
            {"events": events_of(80, largest=41.0), "runs": sums(400, 500)},
            "one event has a weight of 41, 10% of",
        ),
        (
            SumInHistogram(histogram="counts", bin=1),
            {"events": events_of(1000, 100), "stored": sums(5000, None), "runs": sums(5000, 5000)},
            "sum of weights is the number of events, 5000, but their mean weight is 10",
        ),
    ],
)
def test_unusual_sums_are_noted(source, options, match):
    assert any(match in note for note in normalised(source, **options).notes)
    assert not any(match in note for note in normalised("runs", events=events_of(80), runs=sums(400, 500)).notes)


def sums_of(*weights):
    return GeneratorSums(exact_sum(np.array(weights)), exact_sum(np.square(weights)), len(weights))


KEPT_WEIGHTS = np.array([1.0, 2.0, 1.5, -1.0])
KEPT = sums_of(*KEPT_WEIGHTS)


@pytest.mark.parametrize(
    ("runs", "match"),
    [
        (sums_of(1.0, 2.0, 1.5, 1.0), "0 generated events that are not in the files have weights of sum 2 "),
        (
            GeneratorSums(KEPT.sum_of_weights + 3, KEPT.sum_of_squares + 2, 8),
            r"4 generated .* sum 3 and .* limit .* 2.8",
        ),
        (
            GeneratorSums(KEPT.sum_of_weights - Fraction(7, 10), KEPT.sum_of_squares + 0.05, 8),
            "4 generated .* sum -0.7 and .* limit .* 0.5",
        ),
    ],
)
def test_events_that_cannot_be_a_skim_of_the_generated_ones(runs, match):
    with pytest.raises(NormalisationError, match=f"dataset 'd': .*{match}.*a file is damaged"):
        normalised("runs", events=EventWeights.of(KEPT_WEIGHTS), stored=runs)


@given(
    arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32).map(lambda w: w or 1.0)),
    st.integers(0, 39),
)
def test_every_part_of_the_generated_events_is_accepted(weights, kept):
    weights = np.abs(weights.astype("f8"))
    assert normalised("runs", events=EventWeights.of(weights[:kept]), runs=sums_of(*weights)).source == "runs"


def test_events_with_larger_weights_than_generated_are_noted():
    """Where a tenth of the events is kept with ten times the weight, sums of weights stay and squares grow."""
    generated = sums_of(*np.ones(1000))
    (note,) = normalised("runs", events=EventWeights.of(np.full(100, 10.0)), runs=generated).notes[-1:]
    assert "squared weights of its events add to 10000, more than the 1000 of all generated events" in note


def test_generated_events_without_weight_are_noted():
    counted = GeneratorSums(KEPT.sum_of_weights, KEPT.sum_of_squares, 2**54)
    (note,) = normalised("runs", events=EventWeights.of(KEPT_WEIGHTS), runs=counted).notes
    assert "its 4 events have the whole sum of weights of the 18014398509481984 events" in note


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
