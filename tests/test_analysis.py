"""The analysis file: everything that is wrong is said at once, with its place, its line and what would be valid."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tests.array_search import TRAINING, make_table
from zsig_hep.analysis import Analysis
from zsig_hep.errors import AnalysisFileError
from zsig_hep.learning import BCELossSettings
from zsig_hep.ntuples import Dataset, NtupleSettings, Process

BASE = """\
title: Small search
luminosity_ifb: 100
ntuples:
  columns: [x, y]
processes:
  higgs: {role: signal, datasets: {h: {files: [signal.root], cross_section_pb: 1e-3}}}
  dy: {role: background, datasets: {dy: {files: [dy.root], cross_section_pb: 0.1}}}
"""

SOURCES = "should be 'runs', 'events', 'normalised', or a group with `value`, `tree`, `histogram` or `weights_at_luminosity_ifb`"

PROCESSES = {
    "higgs": Process(role="signal", datasets={"h": Dataset(files=["signal.root"], cross_section_pb=1e-3)}),
    "dy": Process(role="background", datasets={"dy": Dataset(files=["dy.root"], cross_section_pb=0.1)}),
}


@pytest.fixture
def problems(tmp_path):
    """Problems that reading a text reports, one per line."""

    def read(text: str | bytes) -> list[str]:
        file = tmp_path / "analysis.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(AnalysisFileError) as caught:
            Analysis.from_file(tmp_path)
        first, *lines = str(caught.value).splitlines()
        count = re.fullmatch(rf"{re.escape(str(file))} has (\d+) problems?:", first)
        if not count:
            return [str(caught.value)]
        assert int(count[1]) == len(lines)
        return [line.removeprefix("  - ") for line in lines]

    return read


def test_a_file_and_its_folder_give_the_same_analysis(tmp_path):
    (tmp_path / "analysis.yaml").write_text(BASE)
    analysis = Analysis.from_file(tmp_path)
    assert analysis == Analysis.from_file(tmp_path / "analysis.yaml") == Analysis.from_file(str(tmp_path))
    assert analysis.folder == tmp_path.resolve()
    assert analysis.processes["higgs"].datasets["h"].cross_section_pb == 1e-3


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("hmumu", "hmumu"),
        ("H to mumu, 2024", "H-to-mumu-2024"),
        ("_x", "x"),
        ("µ", "analysis"),
        ("con", "con-1143da2b"),
    ],
)
def test_the_name_is_that_of_the_folder_made_fit_for_one(tmp_path, folder, name):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "analysis.yaml").write_text(BASE)
    assert Analysis.from_file(tmp_path / folder).name == name


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_file(problems):
    text = """\
titl: Small search
luminosity_fb: 100
folder: /tmp
sqrt_s_tev: a lot
ntuples: {fold: 3, weight: {sign: genWeight}, sum_of_weights: run, shcema: base}
processes:
  higgs: {rol: signal, datasets: {h: {files: [signal.root], cross_section: 0.001}}}
  dy: {role: backgroundd, datasets: {dy: {files: dy.root, cross_section_pb: -0.1}}}
  top: {role: background, datasets: {tt: {files: [top.root], cross_section_pb: 1, kfactor: 1}, tt: {}}}
"""
    assert problems(text) == [
        "title: missing",
        "luminosity_ifb: missing",
        "titl (line 1): unknown key. Did you mean 'title'?",
        "luminosity_fb (line 2): unknown key. Did you mean 'luminosity_ifb'?",
        "folder (line 3): unknown key; the folder of the ntuples is ntuples.folder",
        "sqrt_s_tev (line 4): should be a number, found 'a lot'",
        "ntuples.weight.sign_of (line 5): missing",
        "ntuples.weight.sign (line 5): unknown key. Did you mean 'sign_of'?",
        f"ntuples.sum_of_weights (line 5): {SOURCES}, found 'run'",
        "ntuples.fold (line 5): unknown key. Did you mean 'folds' or 'folder' or 'fold_seed'?",
        "ntuples.shcema (line 5): unknown key. Did you mean 'schema'?",
        "processes.higgs.role (line 7): missing",
        "processes.higgs.datasets.h.cross_section (line 7): unknown key. Did you mean 'cross_section_pb'?",
        "processes.higgs.rol (line 7): unknown key. Did you mean 'role'?",
        "processes.dy.role (line 8): should be 'signal', 'background' or 'data', found 'backgroundd'",
        "processes.dy.datasets.dy.files (line 8): should be a list, found 'dy.root'",
        "processes.dy.datasets.dy.cross_section_pb (line 8): should be greater than or equal to 1e-18, found -0.1",
        "processes.top.datasets.tt (line 9): occurs twice",
        "processes.top.datasets.tt.files (line 9): missing",
    ]


def test_problems_of_training_and_selection_are_said_at_once(problems):
    text = """\
