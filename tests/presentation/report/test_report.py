import base64
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from zsig_hep.errors import OutputError
from zsig_hep.presentation import roc_figure, save_figure, write_report
from zsig_hep.presentation.figures.style import Style
from zsig_hep.presentation.report.report import _total, render_report
from zsig_hep.presentation.wording import statement
from zsig_hep.selection.thresholds.evaluation import ClassifierEvaluation

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects addresses, text and table rows of a page, and insists that its elements nest."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data
        if "tr" in self.open and self.rows[-1]:
            self.rows[-1][-1] += data.strip()

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row[0] == name)


def working_point(**changes: Any) -> dict[str, Any]:
    passed = {"yield": 5.214, "uncertainty": 0.1234, "effective_entries": 1785.0, "entries": 1900}
    return {
        "status": "ok", "reason": "", "thresholds": [0.91, 0.925], "signal": passed,
        "background": {"yield": 8.3, "uncertainty": 0.62, "effective_entries": 179.2}, "signal_efficiency": 0.2034,
        "background_efficiency": 0.0012, "purity": 0.386, "significance": 1.6543, "significance_uncertainty": 0.0712,
        "exported_significance": 1.6412, "simulation_uncertainty": 0.06, "choice_uncertainty": 0.0383, "partitions": [{}] * 5,
        "choosing_significance": 1.71, "optimism": 0.056, "optimism_uncertainty": 0.034, "yields": {"vbf": passed}, "hypotheses": {},
    } | changes  # fmt: skip


def classifier(name: str, label: str, **changes: Any) -> dict[str, Any]:
    training = {"loss": label, "members": 10, "epochs": 35, "collapsed_members": 0, "advice": "", "rounds": []}
    return {"name": name, "label": label, "auc": 0.9462, "auc_entries": 0.935, "training": training} | {
        "working_point": working_point(**changes), "observed": None, "systematics": None,
        "uncertainties": {"propagated": 0.0712, "bootstrap": 0.0733, "jackknife": 0.061},
        "exclusion": [{"signal": None, "cls_uncertainty": 0.01, "limit_uncertainty": 0.05,
                       "expected": {"confidence_level": 0.95, "median_cls": 0.12, "median_limit": 1.31,
                                    "limits": [0.7, 0.95, 1.31, 1.8, 2.5]}}],
    }  # fmt: skip


def quantity(name: str, value: float, uncertainty: float, **changes: Any) -> dict[str, Any]:
    return {
        "quantity": name, "first": 1.6543, "second": 1.6, "value": value, "uncertainty": uncertainty, "simulation": 0.0321,
        "choice": 0.0123, "training": 0.0234, "missing": [], "standard_deviations": None, "better": None,
    } | changes  # fmt: skip


@pytest.fixture
def summary() -> dict[str, Any]:
    return {
        "title": "Search for <H> & more",
        "name": "hmumu",
        "zsig_hep_version": "0.1.0",
        "luminosity_ifb": 140.0,
        "sqrt_s_tev": 13.0,
        "processes": [
            {"name": "vbf", "label": r"VBF $H\to\mu\mu$", "role": "signal", "entries": 15000, "yield": 25.6395,
             "uncertainty": 0.2093, "effective_entries": 15000.0},
            {"name": "dy", "label": "DY <1>", "role": "background", "entries": 20000, "yield": 14500.0,
             "uncertainty": 30.0, "effective_entries": 19000.0},
            {"name": "tt", "label": "tt", "role": "background", "entries": 3000, "yield": 2000.0,
             "uncertainty": 40.0, "effective_entries": 2500.0},
            {"name": "data", "label": "Data", "role": "data", "entries": 16873, "yield": 16873.0,
             "uncertainty": 129.9, "effective_entries": 16873.0},
        ],
        "normalisation": [
            {"dataset": "dy_1", "process": "dy", "source": "runs", "sum_of_weights": 3.2e6, "sum_over_events": 1e6,
             "skim_ratio": 0.3125, "cross_section_pb": 1250.0, "factor": 54.6875},
        ],
        "cutflow": {"vbf": [{"cut": "pt > 30 & more", "entries": 15000, "yield": 25.64, "uncertainty": 0.2093}]},
        "classifiers": [classifier("zloss", "Z loss"), classifier("bce", "Weighted BCE", significance=1.6)],
        "comparison": [{"first": "zloss", "second": "bce", "quantities": [
            quantity("binned_significance", 0.05, 0.04, standard_deviations=1.2, choice=None),
            quantity("significance", 0.0543, 0.0812, missing=["training"], training=None),
        ]}],
        "impact": {"rows": [], "figure_of_merit": "Asimov significance"},
        "categories": None,
        "fit": {"channels": ["signal_region"], "notes": ["process <tt> is left out"]},
        "cuts": None,
        "figure_of_merit": "Asimov significance",
        "signals": "sum",
        "background_uncertainties": [],
        "relative_background_uncertainty": 0.0,
        "simulation_uncertainty_in_figure": False,
        "variations_in_figure": False,
        "blinded": False,
        "requirements": {"minimum_effective_background": 10.0},
        "notes": ["<script>alert(1)</script>"],
        "provenance": {"command": "zsig run <x>", "versions": {"torch": "2.13.0"}, "device": "cpu"},
    }  # fmt: skip


