"""What the documents name is there: files, tests, make targets and commands."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def inner_commands(command: click.Command) -> list[click.Command]:
    if not isinstance(command, click.Group):
        return []
    context = click.Context(command)
    return [inner for name in command.list_commands(context) if (inner := command.get_command(context, name))]


def test_every_promise_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", read(ROOT / "SECURITY.md")))
    assert len(named) > 15
    for file, test in named:
        assert (ROOT / file).is_file(), file
        if test:
            assert f"def {test}(" in read(ROOT / file), f"{file}::{test}"


def test_every_docstring_that_promises_names_tests_that_exist() -> None:
    packages = ("evidence", "expectations", "intake", "linkage", "pipeline", "protocol", "pseudonymise", "warehouse")
    named = {
        name
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"``(tests/[\w/.]+)``", read(path))
    }
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids(DOCUMENTS))
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", read(document), flags=re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids(DOCUMENTS))
def test_every_command_that_a_document_names_exists(document: Path) -> None:
    for line in re.findall(r"(?:^\$? ?|`)linkarms ([a-z][a-z -]*)", read(document), flags=re.MULTILINE):
        command: click.Command | None = main
        for word in line.split():
            if not isinstance(command, click.Group):
                break
            command = command.get_command(click.Context(command), word)
            assert command is not None, f"linkarms {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids(DOCUMENTS))
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(document)):
        assert (document.parent / target).exists(), target


def test_help_lists_every_target() -> None:
    makefile = read(ROOT / "Makefile")
    phony = set(re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, flags=re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, flags=re.MULTILINE))
    assert phony == described


def test_every_command_says_what_it_does() -> None:
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0

    def walk(command: click.Command) -> None:
        assert command.help
        for inner in inner_commands(command):
            walk(inner)

    walk(main)


def test_every_dependency_is_justified() -> None:
    declared = set(re.findall(r'^    "([a-z0-9-]+)(?:\[[\w,]+\])?[><=~"]', read(ROOT / "pyproject.toml"), re.MULTILINE))
    declared -= {"linkarms"}
    text = read(ROOT / "ARCHITECTURE.md")
    unnamed = sorted(name for name in declared if not name.startswith("types-") and name not in text)
    assert unnamed == []


def test_no_document_names_a_package_index_or_a_machine() -> None:
    tracked = list(ROOT.glob("requirements/*.txt"))
    assert tracked
    for path in tracked:
        assert "://" not in read(path)
