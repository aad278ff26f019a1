"""Eve: Adam with a step size that depends on the change of the loss.

H. Hayashi, J. Koushik, G. Neubig, arXiv:1611.01505, version 3 and version 1 ("Improving stochastic gradient descent
with feedback"); the second source is the authors' code, rooa/eve.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zsig_hep.errors import TrainingError

Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]

_CHECK_EVERY = 64
"""Steps between two checks of the loss on a GPU, for which the host has to wait."""


def relative_change(loss: Tensor, previous: Tensor, f_star: float, c: float) -> tuple[Tensor, Tensor]:
    """Change of the loss relative to its distance from the bound, version 3.

    d = |f_t - f_{t-1}| / (min(f_t, f_{t-1}) - f*), clipped to [1/c, c].  As in the authors' code 0 / 0 is one, so that
    a loss that stays at its bound has Adam's step.

    Returns:
        The clipped change, and whether it was clipped from below.

    Example:
        >>> relative_change(torch.tensor(1.5), torch.tensor(2.0), 1.0, 10.0)
        (tensor(1.), tensor(False))
    """
    change = _ratio((loss - previous).abs(), torch.minimum(loss, previous) - f_star)
    return change.clamp(1 / c, c), change < 1 / c


def tracked_change(loss: Tensor, tracked: Tensor, k: float, K: float) -> tuple[Tensor, Tensor, Tensor]:
    """Relative change of a tracked loss, whose change per step is limited, version 1.

    With q = clip(f / fh, 1 + k, 1 + K) where f >= fh, and clip(f / fh, 1 / (1 + K), 1 / (1 + k)) elsewhere, the tracked
    loss fh becomes q fh, and r = |q fh - fh| / min(q fh, fh) = |q - 1| / min(q, 1), which is in [k, K].  Departure from
    the printed algorithm, in which the two branches are swapped and fh diverges from f.

    Returns:
        r, the next tracked loss, and whether r was clipped from below.

    Example:
        >>> tracked_change(torch.tensor(4.0), torch.tensor(2.0), 0.1, 10.0)
        (tensor(1.), tensor(4.), tensor(False))
    """
    ratio = _ratio(loss, tracked)
    q = torch.where(loss >= tracked, ratio.clamp(1 + k, 1 + K), ratio.clamp(1 / (1 + K), 1 / (1 + k)))
    at_floor = (ratio < 1 + k) & (ratio > 1 / (1 + k))
    return (q - 1).abs() / q.clamp(max=1), q * tracked, at_floor


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient with 0 / 0 = 1."""
    return torch.where((numerator == 0) & (denominator == 0), 1, numerator / denominator)


