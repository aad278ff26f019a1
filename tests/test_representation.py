from dataclasses import dataclass

import numpy as np
import pytest
import torch

import zsig_hep
from zsig_hep.representation import ShortRepr, html_table, short
from zsig_hep.selection import ScoredEvents


@dataclass(frozen=True, eq=False, repr=False)
class Curve(ShortRepr):
    label: str
    values: np.ndarray
    parts: dict


@pytest.fixture(name="table")
def make_table():
    return zsig_hep.EventTable.from_arrays(
        {"mass": np.linspace(1, 2, 9)},
        weight=[2.0, 1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0],
        process=["<h>"] * 3 + ["dy"] * 3 + ["data"] * 3,
        roles={"<h>": "signal", "dy": "background", "data": "data"},
        luminosity_ifb=140.0,
        folds=3,
    )


def test_arrays_are_named_by_type_and_shape_wherever_they_stand():
    curve = Curve("x", np.zeros((2, 3), dtype=np.float32), {"tensor": torch.zeros(4), "list": [np.zeros(5)]})
    assert repr(curve) == "Curve(label='x', values=float32[2, 3], parts={'tensor': float32[4], 'list': (float64[5])})"


def test_scalars_keep_their_value():
    assert short(np.float64(1.5)) == repr(np.float64(1.5))
    assert short(torch.tensor(2)) == "tensor(2)"


def test_long_collections_and_texts_are_cut():
    assert short(list(range(4))) == "(0, 1, 2, 3)"
    assert short(list(range(1000))) == "(0, 1, 2, 3, ... 1000 in all)"
    assert len(short("x" * 1000)) < 70


def test_html_escapes_what_users_name():
    page = html_table("a<b", ["x&y"], [["<script>", 1.23456, None]])
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "a&lt;b" in page
    assert "x&amp;y" in page
    assert "<td>1.235</td><td></td>" in page


def test_a_table_shows_its_yields_in_notebooks(table):
    page = table._repr_html_()
    assert "&lt;h&gt;" in page
    assert "140/fb" in page
    assert "<td>3</td><td>1.5</td><td>0.866</td>" in page


def test_scored_events_do_not_show_data(table):
    page = ScoredEvents.of_table(table, np.linspace(0, 1, 9))._repr_html_()
    assert ">dy<" in page
    assert ">data<" not in page


def test_results_of_the_selection_have_no_dump_of_arrays():
    rng = np.random.default_rng(1)
    events = ScoredEvents.from_arrays(
        rng.normal(np.repeat([1.0, 0.0], 500)), np.repeat([0.1, 1.0], 500), np.repeat([0, 1], 500),
        names=["s", "b"], roles=["signal", "background"],
    )  # fmt: skip
    evaluation = zsig_hep.evaluate_classifier("z", "Z loss", events, zsig_hep.WorkingPointSettings())
    assert len(repr(evaluation)) < 3000
    assert "array(" not in repr(evaluation)
