"""The documentation: every block of code, settings and commands is one that the program takes."""

import re
import runpy
import shlex
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from zsig_hep.analysis import Analysis
from zsig_hep.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GENERATED = {"_build", "_figures", "analyses", "api"}
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in GENERATED)

# Pages whose blocks train for more than a few seconds.
SLOW = {"choosing_a_cut.md", "fits_and_exports.md"}

# What fragments of an analysis file are merged into.
MINIMAL = {
    "title": "Search",
    "luminosity_ifb": 140.0,
    "processes": {
        "higgs": {"role": "signal", "datasets": {"vbf": {"files": ["vbf.root"], "cross_section_pb": 8.2e-4}}},
        "dy": {"role": "background", "datasets": {"dy": {"files": ["dy.root"], "cross_section_pb": 6077.2}}},
        "ttbar": {"role": "background", "datasets": {"ttbar": {"files": ["ttbar.root"], "cross_section_pb": 832.0}}},
    },
}

_BLOCK = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_CAPTION = re.compile(r"\A:caption: (?P<caption>[^\n]+)\n\n")


@dataclass(frozen=True)
class Block:
    """A block of a page; `caption` is the name of the file that it shows, if it shows one."""

    page: str
    line: int
    language: str
    body: str
    caption: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        body, caption = found["body"], _CAPTION.match(found["body"])
        line = text.count("\n", 0, found.start("body")) + 1
        if caption:
            body, line = body[caption.end() :], line + 2
        language = found["info"].removeprefix("{code-block}").strip()
        yield Block(page.relative_to(DOCS).as_posix(), line, language, body, caption["caption"] if caption else None)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def python_pages() -> list[object]:
    pages = dict.fromkeys(block.page for block in of("python"))
    return [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in pages]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder that looks like a clone of the repository, to run in."""
    for name in ("analyses", "data_samples"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_languages_are_known():
    directives = {"{toctree}", "{eval-rst}", "{analysis-keys}"}
    assert {block.language for block in BLOCKS} <= directives | {"python", "yaml", "sh", "text"}


# cabinetry asks jsonschema for what that will remove.
@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
@pytest.mark.parametrize("page", python_pages())
def test_python_of_a_page_runs(page, clone, request):
    blocks = [block for block in of("python") if block.page == page]
    if any("output/hmumu" in block.body for block in blocks):
        # The output of a small search stands for that of the demo.
        shutil.copytree(request.getfixturevalue("finished_output"), clone / "output" / "hmumu")
    # Each block stands on its line of the page, so that a traceback names it.
    script: list[str] = []
    for block in blocks:
        script += [""] * (block.line - 1 - len(script)) + block.body.splitlines()
    file = clone / f"{Path(page).stem}.py"
    file.write_text("\n".join(script), encoding="utf-8")
    runpy.run_path(str(file))


def merged(settings, changes):
    if not (isinstance(settings, dict) and isinstance(changes, dict)):
        return changes
    return settings | {key: merged(settings.get(key), value) for key, value in changes.items()}


@pytest.mark.parametrize("block", [block for block in of("yaml") if block.caption is None], ids=str)
def test_fragments_of_an_analysis_file_are_valid(block):
    fragment = yaml.safe_load(block.body)
    if fragment is None:
        assert block.body.startswith("# yaml-language-server: $schema=")
        return
    Analysis.model_validate(merged(MINIMAL, fragment))


def shown_files() -> dict[str, str]:
    """Files that pages show, by name: what stands under "(more lines)" is added to the file."""
    files: dict[str, str] = {}
    for block in BLOCKS:
        if block.caption and "/" in block.caption:
            name = block.caption.removesuffix(" (more lines)")
            files[name] = files.get(name, "") + block.body
    return files


def test_the_own_analysis_that_is_shown_passes_the_check(clone):
    files = shown_files()
    assert {"my_search/analysis.yaml", "my_search/columns.py"} <= set(files)
    for name, content in files.items():
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text(content, encoding="utf-8")
    result = CliRunner().invoke(main, ["check", "my_search"])
    assert result.exit_code == 0, result.output
    for process in ("higgs", "dy", "ttbar"):
        assert process in result.output


def commands() -> list[tuple[Block, str]]:
    lines = ((block, line) for block in of("sh") for line in block.body.splitlines())
    return [(block, line) for block, line in lines if line.strip()]


def check_zsig(words: list[str]) -> None:
    # Commands keep the help option of the first context that they see, here with the names that the group gives it.
    context = click.Context(main, info_name="zsig", **main.context_settings)
    command = main.get_command(context, words[0])
    assert command is not None, words[0]
    # A command that a sentence names stands without its arguments.
    if words[1:]:
        command.make_context(words[0], words[1:], parent=context)


def check_python(words: list[str]) -> None:
    if words[0] == "-m":
        path = ROOT.joinpath(*words[1].split("."))
        files = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else sorted(path.glob("*.py"))
        assert files, words[1]
        words = words[1:]
    else:
        files = [ROOT / words[0]]
        assert files[0].exists(), words[0]
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    for option in words[1:]:
        assert not option.startswith("--") or option in source, option


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in words:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


CHECKS = {"zsig": check_zsig, "python": check_python, "make": check_make, "pip": lambda words: None}


@pytest.mark.parametrize(("block", "line"), commands(), ids=str)
def test_commands_exist_with_their_options(block, line):
    program, *words = shlex.split(line.split(" > ")[0], comments=True)
    CHECKS[program](words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_the_text_exist(page):
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"`((?:python|zsig|make) [^`\n]+)`", text):
        if not re.search(r"[A-Z]{4}", code):
            program, *words = shlex.split(code)
            CHECKS[program](words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"(?<![\w/(])(?:analyses|data_samples|tests/benchmarks)/[\w./-]*\w", text):
        # What stands without an ending is a folder, or a page that is made of the README of one.
        assert (ROOT / name).exists() or (ROOT / Path(name).name / "README.md").exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_pages(page):
    made = {f"analyses/{folder.parent.name}.md" for folder in (ROOT / "analyses").glob("*/README.md")}
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        linked = (page.parent / target).resolve().relative_to(DOCS.resolve()).as_posix()
        assert (DOCS / linked).exists() or linked in {*made, "analyses/data_samples.md", "api/index.rst"}, target


def test_every_page_is_reached_from_the_first():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        name = page.relative_to(DOCS).with_suffix("").as_posix()
        assert name == "index" or re.search(rf"^{name}$", index, re.MULTILINE), name


def test_python_of_the_pages_is_short_enough_for_a_page():
    for block in of("python", "yaml", "sh"):
        for line in block.body.splitlines():
            assert len(line) <= 130, f"{block}: {textwrap.shorten(line, 60)}"


@pytest.fixture
def extensions(monkeypatch):
    """The folder of our Sphinx extensions can be imported from."""
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))


def test_the_programming_reference_has_every_module(extensions):
    import generated_pages

    pages = dict(generated_pages.api_pages())
    text = "\n".join(pages.values())
    for file in (ROOT / "zsig_hep").rglob("*.py"):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        assert re.search(rf"^.. automodule:: {re.escape(name)}$", text, re.MULTILINE), name
    assert all(f"   {Path(name).stem}\n" in pages["api/index.rst"] + "\n" for name in pages if "index" not in name)


def test_links_of_readmes_lead_to_pages(extensions):
    import generated_pages

    pages = dict(generated_pages.analysis_pages())
    assert "[hmumu](hmumu.md)" in pages["analyses/hmumu_systematics.md"]
    assert "`analyses/hmumu/columns.py`" in pages["analyses/hmumu.md"]
    assert "(../../analyses/paper_toy/eps_working_point.png)" in pages["analyses/paper_toy.md"]
    for text in pages.values():
        assert not re.search(r"\]\((?!https?://)[^)]*\.(?:py|yaml|json)\)", text)


def test_equations_of_docstrings_become_literal(extensions):
    from plain_docstrings import plain

    lines = [
        "Change |d| of f*, `a|b`:",
        "",
        "    d = |f - g| * 2",
        "",
        "Args:",
        "    x: a * b.",
        "",
        "Example:",
        "    >>> 2 * 3",
    ]
    assert list(plain(lines)) == [
        "Change \\|d\\| of f\\*, `a|b`:",
        "",
        ".. code-block:: text",
        "",
        "    d = |f - g| * 2",
        "",
        "Args:",
        "    x: a \\* b.",
        "",
        "Example:",
        "    >>> 2 * 3",
    ]


class TestKeys:
    """The reference of the keys of the analysis file."""

    @pytest.fixture
    def reference(self, extensions):
        import analysis_keys

        from zsig_hep.schema import analysis_schema

        return analysis_keys.Reference(analysis_schema())

    def test_every_group_and_key_is_there(self, reference):
        keys = {key.place: key for group in reference.groups() for key in group.keys}
        assert {group.name for group in reference.groups()} >= {
            "",
            "ntuples",
            "training.phases[]",
            "cuts.variables.NAME",
        }
        luminosity, folds = keys["luminosity_ifb"], keys["ntuples.folds"]
        assert (luminosity.unit, luminosity.required, luminosity.type) == (
            "1/fb",
            True,
            "number at least 1e-12 and at most 1e+06",
        )
        assert (folds.default, folds.type) == ("5", "whole number at least 3 and at most 1000")
        assert keys["ntuples.sum_of_weights"].type == (
            "`runs` or `events` or `normalised` or `{value: number at least 1e-12 and at most 1e+30}` or `{tree: text, branch: "
            "text}` or `{histogram: text, bin: whole number at least 1 and at most 1e+09 or text}` or "
            "`{weights_at_luminosity_ifb: number at least 1e-09 and at most 1e+09}`"
        )
        assert keys["processes.NAME.datasets.NAME.cross_section_pb"].unit == "pb"
        assert keys["training.loss"].type == "a loss, see Losses"
        assert all(key.description for key in keys.values())

    def test_members_of_unions_are_listed_by_their_key(self, reference):
        unions = reference.unions()
        names = {title: [member.name for member in members] for title, members in unions.items()}
        assert names["Optimisers"] == ["name: adam", "name: adamw", "name: radam", "name: eve", "name: sgd"]
        assert names["Schedules"] == ["kind: constant", "kind: cosine", "kind: graduated"]
        assert len(names["Losses"]) == 11
        assert len(names["Variations"]) == 5
        assert all(member.description for members in unions.values() for member in members)
