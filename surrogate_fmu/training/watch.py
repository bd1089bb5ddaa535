"""A watch over a training in progress: every failure that shows while it runs, as a sentence with what to do.

Too much spread is a matter of time. Every training learns to scatter before it learns to follow its inputs, so its spread passes
through a hump: on the double well of 1.4 to 2.1 times the plant's own, for energy, crps and r3gan alike. It is over after some 150
updates: 5 % of a long training, most of one of seconds. From 30 % on, those that ended within 10 % of the plant's own CRPS stayed
below 1.7, and from 80 % on below 1.1; the non-saturating game alone reached 2.2 to 3.1, and a repulsion of weight 5 ended at 1.7 to
1.9. So up to 80 % twice the plant's spread is too much, and 1.4 times after that.
"""

from collections import deque
from collections.abc import Mapping

from surrogate_fmu.training.loop import Progress

_WINDOW = 100  # updates that a judgement rests on
_SURE = 0.97  # share of pairs in which a critic that cannot be fooled ranks the real window first
_FLAT = 0.02  # of the gradient that the generator had at its best; below it learns nothing more
_SILENT = 0.02  # nat per latent; below it the latents of a VAE say nothing
_NARROW = 0.7  # spread over the plant's own
_WIDE, _WIDE_LATE, _LATE = 2.0, 1.4, 0.8  # the same, until the share of the training that is late, and after it
_WORSE = 1.5  # times the best score
_EXPLODING = 100.0  # times what the critic's loss was in the beginning


class Watch:
    """Sees every update, and says once what goes wrong.

    Attributes:
        findings: sentences by the name of the failure, in the order in which they were seen.
    """

    def __init__(self) -> None:
        self.findings: dict[str, str] = {}
        self._recent: dict[str, deque[float]] = {}
        self._best_gradient = 0.0
        self._first_critic_loss = 0.0

    def see(self, progress: Progress) -> list[str]:
        """Look at one update; the sentences that are new."""
        before = set(self.findings)
        signals = {name.rpartition("/")[2]: value for name, value in progress.signals.items()}
        for name, value in signals.items():
            self._recent.setdefault(name, deque(maxlen=_WINDOW)).append(value)
        self._see_game(signals)
        if len(self._recent.get("divergence", ())) == _WINDOW and progress.share > 0.5 and self._mean("divergence") < _SILENT:
            self.findings.setdefault(
                "posterior collapse",
                f"the encoder says {self._mean('divergence'):.3f} nat per latent: the generator ignores its latents; lower beta, "
                'or take schedule = "cyclical"',
            )
        if progress.validation is not None and progress.share > 0.3:
            self._see_validation(progress)
        return [sentence for name, sentence in self.findings.items() if name not in before]

    def _see_game(self, signals: Mapping[str, float]) -> None:
        if "critic_lead" not in signals or len(self._recent["critic_lead"]) < _WINDOW:
            return
        gradient = self._mean("gradient")
        self._best_gradient = max(self._best_gradient, gradient)
        if self._mean("critic_lead") > _SURE and gradient < _FLAT * self._best_gradient:
            self.findings.setdefault(
                "vanishing gradient",
                f"the critic is right in {self._mean('critic_lead'):.0%} of pairs and the generator's gradient is "
                f"{gradient / self._best_gradient:.1%} of what it was: a perfect critic teaches nothing; lower its learning rate, "
                "add spectral_norm or a gradient penalty, or take r3gan",
            )
        loss = abs(self._mean("critic_loss"))
        self._first_critic_loss = self._first_critic_loss or max(loss, 0.1)
        if loss > _EXPLODING * self._first_critic_loss:
            self.findings.setdefault(
                "divergence",
                f"the critic's loss is {loss:.3g}, {loss / self._first_critic_loss:.0f} times what it was: the game diverges; "
                "lower both learning rates, or take a game whose critic is bounded (wgan-gp, r3gan)",
            )

    def _see_validation(self, progress: Progress) -> None:
        assert progress.validation is not None
        ratios = progress.validation.spread_ratio
        lowest, highest = min(ratios), max(ratios)
        if lowest < _NARROW:
            name = "collapse" if lowest < 0.3 else "variance loss"
            self.findings.setdefault(
                name,
                f"at {progress.share:.0%} of the training the spread of an output is {lowest:.2f} of the plant's own: the "
                "generator makes the plant surer than it is; add a term that rewards spread (energy, crps, repulsion)",
            )
        if highest > (_WIDE_LATE if progress.share > _LATE else _WIDE):
            self.findings.setdefault(
                "variance overshoot",
                f"at {progress.share:.0%} of the training the spread of an output is {highest:.2f} of the plant's own: too much "
                "noise; train longer, or take a score (energy, crps) beside the critic",
            )
        if progress.best is not None and progress.validation.score > _WORSE * progress.best.score:
            self.findings.setdefault(
                "relapse",
                f"at {progress.share:.0%} of the training the score is {progress.validation.score:.2f}, the best was "
                f"{progress.best.score:.2f}: it was better before; the best weights are kept, lower the learning rate to go on",
            )

    def _mean(self, name: str) -> float:
        values = self._recent.get(name)
        return sum(values) / len(values) if values else 0.0
