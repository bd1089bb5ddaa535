"""A small plant simulator: a battery pack in series under a drive cycle, whose cells are sessions of a service.

surrogate-fmu serve models/dfn_cell/dfn_cell.bundle --listen 127.0.0.1:50051
python examples/plant_simulator/pack.py 127.0.0.1:50051 --cells 20 --steps 60

All cells carry the same current, and each one is another individual (its seed). A controller lowers the current when the warmest
cell is too warm or the emptiest too empty: the pack is as good as its worst cell. One call steps all cells.
"""

import argparse
import math

import numpy as np

from surrogate_fmu.service import connect

MODEL = "dfn_cell"
WARMEST_K, EMPTIEST = 313.15, 0.1


def wanted_current(time_s: float) -> float:
    """Current that the driver asks for [A], positive when discharging: a slow wave between 1 and 5."""
    return 3.0 + 2.0 * math.sin(2.0 * math.pi * time_s / 600.0)


def main() -> None:
    """Simulate, and print one line per minute."""
    parser = argparse.ArgumentParser(description="A battery pack whose cells are sessions of a service.")
    parser.add_argument("target", help="host:port of the service")
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60, help="of 10 s")
    arguments = parser.parse_args()
    with connect(arguments.target) as service:
        cells = [service.open(MODEL, seed=seed, parameters={"soc_start": 0.9}) for seed in range(arguments.cells)]
        print(f"{'time [s]':>9s}{'current [A]':>13s}{'pack [V]':>11s}{'weakest [V]':>13s}{'warmest [K]':>13s}{'emptiest':>10s}")
        derating = 1.0
        for step in range(arguments.steps):
            time_s = cells[0].time
            current = derating * wanted_current(time_s)
            result = service.do_steps(cells, {"current": np.full(len(cells), current)}).check()
            voltage, temperature, soc = (result.outputs[name] for name in ("voltage", "temperature", "soc"))
            derating = 0.5 if temperature.max() > WARMEST_K or soc.min() < EMPTIEST else min(1.0, derating + 0.1)
            if step % 6 == 5:
                cells_of = (voltage.sum(), voltage.min(), temperature.max(), soc.min())
                print("{:9.0f}{:13.3f}{:11.3f}{:13.4f}{:13.2f}{:10.3f}".format(cells[0].time, current, *cells_of))
        recoveries = sum(len(cell.recoveries) for cell in cells)
        print(f"{arguments.cells} cells, {arguments.steps} steps, {recoveries} failures overcome")
        for cell in cells:
            cell.close()


if __name__ == "__main__":
    main()
