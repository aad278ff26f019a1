import pytest

from zsig_hep.errors import InputError
from zsig_hep.ntuples.reading import _dask_client


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scheduler_that_does_not_answer_is_named():
    # Imported first: leaving the context would drop the defaults that distributed brings.
    pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9 .*leave --scheduler out"),
        _dask_client(1, "tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_two_local_clusters_share_a_machine():
    pytest.importorskip("distributed")
    with _dask_client(1, None) as first, _dask_client(1, None) as second:
        assert first.submit(sum, [1, 2]).result() == second.submit(sum, [2, 1]).result() == 3
