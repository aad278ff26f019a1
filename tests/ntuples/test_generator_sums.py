"""Sums of generator weights without rounding, of events and as files store them."""

import math
from fractions import Fraction

import hist
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zsig_hep.errors import NormalisationError
from zsig_hep.ntuples.datasets import SumInHistogram, SumInTree, SumValue
from zsig_hep.ntuples.generator_sums import EventWeights, GeneratorSums, exact_sum, read_runs_sum, read_stored_sum

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


@pytest.mark.parametrize("name", ["genEventCounu", "genEventRumw2"])
def test_damaged_name_of_a_sum(tmp_path, name):
    names = ["genEventSumw", "genEventSumw2", "genEventCount"]
    right = "genEventCount" if name == "genEventCounu" else "genEventSumw2"
    names[names.index(right)] = name
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("Runs", dict.fromkeys(names, "f8")).extend({key: np.ones(1) for key in names})
    with uproot.open(tmp_path / "a.root") as file, pytest.raises(NormalisationError, match=f"'{name}'.*'{right}'"):
        read_runs_sum(file, "a.root", "d")


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


@given(arrays(np.float32, st.integers(0, 50), elements=st.floats(-100, 100, width=32)), st.integers(0, 50))
def test_sums_over_events_add(weights, cut):
    weights = weights.astype("f8")
    whole = EventWeights.of(weights)
    assert whole == EventWeights.of(weights[:cut]) + EventWeights.of(weights[cut:])
    assert float(whole.sum_of_negatives) == pytest.approx(np.minimum(weights, 0).sum())
    assert whole.largest == max([0.0, *np.abs(weights)])
    absolute = np.abs(weights).sum()
    assert whole.negative_fraction == pytest.approx(-np.minimum(weights, 0).sum() / absolute if absolute else 0.0)


def test_unweighted_events_weigh_one():
    assert EventWeights.of_unweighted(3) == EventWeights.of(np.ones(3))
    assert EventWeights.of_unweighted(0) == EventWeights.of(np.ones(0))


@pytest.fixture
def bookkeeping(tmp_path):
    """A file with sums in a folder: a tree of another name, one of NanoAOD's branches, and histograms."""
    counts = hist.Hist(hist.axis.StrCategory(["all events", "initial, weighted", "squared"]), storage="double")
    counts.view()[:] = [300.0, 512.5, 1000.0]
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("meta/sums", {"sumWeights": "f8", "pair": ("f4", (2,)), "events": "i8"}).extend(
            {"sumWeights": np.array([1.5, 2.0]), "pair": np.ones((2, 2), "f4"), "events": np.array([3, 4])}
        )
        file.mktree("meta/Runs", dict.fromkeys(["genEventSumw", "genEventSumw2", "genEventCount"], "f8")).extend(
            {"genEventSumw": np.array([4.0]), "genEventSumw2": np.array([6.0]), "genEventCount": np.array([5.0])}
        )
        file["meta/CutBookkeeper_410470_284500_NOSYS"] = counts
        file["meta/plain"] = (np.array([7.0, np.nan]), np.array([0.0, 1.0, 2.0]))
        file["meta/plane"] = (np.ones((2, 2)), np.arange(3.0), np.arange(3.0))
    with uproot.open(tmp_path / "a.root") as file:
        yield file


@pytest.mark.parametrize(
    ("source", "sums"),
    [
        (SumInTree(tree="meta/sums", branch="sumWeights"), GeneratorSums(Fraction(7, 2), None, None)),
        (SumInTree(tree="meta/s*", branch="events"), GeneratorSums(Fraction(7), None, None)),
        (SumInTree(tree="meta/Runs"), GeneratorSums(Fraction(4), Fraction(6), 5)),
        (SumInHistogram(histogram="meta/CutBookkeeper_*_NOSYS", bin=2), GeneratorSums(Fraction(1025, 2), None, None)),
        (
            SumInHistogram(histogram="meta/CutBookkeeper_*", bin="initial, weighted"),
            GeneratorSums(Fraction(1025, 2), None, None),
        ),
        (SumInHistogram(histogram="meta/plain", bin=1), GeneratorSums(Fraction(7), None, None)),
        (SumValue(value=3.0), None),
        ("events", None),
        ("normalised", None),
    ],
)
def test_sums_in_any_place(bookkeeping, source, sums):
    assert read_stored_sum(bookkeeping, "a.root", "d", source) == sums


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (SumInTree(tree="meta/sum", branch="x"), "'d': a.root has no tree 'meta/sum'. Did you mean 'meta/sums'"),
        (
            SumInTree(tree="meta/sums", branch="sumWeight"),
            "no branch 'sumWeight' in tree 'meta/sums' of a.root. Did you",
        ),
        (SumInTree(tree="meta/sums"), "no branch 'genEventSumw' in tree 'meta/sums'"),
        (SumInTree(tree="meta/sums", branch="pair"), "'pair' in tree 'meta/sums' of a.root is not one finite number"),
        (SumInTree(tree="meta/plain"), "'meta/plain' of a.root is no tree, but of class TH1D"),
        (SumInHistogram(histogram="meta/*", bin=1), "objects of a.root match 'meta/.*Name one histogram"),
        (SumInHistogram(histogram="meta/sums", bin=1), "'meta/sums' of a.root is no histogram, but of class TTree"),
        (SumInHistogram(histogram="meta/plain", bin=3), "has 2 bins, so no bin 3"),
        (SumInHistogram(histogram="meta/plain", bin=2), "bin 2 is not finite"),
        (SumInHistogram(histogram="meta/plain", bin="all"), "no bin labelled 'all'.*bins have no labels"),
        (
            SumInHistogram(histogram="meta/Cut*", bin="initial weighted"),
            "labelled 'initial weighted'. Did you mean 'initial, weighted'",
        ),
        (SumInHistogram(histogram="meta/plane", bin=1), "has 2 axes"),
    ],
)
def test_sums_that_are_not_there(bookkeeping, source, match):
    with pytest.raises(NormalisationError, match=match):
        read_stored_sum(bookkeeping, "a.root", "d", source)
