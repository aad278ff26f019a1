"""Settings of the losses: what they build, how they change over a phase, and what the analysis file says of errors."""

import dataclasses
import json

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from zsig_hep.errors import TrainingError
from zsig_hep.learning import TrainingSettings
from zsig_hep.learning.losses.base import LossContext
from zsig_hep.learning.losses.compositions import HypothesesLoss, SumLoss, SumLossSettings
from zsig_hep.learning.losses.cross_entropy import BCELoss, BCELossSettings, FocalLoss
from zsig_hep.learning.losses.lovasz_loss import LovaszLoss, LovaszLossSettings
from zsig_hep.learning.losses.settings import EffectiveWeightsLossSettings, LossSettings
from zsig_hep.learning.losses.soft_counts import BinnedAsimovLoss, InverseAsimovLoss, PunziLoss, SoftSignificanceLoss
from zsig_hep.learning.losses.z_loss import ZLoss, ZLossSettings
from zsig_hep.statistics import FigureOfMerit, FigureParameters, Objective, ProcessTable

CONTEXT = LossContext(
    ProcessTable(("m1", "dy", "m2", "top"), ("signal", "background", "signal", "background")),
    (1.0, 3.0, 2.0, 1.0),
    Objective(FigureOfMerit.S_OVER_SQRT_B_WITH_UNCERTAINTY, background_uncertainties={"top": 0.3}),
)

BUILT = [
    ({"name": "z", "error": "sigmoid", "relative_eps": 0.1}, ZLoss(0.1, error="sigmoid"), "Z loss"),
    ({"name": "lovasz", "figure": "punzi", "sigmas": 5}, LovaszLoss("punzi", sigmas=5.0), "Lovasz loss of s / (a/2"),
    ({"name": "lovasz"}, LovaszLoss("asimov_squared", relative_eps=0.05), "Lovasz loss of Z_A^2"),
    ({"name": "lovasz", "figure": "ams_squared"}, LovaszLoss("ams_squared", eps=10.0), "Lovasz loss of AMS^2"),
    (
        {"name": "lovasz", "figure": "s_over_sqrt_b_with_process_uncertainties"},
        LovaszLoss("s_over_sqrt_b_with_process_uncertainties", process_uncertainties=(0.0, 0.0, 0.0, 0.3)),
        "Lovasz loss of s / sqrt(b + sum",
    ),
    ({"name": "bce"}, BCELoss(), "weighted BCE"),
    ({"name": "bce", "weighting": "events"}, BCELoss(weighting="events"), "unweighted BCE"),
    ({"name": "bce", "weighting": "processes"}, BCELoss(weighting="processes"), "process-balanced BCE"),
    ({"name": "focal", "gamma": 1}, FocalLoss(1.0), "weighted focal loss"),
    ({"name": "inverse_asimov", "relative_uncertainty": 0.1}, InverseAsimovLoss(0.1), "1 / Z_A^2 loss"),
    ({"name": "punzi", "a": 5}, PunziLoss(5.0, signal_processes=[0, 2]), "Punzi loss"),
    ({"name": "binned_asimov", "bins": 4}, BinnedAsimovLoss(4), "binned Asimov loss"),
    (
        {"name": "soft_significance", "form": "log"},
        SoftSignificanceLoss("s_over_sqrt_b_with_uncertainty", process_uncertainties=(0, 0, 0, 0.3), form="log"),
        "soft significance loss",
    ),
    ({"name": "soft_significance", "figure": "asimov"}, SoftSignificanceLoss("asimov"), "soft significance loss"),
    (
        {"name": "sum", "terms": [{"loss": {"name": "z"}}, {"coefficient": 0.5, "loss": {"name": "bce"}}]},
        SumLoss([(1.0, ZLoss()), (0.5, BCELoss())]),
        "Z loss + weighted BCE",
    ),
    (
        {"name": "hypotheses", "loss": {"name": "bce"}, "combine": "minimum"},
        HypothesesLoss(BCELoss(), [0, 2], combine="minimum"),
        "weighted BCE, worst hypothesis",
    ),
    ({"name": "effective_weights"}, BCELoss(), "effective weights"),
    ({"name": "effective_weights", "base": {"name": "z"}}, ZLoss(), "effective weights"),
]


