"""Events under variations, their yields above cuts, and the background uncertainty that a cut is chosen by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from zsig_hep.errors import InputError
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import (
    LuminosityVariation,
    NormalisationVariation,
    ShapeVariation,
    WeightVariation,
    expand_variations,
)
from zsig_hep.selection import (
    WorkingPointSettings,
    choose_working_point,
    hold_out_working_point,
    scan_thresholds,
    systematic_table,
    varied_events,
)
from zsig_hep.selection.varied_events import background_uncertainty_above, symmetrised
from zsig_hep.statistics.significance import asimov_with_uncertainty

NAMES, ROLES = ("hmumu", "dy", "top"), ("signal", "background", "background")
SETTINGS = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", variations_in_figure=True)


def make_table(events=6000, shift=0.0, scale=1.0, seed=3):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 3, size=events)
    score = 1 / (1 + np.exp(-rng.normal(np.array([1.0, -1.0, -0.3])[process]) - shift))
    return EventTable(
        features=score.astype(np.float32).reshape(-1, 1),
        feature_names=("score",),
        weight=scale * np.array([0.03, 0.5, 0.2])[process],
        process=process.astype(np.int32),
        process_names=NAMES,
        roles=ROLES,
        labels=NAMES,
        fold=rng.integers(0, 4, size=events).astype(np.int16),
        fold_count=4,
        identity=np.arange(events, dtype=np.uint64),
        luminosity_ifb=100.0,
        weight_variations={},
    )


def score_of(table):
    return table.feature("score").astype(np.float64)


def pairs_of(table, variations, **shapes):
    scores = {name: score_of(each) for name, each in shapes.items()}
    return varied_events(table, variations, score_of(table), shapes, scores)


def every_kind():
    """A table, shifted tables, and one variation of each kind."""
    table = make_table()
    tilt = 1 + 0.2 * (score_of(table) - 0.5)
    weights = {"tilt": np.stack([table.weight * tilt, table.weight / tilt])}
    table = EventTable(**{**vars(table), "weight_variations": weights})
    variations = {
        "lumi": LuminosityVariation(kind="luminosity", relative=0.02, processes=list(NAMES)),
        "xs": NormalisationVariation(kind="normalisation", up=1.2, down=0.9, processes=["top"]),
        "tilt": WeightVariation(kind="weight", function="a.py:f", processes=["dy", "top"]),
        "jes": ShapeVariation(kind="shape", processes=list(NAMES)),
        "half": ShapeVariation(kind="shape", processes=["dy"], one_sided=True),
    }
    up, down = make_table(shift=0.1), make_table(shift=-0.1)
    dy = up.select(up.process == 1)
    return table, variations, {"jesUp": up, "jesDown": down, "halfUp": dy}


def yields_above(events, thresholds, process):
    chosen = (events.process == process) & (events.score >= np.array(thresholds)[events.fold])
    return events.weight[chosen].sum()


def test_the_systematic_table_repeats_sums_by_hand():
    table, variations, shapes = every_kind()
    pairs = pairs_of(table, variations, **shapes)
    arrays = {"process_names": NAMES, "roles": ROLES, "settings": WorkingPointSettings()}
    point = hold_out_working_point(score_of(table), table.weight, table.process, table.fold, fold_count=4, **arrays)
    found = systematic_table(point, pairs, **arrays)
    cuts = np.array(point.thresholds)
    passes = score_of(table) >= cuts[table.fold]
    nominal = [table.weight[passes & (table.process == p)].sum() for p in range(3)]
    rows = {row.name: row for row in found.rows}
    assert list(rows) == list(variations)
    assert rows["lumi"].yields["hmumu"].up.value == pytest.approx(1.02 * nominal[0])
    assert rows["lumi"].yields["dy"].down.value == pytest.approx(nominal[1] / 1.02)
    assert list(rows["xs"].yields) == ["top"]
    assert rows["xs"].yields["top"].down.value == pytest.approx(0.9 * nominal[2])
    tilted = table.weight_variations["tilt"][0][passes & (table.process == 1)].sum()
    assert rows["tilt"].yields["dy"].up.value == pytest.approx(tilted)
    up = shapes["jesUp"]
    shifted = (score_of(up) >= cuts[up.fold]) & (up.process == 2)
    assert rows["jes"].yields["top"].up.value == pytest.approx(up.weight[shifted].sum())
    half = rows["half"].yields["dy"]
    assert half.up.value + half.down.value == pytest.approx(2 * nominal[1])

    def shift(row):
        return sum(each.shift for process, each in row.yields.items() if process != "hmumu")

    sigma = np.sqrt(sum(shift(row) ** 2 for row in found.rows))
    assert found.background_uncertainty == pytest.approx(sigma)
    b = nominal[1] + nominal[2]
    assert found.significance == pytest.approx(float(asimov_with_uncertainty(nominal[0], b, sigma)))
    assert found.significance_without == pytest.approx(point.significance)
    both_up = 1.02 * np.array(nominal)
    expected = float(asimov_with_uncertainty(both_up[0], both_up[1:].sum(), 0.0))
    assert rows["lumi"].significance_up == pytest.approx(expected)


def test_uncorrelated_processes_add_in_quadrature_and_correlated_ones_linearly():
    table = make_table()
    from zsig_hep.ntuples.datasets import Process

    processes = {
        name: Process(role=role, datasets={name: {"files": ["a.root"], "cross_section_pb": 1.0}})
        for name, role in zip(NAMES, ROLES, strict=True)
    }
    at = np.array([0.5])
    above = np.array([[table.weight[(table.process == p) & (score_of(table) >= 0.5)].sum()] for p in (1, 2)])
    sigma = {}
    for correlated in (True, False):
        given_one = NormalisationVariation(
            kind="normalisation", up=1.1, down=0.9, processes=["dy", "top"], correlated=correlated
        )
        pairs = pairs_of(table, expand_variations({"xs": given_one}, processes))
        sigma[correlated] = background_uncertainty_above(pairs, at, above, NAMES, ("dy", "top"))[0]
    assert sigma[True] == pytest.approx(0.1 * above.sum())
    assert sigma[False] == pytest.approx(0.1 * np.hypot(*above[:, 0]))


def test_every_threshold_of_the_scan_has_the_uncertainty_of_a_loop():
    table, variations, shapes = every_kind()
    pairs = pairs_of(table, variations, **shapes)
    scan = scan_thresholds(
        score_of(table),
        table.weight,
        table.process,
        process_names=NAMES,
        roles=ROLES,
        settings=SETTINGS,
        variations=pairs,
    )
    for index in (0, 100, 3000, len(scan.threshold) - 200):
        cut, variance = scan.threshold[index], 0.0
        for up, down in pairs:
            touched = [NAMES.index(name) for name in up.processes if name != "hmumu"]
            nominal = scan.yields[touched, index].sum()
            raised, lowered = (
                each.weight[np.isin(each.process, touched) & (each.score >= cut)].sum() - nominal for each in (up, down)
            )
            variance += float(symmetrised(raised, lowered)) ** 2
        b = scan.background[index]
        assert scan.common_uncertainty[index] == pytest.approx(np.sqrt(variance) / b)
        expected = float(asimov_with_uncertainty(scan.signal[index], b, np.sqrt(variance)))
        assert scan.significance[index] == pytest.approx(expected)


def test_the_working_point_quotes_the_uncertainty_that_chose_it_and_moves_to_a_purer_cut():
    table, variations, shapes = every_kind()
    pairs = pairs_of(table, variations, **shapes)
    arrays = (score_of(table), table.weight, table.process)
    given_names = {"process_names": NAMES, "roles": ROLES}
    scan = scan_thresholds(*arrays, **given_names, settings=SETTINGS, variations=pairs)
    point = choose_working_point(scan, SETTINGS)
    assert point.significance == pytest.approx(scan.significance[scan.threshold == point.threshold][0])
    options = {"fold_count": 4, **given_names}
    held = hold_out_working_point(*arrays, table.fold, **options, settings=SETTINGS, variations=pairs)
    plain = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty")
    without = hold_out_working_point(*arrays, table.fold, **options, settings=plain)
    assert held.significance < without.significance
    assert held.background.value < without.background.value
    quoted = systematic_table(held, pairs, **given_names, settings=plain)
    assert held.significance == pytest.approx(quoted.significance)


def test_held_out_events_do_not_choose_under_variations_either():
    table, variations, shapes = every_kind()
    options = {"fold_count": 4, "process_names": NAMES, "roles": ROLES, "settings": SETTINGS}
    arrays = (score_of(table), table.weight, table.process, table.fold)
    first = hold_out_working_point(*arrays, **options, variations=pairs_of(table, variations, **shapes))
    up = shapes["jesUp"]
    other = EventTable(**{**vars(up), "weight": np.where(up.fold == 2, 5.0, 1.0) * up.weight})
    second = hold_out_working_point(
        *arrays, **options, variations=pairs_of(table, variations, **{**shapes, "jesUp": other})
    )
    assert second.thresholds[2] == first.thresholds[2]
    assert second.significance != first.significance


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_the_symmetrised_shift_lies_between_the_two(up, down):
    shift = float(symmetrised(up, down))
    assert abs(shift) <= max(abs(up), abs(down))
    assert abs(shift) >= abs(up - down) / 2 or up * down >= 0


@pytest.mark.parametrize(
    ("factors", "note"),
    [((1.0, 1.0), "no effect"), ((1.1, 1.1), "up equals down"), ((1.2, 1.1), "both on one side"), ((1.1, 0.9), None)],
)
def test_unusual_pairs_are_named(factors, note):
    table = make_table()
    xs = NormalisationVariation(kind="normalisation", up=factors[0], down=factors[1], processes=["top"])
    names = {"process_names": NAMES, "roles": ROLES, "settings": WorkingPointSettings()}
    point = hold_out_working_point(score_of(table), table.weight, table.process, table.fold, fold_count=4, **names)
    found = systematic_table(point, pairs_of(table, {"xs": xs}), **names)
    assert found.notes == (() if note is None else (f"variation 'xs' at the cut: {note} for top",))


def test_nothing_to_vary_gives_no_table():
    table = make_table()
    names = {"process_names": NAMES, "roles": ROLES, "settings": WorkingPointSettings()}
    point = hold_out_working_point(score_of(table), table.weight, table.process, table.fold, fold_count=4, **names)
    assert systematic_table(point, (), **names) is None


def test_scores_that_are_not_finite_are_refused_by_the_name_of_the_variation():
    table = make_table()
    up = make_table(shift=0.1)
    bad = np.where(np.arange(len(up)) == 7, np.nan, score_of(up))
    jes = ShapeVariation(kind="shape", processes=list(NAMES))
    pairs = varied_events(
        table, {"jes": jes}, score_of(table), {"jesUp": up, "jesDown": up}, {"jesUp": bad, "jesDown": bad}
    )
    with pytest.raises(InputError, match="Scores under variation 'jesUp' are not all finite"):
        scan_thresholds(
            score_of(table),
            table.weight,
            table.process,
            process_names=NAMES,
            roles=ROLES,
            settings=SETTINGS,
            variations=pairs,
        )


def test_variations_in_the_figure_need_a_figure_that_knows_uncertainty():
    with pytest.raises(ValidationError, match="figure_of_merit 'asimov' has no background uncertainty"):
        WorkingPointSettings(variations_in_figure=True)
