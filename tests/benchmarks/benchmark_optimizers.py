"""Eve against Adam over step sizes, and graduated schedules against a constant step, on the paper's Gaussian toy.

    python tests/benchmarks/benchmark_optimizers.py

Case 2 of arXiv:2412.09500 with 2000 training events per process, a 2-16-16-1 network, weighted cross entropy, five seeds
as members of one ensemble. Step sizes are tuned on a validation sample; what is printed comes from a third one: loss of
all training events, and s / sqrt(b) at the signal efficiency 0.5, each as mean +- standard deviation over seeds.
"""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.optimisation.eve import Eve, relative_change
from zsig_hep.learning.optimisation.gradient_noise import GraduatedStage, gradient_variance, measured_stage
from zsig_hep.learning.optimisation.optimizers import (
    AdamSettings,
    EveSettings,
    OptimizerChoice,
    SGDSettings,
    step_with_loss,
)
from zsig_hep.learning.optimisation.schedules import (
    ConstantSettings,
    CosineSettings,
    EpochPlan,
    GraduatedSettings,
    ScheduleChoice,
)

CENTRES = ((4.0, 7.0), (2.0, 5.0), (2.0, 10.0))
YIELDS = (300.0, 300_000.0, 3_000.0)
SEEDS = 5
STEP_SIZES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@dataclass(frozen=True)
class Events:
    """Events of the toy; the factors make the mean over events the class-normalised cross entropy."""

    x: Tensor
    is_signal: Tensor
    weight: Tensor
    factor: Tensor

    @classmethod
    def draw(cls, per_process: int, seed: int) -> "Events":
        """Equally many events of each process."""
        generator = np.random.default_rng(seed)
        x = np.concatenate([generator.normal(centre, 1.0, (per_process, 2)) for centre in CENTRES])
        weight = torch.from_numpy(np.repeat(np.array(YIELDS) / per_process, per_process))
        is_signal = torch.arange(3 * per_process) < per_process
        totals = torch.where(is_signal, weight[is_signal].sum(), weight[~is_signal].sum())
        standard = torch.from_numpy((x - np.mean(CENTRES, axis=0)) / 2).float()
        return cls(standard, is_signal, weight, (weight / totals / 2 * len(weight)).float())


TRAINING, VALIDATION, TEST = Events.draw(2_000, 1), Events.draw(20_000, 2), Events.draw(50_000, 3)


def event_losses(scores: Tensor, events: Events, chosen: Tensor) -> Tensor:
    """Loss of each event, shape (M, n); its mean is the objective."""
    signs = events.is_signal[chosen].float() * 2 - 1
    return softplus(-signs * scores) * events.factor[chosen]


def losses_of(network: StackedMLP, events: Events, chosen: Tensor | None = None) -> Tensor:
    """Mean loss per member; `chosen` has shape (M, n) and is everything by default."""
    if chosen is None:
        chosen = torch.arange(len(events.x)).expand(SEEDS, -1)
    return event_losses(network(events.x[chosen]), events, chosen).mean(-1)


def significance(network: StackedMLP, events: Events) -> np.ndarray:
    """s / sqrt(b) per member at the signal efficiency 0.5."""
    with torch.no_grad():
        scores = network(events.x.expand(SEEDS, -1, -1))
    values = []
    for member in scores:
        accepted = member > member[events.is_signal].median()
        signal, background = (
            events.weight[accepted & chosen].sum() for chosen in (events.is_signal, ~events.is_signal)
        )
        values.append(float(signal / background.sqrt()) if bool(accepted.any()) else math.nan)
    return np.array(values)


@dataclass(frozen=True)
class Outcome:
    """What a training led to."""

    network: StackedMLP
    losses: np.ndarray
    updates: int
    optimizer: torch.optim.Optimizer
    stages: tuple[GraduatedStage, ...] = field(default=())


def batches(plan: EpochPlan, generators: Sequence[torch.Generator]) -> Tensor:
    """Batches of one epoch, shape (steps, M, b)."""
    steps = len(TRAINING.x) // plan.batch_size
    orders = [torch.randperm(len(TRAINING.x), generator=each)[: steps * plan.batch_size] for each in generators]
    return torch.stack([order.reshape(steps, plan.batch_size) for order in orders], dim=1)


def gradients(network: StackedMLP, chosen: Tensor | None = None) -> list[Tensor]:
    """Gradients of each member's loss, stacked."""
    return list(torch.autograd.grad(losses_of(network, TRAINING, chosen).sum(), list(network.parameters())))


def measured_variance(network: StackedMLP, plan: EpochPlan, seed: int, epochs: int = 1) -> Tensor:
    """C^2 per member from pairs of batches."""
    generators = [torch.Generator().manual_seed(1000 * seed + member) for member in range(SEEDS)]
    estimates = []
    for _ in range(epochs):
        drawn = batches(plan, generators)
        for one, other in zip(drawn[::2], drawn[1::2], strict=False):
            pair = gradients(network, one), gradients(network, other)
            estimates.append(gradient_variance(*pair, plan.batch_size, stacked=True))
    return torch.stack(estimates).mean(0)


