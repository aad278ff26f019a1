import pytest
import torch
from pydantic import ValidationError

from tests.learning.training.goals import APART, PHASES, TOGETHER, settings
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, TrainingSettings, ZLossSettings, choose_device
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


class TestClassifiers:
    def test_networks_are_the_default(self):
        trainings = TrainingSettings().trainings()
        assert [(each.name, each.label, each.classifier) for each in trainings] == [
            ("z", "Z loss", "network"),
            ("bce", "weighted BCE", "network"),
        ]

    def test_names_and_labels_of_trees_say_so(self):
        trainings = TrainingSettings.model_validate({"classifier": "boosted_trees"}).trainings()
        assert [(each.name, each.label) for each in trainings] == [
            ("trees_z", "trees, Z loss"),
            ("trees_bce", "trees, weighted BCE"),
        ]

    def test_the_first_of_a_list_is_the_main_one(self):
        content = {"classifier": ["boosted_trees", "network"], "loss": {"name": "bce", "weighting": "events"}}
        names = [each.name for each in TrainingSettings.model_validate(content).trainings()]
        assert names == ["trees_bce", "trees_weighted_bce", "bce", "weighted_bce"]

    def test_without_a_baseline_there_is_one_of_each(self):
        content = {"classifier": ["network", "boosted_trees"], "baseline": False}
        assert [each.name for each in TrainingSettings.model_validate(content).trainings()] == ["z", "trees_z"]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ({"classifier": ["network", "network"]}, "'network' stands twice"),
            ({"classifier": []}, "at least 1 item"),
            ({"classifier": "forest"}, "'network' or 'boosted_trees'"),
            ({"trees": {"booster": "gblinear"}}, r"no choice of a booster.*`hidden: \[\]`"),
            ({"trees": {"subsample": 0}}, "greater than 0"),
            ({"trees": {"subsample": 1.1}}, "less than or equal to 1"),
            ({"trees": {"depth": 17}}, "less than or equal to 16"),
            ({"trees": {"significance_rounds": 0}}, "greater than 0"),
            ({"trees": {"minimum_child_weight": -1}}, "greater than or equal to 0"),
            ({"trees": {"eta": 0.1}}, "eta"),
        ],
    )
    def test_what_cannot_be_is_refused(self, content, reason):
        with pytest.raises(ValidationError, match=reason):
            TrainingSettings.model_validate(content)
