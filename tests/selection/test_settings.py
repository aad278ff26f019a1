import numpy as np
import pytest
import torch

from zsig_hep.errors import InputError
from zsig_hep.selection import (
    WorkingPointSettings,
    choose_working_point,
    hold_out_working_point,
    scan_thresholds,
    significance,
)
from zsig_hep.selection.thresholds.scan import sufficient_signal
from zsig_hep.statistics import FigureOfMerit, asimov_with_uncertainty

NAMES = ("vbf", "dy", "ggf", "top", "data")
ROLES = ("signal", "background", "signal", "background", "data")
UNCERTAIN = {
    "figure_of_merit": "asimov_with_uncertainty",
    "background_uncertainties": {"dy": 0.03, "top": 0.2},
    "minimum_effective_background": 5,
}


def toy(seed=0, events=4000):
    rng = np.random.default_rng(seed)
    process = rng.integers(0, 5, size=events)
    score = rng.normal(np.array([1.5, -0.5, 0.8, 0.3, 0.0])[process])
    weight = np.array([0.02, 1.0, 0.05, 0.3, 1.0])[process] * rng.choice([1.0, 1.0, 1.0, 1.0, -0.5], size=events)
    return score, weight, process


def scan_of(options, seed=0):
    return scan_thresholds(*toy(seed), process_names=NAMES, roles=ROLES, settings=options)


def alone(s, dy, top, k=(0.03, 0.2)):
    return asimov_with_uncertainty(s, dy + top, np.sqrt((k[0] * dy) ** 2 + (k[1] * top) ** 2))


@pytest.mark.parametrize("signals", ["sum", "mean", "minimum"])
def test_every_threshold_by_hand(signals):
    scan = scan_of(WorkingPointSettings(signals=signals, **UNCERTAIN))
    possible = (scan.background > 0.01) & (scan.yields[[0, 2]] > -scan.background).all(axis=0)
    vbf, dy, ggf, top = scan.yields[:, possible]
    expected = {
        "sum": alone(vbf + ggf, dy, top),
        "mean": (alone(vbf, dy, top) + alone(ggf, dy, top)) / 2,
        "minimum": np.minimum(alone(vbf, dy, top), alone(ggf, dy, top)),
    }[signals]
    assert possible.sum() > 2000
    np.testing.assert_allclose(scan.significance[possible], expected, rtol=1e-12)
    assert np.isfinite(scan.significance[scan.qualifies]).all()


@pytest.mark.parametrize("signals", ["sum", "mean", "minimum"])
@pytest.mark.parametrize("figure", list(FigureOfMerit))
def test_slopes_and_uncertainty_against_finite_differences(signals, figure):
    uncertain = {"dy": 0.03, "top": 0.2} if figure.knows_background_uncertainty else {}
    options = WorkingPointSettings(figure_of_merit=figure, signals=signals, background_uncertainties=uncertain)
    yields, variances = np.array([3.0, 40.0, 2.0, 15.0]), np.array([0.1, 2.0, 0.2, 1.0])

    def of(values):
        return significance(values, variances, NAMES[:4], ROLES[:4], options)

    h = 1e-5
    slopes = [float((of(yields + h * e).value - of(yields - h * e).value) / (2 * h)) for e in np.eye(4)]
    found = of(yields)
    np.testing.assert_allclose(found.slopes, slopes, rtol=1e-6, atol=1e-9)
    assert float(found.uncertainty) == pytest.approx(np.sqrt((np.square(slopes) * variances).sum()), rel=1e-6)


def test_torch_gradients_reach_yields_and_uncertainties():
    options = WorkingPointSettings(signals="mean", **UNCERTAIN)
    yields = torch.tensor([3.0, 40.0, 2.0, 15.0], dtype=torch.float64, requires_grad=True)
    k = torch.tensor([0.03, 0.2], dtype=torch.float64, requires_grad=True)
    z = significance(yields, torch.zeros_like(yields), NAMES[:4], ROLES[:4], options, own_uncertainties=k)
    of_yields, of_k = torch.autograd.grad(z.value, (yields, k))
    torch.testing.assert_close(of_yields, z.slopes, rtol=1e-12, atol=0)
    assert (of_k < 0).all()


def test_the_uncertain_background_moves_the_cut():
    # Top pairs lie nearer to the signal than Drell-Yan: distrusting them tightens the cut.
    loose = choose_working_point(scan_of(WorkingPointSettings()), WorkingPointSettings())
    options = WorkingPointSettings(
        figure_of_merit="asimov_with_uncertainty",
        background_uncertainties={"top": 0.5},
        minimum_effective_background=10,
    )
    tight = choose_working_point(scan_of(options), options)
    assert tight.threshold > loose.threshold


@pytest.mark.parametrize("signals", ["mean", "minimum"])
def test_the_held_out_point_carries_each_hypothesis(signals):
    options = WorkingPointSettings(signals=signals, **UNCERTAIN)
    score, weight, process = toy(1)
    point = hold_out_working_point(
        score, weight, process, np.arange(process.size) % 4,
        fold_count=4, process_names=NAMES, roles=ROLES, settings=options,
    )  # fmt: skip
    assert point.status == "ok"
    dy, top = (point.yields[name].value for name in ("dy", "top"))
    expected = {name: float(alone(point.yields[name].value, dy, top)) for name in ("vbf", "ggf")}
    assert {name: each.value for name, each in point.hypotheses.items()} == pytest.approx(expected, rel=1e-12)
    combined = min(expected.values()) if signals == "minimum" else np.mean(list(expected.values()))
    assert point.significance == pytest.approx(combined, rel=1e-12)
    assert all(each.uncertainty > 0 for each in point.hypotheses.values())