def gradient_norm(network: StackedMLP) -> Tensor:
    """Norm of each member's full gradient."""
    return torch.stack([each.flatten(1).square().sum(-1) for each in gradients(network)]).sum(0).sqrt()


def train(
    optimizer: OptimizerChoice,
    schedule: ScheduleChoice,
    step_size: float,
    *,
    batch_size: int = 64,
    epochs: int = 15,
    with_stages: bool = False,
) -> Outcome:
    """Train five members from their seeds."""
    network = StackedMLP(2, [16, 16], member_seeds=range(SEEDS))
    generators = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    stepper = optimizer.build(network.parameters(), step_size, 0.0)
    plan = schedule.plan(epochs, step_size, batch_size, len(TRAINING.x))
    measured: list[tuple[Tensor, Tensor, Tensor]] = []
    updates = 0
    for number, epoch in enumerate(plan):
        for group in stepper.param_groups:
            group["lr"] = epoch.learning_rate
        for chosen in batches(epoch, generators):
            stepper.zero_grad()
            losses = losses_of(network, TRAINING, chosen)
            losses.sum().backward()
            step_with_loss(stepper, losses.detach())
            updates += 1
        if with_stages and (number + 1 == len(plan) or plan[number + 1].stage != epoch.stage):
            variance = measured_variance(network, EpochPlan(0.1, 64, 1), number)
            measured.append((variance, losses_of(network, TRAINING).detach(), gradient_norm(network)))
    momentum = optimizer.momentum if isinstance(optimizer, SGDSettings) else 0.0
    stages = tuple(
        measured_stage(plan, number, variance, loss, momentum=momentum, gradient_norm=norm)
        for number, (variance, loss, norm) in enumerate(measured, start=1)
    )
    return Outcome(network, losses_of(network, TRAINING).detach().numpy(), updates, stepper, stages)


def spread(values: np.ndarray, digits: int) -> str:
    """Mean and standard deviation over members; a network with equal scores has no significance."""
    return "collapsed" if np.isnan(values).any() else f"{values.mean():.{digits}f} +- {values.std(ddof=1):.{digits}f}"


def eve_against_adam() -> None:
    """Final losses over step sizes, with feedback and share of steps at the floor."""
    print("\n| optimiser | step | training loss | Z | feedback | at the floor |\n|---|---|---|---|---|---|")
    for settings in (AdamSettings(), EveSettings(), EveSettings(version=1)):
        for step_size in STEP_SIZES:
            done = train(settings, ConstantSettings(), step_size)
            row = f"| {settings.label} | {step_size:g} | {spread(done.losses, 4)} | "
            row += f"{spread(significance(done.network, TEST), 3)} |"
            if isinstance(done.optimizer, Eve):
                row += f" {done.optimizer.feedback.mean():.3f} | {done.optimizer.floor_fraction.mean():.2f} |"
            print(row)


def bound_far_below_the_minimum() -> None:
    """Eve with f_star = -10 beside Adam with the step times c, and the time of a step."""
    eve = train(EveSettings(f_star=-10.0, betas=(0.9, 0.999, 0.9)), ConstantSettings(), 1e-3)
    adam = train(AdamSettings(), ConstantSettings(), 1e-2)
    print(f"\nf_star = -10, step 1e-3, b3 = .9: loss {spread(eve.losses, 4)}, ", end="")
    print(f"feedback {eve.optimizer.feedback.mean():.4f}, floor {eve.optimizer.floor_fraction.mean():.3f};")
    print(f"Adam, step 1e-2: loss {spread(adam.losses, 4)}")
    times = {}
    for settings in (AdamSettings(), EveSettings()):
        network = StackedMLP(2, [48, 48], member_seeds=range(10))
        stepper = settings.build(network.parameters(), 1e-3, 0.0)
        network(torch.zeros(10, 4, 2)).square().sum().backward()
        losses = torch.ones(10)
        rounds = []
        for _ in range(300):
            start = time.perf_counter()
            step_with_loss(stepper, losses)
            rounds.append(time.perf_counter() - start)
        times[settings.name] = 1e6 * float(np.median(rounds))
    print(f"time of a step, ten 2-48-48-1 networks: Adam {times['adam']:.0f} us, Eve {times['eve']:.0f} us")


