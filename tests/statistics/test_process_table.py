import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.statistics import ProcessTable

TABLE = ProcessTable.of(["data", "vbf", "dy", "ggf", "top"], ["data", "signal", "background", "signal", "background"])


def test_rows_names_and_masks_of_each_role():
    assert (TABLE.rows("signal"), TABLE.rows("background"), TABLE.rows("data")) == ([1, 3], [2, 4], [0])
    assert (TABLE.signals, TABLE.backgrounds, len(TABLE)) == (("vbf", "ggf"), ("dy", "top"), 5)
    masks = np.stack([TABLE.is_data, TABLE.is_signal, TABLE.is_background])
    np.testing.assert_array_equal(masks, np.eye(3, dtype=bool)[:, [0, 1, 2, 1, 2]])


@given(st.lists(st.sampled_from(["signal", "background", "data"]), max_size=8))
def test_without_data_every_process_is_found_at_its_new_row(roles):
    table = ProcessTable.of([f"p{row}" for row in range(len(roles))], roles)
    simulated = table.simulated
    assert "data" not in simulated.roles
    for name, role, row in zip(table.names, table.roles, table.simulated_row.tolist(), strict=True):
        assert (row == -1) is (role == "data")
        assert role == "data" or (simulated.names[row], simulated.roles[row]) == (name, role)
    assert len(simulated) == sum(role != "data" for role in roles)


def test_a_table_without_data_is_its_own():
    assert TABLE.simulated.simulated is TABLE.simulated


def test_some_processes_in_the_order_given():
    assert TABLE.select([4, 1]) == ProcessTable(("top", "vbf"), ("background", "signal"))
    assert TABLE.select(np.array([], dtype=np.int64)) == ProcessTable((), ())


@pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])
def test_sums_over_a_role(library):
    values = library([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0], [13.0, 17.0], [19.0, 23.0]])
    assert TABLE.summed(values, "signal").tolist() == [16.0, 22.0]
    assert TABLE.summed(values, "background").tolist() == [26.0, 34.0]
    assert TABLE.summed(values, "data").tolist() == [1.0, 2.0]


def test_the_row_of_a_name():
    assert [TABLE.index(name) for name in TABLE.names] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"There is no process 'tpo'\. Did you mean 'top'\?"):
        TABLE.index("tpo")


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (["signal"], "found 2 processes and 1 roles"),
        (["signal", "background_"], "'dy' has role 'background_'; roles are signal, background, data"),
    ],
)
def test_what_is_no_table_is_refused(roles, words):
    with pytest.raises(InputError, match=words):
        ProcessTable.of(["higgs", "dy"], roles)