@pytest.fixture
def figure_path(evaluations: list[ClassifierEvaluation], tmp_path: Path) -> Path:
    return save_figure(roc_figure(evaluations, Style()), tmp_path / "figures", "roc", dots_per_inch=50)[1]


def test_page_is_self_contained_escaped_and_nested(summary: dict[str, Any], figure_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, summary, [("ROC <curve>", figure_path)])
    content = path.read_text(encoding="utf-8")
    page = Page(content)
    (address,) = page.addresses
    assert base64.b64decode(address.removeprefix("data:image/png;base64,")) == figure_path.read_bytes()
    assert not re.search(r"https?://|@import|url\(|<script", content)
    for text in ("Search for <H> & more", "ROC <curve>", "<script>alert(1)</script>", "DY <1>", "zsig run <x>"):
        assert text in page.text
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["figures", "report.html"]


def test_names_and_title_are_text_and_no_markup(summary: dict[str, Any], tmp_path: Path) -> None:
    summary["title"] = "<script>alert(2)</script>"
    summary["processes"][0] |= {"name": "<b>", "label": "<b>"}
    write_report(tmp_path / "report.html", summary, [])
    content = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|<b>", content)
    assert "<script>alert(2)</script>" in Page(content).text


def test_tables_show_rounded_numbers(summary: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", summary, [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ").replace("\u202f", " "))
    assert page.row("VBF H → μμ") == ["VBF H → μμ", "signal", "25.64 ± 0.21", "15 000", "15 000"]
    assert page.row("Total background") == ["Total background", "", "16 500 ± 50", "23 000", "108 900"]
    assert page.row("Data") == ["Data", "data", "16 873", "–", "–"]
    assert page.row("Significance Z") == ["Significance Z", "1.65 ± 0.07", "1.60 ± 0.07"]
    assert page.row("Signal efficiency")[1] == "20.3 %"
    assert page.row("Thresholds by fold")[1] == "0.910, 0.925"
    assert page.row("dy_1")[1:4] == ["DY <1>", "1250", "runs"]
    assert page.row("pt > 30 & more") == ["pt > 30 & more", "25.64 ± 0.21", "15 000"]


