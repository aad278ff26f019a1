import math

import numpy as np
import pytest
import torch

from zsig_hep.errors import TrainingError
from zsig_hep.learning.optimisation.gradient_noise import (
    GraduatedStage,
    gradient_variance,
    measured_stage,
    noise_of_batches,
    smoothing_degree,
)
from zsig_hep.learning.optimisation.schedules import GraduatedSettings


def test_smoothing_degree():
    assert smoothing_degree(0.1, 25, 9.0) == pytest.approx(0.06)
    # B = .9 (.81 - .9 + 1) / .01 = 81.9; v = .36.
    assert smoothing_degree(0.1, 25, 9.0, momentum=0.9) == pytest.approx(0.1 * math.sqrt(0.36 * 82.9))
    expected = 0.1 * math.sqrt(0.36 + 81.9 * (0.36 + 4.0))
    assert smoothing_degree(0.1, 25, 9.0, momentum=0.9, gradient_norm=2.0) == pytest.approx(expected)
    assert smoothing_degree(0.1, 25, 9.0, gradient_norm=2.0) == pytest.approx(0.06)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.1, 25, 9.0), {"momentum": 1.0}, r"momentum in \[0, 1\), found 1\.0"),
        ((0.1, 25, 9.0), {"momentum": -0.1}, r"momentum in \[0, 1\)"),
        ((0.1, 0, 9.0), {}, "batch size > 0"),
        ((-0.1, 25, 9.0), {}, "learning rate >= 0"),
        ((0.1, 25, -9.0), {}, "variance >= 0"),
        ((0.1, 25, math.nan), {}, "variance >= 0, found nan"),
        ((0.1, 25, 9.0), {"momentum": 0.5, "gradient_norm": -1.0}, "gradient norm >= 0"),
    ],
)
def test_smoothing_degree_outside_its_domain(arguments, options, message):
    with pytest.raises(TrainingError, match=message):
        smoothing_degree(*arguments, **options)


def regression(members, n=4000):
    """Least squares with two parameters; gradients of each event are known, hence their variance."""
    generator = np.random.default_rng(5)
    x = torch.tensor(generator.normal(size=(members, n, 2)))
    y = torch.tensor(generator.normal(size=(members, n)) * np.arange(1, members + 1)[:, None])
    theta = torch.tensor(generator.normal(size=(members, 2)))
    residual = (x @ theta.unsqueeze(-1)).squeeze(-1) - y
    per_event = 2 * residual.unsqueeze(-1) * x
    return per_event, per_event.var(1, correction=1).sum(-1)


def test_gradient_variance_is_unbiased_for_independent_batches():
    members, batch, repetitions = 3, 16, 3000
    per_event, _ = regression(members)
    truth = per_event.var(1, correction=0).sum(-1)
    drawn = torch.from_numpy(np.random.default_rng(6).integers(0, per_event.shape[1], (2, repetitions, batch)))
    first, second = (per_event[:, indices].mean(2) for indices in drawn)
    estimates = torch.stack(
        [
            gradient_variance([one[:, :1], one[:, 1]], [other[:, :1], other[:, 1]], batch, stacked=True)
            for one, other in zip(first.unbind(1), second.unbind(1), strict=True)
        ]
    )
    assert estimates.shape == (repetitions, members)
    np.testing.assert_allclose(estimates.mean(0), truth, rtol=0.03)
    single = gradient_variance([first[0, 0]], [second[0, 0]], batch)
    torch.testing.assert_close(single, estimates[0, 0])


def test_disjoint_batches_of_an_epoch_serve_as_well():
    per_event, truth = regression(1, n=40)
    generator = np.random.default_rng(7)
    estimates = []
    for _ in range(1500):
        # Nearly half of all events in each batch, where the two are far from independent.
        order = torch.from_numpy(generator.permutation(40))
        one, other = (per_event[0, part].mean(0) for part in (order[:18], order[18:36]))
        estimates.append(gradient_variance([one], [other], 18).item())
    assert np.mean(estimates) == pytest.approx(truth.item(), rel=0.05)


def test_gradient_variance_of_gradients_that_do_not_fit():
    one, other = [torch.zeros(2, 3)], [torch.zeros(2)]
    for first, second in ((one, other), ([], []), (one, one * 2)):
        with pytest.raises(TrainingError, match="gradients of the same parameters from both batches"):
            gradient_variance(first, second, 8)
    with pytest.raises(TrainingError, match="batch size > 0, found 0"):
        gradient_variance(one, one, 0)
    with pytest.raises(TrainingError, match="members along the first axis"):
        gradient_variance([*one, torch.zeros(3)], [*one, torch.zeros(3)], 8, stacked=True)


def test_measured_stages_by_hand():
    plan = GraduatedSettings(mode="batch", stages=2, gamma=0.5).plan(5, 0.2, 10)
    table = [measured_stage(plan, 1, [4.0, 16.0], [1.0, 2.0]), measured_stage(plan, 2, 9.0, 0.5)]
    assert table[0] == GraduatedStage(1, 1, 3, pytest.approx(0.2), 10, 3.0, pytest.approx(0.2 * 3 / math.sqrt(10)), 1.5)
    assert table[1] == GraduatedStage(2, 4, 2, pytest.approx(0.2), 40, 3.0, pytest.approx(0.2 * 3 / math.sqrt(40)), 0.5)


def test_a_measured_stage_with_momentum():
    plan = GraduatedSettings(stages=1).plan(2, 0.2, 10)
    stage = measured_stage(plan, 1, [4.0, 16.0], 1.0, momentum=0.5, gradient_norm=[1.0, 3.0])
    expected = [smoothing_degree(0.2, 10, v, momentum=0.5, gradient_norm=k) for v, k in ((4.0, 1.0), (16.0, 3.0))]
    assert stage.delta == pytest.approx(np.mean(expected))


def test_noise_of_batches_averages_the_pairs():
    drawn = torch.arange(24, dtype=torch.float64).reshape(4, 2, 3)
    variances, norms = noise_of_batches([[batch] for batch in drawn], 8)
    squares = [((drawn[0] - drawn[1]) ** 2).sum(-1), ((drawn[2] - drawn[3]) ** 2).sum(-1)]
    assert variances == pytest.approx([float(each) for each in 4 * (squares[0] + squares[1]) / 2])
    assert norms == pytest.approx(drawn.mean(0).norm(dim=-1).tolist())


def test_a_stage_that_the_plan_lacks():
    with pytest.raises(TrainingError, match="a stage of its plan, found 3"):
        measured_stage(GraduatedSettings(stages=2).plan(2, 0.2, 10), 3, 1.0, 1.0)
