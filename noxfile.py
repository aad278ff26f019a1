"""The checks of continuous integration, one session each; `make` calls the same commands."""

from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "imports", "tests", "docs"]
nox.options.default_venv_backend = "venv"


def _install(session: nox.Session, extra: str) -> None:
    torch = next(line for line in Path("constraints.txt").read_text().splitlines() if line[:7] == "torch==")
    session.install(torch)
    session.install("--constraint", "constraints.txt", "--editable", f".[{extra}]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and spelling."""
    session.install("ruff", "codespell")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell", "zsig_hep", "analyses", "tests", "data_samples", "docs", "README.md")


@nox.session
def types(session: nox.Session) -> None:
    """Static types."""
    _install(session, "dev")
    session.run("mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Order of rooms."""
    _install(session, "dev")
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests."""
    _install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in which a warning is an error."""
    _install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "--quiet", "-b", "html", "docs", "docs/_build")


@nox.session
def generator(session: nox.Session) -> None:
    """Tests of the event generator, which need Pythia and fastjet."""
    _install(session, "test")
    session.install("--only-binary", ":all:", "pythia8mc", "fastjet")
    session.run("pytest", "tests/data_samples", *session.posargs)