def read(content):
    return TypeAdapter(LossSettings).validate_python(content)


def batch():
    process = torch.arange(40) % 4
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(40, generator=generator, dtype=torch.float64)
    weights = torch.rand(40, generator=generator, dtype=torch.float64) * 0.1
    return scores, process % 2 == 0, weights, process


@pytest.mark.parametrize(("content", "expected", "label"), BUILT)
def test_settings_build_their_loss(content, expected, label):
    settings = read(content)
    assert settings.label.startswith(label)
    assert torch.isclose(settings.build(CONTEXT)(*batch()), expected(*batch()))


@pytest.mark.parametrize("content", [content for content, _, _ in BUILT])
def test_settings_survive_the_file_of_a_training(content):
    settings = TrainingSettings.model_validate({"loss": content})
    again = TrainingSettings.model_validate(json.loads(settings.model_dump_json()))
    assert again.loss == settings.loss == read(content)
    assert again.loss.at(0.3) == settings.loss.at(0.3) == settings.loss


def test_defaults_of_the_z_loss():
    assert ZLossSettings().model_dump(include={"error", "relative_eps"}) == {"error": "hinge", "relative_eps": 0.05}
    assert ZLossSettings().eps_path is None
    assert ZLossSettings().build().relative_eps == 0.05


def test_paths_move_with_the_phase():
    z = read({"name": "z", "relative_eps": {"start": 0.5, "stop": 0.02}})
    assert [z.at(progress).build().relative_eps for progress in (0, 0.5, 1)] == pytest.approx([0.5, 0.1, 0.02])
    assert z.build().relative_eps == 0.5
    lovasz = read({"name": "lovasz", "figure": "s_over_b", "relative_eps": {"start": 0.5, "stop": 0.02}})
    assert lovasz.at(0.5).build().relative_eps == pytest.approx(0.1)
    ramp = {"coefficient": {"start": 1, "stop": 0}, "loss": {"name": "bce"}}
    both = read({"name": "sum", "terms": [ramp, {"coefficient": 2, "loss": z.model_dump()}]})
    built = both.at(0.5).build()
    assert built.coefficients == (0.5, 2.0)
    assert built.losses[1].relative_eps == pytest.approx(0.1)
    assert both.build().coefficients == (1.0, 2.0)
    assert both.at(0.5).at(1.0) == both.at(0.5)
    inside = read({"name": "hypotheses", "loss": z.model_dump()}).at(1.0).build(CONTEXT)
    assert inside.loss.relative_eps == pytest.approx(0.02)
    recipe = read({"name": "effective_weights", "base": z.model_dump()}).at(1.0).build()
    assert recipe.relative_eps == pytest.approx(0.02)


@pytest.mark.parametrize(
    "content",
    [
        {"name": "z", "relative_eps": "auto", "path": [0.2, 0.1]},
        {"name": "lovasz", "figure": "s_over_b", "relative_eps": "auto", "path": [0.2, 0.1]},
        {"name": "hypotheses", "loss": {"name": "z", "relative_eps": "auto", "path": [0.2, 0.1]}},
        {
            "name": "sum",
            "terms": [{"loss": {"name": "bce"}}, {"loss": {"name": "z", "relative_eps": "auto", "path": [0.2, 0.1]}}],
        },
    ],
)
def test_auto_is_resolved_by_the_training(content):
    settings = read(content)
    assert settings.eps_path == (0.2, 0.1)
    with pytest.raises(TrainingError, match="resolved by the training"):
        settings.build(CONTEXT)
    chosen = settings.with_eps(0.1)
    assert chosen.eps_path is None
    chosen.build(CONTEXT)
    assert "0.1" in chosen.model_dump_json()


