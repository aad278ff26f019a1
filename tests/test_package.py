import subprocess
import sys

import pytest

import zsig_hep


@pytest.mark.parametrize("name", zsig_hep.__all__)
def test_every_name_at_the_top_is_there_and_documented(name):
    assert getattr(zsig_hep, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Chain"):
        zsig_hep.Chain  # noqa: B018


def test_the_import_brings_neither_torch_nor_coffea():
    script = "import sys, zsig_hep; print(sorted({'torch', 'coffea', 'uproot', 'hist'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
