import os

import pytest

from zsig_hep.pipeline.sources import ENDS_BYTES, file_identity, source_fingerprint


class TestFiles:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "a.root"
        path.write_bytes(bytes(range(256)) * (3 * ENDS_BYTES // 256))
        return path

    def test_a_copy_is_the_same_file(self, path, tmp_path):
        copy = tmp_path / "b.root"
        copy.write_bytes(path.read_bytes())
        os.utime(copy, ns=(1, 1))
        assert file_identity(str(copy), is_remote=False) == file_identity(str(path), is_remote=False)

    @pytest.mark.parametrize("place", [0, -1])
    def test_a_file_with_another_end_is_another(self, path, place):
        before = file_identity(str(path), is_remote=False)
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
        assert file_identity(str(path), is_remote=False) != before

    def test_a_longer_file_is_another(self, tmp_path):
        path = tmp_path / "zeros"
        path.write_bytes(bytes(3 * ENDS_BYTES))
        before = file_identity(str(path), is_remote=False)
        path.write_bytes(bytes(3 * ENDS_BYTES + 1))
        assert file_identity(str(path), is_remote=False) != before

    def test_a_remote_file_is_known_by_its_address(self):
        assert file_identity("root://host//a.root", is_remote=True) == ["root://host//a.root"]


@pytest.fixture
def columns(tmp_path):
    path = tmp_path / "columns.py"
    path.write_text("import numpy\n\ndef columns(events):\n    return {}\n")
    return path


def changes(columns, other, text="VALUE = 2\n"):
    """Whether the fingerprint changes with the text of a file beside the columns."""
    (columns.parent / other).parent.mkdir(exist_ok=True)
    before = source_fingerprint(columns)
    (columns.parent / other).write_text(text)
    return source_fingerprint(columns) != before


class TestPythonFiles:
    def test_what_a_file_does_not_import_does_not_count(self, columns):
        assert not changes(columns, "plots.py")
        assert not changes(columns, "numpy/linalg.py")
        assert not changes(columns, "notes.txt")

    @pytest.mark.parametrize(
        ("statement", "other"),
        [
            ("import helpers", "helpers.py"),
            ("import numpy, helpers as h", "helpers.py"),
            ("from helpers import VALUE", "helpers.py"),
            ("from tools import helpers", "tools/helpers.py"),
            ("from tools.helpers import VALUE", "tools/helpers.py"),
            ("import tools.helpers", "tools/__init__.py"),
            ("def f():\n    import helpers", "helpers.py"),
            ("import importlib\nm = importlib.import_module('hel' + 'pers')", "helpers.py"),
            ("import sys\nsys.path.append('x')", "helpers.py"),
            ("exec(open('helpers.py').read())", "helpers.py"),
        ],
    )
    def test_what_it_imports_counts(self, columns, statement, other):
        columns.write_text(statement)
        assert changes(columns, other, "VALUE = 1\n")
        assert changes(columns, other, "VALUE = 2\n")

    def test_imports_of_imports_and_circles(self, columns):
        columns.write_text("import a")
        (columns.parent / "a.py").write_text("import b, columns")
        assert changes(columns, "b.py")

    def test_relative_imports_in_a_package(self, columns):
        columns.write_text("import tools.a")
        (columns.parent / "tools").mkdir()
        (columns.parent / "tools" / "a.py").write_text("from . import b\nfrom .....outside import c\n")
        assert changes(columns, "tools/b.py")

    @pytest.mark.parametrize(
        "text",
        [
            "import numpy\n\n# a comment\ndef columns(events):\n    return {}\n",
            '"""Columns."""\nimport numpy\n\n\ndef columns(events):\n    """Of events."""\n    return {}\n',
            "import numpy\ndef columns(events): return {  }",
        ],
        ids=["comment", "docstring", "layout"],
    )
    def test_what_is_no_statement_does_not_count(self, columns, text):
        assert not changes(columns, "columns.py", text)

    def test_a_statement_does(self, columns):
        assert changes(columns, "columns.py", "import numpy\n\ndef columns(events):\n    return {'x': 1}\n")
        assert changes(columns, "columns.py", "def columns(events):\n    'Only this.'\n")

    def test_a_file_that_cannot_be_parsed_counts_with_every_byte(self, columns):
        assert changes(columns, "columns.py", "def columns(events:\n")
        assert changes(columns, "columns.py", "def columns(events: \n")
        before = source_fingerprint(columns)
        columns.write_bytes(b"\xe9")
        assert source_fingerprint(columns) != before

    def test_an_absent_file_is_left_to_the_reader(self, tmp_path):
        assert source_fingerprint(tmp_path / "columns.py") == source_fingerprint(tmp_path / "other.py")