class Eve(Optimizer):
    r"""Adam with a step size that is divided by a feedback from the loss, arXiv:1611.01505.

    With Adam's bias-corrected moments mh and vh, the loss f_t and a lower bound f* of the loss,

        d_t  = |f_t - f_{t-1}| / (min(f_t, f_{t-1}) - f*),    dh_t = clip(d_t, 1/c, c)
        dt_t = b3 dt_{t-1} + (1 - b3) dh_t,                    dt_1 = 1
        theta <- theta - (alpha / dt_t) mh_t / (sqrt(vh_t) + eps).

    Version 1 has no bound; there dh_t is r_t of `tracked_change`.

    Choose a bound close to the reachable minimum: if f* is far below it, d is below 1/c, and Eve is Adam with c times
    the step, which `floor_fraction` shows.  On batches of b events d is about 1.13 sigma_loss / (sqrt(b) (f - f*)), or
    more if that is not small, so the step increases with sqrt(b).  With c = K and 1/c = k, as by default, version 1
    differs from version 3 with f* = 0 only in the step after a clipped one.

    Departure from the authors' code, which has |min(f_t, f_{t-1}) - f*|: a loss below f* is an error here.  The host
    has to wait for a GPU to check this; there the lowest loss since the start is checked every 64 steps, and when the
    feedback is read.  Until then d is clipped to 1/c, so that nothing diverges.

    An ensemble of M members, whose parameters are stacked along the first axis, has a loss of shape (M,); each member
    has its own feedback and is trained as if it were alone.

    The state consists of tensors in `state`: exp_avg, exp_avg_sq and step of each parameter, and at the first parameter
    the state of all: feedback, previous_loss (the tracked loss in version 1), lowest_loss, floor_steps, feedback_steps.

    Args:
        params: parameters or groups of them, float32 or float64, on one device.
        lr: step size alpha.
        f_star: lower bound of the loss, required by version 3, not used by version 1: 0 for the normalised losses of
            this package; -Z has no bound.
        betas: decay rates b1, b2 of the moments and b3 of the feedback, each in [0, 1).
        c: limit of the feedback, which is in [1/c, c]; at least 1.  With c = 1 version 3 is Adam.
        change_limits: k and K of version 1, 0 < k <= K.
        eps: added to sqrt(vh), as in Adam.
        weight_decay: L2 penalty added to the gradients, as in Adam; the loss given to `step` may omit it.
        version: 3 or 1 of the paper.
        check_every: steps between two checks of the loss; None for every step on the CPU and every 64 elsewhere.

    Raises:
        TrainingError: for a missing f_star or a number outside its domain.

    Example:
        >>> theta = torch.nn.Parameter(torch.tensor([3.0]))
        >>> eve = Eve([theta], lr=0.1, f_star=0.0)
        >>> for _ in range(2):
        ...     eve.zero_grad()
        ...     loss = theta.square().sum()
        ...     loss.backward()
        ...     _ = eve.step(loss=loss.detach())
        >>> round(eve.feedback.item(), 4), eve.floor_fraction.item()
        (0.9991, 1.0)
    """

    _unchecked = 0

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        *,
        f_star: float | None = None,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.999),
        c: float = 10.0,
        change_limits: tuple[float, float] = (0.1, 10.0),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        version: Literal[1, 3] = 3,
        check_every: int | None = None,
    ) -> None:
        _require(version in {1, 3}, "version 1 or 3", version)
        _require(version == 1 or f_star is not None, "f_star, a lower bound of the loss (0 if normalised)", f_star)
        _require(f_star is None or math.isfinite(f_star), "a finite f_star", f_star)
        _require(lr >= 0, "a step size lr >= 0", lr)
        _require(all(0 <= beta < 1 for beta in betas), "betas in [0, 1)", betas)
        _require(c >= 1, "c >= 1", c)
        _require(0 < change_limits[0] <= change_limits[1], "change_limits with 0 < k <= K", change_limits)
        _require(eps >= 0, "eps >= 0", eps)
        _require(weight_decay >= 0, "weight_decay >= 0", weight_decay)
        _require(check_every is None or check_every > 0, "check_every > 0", check_every)
        super().__init__(params, {"lr": lr, "betas": betas[:2], "eps": eps, "weight_decay": weight_decay})
        # Copying and pickling an optimiser keep `defaults`, but no other attributes.
        self.defaults |= {"version": version, "bound": f_star if version == 3 else 0.0, "b3": betas[2], "c": c}
        self.defaults |= {"change_limits": change_limits, "check_every": check_every}
        for parameter in self._parameters():
            precise = parameter.dtype in {torch.float32, torch.float64}
            _require(precise, "parameters in float32 or float64", parameter.dtype)

    @property
    def feedback(self) -> Tensor:
        """The feedback d that the step size is divided by, shape () or (M,); one before the first step."""
        self._require_valid_so_far()
        feedback = self.state[self._first()].get("feedback")
        return torch.ones(()) if feedback is None else feedback.clone()

    @property
    def floor_fraction(self) -> Tensor:
        """Fraction of steps at the lower limit of the feedback, 1/c or in version 1 k; shape () or (M,).

        The first step has no feedback and is not counted; zero before the second.
        """
        self._require_valid_so_far()
        shared = self.state[self._first()]
        if "feedback" not in shared:
            return torch.zeros(())
        fraction: Tensor = shared["floor_steps"] / shared["feedback_steps"].clamp(min=1)
        return fraction

    def step(  # type: ignore[override]
        self, closure: Callable[[], Tensor] | None = None, *, loss: Tensor | float | None = None
    ) -> Tensor | float:
        """Update the parameters.

        Args:
            closure: computes the gradients and returns the loss.
            loss: the loss of the present gradients, instead of a closure: one number, or shape (M,) for a stacked
                ensemble, whose gradients are those of the sum over its members.

        Returns:
            The loss.

        Raises:
            TrainingError: if not exactly one of the two is given, for a loss that is not finite or is below f_star, or
                a parameter without the axis of the members.  Parameters and state are then unchanged if the loss is
                checked in every step.
        """
        if (closure is None) == (loss is None):
            message = "Eve needs the loss in each step: give `step` either a closure that returns it or `loss=`."
            raise TrainingError(message)
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        value = torch.as_tensor(loss)
        with torch.no_grad():
            feedback = self._update_feedback(value.detach().to(self._first()))
            for group in self.param_groups:
                self._update_parameters(group, feedback)
        return value

    def _update_feedback(self, loss: Tensor) -> Tensor:
        shared, options = self.state[self._first()], self.defaults
        self._require_members(loss, shared.get("feedback"))
        if self._checks_every() == 1:
            self._require_valid(loss)
        # minimum propagates NaN, but not infinity.
        finite = torch.where(loss.isfinite(), loss, math.nan)
        if "feedback" not in shared:
            shared |= {"feedback": torch.ones_like(loss), "previous_loss": loss.clone(), "lowest_loss": finite}
            shared |= {"floor_steps": torch.zeros_like(loss), "feedback_steps": torch.zeros_like(loss)}
            return torch.ones_like(loss)
        previous, following = shared["previous_loss"], loss.clone()
        if options["version"] == 3:
            change, at_floor = relative_change(loss, previous, options["bound"], options["c"])
        else:
            change, following, at_floor = tracked_change(loss, previous, *options["change_limits"])
        shared["feedback"].lerp_(change, 1 - options["b3"])
        shared["previous_loss"] = following
        shared["floor_steps"] += at_floor
        shared["feedback_steps"] += 1
        shared["lowest_loss"] = torch.minimum(shared["lowest_loss"], finite)
        self._unchecked += 1
        if self._unchecked >= self._checks_every():
            self._require_valid_so_far()
        feedback: Tensor = shared["feedback"]
        return feedback

    def _update_parameters(self, group: dict[str, Any], feedback: Tensor) -> None:
        """Adam's update in the operations of torch, with the denominators multiplied by the feedback."""
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        states = [self._moments(parameter) for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        first, second, steps = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        beta1, beta2 = group["betas"]
        if group["weight_decay"]:
            decay = group["weight_decay"]
            gradients = list(torch._foreach_add(gradients, parameters, alpha=decay))  # noqa: SLF001 (as torch's own)
        torch._foreach_add_(steps, 1)
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        # The steps are counted on the host, as in torch, so that this does not wait for a GPU.
        counts = [step.item() for step in steps]
        denominators = torch._foreach_sqrt(second)  # noqa: SLF001 (as torch's own)
        torch._foreach_div_(denominators, [(1 - beta2**count) ** 0.5 for count in counts])
        torch._foreach_add_(denominators, group["eps"])
        torch._foreach_mul_(denominators, [_along_members(feedback, parameter) for parameter in parameters])
        sizes = [-group["lr"] / (1 - beta1**count) for count in counts]
        torch._foreach_addcdiv_(parameters, first, denominators, sizes)

    def _moments(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if "step" not in state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _first(self) -> Tensor:
        return self._parameters()[0]

    def _require_members(self, loss: Tensor, feedback: Tensor | None) -> None:
        shape = tuple(loss.shape)
        if len(shape) > 1 or (feedback is not None and feedback.shape != loss.shape):
            before = "" if feedback is None else f" and had {tuple(feedback.shape)} before"
            message = f"Eve takes a loss of shape () or (M,) that stays the same; it has {shape}{before}."
            raise TrainingError(message)
        for number, parameter in enumerate(self._parameters() if shape else ()):
            if parameter.shape[:1] != loss.shape:
                message = (
                    f"Eve was given the losses of {shape[0]} members, but parameter {number} has shape "
                    f"{tuple(parameter.shape)} without a first axis of that length. Stack the members' parameters "
                    "(StackedMLP), or give a loss of shape ()."
                )
                raise TrainingError(message)

    def _checks_every(self) -> int:
        chosen = self.defaults["check_every"]
        default = 1 if self._first().device.type == "cpu" else _CHECK_EVERY
        return default if chosen is None else int(chosen)

    def _require_valid_so_far(self) -> None:
        """Check the lowest loss since the start, for which the host waits for a GPU."""
        self._unchecked = 0
        if "lowest_loss" in (shared := self.state[self._first()]):
            self._require_valid(shared["lowest_loss"])

    def _require_valid(self, loss: Tensor) -> None:
        bound = self.defaults["bound"]
        valid = loss.isfinite() & (loss >= bound)
        if bool(valid.all()):
            return
        members = torch.nonzero(~valid.reshape(-1)).reshape(-1).tolist()
        value = loss.reshape(-1)[members[0]].item()
        where = f" (member {members[0]})" if loss.ndim else ""
        if not math.isfinite(value):
            message = f"Eve was given a loss that is not finite, {value}{where}. Lower the learning rate."
        elif self.defaults["version"] == 1:
            message = f"Version 1 of Eve needs a loss >= 0, found {value:g}{where}. Use version 3 with an f_star."
        else:
            message = (
                f"Eve was given a loss of {value:g}{where}, below its bound f_star = {bound:g}. Set f_star to a number "
                "that no batch can fall below (0 for the normalised losses), or use Adam where there is none."
            )
        raise TrainingError(message)


def _along_members(feedback: Tensor, parameter: Tensor) -> Tensor:
    """The feedback with the axes of a stacked parameter."""
    return feedback.reshape(-1, *[1] * (parameter.ndim - 1)) if feedback.ndim else feedback


def _require(condition: bool, needed: str, found: object) -> None:
    if not condition:
        message = f"Eve needs {needed}, found {found}."
        raise TrainingError(message)