def test_summed_signals_are_no_hypotheses():
    assert choose_working_point(scan_of(WorkingPointSettings()), WorkingPointSettings()).hypotheses == {}


def test_the_required_efficiency_is_combined_as_the_figure_of_merit():
    yields_of = {}
    for signals in ("sum", "mean", "minimum"):
        options = WorkingPointSettings(signals=signals, minimum_signal_efficiency=0.3)
        scan = scan_of(options)
        each = scan.yields[scan.is_signal] / scan.total_yields[scan.is_signal, None]
        efficiency = {"sum": scan.signal_efficiency, "mean": each.mean(axis=0), "minimum": each.min(axis=0)}[signals]
        np.testing.assert_array_equal(sufficient_signal(scan, options), (efficiency >= 0.3) & (scan.signal > 0))
        yields_of[signals] = sufficient_signal(scan, options).sum()
    assert len(set(yields_of.values())) == 3


@pytest.mark.parametrize(
    ("name", "words"), [("tpo", "Did you mean 'top'"), ("vbf", "There are: dy, top"), ("data", "There are: dy, top")]
)
def test_an_uncertainty_of_no_background_is_refused(name, words):
    options = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", background_uncertainties={name: 0.1})
    with pytest.raises(InputError, match=rf"names '{name}', which is no background process\. {words}"):
        scan_of(options)


def test_a_hypothesis_without_events_is_refused():
    score, weight, process = toy()
    kept = process != 2
    arrays = (score[kept], weight[kept], process[kept])
    given = {"process_names": NAMES, "roles": ROLES}
    assert scan_thresholds(*arrays, settings=WorkingPointSettings(), **given).qualifies.any()
    with pytest.raises(InputError, match=r"signal process 'ggf' before the cut is 0; .* set signals: sum"):
        scan_thresholds(*arrays, settings=WorkingPointSettings(signals="minimum"), **given)


@pytest.mark.parametrize("figure", list(FigureOfMerit))
def test_every_figure_chooses_cuts_and_quotes_them_held_out(figure):
    k = {"background_uncertainties": {"top": 0.2}} if figure.knows_background_uncertainty else {}
    options = WorkingPointSettings(figure_of_merit=figure, **k)
    score, weight, process = toy(2)
    named = {"process_names": NAMES, "roles": ROLES, "settings": options}
    scan = scan_thresholds(score, weight, process, **named)
    assert np.isfinite(scan.significance_uncertainty[scan.qualifies]).all()
    point = hold_out_working_point(score, weight, process, np.arange(process.size) % 4, fold_count=4, **named)
    assert point.status == "ok"
    yields = np.array([point.yields[name].value for name in NAMES[:4]])
    variances = np.array([point.yields[name].variance for name in NAMES[:4]])
    expected = significance(yields, variances, NAMES[:4], ROLES[:4], options)
    assert point.significance == pytest.approx(float(expected.value), rel=1e-12)
    assert point.significance_uncertainty == pytest.approx(float(expected.uncertainty), rel=1e-12)


@pytest.mark.parametrize(
    ("figure", "name", "values", "expected"),
    [
        # Little regularisation and few sigmas let the cut go where no background is left.
        ("ams", "ams_regularisation", (0.0, None, 200.0), (0.0, 10.0, 200.0)),
        ("punzi", "punzi_sigmas", (0.0, None, 30.0), (0.0, 3.0, 30.0)),
    ],
)
def test_the_number_of_a_figure_reaches_it_and_moves_the_cut(figure, name, values, expected):
    cuts = []
    for value, meant in zip(values, expected, strict=True):
        given = {} if value is None else {name: value}
        options = WorkingPointSettings(figure_of_merit=figure, minimum_effective_background=2, **given)
        assert getattr(options.figure_parameters, name) == meant
        cuts.append(choose_working_point(scan_of(options, seed=3), options).threshold)
    assert cuts == sorted(cuts, reverse=True)
    assert len(set(cuts)) > 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ams_regularisation": 10.0}, "of the figure of merit 'ams', and figure_of_merit is 'asimov'"),
        ({"figure_of_merit": "ams", "punzi_sigmas": 3.0}, "set that to 'punzi', or remove punzi_sigmas"),
        ({"figure_of_merit": "ams", "ams_regularisation": -1.0}, "greater than or equal to 0"),
        ({"figure_of_merit": "poisson", "relative_background_uncertainty": 0.1}, "'poisson_with_uncertainty'"),
        (
            {"figure_of_merit": "punzi", "background_uncertainties": {"top": 0.1}},
            "'punzi' has no background uncertainty",
        ),
    ],
)
def test_settings_that_do_not_belong_to_the_figure(settings, words):
    with pytest.raises(ValueError, match=words):
        WorkingPointSettings.model_validate(settings)


def test_settings_survive_their_own_dump():
    options = WorkingPointSettings(figure_of_merit="punzi", punzi_sigmas=5.0)
    assert WorkingPointSettings.model_validate(options.model_dump(mode="json")) == options
    assert WorkingPointSettings.model_validate(WorkingPointSettings().model_dump(mode="json")) == WorkingPointSettings()


def test_exact_tails_refuse_tensors_and_their_relative_takes_them():
    options = WorkingPointSettings(
        figure_of_merit="poisson_with_uncertainty", background_uncertainties={"dy": 0.03, "top": 0.2}
    )
    yields = torch.tensor([3.0, 40.0, 2.0, 15.0], dtype=torch.float64)
    with pytest.raises(InputError, match="found a torch tensor"):
        significance(yields, yields, NAMES[:4], ROLES[:4], options)
    z = significance(yields, yields, NAMES[:4], ROLES[:4], options.differentiable_counterpart)
    assert float(z.value) == pytest.approx(float(alone(5.0, 40.0, 15.0)), rel=1e-12)
