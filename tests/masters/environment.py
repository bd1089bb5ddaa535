"""Environments of masters that pin what the Python of these tests has newer, made once beside the project by pip.

An environment has what its file in `environments/` names and, behind that on its path, what the Python of these tests has: torch
and numpy, which Python FMUs need, are not installed again.
"""

import os
import re
import subprocess
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

FILES = Path(__file__).with_name("environments")
FOLDER = Path(__file__).parents[2] / ".venv-masters"
TIMEOUT_S = 900.0


class EnvironmentMissingError(Exception):
    """The environment cannot be made here; the text is what pip said last."""


def python_with(requirements: str) -> str:
    """The Python of an environment that has what a file names; made where it is not there, and tried once in a process.

    Raises:
        EnvironmentMissingError: pip cannot install it.
    """
    made = _made(requirements)
    if isinstance(made, EnvironmentMissingError):
        raise made
    return str(made)


@cache
def _made(requirements: str) -> Path | EnvironmentMissingError:
    try:
        return _make(requirements)
    except EnvironmentMissingError as error:
        return error


def _make(requirements: str) -> Path:
    if os.name != "posix":
        raise EnvironmentMissingError("environments of their own are made on POSIX systems only")
    import fcntl

    behind = [entry for entry in sys.path if entry.endswith("site-packages")]
    content = "\n".join([(FILES / requirements).read_text(), sys.version, *behind])
    folder = FOLDER / f"{Path(requirements).stem}-{sha256(content.encode()).hexdigest()[:12]}"
    python, finished = folder / "bin" / "python", folder / "finished"
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.is_file():
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "--no-deps", "--requirement", str(FILES / requirements)])
            (packages,) = folder.glob("lib/python*/site-packages")
            (packages / "behind.pth").write_text("\n".join(behind))
            finished.touch()
    return python


def version_in(requirements: str, name: str) -> str:
    """The version that a file pins."""
    (found,) = re.findall(rf"^{re.escape(name)}==(.*)$", (FILES / requirements).read_text(), re.MULTILINE | re.IGNORECASE)
    return str(found)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise EnvironmentMissingError(f"{command[1:4]} did not end within {TIMEOUT_S:g} s") from error
    if done.returncode:
        raise EnvironmentMissingError(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
        )
