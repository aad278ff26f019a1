"""Trained ratios with the calibration of the logit that they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zsig_hep.learning.classifier.model_files import Content, read_model, write_model
from zsig_hep.learning.classifier.trained_ensemble import TrainedEnsemble
from zsig_hep.learning.ratios.calibrated_logits import CalibratedLogits
from zsig_hep.learning.ratios.logit_calibration import LogitCalibration
from zsig_hep.learning.ratios.ratio_files import description_of, ratios_of_file, tensors_of
from zsig_hep.learning.ratios.train import TrainedRatios, train_ratios
from zsig_hep.learning.training.settings import TrainingSettings
from zsig_hep.learning.training.train import make_sample
from zsig_hep.ntuples.table import EventTable
from zsig_hep.ntuples.variations import Variation
from zsig_hep.representation import ShortRepr


@dataclass(frozen=True, eq=False, repr=False)
class RatioModel(ShortRepr):
    """Everything but a classifier that optimal scores are computed from.

    Attributes:
        ratios: the composition of the background and the ratios of variations.
        calibrations: of the classifier's logit, for each fold.
        configuration: training settings as JSON.
        input_hash: hash of the events of the training.
    """

    ratios: TrainedRatios
    calibrations: tuple[LogitCalibration, ...]
    configuration: Mapping[str, object]
    input_hash: str

    def logits(self, classifier: TrainedEnsemble) -> CalibratedLogits:
        """The calibrated logits of the classifier that the calibrations were fitted to."""
        return CalibratedLogits(classifier, dict(enumerate(self.calibrations)))

    def save(self, folder: Path) -> None:
        """Write `model.safetensors`, which `load` reads, and `model.json`, a copy of the description in it.

        Raises:
            OutputError: if they cannot be written.
        """
        write_model(folder, tensors_of(self.ratios, self.calibrations), self.description())

    def description(self) -> Content:
        """All fields except the tensors, as JSON."""
        return description_of(self.ratios) | {
            "folds": len(self.calibrations),
            "configuration": dict(self.configuration),
            "input_hash": self.input_hash,
        }

    @classmethod
    def load(cls, folder: Path) -> "RatioModel":
        """Read a folder that may come from anyone; no code is executed, the file holds numbers and JSON only.

        Checked are the digest of the file, everything in its description, names, types and shapes of all tensors, and that
        parameters, preprocessing and calibrations can be used.

        Raises:
            ModelFileError: if the folder has no trained ratios of this format; names the file and the reason.
        """
        return read_model(folder, lambda tensors, content: cls(*ratios_of_file(tensors, content)))


def train_ratio_model(
    table: EventTable,
    settings: TrainingSettings,
    classifier: TrainedEnsemble,
    variations: Mapping[str, Variation] | None = None,
    shapes: Mapping[str, EventTable] | None = None,
) -> RatioModel:
    """Train ratios and calibrate the logit of a classifier, so that optimal scores can be computed.

    Args:
        table: events with features, weights and folds; data are left out.
        settings: of the training of the classifier; see `train_ratios`.
        classifier: trained on the same events with the weighted cross entropy, networks or boosted trees.
        variations: expanded variations, by name.
        shapes: events under each direction of a shape variation, by varied name such as "jesUp".

    Raises:
        TrainingError: for events or settings that cannot be trained on, or a missing table of a variation.
    """
    sample = make_sample(table, settings)
    calibrated = CalibratedLogits.fit(classifier, sample)
    return RatioModel(
        train_ratios(table, settings, variations, shapes),
        tuple(calibrated.of_fold[fold] for fold in range(sample.fold_count)),
        settings.configuration_of("network"),
        sample.hash(),
    )
