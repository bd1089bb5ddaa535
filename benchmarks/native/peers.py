"""One step through FMPy, beside the FMUs that other tools make of the same network.

python benchmarks/native/peers.py        prints a table and writes benchmarks/native/peers.json

The network is the MLP 12-64-64-4; a step sets 12 inputs, calls doStep and gets 4 outputs, with FMPy's own methods, all in one
process and in turns. Each peer is installed from the package index into an environment of its own under build/peers, as its
documentation says; a peer that cannot be built on this machine has its own words in the table instead of a figure.
"""

import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fmpy import extract, read_model_description
from fmpy.fmi2 import FMU2Slave

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
import networks  # noqa: E402
import run  # noqa: E402

from surrogate_fmu.fmu.build import build_python_fmu  # noqa: E402
from surrogate_fmu.fmu.config import FmiVersion  # noqa: E402
from surrogate_fmu.fmu.native.build import build_native_fmu  # noqa: E402

FOLDER = ROOT / "build" / "peers"
LIMIT_S = 900.0  # for one command of a peer
INPUTS, OUTPUTS = 12, 4
TURNS, STEPS = 20, 200

# Writes the network as ONNX in the environment of a peer; the weights come from a file.
EXPORT = """
import sys
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
weights = np.load(sys.argv[1])
nodes, stored, last = [], [], "x"
for layer in range(3):
    for kind in ("w", "b"):
        stored.append(numpy_helper.from_array(weights[f"{kind}{layer}"], f"{kind}{layer}"))
    name = "y" if layer == 2 else f"s{layer}"
    nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], [name], transB=1))
    last = name
    if layer < 2:
        nodes.append(helper.make_node("Tanh", [last], [f"t{layer}"]))
        last = f"t{layer}"
tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (("x", 12), ("y", 4))]
graph = helper.make_graph(nodes, "mlp", tensors[:1], tensors[1:], stored)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
onnx.checker.check_model(model)
onnx.save(model, sys.argv[2])
"""


def main() -> None:
    """Build, time, print, write."""
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    bundle = networks.bundles()["MLP 12-64-64-4"]
    fmus: dict[str, Path | str] = {
        "surrogate-fmu, native, FMI 2.0": build_native_fmu(bundle, FOLDER / "native.fmu"),
        "surrogate-fmu, Python, FMI 2.0": build_python_fmu(bundle, FOLDER / "python.fmu"),
        "surrogate-fmu, Python, FMI 3.0": build_python_fmu(bundle, FOLDER / "python3.fmu", fmi=FmiVersion.V3),
    }
    write_weights(FOLDER / "weights.npz")
    for name, build in (("mlfmu 1.0.3", mlfmu), ("onnx2fmu 0.3.3", onnx2fmu)):
        fmus[name] = built(name, build)
    rows = measured({name: path for name, path in fmus.items() if isinstance(path, Path)}, bundle)
    rows |= {name: {"not built here": reason} for name, reason in fmus.items() if isinstance(reason, str)}
    (HERE / "peers.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(table(rows)))


def write_weights(path: Path) -> None:
    """The weights of a network of that shape, by a seed."""
    import numpy as np

    torch.manual_seed(0)
    layers = [torch.nn.Linear(INPUTS, 64), torch.nn.Linear(64, 64), torch.nn.Linear(64, OUTPUTS)]
    arrays = {f"{kind}{place}": getattr(layer, long).detach().numpy() for place, layer in enumerate(layers) for kind, long in KINDS}
    np.savez(path, **arrays)


KINDS = (("w", "weight"), ("b", "bias"))


def built(name: str, build: Callable[[Path, Path], Path]) -> Path | str:
    """The FMU of a peer, or why there is none."""
    package, _, version = name.partition(" ")
    environment = FOLDER / package
    try:
        python = environment / "bin" / "python"
        if not python.is_file():
            venv.create(environment, with_pip=True)
            command([str(python), "-m", "pip", "install", "--quiet", f"{package}=={version}", "onnx", "cmake"], FOLDER)
        model = FOLDER / f"{package}.onnx"
        command([str(python), "-c", EXPORT, str(FOLDER / "weights.npz"), str(model)], FOLDER)
        return build(environment, model)
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        return str(error)


def mlfmu(environment: Path, model: Path) -> Path:
    """By `mlfmu build`; it fetches ONNX Runtime through conan."""
    interface = {
        "name": "mlp",
        "inputs": [{"name": f"x{k + 1}", "agentInputIndexes": [str(k)]} for k in range(INPUTS)],
        "outputs": [{"name": f"y{k + 1}", "agentOutputIndexes": [str(k)]} for k in range(OUTPUTS)],
    }
    description = FOLDER / "mlfmu.json"
    description.write_text(json.dumps(interface))
    target = FOLDER / "mlfmu_fmu"
    target.mkdir(exist_ok=True)
    command([str(environment / "bin" / "conan"), "profile", "detect", "--force"], target, environment)
    arguments = ["build", "--interface-file", str(description), "--model-file", str(model), "--fmu-path", str(target)]
    output = command([str(environment / "bin" / "mlfmu"), *arguments], target, environment)
    found = sorted(target.rglob("*.fmu"))
    if not found:
        raise RuntimeError(reason_in(output))
    return found[0]


def onnx2fmu(environment: Path, model: Path) -> Path:
    """By `onnx2fmu build`; it downloads ONNX Runtime from its releases."""
    names = {"inputs": ("x", [f"x{k + 1}" for k in range(INPUTS)]), "outputs": ("y", [f"y{k + 1}" for k in range(OUTPUTS)])}
    facts: dict[str, Any] = {"name": "mlp", "FMIVersion": "2.0", "description": "mlp"}
    facts |= {side: [{"name": node, "labels": labels, "description": node}] for side, (node, labels) in names.items()}
    description = FOLDER / "onnx2fmu.json"
    description.write_text(json.dumps(facts))
    target = FOLDER / "onnx2fmu_fmu"
    target.mkdir(exist_ok=True)
    arguments = ["build", str(model), str(description), str(target / "project"), "--destination", str(target)]
    output = command([str(environment / "bin" / "onnx2fmu"), *arguments], target, environment)
    found = sorted(target.glob("*.fmu"))
    if not found:
        raise RuntimeError(reason_in(output))
    return found[0]


def command(words: list[str], folder: Path, environment: Path | None = None) -> str:
    """Run a command; its output."""
    variables = dict(os.environ)
    if environment is not None:
        variables["CONAN_HOME"] = str(FOLDER / "conan")
        variables["PATH"] = f"{environment / 'bin'}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(
        words, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S
    )
    if done.returncode:
        raise RuntimeError(reason_in(done.stdout))
    return done.stdout


