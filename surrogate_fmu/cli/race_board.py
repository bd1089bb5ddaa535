"""The table of a race, live and at the end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from surrogate_fmu.training.race import Candidate, Race


def make_board(candidates: Sequence[Candidate], race: Race | None = None) -> Any:
    """A table with a row for each candidate; with the race, as it ended."""
    from rich.table import Table

    table = Table(title="race" if race is None else "race, best first; 1 is the plant's own")
    for name in ("candidate", "done", "updates", "CRPS", "spread"):
        table.add_column(name, justify="left" if name == "candidate" else "right")
    if race is not None:
        for name in ("paths", "spread/skill", "diverged", "score [90 %]"):
            table.add_column(name, justify="right")
    table.add_column("saw")
    for candidate in candidates:
        table.add_row(*_row(candidate, race), style="bold" if race is not None and candidate is race.winner else None)
    return table


@contextmanager
def live_board() -> Iterator[Any]:
    """A function that shows candidates as they stand; on no terminal it shows nothing."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda candidates: None
        return
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        yield lambda candidates: live.update(make_board(candidates))


def outcome(race: Race) -> str:
    """Who won and why, in a sentence."""
    winner = race.winner
    others = [name for name in race.tied if name != winner.recipe.name]
    if not others:
        return f"{winner.recipe.name} wins: it leads all others by more than the validation runs' luck."
    equals = f"{' and '.join(others)} {'is' if len(others) == 1 else 'are'} as good"
    return f"{winner.recipe.name} wins: {equals} within the validation runs' luck, and it is the simplest."


def _row(candidate: Candidate, race: Race | None) -> list[str]:
    progress, judgement = candidate.progress, candidate.judgement
    row = [
        candidate.recipe.name,
        "" if progress is None else f"{progress.share:.0%}",
        "" if progress is None else f"{progress.update}",
    ]
    if judgement is not None:
        row += [f"{judgement.crps_ratio:.3f}", f"{judgement.spread_ratio:.2f}"]
    elif candidate.latest is not None:
        ratios, spreads = candidate.latest.crps_ratio, candidate.latest.spread_ratio
        row += [f"{sum(ratios) / len(ratios):.3f}", f"{min(spreads):.2f} to {max(spreads):.2f}"]
    else:
        row += ["", ""]
    if race is not None and judgement is not None:
        row += [
            f"{judgement.path_ratio:.3f}",
            " ".join(f"{ratio:.2f}" for ratio in judgement.spread_skill),
            f"{judgement.diverged}/{judgement.long_members}",
            f"{judgement.score:.3f} [{judgement.low:.3f} {judgement.high:.3f}]",
        ]
    elif race is not None:
        row += [""] * 4
    return [*row, candidate.failed or ", ".join(candidate.watch.findings)]
