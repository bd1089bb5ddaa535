"""Build the FMUs of everything under models/, in every backend, version and platform, and verify them.

python build_tools/build_fmus.py                      into build/fmus/
python build_tools/build_fmus.py -o FOLDER --only dfn_cell --backend native --fmi 3.0

Verified means: FMPy's validation and `fmutool -check` report nothing; a run with inputs that wander through the training domain
gives what the bundle's session gives, to the tolerance of float32; and every FMU is built twice with equal bytes. The exit code is
the number of FMUs with a fault.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.archive import Bundle, read_bundle
from surrogate_fmu.fmu.build import build_python_fmu
from surrogate_fmu.fmu.config import Backend, BuildConfig, FmiVersion, Platform
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.runtime.session import Session

ROOT = Path(__file__).resolve().parent.parent
STEPS = 60
TOLERANCE = 1e-3  # of the width of an output's training range; float32 in another order of sums, over STEPS steps


@dataclass(frozen=True)
class Job:
    """One FMU to build."""

    bundle: Bundle
    backend: Backend
    fmi: FmiVersion

    @property
    def name(self) -> str:
        """Of the file."""
        return f"{self.bundle.manifest.name}_{self.backend}_fmi{self.fmi[0]}.fmu"

    def build(self, path: Path) -> Path:
        """The FMU, for every platform that its backend has."""
        if self.backend is Backend.PYTHON:
            return build_python_fmu(self.bundle, path, fmi=self.fmi)
        return build_native_fmu(self.bundle, path, BuildConfig(fmi=self.fmi, platforms=tuple(Platform)))


def jobs(models: Path, only: str | None, backend: Backend | None, fmi: FmiVersion | None) -> Iterator[Job]:
    """What there is to build."""
    for path in sorted(models.glob("*/*.bundle")):
        if only is None or path.parent.name == only:
            bundle = read_bundle(path)
            for kind, version in (
                (Backend.NATIVE, FmiVersion.V2),
                (Backend.NATIVE, FmiVersion.V3),
                (Backend.PYTHON, FmiVersion.V2),
                (Backend.PYTHON, FmiVersion.V3),
            ):
                if backend in (None, kind) and fmi in (None, version):
                    yield Job(bundle, kind, version)


def faults(job: Job, path: Path) -> list[str]:
    """What is wrong with a built FMU, in sentences."""
    found = [f"FMPy: {problem}" for problem in validate_fmu(str(path))] + fmutool_faults(path)
    with tempfile.TemporaryDirectory() as folder, without_cache(folder):
        again = job.build(Path(folder) / path.name)
        if again.read_bytes() != path.read_bytes():
            found.append("a second build gave other bytes")
    return found + differences(job.bundle, path)


def fmutool_faults(path: Path) -> list[str]:
    """What fmutool's checks say, where its exit code is that of a fault."""
    script = "from fmu_manipulation_toolbox.cli.fmutool import fmutool; fmutool()"
    command = [sys.executable, "-c", script, "-input", str(path), "-check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
    return [f"fmutool: {line}" for line in errors or [f"exit code {done.returncode}"]] if done.returncode else []


@contextlib.contextmanager
def without_cache(folder: str) -> Iterator[None]:
    """Libraries are linked anew, not taken from where the last build kept them."""
    before = os.environ.get("SURROGATE_FMU_CACHE")
    os.environ["SURROGATE_FMU_CACHE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["SURROGATE_FMU_CACHE"]
        else:
            os.environ["SURROGATE_FMU_CACHE"] = before


def differences(bundle: Bundle, path: Path) -> list[str]:
    """Where a run of the FMU is not that of the bundle's session."""
    manifest = bundle.manifest
    random = np.random.default_rng(1)
    with FmuSession(path, seed=3) as fmu, Session(bundle, seed=3) as session:
        pairs = [(fmu.initialize(), session.initialize())]
        for _ in range(STEPS):
            inputs = {}
            for variable in manifest.inputs:
                interval = manifest.domain[variable.name]
                inputs[variable.name] = interval.min + (interval.max - interval.min) * random.uniform(0.3, 0.7, variable.shape)
            pairs.append((fmu.do_step(inputs), session.do_step(inputs)))
    found = []
    for variable in manifest.outputs:
        interval = manifest.domain[variable.name]
        worst = max(float(np.abs(np.subtract(a[variable.name], b[variable.name])).max()) for a, b in pairs)
        if not worst <= TOLERANCE * (interval.max - interval.min):
            found.append(f"{variable.name!r} differs from the session by {worst:g} {variable.unit}")
    return found


def main() -> int:
    """Build, verify, report; the number of FMUs with a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "fmus")
    parser.add_argument("--models", type=Path, default=ROOT / "models")
    parser.add_argument("--only", metavar="MODEL", help="one folder under models/")
    parser.add_argument("--backend", type=Backend, choices=list(Backend))
    parser.add_argument("--fmi", type=FmiVersion, choices=list(FmiVersion))
    arguments = parser.parse_args()
    faulty = built = 0
    for job in jobs(arguments.models, arguments.only, arguments.backend, arguments.fmi):
        start = time.perf_counter()
        path = job.build(arguments.output / job.name)
        seconds = time.perf_counter() - start
        found = faults(job, path)
        built += 1
        faulty += bool(found)
        print(f"{path}  {path.stat().st_size / 1024:.0f} kB, built in {seconds:.1f} s, {'; '.join(found) or 'verified'}")
    if not built:
        sys.exit("there is nothing to build; look at --models and --only")
    return faulty


if __name__ == "__main__":
    sys.exit(main())
