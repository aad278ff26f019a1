import pytest
import torch

from tests.learning.training.goals import APART, PHASES, TOGETHER, settings
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, ZLossSettings, choose_device
from zsig_hep.learning.classifier.embedding import PeriodicSettings
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


def test_features_have_a_periodic_embedding_unless_it_is_refused():
    assert settings().periodic == PeriodicSettings(frequencies=8, scale=0.1, width=3)
    assert settings(embedding={"frequencies": 3}).periodic == PeriodicSettings(frequencies=3)
    assert settings(embedding="none").periodic is None


def test_a_model_is_linear_without_layers_and_embedding():
    assert settings(hidden=[], embedding="none").is_linear
    assert not settings(hidden=[]).is_linear
    assert not settings(embedding="none").is_linear


@pytest.mark.parametrize("numbers", [{"frequencies": 0}, {"frequencies": 10**9}, {"scale": 0}, {"width": 0}, {"n": 8}])
def test_an_embedding_without_frequencies_or_beyond_memory_is_refused(numbers):
    with pytest.raises(ValueError, match=r"embedding\..*"):
        settings(embedding=numbers)


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
