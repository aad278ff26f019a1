from fractions import Fraction

import numpy as np
import pytest

from tests.ntuples.conftest import LUMINOSITY_IFB, expected_yield
from zsig_hep.errors import InputError
from zsig_hep.ntuples.cutflow import add_cutflows, process_cutflow
from zsig_hep.ntuples.generator_sums import EventWeights, GeneratorSums
from zsig_hep.ntuples.processors import ChunkFile, ChunkRecord, WeightedCount


def test_cutflow_counts_every_stage(run, selecting_columns, tmp_path):
    result = run(columns=selecting_columns)
    rows = result.cutflows["higgs"]
    assert [row.cut for row in rows] == ["generated", "ntuple", "met", "jets"]
    assert [row.entries for row in rows[:2]] == [2900, 900]
    assert rows[0].value == pytest.approx(0.1 * LUMINOSITY_IFB * 1000.0)
    every = expected_yield(tmp_path, ["signal.root"], 0.1, 3000.0, lambda arrays: slice(None))
    assert (rows[1].value, rows[1].uncertainty) == pytest.approx((every[0], np.sqrt(every[1])), rel=1e-9)
    last = result.table.yields()["higgs"]
    assert (rows[3].entries, rows[3].value) == (last.entries, pytest.approx(last.value, rel=1e-9))
    assert rows[3].uncertainty == pytest.approx(last.uncertainty, rel=1e-9)


def test_dataset_without_a_cut_passes_it(run, tmp_path):
    (tmp_path / "columns.py").write_text(
        "from coffea.analysis_tools import PackedSelection\n"
        "def columns(events):\n"
        "    cuts = PackedSelection()\n"
        "    if events.metadata['dataset'] == 'dy_1':\n"
        "        cuts.add('stitching', events['MET_pt'] < 40)\n"
        "    cuts.add('mass', events['mass'] > 90)\n"
        "    return {'mass': events['mass'][cuts.all()]}, cuts\n"
    )
    result = run(columns="columns.py:columns")
    rows = result.cutflows["dy"]
    assert [row.cut for row in rows] == ["generated", "ntuple", "stitching", "mass"]
    assert rows[3].value == pytest.approx(result.table.yields()["dy"].value, rel=1e-9)
    assert rows[1].entries > rows[2].entries > rows[3].entries


def count(entries, weight):
    return WeightedCount(entries, Fraction(weight) * entries, Fraction(weight) ** 2 * entries)


def test_a_new_cut_stands_behind_the_one_it_follows_and_others_pass_it_whole():
    first = {"ntuple": count(10, 1), "stitching": count(8, 1), "mass": count(4, 1)}
    second = {"ntuple": count(100, 2), "trigger": count(80, 2), "mass": count(60, 2), "veto": count(50, 2)}
    rows = process_cutflow([(first, 3.0), (second, 0.5)], [None, None])
    assert [(row.cut, row.entries, row.value) for row in rows] == [
        ("ntuple", 110, 10 * 3.0 + 200 * 0.5),
        ("trigger", 90, 10 * 3.0 + 160 * 0.5),
        ("stitching", 88, 8 * 3.0 + 160 * 0.5),
        ("mass", 64, 4 * 3.0 + 120 * 0.5),
        ("veto", 54, 4 * 3.0 + 100 * 0.5),
    ]
    assert rows[3].uncertainty == pytest.approx(np.sqrt(4 * 3.0**2 + 60 * (2 * 0.5) ** 2), rel=1e-15)


def test_all_generated_events_come_first_where_they_are_known_for_every_dataset():
    flows = [({"ntuple": count(10, 1)}, 2.0), ({"ntuple": count(5, 1)}, 1.0)]
    known, without_squares = GeneratorSums(Fraction(40), Fraction(80), 30), GeneratorSums(Fraction(40), None, 30)
    generated, ntuple = process_cutflow(flows, [known, known])
    assert (generated.cut, generated.entries, generated.value) == ("generated", 60, 120.0)
    assert generated.uncertainty == pytest.approx(np.sqrt(80 * 4 + 80))
    assert (ntuple.entries, ntuple.value) == (15, 25.0)
    for unknown in (None, without_squares):
        assert [row.cut for row in process_cutflow(flows, [known, unknown])] == ["ntuple"]


def record(*cutflow):
    return ChunkRecord(ChunkFile(None, 0, ()), EventWeights.of_unweighted(1), cutflow=cutflow)


def test_chunks_add_up_and_have_to_apply_the_same_cuts():
    one, other = (
        record(("ntuple", count(3, 1)), ("mass", count(1, 1))),
        record(("ntuple", count(4, 1)), ("mass", count(2, 1))),
    )
    assert add_cutflows("dy", [one, other]) == {"ntuple": count(7, 1), "mass": count(3, 1)}
    with pytest.raises(
        InputError, match=r"applies cuts \['ntuple', 'mass'\] to one chunk of dataset 'dy' and \['ntuple'\]"
    ):
        add_cutflows("dy", [one, record(("ntuple", count(4, 1)))])
