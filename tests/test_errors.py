import pytest

from zsig_hep import errors
from zsig_hep.errors import ZsigError, nearest_name


@pytest.mark.parametrize(
    ("name", "candidates", "suggestion"),
    [
        ("Muon_ptt", ["Muon_pt", "Jet_pt", "MET_phi"], " Did you mean 'Muon_pt'?"),
        ("jet_pt1", ["jet_pt2", "jet_pt3", "mass"], " Did you mean 'jet_pt3' or 'jet_pt2'?"),
        ("z", ["x", "long_name", "x"], " There are: long_name, x."),
        ("x", [], ""),
    ],
)
def test_the_nearest_names_are_suggested_or_what_there_is(name, candidates, suggestion):
    assert nearest_name(name, candidates) == suggestion
    assert nearest_name(name, iter(candidates)) == suggestion


def test_at_most_three_names_are_suggested_and_twelve_listed():
    assert nearest_name("branch_0", [f"branch_{number}" for number in range(1, 9)]).count("' or '") == 2
    twelve = [f"b{number:02}" for number in range(12)]
    assert nearest_name("zzz", twelve) == f" There are: {', '.join(twelve)}."
    assert nearest_name("zzz", [*twelve, "b12"]) == f" There are: {', '.join(twelve)}, ...."


def test_every_error_of_the_package_can_be_caught_as_one():
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(kinds) == 7
    for kind in kinds:
        with pytest.raises(ZsigError):
            raise kind
