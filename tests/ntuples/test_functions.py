from concurrent.futures import ThreadPoolExecutor

from zsig_hep.ntuples.functions import FileFunction

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
