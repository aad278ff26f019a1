from dataclasses import replace

import numpy as np
import pytest

from tests.selection.family.test_held_out import make_events
from zsig_hep.errors import InputError
from zsig_hep.selection import VariedEvents
from zsig_hep.selection.family.closure import closure_of, without_variations
from zsig_hep.statistics.process_table import ProcessTable


def row(closure, name):
    return next(each for each in closure.rows if each.name == name)


@pytest.fixture(scope="module")
def events():
    return make_events((4000, 8000, 500), shift=0.3)


def test_exact_ratios_close(events):
    closure = closure_of(events)
    assert [each.name for each in closure.rows] == ["signal", "known", "uncertain", "moveUp", "moveDown"]
    assert closure.failing == ()
    assert min(each.probability for each in closure.rows) > 0.01


def test_yields_of_a_row_by_hand(events):
    closure = closure_of(events, bins=4)
    found = row(closure, "uncertain")
    mine = events.process == 2
    share = events.ratios.composition[:, 1]
    lowest = (events.ratios.logit < closure.edges[0]) & (share <= np.median(share[mine]))
    assert found.counted[0] == pytest.approx(events.weight[mine & lowest].sum())
    assert found.counted.sum() == pytest.approx(1000.0)
    e = np.exp(events.ratios.logit)
    mixture = events.weight / (2 * np.where(events.process == 0, 100.0, 2000.0))
    expected = 2000.0 * mixture * 2 / (1 + e) * events.ratios.composition[:, 1]
    assert found.reweighted[0] == pytest.approx(expected[lowest].sum())
    variance = 2.0 * expected[lowest].sum() + (expected[lowest] ** 2).sum()
    assert found.uncertainty[0] == pytest.approx(np.sqrt(variance))


def test_bins_have_equal_signal(events):
    signal = row(closure_of(events, bins=5), "signal").counted
    np.testing.assert_allclose(signal, signal.sum() / 5, rtol=0.01)


def test_signals_that_are_not_told_apart_close_together(events):
    high = (events.process == 0) & (events.ratios.logit > np.median(events.ratios.logit[events.process == 0]))
    processes = ProcessTable.of(["vbf", "ggf", *events.processes.backgrounds], ["signal"] * 2 + ["background"] * 2)
    several = replace(
        events, process=np.where(events.process > 0, events.process + 1, high), processes=processes, variations=()
    )
    closure = closure_of(several)
    assert [each.name for each in closure.rows] == ["vbf + ggf", "known", "uncertain"]
    assert closure.failing == ()
    alone = closure_of(replace(events, variations=()))
    np.testing.assert_allclose(closure.rows[0].counted, alone.rows[0].counted)
    np.testing.assert_allclose(closure.rows[0].reweighted, alone.rows[0].reweighted)
    np.testing.assert_allclose(closure.rows[0].uncertainty, alone.rows[0].uncertainty)


def test_a_ratio_that_is_exact_closes_whatever_rounding_does(events):
    background = events.process > 0

    def scaled(direction, factor):
        return VariedEvents(
            "luminosity", "luminosity", direction, events.processes.backgrounds, events.score[background],
            events.weight[background] * factor, events.process[background], events.fold[background],
            events.features[background], ratios=events.ratios.select(background),
        )  # fmt: skip

    # One and a tenth by another way.
    ratio = np.full(len(events), 3.3 / 3)
    ratios = replace(
        events.ratios, variations=np.stack([ratio, 2 - ratio], axis=-1)[:, None], variation_names=("luminosity",)
    )
    closure = closure_of(replace(events, ratios=ratios, variations=((scaled("up", 1.1), scaled("down", 0.9)),)))
    assert row(closure, "luminosityUp").probability == 1.0
    assert row(closure, "luminosityDown").probability == 1.0


@pytest.mark.parametrize("error", [0.5, -0.5])
def test_a_shifted_logit_does_not_close(events, error):
    ratios = replace(events.ratios, logit=events.ratios.logit + error)
    assert "signal" in closure_of(replace(events, ratios=ratios)).failing


def test_exchanged_backgrounds_do_not_close(events):
    ratios = replace(events.ratios, composition=events.ratios.composition[:, ::-1])
    failing = closure_of(replace(events, ratios=ratios)).failing
    assert set(failing) == {"known", "uncertain"}


def test_a_ratio_of_the_wrong_direction_does_not_close(events):
    ratios = replace(events.ratios, variations=events.ratios.variations[..., ::-1])
    closure = closure_of(replace(events, ratios=ratios))
    assert set(closure.failing) == {"moveUp", "moveDown"}
    assert row(closure, "moveUp").largest_deviation > 0.1


def weight_variation(events, factor, ratio):
    """A variation of the weights of one background, with the ratio of the whole."""
    touched = events.process == 2

    def direction(name, weight):
        return VariedEvents(
            "tilt", "weight", name, ("uncertain",), events.ratios.logit[touched], weight, events.process[touched],
            events.fold[touched], np.empty((int(touched.sum()), 0), np.float32), ratios=events.ratios.select(touched),
        )  # fmt: skip

    pair = direction("up", events.weight[touched] * factor), direction("down", events.weight[touched] * (2 - factor))
    ratios = replace(events.ratios, variation_names=("tilt",), variations=np.stack([ratio, 2 - ratio], axis=1)[:, None])
    return replace(events, variations=(pair,), ratios=ratios)


def test_ratios_of_weights_are_compared_event_by_event(events):
    # Uncorrelated errors would hide a shift of 3 % of a background of 500 events.
    right = weight_variation(events, 1.03, 1 + 0.03 * events.ratios.composition[:, 1])
    wrong = weight_variation(events, 1.03, np.full(len(events), 1.0))
    found, missed = (row(closure_of(each), "tiltUp") for each in (right, wrong))
    assert found.probability > 0.01
    assert missed.probability < 1e-6
    assert missed.status == "closes"  # the deviation is below 10 %


def test_variations_that_do_not_close_are_left_out(events):
    assert without_variations(events.ratios, ["moveDown"]).variation_names == ()
    assert without_variations(events.ratios, ["other"]).variation_names == ("move",)
    assert without_variations(events.ratios, []).variations.shape == events.ratios.variations.shape


def test_a_table_for_notebooks(events):
    assert closure_of(events)._repr_html_().count("<tr>") == 6


def test_bad_input(events):
    with pytest.raises(InputError, match="no likelihood ratios"):
        closure_of(replace(events, ratios=None))
    flat = replace(events, ratios=replace(events.ratios, logit=np.zeros(len(events))))
    with pytest.raises(InputError, match="do not fill 10 bins"):
        closure_of(flat)
