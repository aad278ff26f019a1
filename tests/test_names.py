"""Names of users in files and in fits: no name leads out of its folder, and no two names share a file."""

import re
from pathlib import PurePosixPath, PureWindowsPath

import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import write_events
from zsig_hep.analysis import Analysis
from zsig_hep.names import LONGEST_SLUG, identifier, identifiers, line_problem, mapped_notes, name_problem, slug, slugs
from zsig_hep.pipeline.stages import Pipeline

HOSTILE = st.lists(st.text() | st.text("./\\aA:*~\0 ", max_size=8) | st.sampled_from(["con", "NUL.txt", "..", ""]))


@given(HOSTILE)
def test_slugs_are_file_names_of_one_folder_and_all_different(names):
    found = slugs(names)
    assert list(found) == list(dict.fromkeys(names))
    for file in found.values():
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", file)
        assert len(file) <= LONGEST_SLUG
        assert PurePosixPath(file).name == PureWindowsPath(file).name == file
        assert not PureWindowsPath(f"{file}.pdf").is_reserved()
    assert len({file.casefold() for file in found.values()}) == len(found)


@given(HOSTILE)
def test_identifiers_are_names_of_root_and_all_different(names):
    found = identifiers(names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", each) for each in found.values())
    assert len(set(found.values())) == len(set(names))


@given(st.text("abcAB09_-", min_size=1, max_size=20).map("x".__add__))
def test_a_plain_name_stays_as_it_is(name):
    assert slug(name) == slugs([name])[name] == name
    assert identifier(name.replace("-", "_")) == name.replace("-", "_")


def test_a_plain_name_stays_as_it_is_among_names_that_become_equal_to_it():
    assert slugs(["x", "X"])["x"] == "x"
    for names in (["ZZ*", "ZZ_"], ["ZZ_", "ZZ*"]):
        assert identifiers(names)["ZZ_"] == "ZZ_"
        assert re.fullmatch(r"ZZ__[0-9a-f]{8}", identifiers(names)["ZZ*"])
    assert identifiers(["ZZ*"]) == {"ZZ*": "ZZ_"}


def test_long_names_differ_in_their_files():
    first, second = slugs(["x" * 300 + "1", "x" * 300 + "2"]).values()
    assert first != second


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "may not be empty"),
        ("../../x", "path separator '/'"),
        ("a\\b", r"path separator '\\'"),
        ("a\0b", r"control character '\x00'"),
        ("a\nb", r"control character '\n'"),
        ("a\u202eb", r"control character '\u202e'"),
        ("a\ud800", r"control character '\ud800'"),
        (" a", "start or end with a blank"),
        ("x" * 201, "at most 200 characters, found 201"),
    ],
)
def test_names_that_are_refused(name, problem):
    assert problem in name_problem(name)


@pytest.mark.parametrize("name", ["dy", "ZZ*", "tt[semilep]", "H → µµ", "x" * 200, "\u200fأ\u200eb", "..", "<b>"])
def test_names_that_are_taken(name):
    assert name_problem(name) is None


def test_lines_and_notes():
    assert line_problem("a b", 3) is None
    assert line_problem("a\tb", 3) == r"may not have the control character '\t'"
    assert mapped_notes("process", {"a": "a", "b*": "b_"}, "fits") == ["process 'b*' is called 'b_' in fits"]


@pytest.mark.slow
def test_a_whole_run_with_names_that_are_no_file_names(small_search, tmp_path):
    search = small_search.copy(tmp_path / "search")
    (search.folder / "columns.py").write_text(
        "def columns(events, variation=None):\n"
        "    x = events['x'] + (0.5 if variation and variation.endswith('Up') else 0)\n"
        "    return {'x*': x, 'X*': events['y'], '$a [x]': events['y']}\n"
    )
    write_events(search.folder / "other.root", 700, 1.5, seed=9)
    signal = {"role": "signal", "datasets": {"s": {"files": ["other.root"], "cross_section_pb": 2e-3}}}
    settings = search.settings(
        processes={"H → µµ": signal, "tt[semilep]": {"role": "background"} | top_of(search)},
        variations={"jes": {"kind": "shape", "correlated": False, "processes": ["ZZ*", "tt[semilep]"]}},
        selection={"signals": "mean", "minimum_signal_efficiency": 0.7},
        export={"observable": "x*"},
        cuts={"variables": {"x*": "above", "$a [x]": "above"}, "starts": 1, "kicks": 0},
    )
    del settings["processes"]["top"]
    settings["processes"]["ZZ*"] = settings["processes"].pop("dy")
    output = tmp_path / "output"
    Pipeline(Analysis.model_validate(settings | {"folder": search.folder}), output).run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "search"]
    files = [path for path in output.rglob("*") if not path.name.startswith(".")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", path.name) for path in files)
    folders = {path.name for path in (output / "export" / "fit").iterdir()}
    assert folders == {"higgs", identifier("H → µµ")}
    with uproot.open(output / "export" / "fit" / "higgs" / "histograms.root") as file:
        assert {"ZZ_", "tt_semilep_", "ZZ__jes_ZZ_Up"} <= set(file["signal_region"].keys(cycle=False))


def top_of(search):
    return {"datasets": search.settings()["processes"]["top"]["datasets"]}
