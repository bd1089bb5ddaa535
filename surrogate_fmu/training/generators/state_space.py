"""The state-space generator: balances of known physics, a leaky memory, and a network for the rest."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from surrogate_fmu.dataset.scaling import Scaling
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.training.config import Balance, GeneratorConfig
from surrogate_fmu.variables import Causality, Variable, with_causality


_CURVE_POINTS = 16
_CURVE_REACH = 2.25  # standard deviations of the output


class StateSpaceGenerator(nn.Module):
    """y_k+1, h_k+1 = G(x_k, z_k, h_k) with h = (all outputs scaled, memory).

    One step, with u the network input (x, y_k, z) scaled and m the memory:

        m' = m + rate * (tanh(W trunk(u, m)) - m)          a leaky memory with time constants from one step to the run
        y' = a(u, m') + B(u, m') x                          outputs that have no balance
        y' = y + sum_j c_j(z_run) * term_j + r(u, m')       outputs with a balance: charge, heat, mass

    The terms of a balance are inputs or outputs, or differences of two; a term that is an output without balance takes its
    new value. The coefficients c_j are of one sign and differ between individuals through the run latents; r is small.
    Physical units at the interface, float32.

    Args:
        variables: inputs, parameters and outputs.
        config: sizes and balances.
        scaling: of the training data.
        time_constants: shortest and longest [steps] of the memory.
        coefficients: first guess of the balances' coefficients, output name -> one per term, physical units.
    """

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
        parameters = [v.name for v in with_causality(variables, Causality.PARAMETER)]
        outputs = [v.name for v in with_causality(variables, Causality.OUTPUT)]
        condition = inputs + parameters
        self.run_latent_dim: int = config.run_latent_dim
        self.latent_dim: int = config.run_latent_dim + config.step_latent_dim
        self.output_dim: int = len(outputs)
        self.memory_dim: int = config.memory_dim
        self.hidden_dim: int = self.output_dim + self.memory_dim

        balances = {balance.output: balance for balance in config.balances}
        self.balanced: list[int] = [i for i, name in enumerate(outputs) if name in balances]
        self.free: list[int] = [i for i, name in enumerate(outputs) if name not in balances]
        order = self.free + self.balanced
        self.back_to_order: list[int] = [order.index(i) for i in range(self.output_dim)]
        self.stepping: list[int] = [i for i, name in enumerate(condition) if name not in config.initial_parameters]

        for name, value in (
            ("condition_mean", scaling.condition_mean),
            ("condition_std", scaling.condition_std),
            ("output_mean", scaling.output_mean),
            ("output_std", scaling.output_std),
        ):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        spread = scaling.conditional_std / scaling.output_std
        scales = [0.1 * spread[i] if balances[outputs[i]].residual else 0.0 for i in self.balanced]
        self.register_buffer("residual_scale", torch.tensor(scales, dtype=torch.float32))

        terms = _Terms([balances[outputs[i]] for i in self.balanced], inputs, outputs, coefficients, scaling)
        self.register_buffer("term_condition", terms.condition)
        self.register_buffer("term_output", terms.output)
        self.register_buffer("term_offset", terms.offset)
        self.register_buffer("term_target", terms.target)
        self.register_buffer("term_ahead", terms.target * terms.of_inputs_only[:, None])
        term_count = len(terms.offset)
        self.spread_of_terms = nn.Linear(self.run_latent_dim, term_count)
        nn.init.normal_(self.spread_of_terms.weight, std=0.02)

        # Outputs that start at the value of a parameter do so exactly.
        start_map = torch.zeros(len(condition), len(outputs))
        for balance in config.balances:
            if balance.start:
                start_map[condition.index(balance.start), outputs.index(balance.output)] = 1.0
        self.register_buffer("start_map", start_map)
        self.register_buffer("started", start_map.sum(dim=0))

        self.register_buffer("curve_centres", torch.linspace(-_CURVE_REACH, _CURVE_REACH, _CURVE_POINTS))
        self.curve_width: float = 2 * _CURVE_REACH / (_CURVE_POINTS - 1)
        driven, curve = len(self.stepping), len(self.balanced) * _CURVE_POINTS
        features = driven + self.output_dim + self.latent_dim + self.memory_dim + curve
        width = config.width
        self.start = nn.Sequential(
            nn.Linear(len(condition) + self.latent_dim + curve, width), nn.SiLU(), nn.Linear(width, self.hidden_dim)
        )
        self.trunk = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, self.memory_dim), nn.Tanh())
        free_count = len(self.free)
        head_size = free_count * (1 + driven) + len(self.balanced)
        self.head = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, head_size))
        self.curve = nn.Linear(curve, free_count, bias=False)
        shortest, longest = time_constants
        constants = torch.logspace(math.log10(shortest), math.log10(longest), self.memory_dim)
        rate = 1.0 - torch.exp(-1.0 / constants)
        self.rate_logit = nn.Parameter(torch.logit(rate.clamp(1e-4, 1 - 1e-4)))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) at the start."""
        scaled = (x - self.condition_mean) / self.condition_std
        run_only = torch.cat([z[:, : self.run_latent_dim], torch.zeros_like(z[:, self.run_latent_dim :])], dim=1)
        given = (x @ self.start_map - self.output_mean) / self.output_std * self.started
        learned = self.start(torch.cat([scaled, run_only, self.curves(given)], dim=1))
        y = given + learned[:, : self.output_dim] * (1.0 - self.started)
        return y * self.output_std + self.output_mean, torch.cat([y, torch.tanh(learned[:, self.output_dim :])], dim=1)

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        scaled = ((x - self.condition_mean) / self.condition_std)[:, self.stepping]
        y, memory = h[:, : self.output_dim], h[:, self.output_dim :]
        coefficients = torch.exp(self.spread_of_terms(z[:, : self.run_latent_dim]))
        # Terms of inputs move their balance before the network looks at it: it sees the state at the end of the step.
        driving = x @ self.term_condition
        ahead = y + (driving * coefficients) @ self.term_ahead
        curves = self.curves(ahead)
        known = torch.cat([scaled, ahead, z, curves], dim=1)
        candidate = self.trunk(torch.cat([known, memory], dim=1))
        memory = memory + torch.sigmoid(self.rate_logit) * (candidate - memory)
        head = self.head(torch.cat([known, memory], dim=1))

        free_count, driven = len(self.free), len(self.stepping)
        slopes = head[:, free_count : free_count * (1 + driven)].reshape(-1, free_count, driven)
        free = self.curve(curves) + head[:, :free_count] + (slopes * scaled[:, None, :]).sum(dim=2)
        if len(self.balanced) == 0:
            y_next = free[:, self.back_to_order]
        else:
            middle = torch.cat([free, y[:, self.balanced]], dim=1)[:, self.back_to_order]
            terms = driving + middle @ self.term_output + self.term_offset
            moved = (terms * coefficients) @ self.term_target
            residual = head[:, free_count * (1 + driven) :] * self.residual_scale
            balanced = y[:, self.balanced] + moved[:, self.balanced] + residual
            y_next = torch.cat([free, balanced], dim=1)[:, self.back_to_order]
        return y_next * self.output_std + self.output_mean, torch.cat([y_next, memory], dim=1)


    def curves(self, y: Tensor) -> Tensor:
        """Bumps along each balanced output, y (batch, output_dim) scaled -> (batch, bumps).

        Many laws are curves over a state (a voltage over the charge); with bumps a linear layer can draw them at once.
        """
        distance = (y[:, self.balanced].unsqueeze(2) - self.curve_centres) / self.curve_width
        return torch.exp(-0.5 * distance * distance).flatten(1)


class _Terms:
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
        self.condition = torch.zeros(condition_dim, count)
        self.output = torch.zeros(len(outputs), count)
        self.offset = torch.zeros(count)
        self.target = torch.zeros(count, len(outputs))
        self.of_inputs_only = torch.ones(count)
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
