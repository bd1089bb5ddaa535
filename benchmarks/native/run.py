"""What a step of a native FMU costs, in a C host and through FMPy, beside the other ways to run the same bundle.

python benchmarks/native/run.py            prints a table and writes benchmarks/native/results.json

All figures are of one thread on one machine in one run; trust their ratios, not the figures.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fmpy import read_model_description

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import networks  # noqa: E402

from surrogate_fmu.bundle.archive import Bundle  # noqa: E402
from surrogate_fmu.bundle.torchscript import load_generator  # noqa: E402
from surrogate_fmu.fmu.build import build_python_fmu  # noqa: E402
from surrogate_fmu.fmu.config import BuildConfig, Platform  # noqa: E402
from surrogate_fmu.fmu.master import FmuSession  # noqa: E402
from surrogate_fmu.fmu.native.build import build_native_fmu  # noqa: E402

ENSEMBLE = 32
BLOCKS = 30


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, bundle in networks.bundles().items():
            results[label] = measure(bundle, folder)
        small = networks.bundles()["MLP 12-64-64-4"]
        results[f"MLP 12-64-64-4, ensemble of {ENSEMBLE}"] = in_c_host(
            build_native_fmu(small, folder / "ensemble.fmu", BuildConfig(ensemble=ENSEMBLE)), small, folder
        )
        results["building"] = building(small, folder)
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    for label, figures in results.items():
        print(label)
        for figure, value in figures.items():
            print(f"    {figure:48s} {shown(figure, value)}")


def measure(bundle: Bundle, folder: Path) -> dict[str, float]:
    """Seconds per call of everything that runs this bundle."""
    manifest = bundle.manifest
    native = build_native_fmu(bundle, folder / f"{manifest.name}.fmu")
    figures = {f"C host: {name}": seconds for name, seconds in in_c_host(native, bundle, folder).items()}
    nothing = library_of_nothing(folder)
    description = read_model_description(str(native))
    floor = json.loads(run_host(nothing, description, bundle, folder))
    figures["C host, only the calls: set, do_step, get"] = floor["set, do_step, get"]
    figures["FMPy, only the calls: set, do_step, get"] = in_fmpy_with(description, nothing, bundle)
    with FmuSession(native) as session:
        session.initialize()
        figures["FMPy, native: set, do_step, get"] = in_fmpy(session)
    with FmuSession(build_python_fmu(bundle, folder / "python.fmu")) as session:
        session.initialize()
        figures["FMPy, Python FMU: set, do_step, get"] = in_fmpy(session)
    figures["TorchScript from Python"] = in_torch(bundle)
    figures["FMU, bytes"] = native.stat().st_size
    return figures


def in_c_host(fmu: Path, bundle: Bundle, folder: Path) -> dict[str, float]:
    """The figures of host.c."""
    description = read_model_description(str(fmu))
    with zipfile.ZipFile(fmu) as archive:
        name = next(n for n in archive.namelist() if n.startswith("binaries/linux64/"))
        library = Path(archive.extract(name, folder / fmu.stem))
    figures = json.loads(run_host(library, description, bundle, folder))
    # What calls for derivatives add to the step that they follow.
    alone, first = figures["do_step"], figures["do_step, derivative"]
    figures["derivative"] = figures.pop("do_step, derivative") - alone
    figures["another derivative at the same point"] = figures.pop("do_step, derivative, derivative") - first
    figures["jacobian"] = figures.pop("do_step, jacobian") - alone
    return figures


def library_of_nothing(folder: Path) -> Path:
    """An FMU that keeps its inputs and does nothing else: the floor that no FMU gets under."""
    source, library = folder / "nothing.c", folder / "nothing.so"
    source.write_text(NOTHING)
    # FMPy looks for every function of the standard.
    every = set(re.findall(r"(fmi2\w+);", (headers() / "fmi2Functions.h").read_text()))
    others = folder / "others.c"
    others.write_text("".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(every) if f"{name}(" not in NOTHING))
    command = ["cc", "-O2", "-shared", "-fPIC", f"-I{headers()}", "-o", str(library), str(source), str(others)]
    subprocess.run(command, check=True)
    return library


def run_host(library: Path, description: Any, bundle: Bundle, folder: Path) -> str:
    host = folder / "host"
    if not host.is_file():
        command = ["cc", "-O2", "-std=c11", f"-I{headers()}", "-o", str(host), str(HERE / "host.c"), "-ldl"]
        subprocess.run(command, check=True)
    outputs = [v.valueReference for v in description.modelVariables if v.causality == "output"]
    manifest = bundle.manifest
    arguments = [description.guid, len(manifest.inputs), manifest.output_dim, outputs[0]]
    command = [str(host), str(library), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def headers() -> Path:
    import fmpy

    return Path(fmpy.__file__).parent / "c-code"


def in_fmpy(session: FmuSession) -> float:
    """Set all inputs, do a step, get all outputs, with FMPy's own methods."""
    return timed_calls(session._fmu, session._condition, session._output_references)


