import numpy as np
import pytest
import torch

from tests.learning.toy import make_table
from tests.learning.trainings import PHASES, parameters, separation, settings
from zsig_hep.errors import TrainingError
from zsig_hep.learning import BCELoss, BCELossSettings, Classifier, ZLoss, make_sample, train
from zsig_hep.learning.classifier.network import StackedMLP
from zsig_hep.learning.tensor_files import read_tensors
from zsig_hep.learning.training.ensemble import EnsembleTraining
from zsig_hep.learning.training.members import make_members
from zsig_hep.ntuples import EventTable


@pytest.mark.parametrize("loss", [{"name": "z"}, {"name": "z", "error": "sigmoid"}, {"name": "bce"}])
def test_learns_to_separate(table, loss):
    classifier = train(table, settings(loss=loss, warm_start=PHASES["warm_start"] | {"epochs": 8}))
    score = classifier.out_of_fold_scores(table.features, table.fold)
    assert ((score >= 0) & (score <= 1)).all()
    assert separation(classifier, table) > 0.75
    assert not classifier.history.collapsed.any()
    assert classifier.history.advice() == ""


def test_the_same_seed_gives_the_same_networks_and_another_seed_others(table):
    first, again, other = train(table, settings()), train(table, settings()), train(table, settings(seed=2))
    assert torch.equal(parameters(first)[0], parameters(again)[0])
    assert not torch.equal(parameters(first)[0], parameters(other)[0])


@pytest.mark.parametrize("embedding", ["none", "periodic"])
def test_the_ensemble_is_what_its_members_are_alone(table, embedding):
    together = train(table, settings(seeds=2, embedding=embedding))
    alone = train(table, settings(seeds=1, embedding=embedding))
    second = train(table, settings(seeds=1, seed=2, embedding=embedding))
    for many, one, two in zip(parameters(together), parameters(alone), parameters(second), strict=True):
        assert torch.allclose(many[0::2], one, atol=1e-5)
        assert torch.allclose(many[1::2], two, atol=1e-5)


def test_scores_do_not_depend_on_the_events_own_fold(table):
    """Shifting the features of fold 0 changes the networks of every fold but fold 0's own."""
    shifted = table.features.copy()
    shifted[table.fold == 0] += 1.0
    changed = table.select(np.ones(len(table), dtype=bool))
    object.__setattr__(changed, "features", shifted)
    first, second = train(table, settings(seeds=1)), train(changed, settings(seeds=1))
    for one, other in zip(parameters(first), parameters(second), strict=True):
        assert torch.equal(one[0], other[0])
        assert not torch.equal(one[1], other[1])


def reference_training(table, options, loss_of_phase):
    """One member of fold 0, trained by a plain loop over torch's own modules and optimiser."""
    sample = make_sample(table, options)
    run = EnsembleTraining(sample, options, options.main_loss())
    member = make_members(sample.fold, sample.fold_count, [options.seed])[0]
    fitted = run.preprocessing
    z = torch.from_numpy((sample.features - fitted.centre[0]) / fitted.scale[0])
    x = z / torch.sqrt(1 + (z / 3) ** 2)
    w, y = torch.from_numpy(sample.weights).float(), torch.from_numpy(sample.is_signal)
    network = StackedMLP(2, options.hidden, member_seeds=[member.seed], embedding=options.periodic)
    matrices = [layer.weight for layer in network.layers if hasattr(layer, "weight")]
    others = [each for each in network.parameters() if all(each is not matrix for matrix in matrices)]

    def balanced_cross_entropy(events):
        """Weights are balanced over all training events; each process is weighted by its events per event drawn."""
        training, shares = member.training, torch.zeros(len(events))
        for process in np.unique(sample.process):
            all_mine = training[sample.process[training] == process]
            mine = sample.process[events] == process
            yields = sample.yields[sample.processes.is_signal == sample.processes.is_signal[process]].sum()
            share = w[events][mine] / w[all_mine].sum() * float(sample.yields[process] / yields) / 2
            shares[mine] = share * len(all_mine) / mine.sum()
        logits = network(x[events][None])[0]
        return shares @ torch.nn.functional.binary_cross_entropy_with_logits(
            logits, y[events].float(), reduction="none"
        )

    def evaluate(loss, events):
        weights = torch.zeros(len(events))
        for process in np.unique(sample.process):
            mine = torch.from_numpy(sample.process[events] == process)
            weights[mine] = w[events][mine] * (sample.yields[process] / w[events][mine].sum()).float()
        return loss(network(x[events][None])[0], y[events], weights)

    for phase, (plan, loss) in enumerate(zip((options.warm_start, options.main), loss_of_phase, strict=True)):
        optimizer = (
            torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}])
            if phase == 0
            else torch.optim.Adam(network.parameters())
        )
        best, best_state = np.inf, None
        for epoch in range(-1, plan.epochs):
            if epoch >= 0:
                drawn = run.batches(plan.batch_size).epoch(
                    run.member_seeds, 10_000 * phase + epoch, torch.device("cpu")
                )
                first, last = (
                    plan.learning_rate * (1 + np.cos(np.pi * e / plan.epochs)) / 2 for e in (epoch, epoch + 1)
                )
                for step, events in enumerate(drawn):
                    for group in optimizer.param_groups:
                        group["lr"] = first + (last - first) * step / len(drawn)
                    optimizer.zero_grad()
                    batch = events[0].numpy()
                    (balanced_cross_entropy(batch) if phase == 0 else evaluate(loss, batch)).backward()
                    optimizer.step()
            with torch.no_grad():
                value = evaluate(loss, member.validation).item()
            if value < best:
                best, best_state = value, {k: v.clone() for k, v in network.state_dict().items()}
        network.load_state_dict(best_state)
    return network


