import pytest
import torch

from tests.learning.training.goals import APART, PHASES, TOGETHER, settings
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, ZLossSettings, choose_device
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings


def test_phases_that_end_with_the_baseline_are_refused():
    with pytest.raises(ValueError, match="names the training"):
        settings(phases=[PHASES[2], PHASES[0]])


def test_a_loss_beside_phases_is_refused():
    with pytest.raises(ValueError, match="that of the last of the `phases`"):
        settings(phases=PHASES, loss={"name": "z"})


def test_the_loss_that_suits_the_goal_is_chosen_where_none_is_named():
    assert settings().main_loss(APART) == EffectiveWeightsLossSettings()
    assert settings().main_loss(TOGETHER) == ZLossSettings(error="sigmoid")
    assert settings(loss={"name": "z"}).main_loss(APART) == ZLossSettings()


def test_the_baseline_is_the_weighted_cross_entropy_beside_any_other_loss():
    assert list(settings().losses(APART)) == ["effective_weights", "bce"]
    assert list(settings(loss={"name": "bce"}).losses()) == ["bce"]
    assert list(settings(baseline=False).losses()) == ["z"]
    unweighted = settings(loss={"name": "bce", "weighting": "events"}).losses()
    assert unweighted == {"bce": BCELossSettings(weighting="events"), "weighted_bce": BCELossSettings()}


def test_an_absent_device_is_refused_with_those_there_are():
    assert choose_device("auto").type in {"cpu", "cuda"}
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="'cuda' is not available here; there is: cpu"):
            choose_device("cuda")
