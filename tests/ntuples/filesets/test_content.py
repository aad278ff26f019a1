import pytest

from zsig_hep.errors import InputError
from zsig_hep.ntuples import read_fileset
from zsig_hep.ntuples.filesets.content import (
    flag,
    group,
    listed,
    located,
    positive,
    read_content,
    read_each,
    require_distinct,
)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "f.json",
            '{"a": {"files": ["a.root"]}, "a": {"files": ["b.root"]}}',
            "f.json: 'a' occurs twice: one would be lost",
        ),
        ("f.yaml", "a: {files: [a.root]}\na: {files: [b.root]}", "f.yaml: 'a' occurs twice: one would be lost"),
        ("f.json", "{", "f.json is not valid JSON"),
        ("f.yaml", "{", "f.yaml is not valid YAML"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_fileset(tmp_path / name, {"a": "signal"})


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"fileset .*none.json cannot be read: .*No such file"):
        read_fileset(tmp_path / "none.json", {"a": "signal"})


def test_the_ending_tells_json_from_yaml_and_merged_keys_are_no_repetition(tmp_path):
    (tmp_path / "f.json").write_text('{"a": 1, "b": {"a": 2}}')
    (tmp_path / "f.yaml").write_text("one: &one {a: 1, b: 2}\ntwo: &two {c: 4}\nother: {<<: *one, <<: *two, b: 3}")
    assert read_content(tmp_path / "f.json") == {"a": 1, "b": {"a": 2}}
    assert read_content(tmp_path / "f.yaml")["other"] == {"a": 1, "b": 3, "c": 4}


def test_every_repeated_name_is_told_with_the_reason():
    require_distinct(["a", "b"])
    with pytest.raises(InputError, match=r"^'a', 'c' .*twice: its events would count twice"):
        require_distinct(["a", "b", "a", "c", "c"], "its events would count twice")


def test_problems_of_all_datasets_are_told_at_once():
    def read(name, dataset):
        raise InputError(dataset["problem"])

    with pytest.raises(InputError, match=r"^dataset 'a': one\ndataset 'b': two$"):
        read_each({"a": {"problem": "one"}, "b": {"problem": "two"}}, read)


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), ("False", False), ("true", True), ("", None), (None, "refused")]
)
def test_flags_may_be_text(value, expected):
    if expected == "refused":
        with pytest.raises(InputError, match="`isMC` is None; valid are true and false"):
            flag({"isMC": value}, "isMC")
    else:
        assert flag({"isMC": value}, "isMC") is expected
    assert flag({}, "isMC") is None


@pytest.mark.parametrize(
    ("value", "expected"), [("6077.22", 6077.22), (3, 3.0), ({"nominal": 2, "scale": 0.1}, 2.0), (None, None)]
)
def test_positive_numbers_may_be_text_or_have_uncertainties(value, expected):
    assert positive({"xsec": value}, "xsec") == expected
    assert positive({}, "xsec") is None


@pytest.mark.parametrize("value", ["0", -1.0, "inf", "nan", "tbd", [1.0], {"nominal": 0.0}])
def test_what_is_no_positive_number_is_refused(value):
    with pytest.raises(InputError, match=r"`xsec` is .*; valid is a positive number"):
        positive({"xsec": value}, "xsec")


def test_local_names_are_made_absolute_and_addresses_stay(tmp_path):
    assert located("a/b.root", tmp_path) == str(tmp_path / "a" / "b.root")
    assert located("/data/b.root", tmp_path) == "/data/b.root"
    assert located("root://eos.cern.ch//b.root", tmp_path) == "root://eos.cern.ch//b.root"
    assert located("file:///data/b.root", tmp_path) == "/data/b.root"


def test_a_group_may_be_absent_or_empty_and_nothing_else():
    assert group({"aux": {"year": 2018}}, "aux") == {"year": 2018}
    assert group({}, "aux") == group({"aux": None}, "aux") == {}
    with pytest.raises(InputError, match=r"`aux` is \[2018\]; valid is a group of keys"):
        group({"aux": [2018]}, "aux")


def test_names_are_a_list_or_one():
    assert (listed({}, "keys"), listed({"keys": "a"}, "keys"), listed({"keys": ["a", 1]}, "keys")) == (
        [],
        ["a"],
        ["a", "1"],
    )
    with pytest.raises(InputError, match="`keys` is 7; valid is a list of names"):
        listed({"keys": 7}, "keys")


def test_a_number_that_is_too_large_for_a_float():
    with pytest.raises(InputError, match="valid is a positive number"):
        positive({"xsec": 10**400}, "xsec")
