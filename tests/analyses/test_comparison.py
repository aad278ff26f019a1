import dataclasses
import json

import numpy as np
import pytest

from analyses.comparison import aims, methods, networks, runs, samples, tables, trees
from analyses.comparison.__main__ import main, read_rows
from analyses.comparison.searches import without_cut
from analyses.comparison.units import EFFICIENCIES
from analyses.toys import OVERLAP_3000, PAPER_CASE_1
from tests.learning.toy import make_table
from zsig_hep.analysis import Analysis
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELossSettings, EffectiveWeightsLossSettings, Judgement
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.learning.training.rounds import judge_folds
from zsig_hep.learning.training.settings import TreeSettings
from zsig_hep.selection import ScoredEvents, WorkingPointSettings

from .conftest import ROOT


@pytest.fixture
def overlap():
    return samples.ToyCase("overlap_3000", OVERLAP_3000, events=200, epochs=(1, 4), batch_sizes=(128, 128))


@pytest.fixture
def search():
    analysis = Analysis.from_file(ROOT / "analyses" / "hmumu")
    selection = WorkingPointSettings(minimum_effective_background=5)
    analysis = analysis.model_copy(
        update={
            "selection": selection,
            "training": analysis.training.model_copy(update={"missing": {}}),
        }
    )
    return samples.SearchCase("hmumu", analysis, make_table(300), {"top": 0.2}, (1, 4), (256, 256))


def likelihood_ratio(case):
    ratio = case.toy.likelihood_ratio
    return lambda features: np.stack([ratio(features.astype(np.float64))] * 2)


class TestToys:
    def test_the_likelihood_ratio_is_its_own_limit(self):
        case = samples.ToyCase("case_1", PAPER_CASE_1, events=1000)
        (unit,) = case.units((1, 2))
        limit = case.limits()["limit"]
        for row in case.judge(unit, likelihood_ratio(case)):
            np.testing.assert_allclose(row["at_efficiency"], limit[: len(EFFICIENCIES)], rtol=1e-12)
            assert row["best"] == pytest.approx(limit[-1], rel=1e-12)
            assert 0.5 < row["working_point"] / limit[-2] < 2

    def test_seeds_are_independent_data_sets_with_the_yields_of_the_toy(self, overlap):
        (unit,) = overlap.units((3, 7))
        first, second = unit.members
        sample = unit.sample
        np.testing.assert_allclose(np.bincount(sample.process, sample.weights), OVERLAP_3000.yields)
        own = np.concatenate([first.training, first.validation])
        assert sorted(own) == list(range(600))
        assert not set(own) & {*second.training, *second.validation}
        assert np.bincount(sample.process[first.validation]).tolist() == [40, 40, 40]
        (alone,) = overlap.units((7,))
        np.testing.assert_array_equal(alone.sample.features, sample.features[600:])

    def test_a_network_is_judged_on_its_own_validation_events_at_full_yields(self, overlap):
        seen = []

        def judge(score, weight, process, processes):
            assert processes is unit.sample.processes
            seen.append((score, np.bincount(process, weight)))
            return Judgement(float(score.mean()), np.ones(3), 0.5)

        (unit,) = overlap.units((1, 2))
        outputs = [np.linspace(0, 1, 120, dtype=np.float32), np.linspace(5, 9, 120, dtype=np.float32) ** 2]
        both = judge_folds(outputs, unit.members, unit.sample, judge)
        alone = [
            judge_folds([values], [member], unit.sample, judge)[0]
            for values, member in zip(outputs, unit.members, strict=True)
        ]
        assert [judgement.figure for judgement in both] == [judgement.figure for judgement in alone]
        for _, yields in seen:
            np.testing.assert_allclose(yields, OVERLAP_3000.yields)

    def test_a_cut_that_nothing_qualifies_for_has_no_working_point(self, overlap):
        (unit,) = overlap.units((1,))
        tight = dataclasses.replace(overlap)
        tight.__dict__["settings"] = overlap.settings.model_copy(update={"minimum_effective_background": 1e6})
        (row,) = tight.judge(unit, lambda features: features[None, :, 0])
        assert row["working_point"] is None


class TestSearches:
    def test_events_are_scored_by_the_network_that_never_saw_them(self, search):
        (unit,) = search.units((2,))
        fold = unit.sample.fold

        def predict(features):
            known = {tuple(row): index for index, row in enumerate(unit.sample.features)}
            index = [known[tuple(row)] for row in features]
            truth = unit.sample.is_signal[index]
            # Every network is perfect on its own test fold's events and blind elsewhere, but for calibration.
            return np.stack(
                [np.where((fold[index] == k) & truth, 1.0, -1.0) + 1e-3 * np.array(index) for k in range(5)]
            ).astype(np.float32)

        (row,) = search.judge(unit, predict)
        assert row["signal_efficiency"] > 0.9

    def test_another_seed_has_other_folds_of_the_same_events(self, search):
        one, two = search.units((1, 2))
        assert one.seeds == (1,)
        assert (one.sample.fold != two.sample.fold).mean() > 0.5
        np.testing.assert_array_equal(one.sample.features, two.sample.features)

    def test_uncertainties_replace_the_figure_only(self, search):
        assert search.settings.figure_of_merit == "asimov_with_uncertainty"
        assert search.settings.background_uncertainties == {"top": 0.2}
        assert search.settings.minimum_effective_background == 5


