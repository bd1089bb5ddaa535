"""The generator at work: steps of one run, or of many runs in one call.

A step has two halves. `plan` makes every check and touches nothing; `advance` runs the generator for any number of plans
and gives each run its new state. So steps of many runs can share one call, and a run whose step is refused or fails harms
no other one.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import find_device, load_generator
from surrogate_fmu.errors import DomainError, InputError, SessionError, SurrogateError
from surrogate_fmu.manifest import DomainPolicy, ZMode
from surrogate_fmu.runtime.captured import CapturedStep, OnStream
from surrogate_fmu.runtime.domain import DomainBox
from surrogate_fmu.runtime.draws import LatentDraws
from surrogate_fmu.runtime.rows import Rows
from surrogate_fmu.runtime.run_state import RunState, hidden_numbers
from surrogate_fmu.runtime.tunable import TunableParameters
from surrogate_fmu.runtime.values import ConditionValues, Value

_FEW = 100  # numbers that are read sooner as a list than one tensor operation takes
_FEW_ROWS = 4  # rows that are read sooner one by one than as arrays
_LARGER_SIZES = (16, 64, 256)
_PROBES = 4  # orders of the rows that the check of reproducible batches tries


class StepPlan(NamedTuple):
    """A step that passed every check.

    Attributes:
        run: where it starts, with the latent that the caller gave.
        draws: its latents.
        raw_condition: (condition_dim,), as it was given.
        condition: (condition_dim,), as the generator sees it: inside the domain under the policy `clamp`.
        substeps: generator steps to take.
        distance: of the condition from the training domain.
        message: which variable left which range.
        tuned_distance: the largest distance of tunable parameters from where the run began, this step included.
    """

    run: RunState
    draws: LatentDraws
    raw_condition: tuple[float, ...]
    condition: tuple[float, ...]
    substeps: int
    distance: float
    message: str
    tuned_distance: float = 0.0


class Stepper:
    """Runs the generator of one bundle; holds no run. To be used from one thread at a time.

    Args:
        bundle: what to run.
        device: "cpu", "cuda", "cuda:1".
        reproducible_batch: rows of a reproducible batch; None lets the size of the model decide.

    Raises:
        BundleError, DeviceError: the generator cannot be loaded on the device.

    Attributes:
        manifest: of the bundle.
        bundle_digest: its SHA-256.
        values: reads and checks values by name.
        reproducible_batch: the least rows of a batch whose results do not depend on what is in the other rows. A model below
            1 MB with few numbers takes 4 (a fifth to a half more time than one row), a larger one is run row by row. It
            depends on the bundle and the argument alone, unless a check finds that the place of a row in the batch changes its
            bits: then it is 1.
        reproducible_sizes: that size, and larger ones whose rows the check found to have the same bits; ascending.
    """

    def __init__(self, bundle: Bundle, device: str = "cpu", reproducible_batch: int | None = None) -> None:
        self.manifest = bundle.manifest
        self.bundle_digest = bundle.digest
        self.values = ConditionValues(self.manifest)
        self._device = find_device(device)
        generator: Any = load_generator(bundle, device)
        self._initial, self._forward = generator.initial, generator.forward
        size = reproducible_batch or _batch_for(bundle)
        self._inference: AbstractContextManager[Any] = torch.inference_mode()
        if self._device.type == "cuda":
            self._forward = CapturedStep(generator.forward, (1, size, *_LARGER_SIZES))
            self._inference = OnStream(self._device)
        self._condition_box = DomainBox(self.manifest, self.manifest.condition)
        self._output_box = DomainBox(self.manifest, self.manifest.outputs)
        self._tunable = TunableParameters(self.manifest)
        self._rows = Rows(self.manifest, self._device)
        self.reproducible_sizes = self._check_sizes(size, () if reproducible_batch or size == 1 else _LARGER_SIZES)
        self.reproducible_batch = self.reproducible_sizes[0]

    def declared(self) -> RunState:
        """A run before its start, with the start values of the manifest."""
        no_latent = (0.0,) * self.manifest.latent_dim
        return RunState(0, ZMode.SAMPLED, DomainPolicy.WARN, self.values.start, no_latent)

    def draws(self, run: RunState) -> LatentDraws:
        """The latents of a run."""
        return LatentDraws(self.manifest, run.seed, run.z_mode)

    def with_values(self, run: RunState, values: Mapping[str, Value]) -> RunState:
        """The run with some values set; the errors are those of `ConditionValues.apply`."""
        return run._replace(condition=self.values.apply(run.condition, values, run.hidden is not None))

    def start(self, run: RunState, draws: LatentDraws, z: Value | None = None) -> RunState:
        """The run at its start.

        Args:
            run: before its start.
            draws: its latents.
            z: (latent_dim,), with z_mode `external`; its step part plays no role at the start.

        Raises:
            InputError: z cannot be used.
            DomainError: outside the training domain under the policy `refuse`.
            SessionError: the generator gives values that are not finite.
        """
        run = self._with_latent(run, z, "initialize")
        condition, distance, message, _ = self._apply_domain(run, run.condition)
        latent = draws.at(run, 0).copy()
        latent[self.manifest.run_latent_dim :] = 0.0
        with self._inference:
            y, h = self._initial(self._tensor(condition), self._to_device(torch.from_numpy(latent[None])))
            outputs = self._read_one(y, h, "initialize")
        distance, message = self._output_domain(run.domain_policy, outputs, distance, message)
        start = self._tunable.values(run.condition)
        return run._replace(hidden=h, outputs=outputs, domain_distance=distance, domain_message=message, start=start)

    # -- plans -------------------------------------------------------------------------------------------------------

    def plan(
        self,
        run: RunState,
        draws: LatentDraws,
        inputs: Mapping[str, Value] | None = None,
        z: Value | None = None,
        communication_step_size: float | None = None,
        communication_point: float | None = None,
    ) -> StepPlan:
        """Check one step.

        Args:
            run: that has started.
            draws: its latents.
            inputs: and tunable parameters, by name, in their units; those not given keep their values.
            z: (latent_dim,), with z_mode `external`; held over substeps and kept until it is given again. Or the run latents alone,
                (run_latent_dim,), and step latents are drawn from the seed.
            communication_step_size: [s]; None is one step of the generator. `communication_step` says which ones fit.
            communication_point: the master's time at the start [s], whose rounding a step size may have; None is the time
                since the start of the run.

        Raises:
            CallOrderError, InputError, StepSizeError, DomainError: it cannot be taken.
        """
        run = self._with_latent(run, z, "do_step")
        raw_condition = self.values.apply(run.condition, inputs, True) if inputs else run.condition
        substeps = self._substeps(run, communication_step_size, communication_point)
        condition, distance, message, tuned = self._apply_domain(run, raw_condition)
        return StepPlan(run, draws, raw_condition, condition, substeps, distance, message, tuned)

    def plan_columns(
        self,
        runs: Sequence[RunState],
        draws: Sequence[LatentDraws],
        columns: Mapping[str, NDArray[np.float64]],
        z: NDArray[np.float64] | None = None,
        communication_step_size: float | None = None,
    ) -> list[StepPlan | SurrogateError]:
        """Check one step of each of many runs; row i of every column belongs to run i.

        Args:
            runs: that have started.
            draws: their latents.
            columns: inputs by name, (runs, shape of the variable...).
            z: (runs, latent_dim), or (runs, run_latent_dim), where all have z_mode `external`.
            communication_step_size: of all [s].

        Returns:
            For each run its plan, or why there is none.
        """
        count = len(runs)
        try:
            blocks, refused = self.values.columns(columns, count)
            if z is not None and z.shape[:1] != (count,):
                raise InputError(f"z: expected the shape {(count, self.manifest.latent_dim)}, got {z.shape}")
        except SessionError as error:
            return [error] * count
        conditions = np.array([run.condition for run in runs], np.float64).reshape(count, self.manifest.condition_dim)
        for place, block in blocks:
            conditions[:, place] = block
        outside = self._condition_box.distances(conditions) > 0.0
        plans: list[StepPlan | SurrogateError] = []
        for row, raw in enumerate(map(tuple, conditions.tolist())):
            if row in refused:
                plans.append(refused[row])
                continue
            try:
                run = runs[row] if z is None else self._with_latent(runs[row], z[row], "do_step")
                looked_at = outside[row] or run.start
                condition, distance, message, tuned = self._apply_domain(run, raw) if looked_at else (raw, 0.0, "", 0.0)
                substeps = self._substeps(run, communication_step_size, None)
                plans.append(StepPlan(run, draws[row], raw, condition, substeps, distance, message, tuned))
            except SessionError as error:
                plans.append(error)
        return plans

    # -- steps -------------------------------------------------------------------------------------------------------

    def advance_one(self, plan: StepPlan) -> RunState:
        """Take one step, in a call of the generator of its own.

        Raises:
            SessionError: the generator gives values that are not finite.
            DomainError: the step would end outside the training domain under the policy `refuse`.
        """
        run, draws = plan.run, plan.draws
        h = run.hidden
        if not isinstance(h, torch.Tensor):
            h = self._to_device(torch.from_numpy(h[None]))
        x = self._tensor(plan.condition)
        first = run.step_index
        with self._inference:
            for step in range(first, first + plan.substeps):
                y, h = self._forward(x, self._latent(run, draws, step), h)
            outputs = self._read_one(y, h, "do_step")
        if self._output_box.distance(outputs) > 0.0:
            return self._finish(plan, outputs, h)
        return _next_state(plan, outputs, h, plan.distance, plan.message)

    def advance(self, plans: Sequence[StepPlan], batch: int = 0) -> list[RunState | SurrogateError]:
        """Take the steps of many runs.

        Args:
            plans: of different runs.
            batch: rows of every call of the generator, padded where there are fewer plans: with `reproducible_batch` equal bits
                whatever the other plans are. 0 is one call for all.

        Returns:
            For each plan the new state, or why there is none.
        """
        if batch == 1 or (batch == 0 and len(plans) == 1):
            return [self._advance_or_refuse(plan) for plan in plans]
        size = batch or len(plans)
        if len(plans) <= size and len({plan.substeps for plan in plans}) == 1:
            return self._advance_rows(plans, size)
        by_substeps: dict[int, list[int]] = {}
        for place, plan in enumerate(plans):
            by_substeps.setdefault(plan.substeps, []).append(place)
        results: dict[int, RunState | SurrogateError] = {}
        for places in by_substeps.values():
            for first in range(0, len(places), size):
                some = places[first : first + size]
                results |= zip(some, self._advance_rows([plans[place] for place in some], batch or len(some)), strict=True)
        return [results[place] for place in range(len(plans))]

    def advance_reproducibly(self, plans: Sequence[StepPlan]) -> list[RunState | SurrogateError]:
        """Take the steps of many runs with equal bits whatever the other plans are, in as few calls as that allows.

        Args:
            plans: of different runs.

        Returns:
            For each plan the new state, or why there is none.
        """
        count = len(plans)
        size = next((size for size in self.reproducible_sizes if size >= count), self.reproducible_sizes[-1])
        return self.advance(plans, size)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _advance_or_refuse(self, plan: StepPlan) -> RunState | SurrogateError:
        try:
            return self.advance_one(plan)
        except SurrogateError as error:
            return error

    def _advance_rows(self, plans: Sequence[StepPlan], row_count: int) -> list[RunState | SurrogateError]:
        """The steps of plans with equal substeps in one call of the generator per substep."""
        with self._inference:
            x = self._rows.condition([plan.condition for plan in plans], row_count)
            h = self._rows.hidden([hidden_numbers(plan.run) for plan in plans], row_count)
            for substep in range(plans[0].substeps):
                latents = [plan.draws.at(plan.run, plan.run.step_index + substep) for plan in plans]
                y, h = self._forward(x, self._rows.latent(latents, row_count), h)
            outputs, states = y.cpu().numpy()[: len(plans)], h.cpu().numpy()[: len(plans)]
        rows = zip(plans, map(tuple, outputs.tolist()), states, strict=True)
        if len(plans) <= _FEW_ROWS:
            return [self._row_result(plan, numbers, state, all(map(math.isfinite, numbers))) for plan, numbers, state in rows]
        inside = self._output_box.distances(outputs) == 0.0  # what is not a number counts as inside
        finite = np.isfinite(outputs).all(axis=1) & np.isfinite(states).all(axis=1)
        plain = (inside & finite).tolist()
        return [
            _next_state(plan, numbers, state.copy(), plan.distance, plan.message)
            if plain[place]
            else self._row_result(plan, numbers, state, bool(finite[place]))
            for place, (plan, numbers, state) in enumerate(rows)
        ]

    def _row_result(
        self, plan: StepPlan, numbers: tuple[float, ...], state: NDArray[np.float32], finite: bool
    ) -> RunState | SurrogateError:
        if not (finite and (not len(state) or math.isfinite(float(state.sum(dtype=np.float64))))):
            return _not_finite("do_step")
        try:
            return self._finish(plan, numbers, state.copy())
        except SurrogateError as error:
            return error

    def _finish(self, plan: StepPlan, outputs: tuple[float, ...], hidden: Any) -> RunState:
        distance, message = self._output_domain(plan.run.domain_policy, outputs, plan.distance, plan.message)
        return _next_state(plan, outputs, hidden, distance, message)

    def _substeps(self, run: RunState, communication_step_size: float | None, communication_point: float | None) -> int:
        if communication_step_size is None:
            return 1
        point = run.step_index * self.manifest.step_size if communication_point is None else communication_point
        return self.values.substeps(communication_step_size, point)

    def _with_latent(self, run: RunState, z: Value | None, call: str) -> RunState:
        return run if z is None else run._replace(external_latent=self.values.latent(z, run.z_mode, call))

    def _apply_domain(self, run: RunState, condition: tuple[float, ...]) -> tuple[tuple[float, ...], float, str, float]:
        """The condition that the generator gets; its distance and message; the distance of tunable parameters in this run."""
        distance = self._condition_box.distance(condition)
        tuned = max(self._tunable.distance(condition, run.start), run.tuned_distance) if run.start else 0.0
        if distance == tuned == 0.0:
            return condition, 0.0, "", 0.0
        if distance >= tuned:
            message, hint = self._condition_box.describe(condition), "stay inside"
        else:
            message, hint = self._tunable.describe(condition, run.start), "set it back"
        if run.domain_policy is DomainPolicy.REFUSE:
            raise DomainError(f"{message}; {hint}, or choose the domain policy 'warn' or 'clamp'")
        worst = max(distance, tuned)
        if run.domain_policy is DomainPolicy.CLAMP:
            held = self._tunable.held(condition, run.start) if run.start else condition
            return self._condition_box.clamp(held), worst, message, 0.0
        return condition, worst, message, tuned

    def _output_domain(self, policy: DomainPolicy, outputs: tuple[float, ...], distance: float, message: str) -> tuple[float, str]:
        output_distance = self._output_box.distance(outputs)
        if output_distance > 0.0 and policy is DomainPolicy.REFUSE:
            raise DomainError(f"the step would end where {self._output_box.describe(outputs)}; the state is as before")
        if output_distance > distance:
            return output_distance, self._output_box.describe(outputs)
        return distance, message

    def _read_one(self, y: torch.Tensor, h: torch.Tensor, call: str) -> tuple[float, ...]:
        """The outputs of one run; one sum tells whether all of its numbers are finite."""
        outputs = tuple(y.tolist()[0])
        total = sum(h.tolist()[0]) if h.shape[1] <= _FEW else float(h.sum(dtype=torch.float64))
        if not math.isfinite(total + sum(outputs)):
            raise _not_finite(call)
        return outputs

    def _latent(self, run: RunState, draws: LatentDraws, step: int) -> torch.Tensor:
        """z of a step, (1, latent_dim)."""
        block, row = draws.block(run, step)
        if draws.tensors_of is not block:
            draws.tensors_of, draws.tensors = block, self._to_device(torch.from_numpy(block)).split(1)  # type: ignore[no-untyped-call]
        return draws.tensors[row]  # type: ignore[no-any-return]

    def _tensor(self, values: tuple[float, ...]) -> torch.Tensor:
        """(1, size); half the time of `torch.tensor`, and `array` makes an overflow infinite where numpy would warn."""
        return self._to_device(torch.from_numpy(np.ndarray((1, len(values)), np.float32, array("f", values))))

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if self._device.type == "cpu" else tensor.to(self._device)

    def _check_sizes(self, size: int, larger: Sequence[int]) -> tuple[int, ...]:
        """The size, or 1 if the place of a row in a batch of it changes its bits; and those larger ones that give the same bits."""
        if size == 1:
            return (1,)
        random = np.random.default_rng(0)
        manifest, count = self.manifest, max((size, *larger))
        low = np.array([manifest.domain[v.name].min for v in manifest.condition for _ in range(v.size)], np.float64)
        high = np.array([manifest.domain[v.name].max for v in manifest.condition for _ in range(v.size)], np.float64)
        x = torch.from_numpy((low + (high - low) * random.random((count, len(low)))).astype(np.float32)).to(self._device)
        z = torch.from_numpy(random.standard_normal((count, manifest.latent_dim), np.float32)).to(self._device)
        with self._inference:
            _, h = self._initial(x, z)

            def step(rows: torch.Tensor) -> list[torch.Tensor]:
                return [part.nan_to_num() for part in self._forward(x[rows], z[rows], h[rows])]

            def same(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor], order: torch.Tensor) -> bool:
                return all(torch.equal(one[order], other) for one, other in zip(first, second, strict=True))

            rows = torch.arange(size, device=self._device)
            expected = step(rows)
            for _ in range(_PROBES):
                order = torch.from_numpy(random.permutation(size)).to(self._device)
                if not same(expected, step(rows[order]), order):
                    return (1,)
            sizes = [size]
            for more in larger:
                order = torch.from_numpy(random.permutation(more)).to(self._device)
                places = torch.argsort(order)[:size]  # where the first rows went
                if not all(torch.equal(one, other[places]) for one, other in zip(expected, step(order), strict=True)):
                    break
                sizes.append(more)
        return tuple(sizes)


def _batch_for(bundle: Bundle) -> int:
    manifest = bundle.manifest
    numbers = manifest.condition_dim + manifest.latent_dim + manifest.hidden_dim + manifest.output_dim
    return 4 if len(bundle.payload) < 1_000_000 and numbers <= 512 else 1


def _next_state(plan: StepPlan, outputs: tuple[float, ...], hidden: Any, distance: float, message: str) -> RunState:
    run = plan.run
    return RunState(
        run.seed,
        run.z_mode,
        run.domain_policy,
        plan.raw_condition,
        run.external_latent,
        run.step_index + plan.substeps,
        hidden,
        outputs,
        distance,
        message,
        run.start,
        plan.tuned_distance,
    )


def _not_finite(call: str) -> SessionError:
    return SessionError(f"{call}: the generator gave values that are not finite; the state is as before")
