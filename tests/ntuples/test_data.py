"""Recorded data: an event of several primary datasets counts once."""

import numpy as np
import pytest
from coffea.nanoevents import NanoAODSchema, NanoEventsFactory
from pydantic import ValidationError

from tests.ntuples.varied_search import read, with_data, write_data
from zsig_hep.errors import InputError
from zsig_hep.ntuples.chunk import triggered

MUON, ELECTRON = np.arange(0, 120), np.arange(80, 200)
"""Event numbers of two primary datasets, which share forty events."""


def fired(numbers):
    """Triggers by event number: muons below 120, electrons from 80 on, a rare one for every tenth."""
    return {"HLT_mu": numbers < 120, "HLT_e": numbers >= 80, "HLT_rare": numbers % 10 == 0}


@pytest.fixture
def datasets(search):
    """Write the two datasets, and make settings of `data` with triggers for both."""

    def settings(muon=("HLT_mu",), electron=("HLT_e",), triggers=fired):
        for name, numbers in (("muon", MUON), ("electron", ELECTRON)):
            write_data(search.folder / f"{name}.root", numbers, triggers(numbers))
        found = {
            name: {"files": [f"{name}.root"]} | ({"triggers": list(given)} if given else {})
            for name, given in (("muon", muon), ("electron", electron))
        }
        return {"processes": {"data": {"role": "data", "datasets": found}}}

    return settings


def test_the_same_event_in_two_datasets_is_refused_with_the_remedy(search, datasets, tmp_path):
    with pytest.raises(
        InputError,
        match=r"process 'data': 40 selected events of data occur more than once, for example in .*muon.root of dataset "
        r"'muon' and in .*electron.root of 'electron'. .* give each its `triggers`",
    ):
        read(search, tmp_path / "out", {}, **datasets(muon=(), electron=()))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_also_with_other_content(search, datasets, tmp_path, weight):
    settings = datasets(muon=(), electron=())
    write_data(search.folder / "electron.root", ELECTRON, shift=weight)
    with pytest.raises(InputError, match="40 selected events of data occur more than once"):
        read(search, tmp_path / "out", {}, **settings)


def test_copies_within_a_dataset_have_another_remedy(search, tmp_path):
    write_data(search.folder / "data.root", np.array([1, 2, 2, 3]))
    with pytest.raises(InputError, match=r"1 selected events .* twice in .*data.root. Remove the copies"):
        read(search, tmp_path / "out", {}, **with_data())


def test_later_datasets_leave_out_events_of_earlier_ones(search, datasets, tmp_path):
    result = read(search, tmp_path / "out", {}, **datasets())
    assert result.table.yields()["data"].entries == 200
    rows = {row.cut: row.entries for row in result.cutflows["data"]}
    assert rows == {"ntuple": 240, "triggers": 200, "selection": 200}


def test_an_event_without_a_trigger_of_its_dataset_is_left_out(search, datasets, tmp_path):
    result = read(search, tmp_path / "out", {}, **datasets(muon=("HLT_rare",)))
    # 12 of the muon dataset; of the electron dataset all but the 12 rare ones.
    assert result.table.yields()["data"].entries == 12 + 108


def test_one_of_several_triggers_is_enough(search, datasets, tmp_path):
    result = read(search, tmp_path / "out", {}, **datasets(muon=("HLT_rare", "HLT_mu")))
    # The electron dataset lacks what either fired: 40 muons, and 8 rare ones above.
    assert result.table.yields()["data"].entries == 120 + 120 - 40 - 8


def test_a_trigger_of_another_dataset_that_a_file_lacks_did_not_fire(search, datasets, tmp_path):
    settings = datasets()
    write_data(search.folder / "electron.root", np.arange(120, 200), {"HLT_e": np.ones(80, bool)})
    assert read(search, tmp_path / "out", {}, **settings).table.yields()["data"].entries == 200


def test_with_a_luminosity_mask_both_apply(search, datasets, tmp_path):
    settings = datasets()
    (search.folder / "golden.json").write_text('{"1": [[1, 1]]}')
    settings["ntuples"] = {"luminosity_mask": "golden.json"}
    rows = {row.cut: row.entries for row in read(search, tmp_path / "out", {}, **settings).cutflows["data"]}
    assert list(rows) == ["ntuple", "luminosity mask", "triggers", "selection"]
    # Odd events are in block 2.
    assert (rows["luminosity mask"], rows["triggers"]) == (120, 100)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"muon": ("HLT_muon",)},
            r"no branch 'HLT_muon'. Did you mean 'HLT_mu' or 'HLT_e'\? It is one of the triggers",
        ),
        ({"electron": ()}, r"dataset 'electron' is data without triggers, while others of 'data' have some"),
        (
            {"electron": ("HLT_mu",)},
            r"dataset 'electron' keeps no event: all of its triggers are those of datasets above",
        ),
        ({"muon": ("HLT_mu", "HLT_mu")}, r"triggers names 'HLT_mu' more than once"),
    ],
)
def test_triggers_that_cannot_be_used(search, datasets, tmp_path, changes, message):
    with pytest.raises((InputError, ValidationError), match=message):
        read(search, tmp_path / "out", {}, **datasets(**changes))


def test_simulation_has_no_triggers(search, tmp_path):
    with pytest.raises(InputError, match="dataset 'dy' is simulation, whose events are in one dataset only"):
        read(search, tmp_path / "out", {}, processes={"dy": {"datasets": {"dy": {"triggers": ["x"]}}}})


def test_a_background_from_the_same_data_has_the_same_order(search, datasets, tmp_path):
    settings = datasets()
    copied = {
        f"{name}_fake": each | {"shares_events_with": name, "sum_of_weights": "normalised", "weight": None}
        for name, each in settings["processes"]["data"]["datasets"].items()
    }
    settings["processes"]["fake"] = {"role": "background", "datasets": copied}
    table = read(search, tmp_path / "out", {}, **settings).table
    assert (table.yields()["fake"].entries, table.yields()["data"].entries) == (200, 200)
    rows = [table.process == table.process_names.index(name) for name in ("data", "fake")]
    folds = [dict(zip(table.identity[each].tolist(), table.fold[each].tolist(), strict=True)) for each in rows]
    assert folds[0] == folds[1]


@pytest.mark.filterwarnings("ignore:Missing cross-reference index")
def test_triggers_of_the_nanoaod_schema(tmp_path):
    write_data(tmp_path / "data.root", MUON, fired(MUON))
    events = NanoEventsFactory.from_root(
        {str(tmp_path / "data.root"): "Events"}, schemaclass=NanoAODSchema, mode="eager"
    ).events()
    passed = triggered(events, ["HLT_mu"], ["HLT_rare", "HLT_absent"], "here")
    assert np.array_equal(passed, MUON % 10 != 0)
