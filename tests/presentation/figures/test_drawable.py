import subprocess
import sys

import pytest

from zsig_hep.presentation import color_problem, label_problem


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (r"$\foo$", r"Unknown symbol: \foo, found '$\foo$'"),
        ("$x$ and 5 $", "unpaired dollar sign"),
        (r"$\frac{1}$", "no mathematical text"),
        ("$x_$", "no mathematical text"),
        ("$" + "{" * 200 + "x" + "}" * 200 + "$", "nested too deeply"),
    ],
)
def test_labels_that_would_stop_a_figure(label, problem):
    assert problem in label_problem(label)


@pytest.mark.parametrize("label", ["Drell-Yan", r"$H \to \mu\mu$", r"5 \$", r"$t\bar{t}$ + $W$", "a_b^c", "", "ττ"])
def test_labels_that_are_drawn(label):
    assert label_problem(label) is None


def test_colors():
    assert [color_problem(color) for color in ("#3f90da", "tab:blue", "C0", "0.5", "none")] == [None] * 5
    assert "found 'bluee'. Did you mean 'blue'" in color_problem("bluee")
    assert color_problem("#12345") is not None


def test_the_package_does_not_load_matplotlib():
    code = "import sys, zsig_hep, zsig_hep.cli; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
