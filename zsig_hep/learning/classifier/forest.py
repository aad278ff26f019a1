"""Regression trees as arrays, which stand for a booster of xgboost in files and in exports."""

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.errors import InputError
from zsig_hep.representation import ShortRepr

# xgboost's "no parent" of a root.
_ROOT = 2**31 - 1

# Leaves of so many events times trees are in memory together.
_LEAVES = 10_000_000

# Later versions of xgboost read this form too.
_XGBOOST_FORM = [2, 1, 0]


def import_xgboost() -> Any:
    """Import xgboost, the extra `trees`.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module("xgboost")
    except ImportError as error:
        message = (
            "Boosted trees need the extra `trees`: pip install 'zsig_hep[trees]'; on a machine without an NVIDIA GPU the "
            "much smaller package xgboost-cpu does as well."
        )
        raise InputError(message) from error


@dataclass(frozen=True, repr=False)
class Forest(ShortRepr):
    """T regression trees whose values add up to a logit, the nodes of all trees one after the other.

    An event goes from the root, the first node of a tree, to the left if its feature is below the node's value, or if
    it is missing and `default_left`; else to the right.  The logit is the sum of the values of the leaves it ends in.

    Attributes:
        sizes: number of nodes of each tree, shape (T,).
        left: left child, counted within the tree, -1 for a leaf, shape (nodes,).
        right: right child likewise.
        feature: index of the feature of a split, 0 for a leaf.
        value: threshold of a split, or value of a leaf.
        default_left: where an event without the feature goes.
        gain: decrease of the loss by a split, 0 for a leaf.
        cover: sum of the curvatures of the training events in a node.
    """

    sizes: npt.NDArray[np.int32]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    feature: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    default_left: npt.NDArray[np.bool_]
    gain: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Number of trees."""
        return len(self.sizes)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """First node of each tree, shape (T,)."""
        return np.cumsum(self.sizes, dtype=np.int64) - self.sizes

    @property
    def is_leaf(self) -> npt.NDArray[np.bool_]:
        """Which nodes are leaves, shape (nodes,)."""
        return self.left < 0

    def first(self, trees: int) -> "Forest":
        """The first trees only."""
        nodes = int(self.sizes[:trees].sum())
        arrays = {name: getattr(self, name)[:nodes] for name in NODE_ARRAYS}
        return Forest(sizes=self.sizes[:trees], **arrays)

    def split(self, counts: Sequence[int]) -> Iterator["Forest"]:
        """Forests of so many trees each, which this one was joined of."""
        ends = np.cumsum(counts)
        nodes = np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)])
        for first, last in zip(ends - counts, ends, strict=True):
            part = slice(nodes[first], nodes[last])
            arrays = {name: getattr(self, name)[part] for name in NODE_ARRAYS}
            yield Forest(sizes=self.sizes[first:last], **arrays)

    @classmethod
    def join(cls, forests: Sequence["Forest"]) -> "Forest":
        """All trees of several forests in one."""
        return cls(**{name: np.concatenate([getattr(each, name) for each in forests]) for name in ARRAYS})

    @classmethod
    def of_booster(cls, booster: Any, trees: int | None = None) -> "Forest":
        """The trees of a booster of xgboost, or the first of them.

        Raises:
            ValueError: the booster is not one of plain regression trees with numerical splits.
        """
        content = json.loads(bytes(booster.save_raw("json")))
        gradient_booster = content["learner"]["gradient_booster"]
        if gradient_booster["name"] != "gbtree":
            message = f"a booster of the kind {gradient_booster['name']!r}, expected 'gbtree'"
            raise ValueError(message)
        return cls.of_trees(gradient_booster["model"]["trees"][:trees])

    @classmethod
    def of_trees(cls, trees: Sequence[Mapping[str, Any]]) -> "Forest":
        """Trees in the form of xgboost's JSON."""
        if any(any(tree["split_type"]) or tree["tree_param"]["size_leaf_vector"] not in {"0", "1"} for tree in trees):
            message = "trees with categorical splits or several outputs"
            raise ValueError(message)

        def joined(key: str, kind: npt.DTypeLike) -> npt.NDArray[Any]:
            return np.concatenate([np.zeros(0, kind), *(np.asarray(tree[key], kind) for tree in trees)])

        return cls(
            sizes=np.array([len(tree["left_children"]) for tree in trees], dtype=np.int32),
            left=joined("left_children", np.int32),
            right=joined("right_children", np.int32),
            feature=joined("split_indices", np.int32),
            value=joined("split_conditions", np.float32),
            default_left=joined("default_left", np.bool_),
            gain=joined("loss_changes", np.float32),
            cover=joined("sum_hessian", np.float32),
        )

    def booster(self, features: int) -> Any:
        """A booster of xgboost with these trees, for events with so many features.

        Raises:
            InputError: the extra `trees` is not installed.
        """
        xgboost = import_xgboost()
        booster = xgboost.Booster({"verbosity": 0})
        booster.load_model(bytearray(json.dumps(self._document(features)).encode()))
        return booster

    def outputs(self, features: npt.NDArray[np.float32], threads: int, booster: Any = None) -> npt.NDArray[np.float64]:
        """The logits of events, the sum of the values of their leaves in float64.

        xgboost finds the leaves.  Its own sum has the rounding of float32, with which events that share all their leaves,
        as many do, would move across a cut together.

        Args:
            features: shape (N, F), NaN where missing, not infinite.
            threads: number of threads of xgboost.
            booster: result of `booster`, which is otherwise made.

        Returns:
            Shape (N,).

        Raises:
            InputError: the extra `trees` is not installed.
        """
        outputs = np.zeros(len(features))
        if not len(features):
            return outputs
        booster = booster or self.booster(features.shape[1])
        booster.set_param({"nthread": threads})
        step = max(1, _LEAVES // len(self))
        for start in range(0, len(features), step):
            block = slice(start, start + step)
            matrix = import_xgboost().DMatrix(features[block], nthread=threads)
            leaves = booster.predict(matrix, pred_leaf=True).reshape(-1, len(self)).astype(np.int64)
            outputs[block] = self.value[self.starts + leaves].sum(axis=1, dtype=np.float64)
        return outputs

    def _document(self, features: int) -> dict[str, object]:
        """The trees in the form of xgboost's JSON."""
        ends = np.cumsum(self.sizes)
        trees = [
            self._tree(index, slice(end - size, end), features)
            for index, (size, end) in enumerate(zip(self.sizes.tolist(), ends.tolist(), strict=True))
        ]
        count = len(trees)
        model = {
            "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
            "iteration_indptr": list(range(count + 1)),
            "tree_info": [0] * count,
            "trees": trees,
        }
        learner = {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {"model": model, "name": "gbtree"},
            # The base score is the probability one half, whose logit is zero.
            "learner_model_param": {
                "base_score": "5E-1",
                "boost_from_average": "0",
                "num_class": "0",
                "num_feature": str(features),
                "num_target": "1",
            },
            "objective": {"name": "binary:logistic", "reg_loss_param": {"scale_pos_weight": "1"}},
        }
        return {"learner": learner, "version": _XGBOOST_FORM}

    def _tree(self, index: int, nodes: slice, features: int) -> dict[str, object]:
        left, right = self.left[nodes], self.right[nodes]
        size, inner = len(left), np.flatnonzero(left >= 0)
        parents = np.full(size, _ROOT, dtype=np.int64)
        parents[left[inner]] = parents[right[inner]] = inner
        value = self.value[nodes]
        return {
            # Only leaves have a weight that is used.
            "base_weights": np.where(left < 0, value, 0).tolist(),
            "categories": [],
            "categories_nodes": [],
            "categories_segments": [],
            "categories_sizes": [],
            "default_left": self.default_left[nodes].astype(int).tolist(),
            "id": index,
            "left_children": left.tolist(),
            "loss_changes": self.gain[nodes].tolist(),
            "parents": parents.tolist(),
            "right_children": right.tolist(),
            "split_conditions": value.tolist(),
            "split_indices": self.feature[nodes].tolist(),
            "split_type": [0] * size,
            "sum_hessian": self.cover[nodes].tolist(),
            "tree_param": {
                "num_deleted": "0",
                "num_feature": str(features),
                "num_nodes": str(size),
                "size_leaf_vector": "1",
            },
        }

    def require_usable(self, features: int) -> None:
        """Refuse arrays that are not trees of so many features, such as those of a damaged file.

        xgboost follows the numbers of its nodes without a look, so that everything is checked before it is given them.

        Raises:
            ValueError: says what is wrong.
        """
        nodes = len(self.left)
        if (self.sizes < 1).any() or int(self.sizes.sum(dtype=np.int64)) != nodes:
            message = f"the sizes of the trees must be positive and add up to the {nodes} nodes"
            raise ValueError(message)
        for name in ("value", "gain", "cover"):
            if not np.isfinite(getattr(self, name)).all():
                message = f"the trees have a {name} that is not finite"
                raise ValueError(message)
        if ((self.feature < 0) | (self.feature >= features)).any():
            wrong = self.feature[(self.feature < 0) | (self.feature >= features)][0]
            message = f"the trees split feature {wrong} of {features}, which are counted from 0"
            raise ValueError(message)
        self._require_children()

    def _require_children(self) -> None:
        leaf = self.is_leaf
        start, end = np.repeat(self.starts, self.sizes), np.repeat(self.sizes, self.sizes)
        position = np.arange(len(leaf)) - start
        # xgboost takes -1 alone for the sign of a leaf.
        if (self.left[leaf] != -1).any() or (self.right[leaf] != -1).any():
            message = "a node of the trees without a left child has a right one, or not -1 for both"
            raise ValueError(message)
        for children in (self.left, self.right):
            # Children stand behind their parents, so that there is no circle.
            wrong = ~leaf & ((children <= position) | (children >= end))
            if wrong.any():
                message = f"a node of the trees has the child {children[wrong][0]}, which is no later node of its tree"
                raise ValueError(message)
        children = np.concatenate([(start + child)[~leaf] for child in (self.left, self.right)])
        parents = np.bincount(children, minlength=len(leaf))
        if (parents != (position > 0)).any():
            message = "a node of the trees is the child of two nodes or of none"
            raise ValueError(message)


ARRAYS = ("sizes", "left", "right", "feature", "value", "default_left", "gain", "cover")
"""Names of the arrays of a forest."""

NODE_ARRAYS = ARRAYS[1:]
"""Names of the arrays with a value for each node."""
