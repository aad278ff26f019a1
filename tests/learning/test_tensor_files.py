import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from zsig_hep.errors import ModelFileError, OutputError
from zsig_hep.learning.tensor_files import read_tensors, require_finite, require_outline, write_tensors

dumps = json.dumps


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


@pytest.mark.parametrize("damage", ["text", "truncated", "no description"])
def test_a_file_that_is_damaged_or_of_another_program_is_named(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    if damage == "text":
        path.write_text("hello")
    elif damage == "truncated":
        write_tensors(path, {"a": torch.ones(50)}, {})
        path.write_bytes(path.read_bytes()[:100])
    else:
        save_file({"a": torch.ones(2)}, path, metadata={"format": json.dumps({})})
    with pytest.raises(ModelFileError, match=r"state\.safetensors is damaged or was not written by zsig_hep"):
        read_tensors(path)


def test_every_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"a": torch.tensor([1.5]), "flags": torch.tensor([True, False])}, {"é": ["x", 2]})
    content = path.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            path.write_bytes(content[:position] + bytes([content[position] ^ (1 << bit)]) + content[position + 1 :])
            with pytest.raises(ModelFileError, match=r"state\.safetensors"):
                read_tensors(path)
    path.write_bytes(content)
    assert read_tensors(path)[1] == {"é": ["x", 2]}


@pytest.mark.parametrize("changed", ["name", "dtype", "shape", "values", "description"])
def test_content_that_was_exchanged_is_refused(tmp_path, changed):
    path = tmp_path / "state.safetensors"
    write_tensors(path, {"a": torch.zeros(2, 3)}, {"n": 1})
    with safe_open(path, framework="pt") as stored:
        header = stored.metadata()
    other = {
        "name": {"b": torch.zeros(2, 3)},
        "dtype": {"a": torch.zeros(2, 3, dtype=torch.int32)},
        "shape": {"a": torch.zeros(3, 2)},
        "values": {"a": torch.ones(2, 3)},
    }
    description = {"description": '{"n": 2}'} if changed == "description" else {}
    save_file(other.get(changed, {"a": torch.zeros(2, 3)}), path, metadata=header | description)
    with pytest.raises(ModelFileError, match=r"state\.safetensors is damaged: its content does not have the digest"):
        read_tensors(path)


def test_a_file_without_a_digest_is_of_another_version(tmp_path):
    path = tmp_path / "state.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"description": "{}"})
    with pytest.raises(ModelFileError, match=r"state\.safetensors has no digest .*was written by another version"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "Expecting"), ("[1]", "no JSON object"), ("[" * 100_000, "recursion"), ("9" * 5000, "limit .* digits")],
    ids=["no JSON", "list", "depth", "digits"],
)
def test_a_description_that_python_cannot_take_is_refused(tmp_path, monkeypatch, text, reason):
    path = tmp_path / "state.safetensors"
    monkeypatch.setattr(json, "dumps", lambda content: text if content == {} else dumps(content))
    write_tensors(path, {"a": torch.ones(2)}, {})
    with pytest.raises(ModelFileError, match=rf"state\.safetensors was not written by zsig_hep .*{reason}"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "no tensor a"),
        ({"a": torch.zeros(2), "b": torch.zeros(2)}, "unknown tensor b"),
        ({"a": torch.zeros(2, dtype=torch.float64)}, r"tensor a is float64 of shape \[2\], expected float32"),
        ({"a": torch.zeros(2, 1)}, r"shape \[2, 1\], expected float32 of shape \[2\]"),
    ],
)
def test_tensors_of_another_outline_are_refused(tensors, message):
    with pytest.raises(ValueError, match=message):
        require_outline(tensors, {"a": (torch.float32, (2,))})
    require_outline({"a": torch.ones(2)}, {"a": (torch.float32, (2,))})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    require_finite({"a": torch.ones(2), "count": torch.tensor(3)})
    with pytest.raises(ValueError, match="tensor b has values that are not finite"):
        require_finite({"a": torch.ones(2), "b": torch.tensor([0.0, value])})