def in_fmpy_with(description: Any, library: Path, bundle: Bundle) -> float:
    """The same calls into a library that does nothing."""
    from fmpy.fmi2 import FMU2Slave, fmi2CallbackFunctions

    slave = FMU2Slave(
        guid="", unzipDirectory=str(library.parent), modelIdentifier="nothing", instanceName="one", libraryPath=str(library)
    )
    slave.instantiate(callbacks=fmi2CallbackFunctions())
    inputs = [v.valueReference for v in description.modelVariables if v.causality == "input"]
    outputs = [v.valueReference for v in description.modelVariables if v.causality == "output"]
    return timed_calls(slave, inputs, outputs[: bundle.manifest.output_dim])


def timed_calls(slave: Any, inputs: list[int], outputs: list[int]) -> float:
    """Seconds of set, do_step and get."""
    values, time_s = [0.1] * len(inputs), [0.0]

    def once() -> None:
        slave.setReal(inputs, values)
        slave.doStep(time_s[0], 1.0)
        slave.getReal(outputs)
        time_s[0] += 1.0

    return fastest(once, 300)


def in_torch(bundle: Bundle) -> float:
    """The frozen TorchScript, called from Python with ready tensors."""
    generator: Any = load_generator(bundle)
    manifest = bundle.manifest
    x, z = torch.zeros(1, manifest.condition_dim), torch.zeros(1, manifest.latent_dim)
    with torch.inference_mode():
        _, h = generator.initial(x, z)
        return fastest(lambda: generator(x, z, h), 300)


def building(bundle: Bundle, folder: Path) -> dict[str, float]:
    """Seconds of a build whose sources the compiler has not seen, with its own runtime files in the cache."""
    figures = {}
    for label, platforms in (("one platform", ()), ("five platforms", tuple(Platform))):
        fresh = Bundle(bundle.manifest.replace(description=f"{label} {time.time()}"), bundle.payload, str(np.random.rand()))
        start = time.perf_counter()
        path = build_native_fmu(fresh, folder / "built.fmu", BuildConfig(platforms=platforms))
        figures[f"{label}: build"] = time.perf_counter() - start
        figures[f"{label}: FMU, bytes"] = path.stat().st_size
    return figures


def fastest(call: Callable[[], Any], count: int) -> float:
    """Seconds per call: the fastest of many blocks."""
    best = float("inf")
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - start) / count)
    return best


def shown(figure: str, value: float) -> str:
    """With a unit that fits."""
    if figure.endswith("bytes"):
        return f"{value / 1000:.0f} kB"
    return f"{value * 1e6:.2f} us" if value < 0.01 else f"{value:.2f} s"


NOTHING = """
#include "fmi2FunctionTypes.h"
static double values[256];
fmi2Component fmi2Instantiate(fmi2String a, fmi2Type b, fmi2String c, fmi2String d, const fmi2CallbackFunctions *e, int f, int g)
{ (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g; return values; }
void fmi2FreeInstance(fmi2Component c) { (void)c; }
fmi2Status fmi2SetupExperiment(fmi2Component c, int a, double b, double d, int e, double f)
{ (void)a, (void)b, (void)c, (void)d, (void)e, (void)f; return fmi2OK; }
fmi2Status fmi2EnterInitializationMode(fmi2Component c) { (void)c; return fmi2OK; }
fmi2Status fmi2ExitInitializationMode(fmi2Component c) { (void)c; return fmi2OK; }
fmi2Status fmi2SetReal(fmi2Component c, const unsigned *r, size_t n, const double *v)
{ (void)c; for (size_t i = 0; i < n; i++) values[r[i] % 256] = v[i]; return fmi2OK; }
fmi2Status fmi2GetReal(fmi2Component c, const unsigned *r, size_t n, double *v)
{ (void)c; for (size_t i = 0; i < n; i++) v[i] = values[r[i] % 256]; return fmi2OK; }
fmi2Status fmi2DoStep(fmi2Component c, double t, double s, int n) { (void)c, (void)t, (void)s, (void)n; return fmi2OK; }
fmi2Status fmi2GetFMUstate(fmi2Component c, fmi2FMUstate *s) { (void)c, (void)s; return fmi2OK; }
fmi2Status fmi2SetFMUstate(fmi2Component c, fmi2FMUstate s) { (void)c, (void)s; return fmi2OK; }
fmi2Status fmi2FreeFMUstate(fmi2Component c, fmi2FMUstate *s) { (void)c, (void)s; return fmi2OK; }
fmi2Status fmi2GetDirectionalDerivative(fmi2Component c, const unsigned *a, size_t b, const unsigned *d, size_t e, const double *f,
                                        double *g)
{ (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g; return fmi2OK; }
"""

if __name__ == "__main__":
    main()
