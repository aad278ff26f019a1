"""The Z loss in your own torch training: your Dataset, DataLoader, network and loop.

    python analyses/integration/torch_loop.py

The loss needs two things. Weights are expected events, none of them negative. Every batch stands for the whole sample, so
each process has its full yield in it (`rescale_to_process_yields`). A few epochs of weighted cross entropy come first: from
random weights, the Z loss can end in equal scores for all events.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from zsig_hep import (
    Analysis,
    BCELoss,
    EventTable,
    ScoredEvents,
    WorkingPointSettings,
    ZLoss,
    hold_out_working_point,
)
from zsig_hep.learning import rescale_to_process_yields
from zsig_hep.ntuples import run_columns

FOLDS = 3
WARM_EPOCHS, EPOCHS = 4, 8


class Events(Dataset[tuple[torch.Tensor, ...]]):
    """Your dataset: features, signal flag, expected events and process of each event."""

    def __init__(self, table: EventTable, mask: np.ndarray) -> None:
        features = np.nan_to_num(table.features[mask], nan=3.0)  # no third jet: one below the threshold, ln 20
        self.columns = (
            torch.from_numpy(features),
            torch.from_numpy(table.is_signal[mask]),
            torch.from_numpy(table.weight[mask]),
            torch.from_numpy(table.process[mask]),
        )
        self.yields = torch.bincount(self.columns[3], self.columns[2], minlength=len(table.processes))

    def __len__(self) -> int:
        """Number of events."""
        return len(self.columns[0])

    def __getitem__(self, index: list[int]) -> tuple[torch.Tensor, ...]:
        """The events of a batch."""
        return tuple(column[index] for column in self.columns)


def network(events: Events) -> torch.nn.Module:
    """Your network; the first layer standardises."""
    features = events.columns[0]
    normalise = torch.nn.BatchNorm1d(features.shape[1], affine=False, momentum=None)
    normalise(features)
    return torch.nn.Sequential(
        normalise.eval(), torch.nn.Linear(features.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
    )


def train(events: Events) -> torch.nn.Module:
    """Your loop."""
    model = network(events)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(events, sampler=BatchSampler(RandomSampler(events), 2048, drop_last=False), batch_size=None)
    for epoch in range(WARM_EPOCHS + EPOCHS):
        loss = BCELoss() if epoch < WARM_EPOCHS else ZLoss(relative_eps=0.05, error="sigmoid")
        for features, is_signal, weight, process in loader:
            expected = rescale_to_process_yields(weight, process, events.yields)
            optimizer.zero_grad()
            loss(model(features).squeeze(-1), is_signal, expected).backward()
            optimizer.step()
    return model.eval()


torch.manual_seed(1)
analysis = Analysis.from_file(Path(__file__).parents[1] / "hmumu")
with tempfile.TemporaryDirectory() as folder:
    table = run_columns(
        analysis.ntuples.model_copy(update={"folds": FOLDS}),
        analysis.processes,
        base_folder=analysis.folder,
        luminosity_ifb=analysis.luminosity_ifb,
        output_folder=Path(folder),
    ).table

scores = np.empty(len(table))
for fold in range(FOLDS):
    model = train(Events(table, table.fold != fold))
    held_out = table.fold == fold
    with torch.no_grad():
        scores[held_out] = model(Events(table, held_out).columns[0]).squeeze(-1)

point = hold_out_working_point(ScoredEvents.of_table(table, scores), WorkingPointSettings())
print(f"Z loss in a torch loop: Z = {point.significance:.2f} +- {point.significance_uncertainty:.2f}")