training:
  loss: {name: z, error: hing, relative_epsilon: 0.05}
  hidden: [8, none]
  missing: {x: meen}
  warm_start: {epochs: 2, batchsize: 512, learning_rate: 0}
selection: {minimum_efective_background: 5, figure_of_merit: asimovv}
presentation: {experiment: LHCb}
"""
    assert problems(BASE + text) == [
        "training.loss.error (line 9): should be 'hinge', 'sigmoid', 'cross_entropy' or 'focal', found 'hing'",
        "training.loss.relative_epsilon (line 9): unknown key. Did you mean 'relative_eps'?",
        "training.hidden.1 (line 10): should be a whole number, found 'none'",
        "training.missing.x (line 11): should be 'mean' or 'median' or a number, found 'meen'",
        "training.warm_start.learning_rate (line 12): should be greater than or equal to 1e-12, found 0",
        "training.warm_start.batchsize (line 12): unknown key. Did you mean 'batch_size'?",
        (
            "selection.figure_of_merit (line 13): should be 's_over_sqrt_b', 's_over_sqrt_b_with_uncertainty', "
            "'asimov', 'asimov_with_uncertainty', 'ams', 'punzi', 'poisson' or 'poisson_with_uncertainty', found 'asimovv'"
        ),
        "selection.minimum_efective_background (line 13): unknown key. Did you mean 'minimum_effective_background'?",
        "presentation.experiment (line 14): should be 'plain', 'CMS' or 'ATLAS', found 'LHCb'",
    ]


@pytest.mark.parametrize(
    ("addition", "problem"),
    [
        ("foldr: x", "foldr (line 8): unknown key. There are: categories, cuts, export, luminosity_ifb, "),
        ("5: x", "5 (line 8): unknown key. There are: categories, cuts, export, luminosity_ifb, "),
        ("title: again", "title (line 8): occurs twice"),
        ("name: ..", "name (line 8): should match pattern"),
        ("sqrt_s_tev:", "sqrt_s_tev (line 8): should be a number, found nothing"),
        ("sqrt_s_tev: .nan", "sqrt_s_tev (line 8): should be "),
        ("sqrt_s_tev: 13 TeV", "sqrt_s_tev (line 8): should be a number, found '13 TeV'"),
        ("selection:", "selection (line 8): should be a group of settings, found nothing"),
        ("selection: [1]", "selection (line 8): should be a group of settings"),
        ("training: {seeds: 1.5}", "training.seeds (line 8): should be a whole number, found 1.5"),
        ("training: {baseline: 5}", "training.baseline (line 8): should be true or false, found 5"),
        ("training: {loss: z}", "training.loss (line 8): should be a group of settings, found 'z'"),
        ("training: {loss: {error: hinge}}", "training.loss.name (line 8): missing"),
        (
            "training: {loss: {name: zloss}}",
            "training.loss.name (line 8): unknown name 'zloss'. There are: bce, binned_asimov",
        ),
        (
            "training: {loss: {name: focall}}",
            "training.loss.name (line 8): unknown name 'focall'. Did you mean 'focal'?",
        ),
        (
            "training: {main: {optimizer: {name: evee}}}",
            "training.main.optimizer.name (line 8): unknown name 'evee'. Did you mean 'eve'?",
        ),
        (
            "training: {main: {schedule: {kind: graduated, stages: 0}}}",
            "training.main.schedule.stages (line 8): should be greater than 0, found 0",
        ),
        (
            "training: {main: {schedule: {kind: graduated, gamma: 1.0}}}",
            "training.main.schedule.gamma (line 8): should be less than 1, found 1.0",
        ),
        (
            "training: {loss: {name: bce, error: hinge}}",
            "training.loss.error (line 8): unknown key. There are: background_to_signal, name, weighting.",
        ),
        (
            "selection: {relative_background_uncertainty: 0.1}",
            "selection (line 8): figure_of_merit 'asimov' has no background uncertainty; set it to",
        ),
        (
            "selection: {figure_of_merit: asimov_with_uncertainty, background_uncertainties: {dyy: 0.03}}",
            "selection (line 8): background_uncertainties names 'dyy', which is no background process. Did you mean 'dy'?",
        ),
        (
            "selection: {figure_of_merit: asimov_with_uncertainty, background_uncertainties: {higgs: 0.03}}",
            "selection (line 8): background_uncertainties names 'higgs', which is no background process.",
        ),
        (
            "selection: {figure_of_merit: asimov_with_uncertainty, background_uncertainties: {dy: -3}}",
            "selection.background_uncertainties.dy (line 8): should be greater than or equal to 0, found -3",
        ),
    ],
)
def test_one_wrong_setting_is_one_problem(problems, addition, problem):
    found = problems(BASE + addition + "\n")
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("weight: 3", ["ntuples.weight (line 4): should be text or a list or a group of settings, found 3"]),
        ("weight: [genWeight, 3]", ["ntuples.weight.1 (line 4): should be text, found 3"]),
        ("columns: {x: 1}", ["ntuples.columns (line 4): should be text or a list"]),
        (
            "columns: columns.py",
            ["ntuples.columns (line 4): 'columns.py' is neither `file.py:function` nor a list of branches"],
        ),
        (
            "sum_of_weights: {value: -1}",
            ["ntuples.sum_of_weights.value (line 4): should be greater than or equal to 1e-12, found -1"],
        ),
    ],
)
def test_no_name_of_pydantic_stands_in_a_place_with_alternatives(problems, line, found):
    assert problems(BASE.replace("columns: [x, y]", line)) == found


def test_roles_that_are_absent_are_said_beside_other_problems(problems):
    only_data = "processes: {d: {role: data, datasets: {d: {files: [d.root]}}}}\n"
    assert problems("title: x\nluminosity: 1\n" + only_data) == [
        "luminosity_ifb: missing",
        "luminosity (line 2): unknown key. Did you mean 'luminosity_ifb'?",
        "processes (line 3): none has the role 'signal' or 'background'; a search needs at least one of each",
    ]
    assert problems(BASE.replace("role: background", "role: signal")) == [
        "processes (line 5): none has the role 'background'; a search needs at least one of each"
    ]


def test_data_have_no_cross_section_and_simulation_has_one(problems):
    assert problems(BASE + "  d: {role: data, datasets: {d: {files: [d.root], cross_section_pb: 1}}}\n") == [
        "processes.d (line 8): dataset 'd' is data: it has no cross_section_pb"
    ]
    assert problems(BASE + "  w: {role: background, datasets: {w: {files: [w.root]}}}\n") == [
        "processes (line 5): dataset 'w' of a background process needs cross_section_pb"
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("run", "ntuples.sum_of_weights (line 5): should be 'runs', 'events', 'normalised', or a group with `value`, "),
        (
            "3e12",
            "ntuples.sum_of_weights (line 5): should be 'runs', 'events', 'normalised', or a group with `value`, ",
        ),
        ("{values: 3}", "ntuples.sum_of_weights.values (line 5): unknown key. Did you mean 'value'?"),
        ("{value: 0}", "ntuples.sum_of_weights.value (line 5): should be greater than or equal to 1e-12, found 0"),
        ("{histogram: h}", "ntuples.sum_of_weights.bin (line 5): missing"),
        ("{tree: t, branches: x}", "ntuples.sum_of_weights.branches (line 5): unknown key. Did you mean 'branch'?"),
        ("normalised", "processes (line 6): dataset 'h' has weights that are yields (sum_of_weights)"),
    ],
)
def test_sources_of_the_sum_of_weights(problems, source, message):
    found = problems(BASE.replace("[x, y]\n", f"[x, y]\n  sum_of_weights: {source}\n"))
    assert any(each.startswith(message) for each in found), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds nothing, not settings"),
        ("# only a comment\n", "holds nothing, not settings"),
        ("- a\n", "holds a list, not settings"),
        ("hello\n", "holds text, not settings"),
        ("5\n", "holds 5, not settings"),
        ("title: x\n\tname: y\n", "line 2: not valid YAML: found a tab character"),
        (BASE + "  - a\n", "line 8: not valid YAML: did not find expected key"),
        ("title: 2020-13-45\n", "line 1: not valid YAML: '2020-13-45' is no timestamp: month must be in 1..12"),
        ("title: !!python/object/apply:os.getcwd []\n", "line 1: not valid YAML: could not determine a constructor"),
        ("ntuples: &n {folder: *n}\n", "nested too deeply, or an alias in it refers to itself"),
        (bytes(range(256)), "cannot be read as text"),
        (b"\0\0", "is not valid YAML: unacceptable character"),
    ],
)
def test_a_file_that_holds_no_settings(problems, text, message):
    (found,) = problems(text)
    assert message in found
    assert "analysis.yaml" in found


def test_a_missing_file(tmp_path):
    with pytest.raises(AnalysisFileError, match=r"There is no analysis file .*nowhere\. Name a folder that holds"):
        Analysis.from_file(tmp_path / "nowhere")
    with pytest.raises(AnalysisFileError, match=r"There is no analysis file .*analysis\.yaml"):
        Analysis.from_file(tmp_path)


def test_an_alias_is_followed_and_does_not_stand_twice(tmp_path):
    text = (
        BASE.replace("higgs: {", "higgs: &h {")
        + "  other: {<<: *h, datasets: {o: {files: [o.root], cross_section_pb: 1}}}\n"
    )
    (tmp_path / "analysis.yaml").write_text(text)
    assert Analysis.from_file(tmp_path).processes["other"].role == "signal"


def test_built_in_python(tmp_path):
    analysis = Analysis(title="Built", luminosity_ifb=100, processes=PROCESSES, ntuples=NtupleSettings(columns=["x"]))
    assert (analysis.name, analysis.folder, analysis.sqrt_s_tev) == ("analysis", Path.cwd(), 13.0)
    assert analysis.labels == {"higgs": "higgs", "dy": "dy"}
    assert analysis.colors == {}
    with pytest.raises(ValidationError, match="none has the role 'signal'"):
        Analysis(title="Built", luminosity_ifb=100, processes={"dy": PROCESSES["dy"]})


def test_what_python_builds_and_a_file_says_are_the_same_analysis(tmp_path):
    built = Analysis(title="Built", luminosity_ifb=100, processes=PROCESSES, name="built", folder=tmp_path)
    (tmp_path / "analysis.yaml").write_text(yaml.safe_dump(built.model_dump(mode="json", by_alias=True)))
    assert Analysis.from_file(tmp_path) == built


def test_an_analysis_on_other_ntuples_is_another_object(tmp_path, monkeypatch):
    analysis = Analysis(title="Built", luminosity_ifb=100, processes=PROCESSES)
    monkeypatch.chdir(tmp_path)
    other = analysis.with_ntuples(Path("ntuples"))
    assert other.ntuples.folder == str(tmp_path.resolve() / "ntuples")
    assert analysis.ntuples.folder == "."
    assert other.model_copy(update={"ntuples": analysis.ntuples}) == analysis


def test_training_settings_are_replaced_and_checked():
    analysis = Analysis(title="Built", luminosity_ifb=100, processes=PROCESSES)
    changed = analysis.with_training(seeds=5, loss=BCELossSettings())
    assert (changed.training.seeds, changed.training.loss) == (5, BCELossSettings())
    assert (analysis.training.seeds, analysis.training.loss) == (2, None)
    with pytest.raises(AnalysisFileError) as caught:
        analysis.with_training(seed_count=5, hidden=[0])
    first, second, third = str(caught.value).splitlines()
    assert first == "the changed training has 2 problems:"
    assert second == "  - training.hidden.0: should be greater than 0, found 0"
    assert third.startswith(
        "  - training.seed_count: unknown key. There are: activation, baseline, classifier, device, "
    )


def test_style_carries_what_labels_say():
    presentation = {"experiment": "CMS", "label": "Work in progress"}
    analysis = Analysis(
        title="Built", luminosity_ifb=36.3, sqrt_s_tev=13.6, processes=PROCESSES, presentation=presentation
    )
    style = analysis.style
    assert (style.experiment, style.label, style.luminosity_ifb, style.sqrt_s_tev) == (
        "CMS",
        "Work in progress",
        36.3,
        13.6,
    )


def test_categories_need_a_figure_of_merit_that_combines(small_search):
    changes = {"selection": {"figure_of_merit": "punzi"}, "categories": {"count": 2}}
    with pytest.raises(ValidationError, match="those of several categories do not add"):
        small_search.analysis(**changes)
    assert small_search.analysis(selection={"figure_of_merit": "punzi"}).categories.count == 1


def test_variations_in_the_figure_have_to_exist_for_a_background(small_search, tmp_path):
    selection = {"figure_of_merit": "asimov_with_uncertainty", "variations_in_figure": True}
    of_signal = {"xs": {"kind": "normalisation", "relative": 0.1, "processes": ["higgs"]}}
    for variations in ({}, of_signal):
        with pytest.raises(ValidationError, match="of which none touches a background"):
            small_search.analysis(selection=selection, variations=variations)
    luminosity = {"luminosity": {"kind": "luminosity", "relative": 0.02}}
    assert small_search.analysis(selection=selection, variations=luminosity).selection.variations_in_figure
    file = small_search.copy(tmp_path / "search").write(selection=selection)
    with pytest.raises(AnalysisFileError, match=r"the file: selection\.variations_in_figure takes"):
        Analysis.from_file(file)


def test_processes_and_luminosity_are_those_of_the_table():
    analysis = Analysis.of_table(make_table(), title="Arrays", training=TRAINING)
    assert [(name, each.role, each.label) for name, each in analysis.processes.items()] == [
        ("higgs", "signal", "H(125)"),
        ("dy", "background", "dy"),
    ]
    assert analysis.luminosity_ifb == 140.0
    assert analysis.training.seeds == 1


def test_settings_of_a_table_are_checked_like_a_file():
    with pytest.raises(AnalysisFileError, match=r"training\.seed_count.*(?s:.)*selection\.figure"):
        Analysis.of_table(make_table(), title="Arrays", training={"seed_count": 1}, selection={"figure": "asimo"})


def test_a_table_at_another_luminosity_is_refused():
    analysis = Analysis.of_table(make_table(), title="Arrays")
    with pytest.raises(AnalysisFileError, match="The table is at 36/fb, but the analysis at 140/fb"):
        analysis.require_processes(make_table(luminosity_ifb=36.0))


def test_a_table_of_other_processes_is_refused():
    table = make_table()
    analysis = Analysis.of_table(table, title="Arrays")
    swapped = replace(table, process_names=("dy", "higgs"), roles=("background", "signal"))
    with pytest.raises(AnalysisFileError, match=r"dy \(background\), higgs \(signal\), but the analysis has higgs"):
        analysis.require_processes(swapped)


DATASET = "{files: [a.root], cross_section_pb: 1}"


@pytest.mark.parametrize(
    ("addition", "problem"),
    [
        ("  a/b: {role: background, datasets: {a: DATASET}}", "processes.a/b (line 8): a name may not have the path"),
        ("  ../../x: {role: background, datasets: {a: DATASET}}", "processes.../../x (line 8): a name may not have"),
        ('  "": {role: background, datasets: {a: DATASET}}', "processes. (line 8): a name may not be empty"),
        ('  "a\\0": {role: background, datasets: {a: DATASET}}', "processes.a\\x00 (line 8): a name may not have the"),
        ('  " a": {role: background, datasets: {a: DATASET}}', "processes. a (line 8): a name may not start or end"),
        (f"  {'a' * 300}: {{role: background, datasets: {{a: DATASET}}}}", "processes.aaa"),
        (
            '  a: {role: background, datasets: {" b": DATASET}}',
            "processes.a.datasets. b (line 8): a name may not start",
        ),
        ("variations: {jes/x: {kind: shape}}", "variations.jes/x (line 8): a name may not have the path separator"),
        ("training: {features: [a/b]}", "training.features.0 (line 8): a name may not have the path separator"),
        ("presentation: {axis_labels: {a/b: x}}", "presentation.axis_labels.a/b (line 8): a name may not have"),
        ("cuts: {variables: {../x: above}}", "cuts.variables.../x (line 8): a name may not have the path separator"),
        ("name: a/b", "name (line 8): should match pattern"),
        ("name: nul", "name (line 8): 'nul' is a device of Windows"),
    ],
)
def test_names_that_are_paths_or_hide_are_refused_with_their_key(problems, addition, problem):
    (found,) = problems(BASE + addition.replace("DATASET", DATASET) + "\n")
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("addition", "problem"),
    [
        (
            "training: {seed: 10000000000000000000}",
            "training.seed (line 8): should be less than or equal to 10000000000",
        ),
        ("training: {seeds: 1000000}", "training.seeds (line 8): should be less than or equal to 1000, found 1000000"),
        ("training: {hidden: [2147483648]}", "training.hidden.0 (line 8): should be less than or equal to 65536"),
        (f"training: {{hidden: {[8] * 101}}}", "training.hidden (line 8): should have at most 100 items"),
        (
            "training: {hidden: [65536, 65536]}",
            "the file: training.hidden, training.embedding, training.seeds and ntuples.folds make 4.3e+10",
        ),
        (
            "training: {seeds: 500, hidden: [512, 512]}",
            "the file: training.hidden, training.embedding, training.seeds and ntuples.folds make",
        ),
        (
            "training: {seeds: 100, embedding: {frequencies: 1024, width: 1024}}",
            "the file: training.hidden, training.embedding, training.seeds and ntuples.folds make 5.3e+08 parameters",
        ),
        (
            "training: {embedding: {frequencies: 1000000000}}",
            "training.embedding.frequencies (line 8): should be less than or equal to 1024",
        ),
        (
            "training: {embedding: periodical}",
            "training.embedding (line 8): should be 'periodic' or 'none' or a group of settings, found 'periodical'",
        ),
        (
            "training: {main: {epochs: 1000000000}}",
            "training.main.epochs (line 8): should be less than or equal to 1000000",
        ),
        ("training: {main: {batch_size: 10000000000}}", "training.main.batch_size (line 8): should be less than or"),
        ("training: {patience: 10000000000}", "training.patience (line 8): should be less than or equal to 1000000"),
        ("training: {weight_decay: 1e300}", "training.weight_decay (line 8): should be less than or equal to 1e+12"),
        ("training: {missing: {x: 1e40}}", "training.missing.x (line 8): should be 'mean' or 'median' or less than"),
        (
            "training: {loss: {name: binned_asimov, bins: 1000000000}}",
            "training.loss.bins (line 8): should be less than",
        ),
        (
            "training: {loss: {name: effective_weights, rounds: 100000}}",
            "training.loss.rounds (line 8): should be less",
        ),
        (
            "categories: {candidates: 1000000000}",
            "categories.candidates (line 8): should be less than or equal to 100000",
        ),
        ("selection: {sensitivity: {replicas: 1000000000}}", "selection.sensitivity.replicas (line 8): should be less"),
        ("export: {binning: 1000000000}", "export.binning (line 8): should be less than or equal to 10000"),
        ("presentation: {dots_per_inch: 100000}", "presentation.dots_per_inch (line 8): should be less than or equal"),
        ("sqrt_s_tev: 1e308", "sqrt_s_tev (line 8): should be less than or equal to 1e+06, found '1e308'"),
        (
            "  a: {role: background, datasets: {a: {files: [a.root], cross_section_pb: 1e-320}}}",
            "processes.a.datasets.a.",
        ),
        (
            "  a: {role: background, datasets: {a: {files: [a.root], cross_section_pb: 1e308}}}",
            "processes.a.datasets.a.",
        ),
        ("variations: {a: {kind: normalisation, up: 1e300}}", "variations.a.up (line 8): should be less than or equal"),
    ],
)
def test_values_that_no_analysis_has_are_refused(problems, addition, problem):
    (found,) = problems(BASE + addition + "\n")
    assert found.startswith(problem)


def test_values_of_ntuples_and_luminosity_that_no_analysis_has_are_refused(problems):
    text = BASE.replace(
        "columns: [x, y]",
        "columns: [x, y]\n  fold_seed: 9000000000000000000\n  folds: 1000000\n  chunk_size: 1000000000000",
    )
    assert problems(text.replace("100", "1e-320", 1)) == [
        "luminosity_ifb (line 2): should be greater than or equal to 1e-12, found '1e-320'",
        "ntuples.fold_seed (line 5): should be less than or equal to 1000000000000000000, found 9000000000000000000",
        "ntuples.folds (line 6): should be less than or equal to 1000, found 1000000",
        "ntuples.chunk_size (line 7): should be less than or equal to 1000000000, found 1000000000000",
    ]


def test_a_million_networks_are_refused(problems):
    text = BASE.replace("columns: [x, y]", "columns: [x, y]\n  folds: 1000") + "training: {seeds: 1000, hidden: [1]}\n"
    assert problems(text) == [
        "the file: training.seeds and ntuples.folds make 1000000 networks; at most 10000 can be trained together"
    ]


def test_every_number_of_the_analysis_file_has_an_upper_bound():
    def unbounded(part, place):
        if isinstance(part, dict):
            bounds = {"maximum", "exclusiveMaximum", "enum", "const"}
            if part.get("type") in ("integer", "number") and not bounds & part.keys():
                yield place
            for key, inner in part.items():
                if key not in ("examples", "default"):
                    yield from unbounded(inner, f"{place}.{key}")
        elif isinstance(part, list):
            for inner in part:
                yield from unbounded(inner, place)

    assert list(unbounded(Analysis.model_json_schema(), "")) == []


@pytest.mark.parametrize(
    ("addition", "problem"),
    [
        (
            "  a: {role: background, label: '$\\foo$', datasets: {a: DATASET}}",
            r"processes\.a\.label is no mathematical text",
        ),
        (
            "  a: {role: background, color: bluee, datasets: {a: DATASET}}",
            r"processes\.a\.color is no colour of matplotlib",
        ),
        (
            "  $a^$: {role: background, datasets: {a: DATASET}}",
            r"processes\.\$a\^\$\.label is no mathematical text",
        ),
        ("presentation: {axis_labels: {x: '$x'}}", r"presentation\.axis_labels\.x has an unpaired dollar sign"),
        ("presentation: {label: '$\\foo$'}", r"presentation\.label is no mathematical text"),
        ("variations: {mu: {kind: shape}}", "variation 'mu' has the name of the signal strength in fits"),
        ("  data_obs: {role: background, datasets: {a: DATASET}}", "Two histograms would be called 'data_obs'"),
    ],
)
def test_what_would_stop_figures_and_fits_after_the_training_is_refused_before(problems, addition, problem):
    (found,) = problems(BASE + addition.replace("DATASET", DATASET) + "\n")
    assert re.match(f"the file: {problem}", found)


def test_changed_training_settings_keep_to_the_size_of_the_ensemble():
    analysis = Analysis(title="Built", luminosity_ifb=100, processes=PROCESSES)
    with pytest.raises(AnalysisFileError, match=r"at most 5e\+08 can be trained together"):
        analysis.with_training(hidden=[4096] * 5, seeds=10)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("folder: ~nobody-here/x", "ntuples.folder (line 4): '~nobody-here' is no home folder here"),
        ('folder: "a\\0b"', "ntuples.folder (line 4): a path may not have the control character"),
        (f"folder: {'x' * 5000}", "ntuples.folder (line 4): a path may have at most 4000 characters, found 5000"),
        (f"columns: {'x' * 300}.py:f", "ntuples.columns (line 4): a name in a path may have at most 255 bytes"),
        ("luminosity_mask: ~nobody-here/x", "ntuples.luminosity_mask (line 4): '~nobody-here' is no home folder here"),
    ],
)
def test_paths_that_no_system_takes_are_refused_with_their_key(problems, line, place):
    assert problems(BASE.replace("columns: [x, y]", line))[0].startswith(place)


def test_names_of_fits_are_noted(small_search):
    processes = {"ZZ*": {"role": "background", "datasets": {"z": {"files": ["dy.root"], "cross_section_pb": 1}}}}
    variations = {"jes": {"kind": "shape", "correlated": False, "processes": ["ZZ*", "dy"]}}
    notes = small_search.analysis(processes=processes, variations=variations).name_notes
    assert [note.split(" in ")[0] for note in notes] == [
        "process 'ZZ*' is called 'ZZ_'",
        "variation 'jes_ZZ*' is called 'jes_ZZ_'",
    ]
    assert small_search.analysis().name_notes == []
