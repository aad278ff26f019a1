"""Sets of weights wherever variations act: yields at a cut, uncertainties, the choice of a cut, and templates."""

from dataclasses import replace

import numpy as np
import pytest

from tests.selection.varied_toy import NAMES, VARIATIONS, every_kind, make_table, score_of, with_variations
from zsig_hep.fits.build import build_templates
from zsig_hep.fits.samples import Channels
from zsig_hep.fits.templates import ExportSettings
from zsig_hep.ntuples.weight_sets import WeightSetVariation
from zsig_hep.selection.folds import in_partition
from zsig_hep.selection.settings import WorkingPointSettings
from zsig_hep.selection.thresholds.held_out import hold_out_working_point, varied_selections
from zsig_hep.selection.thresholds.systematics import systematic_table
from zsig_hep.selection.varied_events import (
    VariedYield,
    background_uncertainty,
    background_uncertainty_above,
    background_uncertainty_between,
    varied_yields,
)

SETS = {
    "scale": {"combine": "envelope", "members": [0, 1, 3]},
    # Both members are above the nominal yield.
    "raised": {"combine": "envelope", "members": [0, 2]},
    "pdf": {"combine": "hessian", "members": "1-3"},
    "replica": {"combine": "replicas", "members": "0-3"},
}
PROCESSES = {"scale": ["hmumu", "dy", "top"], "raised": ["dy"], "pdf": ["dy", "top"], "replica": ["top"]}
MEMBERS = {"scale": (0, 1, 3), "raised": (0, 2), "pdf": (), "replica": ()}
BACKGROUNDS = ("dy", "top")


def factors(table):
    """Four factors of each event, whose shifts change sign with the score and the process."""
    score, sign = score_of(table), np.where(table.process == 2, -1.0, 1.0)
    return np.stack([1 + 0.1 * score, 1 + 0.2 * sign * (score - 0.5), 1.1 - 0.1 * score**2, 1 - 0.15 * sign * score])


def settings_of(name):
    return WeightSetVariation(kind="weight_set", branch="w", processes=PROCESSES[name], **SETS[name])


def sets_alone(names=SETS):
    table = make_table(events=3000)
    raw = {}
    for name in names:
        touched = np.isin(table.process, [NAMES.index(each) for each in PROCESSES[name]])
        raw[name] = np.where(touched, factors(table), 1.0) * table.weight
    variations = {name: settings_of(name) for name in names}
    members = {
        name: each.member_weights(table.weight, raw[name][list(each.elements)]) for name, each in variations.items()
    }
    table = replace(table, weight_variations=members)
    return table, raw, with_variations(table, variations)


def reference_shifts(name, nominal, yields):
    """Shifts up and down of a yield from its values under the four elements, as they are defined."""
    if SETS[name]["combine"] == "envelope":
        members = [yields[each] for each in SETS[name]["members"]]
        return max([nominal, *members]) - nominal, min([nominal, *members]) - nominal
    if name == "pdf":
        delta = sum((yields[each] - yields[0]) ** 2 for each in (1, 2, 3)) ** 0.5
    else:
        mean = sum(yields) / 4
        delta = (sum((each - mean) ** 2 for each in yields) / 3) ** 0.5
    return delta, -delta


def reference_uncertainty(table, raw, selected, backgrounds=BACKGROUNDS):
    variance = 0.0
    for name, weights in raw.items():
        rows = selected & np.isin(table.process, [NAMES.index(each) for each in backgrounds])
        up, down = reference_shifts(name, table.weight[rows].sum(), [each[rows].sum() for each in weights])
        variance += (up**2 + down**2) / 2
    return variance**0.5


@pytest.mark.parametrize("cut", [0.0, 0.3, 0.6])
def test_yields_of_each_process_are_those_of_the_definition(cut):
    table, raw, events = sets_alone()
    thresholds = [cut, cut, cut + 0.1, cut]
    selected = score_of(table) >= np.array(thresholds)[table.fold]
    nominal = events.yields(selected)
    found = varied_yields(events, varied_selections(events, thresholds), nominal)
    assert list(found) == list(SETS)
    for name, of_processes in found.items():
        assert list(of_processes) == PROCESSES[name]
        for process, each in of_processes.items():
            rows = selected & (table.process == NAMES.index(process))
            wanted = reference_shifts(name, table.weight[rows].sum(), [weight[rows].sum() for weight in raw[name]])
            assert each.shifts == pytest.approx(wanted, rel=1e-9)
    for backgrounds in (BACKGROUNDS, ("dy",), ("top",)):
        sigma = background_uncertainty(found, backgrounds)
        assert sigma == pytest.approx(reference_uncertainty(table, raw, selected, backgrounds), rel=1e-9)


def test_members_of_processes_cancel_before_they_are_combined():
    table, raw, events = sets_alone(["scale"])
    every = np.ones(len(table), bool)
    found = varied_yields(events, [(every,) * 3], events.yields())
    sigma = background_uncertainty(found, BACKGROUNDS)
    apart = np.add(*(found["scale"][name].shifts for name in BACKGROUNDS))
    assert sigma < 0.9 * np.hypot(*apart) / np.sqrt(2)
    assert sigma == pytest.approx(reference_uncertainty(table, raw, every), rel=1e-9)


