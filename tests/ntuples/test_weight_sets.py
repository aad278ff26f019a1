"""Sets of weights from ROOT files to the table."""

import awkward as ak
import numpy as np
import pytest

from tests.conftest import DATA
from tests.ntuples.varied_weights import CROSS_SECTION_PB, LUMINOSITY_IFB, fractions, generated, processes, run, write
from zsig_hep.analysis import Analysis
from zsig_hep.errors import AnalysisFileError, InputError, NormalisationError
from zsig_hep.ntuples import EventTable
from zsig_hep.ntuples.variations import expand_variations
from zsig_hep.ntuples.weight_sets import WeightSetVariation, combined_shifts

SCALES = {"kind": "weight_set", "branch": "LHEScaleWeight", "combine": "envelope"}


def of_set(**keys):
    return {"set": WeightSetVariation(**(SCALES | keys))}


@pytest.fixture
def events(tmp_path):
    """All generated events of files that are skims."""
    of_files = {"higgs": generated(400, 1), "dy_1": generated(500, 2), "dy_2": generated(300, 3)}
    for name, each in of_files.items():
        write(tmp_path / f"{name}.root", each, each["x"] > 0.2)
    return of_files


def yields_of_elements(events, own):
    """Yield of the signal under each element of the branch, and the nominal one, after the selection."""
    x, weight, factors = (events["higgs"][key] for key in ("x", "genWeight", "LHEScaleWeight"))
    scale = CROSS_SECTION_PB["higgs"] * 1000 * LUMINOSITY_IFB / weight.sum()
    selected = scale * (weight[:, None] * factors)[x > 0.3].sum(axis=0)
    return selected / fractions(events["higgs"], "LHEScaleWeight") if own else selected, scale * weight[x > 0.3].sum()


def shifts(result):
    """Yield shifts of the signal up and down, from the weights of the members."""
    table = result.table
    rows = table.process == table.process_names.index("higgs")
    members = table.weight_variations["set"][:, rows].sum(axis=1) - table.weight[rows].sum()
    variation = WeightSetVariation(**SCALES)
    return members, variation


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("chunk_size", [83, 100_000])
def test_the_envelope_has_the_seven_points_by_default(events, tmp_path, own, chunk_size):
    members, _ = shifts(run(tmp_path, of_set(normalise="own" if own else "nominal"), chunk_size=chunk_size))
    yields, nominal = yields_of_elements(events, own)
    assert members == pytest.approx([yields[each] - nominal for each in (0, 1, 3, 5, 7, 8)], rel=1e-9)
    up, down = combined_shifts(members, "envelope")
    assert up == pytest.approx(max(yields[each] for each in (0, 1, 3, 5, 7, 8)) - nominal, rel=1e-9)
    assert down == pytest.approx(min(*(yields[each] for each in (0, 1, 3, 5, 7, 8)), nominal) - nominal, rel=1e-9)


@pytest.mark.parametrize("own", [False, True])
def test_eigenvectors_differ_from_the_reference(events, tmp_path, own):
    keys = {"combine": "hessian", "members": "1-8", "normalise": "own" if own else "nominal"}
    members, _ = shifts(run(tmp_path, of_set(**keys)))
    yields, _ = yields_of_elements(events, own)
    delta = np.sqrt(sum((yields[each] - yields[0]) ** 2 for each in range(1, 9)))
    up, down = combined_shifts(members, "quadrature")
    assert (up, down) == pytest.approx((delta, -delta), rel=1e-9)


@pytest.mark.parametrize("own", [False, True])
def test_replicas_have_a_standard_deviation(events, tmp_path, own):
    keys = {"combine": "replicas", "members": [1, 2, 5, 8], "normalise": "own" if own else "nominal"}
    members, _ = shifts(run(tmp_path, of_set(**keys)))
    yields, _ = yields_of_elements(events, own)
    delta = np.std([yields[each] for each in (1, 2, 5, 8)], ddof=1)
    assert combined_shifts(members, "quadrature")[0] == pytest.approx(delta, rel=1e-9)


def test_own_sums_of_a_set_may_be_in_a_tree_or_come_from_the_events(tmp_path):
    for name, seed in (("higgs", 1), ("dy_1", 2), ("dy_2", 3)):
        write(tmp_path / f"{name}.root", generated(300, seed))
    keys = {"branch": "PSWeight", "members": [0, 2], "normalise": "own"}
    wanted, _ = shifts(run(tmp_path, of_set(**keys)))
    for source in ("runs", "events", {"tree": "sums/tree", "branch": "vector"}):
        assert shifts(run(tmp_path, of_set(**keys, sum_of_weights=source)))[0] == pytest.approx(wanted, rel=1e-10)
    assert np.abs(wanted).min() > 1e-3


def test_shapes_alone_keep_the_yield_under_each_member(events, tmp_path):
    members, _ = shifts(run(tmp_path, of_set(normalise="shape_only")))
    assert members == pytest.approx(np.zeros(6), abs=1e-9)


