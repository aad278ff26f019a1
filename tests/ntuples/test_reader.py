import pytest

from tests.ntuples.varied_search import read, with_data
from zsig_hep.errors import InputError
from zsig_hep.ntuples.reader import chunk_reader
from zsig_hep.ntuples.variations import ShapeVariation, WeightVariation


def test_shifted_objects_need_a_function_that_takes_a_variation_and_event_identities(small_search, search, tmp_path):
    scale = {"scale": ShapeVariation(kind="shape")}
    with pytest.raises(InputError, match=r"takes no variation\. Define columns\(events, variation=None\)"):
        read(small_search, tmp_path / "a", scale)
    with pytest.raises(InputError, match="needs columns as a function"):
        read(search, tmp_path / "b", scale, ntuples={"columns": ["x", "y"]})
    with pytest.raises(InputError, match="cannot identify an event"):
        read(search, tmp_path / "c", scale, ntuples={"event_identity": "content"})


def test_a_function_of_a_variation_is_looked_for_before_anything_is_read(search):
    analysis = search.analysis()
    tilt = WeightVariation(kind="weight", function="weights.py:tlit")
    with pytest.raises(InputError, match=r"no function 'tlit'\. Did you mean 'tilt'"):
        chunk_reader(analysis.ntuples, analysis.processes, base_folder=search.folder, variations={"tilt": tilt})


def test_a_reader_has_the_weights_variations_and_masks_of_each_dataset(search):
    (search.folder / "golden.json").write_text('{"1": [[1, 3]]}')
    analysis = search.analysis(**with_data("golden.json"))
    variations = {
        "tilt": WeightVariation(kind="weight", function="weights.py:tilt", processes=["dy"]),
        "scale": ShapeVariation(kind="shape", processes=["top"]),
    }
    reader = chunk_reader(analysis.ntuples, analysis.processes, base_folder=search.folder, variations=variations)
    assert reader.weights == {"h": "genWeight", "dy": "genWeight", "tt": "genWeight", "data": None}
    assert {name: list(each) for name, each in reader.variations.items()} == {
        "h": [], "dy": ["tilt"], "tt": ["scale"], "data": [],
    }  # fmt: skip
    assert list(reader.weight_functions) == ["tilt"]
    assert reader.weight_functions["tilt"]({"x": [1.0]})[0].tolist() == [1.1]
    assert {name: mask.text for name, mask in reader.luminosity_masks.items()} == {"data": '{"1": [[1, 3]]}'}
    assert reader.event_identity == ["run", "luminosityBlock", "event"]
    assert reader.identity_names == {"h": "h", "dy": "dy", "tt": "tt", "data": "data"}
