import pytest

from zsig_hep.fits import fit_name_notes, fit_name_problems


def test_only_names_that_change_are_noted():
    assert fit_name_notes(["dy", "top"], ["jes"]) == []
    process, variation = fit_name_notes(["ZZ*", "dy"], ["jes_ZZ*"])
    assert process.startswith("process 'ZZ*' is called 'ZZ_' in ROOT histograms")
    assert variation.startswith("variation 'jes_ZZ*' is called 'jes_ZZ_' in ROOT histograms")


@pytest.mark.parametrize(
    ("processes", "variations", "problem"),
    [
        (["data_obs"], {}, "Two histograms would be called 'data_obs'"),
        (["dy", "dy_jesUp"], {"jes": "shape"}, "Two histograms would be called 'dy_jesUp'"),
        (["dy"], {"mu": "shape"}, "variation 'mu' has the name of the signal strength in fits"),
        (["dy"], {"r": "weight"}, "variation 'r' has the name of the signal strength of Combine in fits"),
        (["dy"], {"lumi": "normalisation"}, "variation 'lumi' has the name of the luminosity in fits"),
    ],
)
def test_names_that_fits_cannot_tell_apart(processes, variations, problem):
    (found,) = fit_name_problems(processes, variations, "mu")
    assert found.startswith(problem)


def test_names_that_fits_can_tell_apart():
    assert fit_name_problems(["dy", "ZZ*", "ZZ_"], {"lumi": "luminosity", "jes": "shape"}, "mu") == []
