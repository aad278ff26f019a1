"""What yields under weight variations are divided by."""

import numpy as np
import pytest

from tests.ntuples.varied_weights import (
    CROSS_SECTION_PB,
    LUMINOSITY_IFB,
    fractions,
    generated,
    processes,
    run,
    sums,
    write,
)
from zsig_hep.errors import NormalisationError
from zsig_hep.ntuples import Dataset, NtupleSettings, Process, check_inputs
from zsig_hep.ntuples.variations import WeightVariation

FILES = {"higgs": ("higgs",), "dy": ("dy_1", "dy_2")}


@pytest.fixture
def events(tmp_path):
    """All generated events, of which the files keep a part, so that the sums of the events are not those of Runs."""
    of_files = {"higgs": generated(400, 1), "dy_1": generated(500, 2), "dy_2": generated(300, 3)}
    for name, each in of_files.items():
        write(tmp_path / f"{name}.root", each, each["x"] > 0.2)
    return of_files


@pytest.fixture
def unskimmed(tmp_path):
    of_files = {"higgs": generated(400, 1), "dy_1": generated(500, 2), "dy_2": generated(300, 3)}
    for name, each in of_files.items():
        write(tmp_path / f"{name}.root", each)
    return of_files


def isr(**keys):
    return {"isr": WeightVariation(kind="weight", branch="PSWeight", up=0, down=2, **keys)}


def expected(events, process, name, element, *, own):
    """Yield after the selection under an element of a vector of weights, event by event."""
    selected = generated_sum = own_sum = 0.0
    for file in FILES[process]:
        for x, weight, factor in zip(
            *(events[file][key] for key in ("x", "genWeight")), events[file][name], strict=True
        ):
            generated_sum += weight
            own_sum += weight * factor[element]
            if x > 0.3:
                selected += weight * factor[element]
    return CROSS_SECTION_PB[process] * 1000 * LUMINOSITY_IFB * selected / (own_sum if own else generated_sum)


@pytest.mark.parametrize("process", ["higgs", "dy"])
@pytest.mark.parametrize(
    ("keys", "own"),
    [
        ({}, False),
        ({"normalise": "own"}, True),
        ({"normalise": "own", "sum_of_weights": "runs"}, True),
        (
            {"normalise": "own", "sum_of_weights": {
                "up": {"histogram": "sums/weights", "bin": 2}, "down": {"histogram": "sums/w*", "bin": "isrDown"}}},
            True,
        ),
        (
            {"normalise": "own", "sum_of_weights": {
                "up": {"tree": "sums/tree", "branch": "isr_up"}, "down": {"tree": "sums/tree", "branch": "vector[2]"}}},
            True,
        ),
    ],
)  # fmt: skip
def test_yields_are_those_of_a_loop_over_events_whatever_the_source(events, tmp_path, process, keys, own):
    _, varied = sums(run(tmp_path, isr(**keys)), "isr", process)
    wanted = [expected(events, process, "PSWeight", element, own=own) for element in (0, 2)]
    assert varied == pytest.approx(wanted, rel=1e-10)


def test_events_have_the_sums_where_nothing_was_skimmed(unskimmed, tmp_path):
    of_events = isr(normalise="own", sum_of_weights="events")
    for process in FILES:
        nominal, varied = sums(run(tmp_path, of_events, chunk_size=77), "isr", process)
        wanted = [expected(unskimmed, process, "PSWeight", element, own=True) for element in (0, 2)]
        assert varied == pytest.approx(wanted, rel=1e-10)
        assert not np.allclose(varied, nominal, rtol=1e-3)


def test_events_of_a_skim_have_no_sums(events, tmp_path):
    with pytest.raises(NormalisationError, match=r"dataset 'higgs': variation 'isr' cannot be normalised to its sum over the "
                       r"events.*they are a skim with a share of 0\.\d+ of the sum of weights.*`shape_only`"):  # fmt: skip
        run(tmp_path, isr(normalise="own", sum_of_weights="events"))


def test_a_factor_that_replaces_another_is_summed_with_the_weights_that_have_it(tmp_path):
    (tmp_path / "weights.py").write_text(
        "def tilt(events):\n    return events['sf_up'] / events['sf'], events['x'] + 0.5\n"
    )
    of_files = {"higgs": generated(400, 1), "dy_1": generated(500, 2), "dy_2": generated(300, 3)}
    for name, each in of_files.items():
        write(tmp_path / f"{name}.root", each | {"sf": 0.8 + each["x"] / 3, "sf_up": 1 + each["x"] ** 2})
    replaced = WeightVariation(kind="weight", up="sf_up", nominal="sf", normalise="own", sum_of_weights="events")
    relative = WeightVariation(kind="weight", function="weights.py:tilt", normalise="own", sum_of_weights="events")
    result = run(tmp_path, {"sf": replaced, "tilt": relative}, weight=["genWeight", "sf"])
    every = {key: np.concatenate([of_files[file][key] for file in FILES["dy"]]) for key in ("x", "genWeight")}
    x, weight = every["x"], every["genWeight"]
    sf, up = 0.8 + x / 3, 1 + x**2
    scale = CROSS_SECTION_PB["dy"] * 1000 * LUMINOSITY_IFB / weight.sum()
    kept = x > 0.3
    # The yield before the selection is the nominal one.
    wanted = scale * (weight * up)[kept].sum() * (weight * sf).sum() / (weight * up).sum()
    assert sums(result, "sf", "dy")[1][0] == pytest.approx(wanted, rel=1e-10)
    # A relative factor is that of the generator, whose own sum replaces the nominal one.
    wanted = scale * (weight * up)[kept].sum() * weight.sum() / (weight * up / sf).sum()
    assert sums(result, "tilt", "dy")[1][0] == pytest.approx(wanted, rel=1e-10)


