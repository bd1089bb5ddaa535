"""The contract of a session as a check that anybody can run on any runtime: in process, inside an FMU, over the wire.

from surrogate_fmu import Session, check_session, read_bundle
bundle = read_bundle("my.bundle")
print(check_session(lambda **options: Session(bundle, **options), bundle.manifest))
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from surrogate_fmu.errors import CallOrderError, DomainError, InputError, SessionError, SnapshotError, StepSizeError
from surrogate_fmu.manifest import DomainPolicy, Manifest, ZMode
from surrogate_fmu.variables import settable_parameters

_STEPS = 6


class SteppingSession(Protocol):
    """What every runtime offers; `runtime.session.Session` says what each call means."""

    def initialize(self, z: Any = None) -> dict[str, Any]: ...
    def set_values(self, values: Mapping[str, Any]) -> None: ...
    def do_step(self, inputs: Any = None, z: Any = None, communication_step_size: float | None = None) -> dict[str, Any]: ...
    def reset(self) -> None: ...
    def snapshot(self) -> bytes: ...
    def restore(self, snapshot: bytes) -> None: ...
    def close(self) -> None: ...
    @property
    def outputs(self) -> dict[str, Any]: ...
    @property
    def values(self) -> dict[str, Any]: ...
    @property
    def in_domain(self) -> bool: ...
    @property
    def domain_distance(self) -> float: ...


MakeSession = Callable[..., SteppingSession]
"""Makes a session that is not initialized; takes `seed`, `z_mode`, `domain_policy` and `parameters` by keyword."""


class ContractError(AssertionError):
    """A runtime does not keep the contract; the message lists what it broke."""


@dataclass(frozen=True)
class ContractReport:
    """The clauses that were checked and those that were broken, each with what was seen."""

    kept: tuple[str, ...]
    broken: Mapping[str, str]

    def __str__(self) -> str:
        lines = [f"kept    {clause}" for clause in self.kept]
        lines += [f"BROKEN  {clause}: {seen}" for clause, seen in self.broken.items()]
        return "\n".join(lines)


def check_session(make: MakeSession, manifest: Manifest) -> ContractReport:
    """Run every clause of the contract on fresh sessions.

    Raises:
        ContractError: at least one clause is broken; all are tried first.
    """
    kept: list[str] = []
    broken: dict[str, str] = {}
    for clause, check in _CLAUSES.items():
        try:
            check(_Bench(make, manifest))
        except (AssertionError, SessionError, TypeError, ValueError) as error:
            broken[clause] = f"{type(error).__name__}: {error}"
        else:
            kept.append(clause)
    report = ContractReport(tuple(kept), broken)
    if broken:
        raise ContractError(f"{len(broken)} of {len(_CLAUSES)} clauses are broken:\n{report}")
    return report


class _Bench:
    """Makes sessions and drives them through legal inputs."""

    def __init__(self, make: MakeSession, manifest: Manifest) -> None:
        self._make = make
        self.manifest = manifest

    def open(self, **options: Any) -> SteppingSession:
        return self._make(**options)

    def running(self, **options: Any) -> SteppingSession:
        session = self.open(**options)
        session.initialize()
        return session

    def inputs(self, step: int) -> dict[str, Any]:
        """Inputs that move through the middle of the training domain."""
        values = {}
        for position, variable in enumerate(self.manifest.inputs):
            interval = self.manifest.domain[variable.name]
            low = interval.min if variable.min is None else max(interval.min, variable.min)
            high = interval.max if variable.max is None else min(interval.max, variable.max)
            value = low + (high - low) * (0.5 + 0.1 * math.sin(step + position))
            values[variable.name] = np.full(variable.shape, value) if variable.shape else value
        return values

    def walk(self, session: SteppingSession, first: int = 0, count: int = _STEPS) -> list[dict[str, Any]]:
        return [session.do_step(self.inputs(step)) for step in range(first, first + count)]


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, list):
        return len(left) == len(right) and all(_same(a, b) for a, b in zip(left, right, strict=True))
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def _refused(call: Callable[[], Any], kind: type[SessionError], what: str) -> None:
    try:
        call()
    except kind as error:
        assert str(error).strip(), f"{what} was refused without a word"
    except SessionError as error:
        raise AssertionError(f"{what} raised {type(error).__name__}, expected {kind.__name__}: {error}") from error
    else:
        raise AssertionError(f"{what} was accepted, expected {kind.__name__}")


def _check_same_seed(bench: _Bench) -> None:
    first, second, other = bench.running(seed=7), bench.running(seed=7), bench.running(seed=8)
    walked = bench.walk(first)
    assert _same(walked, bench.walk(second)), "equal seeds and inputs gave different trajectories"
    if bench.manifest.latent_dim:
        assert not _same(walked, bench.walk(other)), "different seeds gave the same trajectory: the latents have no effect"


def _check_step_once(bench: _Bench) -> None:
    plain, watched = bench.running(seed=3), bench.running(seed=3)
    expected = bench.walk(plain, count=3)
    seen = []
    for step in range(3):
        watched.set_values(bench.inputs(step))
        before = watched.outputs
        watched.set_values(bench.inputs(step))
        assert _same(before, watched.outputs), "writing an input changed the outputs before do_step"
        seen.append(watched.do_step())
        assert _same(watched.outputs, watched.outputs), "reading the outputs twice gave different values"
        assert _same(seen[-1], watched.outputs), "do_step and outputs disagree"
    assert _same(expected, seen), "reading and writing between steps changed the trajectory"


def _check_held_inputs(bench: _Bench) -> None:
    held, given = bench.running(seed=4), bench.running(seed=4)
    inputs = bench.inputs(1)
    first = [held.do_step(inputs)] + [held.do_step() for _ in range(3)]
    assert _same(first, [given.do_step(inputs) for _ in range(4)]), "inputs that are not set again were not held"


def _check_reset(bench: _Bench) -> None:
    session = bench.open(seed=5)
    start = session.values
    begun = session.initialize()
    walked = bench.walk(session)
    session.reset()
    _refused(lambda: session.do_step(), CallOrderError, "do_step after reset, before initialize")
    assert _same(start, session.values), "reset did not bring the start values back"
    assert _same(begun, session.initialize()), "the outputs at the start differ after reset"
    assert _same(walked, bench.walk(session)), "the trajectory after reset differs from a fresh one"


def _check_start_values(bench: _Bench) -> None:
    values = bench.open().values
    for variable in bench.manifest.condition:
        expected = np.full(variable.shape, variable.start)
        assert np.array_equal(values[variable.name], expected), (
            f"{variable.name!r} starts at {values[variable.name]}, declared is {variable.start}"
        )


def _check_first_outputs(bench: _Bench) -> None:
    session = bench.open()
    outputs = session.initialize()
    assert _same(outputs, session.outputs), "initialize and outputs disagree"
    assert all(np.isfinite(value).all() for value in outputs.values()), "outputs at the start are not finite"


def _check_snapshot(bench: _Bench) -> None:
    session = bench.running(seed=9)
    bench.walk(session)
    snapshot = session.snapshot()
    expected = bench.walk(session, first=_STEPS)
    session.restore(snapshot)
    assert _same(expected, bench.walk(session, first=_STEPS)), "the session did not replay after restore"
    other = bench.running(seed=1)
    bench.walk(other, count=2)
    other.restore(snapshot)
    assert _same(expected, bench.walk(other, first=_STEPS)), "another session did not continue from the snapshot"
    _refused(lambda: session.restore(snapshot[: len(snapshot) // 2]), SnapshotError, "half a snapshot")
    assert _same(session.outputs, expected[-1]), "a refused snapshot changed the session"


def _check_refusals(bench: _Bench) -> None:
    fresh = bench.open()
    _refused(lambda: fresh.do_step(), CallOrderError, "do_step before initialize")
    session, twin = bench.running(seed=6), bench.running(seed=6)
    bench.walk(session, count=2)
    bench.walk(twin, count=2)
    before = session.outputs
    _refused(lambda: session.do_step({"no such variable": 1.0}), InputError, "an unknown variable")
    _refused(lambda: session.do_step(communication_step_size=1.5 * bench.manifest.step_size), StepSizeError, "1.5 steps")
    _refused(lambda: session.do_step(communication_step_size=0.0), StepSizeError, "a step of 0 s")
    for variable in bench.manifest.inputs:
        bad = np.full(variable.shape, math.nan) if variable.shape else math.nan
        _refused(lambda name=variable.name, bad=bad: session.do_step({name: bad}), InputError, f"{variable.name} = NaN")  # type: ignore[misc]
    for variable in [v for v in bench.manifest.parameters if not v.is_settable_in_run][:1]:
        value = np.full(variable.shape, variable.start) if variable.shape else variable.start
        _refused(lambda name=variable.name, value=value: session.set_values({name: value}), CallOrderError, "a parameter in a run")  # type: ignore[misc]
    assert _same(before, session.outputs), "a refused call changed the outputs"
    assert _same(bench.walk(session, first=2), bench.walk(twin, first=2)), "a refused call changed the trajectory"


def _check_substeps(bench: _Bench) -> None:
    fine, coarse = bench.running(seed=2, z_mode=ZMode.HELD), bench.running(seed=2, z_mode=ZMode.HELD)
    inputs = bench.inputs(0)
    for _ in range(3):
        last = fine.do_step(inputs)
    coarse_last = coarse.do_step(inputs, communication_step_size=3 * bench.manifest.step_size)
    assert _same(last, coarse_last), "one communication step of three steps differs from three"


def _check_domain(bench: _Bench) -> None:
    for variable in bench.manifest.inputs:
        interval = bench.manifest.domain[variable.name]
        width = interval.max - interval.min
        outside = interval.max + 0.2 * width
        if width <= 0 or outside > (math.inf if variable.max is None else variable.max):
            continue
        inputs = bench.inputs(0)
        beyond = inputs | {variable.name: np.full(variable.shape, outside) if variable.shape else outside}
        warned = bench.running(domain_policy=DomainPolicy.WARN)
        warned.do_step(beyond)
        assert not warned.in_domain, f"{variable.name} = {outside:g} is called inside the domain"
        assert warned.domain_distance > 0.0, "outside the domain the distance is 0"
        refusing = bench.running(domain_policy=DomainPolicy.REFUSE)
        _refused(lambda s=refusing, b=beyond: s.do_step(b), DomainError, f"{variable.name} outside the domain, policy refuse")  # type: ignore[misc]
        clamped, inside = bench.running(domain_policy=DomainPolicy.CLAMP), bench.running()
        edge = np.full(variable.shape, interval.max) if variable.shape else interval.max
        assert _same(clamped.do_step(beyond), inside.do_step(inputs | {variable.name: edge})), "clamp did not move to the edge"
        return


def _check_tunable(bench: _Bench) -> None:
    for variable in settable_parameters(bench.manifest.variables):
        interval = bench.manifest.domain[variable.name]
        low, high = (min(max(end, variable.limits[0]), variable.limits[1]) for end in (interval.min, interval.max))
        other = variable.nearest(high if high != variable.start else low)
        if other == variable.start or not low <= float(variable.start or 0.0) <= high:
            continue

        def tuned(value: float, inputs: Any = None, name: str = variable.name, shape: Any = variable.shape) -> dict[str, Any]:
            return {**(inputs or {}), name: np.full(shape, value) if shape else value}

        start = float(variable.start or 0.0)
        plain, same = bench.running(seed=5), bench.running(seed=5)
        walked = bench.walk(plain)
        seen = [same.do_step(tuned(start, bench.inputs(step))) for step in range(_STEPS)]
        assert _same(walked, seen) and same.in_domain == plain.in_domain, f"{variable.name} set to what it is changed something"
        session = bench.running(seed=5)
        before = bench.walk(session, count=1)[0]
        session.set_values(tuned(other))
        assert _same(before, session.outputs), f"writing {variable.name} changed the outputs before do_step"
        snapshot = session.snapshot()
        changed = session.do_step(bench.inputs(1))
        assert not session.in_domain and session.domain_distance > 0.0, f"{variable.name} was changed, which is called inside"
        assert np.array_equal(session.values[variable.name], tuned(other)[variable.name]), f"{variable.name} does not read back"
        session.do_step(tuned(start, bench.inputs(2)))
        assert not session.in_domain, f"{variable.name} was changed in the run, and set back the run is called inside"
        session.restore(snapshot)
        assert _same(changed, session.do_step(bench.inputs(1))), f"{variable.name} did not come back with the snapshot"
        assert not session.in_domain, f"a snapshot does not know that {variable.name} was changed"
        session.reset()
        session.initialize()
        assert _same(walked, bench.walk(session)), f"{variable.name} was changed in the run before reset"
        refusing = bench.running(seed=5, domain_policy=DomainPolicy.REFUSE)
        _refused(lambda: refusing.do_step(tuned(other, bench.inputs(0))), DomainError, f"{variable.name} changed, policy refuse")  # noqa: B023
        refusing.set_values(tuned(start))
        assert _same(walked, bench.walk(refusing)), f"{variable.name} is set back, and the refused change did something"
        clamped = bench.running(seed=5, domain_policy=DomainPolicy.CLAMP)
        clamped.set_values(tuned(other))
        assert _same(walked, bench.walk(clamped)), f"clamp did not keep {variable.name} where the run began"
        assert not clamped.in_domain, f"{variable.name} was changed, which is called inside under clamp"
        clamped.do_step(tuned(start, bench.inputs(_STEPS)))
        assert clamped.in_domain, f"{variable.name} was set back and never seen under clamp, which is called outside"
        return


def _check_latent_modes(bench: _Bench) -> None:
    if not bench.manifest.latent_dim:
        return
    mean, other = bench.running(seed=1, z_mode=ZMode.MEAN), bench.running(seed=2, z_mode=ZMode.MEAN)
    walked = bench.walk(mean)
    assert _same(walked, bench.walk(other)), "z_mode mean depends on the seed"
    external = bench.open(z_mode=ZMode.EXTERNAL)
    zero = np.zeros(bench.manifest.latent_dim)
    external.initialize(z=zero)
    seen = [external.do_step(bench.inputs(step), z=zero) for step in range(_STEPS)]
    assert _same(walked, seen), "z = 0 given from outside differs from z_mode mean"
    _refused(lambda: mean.do_step(z=zero), InputError, "z given while z_mode is mean")
    # run latents alone may be taken, with step latents from the seed; any other size is wrong
    sizes = set(range(len(zero) + 2)) - {len(zero), bench.manifest.run_latent_dim}
    for size in sizes:
        _refused(lambda size=size: external.do_step(z=np.zeros(size)), InputError, f"z of {size} numbers, not {len(zero)},")  # type: ignore[misc]


def _check_independence(bench: _Bench) -> None:
    alone = bench.walk(bench.running(seed=11))
    first, second = bench.running(seed=11), bench.running(seed=12)
    interleaved = []
    for step in range(_STEPS):
        interleaved.append(first.do_step(bench.inputs(step)))
        second.do_step(bench.inputs(step + 3))
    assert _same(alone, interleaved), "two sessions share state"


def _check_threads(bench: _Bench) -> None:
    expected = [bench.walk(bench.running(seed=seed)) for seed in range(4)]
    sessions = [bench.running(seed=seed) for seed in range(4)]
    walked: dict[int, Any] = {}

    def work(number: int) -> None:
        walked[number] = bench.walk(sessions[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(_same(expected[n], walked.get(n, [])) for n in range(4)), "sessions stepped from threads differ from alone"


def _check_close(bench: _Bench) -> None:
    session = bench.running()
    session.close()
    _refused(lambda: session.do_step(), CallOrderError, "do_step after close")
    session.close()


_CLAUSES: Mapping[str, Callable[[_Bench], None]] = {
    "same seed and inputs, same trajectory": _check_same_seed,
    "do_step advances once; reading and writing never do": _check_step_once,
    "inputs are held": _check_held_inputs,
    "reset equals a fresh instance": _check_reset,
    "start values read back as declared": _check_start_values,
    "outputs are valid after initialize": _check_first_outputs,
    "a snapshot continues with equal bits": _check_snapshot,
    "a refused call says why and changes nothing": _check_refusals,
    "a multiple of the step is that many steps": _check_substeps,
    "outside the training domain it says so": _check_domain,
    "a tunable parameter leaves the domain when it is changed in a run": _check_tunable,
    "latents come from where z_mode says": _check_latent_modes,
    "two sessions share nothing": _check_independence,
    "sessions may be stepped from threads": _check_threads,
    "a closed session refuses": _check_close,
}
