"""The Z loss in a Lightning module, with your data and your network.

    python analyses/integration/lightning_module.py        # pip install lightning

The loss is called in `training_step`; the yield that each process has in every batch is part of the module.
"""

import logging
import tempfile
from pathlib import Path

import lightning
import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

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


class SignificanceModule(lightning.LightningModule):
    """A network that is trained for significance after a warm start with weighted cross entropy."""

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor, yields: torch.Tensor, warm_epochs: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(len(mean), 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("yields", yields)
        self.warm_epochs = warm_epochs
        self.warm_loss, self.loss = BCELoss(), ZLoss(relative_eps=0.05, error="sigmoid")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scores, shape (n,)."""
        return self.layers((features - self.mean) / self.deviation).squeeze(-1)

    def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
        """The loss of a batch, whose processes are given their full yields first."""
        features, is_signal, weight, process = batch
        loss = self.warm_loss if self.current_epoch < self.warm_epochs else self.loss
        return loss(self(features), is_signal, rescale_to_process_yields(weight, process, self.yields))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any optimiser."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def tensors(table: EventTable, mask: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Features, signal flag, expected events and process of some events."""
    features = np.nan_to_num(table.features[mask], nan=3.0)  # no third jet: one below the threshold, ln 20
    return tuple(map(torch.from_numpy, (features, table.is_signal[mask], table.weight[mask], table.process[mask])))


def train(table: EventTable, mask: np.ndarray) -> SignificanceModule:
    """Fit a module to some events."""
    features, is_signal, weight, process = tensors(table, mask)
    yields = torch.bincount(process, weight, minlength=len(table.processes))
    module = SignificanceModule(features.mean(0), features.std(0), yields, warm_epochs=4)
    trainer = lightning.Trainer(
        max_epochs=10,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    events = TensorDataset(features, is_signal, weight, process)
    # Whole batches out of the tensors: collecting 2048 events one by one takes longer than the training.
    batches = BatchSampler(RandomSampler(events), 2048, drop_last=False)
    trainer.fit(module, DataLoader(events, sampler=batches, batch_size=None))
    return module.eval()


logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
lightning.seed_everything(1, verbose=False)
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
    module = train(table, table.fold != fold)
    with torch.no_grad():
        scores[table.fold == fold] = module(tensors(table, table.fold == fold)[0])

point = hold_out_working_point(ScoredEvents.of_table(table, scores), WorkingPointSettings())
print(f"Z loss in a Lightning module: Z = {point.significance:.2f} +- {point.significance_uncertainty:.2f}")
