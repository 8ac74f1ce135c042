"""Agreements to try things on: copies of the example, edited by the test."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.digest import sign_again
from protocol.errors import AgreementError
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import Agreement


@pytest.fixture(scope="session")
def example() -> Agreement:
    return load_agreement(default_agreement_folder())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example's folder that a test may spoil."""
    return Path(shutil.copytree(default_agreement_folder(), tmp_path / "agreement"))


@pytest.fixture
def edit(folder: Path) -> Callable[[str, str, str], None]:
    """Replace a text that stands once in a file of the copy."""

    def replace(name: str, old: str, new: str) -> None:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1, f"{name} has no such text to edit"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return replace


@pytest.fixture
def refusal(folder: Path) -> Callable[[], str]:
    """The message with which the copy is refused."""

    def load() -> str:
        with pytest.raises(AgreementError) as refused:
            load_agreement(folder)
        return str(refused.value)

    return load


@pytest.fixture
def signed(folder: Path) -> Callable[[], Agreement]:
    """The copy as it stands, signed again by all who had signed."""

    def sign_all() -> Agreement:
        sign_again(folder)
        return load_agreement(folder)

    return sign_all