def test_a_number_is_not_replaced_by_the_choice_of_auto():
    both = SumLossSettings(
        terms=[{"loss": ZLossSettings(relative_eps=0.3)}, {"loss": ZLossSettings(relative_eps="auto")}]
    )
    assert [term.loss.relative_eps for term in both.with_eps(0.01).terms] == [0.3, 0.01]
    assert BCELossSettings().with_eps(0.1) == BCELossSettings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "zz"}, "does not match any of the expected tags"),
        ({"name": "z", "relative_eps": 0}, "greater than or equal to"),
        ({"name": "z", "relative_eps": "auto", "path": [0.1, 0.2]}, "must decrease along the path"),
        ({"name": "z", "relative_eps": "auto", "path": []}, "at least 1 item"),
        ({"name": "z", "error": "hing"}, "'hinge'"),
        ({"name": "lovasz", "figure": "asimov"}, "not submodular.*Use asimov_squared"),
        ({"name": "lovasz", "figure": "asimov_sqared"}, "Did you mean 'asimov_squared'"),
        ({"name": "lovasz", "figure": "punzi", "relative_eps": 0.1}, "punzi has no relative_eps"),
        ({"name": "lovasz", "figure": "punzi", "relative_eps": "auto"}, "punzi has no relative_eps"),
        ({"name": "lovasz", "figure": "s_over_b", "sigmas": 3}, "no option sigmas"),
        ({"name": "lovasz", "figure": "s_over_sqrt_b_with_uncertainty"}, "needs the option relative_uncertainty"),
        ({"name": "sum", "terms": []}, "at least 1 item"),
        (
            {"name": "sum", "terms": [{"loss": {"name": "effective_weights"}}]},
            "does not match any of the expected tags",
        ),
        ({"name": "sum", "terms": [{"loss": {"name": "z", "relative_eps": "auto"}}] * 2}, "only one term"),
        ({"name": "effective_weights", "damping": 1.0}, "less than 1"),
        ({"name": "effective_weights", "base": {"name": "z", "relative_eps": "auto"}}, "not `auto`"),
        ({"name": "focal", "gamma": -1}, "greater than or equal to 0"),
    ],
)
def test_wrong_settings_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        read(content)


@pytest.mark.parametrize(
    "content",
    [
        {"name": "hypotheses"},
        {"name": "soft_significance"},
        {"name": "soft_significance", "figure": "asimov_with_uncertainty"},
        {"name": "lovasz", "figure": "s_over_sqrt_b_with_process_uncertainties"},
    ],
)
def test_losses_that_need_the_processes_say_so(content):
    with pytest.raises(TrainingError, match="needs the processes of the analysis"):
        read(content).build()


def test_without_a_context_all_signal_is_one_hypothesis():
    data = batch()
    assert torch.isclose(read({"name": "punzi"}).build()(*data[:3]), PunziLoss()(*data[:3]))


def test_yields_beyond_submodularity_are_refused_when_the_loss_is_built():
    settings = LovaszLossSettings(figure="s_over_sqrt_b_with_process_uncertainties")
    heavy = dataclasses.replace(CONTEXT, yields=(1.0, 300.0, 2.0, 1.0))
    with pytest.raises(TrainingError, match="effective_weights"):
        settings.build(heavy)
    of_b = LovaszLossSettings(figure="s_over_sqrt_b_with_uncertainty_of_b", relative_uncertainty=0.5)
    of_b.build(CONTEXT)
    with pytest.raises(TrainingError, match=r"eps <= 3\."):
        of_b.build(heavy)


def test_effective_weights_have_rounds():
    settings = EffectiveWeightsLossSettings()
    assert (settings.base, settings.rounds, settings.damping) == (BCELossSettings(), 4, 0.3)


def test_the_soft_significance_takes_the_numbers_of_the_analysis():
    context = dataclasses.replace(CONTEXT, objective=Objective(FigureOfMerit.PUNZI, FigureParameters(punzi_sigmas=5.0)))
    built = read({"name": "soft_significance"}).build(context)
    assert built.figure is FigureOfMerit.PUNZI
    assert built.figure_parameters.punzi_sigmas == 5.0
    assert read({"name": "soft_significance", "figure": "ams"}).build().figure_parameters == FigureParameters()
