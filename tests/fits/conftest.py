"""The evaluations that the tests of figures draw."""

from tests.presentation.conftest import evaluations, table

__all__ = ["evaluations", "table"]