@pytest.mark.parametrize("embedding", ["none", "periodic"])
def test_agrees_with_a_plain_training_loop(table, embedding):
    warm_start = PHASES["warm_start"] | {"optimizer": {"name": "adamw"}}
    options = settings(seeds=1, loss={"name": "z"}, embedding=embedding, warm_start=warm_start)
    classifier = train(table, options)
    reference = reference_training(table, options, (BCELoss(), ZLoss(0.05)))
    for one, other in zip(parameters(classifier), reference.parameters(), strict=True):
        assert torch.allclose(one[0], other[0].detach(), atol=2e-4)


def test_the_baseline_is_trained_in_the_same_two_phases(table):
    classifier = train(table, settings(), loss=BCELossSettings())
    assert classifier.history.phase == ("warm start",) * 3 + ("weighted BCE",) * 3
    assert classifier.configuration["loss"] == BCELossSettings().model_dump()


def test_collapse_is_detected_and_explained(table):
    loss = {"name": "z", "relative_eps": 1e-5}
    main = {"epochs": 40, "batch_size": 100_000, "learning_rate": 0.05}
    features = np.zeros_like(table.features)
    object.__setattr__(table, "features", features)
    history = train(table, settings(loss=loss, main=main)).history
    assert history.collapsed.all()
    assert "10 of 10 networks trained with the Z loss collapsed" in history.advice()
    assert "Raise relative_eps" in history.advice()


def test_validation_stops_a_training_that_no_longer_improves(table):
    main = {"epochs": 60, "batch_size": 64, "learning_rate": 0.1}
    history = train(table, settings(main=main, patience=3, loss={"name": "bce"})).history
    assert len(history.phase) < 3 + 60
    last = history.validation_loss[3:]
    for member, epoch in enumerate(history.best_epoch):
        if epoch >= 0:
            assert last[epoch, member] == last[:, member].min()


def test_missing_values_are_imputed_by_the_stored_rule(tmp_path):
    table = make_table(missing=True)
    classifier = train(table, settings(missing={"y": "median"}))
    assert classifier.preprocessing.indicated == ()
    classifier.save(tmp_path)
    loaded = Classifier.load(tmp_path)
    scores = loaded.out_of_fold_scores(table.features, table.fold)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, classifier.out_of_fold_scores(table.features, table.fold))


def test_that_a_value_is_missing_is_learnt_without_a_rule(table):
    """Features of pure noise, which are missing in background only."""
    features = np.random.default_rng(1).normal(size=table.features.shape).astype("f4")
    features[~table.is_signal & (np.arange(len(table)) % 3 > 0), 1] = np.nan
    object.__setattr__(table, "features", features)
    assert separation(train(table, settings(missing={"y": "median"}, embedding="none")), table) < 0.65
    assert separation(train(table, settings(embedding="none")), table) > 0.75


