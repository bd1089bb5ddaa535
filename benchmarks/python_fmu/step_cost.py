"""What a step of the cell's Python FMU costs, and what of it: the live solver, the surrogate, and ever less of it."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HERE = Path(__file__).resolve().parent
CELL = HERE.parents[1] / "models" / "dfn_cell"
sys.path.insert(0, str(CELL))

from charging import AMBIENT_K, SOC_START, charge  # noqa: E402

from surrogate_fmu.bundle.archive import Bundle, read_bundle  # noqa: E402
from surrogate_fmu.bundle.torchscript import export_bundle, load_generator  # noqa: E402
from surrogate_fmu.fmu.build import build_plant_fmu, build_python_fmu  # noqa: E402
from surrogate_fmu.manifest import Manifest  # noqa: E402
from surrogate_fmu.plant.protocol import load_plant  # noqa: E402
from surrogate_fmu.runtime.session import Session  # noqa: E402

LIVE = "live DFN FMU, FMPy"
SURROGATE = "surrogate FMU, FMPy"
TRIVIAL = "FMU of a trivial generator, FMPy"
IDLE = "FMU of an idle plant, FMPy"
THROUGH_FMPY = (LIVE, SURROGATE, TRIVIAL, IDLE)
SOLVER = "DFN solver alone"
START = {"soc_start": SOC_START, "temperature_start": AMBIENT_K}


class TrivialGenerator(torch.nn.Module):
    """The middle of the domain at every step."""

    outputs: Tensor

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        ranges = [manifest.domain[v.name] for v in manifest.outputs for _ in range(v.size)]
        self.register_buffer("outputs", torch.tensor([[(r.min + r.max) / 2.0 for r in ranges]], dtype=torch.float32))
        self.hidden_dim = manifest.hidden_dim

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs.expand(x.shape[0], -1), torch.zeros(x.shape[0], self.hidden_dim, device=x.device)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs.expand(x.shape[0], -1), h


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=CELL / "dfn_cell.bundle", help="(default: the cell as shipped)")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each one takes (default: %(default)d)")
    parser.add_argument("--live-steps", type=int, default=60, help="steps of the solver in a turn (default: %(default)d)")
    parser.add_argument("--steps", type=int, default=360, help="steps of the others in a turn (default: %(default)d)")
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    trivial = export_bundle(TrivialGenerator(bundle.manifest), bundle.manifest.replace(name="trivial"))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        live = build_plant_fmu("plant.py:DfnCell", CELL, folder / "live.fmu")
        surrogate = build_python_fmu(bundle, folder / "surrogate.fmu")
        trivial_fmu = build_python_fmu(trivial, folder / "trivial.fmu")
        idle = build_plant_fmu("idle_cell.py:IdleCell", HERE, folder / "idle.fmu")
        currents = charge(surrogate, [1], arguments.steps).signals[0, 1:, 3].tolist()
        # Each gives the wall times [s] of the steps of one turn. They take turns, so that all see the same machine.
        turns: dict[str, Callable[[], NDArray[np.float64]]] = {
            LIVE: lambda: charge(live, [1], arguments.live_steps).step_s,
            SURROGATE: lambda: charge(surrogate, [1], arguments.steps).step_s,
            TRIVIAL: lambda: charge(trivial_fmu, [1], arguments.steps).step_s,
            IDLE: lambda: charge(idle, [1], arguments.steps).step_s,
            SOLVER: _solver(currents[: arguments.live_steps]),
            "session alone": _session(bundle, currents),
            "generator's call alone": _generator(bundle, arguments.steps),
        }
        for turn in turns.values():
            turn()
        times: dict[str, list[float]] = {name: [] for name in turns}
        for _ in range(arguments.rounds):
            for name, turn in turns.items():
                times[name] += turn().tolist()
    _print({name: float(np.median(times[name])) for name in turns})
    return 0


def _print(median_s: dict[str, float]) -> None:
    print(f"{'median of a step':40s} {'us':>9s} {'solver / it':>12s}")
    for name, seconds in median_s.items():
        against = median_s[LIVE if name in THROUGH_FMPY else SOLVER]
        print(f"{name:40s} {seconds * 1e6:9.1f} {against / seconds:12.0f}")
    print("\nof the surrogate's step through FMPy")
    surrogate, trivial, idle = (median_s[name] for name in (SURROGATE, TRIVIAL, IDLE))
    for name, seconds in (
        ("the generator's graph", surrogate - trivial),
        ("the session, and an empty call of torch", trivial - idle),
        ("PythonFMU, FMPy and the slave", idle),
    ):
        print(f"{name:40s} {seconds * 1e6:9.1f} {seconds / surrogate:12.0%}")


def _solver(currents: Sequence[float]) -> Callable[[], NDArray[np.float64]]:
    plant = load_plant("plant.py:DfnCell", CELL)

    def turn() -> NDArray[np.float64]:
        plant.reset(1, START)
        inputs = [{"current": current, "ambient_temperature": AMBIENT_K} for current in currents]
        return _time(lambda values: plant.do_step(values, plant.communication_step_size), inputs)

    return turn


def _session(bundle: Bundle, currents: Sequence[float]) -> Callable[[], NDArray[np.float64]]:
    def turn() -> NDArray[np.float64]:
        with Session(bundle, seed=1, parameters=START) as session:
            session.initialize()
            return _time(session.do_step, [{"current": current, "ambient_temperature": AMBIENT_K} for current in currents])

    return turn


def _generator(bundle: Bundle, count: int) -> Callable[[], NDArray[np.float64]]:
    manifest, generator = bundle.manifest, load_generator(bundle)
    x = torch.tensor([[v.start or 0.0 for v in manifest.condition for _ in range(v.size)]], dtype=torch.float32)
    z = torch.zeros(1, manifest.latent_dim)

    def turn() -> NDArray[np.float64]:
        with torch.inference_mode():
            _, h = generator.initial(x, z)
            return _time(lambda h: generator.forward(x, z, h), [h] * count)

    return turn


def _time(call: Callable[[Any], Any], arguments: Sequence[Any]) -> NDArray[np.float64]:
    times = []
    for argument in arguments:
        begin = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - begin)
    return np.array(times)


if __name__ == "__main__":
    sys.exit(main())
