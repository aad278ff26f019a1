"""Worker processes, as for the tests of ntuples."""

from tests.ntuples.conftest import pool

__all__ = ["pool"]
