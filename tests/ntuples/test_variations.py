"""Settings of systematic variations."""

import pytest

from tests.conftest import DATA
from zsig_hep.analysis import Analysis
from zsig_hep.errors import AnalysisFileError, InputError
from zsig_hep.ntuples.variations import LuminosityVariation, NormalisationVariation, ShapeVariation, expand_variations


def test_names_expand_to_one_nuisance_per_process_where_they_are_uncorrelated(search):
    processes = search.analysis().processes
    expanded = expand_variations(
        {
            "lumi": LuminosityVariation(kind="luminosity", relative=0.02),
            "xs": NormalisationVariation(
                kind="normalisation", up=1.1, down=0.95, processes=["dy", "top"], correlated=False
            ),
        },
        processes,
    )
    assert {name: each.processes for name, each in expanded.items()} == {
        "lumi": ["higgs", "dy", "top"],
        "xs_dy": ["dy"],
        "xs_top": ["top"],
    }
    assert expanded["xs_dy"].factors == (1.1, 0.95)


def test_a_variation_of_an_unknown_process_is_refused(search):
    variation = ShapeVariation(kind="shape", processes=["dyy"])
    with pytest.raises(InputError, match=r"names process 'dyy', which does not exist\. Did you mean 'dy'"):
        expand_variations({"v": variation}, search.analysis().processes)


@pytest.mark.parametrize(
    ("variations", "match"),
    [
        ({"jesUp": {"kind": "shape"}}, "may not end in Up or Down"),
        ({"je s": {"kind": "shape"}}, "a name is a letter followed by"),
        ({n: {"kind": "shape"} for n in ("jes", "JES")}, "variations 'jes' and 'JES' differ in upper and lower case only"),
        ({"a": {"kind": "weight", "branch": "w", "up": "x"}}, "give one of: `branch` with the elements"),
        ({"a": {"kind": "normalisation", "relative": 0.1, "up": 1.1}}, "give either `relative`"),
        ({"a": {"kind": "scaling", "up": "x"}}, "weight"),
        ({"a": {"kind": "shape", "processes": ["data"]}}, "names process 'data', which is data"),
        ({n: {"kind": "luminosity", "relative": 0.1} for n in "ab"}, "more than one variation of kind 'luminosity'"),
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused_with_their_place(search, variations, match):
    file = search.write(variations=variations, processes={"data": DATA})
    with pytest.raises(AnalysisFileError, match=match):
        Analysis.from_file(file)
