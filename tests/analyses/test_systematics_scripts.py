"""The scripts behind the numbers of analyses/hmumu_systematics, shortened."""

import numpy as np
import pytest

from analyses.hmumu_systematics import penalty, seeds
from zsig_hep.pipeline.stages import Chain

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_a_seed_changes_folds_and_networks_but_no_event(tmp_path):
    first, second = seeds.seeded(1), seeds.seeded(2)
    assert first.training.seed != second.training.seed
    chains = [Chain(each, tmp_path / str(number)) for number, each in enumerate((first, second))]
    for chain in chains:
        chain.columns()
    np.testing.assert_array_equal(chains[0].table.identity, chains[1].table.identity)
    assert (chains[0].table.fold != chains[1].table.fold).mean() > 0.7


def test_a_strong_penalty_holds_the_outputs_of_shifted_events_together(tmp_path):
    chain = Chain(seeds.seeded(1), tmp_path / "out")
    chain.columns()
    table, shapes = chain.results.table, chain.results.shapes
    moved = []
    for strength in (0.0, 1000.0):
        nominal, up, _ = penalty.scored(table, shapes, strength, seed=1, steps=15)
        background = np.flatnonzero(table.is_background)
        _, i, j = np.intersect1d(table.identity[background], shapes["jesUp"].identity, return_indices=True)
        moved.append(np.abs(nominal[background][i] - up[j]).mean())
        assert np.isfinite(penalty.significance(chain, strength, 1, 15))
    assert moved[1] < 0.5 * moved[0]
