from concurrent.futures import ThreadPoolExecutor

import pytest

from zsig_hep.errors import InputError
from zsig_hep.ntuples.functions import FileFunction, load_function

SLOW = """
import time

time.sleep(0.2)


def columns(events):
    return events
"""


def test_threads_of_a_worker_execute_a_file_once(tmp_path):
    function = FileFunction(str(tmp_path / "columns.py"), "columns", SLOW)
    with ThreadPoolExecutor(3) as threads:
        modules = list(threads.map(lambda _: function.module(), range(3)))
    assert modules[0] is modules[1] is modules[2]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("def columns(events)\n    pass\n", r"columns\.py, line 1: expected ':': def columns\(events\)"),
        ("def column(events):\n    pass\n", r"columns\.py has no function 'columns'\. Did you mean 'column'"),
        (
            "import sys\n\nsys.exit(3)\n",
            r"columns\.py, line 3 \(sys\.exit\(3\)\) called sys\.exit\(3\) when it was loaded$",
        ),
        ("import no_such_module_here\n", r"columns\.py, line 1 .* raised ModuleNotFoundError when it was loaded"),
    ],
)
def test_columns_that_cannot_be_loaded(refused, tmp_path, text, match):
    (tmp_path / "columns.py").write_text(text)
    refused(match, columns="columns.py:columns")


def test_columns_file_is_missing(refused, tmp_path):
    (tmp_path / "colums.py").write_text("")
    refused(r"columns\.py does not exist\. Did you mean 'colums\.py'", columns="columns.py:columns")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_file_that_is_interrupted_is_executed_again(tmp_path, error):
    (tmp_path / "columns.py").write_text(f"raise {error.__name__}\ndef columns(events): ...\n")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else InputError):
            load_function("columns.py:columns", tmp_path)
