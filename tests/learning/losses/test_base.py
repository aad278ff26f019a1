import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from zsig_hep.errors import TrainingError
from zsig_hep.learning.losses.base import GeometricPath, LinearPath, LossContext, require_context, start_of
from zsig_hep.learning.losses.z_loss import ZLossSettings
from zsig_hep.statistics import Objective, ProcessTable

CONTEXT = LossContext(
    ProcessTable(("m1", "dy", "m2", "top"), ("signal", "background", "signal", "background")),
    (1.0, 3.0, 2.0, 1.0),
    Objective(background_uncertainties={"top": 0.3}),
)


def test_uncertainties_stand_in_the_order_of_the_processes():
    assert CONTEXT.process_uncertainties == (0.0, 0.0, 0.0, 0.3)
    assert dataclasses.replace(CONTEXT, objective=None).process_uncertainties == (0.0,) * 4


@pytest.mark.parametrize("name", ["topp", "m1"])
def test_uncertainties_belong_to_backgrounds(name):
    context = dataclasses.replace(CONTEXT, objective=Objective(background_uncertainties={name: 0.1}))
    with pytest.raises(TrainingError, match=f"names .{name}., which is no background process"):
        _ = context.process_uncertainties


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0, 1))
def test_a_geometric_path_has_equal_factors_and_a_linear_one_equal_steps(start, stop, progress):
    for path, middle in (
        (GeometricPath(start=start, stop=stop), (start * stop) ** 0.5),
        (LinearPath(start=start, stop=stop), (start + stop) / 2),
    ):
        assert [path.at(0), path.at(1)] == pytest.approx([start, stop])
        assert path.at(0.5) == pytest.approx(middle)
        assert min(start, stop) * (1 - 1e-12) <= path.at(progress) <= max(start, stop) * (1 + 1e-12)


def test_a_geometric_path_does_not_reach_zero_and_a_linear_one_may():
    assert LinearPath(start=1.0, stop=0.0).at(1.0) == 0.0
    with pytest.raises(ValidationError, match="greater than or equal to"):
        GeometricPath(start=1.0, stop=0.0)


def test_a_number_an_automatic_eps_and_a_path_of_eps():
    number, automatic = ZLossSettings(relative_eps=0.2), ZLossSettings(relative_eps="auto", path=(0.3, 0.1))
    moving = ZLossSettings(relative_eps={"start": 0.5, "stop": 0.05})
    assert [each.eps_path for each in (number, automatic, moving)] == [None, (0.3, 0.1), None]
    assert (number.first_eps, moving.first_eps) == (0.2, 0.5)
    with pytest.raises(TrainingError, match=r"call `with_eps\(value\)` before `build`"):
        _ = automatic.first_eps
    assert automatic.with_eps(0.1).first_eps == 0.1
    assert (number.with_eps(0.1), moving.with_eps(0.1)) == (number, moving)
    assert (number.at(0.5), automatic.at(0.5)) == (number, automatic)
    assert moving.at(1.0).first_eps == pytest.approx(0.05)


def test_a_loss_without_context_says_what_it_needs():
    assert require_context(CONTEXT, "Punzi loss") is CONTEXT
    with pytest.raises(TrainingError, match="The Punzi loss needs the processes of the analysis"):
        require_context(None, "Punzi loss")


def test_the_first_value_of_what_may_be_on_a_path():
    assert start_of(0.5) == 0.5
    assert start_of(LinearPath(start=2.0, stop=1.0)) == 2.0
