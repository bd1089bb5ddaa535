"""Step a served surrogate ten times with its start values as inputs and print its outputs.

surrogate-fmu serve cell.bundle &
python examples/call_service.py 127.0.0.1:50051 dfn_cell
"""

import sys

import numpy as np

from surrogate_fmu.service.client import connect


def main(target: str, model_name: str) -> None:
    """Print one line per communication point."""
    with connect(target) as service, service.open(model_name, seed=7) as session:
        inputs = {v.name: v.start if not v.shape else np.full(v.shape, v.start) for v in session.manifest.inputs}
        scalars = [v for v in session.manifest.outputs if not v.shape]
        print("".join(f"{label:>24}" for label in ["time [s]", *(f"{v.name} [{v.unit}]" for v in scalars), "in domain"]))
        for _ in range(10):
            outputs = session.do_step(inputs)
            cells = [session.time, *(outputs[v.name] for v in scalars)]
            print("".join(f"{cell:>24.6g}" for cell in cells) + f"{session.in_domain!s:>24}")


if __name__ == "__main__":
    main(*sys.argv[1:])
