"""Real processes that are killed and interrupted."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.ntuples.conftest import write_ntuple
from zsig_hep.errors import InputError
from zsig_hep.ntuples.reading import _coffea_errors
from zsig_hep.ntuples.workers import WorkerPool

SCRIPT = """
import sys
from pathlib import Path

from tests.ntuples.conftest import two_processes
from zsig_hep.ntuples import NtupleSettings, run_columns

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        run_columns(
            NtupleSettings(columns="columns.py:columns"),
            two_processes(["b.root"]),
            base_folder=folder,
            luminosity_ifb=1.0,
            output_folder=folder / "out",
            executor=sys.argv[2],
            workers=2,
        )
    except KeyboardInterrupt:
        sys.exit("interrupted")
"""

# Tells its process and works until it is ended.
COLUMNS = """
import os
import time
from pathlib import Path


def columns(events):
    Path("FOLDER", f"{os.getpid()}.pid").touch()
    time.sleep(600)
"""

ROOT = Path(__file__).parents[2]


def is_running(process: int) -> bool:
    with suppress(OSError):
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return False


def within(seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def started(tmp_path):
    """Start a run in a process group of its own; return it and the workers that are busy."""
    groups, workers = [], []

    def start(executor):
        write_ntuple(tmp_path / "signal.root", 50)
        write_ntuple(tmp_path / "b.root", 50)
        (tmp_path / "columns.py").write_text(COLUMNS.replace("FOLDER", str(tmp_path)))
        (tmp_path / "script.py").write_text(SCRIPT)
        main = subprocess.Popen(
            [sys.executable, tmp_path / "script.py", tmp_path, executor],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        groups.append(main)
        assert within(60, lambda: len(list(tmp_path.glob("*.pid"))) == 2 or main.poll() is not None)
        workers.extend(int(path.stem) for path in tmp_path.glob("*.pid"))
        assert main.pid not in workers
        return main, workers

    yield start
    for process in [*(main.pid for main in groups), *filter(is_running, workers)]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    for main in groups:
        main.wait()
        main.stderr.close()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc"),
]


@pytest.mark.parametrize("executor", ["futures", "dask"])
def test_workers_end_when_the_main_process_is_killed(started, executor):
    main, workers = started(executor)
    main.kill()
    assert within(3, lambda: not any(map(is_running, workers)))


@pytest.mark.parametrize("executor", ["futures", "dask"])
def test_an_interrupt_of_all_processes_prints_one_line(started, executor):
    main, workers = started(executor)
    os.killpg(main.pid, signal.SIGINT)
    _, printed = main.communicate(timeout=30)
    assert printed.splitlines() == ["interrupted"]
    assert within(3, lambda: not any(map(is_running, workers)))
    assert not list((Path(main.args[2]) / "out").iterdir())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_worker_that_dies_is_an_error():
    with pytest.raises(InputError, match="a worker process died"), _coffea_errors(quiet=True), WorkerPool(1) as pool:
        pool.submit(os._exit, 1).result()
