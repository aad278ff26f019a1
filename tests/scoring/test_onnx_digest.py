import hashlib

import pytest

from zsig_hep.scoring.onnx_digest import has_its_digest, with_digest
from zsig_hep.scoring.onnx_graph import OnnxGraph

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def content():
    graph = OnnxGraph()
    graph.apply("Cast", "features", to=graph.onnx.TensorProto.DOUBLE, name="score")
    return graph.serialise({"features": ["events", 2]}, {"score": ["events", 2]}, {"key": "value"})


def test_the_digest_is_one_more_property_of_the_same_model(content):
    model, plain = onnx.load_model_from_string(with_digest(content)), onnx.load_model_from_string(content)
    *others, digest = [(each.key, each.value) for each in model.metadata_props]
    assert others == [("key", "value")]
    assert digest == ("zsig_hep.sha256", hashlib.sha256(content).hexdigest())
    del model.metadata_props[-1]
    assert model == plain


def test_every_flipped_bit_and_every_lost_byte_is_found(content):
    whole = with_digest(content)
    assert has_its_digest(whole)
    for position in range(len(whole)):
        for bit in range(8):
            flipped = whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :]
            assert not has_its_digest(flipped)
        assert not has_its_digest(whole[:position])
        assert not has_its_digest(whole[:position] + whole[position + 1 :])
    assert not has_its_digest(whole + b"\0")
