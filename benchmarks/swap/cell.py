"""A cell on a charger, before and after the swap: the live Doyle-Fuller-Newman solver, then its surrogate.

python benchmarks/swap/cell.py [--runs 3]

The charger, constant current up to 4.1 V and derated from 303 to 318 K, is a native FMU of this project; both systems run in
its own master, 360 steps of 10 s. It prints what `surrogate-fmu compare` prints: errors, spread, wall time of the component and
the whole.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import read_bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.evaluation.system_report import comparison_lines
from surrogate_fmu.fmu.build import build_plant_fmu
from surrogate_fmu.fmu.config import BuildConfig
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.ssp.compare import compare
from surrogate_fmu.ssp.swap import swap
from surrogate_fmu.variables import Causality, Variable
from tests.ssp.systems import component, connection, connector, parameters, system, write_ssp

CELL = Path(__file__).resolve().parents[2] / "models" / "dfn_cell"
STEP_S, STEPS = 10.0, 360
MANIFEST = Manifest(
    name="charger",
    description="charges a cell",
    variables=(
        Variable("voltage", Causality.INPUT, "V", "of the cell", 3.7),
        Variable("temperature", Causality.INPUT, "K", "of the cell", 298.15),
        Variable("current", Causality.OUTPUT, "A", "of the cell, negative as it charges"),
    ),
    step_size=STEP_S,
    run_latent_dim=0,
    step_latent_dim=0,
    hidden_dim=0,
    domain={"voltage": Interval(0.0, 10.0), "temperature": Interval(200.0, 400.0), "current": Interval(-10.0, 10.0)},
)


class Charger(torch.nn.Module):
    """At most 5 A; in proportion to what is missing to 4.1 V, and to 318 K."""

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, 2), z (batch, 0) -> y (batch, 1), h (batch, 0)."""
        allowed = torch.clamp(50.0 * (4.1 - x[:, 0:1]), 0.0, 5.0)
        derated = torch.clamp((318.15 - x[:, 1:2]) / 15.0, 0.0, 1.0)
        return -allowed * derated, x[:, 0:0]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The same at every step."""
        return self.initial(x, z)


def main() -> None:
    """Build, swap, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        slow = build_plant_fmu("plant.py:DfnCell", CELL, folder / "Cell.fmu")
        fast = build_native_fmu(read_bundle(CELL / "dfn_cell.bundle"), folder / "Fast.fmu", BuildConfig())
        charger = build_native_fmu(export_bundle(Charger(), MANIFEST), folder / "Charger.fmu", BuildConfig())
        outputs = ("voltage", "temperature", "soc")
        elements = [
            component(
                "cell",
                "resources/Cell.fmu",
                [connector("current", "input"), *(connector(output, "output") for output in outputs)],
                parameters({"soc_start": 0.25}),
            ),
            component(
                "charger",
                "resources/Charger.fmu",
                [connector("voltage", "input"), connector("temperature", "input"), connector("current", "output")],
            ),
        ]
        wires = [connection("charger.current", "cell.current")]
        wires += [connection(f"cell.{output}", f"charger.{output}") for output in outputs[:2]]
        before = write_ssp(
            folder / "charging.ssp",
            system("charging", elements, wires),
            {"resources/Cell.fmu": slow, "resources/Charger.fmu": charger},
            stop=STEP_S * STEPS,
        )
        swap(before, "cell", fast, folder / "charging-fast.ssp")
        for line in comparison_lines(compare(before, folder / "charging-fast.ssp", STEP_S, runs=arguments.runs)):
            print(line)


if __name__ == "__main__":
    main()