def test_a_set_touches_its_processes_and_the_table_is_read_back(events, tmp_path):
    result = run(tmp_path, of_set(processes=["dy"], combine="replicas", members="0-8"))
    table = result.table
    assert table.weight_variations["set"].shape == (9, len(table))
    higgs = table.process == 0
    assert (table.weight_variations["set"][:, higgs] == table.weight[higgs]).all()
    assert not (table.weight_variations["set"][:, ~higgs] == table.weight[~higgs]).any()
    read = EventTable.from_parquet(tmp_path / "out" / "events.parquet")
    assert read.digest == table.digest


def test_uncorrelated_sets_are_sets_of_each_process():
    expanded = expand_variations(of_set(correlated=False), processes())
    assert {name: (each.kind, each.processes) for name, each in expanded.items()} == {
        "set_higgs": ("weight_set", ["higgs"]),
        "set_dy": ("weight_set", ["dy"]),
    }


def test_an_element_that_is_not_there_is_named(tmp_path):
    """Eight elements: the nominal one is left out."""
    for name, seed in (("higgs", 1), ("dy_1", 2), ("dy_2", 3)):
        write(tmp_path / f"{name}.root", generated(300, seed, scales=8))
    with pytest.raises(InputError, match=r"variation 'set': branch 'LHEScaleWeight' has 8 elements in \d+ of \d+ events, so "
                       "there is no element 8"):  # fmt: skip
        run(tmp_path, of_set())
    with pytest.raises(
        NormalisationError, match="LHEScaleSumw in the Runs tree has 8 elements, so there is no element 8"
    ):
        run(tmp_path, of_set(normalise="own"))


@pytest.mark.parametrize("chunk_size", [60, 100_000])
def test_elements_of_events_with_different_lengths_are_not_one_variation(events, tmp_path, chunk_size):
    whole = generated(300, 1)
    jagged = ak.Array([row.tolist() + [1.0] * (number > 200) for number, row in enumerate(whole["LHEScaleWeight"])])
    write(tmp_path / "higgs.root", whole, extra={"LHEScaleWeight": jagged})
    with pytest.raises(InputError, match=r"variation 'set': branch 'LHEScaleWeight' has 9 elements in some events and 10 in "
                       r"others, so that an element is not the same variation in all.*one length each"):  # fmt: skip
        run(tmp_path, of_set(), chunk_size=chunk_size)


def test_lengths_may_differ_between_datasets_but_not_between_their_files(events, tmp_path):
    whole = generated(300, 3)
    longer = whole | {"LHEScaleWeight": np.hstack([whole["LHEScaleWeight"], np.ones((300, 1))])}
    write(tmp_path / "higgs.root", longer)
    run(tmp_path, of_set())
    write(tmp_path / "dy_2.root", longer)
    with pytest.raises(
        InputError, match=r"dataset 'dy': variation 'set': branch .* has 9 elements in some events and 10"
    ):
        run(tmp_path, of_set())


def test_a_sum_of_zero_of_one_member_is_refused(events, tmp_path):
    zero = [[1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    write(tmp_path / "higgs.root", events["higgs"], events["higgs"]["x"] > 0.2, change={"LHEScaleSumw": zero})
    with pytest.raises(NormalisationError, match=r"variation 'set': the sum of weights of element 3 is zero \(0\)"):
        run(tmp_path, of_set(normalise="own"))


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"members": [3]}, "a set has two or more members, not 1"),
        ({"members": "7-7"}, "a set has two or more members, not 1"),
        ({"members": [0, 3, 0]}, "members has 0 more than once"),
        ({"members": "8-3"}, 'no range "first-last"'),
        ({"members": "all"}, 'no range "first-last"'),
        ({"members": [-1, 2]}, "greater than or equal to 0"),
        ({"combine": "hessian"}, "members are needed, as in members"),
        ({"branch": "PSWeight"}, "members are needed, as in members"),
        ({"combine": "hessian", "members": "0-100"}, "member 0 is the reference"),
        ({"combine": "replicas", "members": "1-100", "reference": 0}, "reference is used with `combine: hessian` only"),
        ({"combine": "median", "members": "1-100"}, "'envelope', 'hessian' or 'replicas'"),
        ({"sum_of_weights": "runs"}, "sum_of_weights is used with `normalise: own` only"),
        ({"branch": "weights", "members": "1-9", "normalise": "own"}, "normalise: own needs sum_of_weights"),
        ({"processes": ["data"]}, "names process 'data', which is data"),
    ],
)
def test_sets_that_mean_nothing_are_refused_with_their_place(search, keys, match):
    file = search.write(variations={"scales": SCALES | keys}, processes={"data": DATA})
    with pytest.raises(AnalysisFileError, match=match):
        Analysis.from_file(file)