class TestMethods:
    def test_uncertainties_bring_the_losses_that_know_them(self, overlap):
        (unit,) = overlap.units((1,))
        with_them = methods.losses(unit.sample, unit.goal)
        certain = dataclasses.replace(unit.goal.objective, background_uncertainties={})
        without = methods.losses(unit.sample, dataclasses.replace(unit.goal, objective=certain))
        extra = set(with_them) - set(without)
        assert "effective_weights" in extra
        assert all("uncertaint" in name or "effective" in name for name in extra)
        assert list(with_them) == [name for name in methods.LABELS if name in with_them]
        # sqrt((.02 b)^2 + (.30 b)^2) / 2 b
        assert with_them["inverse_asimov"].relative_uncertainty == pytest.approx(np.hypot(0.02, 0.30) / 2)

    def test_rounds_share_the_epochs(self, overlap):
        (unit,) = overlap.units((1,))
        losses = methods.losses(unit.sample, unit.goal)
        rounds = {
            name: methods.rounds_of(losses[name], unit.goal) for name in ("bce", "z_sigmoid", "effective_weights")
        }
        assert rounds == {"bce": 1, "z_sigmoid": 4, "effective_weights": 4}
        assert methods.OPTIMIZERS["sgd"].schedule(2).stages == 2

    def test_a_training_starts_from_the_warm_start_and_is_not_worse_by_its_own_loss(self, overlap, tmp_path):
        (unit,) = overlap.units((1, 2))
        warm = networks.warm_start(overlap, "linear", unit, tmp_path)
        again = networks.warm_start(overlap, "linear", unit, tmp_path)
        assert all(bool((warm[name] == again[name]).all()) for name in warm)
        loss = methods.losses(unit.sample, unit.goal)["bce"]
        settings = overlap.training.model_copy(update={"hidden": (), "embedding": "none"})
        start = EnsembleTraining(unit.sample, settings, loss, unit.members)
        start.start_from(warm)
        before = float(start.validation_loss().mean())
        trained = networks.train_from(warm, overlap, "linear", unit, loss, methods.OPTIMIZERS["adam"], 1e-2)
        assert trained.criterion < before
        frozen = networks.train_from(warm, overlap, "linear", unit, loss, methods.OPTIMIZERS["adam"], 1e-12)
        assert frozen.criterion == pytest.approx(before, rel=1e-5)

    def test_the_step_size_is_that_of_the_best_validation_on_the_first_seed(self, overlap, tmp_path):
        (unit,) = overlap.units((1, 2))
        warm = networks.warm_start(overlap, "linear", unit, tmp_path)
        loss = methods.losses(unit.sample, unit.goal)["bce"]
        optimizer = dataclasses.replace(methods.OPTIMIZERS["adam"], learning_rates=(1e-9, 1e-2))
        step, trained = networks.choose_learning_rate(warm, overlap, "linear", unit, loss, optimizer)
        assert step == pytest.approx(1e-1)
        assert len(trained.classifier.history.best_epoch) == 1


def test_trees_with_effective_weights_keep_the_best_round(overlap):
    (unit,) = overlap.units((1,))
    figures = iter([1.0, 3.0, 2.0])
    seen = []

    def judge(_score, _weight, _process, _processes):
        return Judgement(next(figures), np.array([1.0, -1.0, -9.0]), 0.5)

    goal = dataclasses.replace(unit.goal, judge=judge)
    loss = EffectiveWeightsLossSettings(rounds=2)
    predict = trees.grow_ensemble(dataclasses.replace(unit, goal=goal), TreeSettings(depth=2), loss)
    plain = trees.grow_ensemble(unit, TreeSettings(depth=2), BCELossSettings())
    seen = [each(unit.sample.features) for each in (plain, predict)]
    assert seen[0].shape == (1, 600)
    assert not np.array_equal(*seen)
    # The second background, nine times as costly, loses against the first.
    change = (seen[1] - seen[0])[0]
    assert change[unit.sample.process == 2].mean() < change[unit.sample.process == 1].mean()


def test_from_the_command_line_to_tables_and_back(tmp_path, capsys):
    line = ["--output", str(tmp_path), "--samples", "case_1", "--seeds", "1", "2", "--workers", "1", "--reduced"]
    main([*line, "--losses", "bce", "z_sigmoid", "--models", "linear", "trees", "--optimizers", "adam"])
    printed = capsys.readouterr()
    rows = read_rows(tmp_path)
    assert {(row["model"], row["loss"], row["optimizer"], row["seed"]) for row in rows} == {
        (model, loss, optimizer, seed)
        for model, loss, optimizer in (
            ("linear", "bce", "adam"),
            ("linear", "z_sigmoid", "adam"),
            ("trees", "bce", "xgboost"),
            ("trees", "z_sigmoid", "xgboost"),
        )
        for seed in (1, 2)
    }
    assert "| Z loss, sigmoid |" in printed.out
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"sample": "overl')
    main([*line, "--losses", "bce", "z_sigmoid", "--models", "linear", "trees", "--optimizers", "adam"])
    assert "0 methods" in capsys.readouterr().err
    assert read_rows(tmp_path) == rows


