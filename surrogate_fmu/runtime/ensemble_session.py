"""Members of one bundle that step together: what is told of each output is its mean, deviation and quantiles over them."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import SnapshotError, SurrogateError
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.run_state import RunState, decode_run, encode_run
from surrogate_fmu.runtime.snapshot import open_snapshot, seal_snapshot
from surrogate_fmu.runtime.stepper import Stepper, StepPlan
from surrogate_fmu.runtime.values import Value

_LENGTH = struct.Struct("<I")


class EnsembleSession:
    """Members that take every step in one call of the generator; member m, from 0, is a session with the seed + m.

    Equal to such sessions to float32 tolerance: a batched product sums in another order. A step is taken by all or by none. To
    be used from one thread at a time.

    Args:
        bundle: what to run.
        members: how many, at least 1.
        quantiles: of the members, each from 0 to 1; linear between order statistics.
        seed, z_mode, domain_policy, parameters, device: as `Session`; the seed is that of the first member.

    Raises:
        DeviceError, InputError: as `Session`.
    """

    def __init__(
        self,
        bundle: Bundle,
        members: int,
        quantiles: Sequence[float],
        seed: int,
        z_mode: ZMode,
        domain_policy: DomainPolicy,
        parameters: Mapping[str, Value],
        device: str = "cpu",
    ) -> None:
        self._stepper = Stepper(bundle, device, reproducible_batch=1)
        self._digest = bytes.fromhex(bundle.digest)
        self._quantiles = list(quantiles)
        run = self._stepper.declared()._replace(z_mode=z_mode, domain_policy=domain_policy)
        run = self._stepper.with_values(run, parameters)
        self._runs = [run._replace(seed=seed + member) for member in range(members)]
        self._draws = [self._stepper.draws(run) for run in self._runs]

    def initialize(self, z: Value | None = None) -> dict[str, Any]:
        """Start all runs; the outputs of the first member."""
        pairs = zip(self._runs, self._draws, strict=True)
        self._runs = [self._stepper.start(run, draws, z) for run, draws in pairs]
        return self._outputs()

    def do_step(
        self,
        inputs: Mapping[str, Value] | None = None,
        z: Value | None = None,
        communication_step_size: float | None = None,
        communication_point: float | None = None,
    ) -> dict[str, Any]:
        """Advance all members; the outputs of the first one. Arguments and errors as `Session.do_step`."""
        first = self._stepper.plan(self._runs[0], self._draws[0], inputs, z, communication_step_size, communication_point)
        latent = first.run.external_latent
        plans: list[StepPlan] = [
            first._replace(run=run._replace(external_latent=latent), draws=draws)
            for run, draws in zip(self._runs, self._draws, strict=True)
        ]
        results = self._stepper.advance(plans)
        runs = [result for result in results if isinstance(result, RunState)]
        for result in results:
            if isinstance(result, SurrogateError):
                raise result
        self._runs = runs
        return self._outputs()

    def statistics(self) -> NDArray[np.float64]:
        """(2 + quantiles, output_dim): mean, standard deviation (by N - 1; 0 for one member), then the quantiles."""
        outputs = np.array([run.outputs for run in self._runs], np.float64)
        spread = outputs.std(axis=0, ddof=1) if len(outputs) > 1 else np.zeros(outputs.shape[1])
        return np.vstack([outputs.mean(axis=0), spread, np.quantile(outputs, self._quantiles, axis=0)])

    @property
    def domain_distance(self) -> float:
        """The largest of the members'."""
        return self._worst().domain_distance

    @property
    def domain_message(self) -> str:
        """That of the member that is farthest outside."""
        return self._worst().domain_message

    def snapshot(self) -> bytes:
        """The state of all members."""
        parts = [encode_run(run) for run in self._runs]
        return seal_snapshot(self._digest, b"".join(_LENGTH.pack(len(part)) + part for part in parts))

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot of an ensemble of as many members of the same bundle.

        Raises:
            SnapshotError: it is damaged, or of another bundle or size.
        """
        digest, data = open_snapshot(snapshot)
        runs, place = [], 0
        while digest == self._digest and place < len(data):
            (length,) = _LENGTH.unpack_from(data, place)
            place += _LENGTH.size + length
            runs.append(decode_run(data[place - length : place], self._stepper.manifest))
        if len(runs) != len(self._runs):
            raise SnapshotError(
                f"the snapshot is of {len(runs)} members of this bundle, the ensemble has {len(self._runs)}; restore it into one "
                "like that which made it"
            )
        self._runs = runs
        self._draws = [self._stepper.draws(run) for run in runs]

    def _worst(self) -> RunState:
        return max(self._runs, key=lambda run: run.domain_distance)

    def _outputs(self) -> dict[str, Any]:
        outputs = self._runs[0].outputs
        assert outputs is not None
        return self._stepper.values.read_outputs(outputs)