def test_nulls_of_a_failed_working_point_are_dashes_and_its_reason_is_told(
    summary: dict[str, Any], tmp_path: Path
) -> None:
    failed = dict.fromkeys(working_point())
    failed |= {
        "partitions": [],
        "status": "no_threshold_qualifies",
        "reason": "7 effective entries at best.",
        "thresholds": [None],
        "yields": {},
    }
    summary["classifiers"][0]["working_point"] = failed
    summary["classifiers"][0]["training"]["advice"] = "3 of 10 networks collapsed"
    summary |= {"comparison": [], "sqrt_s_tev": None, "cutflow": {}, "normalisation": [], "notes": []}
    write_report(tmp_path / "report.html", json.loads(json.dumps(summary)), [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.row("Significance Z")[1] == "–"
    assert "“Z loss” has no working point: 7 effective entries at best." in page.text
    assert "3 of 10 networks collapsed" in page.text
    assert "√s" not in page.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"standard_deviations": 1.2}, "0.05 ± 0.04: the difference is not significant."),
        ({"standard_deviations": 5.12, "better": "zloss"}, ": “Z loss” is better by 5.1 standard deviations."),
        ({"standard_deviations": 5.12, "better": "bce"}, ": “Weighted BCE” is better by 5.1 standard deviations."),
        ({"missing": ["training"]}, ": the error lacks the training; no winner is named."),
    ],
)
def test_statement_says_who_is_better_only_where_the_error_is_complete(
    summary: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    summary["comparison"][0]["quantities"][0] |= changes
    text = " ".join(statement(summary)).replace("\u00a0", " ")
    assert "without a cut, the binned significance of “Z loss” minus that of “Weighted BCE” is 0.05 ± 0.04" in text
    assert words in text
    # The cut comes last.
    assert text.index("binned significance") < text.index(
        "Their Z at the chosen cuts differs by 0.05 ± 0.08: the error"
    )
    assert "reaches Z = 1.65 ± 0.07" in text
    assert "repeated over 5 partitions" in text
    assert text.startswith("For 140 fb⁻¹ at √s = 13 TeV, a search for VBF H → μμ over DY <1> and tt was")


def test_every_part_of_the_error_of_a_difference_is_printed(summary: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", summary, [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " "))
    assert page.row("Binned significance")[1:] == [
        "1.654", "1.600", "0.05 ± 0.04", "0.032", "–", "0.023", "the difference is not significant"
    ]  # fmt: skip
    assert page.row("Z at the chosen cuts")[3:] == [
        "0.05 ± 0.08", "0.032", "0.012", "–", "the error lacks the training; no winner is named"
    ]  # fmt: skip
    assert page.row("Z of the exported cuts")[1] == "1.64"
    assert page.row("Difference to the held-out Z")[1] == "0.056 ± 0.034"


def test_uncertainties_stand_beside_the_figure_of_merit(summary: dict[str, Any]) -> None:
    assert "figure of merit “Asimov significance”." in " ".join(statement(summary))
    uncertain = [{"name": "dy", "label": "DY <1>", "relative": 0.03}, {"name": "tt", "label": "tt", "relative": 0.2}]
    summary |= {"background_uncertainties": uncertain, "relative_background_uncertainty": 0.01}
    text = " ".join(statement(summary)).replace("\u00a0", " ")
    assert "with these uncertainties: DY <1> 3 %, tt 20 %, all backgrounds together 1 %." in text


def test_what_the_simulation_costs_stands_below_the_significance(summary: dict[str, Any], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", summary, [])
    assert "as if the simulation were exact" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    summary["simulation_uncertainty_in_figure"] = True
    first, second = summary["classifiers"]
    first["one_more_event"] = {"process": "tt<b>", "entries": 1, "weight": 2.0, "significance": 1.4321}
    second["one_more_event"] = None
    first["working_point"]["significance_without_simulation"] = 10.2345
    second["working_point"]["significance_without_simulation"] = None
    write_report(tmp_path / "report.html", summary, [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " "))
    assert page.row("Z as if the simulation were exact")[1:] == ["10.2", "–"]
    assert page.row("Z with one more simulated event")[1:] == ["1.43 (tt<b>)", "–"]


def test_hypotheses_have_rows_of_their_own(summary: dict[str, Any], tmp_path: Path) -> None:
    summary["signals"] = "minimum"
    alone = {"vbf": {"significance": 1.2345, "significance_uncertainty": 0.05}}
    summary["classifiers"][0]["working_point"]["hypotheses"] = alone
    write_report(tmp_path / "report.html", summary, [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " "))
    assert page.row("Z of VBF H → μμ alone")[1:] == ["1.23 ± 0.05", "–"]
    assert "the smallest of their significances is maximised" in page.text


def test_the_impact_table_stands_in_the_report_with_its_reason(summary: dict[str, Any], tmp_path: Path) -> None:
    row = {
        "parameter": {"kind": "cross_section", "process": "vbf"}, "significance_slope": 1.1677,
        "significance_slope_uncertainty": 0.0418, "cut_slope": 0.0251, "cut_slope_uncertainty": 0.0113,
        "cut_slope_with_bandwidths": [0.0096, 0.0282], "shift": None,
    }  # fmt: skip
    unmoved = dict.fromkeys(row) | {
        "parameter": {"kind": "uncertainty", "process": None},
        "significance_slope": -0.0908,
    }
    unmoved["cut_slope_with_bandwidths"] = [None, None]
    summary["impact"] = {
        "figure_of_merit": "Asimov significance",
        "classifier": "Z loss", "status": "ok", "reason": "", "cut": 0.6297, "cut_uncertainty": 0.0334,
        "significance": 1.9458, "bandwidth": 0.05138, "rows": [row, unmoved],
    }  # fmt: skip
    for status, reason in (("ok", ""), ("several_maxima", "the cut may jump")):
        summary["impact"] |= {"status": status, "reason": reason}
        write_report(tmp_path / "report.html", summary, [])
        page = Page((tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " "))
        expected = ["σ(VBF H → μμ)", "1.17 ± 0.04", "–", "0.025 ± 0.011", "0.0096, 0.028"]
        assert page.row("σ(VBF H → μμ)") == expected
        assert page.row("uncertainty of all backgrounds")[1:4] == ["−0.09080", "–", "–"]
        assert "One cut at 0.630 ± 0.033 for all" in re.sub(r"\s+", " ", page.text)
        assert ("the cut may jump" in page.text) is (status != "ok")


def test_rounds_stand_in_the_report_with_their_weights(summary: dict[str, Any], tmp_path: Path) -> None:
    def row(number: int, **changes: Any) -> dict[str, Any]:
        return {
            "number": number, "relative_eps": None, "effective_weights": {"vbf": 1.0, "dy": 1.0, "tt": 1.0}, "change": None,
            "figure": 2.0054, "figure_spread": 0.0985, "signal_efficiency": 0.356, "folds_that_kept_it": 2,
        } | changes  # fmt: skip

    weighted = row(1, effective_weights={"vbf": 1.0, "dy": 0.9819, "tt": 1.1958}, change=0.2414, folds_that_kept_it=3)
    summary["classifiers"][0]["training"]["rounds"] = [row(0), weighted]
    write_report(tmp_path / "report.html", summary, [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " "))
    assert page.row("0") == ["0", "1.00", "1.00", "–", "2.01 ± 0.10", "35.6 %", "2"]
    assert page.row("1") == ["1", "0.982", "1.20", "24.1 %", "2.01 ± 0.10", "35.6 %", "3"]
    assert "weights that still change by more than ten per cent" in re.sub(r"\s+", " ", page.text)
    path = [row(0), row(1, relative_eps=0.3)]
    summary["classifiers"][0]["training"]["rounds"] = path
    write_report(tmp_path / "report.html", summary, [])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8").replace("\u00a0", " "))
    assert page.row("1") == ["1", "0.30", "2.01 ± 0.10", "35.6 %", "2"]
    assert "weights" not in page.text.split("Rounds of the training")[1].split("Figures")[0].split("Cutflow")[0]


def test_totals_add_variances(summary: dict[str, Any]) -> None:
    total = _total(summary["processes"], "background")
    assert (total["yield"], total["uncertainty"], total["entries"]) == (16500.0, 50.0, 23000)


@pytest.mark.parametrize("content", [None, b"GIF89a"])
def test_unusable_figure(summary: dict[str, Any], tmp_path: Path, content: bytes | None) -> None:
    image = tmp_path / "a.png"
    if content is not None:
        image.write_bytes(content)
    with pytest.raises(OutputError, match=r"a\.png"):
        write_report(tmp_path / "report.html", summary, [("a", image)])
    assert not (tmp_path / "report.html").exists()


def test_template_is_part_of_the_package() -> None:
    assert (files("zsig_hep.presentation.report") / "templates" / "report.html.j2").is_file()


def rendered(summary: dict[str, Any]) -> Page:
    return Page(render_report(summary, []).replace("\u00a0", " "))


def test_what_was_changed_for_fits_is_told(summary: dict[str, Any]) -> None:
    text = rendered(summary).text
    assert "cabinetry: signal_region with the data." in text
    assert "process <tt> is left out" in text
    assert "with the Asimov data of the background" in rendered(summary | {"blinded": True}).text


def test_variations_at_the_cut_are_one_row_each_with_their_shifts(summary: dict[str, Any]) -> None:
    varied = {name: {"yield": value} for name, value in {"nominal": 8.0, "up": 8.8, "down": 7.4}.items()}
    summary["classifiers"][0]["systematics"] = {
        "rows": [
            {
                "name": "jes",
                "kind": "shape",
                "significance_up": 1.5543,
                "significance_down": None,
                "yields": {"dy": varied},
            }
        ],
        "background_uncertainty": 0.83,
        "figure_of_merit": "Asimov significance with background uncertainty",
        "significance": 1.5,
        "significance_without": 1.6543,
        "notes": ["variation 'jes' at the cut: both on one side for <tt>"],
    }
    page = rendered(summary)
    assert page.row("jes") == ["jes", "shape", "–", "+10.0, −7.5 %", "–", "−0.087, –"]
    assert "10.0 %" in page.text
    assert "both on one side for <tt>" in page.text


def test_categories_show_what_each_holds_and_what_they_gain(summary: dict[str, Any]) -> None:
    passed = {"yield": 5.214, "uncertainty": 0.1234, "effective_entries": 1785.0, "entries": 1900}
    held = {
        "significance": 2.304,
        "significance_uncertainty": 0.097,
        "yields": dict.fromkeys(("vbf", "dy", "tt"), passed),
    }
    best = {
        "count": 1, "status": "ok", "reason": "", "significance": 2.304, "significance_uncertainty": 0.097,
        "optimism": 0.066, "edges": [[0.9], [0.91]], "categories": [held],
    }  # fmt: skip
    equal = {"significance": 2.199, "significance_uncertainty": 0.102, "within_limits": False}
    summary["categories"] = {
        "optima": [best],
        "equal_signal": [equal],
        "over_equal_signal": [None],
        "over_single_cut": [{"value": 0.318, "uncertainty": 0.069}],
    }
    page = rendered(summary)
    assert page.row("0") == ["0", "0.900, 0.910", *["5.21 ± 0.12"] * 3, "2.30 ± 0.10"]
    assert page.row("1") == ["1", "2.30 ± 0.10", "0.066", "(2.20 ± 0.10)", "–", "0.32 ± 0.07"]
    best |= {"status": "categories_not_formed", "reason": "too <few>", "categories": [], "edges": [None]}
    assert "too <few>" in rendered(summary).text
