"""What damaged and foreign model files, checkpoints and ONNX files lead to; a record, not a test.

Run by name: `python -m tests.benchmarks.fuzz_models --trials 200 --seed 0`; the status is 1 if an outcome was bad.

Each trial damages one file: a flipped bit, a part of the file, or a content that no program of this package writes, with a
digest of its own. The content is changed in one place, where a value becomes one that is never valid there, such as a flag for
a number, or that does not matter to scores; other valid parameters make another valid model, which no check can find.

Outcomes: "right" has the same scores, or for a checkpoint the same networks at the end of the training; "clear error" is
a ModelFileError that names the file; "silent" has other scores and no error; "traceback" is any other error.
"""

import argparse
import copy
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from tests.learning.toy import make_table
from tests.learning.trainings import PHASES, settings
from zsig_hep.errors import ModelFileError
from zsig_hep.learning import Classifier, make_sample
from zsig_hep.learning.tensor_files import read_tensors, write_tensors
from zsig_hep.learning.training.checkpoints import restore, store
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.scoring.metadata import model_metadata
from zsig_hep.scoring.onnx_digest import with_digest
from zsig_hep.scoring.onnx_export import export_onnx
from zsig_hep.scoring.onnx_scorer import OnnxScorer
from zsig_hep.selection import WorkingPointSettings, training_goal

OUTCOMES = ("right", "clear error", "silent", "traceback")
VALUES = [None, True, -3, 0.5, 10**9, 10**30, float("nan"), float("inf"), "x", "\ud800", [], {}, [[]], {"x": 1}]
SETTINGS = settings(
    embedding={"frequencies": 2, "scale": 0.1, "width": 2},
    loss={"name": "effective_weights", "rounds": 2},
    main=PHASES["main"] | {"optimizer": {"name": "eve"}, "epochs": 4},
)
GOAL = training_goal(
    WorkingPointSettings(
        figure_of_merit="asimov_with_uncertainty",
        background_uncertainties={"dy": 0.3, "top": 0.01},
        minimum_effective_background=5,
    )
)
TABLE = make_table(300, missing=True)
Damage = Callable[[Path, np.random.Generator], None]


def make_training() -> EnsembleTraining:
    return EnsembleTraining(make_sample(TABLE, SETTINGS), SETTINGS, SETTINGS.main_loss(GOAL), goal=GOAL)


class Model:
    """A model folder."""

    name, file = "model", "model.safetensors"

    def __init__(self, folder: Path, classifier: Classifier) -> None:
        self.path = folder / self.file
        classifier.save(folder)

    def result(self) -> np.ndarray:
        classifier = Classifier.load(self.path.parent)
        return np.stack([classifier.scores(TABLE.features), classifier.out_of_fold_scores(TABLE.features, TABLE.fold)])


class Checkpoint:
    """A checkpoint in the second round, for a training that then ends."""

    name, file = "checkpoint", "checkpoint.safetensors"

    def __init__(self, folder: Path, classifier: Classifier) -> None:
        self.path = folder / self.file
        training = make_training()
        while len(training.history_phase) < 9:
            training.train_epoch()
        store(training, self.path)
        self.fresh = make_training()

    def result(self) -> np.ndarray:
        # A refused checkpoint leaves the training as it was, for the next trial.
        restore(self.fresh, self.path)
        training, self.fresh = self.fresh, make_training()
        return np.concatenate([value.detach().numpy().ravel() for value in training.run().network.parameters()])


class Onnx:
    """An exported model."""

    name, file = "ONNX", "model.onnx"

    def __init__(self, folder: Path, classifier: Classifier) -> None:
        self.path = folder / self.file
        options = {"fold_seed": 3, "event_identity": ("run", "event"), "datasets": ("h", "dy")}
        export_onnx(
            classifier,
            self.path,
            model_metadata(classifier, thresholds=(0.5,) * 5, units={"x": "GeV"}, **options),
        )

    def result(self) -> np.ndarray:
        scorer = OnnxScorer(self.path)
        return np.stack([scorer.scores(TABLE.features), scorer.out_of_fold_scores(TABLE.features, TABLE.fold)])


def flip_a_bit(path: Path, generator: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[generator.integers(len(content))] ^= 1 << generator.integers(8)
    path.write_bytes(content)


def flip_a_bit_of_the_start(path: Path, generator: np.random.Generator) -> None:
    """Of the first 2 kB, which a flip anywhere rarely reaches: the header, or the operators of ONNX."""
    content = bytearray(path.read_bytes())
    content[generator.integers(2000)] ^= 1 << generator.integers(8)
    path.write_bytes(content)


def truncate(path: Path, generator: np.random.Generator) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: generator.integers(len(content))])


