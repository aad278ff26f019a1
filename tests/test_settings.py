"""Files that are no analysis: every oddity of YAML is one short message, at once, that names the file."""

import os

import pytest
from pydantic import TypeAdapter, ValidationError

from zsig_hep.analysis import Analysis
from zsig_hep.errors import AnalysisFileError
from zsig_hep.settings import Line, Name, PathText, read_yaml, refusal

BASE = """\
title: Small search
luminosity_ifb: 100
ntuples: {columns: [x, y]}
processes:
  higgs: {role: signal, datasets: {h: {files: [signal.root], cross_section_pb: 1e-3}}}
  dy: {role: background, datasets: {dy: {files: [dy.root], cross_section_pb: 0.1}}}
"""
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGED = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))


@pytest.fixture
def message(tmp_path):
    """The message that reading a file gives, which is short and names the file."""

    def read(text: str | bytes) -> str:
        file = tmp_path / "analysis.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        with pytest.raises(AnalysisFileError) as caught:
            Analysis.from_file(tmp_path)
        found = str(caught.value)
        assert len(found) < 2000
        assert str(file) in found
        return found

    return read


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("title: !!python/object/apply:os.system [ls]\n", "could not determine a constructor for the tag"),
        ("title: !foo x\n", "line 1: not valid YAML: could not determine a constructor for the tag '!foo'"),
        ("a: 1\nb: 2024-13-45\n", "line 2: not valid YAML: '2024-13-45' is no timestamp: month must be in 1..12"),
        ("title: 0000-01-01\n", "'0000-01-01' is no timestamp: year 0 is out of range"),
        ("title: 2024-01-01T00:00:00+99:99\n", "is no timestamp"),
        ("title: !!timestamp x\n", "'x' is no timestamp"),
        ("title: !!bool x\n", "'x' is no bool"),
        ("title: !!int ''\n", "'' is no int"),
        ("title: !!float x\n", "'x' is no float"),
        ("{[a]: b}\n", "unhashable key"),
        (LAUGHS, "or an alias in it refers to itself"),
        (MERGED, "or an alias in it refers to itself"),
        ("a: &a [*a]\n", "or an alias in it refers to itself"),
        ("a: &a {<<: *a}\n", "or an alias in it refers to itself"),
        ("title: " + "[" * 50_000 + "]" * 50_000, "line 1: nested too deeply, more than 50 levels"),
        ("title: " + "{a: " * 50_000 + "}" * 50_000, "line 1: nested too deeply, more than 50 levels"),
        ("".join(f"{' ' * n}a:\n" for n in range(900)), "nested too deeply"),
        ("title:\n\t- x\n", "line 2: not valid YAML"),
        ("title: a\0b\n", "not valid YAML"),
        (BASE.encode("utf-16"), "cannot be read as text"),
        (b"title: \xff\n", "cannot be read as text"),
        (BASE + "sqrt_s_tev: .inf\n", "sqrt_s_tev (line 7): should be "),
        (BASE + f"sqrt_s_tev: {'9' * 5000}\n", "line 7: not valid YAML: '999"),
        (BASE + f"sqrt_s_tev: 0x{'f' * 5000}\n", "line 7: not valid YAML: a whole number of more than 1024 bits"),
        (BASE + f"sqrt_s_tev: {'9' * 300}\n", "sqrt_s_tev (line 7): should be less than or equal to"),
        (BASE + f"{'k' * 900}: 1\n", "(line 7): unknown key."),
        (BASE + f"name: {'k' * 9000}\n", "name (line 7): should have at most 100 characters, found 'kkk"),
        (BASE + f"training: {{loss: {{name: {'k' * 9000}}}}}\n", "training.loss.name (line 7): unknown name 'kkk"),
        (BASE + "training: {phases: [{epochs: 1, epochs: 2, loss: {name: bce}}]}\n", "phases.0.epochs (line 7): occurs"),
        ("x" * 1_100_000, "has 1 MB; an analysis file has less than 1 MB"),
        ("--- a\n--- b\n", "but found another document"),
    ],
)  # fmt: skip
def test_one_short_message(message, text, part):
    assert part in message(text)


@pytest.mark.parametrize("line", ["unknown_{}: 1\n", "title: t{}\n"])
def test_thousands_of_problems_are_counted_and_the_first_are_shown(message, line):
    found = message(BASE + "".join(line.format(number) for number in range(20_000)))
    first, second, *_, last = found.splitlines()
    assert first.endswith("has 20000 problems:")
    assert "(line 7)" in second
    shown = len(found.splitlines()) - 2
    assert last == f"  ... and {20_000 - shown:,} more".replace(",", " ")


def test_a_byte_order_mark_and_merge_keys_are_read(tmp_path):
    file = tmp_path / "analysis.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: &a {b: 1}\nc: {<<: *a, d: 2}\n")
    content, lines, problems = read_yaml(file)
    assert content == {"a": {"b": 1}, "c": {"b": 1, "d": 2}}
    assert (lines["c", "d"], problems) == (2, [])


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "/".join(["x" * 100] * 50), "~nobody-here/x", "folder", "pipe"])
def test_paths_that_are_no_file(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder" / "analysis.yaml").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AnalysisFileError, match=r"no analysis file|no file|cannot be read") as caught:
        Analysis.from_file(path)
    assert len(str(caught.value)) < 2000


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "analysis.yaml"
    file.write_text(BASE)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(AnalysisFileError, match=r"analysis\.yaml cannot be read: Permission denied"):
        Analysis.from_file(file)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "may not be empty"),
        ("a\0b", "control character"),
        ("x" * 300, "at most 255 bytes"),
        ("x/" * 2100, "at most 4000 characters"),
        ("~nobody-here/x", "'~nobody-here' is no home folder here"),
    ],
)
def test_paths_that_no_system_takes(text, problem):
    with pytest.raises(ValidationError, match=problem):
        TypeAdapter(PathText).validate_python(text)


@pytest.mark.parametrize("text", ["a.root", "~/a.root", f"root://x//{'y' * 300}", "../a[12]*.root"])
def test_paths_that_are_taken(text):
    assert TypeAdapter(PathText).validate_python(text) == text


def test_names_and_lines():
    assert TypeAdapter(Name).validate_python("ZZ*") == "ZZ*"
    assert TypeAdapter(Line).validate_python("$H \\to \\mu\\mu$") == "$H \\to \\mu\\mu$"
    for kind, text in [(Name, "a/b"), (Line, "a\nb"), (Line, "x" * 501)]:
        with pytest.raises(ValidationError, match="may"):
            TypeAdapter(kind).validate_python(text)


def test_a_single_long_problem_is_shortened():
    text = str(refusal("file", [(1, "x" * 5000)]))
    assert text.startswith("file has 1 problem:\n  - xxx")
    assert len(text) < 700
