import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELoss
from zsig_hep.learning.implicit.held_out_objectives import (
    HeldOutEvents,
    NegativeHeldOutSignificance,
    held_out_cross_entropy,
)


def sample(seed=0, n=400):
    generator = torch.Generator().manual_seed(seed)
    process = torch.arange(n) % 4
    is_signal = process == 1
    weights = torch.tensor([5.0, 0.1, 2.0, 0.5])[process].double() * torch.rand(n, generator=generator).double()
    scores = torch.randn(n, generator=generator, dtype=torch.float64) + 1.5 * is_signal + 0.5 * (process == 2)
    return scores, is_signal, weights, process


def with_uncertainties(signal, backgrounds):
    return signal / torch.sqrt(backgrounds.sum(-1) + ((backgrounds * torch.tensor([0.02, 0.3, 0.1])) ** 2).sum(-1))


def brute_force(scores, is_signal, weights, process, objective):
    """The best Z over a fine grid of thresholds, event by event in NumPy."""
    x = scores.numpy()
    x = (x - x.mean()) / x.std(ddof=1)
    w, best = weights.numpy(), -np.inf
    for t in np.linspace(-3, 5, 4001):
        k = 1 / (1 + np.exp(-(x - t) / objective.bandwidth))
        b = [(w * k)[process.numpy() == p].sum() for p in (0, 2, 3)]
        entries = sum(b) ** 2 / (w**2 * k)[~is_signal.numpy()].sum()
        if entries >= objective.minimum_effective_background:
            z = objective.figure(torch.tensor((w * k)[is_signal.numpy()].sum()), torch.tensor(b))
            best = max(best, float(z))
    return best


@pytest.mark.parametrize("minimum", [5.0, 120.0])
@pytest.mark.parametrize("figure", [NegativeHeldOutSignificance().figure, with_uncertainties])
def test_the_best_smooth_cut_against_brute_force(minimum, figure):
    scores, is_signal, weights, process = sample()
    objective = NegativeHeldOutSignificance(figure=figure, minimum_effective_background=minimum)
    found = -objective(scores, HeldOutEvents.of(is_signal, weights, process)).item()
    assert found == pytest.approx(brute_force(scores, is_signal, weights, process, objective), rel=2e-3)


@pytest.mark.parametrize("minimum", [5.0, 120.0])
def test_the_envelope_gradient_is_exact_also_where_the_background_stops_the_cut(minimum):
    scores, is_signal, weights, process = sample(n=40)
    # The effective entries of the whole background are about 14.
    minimum = minimum / 120 * 10
    objective = NegativeHeldOutSignificance(
        figure=with_uncertainties, minimum_effective_background=minimum, bandwidth=0.4
    )
    events = HeldOutEvents.of(is_signal, weights, process)
    assert gradcheck(lambda x: objective(x, events), (scores.requires_grad_(),), atol=1e-6, rtol=1e-5)


def test_the_constraint_matters_in_this_sample():
    scores, is_signal, weights, process = sample()
    events = HeldOutEvents.of(is_signal, weights, process)
    loose, tight = (
        NegativeHeldOutSignificance(minimum_effective_background=n)(scores, events).item() for n in (5.0, 120.0)
    )
    assert loose < tight - 0.01


def test_the_scale_of_the_scores_does_not_matter():
    scores, is_signal, weights, process = sample()
    events = HeldOutEvents.of(is_signal, weights, process)
    one, other = (NegativeHeldOutSignificance()(7 * scores - 3, events), NegativeHeldOutSignificance()(scores, events))
    assert one.item() == pytest.approx(other.item(), rel=1e-9)


def test_the_cross_entropy_is_that_of_the_losses():
    scores, is_signal, weights, process = sample()
    found = held_out_cross_entropy(scores, HeldOutEvents.of(is_signal, weights, process))
    assert found.item() == pytest.approx(BCELoss()(scores, is_signal, weights).item())


def test_bad_input():
    scores, is_signal, weights, process = sample(n=40)
    events = HeldOutEvents.of(is_signal, weights, process)
    with pytest.raises(TrainingError, match="All held-out scores are equal"):
        NegativeHeldOutSignificance()(torch.zeros_like(scores), events)
    with pytest.raises(TrainingError, match="effective entries before any cut, below the 50"):
        NegativeHeldOutSignificance(minimum_effective_background=50)(scores, events)
