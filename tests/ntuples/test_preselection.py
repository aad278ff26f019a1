import numpy as np
import pytest

from tests.ntuples.conftest import event_arrays, two_processes, with_changed, write_ntuple
from zsig_hep.ntuples import NtupleSettings
from zsig_hep.ntuples.preselection import parse_preselection, preselect, preselection_branches

EVENTS = 400


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("mass >= 91 && MET_pt < 30", lambda a: (a["mass"] >= 91) & (a["MET_pt"] < 30)),
        (
            "mass>=91&&!(MET_pt<30)||pileup>1.05",
            lambda a: (a["mass"] >= 91) & (a["MET_pt"] >= 30) | (a["pileup"] > 1.05),
        ),
        ("85 < mass < 92 && mass != 0", lambda a: (a["mass"] > 85) & (a["mass"] < 92)),
        ("sqrt(MET_pt) < 5 and not (mass < 91)", lambda a: (np.sqrt(a["MET_pt"]) < 5) & (a["mass"] >= 91)),
        ("(mass > 91) & (MET_pt + 1 < 30)", lambda a: (a["mass"] > 91) & (a["MET_pt"] + 1 < 30)),
    ],
)
def test_yields_are_those_of_the_events_that_pass(run, tmp_path, text, mask):
    arrays = event_arrays(EVENTS, 2)
    write_ntuple(tmp_path / "signal.root", EVENTS, 1)
    write_ntuple(tmp_path / "b.root", arrays)
    everything = run(of=two_processes(["b.root"]), columns=["mass"])
    found = run(of=two_processes(["b.root"]), columns=["mass"], preselection=text)
    passed = mask(arrays)
    assert 0 < passed.sum() < EVENTS
    weight = arrays["genWeight"].astype("f8")
    ratio = found.table.yields()["dy"].value / everything.table.yields()["dy"].value
    assert ratio == pytest.approx(weight[passed].sum() / weight.sum(), rel=1e-9)


N = np.array([0, 2, 3, 5], "u4")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n - 3 > 0", N.astype(int) - 3 > 0),
        ("-n < 0", N > 0),
        ("n / 2 > 1", N > 2),
        ("(n > 1) + (n > 2) + (n > 4) >= 2", N > 2),
        ("!(n > 2) || n == 5", (N <= 2) | (N == 5)),
    ],
)
def test_arithmetic_is_that_of_real_numbers(text, expected):
    passed = preselect(text, {"n": N}.__getitem__, len(N), "here")
    assert passed.tolist() == expected.tolist()


@pytest.mark.parametrize("text", ["!n > 3", "not n > 3", "n > 1 && ! n > 3"])
def test_a_negation_before_a_comparison_is_refused(text):
    with pytest.raises(ValueError, match=r"which ROOT and Python read differently: write !\(...\)"):
        parse_preselection(text)


def test_rejected_events_may_have_infinite_features(run, tmp_path):
    write_ntuple(tmp_path / "signal.root", EVENTS, 1)
    write_ntuple(tmp_path / "b.root", with_changed(event_arrays(EVENTS, 2), "mass", 3, np.inf))
    run(of=two_processes(["b.root"]), columns=["mass"], preselection="mass < 1000")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("MET_pz < 3", r"no branch 'MET_pz'.*'MET_p[th]'.*ntuples\.preselection needs it"),
        ("MET_pt + 1", r"'MET_pt \+ 1' gives float.*not one boolean"),
        ("mass > 1 && MET_pt", r"cannot be computed"),
        ("Jet_pt > 30", r"branch 'Jet_pt' is not one number per event; write Jet_pt\[0\]"),
        ("Jet_pt[0] > 30", r"branch 'Jet_pt' has 0 elements"),
    ],
)
def test_expression_that_does_not_fit_the_ntuple(refused, tmp_path, text, match):
    write_ntuple(tmp_path / "b.root", 100, 2)
    refused(match, columns=["mass"], preselection=text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "cannot be parsed"),
        ("mass >", "cannot be parsed"),
        ("mass = 3", "cannot be parsed"),
        ("mass >= 2 & n < 60", "write && or"),
        ("open('x') > 1", "no comparison, function|calls 'open'"),
        ("mass.real > 1", "no comparison, function"),
        ("foo(mass) > 1", "calls 'foo'; functions are"),
        ("mass in [1, 2]", "no comparison, function"),
    ],
)
def test_malformed_expression(text, match):
    with pytest.raises(ValueError, match=match):
        NtupleSettings(columns=["mass"], preselection=text)


def test_preselection_beside_a_function():
    with pytest.raises(ValueError, match="needs columns as a list"):
        NtupleSettings(preselection="mass > 1")
    assert parse_preselection("mass > 1")
    assert preselection_branches("p[0] > 1 && log(mass) < p[0]") == ("p[0]", "mass")
