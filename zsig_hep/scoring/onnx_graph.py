"""A small writer of ONNX graphs: constants and operators by name."""

from typing import Any

import numpy as np
import numpy.typing as npt

from zsig_hep.scoring.onnx_scorer import import_onnx_extra

OPSET = 17
"""Version of the operators, of 2022; ONNX Runtime reads it from version 1.12 on."""

IR_VERSION = 8
"""Version of the file format that belongs to opset 17."""

TREES_DOMAIN = "ai.onnx.ml"
"""Domain of the operators of trees."""

_TREES_OPSET = 3


class OnnxGraph:
    """Collects the operators of a graph in the order in which they are computed."""

    def __init__(self) -> None:
        self.onnx: Any = import_onnx_extra("onnx")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: npt.ArrayLike, kind: npt.DTypeLike) -> str:
        """Store an array in the model and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values, dtype=kind), name))
        return name

    def apply(self, operator: str, *inputs: str, name: str = "", **attributes: object) -> str:
        """Apply an operator and return the name of its output."""
        output = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def serialise(
        self, inputs: dict[str, list[object]], outputs: dict[str, list[object]], about: dict[str, str]
    ) -> bytes:
        """Make the model, check it and serialise it.

        Args:
            inputs: names and shapes of float32 inputs; a text is the name of a variable length.
            outputs: names and shapes of float64 outputs.
            about: metadata.

        Returns:
            The content of the ONNX file.
        """
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        graph = helper.make_graph(
            self.nodes,
            "zsig_hep",
            [helper.make_tensor_value_info(name, kinds.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, kinds.DOUBLE, shape) for name, shape in outputs.items()],
            self.constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=self._opsets(),
            ir_version=IR_VERSION,
            producer_name="zsig_hep",
        )
        helper.set_model_props(model, about)
        self.onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString()
        return content

    def _opsets(self) -> list[Any]:
        opsets = [self.onnx.helper.make_opsetid("", OPSET)]
        if any(node.domain == TREES_DOMAIN for node in self.nodes):
            opsets.append(self.onnx.helper.make_opsetid(TREES_DOMAIN, _TREES_OPSET))
        return opsets