def test_shapes_alone_keep_the_nominal_yield_of_each_process(events, tmp_path):
    result = run(tmp_path, isr(normalise="shape_only"))
    plain = run(tmp_path, isr())
    for process in FILES:
        nominal, varied = sums(result, "isr", process)
        assert varied == pytest.approx([nominal, nominal], rel=1e-12)
        rows = result.table.process == result.table.process_names.index(process)
        ratio = result.table.weight_variations["isr"][:, rows] / plain.table.weight_variations["isr"][:, rows]
        assert np.ptp(ratio, axis=1) == pytest.approx(0, abs=1e-12)
        assert abs(ratio[:, 0] - 1).min() > 0.05


def test_a_mirrored_direction_has_the_mirrored_sum(events, tmp_path):
    variation = WeightVariation(kind="weight", branch="PSWeight", up=0, normalise="own")
    places = {"up": {"histogram": "sums/weights", "bin": "isrUp"}}
    placed = WeightVariation(kind="weight", branch="PSWeight", up=0, normalise="own", sum_of_weights=places)
    result = run(tmp_path, {"isr": variation, "placed": placed})
    weight, factor = events["higgs"]["genWeight"], events["higgs"]["PSWeight"][:, 0]
    kept = events["higgs"]["x"] > 0.3
    scale = CROSS_SECTION_PB["higgs"] * 1000 * LUMINOSITY_IFB
    down = scale * (weight * (2 - factor))[kept].sum() / (weight * (2 - factor)).sum()
    for name in ("isr", "placed"):
        assert sums(result, name, "higgs")[1][1] == pytest.approx(down, rel=1e-10)


def test_an_extension_shares_the_sums_of_its_dataset(events, tmp_path):
    first = Dataset(files=["dy_1.root"], cross_section_pb=CROSS_SECTION_PB["dy"])
    datasets = {"first": first, "second": Dataset(files=["dy_2.root"], extends="first")}
    of = processes() | {"dy": Process(role="background", datasets=datasets)}
    _, varied = sums(run(tmp_path, isr(normalise="own"), of=of), "isr", "dy")
    wanted = [expected(events, "dy", "PSWeight", element, own=True) for element in (0, 2)]
    assert varied == pytest.approx(wanted, rel=1e-10)


def test_rows_without_weights_have_no_sums(events, tmp_path):
    """NanoAOD stores empty lists for files and runs without events."""
    whole = events["higgs"]
    weight = whole["genWeight"]
    rows = {
        "genEventSumw": np.array([weight.sum(), 0.0]),
        "genEventSumw2": np.array([(weight**2).sum(), 0.0]),
        "genEventCount": np.array([len(weight), 0]),
        "PSSumw": [fractions(whole, "PSWeight"), []],
        "LHEScaleSumw": [[], []],
    }
    write(tmp_path / "higgs.root", whole, whole["x"] > 0.2, change=rows)
    _, varied = sums(run(tmp_path, isr(normalise="own")), "isr", "higgs")
    wanted = [expected(events, "higgs", "PSWeight", element, own=True) for element in (0, 2)]
    assert varied == pytest.approx(wanted, rel=1e-10)


def histogram(up, down="isrDown"):
    places = {"up": {"histogram": "sums/weights", "bin": up}, "down": {"histogram": "sums/weights", "bin": down}}
    return {"normalise": "own", "sum_of_weights": places}