def feedback_against_its_formula() -> None:
    """Relative change of the loss at fixed parameters over 1.13 sigma / (sqrt(b) (f - f*))."""
    network = train(AdamSettings(), ConstantSettings(), 3e-3, epochs=5).network
    everything = torch.arange(len(TRAINING.x)).expand(SEEDS, -1)
    with torch.no_grad():
        of_events = event_losses(network(TRAINING.x[everything]), TRAINING, everything)
        sigma, mean = of_events.std(-1), of_events.mean(-1)
        print("\n| b | d at fixed parameters | 1.13 sigma / (sqrt(b) (f - f*)) | ratio |\n|---|---|---|---|")
        for size in (32, 128, 512, 2048):
            generator = torch.Generator().manual_seed(size)
            drawn = torch.randint(len(TRAINING.x), (400, SEEDS, size), generator=generator)
            values = torch.stack([of_events.gather(1, chosen).mean(-1) for chosen in drawn])
            change, _ = relative_change(values[1:], values[:-1], 0.0, 1e9)
            expected = 2 / math.sqrt(math.pi) * sigma / (math.sqrt(size) * mean)
            print(
                f"| {size} | {change.mean():.4f} | {expected.mean():.4f} | {(change.mean(0) / expected).mean():.3f} |"
            )
    for size in (32, 128, 512):
        done = train(EveSettings(betas=(0.9, 0.999, 0.99)), ConstantSettings(), 1e-3, batch_size=size)
        print(f"Eve in training, b = {size}: feedback {done.optimizer.feedback.mean():.3f}")


def variance_against_events() -> None:
    """C^2 from pairs of batches over the variance of the gradients of single events."""
    network = train(AdamSettings(), ConstantSettings(), 3e-3, epochs=5).network
    everything = torch.arange(len(TRAINING.x)).expand(SEEDS, -1)
    parameters = dict(network.named_parameters())

    def loss_of_one(values: dict[str, Tensor], index: Tensor) -> Tensor:
        chosen = index.expand(SEEDS, 1)
        scores = torch.func.functional_call(network, values, (TRAINING.x[chosen],))
        return event_losses(scores, TRAINING, chosen).mean(-1).sum()

    singles = torch.func.vmap(torch.func.grad(loss_of_one), in_dims=(None, 0))(parameters, everything[0])
    truth = sum(single.detach().var(0).flatten(1).sum(-1) for single in singles.values())
    print("\n| b | C^2 from 1000 pairs over C^2 from events, mean over seeds |\n|---|---|")
    for size in (16, 64, 256):
        pairs = len(TRAINING.x) // size // 2
        ratio = measured_variance(network, EpochPlan(0.1, size, 1), size, epochs=math.ceil(1000 / pairs)) / truth
        print(f"| {size} | {spread(ratio.numpy(), 3)} |")


SCHEDULES: dict[str, ScheduleChoice] = {
    "constant": ConstantSettings(),
    "cosine": CosineSettings(),
    **{mode: GraduatedSettings(mode=mode) for mode in ("lr", "batch", "hybrid", "poly")},
}


GRIDS: dict[OptimizerChoice, tuple[float, ...]] = {
    AdamSettings(): (3e-3, 1e-2, 3e-2, 1e-1),
    SGDSettings(): (3e-2, 1e-1, 3e-1, 1.0),
}


def graduated() -> None:
    """Each schedule over step sizes, started with batches of 32; a star stands at the least validation loss."""
    shown: dict[str, tuple[GraduatedStage, ...]] = {}
    for settings, grid in GRIDS.items():
        columns = " | ".join(f"{step:g}" for step in grid)
        print(f"\n| {settings.label}, Z at step | {columns} | updates |\n|---|{'---|' * len(grid)}---|")
        losses_rows = []
        for name, schedule in SCHEDULES.items():
            staged = isinstance(schedule, GraduatedSettings)
            runs = [train(settings, schedule, step, batch_size=32, epochs=10, with_stages=staged) for step in grid]
            with torch.no_grad():
                validation = [losses_of(each.network, VALIDATION).mean().item() for each in runs]
            best = int(np.argmin(validation))
            cells = [spread(significance(each.network, TEST), 3) for each in runs]
            cells[best] += " *"
            print(f"| {name} | {' | '.join(cells)} | {runs[best].updates} |")
            losses_rows.append(f"| {name} | {' | '.join(spread(each.losses, 4) for each in runs)} | |")
            if name == "hybrid":
                shown[settings.label] = runs[best].stages
        print("\n".join([f"| training loss | {columns} | |", *losses_rows]))
    for label, stages in shown.items():
        print(f"\n{label}, hybrid, tuned step:")
        print("| stage | first epoch | epochs | step | b | C | delta | loss |\n|---|---|---|---|---|---|---|---|")
        for stage in stages:
            print(f"| {' | '.join(f'{value:.4g}' for value in dataclasses.astuple(stage))} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    begun = time.perf_counter()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread")
    for part in (
        eve_against_adam,
        bound_far_below_the_minimum,
        feedback_against_its_formula,
        variance_against_events,
        graduated,
    ):
        part()
        print(f"[{time.perf_counter() - begun:.0f} s]")