def test_the_uncertainty_above_every_threshold_and_between_edges():
    table, raw, events = sets_alone()
    edges = np.array([0.2, 0.5, 0.7])
    score = score_of(table)
    above = np.stack([[table.weight[(score >= e) & (table.process == p)].sum() for e in edges] for p in range(3)])
    found = background_uncertainty_above(events, edges, above)
    assert found == pytest.approx([reference_uncertainty(table, raw, score >= edge) for edge in edges], rel=1e-9)
    bins = np.searchsorted(edges, score, side="right")
    between = np.stack([np.bincount(bins, table.weight * (table.process == p), 4) for p in range(3)])
    found = background_uncertainty_between(events, edges, between)
    assert found == pytest.approx([reference_uncertainty(table, raw, bins == each) for each in range(4)], rel=1e-9)


def test_other_variations_add_in_quadrature():
    table, raw, _ = sets_alone()
    _, shapes = every_kind()
    weights = dict(table.weight_variations) | {"tilt": np.stack([table.weight * 1.1, table.weight * 0.95])}
    table = replace(table, weight_variations=weights)
    variations = VARIATIONS | {name: settings_of(name) for name in SETS}
    every = np.ones(len(table), bool)
    events = with_variations(table, variations, **shapes)
    selections = [tuple(np.ones(len(each), bool) for each in alternatives) for alternatives in events.variations]
    both = background_uncertainty(varied_yields(events, selections, events.yields()), BACKGROUNDS)
    pairs = with_variations(table, VARIATIONS, **shapes)
    of_pairs = background_uncertainty(varied_yields(pairs, selections[: len(VARIATIONS)], pairs.yields()), BACKGROUNDS)
    assert both == pytest.approx(np.hypot(of_pairs, reference_uncertainty(table, raw, every)), rel=1e-9)


def test_events_of_other_folds_and_partitions_keep_the_weights_of_members():
    table, _, events = sets_alone(["replica"])
    for number, each in enumerate(events.variations[0]):
        outside = events.outside(1).variations[0][number]
        inside = (table.process == 2) & (table.fold != 1)
        np.testing.assert_allclose(outside.weight, table.weight_variations["replica"][number][inside] * 4 / 3)
        np.testing.assert_array_equal(outside.fold, table.fold[inside])
        partition = in_partition(events, 1)
        np.testing.assert_array_equal(partition.variations[0][number].fold, partition.fold[table.process == 2])
        np.testing.assert_array_equal(partition.variations[0][number].weight, each.weight)


def test_the_table_of_variations_and_a_figure_with_them():
    table, raw, events = sets_alone()
    settings = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", variations_in_figure=True)
    point = hold_out_working_point(events, settings)
    assert point.status == "ok"
    selected = score_of(table) >= np.array(point.thresholds)[table.fold]
    sigma = reference_uncertainty(table, raw, selected)
    assert point.common_uncertainty == pytest.approx(sigma / point.background.value, rel=1e-9)
    found = systematic_table(point, events, settings)
    assert [(row.name, row.kind) for row in found.rows] == [(name, "weight_set") for name in SETS]
    assert found.background_uncertainty == pytest.approx(sigma, rel=1e-9)
    # Summaries have no members.
    assert {type(each) for row in found.rows for each in row.yields.values()} == {VariedYield}
    assert found.rows[2].significance_up < point.significance < found.rows[2].significance_down


def test_templates_have_the_shifts_of_each_bin():
    table, raw, events = sets_alone()
    edges = [0.0, 0.25, 0.5, 0.75, 1.0]
    settings = ExportSettings(observable="score", binning=edges, minimum_effective_background=1)
    templates = build_templates(events, Channels.of_cut([0.0] * 4), settings, luminosity_ifb=100.0)
    assert templates.kinds == dict.fromkeys(SETS, "weight_set")
    assert "variation 'raised' of 'dy' changes nothing down; down is taken as the mirror of up" in templates.notes[0]
    (channel,) = templates.channels
    score = score_of(table)
    bins = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, 3)
    for name, of_processes in channel.varied.items():
        assert list(of_processes) == PROCESSES[name]
        for process, (up, down) in of_processes.items():
            for index in range(4):
                rows = (bins == index) & (table.process == NAMES.index(process))
                nominal = table.weight[rows].sum()
                shifts = reference_shifts(name, nominal, [weight[rows].sum() for weight in raw[name]])
                # Fits mirror a direction without effect.
                wanted = nominal + np.array(shifts if name != "raised" else (shifts[0], -shifts[0]))
                assert (up.values[index], down.values[index]) == pytest.approx(wanted, rel=1e-9)
                squares = [(table.weight[rows] ** 2).sum(), *((raw[name][e][rows] ** 2).sum() for e in MEMBERS[name])]
                if SETS[name]["combine"] == "envelope":
                    of_each = [nominal, *(raw[name][each][rows].sum() for each in SETS[name]["members"])]
                    assert up.variances[index] == pytest.approx(squares[np.argmax(of_each)], rel=1e-9)
                    lowest = np.argmin(of_each) if name != "raised" else np.argmax(of_each)
                    assert down.variances[index] == pytest.approx(squares[lowest], rel=1e-9)
                else:
                    assert up.variances[index] == down.variances[index] == pytest.approx(squares[0], rel=1e-9)
