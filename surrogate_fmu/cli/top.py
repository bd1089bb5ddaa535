"""`surrogate-fmu top`: sessions and rates of a running service, from its metrics."""

import argparse
import contextlib
import http.client
import re
import sys
import time
import urllib.parse
import urllib.request

from surrogate_fmu.errors import ConfigError, ServiceError

HELP = "show sessions and rates of a running service"

_LINE = re.compile(r"surrogate_fmu_(\w+?)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CLEAR = "\033[H\033[2J"
_TIMEOUT_S = 5.0
Sample = dict[tuple[str, str, str], float]  # (name, model, detail) -> value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("url", metavar="URL", help="of the metrics: http://host:port, as `serve --metrics` prints it")
    parser.add_argument("--interval-s", type=float, default=2.0, metavar="SECONDS", help="between two looks (default: %(default)g)")
    parser.add_argument("--once", action="store_true", help="print one table, with the rates over one interval, and end")


def run(arguments: argparse.Namespace) -> int:
    """Show the table again and again until Ctrl-C, or once; 0.

    Raises:
        ConfigError: the address or the interval cannot be used.
        ServiceError: nothing answers there, or no service of this package.
    """
    _check_url(arguments.url)
    if not arguments.interval_s > 0:
        raise ConfigError(f"--interval-s {arguments.interval_s} must be a positive number of seconds")
    before, then = read_metrics(arguments.url), time.monotonic()
    try:
        while True:
            time.sleep(arguments.interval_s)
            now, sample = time.monotonic(), read_metrics(arguments.url)
            text = "\n".join(table(sample, before, now - then))
            print(text if arguments.once or not sys.stdout.isatty() else f"{_CLEAR}{arguments.url}\n\n{text}", flush=True)
            if arguments.once:
                return 0
            before, then = sample, now
    except KeyboardInterrupt:
        return 0


def _check_url(url: str) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or url != url.strip():
        raise ConfigError(f"{url!r} is no address of metrics; give http://host:port, as `serve --metrics` prints it")


def read_metrics(url: str) -> Sample:
    """The metrics of a service by name, model and one more label.

    Raises:
        ServiceError: nothing answers there, or no service of this package.
    """
    address = url.rstrip("/").removesuffix("/metrics") + "/metrics"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as reply:
            text = reply.read().decode()
    except (OSError, ValueError, http.client.HTTPException) as error:  # away, no text, or cut off
        raise ServiceError(f"no metrics at {address} ({error}); is `surrogate-fmu serve --metrics` running there?") from error
    sample: Sample = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is not None:
            labels = dict(_LABEL.findall(found[2] or ""))
            model = labels.pop("model", "")
            with contextlib.suppress(ValueError):  # no number: not of this package
                sample[found[1], model, ",".join(labels.values())] = float(found[3])
    if not sample:
        raise ServiceError(f"what answers at {address} is no service of surrogate-fmu; check the address")
    return sample


def table(sample: Sample, before: Sample, seconds: float) -> list[str]:
    """One line for each model, and one for each kind of refusal."""

    def value(name: str, model: str, detail: str = "") -> float:
        return sample.get((name, model, detail), 0.0)

    def change(name: str, model: str) -> float:
        now, then = value(name, model), before.get((name, model, ""), 0.0)
        return now - then if now >= then else now  # a service that began again counts from 0

    heads = ("sessions", "steps", "steps/s", "per call", "mean, us", "replays", "evicted")
    lines = [f"{'model':24s}" + "".join(f"{head:>11s}" for head in heads)]
    for model in sorted({key[1] for key in sample if key[1]}):
        steps, calls = change("steps_total", model), change("batch_rows_count", model)
        taken = change("step_seconds_count", model)
        cells = (
            f"{value('sessions', model):.0f}",
            f"{value('steps_total', model):.0f}",
            f"{steps / seconds:.0f}",
            f"{change('batch_rows_sum', model) / calls:.1f}" if calls else "-",
            f"{1e6 * change('step_seconds_sum', model) / taken:.0f}" if taken else "-",
            f"{value('replays_total', model):.0f}",
            f"{value('session_events_total', model, 'evicted'):.0f}",
        )
        lines.append(f"{model:24s}" + "".join(f"{cell:>11s}" for cell in cells))
    refused = {key[2]: count for key, count in sample.items() if key[0] == "refused_total"}
    return lines + [f"refused with {error}: {count:.0f}" for error, count in sorted(refused.items())]
