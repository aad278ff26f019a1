import json

import pytest
import torch
from safetensors.torch import save_file

from zsig_hep.errors import ModelFileError, OutputError
from zsig_hep.learning.tensor_files import read_tensors, write_tensors


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"a": torch.ones(2)}, {"n": 1})
    with pytest.raises(TypeError):
        write_tensors(path, {"a": torch.zeros(2)}, {"n": object()})
    tensors, description = read_tensors(path)
    assert tensors["a"].tolist() == [1, 1]
    assert description == {"n": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


def test_tensors_and_description_come_back_as_they_were(tmp_path):
    generator = torch.Generator().manual_seed(1)
    tensors = {
        "transposed": torch.randn(3, 2, generator=generator, dtype=torch.float64).T,
        "parameter": torch.nn.Parameter(torch.randn(4, generator=generator)),
        "flags": torch.tensor([True, False]),
        "count": torch.tensor(7),
    }
    description = {"phases": ["warm start"], "nested": {"eps": 0.05, "none": None}}
    write_tensors(tmp_path / "deep" / "state.safetensors", tensors, description)
    found, described = read_tensors(tmp_path / "deep" / "state.safetensors")
    assert described == description
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor.detach())


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*state\.safetensors"):
        write_tensors(tmp_path / "file" / "state.safetensors", {}, {})


def test_an_absent_file_says_what_to_do(tmp_path):
    with pytest.raises(ModelFileError, match=r"There is no model file .*none\.safetensors\. Train first"):
        read_tensors(tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", ["text", "truncated", "no description", "description is no JSON"])
def test_a_file_that_is_damaged_or_of_another_program_is_named(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    if damage == "text":
        path.write_text("hello")
    elif damage == "truncated":
        write_tensors(path, {"a": torch.ones(50)}, {})
        path.write_bytes(path.read_bytes()[:100])
    else:
        header = {"description": "{"} if damage.endswith("JSON") else {"format": json.dumps({})}
        save_file({"a": torch.ones(2)}, path, metadata=header)
    with pytest.raises(ModelFileError, match=r"state\.safetensors is damaged or was not written by zsig_hep"):
        read_tensors(path)