def test_a_loss_that_diverges_is_a_row_with_its_reason(monkeypatch, tmp_path):
    def diverge(*_arguments):
        message = "The loss became NaN"
        raise TrainingError(message)

    monkeypatch.setattr(networks, "train_from", diverge)
    options = runs.Options(tmp_path, seeds=(1, 2), reduced=True)
    rows = runs.run_job(runs.Job("case_1", "linear", "punzi", "adam"), options)
    assert [row["seed"] for row in rows] == [1, 2]
    assert all(row["error"] == "The loss became NaN" for row in rows)
    text = tables.all_tables(rows, {})
    assert "| Punzi, soft counts | refused |" in text
    assert "- Punzi, soft counts: The loss became NaN (case_1 linear adam)" in text


def test_tables_divide_by_limits_and_pair_seeds():
    def row(loss, seed, z):
        numbers = {"at_efficiency": [z] * 6, "working_point": 2 * z, "best": 4 * z}
        return {"sample": "case_1", "model": "mlp", "loss": loss, "optimizer": "adam", "seed": seed} | numbers

    rows = [row("bce", 1, 1.0), row("bce", 2, 2.0), row("focal", 2, 2.4), row("focal", 1, 1.2)]
    results = tables.Results(json.loads(json.dumps(rows)), {"case_1": {"limit": [4.0] * 6 + [8.0, 16.0]}})
    *_, bce, focal = tables.loss_table(results, "case_1", "mlp").splitlines()
    assert bce.startswith("| weighted BCE | 0.375 ± 0.177 |")
    assert focal.endswith("| 0.450 ± 0.212 | +0.075 ± 0.025 | 0.450 ± 0.212 | +0.075 ± 0.025 |")
    assert "| focal | 0.450 ± 0.212 |" in tables.summary_table(results)
    rows[2]["working_point"] = None
    assert "| – | – |" in tables.loss_table(tables.Results(rows, {}), "case_1", "mlp")


@pytest.mark.slow
def test_the_aims_are_printed_as_fractions_of_the_limits(tmp_path, capsys):
    aims.main(["--output", str(tmp_path), "--seeds", "1", "2", "--reduced", "--tables", "linear", "limit"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "±" in line]
    fractions = [[float(cell.split("±")[0]) for cell in line.split("|")[2:-1]] for line in lines]
    assert [len(row) for row in fractions] == [6] * 6
    assert all(0 < fraction < 1.001 for row in fractions for fraction in row)


class TestWithoutACut:
    def test_a_perfect_score_has_full_area_and_a_random_one_half_of_it(self, search):
        table = search.table
        random = np.random.default_rng(1).uniform(size=len(table.weight))
        (unit,) = search.units((1,))
        found = [
            without_cut(ScoredEvents.of_table(table, score), unit.goal.objective)
            for score in (table.is_signal + random / 100, random, 0.2 * table.is_signal + 0.8 * random)
        ]
        assert found[0]["area"] == pytest.approx(1)
        assert found[1]["area"] == pytest.approx(0.5, abs=0.1)
        assert found[0]["log_loss"] < 0.1 < found[1]["log_loss"]
        assert found[2]["binned"] > found[1]["binned"]

    def test_the_table_pairs_seeds(self):
        def row(loss, seed, binned):
            numbers = {
                "at_efficiency": [1.0] * 6,
                "working_point": 1.0,
                "area": 0.95,
                "log_loss": 0.28,
                "binned": binned,
            }
            return {"sample": "hmumu", "model": "mlp", "loss": loss, "optimizer": "adam", "seed": seed} | numbers

        results = tables.Results(
            [row("bce", 1, 2.0), row("bce", 2, 3.0), row("focal", 2, 3.2), row("focal", 1, 2.1)], {}
        )
        *_, bce, focal = tables.without_cut_table(results, "hmumu", "mlp").splitlines()
        assert bce == "| weighted BCE | 280.00 ± 0.00 | 500.00 ± 0.00 | 2.50 ± 0.71 |  |"
        assert focal == "| focal | 280.00 ± 0.00 | 500.00 ± 0.00 | 2.65 ± 0.78 | +0.150 ± 0.050 |"


def test_settings_of_trees_are_those_of_the_smallest_validation_loss(overlap, monkeypatch):
    (unit,) = overlap.units((1, 2))
    monkeypatch.setattr(trees, "GRID", {"depth": (1, 4), "minimum_child_weight": (1.0, 1000.0)})
    # No split has a sum of curvatures of 1000 on each side.
    assert trees.choose_trees(unit).minimum_child_weight == 1
