import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ntuples.conftest import event_arrays, write_ntuple
from zsig_hep.errors import InputError
from zsig_hep.ntuples.identity import (
    Repetitions,
    assign_folds,
    find_repetitions,
    hash_content,
    hash_identity,
    mix,
    refuse_duplicates,
)


def test_same_events_in_two_files(refused, tmp_path):
    arrays = event_arrays(200, 5)
    write_ntuple(tmp_path / "b.root", arrays)
    write_ntuple(tmp_path / "copy.root", {name: array[150:] for name, array in arrays.items()})
    match = r"process 'dy': 50 selected events .* same identity and content.*b\.root and .*copy\.root"
    refused(match, background=["b.root", "copy.root"])
    refused(r"50 selected events", background=["b.root", "copy.root"], event_identity="content")


def test_same_events_twice_in_a_file(refused, tmp_path):
    arrays = event_arrays(200, 5)
    doubled = {name: np.concatenate([array, array]) for name, array in arrays.items() if name != "Jet_pt"}
    write_ntuple(tmp_path / "b.root", doubled)
    refused(r"200 selected events .* twice in .*b\.root")


def test_hashes_depend_on_every_column_their_order_and_the_salt():
    run, event = np.array([1, 1, 2], "u4"), np.array([7, 8, 7], "u8")
    hashes = [
        hash_identity([run, event], "dy"),
        hash_identity([event, run], "dy"),
        hash_identity([run, event], "top"),
        hash_identity([event], "dy"),
    ]
    assert len(np.unique(np.concatenate(hashes[:3]))) == 9
    assert hashes[3][0] == hashes[3][2] != hashes[3][1]
    # The type that a file stores integers in does not matter.
    np.testing.assert_array_equal(hash_identity([run.astype("i8"), event.astype("i4")], "dy"), hashes[0])


@given(st.integers(0, 2**32), st.integers(1, 7))
def test_a_changed_bit_of_any_feature_or_of_the_weight_changes_the_content(seed, columns):
    generator = np.random.default_rng(seed)
    features = [generator.normal(size=1).astype("f4") for _ in range(columns)]
    weight = generator.normal(size=1)
    original = hash_content(features, weight)
    changed = [
        hash_content([*features[:k], np.nextafter(features[k], np.float32(9)), *features[k + 1 :]], weight)
        for k in range(columns)
    ]
    changed.append(hash_content(features, np.nextafter(weight, 9)))
    assert all(each != original for each in changed)


def test_folds_are_equally_filled_and_independent_between_seeds():
    identity = mix(np.arange(60_000, dtype=np.uint64))
    first, second = (assign_folds(identity, 6, seed).astype(int) for seed in (0, 1))
    together = np.bincount(6 * first + second, minlength=36)
    assert np.abs(together - 60_000 / 36).max() < 5 * np.sqrt(60_000 / 36)


@given(st.permutations(range(8)))
def test_the_count_of_repetitions_does_not_depend_on_the_order(order):
    identity = np.array([1, 2, 3, 1, 2, 4, 1, 5], dtype=np.uint64)
    content = np.array([10, 20, 30, 10, 21, 40, 10, 50], dtype=np.uint64)
    file = np.array([0, 0, 0, 1, 1, 1, 2, 2], dtype=np.int32)
    found = find_repetitions(identity[order], content[order], file[order])
    # Event 1 twice more with its content, event 2 once more with another.
    assert found == Repetitions(other_content=1, same_content=2, expected=0.0, files=(0, 1))
    assert find_repetitions(identity[:3], content[:3], file[:3]) == Repetitions(0, 0, 0.0, None)


def test_contents_of_few_values_repeat_by_chance():
    generator = np.random.default_rng(3)
    identity = np.tile(np.arange(1000, dtype=np.uint64), 2)
    content = generator.integers(0, 4, 2000).astype(np.uint64)
    found = find_repetitions(identity, content, np.repeat([0, 1], 1000).astype(np.int32))
    assert found.expected == pytest.approx(250, rel=0.05)
    assert found.same_content == (content[:1000] == content[1000:]).sum()
    assert found.other_content == 1000 - found.same_content
    assert not found.are_duplicates


@pytest.mark.parametrize(
    ("same", "expected", "are_duplicates"), [(1, 0.0, True), (150, 100.0, False), (151, 100.0, True)]
)
def test_duplicates_are_five_standard_deviations_above_chance(same, expected, are_duplicates):
    assert Repetitions(0, same, expected, (0, 1)).are_duplicates is are_duplicates


def test_the_files_of_a_copy_are_named():
    refuse_duplicates(Repetitions(5, 0, 0.0, None), "dy", ["a.root"])
    for files, where in (((0, 1), "in both a.root and b.root"), ((1, 1), "twice in b.root")):
        with pytest.raises(InputError, match=f"process 'dy': 3 selected events.*for example {where}"):
            refuse_duplicates(Repetitions(0, 3, 0.0, files), "dy", ["a.root", "b.root"])
