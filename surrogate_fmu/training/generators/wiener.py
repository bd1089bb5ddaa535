"""The Wiener generator: balances of known physics, a bank of linear filters, and a static map of both."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.training.config import GeneratorConfig
from surrogate_fmu.training.generators.roles import find_roles, require
from surrogate_fmu.training.generators.terms import Terms
from surrogate_fmu.variables import Causality, Variable, with_causality

_RESIDUAL = 0.1  # conditional spreads that a balance's correction moves in a step
_WAVES = 8
_REACH = 3.0  # standard deviations of the output; waves repeat beyond
_FACTOR_SCALES = (0.05, 0.3, 0.3)  # of coefficients, rates and lags: about what a standard deviation of individuals does
_SETTLED = 1e-5  # scaled units; sweeps that move a balance by less are over


class WienerGenerator(nn.Module):
    """y_k+1, h_k+1 = G(x_k, z_k, h_k) with h = (balanced outputs b, filters m), scaled.

    A Wiener model is linear dynamics followed by a static nonlinearity (Giri and Bai, Block-oriented Nonlinear System
    Identification, 2010). One step, with u the inputs' distance from their start values:

        m' = m + (1 - exp(-f_m(z_run))) (u - m)           a bank of filters; time constants differ between individuals
        b' = b + sum_j c_j(z_run) term_j + r              outputs with a balance: charge, heat, mass
        y', r = head(u, z, b, m', curves) + slopes x u    the others, and corrections of balances

    The head does not read what it said before, so no error of it builds up, and a whole window is computed at once: only
    filters and balances run along the window, which is cheap. Curves are waves along coordinates b + w m: many laws are
    curves over a state where things happen (a surface charge), which lags or leads the mean state that the balance knows.
    Filters start at zero: the plant rests at the start values of its inputs before a run.

    Rates, coefficients and the reach of lags are log-linear in the run latents, c(z) = exp(z A + a).

    Args:
        variables: inputs, parameters and outputs.
        config: sizes and balances.
        scaling: of the training data.
        time_constants: shortest and longest [steps] of the filters.
        coefficients: first guess of the balances' coefficients, output name -> one per term, physical units.

    Raises:
        ConfigError: a balance, a curve, a filtered input or an initial parameter names something that is not there.
    """

    condition_rest: Tensor
    condition_mean: Tensor
    condition_std: Tensor
    output_mean: Tensor
    output_std: Tensor
    residual_scale: Tensor
    term_condition: Tensor
    term_balanced: Tensor
    term_free: Tensor
    term_offset: Tensor
    term_target: Tensor
    term_ahead: Tensor
    closed: Tensor
    corrected: Tensor
    start_map: Tensor
    started: Tensor
    factor_scale: Tensor
    factor_base: Tensor
    driving: Tensor
    at_rest: Tensor
    filtered: Tensor
    coordinate_balanced: Tensor
    back_to_order: Tensor
    wave_numbers: Tensor
    wave_phases: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        config: GeneratorConfig,
        scaling: Scaling,
        time_constants: tuple[float, float],
        coefficients: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        roles = find_roles(variables, config)
        inputs, condition, outputs = roles.inputs, roles.condition, roles.outputs
        balanced, free, balances = roles.balanced, roles.free, roles.balances_in_order
        indirect = config.wiener.indirect_inputs
        direct = [name for name in inputs if name not in indirect]
        filtered = list(config.wiener.filtered_inputs or direct)
        curves = list(config.wiener.curves or roles.balances)
        for name in indirect:
            require(name, inputs, "input")
        for name in filtered:
            require(name, direct, "input that acts directly")
        for name in curves:
            require(name, list(roles.balances), "output with a balance")
        driving = [place for place in roles.stepping if condition[place] not in indirect]
        places = [driving.index(inputs.index(name)) for name in filtered]
        self.run_latent_dim = config.run_latent_dim
        self.balanced_count, self.free_count, self.driving_count = len(balanced), len(free), len(driving)
        self.filter_count = config.memory_dim * len(filtered)
        self.coordinate_count = config.wiener.lags * len(curves)
        self.output_dim = len(outputs)
        order = np.array(balanced + free, dtype=np.int64)
        self.register_buffer("driving", torch.tensor(driving))
        self.register_buffer("filtered", torch.tensor(places).repeat_interleave(config.memory_dim))
        self.register_buffer("back_to_order", torch.tensor(np.argsort(order)))

        start = [v.start or 0.0 for v in with_causality(variables, Causality.INPUT)]
        self._register(condition_rest=np.concatenate([start, scaling.condition_mean[len(inputs) :]]))
        self._register(condition_mean=scaling.condition_mean, condition_std=scaling.condition_std)
        self._register(at_rest=[0.0 if i < len(inputs) else 1.0 for i in driving])
        self._register(output_mean=scaling.output_mean[order], output_std=scaling.output_std[order])
        spread = scaling.conditional_std / scaling.output_std
        self._register(
            residual_scale=[_RESIDUAL * spread[i] if b.residual else 0.0 for i, b in zip(balanced, balances, strict=True)]
        )
        terms = Terms(balances, inputs, outputs, coefficients, scaling)
        target = terms.target[:, balanced]
        self._register(term_condition=terms.condition, term_offset=terms.offset, term_target=target)
        self._register(term_balanced=terms.output[balanced], term_free=terms.output[free])
        # Whether no balance has a term with another one: a step of a window is then one operation.
        acts = np.abs(terms.output[balanced]) @ np.abs(target)
        self.balances_are_separate = not np.any(acts - np.diag(np.diag(acts)))
        self._register(term_ahead=target * terms.of_inputs_only[:, None])
        self.register_buffer("corrected", torch.tensor([balance.residual for balance in balances], dtype=torch.bool))
        open_terms = (target * (1.0 - terms.of_inputs_only)[:, None] != 0.0).any(axis=0)
        self.register_buffer("closed", torch.tensor(~open_terms) & ~self.corrected)
        start_map = np.zeros((len(condition), len(balanced)))
        for column, balance in enumerate(balances):
            if balance.start:
                start_map[condition.index(balance.start), column] = 1.0
        self._register(start_map=start_map, started=start_map.sum(axis=0))
        picks = np.repeat([[float(outputs[i] == name) for i in balanced] for name in curves], config.wiener.lags, axis=0)
        self._register(coordinate_balanced=picks.reshape(self.coordinate_count, self.balanced_count).T)
        waves = np.arange(1, _WAVES + 1) * np.pi / (2 * _REACH)
        self._register(wave_numbers=np.repeat(waves, 2), wave_phases=np.tile([0.0, -0.5 * np.pi], _WAVES))

        latent_dim, width = config.run_latent_dim + config.step_latent_dim, config.width
        constants = torch.logspace(math.log10(time_constants[0]), math.log10(time_constants[1]), config.memory_dim)
        # What differs between individuals by a factor: coefficients, rates of the filters, reach of the lags. Scales let an
        # update move each by a small share of what it differs by.
        self.factor_sizes = [len(terms.offset), self.filter_count, self.coordinate_count]
        self._register(factor_scale=np.repeat(_FACTOR_SCALES, self.factor_sizes))
        base = [torch.zeros(len(terms.offset)), -constants.log().repeat(len(filtered)), torch.zeros(self.coordinate_count)]
        self.register_buffer("factor_base", torch.cat(base))
        self.individual = nn.Parameter(0.2 * torch.randn(config.run_latent_dim, sum(self.factor_sizes)))
        self.typical = nn.Parameter(torch.zeros(sum(self.factor_sizes)))
        self.lag = nn.Parameter(0.02 * torch.randn(self.filter_count, self.coordinate_count))
        self.start = nn.Linear(len(condition) + config.run_latent_dim, width)
        # Bare parameters: without balances they are empty, which nn.Linear warns of.
        self.start_values = nn.Parameter(torch.zeros(width, self.balanced_count))
        seen = self.coordinate_count * (2 * _WAVES + 1)
        self.known = nn.Linear(self.driving_count + latent_dim, width)
        # What the head is given, and beside it a straight way past it to the free outputs.
        self.state = nn.Linear(self.balanced_count + self.filter_count + seen, width + self.free_count, bias=False)
        self.inner = nn.ModuleList([nn.Linear(width, width) for _ in range(config.wiener.depth - 1)])
        self.head = nn.Linear(width, self.balanced_count + self.free_count * (1 + self.driving_count))

    def _register(self, **constants: object) -> None:
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(np.asarray(value), dtype=torch.float32))

    def starts(self, x: Tensor, z: Tensor) -> Tensor:
        """Balanced outputs (batch, balanced) at the start, scaled: given by a parameter, or learned."""
        size = self.balanced_count
        given = (x @ self.start_map - self.output_mean[:size]) / self.output_std[:size]
        scaled = (x - self.condition_mean) / self.condition_std
        learned = silu(self.start(torch.cat([scaled, z[:, : self.run_latent_dim]], dim=1))) @ self.start_values
        return given * self.started + learned * (1.0 - self.started)

    def factors(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of this individual: factors on coefficients, filters' share of the way in a step, reach of lags; (batch, ...)."""
        said = torch.addmm(self.typical, z[:, : self.run_latent_dim], self.individual)
        factors = torch.exp(torch.addcmul(self.factor_base, said, self.factor_scale))
        coefficients, speed, reach = factors.split(self.factor_sizes, dim=1)  # type: ignore[no-untyped-call]
        return coefficients, -torch.expm1(-speed), reach

    def drive(self, x: Tensor) -> Tensor:
        """Scaled distance from rest of what acts during a run, (..., driving)."""
        return ((x - self.condition_rest) / self.condition_std).index_select(-1, self.driving)

    def static(self, drive: Tensor, z: Tensor, ahead: Tensor, filters: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Free outputs (..., free), scaled, and corrections (..., balanced) of the balances."""
        lags = (filters @ self.lag) * reach
        coordinates = ahead @ self.coordinate_balanced + lags
        waves = torch.cos(torch.addcmul(self.wave_phases, coordinates.unsqueeze(-1), self.wave_numbers)).flatten(-2)
        passed, past = self.state(torch.cat([ahead, filters, coordinates, waves], dim=-1)).split(
            [self.known.out_features, self.free_count], dim=-1
        )
        hidden = silu(self.known(torch.cat([drive, z], dim=-1)) + passed)
        for layer in self.inner:
            hidden = silu(layer(hidden))
        correction, level, slopes = self.head(hidden).split(
            [self.balanced_count, self.free_count, self.free_count * self.driving_count], dim=-1
        )
        slopes = slopes.unflatten(-1, [self.free_count, self.driving_count])
        free = level + past + (slopes * drive.unsqueeze(-2)).sum(dim=-1)
        return free, correction * self.residual_scale

    def physical(self, balanced: Tensor, free: Tensor) -> Tensor:
        """Outputs in physical units and the variables' order (..., output_dim) from scaled ones."""
        scaled = torch.cat([balanced, free], dim=-1)
        return (scaled * self.output_std + self.output_mean).index_select(-1, self.back_to_order)

    # -- whole windows -------------------------------------------------------------------------------------------

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def roll(self, x: Tensor, z: Tensor, points: Tensor | None = None, near: Tensor | None = None) -> Tensor:
        """A whole window in sweeps over all steps at once (waveform relaxation; Lelarasmee et al., IEEE TCAD 1, 1982).

        A balance whose terms hold free outputs (a temperature fed by heat) and the free outputs depend on each other. A
        sweep computes the free outputs from the last balances, and the balances from these. After k sweeps the first k
        steps are exact, whatever was begun with; slow balances settle in two or three.

        Args:
            x: (batch, step, condition_dim).
            z: (copies x batch, step, latent_dim), several individuals under each condition, one copy of the batch after the
                other; the run part is taken from the first step.
            points: which points to return, 0 is the start; None returns all.
            near: (batch, step + 1, output_dim), trajectories close by (those of other individuals under the same inputs).
                With them one sweep is made ahead; without, as many as it takes to settle.

        Returns:
            (copies x batch, point, output_dim), physical units.
        """
        window = _Window(self, x, z)
        everywhere = torch.arange(x.shape[1] + 1)
        free, correction = window.free_at_mean, window.no_correction
        with torch.no_grad():
            path = window.path(free, correction)
            if near is not None:
                path = torch.where(self.closed, path, window.copied(self._scaled(near)[..., : self.balanced_count]))
            for _ in range(1 if near is not None else x.shape[1]):
                free, correction = window.static(path, everywhere)
                before, path = path, window.path(free, correction)
                if near is None and torch.allclose(path, before, rtol=0.0, atol=_SETTLED):
                    break
        # From here on with gradients: those of balances through their coefficients, of free outputs where they are looked at,
        # and of corrections at every step, since they add up.
        path = window.path(free, correction)
        if points is not None and not bool(self.corrected.any()):
            return self.physical(path[:, points], window.static(path, points)[0])
        free, correction = window.static(path, everywhere)
        outputs = self.physical(window.path(free, correction), free)
        return outputs if points is None else outputs[:, points]

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def reconstruct(self, x: Tensor, z: Tensor, observed: Tensor, points: Tensor) -> Tensor:
        """The run that an individual z explains, each output given the other outputs as they were observed.

        Free outputs see the observed balances (those that inputs alone decide: the individual's own), balances the observed
        free outputs. No sweeps are needed, and errors of one output do not blur what another says about the individual.

        Args:
            x: (batch, step, condition_dim).
            z: (copies x batch, run_latent_dim), run latents, as in `roll`; step latents are zero.
            observed: (batch, step + 1, output_dim), physical units.
            points: (point,), which points to return.

        Returns:
            (copies x batch, point, output_dim), physical units.
        """
        latent = nn.functional.pad(z, (0, self.known.in_features - self.driving_count - z.shape[1]))
        window = _Window(self, x, latent[:, None].expand(-1, x.shape[1], -1))
        size = self.balanced_count
        seen = window.copied(self._scaled(observed))
        path = window.path(seen[..., size:], window.no_correction)
        given = torch.where(self.closed, path, seen[..., :size])
        free, correction = window.static(given, points)
        if bool(self.corrected.any()):
            increments = window.increments(seen[..., :size], seen[..., size:])
            ahead = seen[:, :-1, :size] + increments
            taught = torch.cat([window.start[:, None], ahead], dim=1)[:, points] + correction
            return self.physical(torch.where(self.corrected, taught, path[:, points]), free)
        return self.physical(path[:, points], free)

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def recentre_latents(self, mean: Tensor, factor: Tensor) -> None:
        """Say the same with other run latents: z = mean + factor z', mean (run,), factor (run, run)."""
        with torch.no_grad():
            self.typical.add_(mean @ self.individual)
            self.individual.copy_(factor.t() @ self.individual)
            starts_at = self.start.in_features - self.run_latent_dim
            for layer, place in ((self.known, self.driving_count), (self.start, starts_at)):
                columns = layer.weight[:, place : place + self.run_latent_dim]
                layer.bias.add_(columns @ mean)
                columns.copy_(columns @ factor)

    def _scaled(self, outputs: Tensor) -> Tensor:
        """Outputs in physical units and the variables' order as scaled ones, balanced first; the inverse of `physical`."""
        return (outputs.index_select(-1, torch.argsort(self.back_to_order)) - self.output_mean) / self.output_std


class _Window:
    """What a window's sweeps share: all that depends on inputs and latents alone.

    Points are 0 (the start, at rest) to the number of steps; point p > 0 ends step p - 1.
    """

    def __init__(self, generator: WienerGenerator, x: Tensor, z: Tensor) -> None:
        self._generator = generator
        self._copies = len(z) // len(x)
        self.start = generator.starts(self.copied(x[:, 0]), z[:, 0])
        coefficients, rates, self._reach = generator.factors(z[:, 0])
        drive = self.copied(generator.drive(x))
        self._drive = torch.cat([drive[:, :1] * generator.at_rest, drive], dim=1)
        # Step latents play no role at the start.
        first = torch.cat([z[:, :1, : generator.run_latent_dim], torch.zeros_like(z[:, :1, generator.run_latent_dim :])], dim=2)
        self._latents = torch.cat([first, z], dim=1)
        filters = [torch.zeros(len(z), generator.filter_count)]
        for pulled in drive.index_select(2, generator.filtered).unbind(1):
            filters.append(torch.lerp(filters[-1], pulled, rates))
        self._filters = torch.stack(filters, dim=1)
        self._coefficients = coefficients[:, None]
        self._pull = self.copied(x @ generator.term_condition + generator.term_offset)
        self._lead = (self._pull * self._coefficients) @ generator.term_ahead
        # How a balance acts on itself and others within a step: (batch, balanced, balanced).
        self._coupling = (generator.term_balanced * self._coefficients) @ generator.term_target
        self.free_at_mean = torch.zeros(len(z), x.shape[1] + 1, generator.free_count)
        self.no_correction = torch.zeros(1, 1, generator.balanced_count).expand(len(z), x.shape[1] + 1, -1)

    def copied(self, rows: Tensor) -> Tensor:
        """Something of each condition (batch, ...) for all copies, (copies x batch, ...)."""
        return rows.repeat(self._copies, *[1] * (rows.dim() - 1)) if self._copies > 1 else rows

    def static(self, path: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Free outputs and corrections (batch, point, ...) at these points, given balances (batch, step + 1, balanced)."""
        ahead = torch.cat([path[:, :1], path[:, :-1] + self._lead], dim=1)
        parts = (self._drive, self._latents, ahead, self._filters)
        if len(points) < path.shape[1]:
            drive, latents, ahead, filters = (part[:, points] for part in parts)
            return self._generator.static(drive, latents, ahead, filters, self._reach[:, None])
        return self._generator.static(*parts, self._reach[:, None])

    def increments(self, path: Tensor, free: Tensor) -> Tensor:
        """What the terms move in every step, (batch, step, balanced), given balances and free outputs at all points."""
        terms = self._pull + path[:, :-1] @ self._generator.term_balanced + free[:, 1:] @ self._generator.term_free
        return (terms * self._coefficients) @ self._generator.term_target

    def path(self, free: Tensor, correction: Tensor) -> Tensor:
        """Balances (batch, step + 1, balanced), given free outputs and corrections at all points."""
        terms = self._pull + free[:, 1:] @ self._generator.term_free
        moved: Tensor = (terms * self._coefficients) @ self._generator.term_target + correction[:, 1:]
        balanced, separate = self.start, self._generator.balances_are_separate
        kept = 1.0 + self._coupling.diagonal(dim1=1, dim2=2)
        points = [balanced]
        for step in moved.unbind(1):
            if separate:
                balanced = torch.addcmul(step, balanced, kept)
            else:
                balanced = balanced + (balanced.unsqueeze(2) * self._coupling).sum(dim=1) + step
            points.append(balanced)
        return torch.stack(points, dim=1)
