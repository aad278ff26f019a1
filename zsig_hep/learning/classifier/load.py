"""Loading of a trained classifier of any kind."""

from pathlib import Path

from torch import Tensor

from zsig_hep.learning.classifier.boosted_trees import BoostedTrees, trees_of_file
from zsig_hep.learning.classifier.classifier import Classifier, networks_of_file
from zsig_hep.learning.classifier.model_files import Content, read_model


def load_classifier(folder: Path) -> Classifier | BoostedTrees:
    """Read the folder of a classifier, networks or boosted trees, which may come from anyone.

    Args:
        folder: written by `Classifier.save` or `BoostedTrees.save`.

    Raises:
        ModelFileError: if the folder has no model of this format; names the file and the reason.
    """
    return read_model(folder, _classifier_of_file)


def _classifier_of_file(tensors: dict[str, Tensor], content: Content) -> Classifier | BoostedTrees:
    make = trees_of_file if content.get("classifier") == "boosted_trees" else networks_of_file
    return make(tensors, content)