@pytest.mark.parametrize(
    ("change", "keys", "match"),
    [
        ({"PSSumw": None}, {"normalise": "own"},
         r"variation 'isr': dataset 'higgs': .*higgs\.root has no branch 'PSSumw' in its Runs tree.*processes: \[\.\.\.\]"),
        ({"PSSumw": [[1.3, 1.0]]}, {"normalise": "own"}, "PSSumw in the Runs tree has 2 elements, so there is no element 2"),
        ({"PSSumw": [[1.3, 1.0, np.nan]]}, {"normalise": "own"}, r"element 2 of PSSumw in the Runs tree is not finite \(nan\)"),
        ({"PSSumw": [[0.0, 1.0, 0.7]]}, {"normalise": "own"}, r"'higgs': variation 'isr': the sum of weights up is zero \(0\)"),
        ({"PSSumw": [[1.3, 1.0, -0.7]]}, {"normalise": "own"}, "the sum of weights down is negative"),
        ({"PSSumw": [[5200.0, 400.0, 290.0]]}, {"normalise": "own"},
         r"element 0 of PSSumw in the Runs tree is 5200, which is no fraction .*\{tree: Runs, branch: 'PSSumw\[0\]'\}"),
        ({}, histogram(7), "has 4 bins, so no bin 7"),
        ({}, histogram("isrup"), r"no bin labelled 'isrup'\. Did you mean 'isrUp'"),
        ({}, histogram("none"), r"variation 'isr': the sum of weights up is zero \(0\)"),
        ({}, {"normalise": "own", "sum_of_weights": {"up": {"tree": "sums/tree", "branch": "vector[3]"},
         "down": {"tree": "sums/tree", "branch": "isr_down"}}}, r"variation 'isr': .* no element 3"),
        ({}, {"normalise": "own", "sum_of_weights": {"up": {"tree": "sums/tree", "branch": "isr_upp"},
         "down": {"tree": "sums/tree", "branch": "isr_down"}}}, r"no branch 'isr_upp' .*Did you mean 'isr_up'"),
    ],
)  # fmt: skip
def test_sums_that_cannot_be_used_are_refused_before_events_are_read(events, tmp_path, change, keys, match):
    write(tmp_path / "higgs.root", events["higgs"], events["higgs"]["x"] > 0.2, change=change)
    with pytest.raises(NormalisationError, match=match):
        check_inputs(
            NtupleSettings(columns=["x"]), processes(), base_folder=tmp_path, luminosity_ifb=1.0, variations=isr(**keys)
        )
    with pytest.raises(NormalisationError, match=match):
        run(tmp_path, isr(**keys))


def test_a_file_without_runs_has_no_sums_of_its_own(unskimmed, tmp_path):
    write(tmp_path / "higgs.root", unskimmed["higgs"], runs=False)
    of = processes(sum_of_weights="events")
    with pytest.raises(
        NormalisationError, match=r"variation 'isr': .*higgs\.root has no Runs tree with genEventSumw\."
    ):
        run(tmp_path, isr(normalise="own"), of=of)


@pytest.mark.parametrize(
    ("weight", "what"), [(None, "the weight is one"), ({"sign_of": "genWeight"}, "the weight is their sign")]
)
def test_sums_of_other_weights_are_not_those_of_the_generator(unskimmed, tmp_path, weight, what):
    with pytest.raises(NormalisationError, match=what):
        run(tmp_path, isr(normalise="own"), of=processes(sum_of_weights="events"), weight=weight)


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (histogram("isrUp"), "the weights of the dataset are yields, which have no sum to compare it with"),
        ({"normalise": "own", "sum_of_weights": "events"}, "nothing says whether events were skimmed"),
    ],
)
def test_weights_that_are_yields_have_no_sum_to_replace(events, tmp_path, keys, match):
    dataset = {"sum_of_weights": "normalised"}
    of = {
        name: Process(role=role, datasets={name: Dataset(files=files, **dataset)})
        for name, role, files in (("higgs", "signal", ["higgs.root"]), ("dy", "background", ["dy_*.root"]))
    }
    with pytest.raises(NormalisationError, match=match):
        run(tmp_path, isr(**keys), of=of)


def test_shapes_without_a_yield_to_scale_are_refused(events, tmp_path):
    (tmp_path / "weights.py").write_text("def minus(events):\n    return 0.0 * events['x'], 1.0 + 0.0 * events['x']\n")
    variation = WeightVariation(kind="weight", function="weights.py:minus", normalise="shape_only")
    with pytest.raises(
        NormalisationError, match=r"variation 'v': the yields of process 'higgs' are 0, \d+.*shape_only"
    ):
        run(tmp_path, {"v": variation})


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"sum_of_weights": "runs"}, "sum_of_weights is used with `normalise: own` only"),
        ({"normalise": "own", "branch": "PSWeights"}, "normalise: own needs sum_of_weights"),
        ({"normalise": "own", "branch": "PSWeights", "sum_of_weights": "runs"}, "no sums of weights for elements of 'PSWeights'"),
        ({"normalise": "own", "sum_of_weights": "event"}, "should be 'runs', 'events' or a group with the places"),
        ({"normalise": "own", "sum_of_weights": {"up": {"histogram": "h", "bin": 1}}}, "needs the places `up` and `down`"),
        ({"normalise": "shape"}, "'nominal', 'own' or 'shape_only'"),
    ],
)  # fmt: skip
def test_settings_of_own_sums_that_mean_nothing_are_refused(keys, match):
    with pytest.raises(ValueError, match=match):
        WeightVariation(**({"kind": "weight", "branch": "PSWeight", "up": 0, "down": 2} | keys))