def reason_in(output: str) -> str:
    """The line of an output that says what failed first, without colours, frames and addresses."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    lines = [line.strip("│╭╰─╮╯ \t") for line in plain.splitlines()]
    telling = [line for line in lines if re.search(r"\bERROR\b|\w*Error\b.*:|\b(failed|unable)\b", line, re.IGNORECASE)]
    line = (telling or [line for line in lines if line][-1:] or ["no word"])[0]
    if line.endswith(":"):  # the sentence stands on the next line
        line = " ".join([line, *[more for more in lines[lines.index(line) + 1 :] if more][:1]])
    return re.sub(r": HTTPS?Connection.*|\S*https?://\S+", "", line).strip()[:200]


def measured(fmus: dict[str, Path], bundle: Any) -> dict[str, dict[str, float]]:
    """Figures by FMU, the steps taken in turns; beside them a library that does nothing."""
    import tempfile

    slaves: dict[str, tuple[Any, list[int], list[int]]] = {}
    rows: dict[str, dict[str, float]] = {}
    for name, path in fmus.items():
        start = time.perf_counter()
        slaves[name] = opened(path)
        rows[name] = {"instantiate, ms": 1e3 * (time.perf_counter() - start), "FMU, kB": path.stat().st_size / 1e3}
    with tempfile.TemporaryDirectory() as folder:
        from fmpy.fmi2 import fmi2CallbackFunctions

        library = run.library_of_nothing(Path(folder))
        facts = {"guid": "", "unzipDirectory": folder, "modelIdentifier": "nothing", "instanceName": "one"}
        nothing = FMU2Slave(libraryPath=str(library), **facts)
        nothing.instantiate(callbacks=fmi2CallbackFunctions())
        slaves["the calls alone: a library that does nothing"] = (nothing, list(range(INPUTS)), list(range(OUTPUTS)))
        rows["the calls alone: a library that does nothing"] = {}
        best = dict.fromkeys(slaves, float("inf"))
        steps = dict.fromkeys(slaves, 0)
        for _ in range(TURNS):
            for name, (slave, inputs, outputs) in slaves.items():
                best[name] = min(best[name], block(slave, inputs, outputs, steps[name]))
                steps[name] += STEPS
        for name, seconds in best.items():
            rows[name]["step, us"] = 1e6 * seconds
            rows[name]["of native"] = seconds / best["surrogate-fmu, native, FMI 2.0"]
    return rows


def opened(path: Path) -> tuple[Any, list[int], list[int]]:
    """An initialized instance, and the references of its inputs and outputs."""
    from surrogate_fmu.fmu.fmi3_slave import Fmi3Slave
    from surrogate_fmu.fmu.instance import sizes_of

    folder = extract(str(path))
    description = read_model_description(folder)
    facts = {"guid": description.guid, "unzipDirectory": folder, "instanceName": "one"}
    facts["modelIdentifier"] = description.coSimulation.modelIdentifier
    slave = FMU2Slave(**facts) if description.fmiVersion == "2.0" else Fmi3Slave(sizes_of(description), **facts)
    slave.instantiate()
    slave.setupExperiment(startTime=0.0)
    slave.enterInitializationMode()
    slave.exitInitializationMode()
    real = [v for v in description.modelVariables if v.type in ("Real", "Float64")]
    references = [[v.valueReference for v in real if v.causality == causality] for causality in ("input", "output")]
    return slave, references[0][:INPUTS], references[1][:OUTPUTS]


def block(slave: Any, inputs: list[int], outputs: list[int], first: int) -> float:
    """Seconds of a step, over some steps."""
    values = [0.1] * len(inputs)
    start = time.perf_counter()
    for step in range(first, first + STEPS):
        slave.setReal(inputs, values)
        slave.doStep(float(step), 1.0)
        slave.getReal(outputs)
    return (time.perf_counter() - start) / STEPS


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The rows as lines for people."""
    heads = ("step, us", "of native", "instantiate, ms", "FMU, kB")
    lines = ["".join([f"{'':46s}", *(f"{head:>17s}" for head in heads)])]
    for name, row in rows.items():
        if "not built here" in row:
            lines.append(f"{name:46s}  not built here: {row['not built here']}")
        else:
            lines.append("".join([f"{name:46s}", *(f"{row[head]:17.2f}" if head in row else f"{'-':>17s}" for head in heads)]))
    return lines


if __name__ == "__main__":
    main()
