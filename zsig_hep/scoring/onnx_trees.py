"""Boosted trees in an ONNX graph."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from zsig_hep.learning.classifier.forest import Forest
from zsig_hep.scoring.onnx_graph import TREES_DOMAIN, OnnxGraph


def forest_logits(graph: OnnxGraph, features: str, forests: Sequence[Forest]) -> str:
    """Apply the forests of M members to features, float32 of shape (N, F): logits of shape (M, N).

    The operator gives the value of the leaf of each tree, which are added in float64, as in `Forest.outputs`.
    """
    joined = Forest.join(forests)
    trees = np.repeat(np.arange(len(joined)), joined.sizes)
    nodes = np.arange(len(trees)) - np.repeat(joined.starts, joined.sizes)
    leaf = joined.is_leaf
    leaves = graph.apply(
        "TreeEnsembleRegressor",
        features,
        domain=TREES_DOMAIN,
        n_targets=len(joined),
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=trees.tolist(),
        nodes_nodeids=nodes.tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LT").tolist(),
        nodes_featureids=joined.feature.tolist(),
        nodes_values=np.where(leaf, 0, joined.value).tolist(),
        nodes_truenodeids=np.where(leaf, 0, joined.left).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, joined.right).tolist(),
        nodes_missing_value_tracks_true=joined.default_left.astype(int).tolist(),
        target_treeids=trees[leaf].tolist(),
        target_nodeids=nodes[leaf].tolist(),
        target_ids=trees[leaf].tolist(),
        target_weights=joined.value[leaf].tolist(),
    )
    values = graph.apply("Cast", leaves, to=graph.onnx.TensorProto.DOUBLE)
    owners = graph.constant(_owners(forests), np.float64)
    return graph.apply("MatMul", owners, graph.apply("Transpose", values, perm=[1, 0]))


def _owners(forests: Sequence[Forest]) -> npt.NDArray[np.float64]:
    """One where a tree is of a member, shape (M, T)."""
    member = np.repeat(np.arange(len(forests)), [len(forest) for forest in forests])
    owned: npt.NDArray[np.bool_] = member == np.arange(len(forests))[:, None]
    return owned.astype(np.float64)