@pytest.mark.parametrize("optimizer", ["adam", "eve"])
def test_a_loss_that_is_not_finite_stops_the_training(table, tmp_path, optimizer):
    checkpoint = tmp_path / "checkpoint.safetensors"
    main = {"epochs": 3, "batch_size": 256, "learning_rate": 1e30, "optimizer": {"name": optimizer}}
    with pytest.raises(TrainingError, match=r"NaN or infinite in step . of epoch . of the phase 'weighted BCE'"):
        train(table, settings(main=main, hidden=[8, 8], loss={"name": "bce"}), checkpoint=checkpoint)
    tensors, _ = read_tensors(checkpoint)
    assert all(torch.isfinite(value).all() for name, value in tensors.items() if name.startswith("network."))


@pytest.mark.parametrize("loss", [{"name": "bce"}, {"name": "z", "relative_eps": {"start": 0.5, "stop": 0.05}}])
def test_a_last_step_that_diverges_is_found_before_it_is_kept(table, tmp_path, loss):
    main = {"epochs": 1, "batch_size": 10_000, "learning_rate": 1e30}
    with pytest.raises(TrainingError, match="NaN or infinite in step 1 of epoch 1"):
        train(table, settings(main=main, hidden=[8, 8], loss=loss), checkpoint=tmp_path / "checkpoint.safetensors")
    tensors, description = read_tensors(tmp_path / "checkpoint.safetensors")
    assert (description["phase"], description["epoch"]) == (1, 0)
    assert torch.isfinite(tensors["network.layers.0.weight"]).all()


def test_a_fold_without_signal_is_refused(table):
    kept = table.select(~table.is_signal | (table.fold != 2))
    with pytest.raises(TrainingError, match="stops the networks of fold 1 has no signal event; use fewer folds"):
        train(kept, settings())


def test_nothing_to_train_is_refused(table):
    none = {"epochs": 0, "batch_size": 1, "learning_rate": 1.0}
    with pytest.raises(TrainingError, match="nothing to train"):
        train(table, settings(warm_start=none, main=none))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_trains_to_the_same_quality(table):
    on_gpu = train(table, settings(device="cuda"))
    on_cpu = train(table, settings(device="cpu"))
    assert separation(on_gpu, table) == pytest.approx(separation(on_cpu, table), abs=0.01)


def paper_toy(case, n=2000):
    """Case 1 or 2 of arXiv:2412.09500."""
    generator = np.random.default_rng(0)
    centres = {"signal": (4.0, 7.0), "low": (2.0, 5.0), "high": (2.0, 10.0)}
    features = np.concatenate([generator.normal(centre, 1.0, (n, 2)) for centre in centres.values()])
    cross_sections_fb = {1: (0.1, 1.0, 100.0), 2: (0.1, 100.0, 1.0)}[case]
    return EventTable.from_arrays(
        {"x1": features[:, 0], "x2": features[:, 1]},
        weight=np.repeat(np.array(cross_sections_fb) * 3000 / n, n),
        process=np.repeat(list(centres), n),
        roles={"signal": "signal", "low": "background", "high": "background"},
        luminosity_ifb=3000.0,
    )


@pytest.mark.slow
def test_the_papers_eps_collapses_and_the_way_out_does_not():
    table = paper_toy(case=2)
    cold = {"epochs": 0, "batch_size": 1000, "learning_rate": 1e-2}
    main = {"epochs": 60, "batch_size": 1000, "learning_rate": 2e-2}
    eps_of_the_paper = {"name": "z", "relative_eps": 300 / 303_000}
    options = {"hidden": [], "seeds": 1, "main": main, "patience": 60}
    collapsed = train(table, settings(**options, warm_start=cold, loss=eps_of_the_paper)).history
    assert collapsed.collapsed.all()
    assert collapsed.validation_loss[-1] == pytest.approx(1, abs=0.02)
    healthy = train(table, settings(**options, loss={"name": "z", "relative_eps": 0.05})).history
    assert not healthy.collapsed.any()
    assert (healthy.validation_loss[-1] < 0.95).all()
