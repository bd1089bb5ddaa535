"""The state-space generator: balances of known physics, a leaky memory, and a network for the rest."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import GeneratorConfig
from surrogate_fmu.training.generators.density import draw_mixture, log_density, noise_count, parameter_count
from surrogate_fmu.training.generators.roles import find_roles
from surrogate_fmu.training.generators.terms import Terms
from surrogate_fmu.training.linear import LinearPart
from surrogate_fmu.variables import Variable

_RESIDUAL = 0.1  # conditional spreads that a balance's correction moves in a step
_CURVE_WAVES = 8
_CURVE_REACH = 3.0  # standard deviations of the output; waves repeat beyond


class StateSpaceGenerator(nn.Module):
    """y_k+1, h_k+1 = G(x_k, z_k, h_k) with h = (balanced outputs, free outputs, memory m), scaled.

    One step, with u = (x, z, y, curves over the balanced outputs), all scaled:

        m' = m + rate * (trunk(u, m) - m)                  a leaky memory with time constants from one step to the run,
                                                           or a gated one, whose rate depends on (u, m), too
        y' = a(u, m') + B(u, m') x                         free outputs
        y' = y + sum_j c_j(z_run) * term_j + r(u, m')      outputs with a balance: charge, heat, mass

    The terms of a balance are inputs or outputs, or differences of two; a free output enters with its new value. The
    coefficients c_j keep their sign and differ between individuals through the run latents; r is small or nothing. Curves
    are waves along a balanced output, since many laws are curves over a state (a voltage over the charge), which a linear
    layer then draws at once. With a linear part, y' of a free output is that of the linear step plus the network's in units of
    what the linear step leaves; so is the start. With components of a mixture, a(u, m') is drawn from it by z_step, and the
    networks do not see z. Physical units at the interface, float32.

    A step is a chain of small operations, whose number is what training costs; so what needs no state is computed for all
    steps of a window at once (`prepare`), and the state is kept in parts.

    Args:
        variables: inputs, parameters and outputs.
        config: sizes and balances.
        scaling: of the training data.
        time_constants: shortest and longest [steps] of the memory.
        coefficients: first guess of the balances' coefficients, output name -> one per term, physical units.
        linear: the linear part, or None.

    Raises:
        ConfigError: a balance or an initial parameter names something that is no variable.
    """

    __constants__ = ("has_linear_part", "components", "gated")  # TorchScript leaves the other branches out
    networks = ("look",)  # what mixed precision may change

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
    start_map: Tensor
    started: Tensor
    stepping: Tensor
    order: Tensor
    back_to_order: Tensor
    wave_numbers: Tensor
    wave_phases: Tensor
    linear_step: Tensor
    linear_offset: Tensor
    linear_scale: Tensor
    linear_start: Tensor
    linear_start_offset: Tensor
    linear_start_scale: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        config: GeneratorConfig,
        scaling: Scaling,
        time_constants: tuple[float, float],
        coefficients: Mapping[str, Sequence[float]],
        linear: LinearPart | None = None,
    ) -> None:
        super().__init__()
        roles = find_roles(variables, config)
        needed = noise_count(config.components, len(roles.free)) if config.components else 0
        if config.components and (roles.balanced or config.step_latent_dim < needed):
            raise ConfigError(
                f"a mixture for {len(roles.free)} outputs needs {needed} step latents and no balances; got step_latent_dim "
                f"{config.step_latent_dim} and {len(roles.balanced)} balances"
            )
        balanced, free, stepping, balances = roles.balanced, roles.free, roles.stepping, roles.balances_in_order
        condition, outputs = roles.condition, roles.outputs
        order = balanced + free
        self.run_latent_dim = config.run_latent_dim
        self.components = config.components
        self.gated = config.gated
        self.balanced_count, self.free_count, self.driven = len(balanced), len(free), len(stepping)
        self.output_dim = len(outputs)
        self.hidden_dim = self.output_dim + config.memory_dim
        for name, indices in (("stepping", stepping), ("order", order), ("back_to_order", np.argsort(order))):
            self.register_buffer(name, torch.tensor(np.asarray(indices, dtype=np.int64)))

        self._register(condition_mean=scaling.condition_mean, condition_std=scaling.condition_std)
        self._register(output_mean=scaling.output_mean, output_std=scaling.output_std)
        spread = scaling.conditional_std / scaling.output_std
        self._register(
            residual_scale=[_RESIDUAL * spread[i] if b.residual else 0.0 for i, b in zip(balanced, balances, strict=True)]
        )
        terms = Terms(balances, roles.inputs, outputs, coefficients, scaling)
        self._register(term_condition=terms.condition, term_offset=terms.offset)
        self._register(term_balanced=terms.output[balanced], term_free=terms.output[free])
        self._register(term_target=terms.target[:, balanced])
        self._register(term_ahead=terms.target[:, balanced] * terms.of_inputs_only[:, None])
        start_map = np.zeros((len(condition), len(outputs)))
        for balance in balances:
            if balance.start:
                start_map[condition.index(balance.start), outputs.index(balance.output)] = 1.0
        self._register(start_map=start_map, started=start_map.sum(axis=0))
        waves = np.arange(1, _CURVE_WAVES + 1) * np.pi / (2 * _CURVE_REACH)
        self._register(wave_numbers=np.kron(np.eye(len(balanced)), np.repeat(waves, 2)[None]))
        self._register(wave_phases=np.tile([0.0, -0.5 * np.pi], _CURVE_WAVES * len(balanced)))

        self.has_linear_part = linear is not None
        if linear is not None:
            acting = np.concatenate([linear.inputs[stepping][:, free], linear.state[free][:, order].T])
            self._register(linear_step=acting)
            self._register(linear_offset=linear.offset[free], linear_scale=linear.step_scale[free])
            self._register(linear_start=linear.start[:, order], linear_start_offset=linear.start_offset[order])
            self._register(linear_start_scale=linear.start_scale[order])

        self.latent_dim = latent_dim = config.run_latent_dim + config.step_latent_dim
        curves, width = 2 * _CURVE_WAVES * len(balanced), config.width
        # A bare parameter: with no balance or no run latents it is empty, which nn.Linear warns of.
        self.individual = nn.Parameter(0.02 * torch.randn(config.run_latent_dim, len(terms.offset)))
        self.typical = nn.Parameter(torch.zeros(len(terms.offset)))
        self.start = nn.Sequential(
            nn.Linear(len(condition) + config.run_latent_dim + curves, width), nn.SiLU(), nn.Linear(width, self.hidden_dim)
        )
        # First layers of trunk and head in two parts: what is known of all steps, and the state.
        state = self.output_dim + curves + config.memory_dim
        self.trunk_known = nn.Linear(self.driven + latent_dim, width)
        self.trunk_state = nn.Linear(state, width, bias=False)
        self.trunk = nn.Linear(width, config.memory_dim)
        if self.gated:  # a minimal gated unit (Zhou et al., IJAC 13, 2016) that begins as a leaky one
            self.gate = nn.Linear(width, config.memory_dim)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)
        self.head_known = nn.Linear(self.driven + latent_dim, width)
        self.head_state = nn.Linear(state, width, bias=False)
        self.level_count = parameter_count(self.components, self.free_count) if self.components else self.free_count
        self.head = nn.Linear(width, self.balanced_count + self.level_count + self.free_count * self.driven)
        if self.components > 1:  # components that begin alike stay alike for long
            apart = torch.linspace(-1.0, 1.0, self.components).repeat_interleave(self.free_count)
            with torch.no_grad():
                self.head.bias[self.balanced_count : self.balanced_count + len(apart)] += apart
        constants = torch.logspace(math.log10(time_constants[0]), math.log10(time_constants[1]), config.memory_dim)
        self.rate_logit = nn.Parameter(torch.logit(1.0 - torch.exp(-1.0 / constants)))

    def _register(self, **constants: object) -> None:
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(np.asarray(value), dtype=torch.float32))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) at the start."""
        scaled = (x - self.condition_mean) / self.condition_std
        given = ((x @ self.start_map - self.output_mean) / self.output_std * self.started).index_select(1, self.order)
        curves = self.curves(given[:, : self.balanced_count])
        learned = self.start(torch.cat([scaled, z[:, : self.run_latent_dim], curves], dim=1))
        free = learned[:, : self.output_dim]
        if self.has_linear_part:
            free = torch.addcmul(torch.addmm(self.linear_start_offset, scaled, self.linear_start), free, self.linear_start_scale)
        y = given + free * (1.0 - self.started.index_select(0, self.order))
        return self.physical(y), torch.cat([y, torch.tanh(learned[:, self.output_dim :])], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        balanced, free, memory = h.split([self.balanced_count, self.free_count, h.shape[1] - self.output_dim], dim=1)  # type: ignore[no-untyped-call]
        coefficients, rate = self.coefficients(z), torch.sigmoid(self.rate_logit)
        scaled, trunk, head, pull, lead = self.prepare(x, z, coefficients)
        noise = z[:, self.run_latent_dim :]
        balanced, free, memory = self.step(scaled, trunk, head, pull, lead, noise, coefficients, rate, balanced, free, memory)
        h = torch.cat([balanced, free, memory], dim=1)
        return self.physical(h[:, : self.output_dim]), h

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def roll(self, x: Tensor, z: Tensor, points: Tensor | None = None, near: Tensor | None = None) -> Tensor:
        """All steps of a window, one after the other.

        Args:
            x: (batch, step, condition_dim).
            z: (copies x batch, step, latent_dim), several individuals under each condition, one copy of the batch after the
                other.
            points: which points to return, 0 is the start; None returns all.
            near: of no use here; for generators that compute a window at once.

        Returns:
            (copies x batch, point, output_dim), physical units.
        """
        x = x.repeat(len(z) // len(x), 1, 1)
        _, h = self.initial(x[:, 0], z[:, 0])
        balanced, free, memory = h.split([self.balanced_count, self.free_count, h.shape[1] - self.output_dim], dim=1)  # type: ignore[no-untyped-call]
        coefficients, rate = self.coefficients(z[:, 0]), torch.sigmoid(self.rate_logit)
        prepared = (*self.prepare(x, z, coefficients[:, None]), z[..., self.run_latent_dim :])
        path = [torch.cat([balanced, free], dim=1)]
        for scaled, trunk, head, pull, lead, noise in zip(*(part.unbind(1) for part in prepared), strict=True):
            balanced, free, memory = self.step(scaled, trunk, head, pull, lead, noise, coefficients, rate, balanced, free, memory)
            path.append(torch.cat([balanced, free], dim=1))
        return self.physical(torch.stack(path if points is None else [path[point] for point in points.tolist()], dim=1))

    def prepare(self, x: Tensor, z: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What steps need of x (..., condition_dim) and z (..., latent_dim) alone.

        Returns:
            Scaled x, first layers of trunk and head, the terms' share of x, and what terms of inputs alone move.
        """
        scaled = ((x - self.condition_mean) / self.condition_std).index_select(-1, self.stepping)
        known = torch.cat([scaled, torch.zeros_like(z) if self.components else z], dim=-1)
        pull = x @ self.term_condition + self.term_offset
        return scaled, self.trunk_known(known), self.head_known(known), pull, (pull * coefficients) @ self.term_ahead

    def coefficients(self, z: Tensor) -> Tensor:
        """Factors (batch, term) of this individual on the balances' coefficients."""
        return torch.exp(z[:, : self.run_latent_dim] @ self.individual + self.typical)

    def step(
        self,
        scaled: Tensor,
        trunk: Tensor,
        head: Tensor,
        pull: Tensor,
        lead: Tensor,
        noise: Tensor,
        coefficients: Tensor,
        rate: Tensor,
        balanced: Tensor,
        free: Tensor,
        memory: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of balanced outputs, free outputs and memory, each (batch, ...); the rest from `prepare`."""
        memory, residual, level, offset = self.look(scaled, trunk, head, lead, rate, balanced, free, memory)
        if self.components:
            level = draw_mixture(level, noise, self.components, self.free_count)
        change = level + offset
        free = self.linear(scaled, balanced, free) + self.linear_scale * change if self.has_linear_part else change
        if self.balanced_count > 0:
            terms = torch.addmm(torch.addmm(pull, balanced, self.term_balanced), free, self.term_free)
            balanced = torch.addcmul(torch.addmm(balanced, terms * coefficients, self.term_target), residual, self.residual_scale)
        return balanced, free, memory

    def look(
        self,
        scaled: Tensor,
        trunk: Tensor,
        head: Tensor,
        lead: Tensor,
        rate: Tensor,
        balanced: Tensor,
        free: Tensor,
        memory: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The new memory, residuals of balances, levels of free outputs (or what their density is of), and what inputs add."""
        # Terms of inputs alone move their balance before the network looks: it sees the charge at the end of the step.
        ahead = balanced + lead
        curves = self.curves(ahead)
        seen = torch.cat([ahead, free, curves, memory], dim=1)
        hidden = silu(torch.addmm(trunk, seen, self.trunk_state.weight.t()))
        remembered = torch.tanh(self.trunk(hidden))
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            remembered = remembered.type_as(memory)  # in mixed precision
        if self.gated:
            rate = torch.sigmoid(self.rate_logit + self.gate(hidden))
        memory = torch.lerp(memory, remembered, rate)
        seen = torch.cat([ahead, free, curves, memory], dim=1)
        hidden = silu(torch.addmm(head, seen, self.head_state.weight.t()))
        residual, level, slopes = self.head(hidden).split(
            [self.balanced_count, self.level_count, self.free_count * self.driven], dim=1
        )
        offset = (slopes.view(slopes.shape[0], self.free_count, self.driven) * scaled.unsqueeze(1)).sum(dim=2)
        return memory, residual, level, offset

    def linear(self, scaled: Tensor, balanced: Tensor, free: Tensor) -> Tensor:
        """The linear step of the free outputs."""
        return torch.addmm(self.linear_offset, torch.cat([scaled, balanced, free], dim=1), self.linear_step)

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def log_likelihood(self, x: Tensor, y: Tensor) -> Tensor:
        """Of recorded windows under the mixture, each step from the recorded state before it; per step and output.

        Args:
            x: (batch, step, condition_dim), physical units.
            y: (batch, step + 1, output_dim), physical units.

        Returns:
            (batch,); the start counts as one more step, with a standard deviation of a tenth of the output's.
        """
        z = x.new_zeros(len(x), x.shape[1], self.latent_dim)
        observed = ((y - self.output_mean) / self.output_std).index_select(-1, self.order)
        _, h = self.initial(x[:, 0], z[:, 0])
        coefficients, rate = self.coefficients(z[:, 0]), torch.sigmoid(self.rate_logit)
        total = -0.5 * ((h[:, : self.output_dim] - observed[:, 0]) / 0.1).square().sum(dim=1)
        memory = h[:, self.output_dim :]
        scaled, trunk, head, _, lead = self.prepare(x, z, coefficients[:, None])
        for step in range(x.shape[1]):
            free, after = observed[:, step], observed[:, step + 1]
            balanced = free[:, :0]
            memory, _, level, offset = self.look(
                scaled[:, step], trunk[:, step], head[:, step], lead[:, step], rate, balanced, free, memory
            )
            if self.has_linear_part:
                after = (after - self.linear(scaled[:, step], balanced, free)) / self.linear_scale
            total = total + log_density(level, after - offset, self.components)
        return total / (x.shape[1] * self.output_dim)

    def physical(self, y: Tensor) -> Tensor:
        """Scaled outputs, balanced first, in physical units and the variables' order (..., output_dim)."""
        return y.index_select(-1, self.back_to_order) * self.output_std + self.output_mean

    def curves(self, balanced: Tensor) -> Tensor:
        """Waves along each balanced output, (batch, balanced) scaled -> (batch, wave)."""
        return torch.cos(torch.addmm(self.wave_phases, balanced, self.wave_numbers))
