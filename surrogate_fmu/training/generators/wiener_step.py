"""The Wiener generator as it is shipped: one step in as few operations as can be.

At a batch of one, what a step costs is the number of operations, not their size. So what a run keeps is computed at its start
and carried in the hidden state (the individual's factors, its share of the first layer), and scaling, selection and the first
layer's share of the inputs are one matrix.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from surrogate_fmu.training.generators.wiener import WienerGenerator


class WienerStep(nn.Module):
    """The same law as the generator that it is made from, step by step; see there for the equations.

    The hidden state is (balanced outputs, filters, coefficients, rates, reach of lags, the individual's share of the first
    layer). Run latents are read at the start only.

    Args:
        generator: a copy is taken of its weights.
    """

    kept_at_rest: Tensor
    rest: Tensor
    known_matrix: Tensor
    known_offset: Tensor
    noise_matrix: Tensor
    ahead_matrix: Tensor
    individual_matrix: Tensor
    lag_matrix: Tensor
    coordinate_matrix: Tensor
    wave_matrix: Tensor
    wave_phases: Tensor
    state_matrix: Tensor
    gather_matrix: Tensor
    term_matrix: Tensor
    target_matrix: Tensor
    join_matrix: Tensor
    physical_matrix: Tensor
    physical_offset: Tensor

    def __init__(self, generator: WienerGenerator) -> None:
        super().__init__()
        g = generator
        balanced, free, driving, width = g.balanced_count, g.free_count, g.driving_count, g.known.out_features
        said = balanced + free  # corrections of balances and free outputs: what the head says
        gates = said + free * driving
        self.run_latent_dim, self.output_dim, self.filter_count = g.run_latent_dim, g.output_dim, g.filter_count
        self.has_step_latents = g.known.in_features > driving + g.run_latent_dim
        self.balanced_count = balanced
        self.known_parts = [gates, g.filter_count, len(g.term_offset), width + said]
        self.hidden_parts = [balanced, g.filter_count, sum(g.factor_sizes) + width]
        self.run_parts = [*g.factor_sizes, width]
        self.seen_parts = [width, said]
        self.hidden_dim = sum(self.hidden_parts)
        self.origin = copy.deepcopy(g)
        self.inner, self.head = copy.deepcopy(g.inner), copy.deepcopy(g.head)
        with torch.no_grad():
            columns = torch.eye(len(g.condition_rest))
            scale, shift = columns[:, g.driving] / g.condition_std[g.driving], -(g.condition_rest / g.condition_std)[g.driving]
            first, individual, noise = g.known.weight.t().split(  # type: ignore[no-untyped-call]
                [driving, g.run_latent_dim, g.known.in_features - driving - g.run_latent_dim]
            )
            slopes = torch.arange(driving).repeat(free)
            # x -> gates of what the head says (1 for itself, inputs for its slopes), filtered inputs, terms, first layer.
            nothing = torch.zeros(len(columns), said)
            known = (nothing, scale[:, slopes], scale[:, g.filtered], g.term_condition, scale @ first, nothing)
            offset = (torch.ones(said), shift[slopes], shift[g.filtered], g.term_offset, shift @ first + g.known.bias, nothing[0])
            self._keep(known_matrix=torch.cat(known, dim=1), known_offset=torch.cat(offset))
            self._keep(individual_matrix=individual, noise_matrix=pad(noise, (0, said)))
            inputs = torch.isin(g.driving, g.driving[g.at_rest == 0.0])
            kept = torch.ones(len(columns))
            kept[g.driving[inputs]] = 0.0
            self._keep(kept_at_rest=kept, rest=g.condition_rest * (1.0 - kept))
            self._keep(ahead_matrix=g.term_ahead, lag_matrix=g.lag, coordinate_matrix=g.coordinate_balanced)
            self._keep(wave_matrix=torch.kron(torch.eye(g.coordinate_count), g.wave_numbers[None]))
            self._keep(wave_phases=g.wave_phases.repeat(g.coordinate_count))
            state = g.state.weight.t()
            self._keep(state_matrix=torch.cat([state[:, :width], torch.zeros(len(state), balanced), state[:, width:]], dim=1))
            # What the head says, through its gates -> corrections and free outputs.
            of_free = torch.eye(said)[balanced:]
            corrections = torch.eye(said)[:balanced] * g.residual_scale[:, None]
            self._keep(gather_matrix=torch.cat([corrections, of_free, of_free.repeat_interleave(driving, dim=0)]))
            # (balanced, correction, free) -> terms; -> (balanced + correction, free).
            self._keep(term_matrix=torch.cat([g.term_balanced, torch.zeros_like(g.term_balanced), g.term_free]))
            self._keep(target_matrix=pad(g.term_target, (0, free)))
            self._keep(join_matrix=torch.cat([torch.eye(said)[:balanced], torch.eye(said)]))
            self._keep(physical_matrix=torch.diag(g.output_std)[:, g.back_to_order])
            self._keep(physical_offset=g.output_mean[g.back_to_order])

    def _keep(self, **constants: Tensor) -> None:
        for name, value in constants.items():
            self.register_buffer(name, value.detach().clone().contiguous())

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim) -> y (batch, output_dim), h (batch, hidden_dim) at the start."""
        balanced = self.origin.starts(x, z)
        coefficients, rates, reach = self.origin.factors(z)
        own = z[:, : self.run_latent_dim] @ self.individual_matrix
        filters = torch.zeros(x.shape[0], self.filter_count, dtype=x.dtype, device=x.device)
        at_rest = x * self.kept_at_rest + self.rest
        gate, _, _, known = (at_rest @ self.known_matrix + self.known_offset).split(self.known_parts, dim=1)  # type: ignore[no-untyped-call]
        said = self.static(balanced, filters, reach, own, known, gate)
        scaled = torch.cat([balanced, said[:, self.balanced_count :]], dim=1)
        hidden = torch.cat([balanced, filters, coefficients, rates, reach, own], dim=1)
        return scaled @ self.physical_matrix + self.physical_offset, hidden

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, latent_dim), h (batch, hidden_dim) -> y (batch, output_dim), h."""
        balanced, filters, run = h.split(self.hidden_parts, dim=1)  # type: ignore[no-untyped-call]
        coefficients, rates, reach, own = run.split(self.run_parts, dim=1)
        known_parts = (x @ self.known_matrix + self.known_offset).split(self.known_parts, dim=1)  # type: ignore[no-untyped-call]
        gate, pulled, pull, known = known_parts
        if self.has_step_latents:
            known = known + z[:, self.run_latent_dim :] @ self.noise_matrix
        filters = torch.lerp(filters, pulled, rates)
        ahead = balanced + (pull * coefficients) @ self.ahead_matrix
        found = torch.cat([balanced, self.static(ahead, filters, reach, own, known, gate)], dim=1)
        moved = (found @ self.term_matrix + pull) * coefficients
        scaled = found @ self.join_matrix + moved @ self.target_matrix
        hidden = torch.cat([scaled[:, : self.balanced_count], filters, run], dim=1)
        return scaled @ self.physical_matrix + self.physical_offset, hidden

    def static(self, ahead: Tensor, filters: Tensor, reach: Tensor, own: Tensor, known: Tensor, gate: Tensor) -> Tensor:
        """Corrections of balances and free outputs, (batch, balanced + free), scaled."""
        coordinates = ahead @ self.coordinate_matrix + (filters @ self.lag_matrix) * reach
        waves = torch.cos(coordinates @ self.wave_matrix + self.wave_phases)
        seen = torch.cat([ahead, filters, coordinates, waves], dim=1) @ self.state_matrix + known
        passed, past = seen.split(self.seen_parts, dim=1)  # type: ignore[no-untyped-call]
        hidden = silu(passed + own)
        for layer in self.inner:
            hidden = silu(layer(hidden))
        said: Tensor = (self.head(hidden) * gate) @ self.gather_matrix + past
        return said
