"""The state-space generator: balances of known physics, a leaky memory, and a network for the rest."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import Balance, GeneratorConfig
from surrogate_fmu.variables import Causality, Variable, with_causality

_CURVE_POINTS = 16
_RESIDUAL = 0.1  # conditional spreads that a balance's correction moves in a step
_CURVE_REACH = 2.25  # standard deviations of the output


class StateSpaceGenerator(nn.Module):
    """y_k+1, h_k+1 = G(x_k, z_k, h_k) with h = (all outputs scaled, memory m).

    One step, with u = (x, z, y, curves over the balanced outputs), all scaled:

        m' = m + rate * (trunk(u, m) - m)                  a leaky memory with time constants from one step to the run
        y' = a(u, m') + B(u, m') x                         outputs without a balance
        y' = y + sum_j c_j(z_run) * term_j + r(u, m')      outputs with a balance: charge, heat, mass

    The terms of a balance are inputs or outputs, or differences of two; an output without balance enters with its new value.
    The coefficients c_j keep their sign and differ between individuals through the run latents; r is small or nothing.
    Physical units at the interface, float32.

    Args:
        variables: inputs, parameters and outputs.
        config: sizes and balances.
        scaling: of the training data.
        time_constants: shortest and longest [steps] of the memory.
        coefficients: first guess of the balances' coefficients, output name -> one per term, physical units.

    Raises:
        ConfigError: a balance or an initial parameter names something that is no variable.
    """

    condition_mean: Tensor
    condition_std: Tensor
    output_mean: Tensor
    output_std: Tensor
    residual_scale: Tensor
    term_condition: Tensor
    term_output: Tensor
    term_offset: Tensor
    term_target: Tensor
    term_ahead: Tensor
    start_map: Tensor
    started: Tensor
    stepping: Tensor
    curve_centres: Tensor

    def __init__(
        self,
        variables: Sequence[Variable],
        config: GeneratorConfig,
        scaling: Scaling,
        time_constants: tuple[float, float],
        coefficients: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        inputs = [v.name for v in with_causality(variables, Causality.INPUT)]
        outputs = [v.name for v in with_causality(variables, Causality.OUTPUT)]
        condition = inputs + [v.name for v in with_causality(variables, Causality.PARAMETER)]
        balances = {balance.output: balance for balance in config.balances}
        for name in (*config.initial_parameters, *(b.start for b in config.balances if b.start)):
            if name not in condition:
                raise ConfigError(f"{name!r} is no parameter; there are {', '.join(condition[len(inputs) :])}")

        self.run_latent_dim = config.run_latent_dim
        self.output_dim = len(outputs)
        self.hidden_dim = self.output_dim + config.memory_dim
        self.width = config.width
        self.balanced = [i for i, name in enumerate(outputs) if name in balances]
        free = [i for i, name in enumerate(outputs) if name not in balances]
        self.free_count = len(free)
        order = free + self.balanced
        self.back_to_order = [order.index(i) for i in range(self.output_dim)]
        stepping = [i for i, name in enumerate(condition) if name not in config.initial_parameters]
        self.register_buffer("stepping", torch.tensor(stepping))

        self._register(condition_mean=scaling.condition_mean, condition_std=scaling.condition_std)
        self._register(output_mean=scaling.output_mean, output_std=scaling.output_std)
        spread = scaling.conditional_std / scaling.output_std
        self._register(residual_scale=[_RESIDUAL * spread[i] if balances[outputs[i]].residual else 0.0 for i in self.balanced])
        terms = Terms([balances[outputs[i]] for i in self.balanced], inputs, outputs, coefficients, scaling)
        self._register(term_condition=terms.condition, term_output=terms.output, term_offset=terms.offset)
        self._register(term_target=terms.target, term_ahead=terms.target * terms.of_inputs_only[:, None])
        start_map = np.zeros((len(condition), len(outputs)))
        for balance in config.balances:
            if balance.start:
                start_map[condition.index(balance.start), outputs.index(balance.output)] = 1.0
        self._register(start_map=start_map, started=start_map.sum(axis=0))
        self._register(curve_centres=np.linspace(-_CURVE_REACH, _CURVE_REACH, _CURVE_POINTS))
        self.curve_width = 2 * _CURVE_REACH / (_CURVE_POINTS - 1)

        latent_dim = config.run_latent_dim + config.step_latent_dim
        driven, curve, width = len(stepping), len(self.balanced) * _CURVE_POINTS, config.width
        self.individual = nn.Linear(config.run_latent_dim, len(terms.offset))
        nn.init.normal_(self.individual.weight, std=0.02)
        nn.init.zeros_(self.individual.bias)
        self.start = nn.Sequential(
            nn.Linear(len(condition) + config.run_latent_dim + curve, width), nn.SiLU(), nn.Linear(width, self.hidden_dim)
        )
        # First layers of trunk and head side by side, split by what is known when: x and z, then the state.
        self.from_condition = nn.Linear(driven + latent_dim, 2 * width)
        self.from_state = nn.Linear(self.output_dim + curve, 2 * width, bias=False)
        self.trunk_memory = nn.Linear(config.memory_dim, width, bias=False)
        self.trunk = nn.Linear(width, config.memory_dim)
        self.head_memory = nn.Linear(config.memory_dim, width, bias=False)
        self.head = nn.Linear(width, self.free_count * (1 + driven) + len(self.balanced))
        self.curve = nn.Linear(curve, self.free_count, bias=False)
        constants = torch.logspace(math.log10(time_constants[0]), math.log10(time_constants[1]), config.memory_dim)
        self.rate_logit = nn.Parameter(torch.logit(1.0 - torch.exp(-1.0 / constants)))

    def _register(self, **constants: object) -> None:
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(np.asarray(value), dtype=torch.float32))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) at the start."""
        scaled = (x - self.condition_mean) / self.condition_std
        given = (x @ self.start_map - self.output_mean) / self.output_std * self.started
        learned = self.start(torch.cat([scaled, z[:, : self.run_latent_dim], self.curves(given)], dim=1))
        y = given + learned[:, : self.output_dim] * (1.0 - self.started)
        return y * self.output_std + self.output_mean, torch.cat([y, torch.tanh(learned[:, self.output_dim :])], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        scaled, driving, known = self.prepare(x, z)
        h = self.step(scaled, driving, known, self.coefficients(z), h)
        return h[:, : self.output_dim] * self.output_std + self.output_mean, h

    @torch.jit.ignore  # type: ignore[untyped-decorator]
    def roll(self, x: Tensor, z: Tensor) -> Tensor:
        """All steps of a window, the part that needs no state computed at once.

        x (batch, step, condition_dim), z (batch, step, latent_dim) -> y (batch, step + 1, output_dim)
        """
        _, h = self.initial(x[:, 0], z[:, 0])
        prepared = [part.unbind(1) for part in self.prepare(x, z)]
        coefficients = self.coefficients(z[:, 0])
        points = [h[:, : self.output_dim]]
        for scaled, driving, known in zip(*prepared, strict=True):
            h = self.step(scaled, driving, known, coefficients, h)
            points.append(h[:, : self.output_dim])
        return torch.stack(points, dim=1) * self.output_std + self.output_mean

    def prepare(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a step needs of x (..., condition_dim) and z (..., latent_dim): scaled x, input terms, first layers."""
        scaled = ((x - self.condition_mean) / self.condition_std).index_select(-1, self.stepping)
        return scaled, x @ self.term_condition, self.from_condition(torch.cat([scaled, z], dim=-1))

    def coefficients(self, z: Tensor) -> Tensor:
        """Factors (batch, term) of this individual on the balances' coefficients."""
        return torch.exp(self.individual(z[:, : self.run_latent_dim]))

    def step(self, scaled: Tensor, driving: Tensor, known: Tensor, coefficients: Tensor, h: Tensor) -> Tensor:
        """One step of the hidden state h (batch, hidden_dim)."""
        y, memory = h[:, : self.output_dim], h[:, self.output_dim :]
        # Terms of inputs alone move their balance before the network looks: it sees the charge at the end of the step.
        ahead = y + (driving * coefficients) @ self.term_ahead
        curves = self.curves(ahead)
        layers = known + self.from_state(torch.cat([ahead, curves], dim=1))
        candidate = torch.tanh(self.trunk(silu(layers[:, : self.width] + self.trunk_memory(memory))))
        memory = torch.lerp(memory, candidate, torch.sigmoid(self.rate_logit))
        head = self.head(silu(layers[:, self.width :] + self.head_memory(memory)))

        slopes = head[:, self.free_count : self.free_count * (1 + scaled.shape[1])].unflatten(1, (self.free_count, scaled.shape[1]))
        free = head[:, : self.free_count] + self.curve(curves) + (slopes @ scaled.unsqueeze(2)).squeeze(2)
        if len(self.balanced) == 0:
            return torch.cat([free, memory], dim=1)
        before = y[:, self.balanced]
        middle = torch.cat([free, before], dim=1)[:, self.back_to_order]
        terms = driving + middle @ self.term_output + self.term_offset
        moved = ((terms * coefficients) @ self.term_target)[:, self.balanced]
        balanced = before + moved + head[:, self.free_count * (1 + scaled.shape[1]) :] * self.residual_scale
        return torch.cat([torch.cat([free, balanced], dim=1)[:, self.back_to_order], memory], dim=1)

    def curves(self, y: Tensor) -> Tensor:
        """Bumps along each balanced output, y (batch, output_dim) scaled -> (batch, bumps).

        Many laws are curves over a state (a voltage over the charge); with bumps a linear layer can draw them at once.
        """
        distance = (y[:, self.balanced].unsqueeze(2) - self.curve_centres) / self.curve_width
        return torch.exp(-0.5 * distance * distance).flatten(1)


class Terms:
    """The terms of all balances as linear maps, coefficients of the first guess folded in, in scaled output units.

    term (batch, term) = x @ condition + y_scaled @ output + offset;   dy_scaled (batch, output) = term @ target
    """

    def __init__(
        self,
        balances: Sequence[Balance],
        inputs: Sequence[str],
        outputs: Sequence[str],
        coefficients: Mapping[str, Sequence[float]],
        scaling: Scaling,
    ) -> None:
        condition_dim = len(scaling.condition_mean)
        count = sum(len(balance.terms) for balance in balances)
        self.condition = np.zeros((condition_dim, count))
        self.output = np.zeros((len(outputs), count))
        self.offset = np.zeros(count)
        self.target = np.zeros((count, len(outputs)))
        self.of_inputs_only = np.ones(count)
        column = 0
        for balance in balances:
            target = outputs.index(balance.output)
            for term, coefficient in zip(balance.terms, coefficients[balance.output], strict=True):
                for name, sign in split_term(term):
                    if name in inputs:
                        self.condition[inputs.index(name), column] += sign * coefficient
                    elif name in outputs:
                        index = outputs.index(name)
                        self.output[index, column] += sign * coefficient * scaling.output_std[index]
                        self.offset[column] += sign * coefficient * scaling.output_mean[index]
                        self.of_inputs_only[column] = 0.0
                    else:
                        raise ConfigError(f"balance of {balance.output!r}: {name!r} in the term {term!r} is no input or output")
                self.target[column, target] = 1.0 / scaling.output_std[target]
                column += 1


def split_term(term: str) -> list[tuple[str, float]]:
    """`"a - b"` as [("a", 1), ("b", -1)]; `"a"` as [("a", 1)]."""
    plus, separator, minus = (part.strip() for part in term.partition("-"))
    return [(plus, 1.0), (minus, -1.0)] if separator else [(plus, 1.0)]
