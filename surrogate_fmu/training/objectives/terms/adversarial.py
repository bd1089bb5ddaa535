"""An adversarial game as a term: its value is the generator's loss, and taking it trains the critic."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.training.config import Optimiser
from surrogate_fmu.training.critics import BODIES, make_critic
from surrogate_fmu.training.objectives.games.protocol import Game
from surrogate_fmu.training.objectives.terms.physics import PhysicsChannels
from surrogate_fmu.training.objectives.terms.residual import Values
from surrogate_fmu.training.objectives.terms.term import Draw, Shapes, Term
from surrogate_fmu.training.optimisers import make_optimiser

_BEHIND, _AHEAD = 0.6, 0.9  # shares of pairs in which the critic is right
_FORGETTING = 0.05  # of the known lead at each step


class Adversarial(Term):
    """A game between the generator and a critic that sees windows under their conditions.

    Individuals differ by a few percent of an output's range, which a critic that sees raw outputs takes long to notice. It
    therefore sees the deviation from where the generator expects the window (`Draw.centred`), in units of the conditional spread;
    that centre and the condition stand beside it.

    Args:
        game: the losses.
        critic: "window" (convolutions over time), "recurrent" (GRU), "lstm", "attention", "mlp", "grid" (convolutions over time and
            outputs), "graph" (messages between outputs), "set" (outputs as a set).
        width: hidden units of the critic.
        spectral_norm: normalise the critic's weights by their largest singular value (Miyato et al., ICLR 2018).
        projection: condition the critic by projection, not by concatenation.
        learning_rate: of the critic; with that of the generator it makes two time scales (Heusel et al., NeurIPS 2017).
        critic_steps: of the critic per step of the generator, each on draws of its own but the last.
        adaptive: let the critic's lead decide how many of these it takes: all while it is right in less than 60 % of pairs, one
            from 90 % on.
        optimiser: of the critic: adam, optimistic, extragradient.
        feature_matching: weight of the distance between mean features of real and fake (Salimans et al., NeurIPS 2016).
        members: draws per window, at least 2; half of them are fakes, the others make the centre.
        function: physics that the critic sees beside the window, see `PhysicsChannels`; None has none.
    """

    def __init__(
        self,
        game: Game,
        critic: str = "window",
        width: int = 64,
        spectral_norm: bool = False,
        projection: bool = False,
        learning_rate: float = 5e-4,
        critic_steps: int = 1,
        adaptive: bool = False,
        optimiser: str = "adam",
        feature_matching: float = 0.0,
        members: int = 4,
        function: Callable[[Values, Values], Tensor] | None = None,
    ) -> None:
        if critic_steps < 1 or learning_rate <= 0.0 or members < 2 or feature_matching < 0.0:
            raise ValueError(
                f"critic_steps {critic_steps} must be at least 1, learning_rate {learning_rate:g} above 0, members {members} at "
                f"least 2 and feature_matching {feature_matching:g} not negative"
            )
        self._game = game
        if critic not in BODIES:
            raise ValueError(f"critic {critic!r} is unknown; there are {', '.join(BODIES)}")
        self._network = (critic, width, spectral_norm, projection)
        self._learning_rate = learning_rate
        self._critic_steps = critic_steps
        self._adaptive = adaptive
        self._kind = Optimiser(optimiser)
        self._lead = 0.5
        self._feature_matching = feature_matching
        self.members = members
        self._signals: dict[str, float] = {}
        self._function = function
        self._physics: PhysicsChannels | None = None

    def bind(self, shapes: Shapes) -> None:
        """Make the critic."""
        name, width, spectral_norm, projection = self._network
        self._physics = PhysicsChannels(self._function, shapes) if self._function else None
        extra = self._physics.count if self._physics else 0
        self._critic = make_critic(name, shapes.output_dim, shapes.condition_dim, width, spectral_norm, projection, extra)
        self._optimiser = make_optimiser(self._kind, self._critic.parameters(), self._learning_rate, (0.5, 0.99))

    def value(self, draw: Draw) -> Tensor:
        """()."""
        for _ in range(self._steps() - 1):
            with torch.no_grad():
                others = draw.roll(draw.roller.draw(self.members))
            self._train_critic(draw, others)
        return self._play(draw, draw.members[: self.members])

    def _steps(self) -> int:
        if not self._adaptive:
            return self._critic_steps
        behind = (_AHEAD - self._lead) / (_AHEAD - _BEHIND)
        return 1 + round((self._critic_steps - 1) * min(1.0, max(0.0, behind)))

    def _train_critic(self, draw: Draw, members: Tensor) -> None:
        view = _View(draw, members, self._physics)

        def critic(window: Tensor) -> Tensor:
            return self._critic(view.seen(window), view.level, view.condition)  # type: ignore[no-any-return]

        self._optimiser.zero_grad()
        loss = self._game.critic_loss(critic, view.real, view.fake.detach())
        loss.backward()  # type: ignore[no-untyped-call]
        slope = torch.nn.utils.clip_grad_norm_(self._critic.parameters(), 10.0)
        self._optimiser.step()
        self._game.constrain(self._critic)
        self._signals |= {"critic_loss": float(loss.detach()), "critic_gradient": float(slope)}

    def _play(self, draw: Draw, members: Tensor) -> Tensor:
        self._train_critic(draw, members)
        view = _View(draw, members, self._physics)
        scores: dict[int, Tensor] = {}

        def critic(window: Tensor) -> Tensor:
            score: Tensor = self._critic(view.seen(window), view.level, view.condition)
            scores[id(window)] = score.detach()
            return score

        loss = self._game.generator_loss(critic, view.real, view.fake)
        with torch.no_grad():
            real, fake = (scores[id(w)] if id(w) in scores else critic(w) for w in (view.real, view.fake))
        # how often the critic ranks a real window above the fake one under the same condition: 0.5 cannot tell, 1 is sure
        self._signals |= {
            "critic_real": float(real.mean()),
            "critic_fake": float(fake.mean()),
            "critic_lead": float((real > fake).float().mean()),
        }
        self._lead += _FORGETTING * (self._signals["critic_lead"] - self._lead)
        if self._feature_matching:
            features = [self._critic.features(view.seen(window), view.level, view.condition) for window in (view.real, view.fake)]
            loss = loss + self._feature_matching * (features[0].detach().mean(dim=0) - features[1].mean(dim=0)).square().mean()
        return loss

    def signals(self) -> dict[str, float]:
        """Scores of real and fake windows, how often the critic is right, its loss and its gradient."""
        return self._signals

    def state(self) -> dict[str, Any]:
        """Critic and optimiser."""
        state = {"critic": self._critic.state_dict(), "optimiser": self._optimiser.state_dict(), "lead": self._lead}
        return state | ({"physics": self._physics.scale} if self._physics else {})

    def load(self, state: dict[str, Any]) -> None:
        """See `Term`."""
        self._critic.load_state_dict(state["critic"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._lead = state["lead"]
        if self._physics:
            self._physics.scale = state["physics"]


class _View:
    """What the critic sees of a draw, (member * batch, point, ...)."""

    def __init__(self, draw: Draw, members: Tensor, physics: PhysicsChannels | None) -> None:
        fake, real, centre = draw.centred(members)
        count = len(fake)
        self.real = real.repeat(count, 1, 1)
        self.fake = fake.flatten(0, 1)
        self.level = draw.level(centre).repeat(count, 1, 1)
        self.condition = draw.condition.repeat(count, 1, 1)
        self._draw, self._centre, self._physics = draw, centre.repeat(count, 1, 1), physics
        if physics:
            physics.measure(draw)

    def seen(self, window: Tensor) -> Tensor:
        """A window (member * batch, point, output_dim) and what physics says of it."""
        if self._physics is None:
            return window
        return torch.cat([window, self._physics(self._draw, self._centre + window)], dim=2)
