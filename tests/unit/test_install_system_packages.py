"""What `make test-full` installs: Chromium and Java, each looked for by itself."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "install_system_packages.sh"
BASH = shutil.which("bash") or "/bin/bash"


def install(folder: Path, *present: str, known: str = "openjdk-17-jre-headless") -> "subprocess.CompletedProcess[str]":
    """Run the script where there are these programs and no others, and an apt-get that only says what it is asked."""
    bodies = {
        "apt-get": 'case "$*" in *install*) echo "$*" >&2;; esac',
        "apt-cache": f'[ "$2" = {known} ]',
        "id": "echo 0",
        "mkdir": "",
    }
    for name in (*bodies, *present):
        program = folder / name
        program.write_text(f"#!{BASH}\n{bodies.get(name, '')}\n")
        program.chmod(0o755)
    return subprocess.run([BASH, str(SCRIPT)], env={"PATH": str(folder)}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("present", "installed", "left_alone"),
    [
        (("chromium",), ("openjdk-17-jre-headless",), ("chromium",)),
        (("google-chrome",), ("openjdk-17-jre-headless",), ("chromium",)),
        (("java",), ("chromium", "fonts-dejavu-core"), ("openjdk",)),
        ((), ("chromium", "openjdk-17-jre-headless"), ()),
    ],
)
def test_what_is_missing_is_installed_and_nothing_else(
    tmp_path: Path, present: tuple[str, ...], installed: tuple[str, ...], left_alone: tuple[str, ...]
) -> None:
    done = install(tmp_path, *present)
    assert done.returncode == 0
    assert all(package in done.stderr for package in installed)
    assert not any(package in done.stderr for package in left_alone)


def test_where_both_are_there_nothing_is_installed(tmp_path: Path) -> None:
    done = install(tmp_path, "chromium", "java")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_debian_without_java_17_gets_its_own(tmp_path: Path) -> None:
    assert "default-jre-headless" in install(tmp_path, "chromium", known="another").stderr