def change_description(path: Path, generator: np.random.Generator) -> None:
    if path.suffix == ".onnx":
        properties, content = load_onnx(path)
        description = {key: json.loads(value) for key, value in properties.items()}
        change_somewhere(description, generator)
        content = onnx.ModelProto.FromString(content)
        onnx.helper.set_model_props(content, {key: json.dumps(value) for key, value in description.items()})
        path.write_bytes(with_digest(content.SerializeToString()))
        return
    tensors, description = read_tensors(path)
    change_somewhere(description, generator)
    write_tensors(path, tensors, description)


def load_onnx(path: Path) -> tuple[dict[str, str], bytes]:
    """The properties without the digest, and the model without any."""
    model = onnx.load(path)
    properties = {each.key: each.value for each in model.metadata_props if each.key != "zsig_hep.sha256"}
    del model.metadata_props[:]
    return properties, model.SerializeToString()


def change_somewhere(description: dict[str, Any], generator: np.random.Generator) -> None:
    """Remove, replace or add one entry, each key of the description being as likely as any other."""
    top = str(generator.choice(sorted(description)))
    places = [(description, top), *places_of(description[top])]
    holder, key = places[generator.integers(len(places))]
    what = generator.integers(6)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder["other"] = VALUES[generator.integers(len(VALUES))]
    else:
        holder[key] = copy.deepcopy(VALUES[generator.integers(len(VALUES))])


def places_of(content: Any) -> Iterator[tuple[Any, Any]]:
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield content, key
        yield from places_of(value)


def change_tensors(path: Path, generator: np.random.Generator) -> None:
    if path.suffix == ".onnx":
        change_graph(path, generator)
        return
    tensors, description = read_tensors(path)
    name = str(generator.choice(sorted(tensors)))
    value = tensors[name]
    what = generator.integers(6)
    if what == 0:
        del tensors[name]
    elif what == 1:
        tensors["other"] = value.clone()
    elif what == 2:
        tensors[name] = value.to(torch.float16)
    elif what == 3:
        tensors[name] = torch.cat([value, value]) if value.ndim else value.reshape(1, 1)
    else:
        place = tuple(int(generator.integers(length)) for length in value.shape)
        value[place] = float(generator.choice([np.nan, np.inf])) if value.is_floating_point() else -5
    write_tensors(path, tensors, description)


def change_graph(path: Path, generator: np.random.Generator) -> None:
    properties, content = load_onnx(path)
    model = onnx.ModelProto.FromString(content)
    fields = [model.graph.node, model.graph.initializer, model.graph.output, model.graph.input]
    chosen = fields[generator.integers(len(fields))]
    entry = chosen[generator.integers(len(chosen))]
    if generator.integers(2) or chosen is model.graph.node:
        chosen.remove(entry)
    else:
        entry.name = "other"
    onnx.helper.set_model_props(model, properties)
    path.write_bytes(with_digest(model.SerializeToString()))


DAMAGES: dict[str, Damage] = {
    "bit": flip_a_bit,
    "bit at the start": flip_a_bit_of_the_start,
    "truncated": truncate,
    "description": change_description,
    "tensors": change_tensors,
}


def outcome_of(target: Any, expected: np.ndarray) -> tuple[str, str]:
    try:
        result = target.result()
    except ModelFileError as error:
        return ("clear error" if target.file in str(error) else "traceback"), str(error)
    except Exception as error:  # noqa: BLE001 (what this program looks for)
        return "traceback", f"{type(error).__name__}: {error}"
    return ("right" if np.array_equal(result, expected) else "silent"), ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="of each damage to each kind of file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print the message of every trial")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    bad = 0
    print(f"{'file':<12}{'damage':<18}" + "".join(f"{each:>12}" for each in OUTCOMES))
    with tempfile.TemporaryDirectory() as name:
        classifier = make_training().run()
        for kind in (Model, Checkpoint, Onnx):
            target = kind(Path(name), classifier)
            intact, expected = target.path.read_bytes(), target.result()
            for damage, apply in DAMAGES.items():
                generator = np.random.default_rng([arguments.seed, len(damage)])
                counts: Counter[str] = Counter()
                for _ in range(arguments.trials):
                    target.path.write_bytes(intact)
                    apply(target.path, generator)
                    outcome, message = outcome_of(target, expected)
                    counts[outcome] += 1
                    if arguments.show or outcome in {"silent", "traceback"}:
                        print(f"  {outcome}: {message}")
                bad += counts["silent"] + counts["traceback"]
                print(f"{kind.name:<12}{damage:<18}" + "".join(f"{counts[each]:>12}" for each in OUTCOMES), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
