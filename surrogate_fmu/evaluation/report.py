"""The card as files: one HTML page that needs nothing beside it, and the JSON."""

import json
from collections.abc import Mapping
from pathlib import Path

from surrogate_fmu.bundle.archive import make_bundle, read_bundle, write_archive
from surrogate_fmu.evaluation.card import Card, format_band, format_share
from surrogate_fmu.evaluation.config import Metric, Verdict

_MEANING = {
    Verdict.REPLACE: "The surrogate may take the plant's place in what was tested.",
    Verdict.ASSIST: "The surrogate may screen, warm-start or extend plant runs, with the plant confirming.",
    Verdict.REJECT: "The surrogate may not stand in for the plant.",
}


def write_report(card: Card, figures: Mapping[str, str], folder: Path) -> tuple[Path, Path]:
    """Write `card.html` and `card.json` into a folder, which is made if need be.

    Args:
        card: the evidence.
        figures: title to SVG text, put inline in this order.
        folder: where to.

    Returns:
        The paths of the HTML and the JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    html_path, json_path = folder / "card.html", folder / "card.json"
    html_path.write_text(render(card, figures), encoding="utf-8")
    json_path.write_text(card.to_json(), encoding="utf-8")
    return html_path, json_path


def embed_card(card: Card, bundle_path: Path) -> None:
    """Write the card into a bundle, so that FMUs built from it and whoever is served it can read the evidence."""
    bundle = read_bundle(bundle_path)
    write_archive(make_bundle(bundle.manifest.replace(card=json.loads(card.to_json())), bundle.payload), bundle_path)


def render(card: Card, figures: Mapping[str, str]) -> str:
    """The page: verdict, gates, pictures, provenance. Nothing in it is loaded from elsewhere."""
    by_metric = [[gate for gate in card.gates if gate.metric is metric] for metric in Metric]
    gate_counts = {verdict: sum(gate.verdict is verdict for gate in card.gates) for verdict in Verdict}
    return render_page(
        "card_template.html",
        title=f"{card.artefact.name}: {card.verdict.value}",
        accent=card.verdict.value,
        card=card,
        figures=figures,
        meaning=_MEANING[card.verdict],
        gate_counts=gate_counts,
        by_metric=by_metric,
    )


def render_page(template: str, title: str, accent: str, **values: object) -> str:
    """A page in the house's style from a template of this package that extends `page_template.html`.

    Args:
        template: its path in the package.
        title: of the page.
        accent: the colour of its head: replace (green), assist (amber), reject (red) or soft (grey).
        **values: what the template shows.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("surrogate_fmu.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["band"] = format_band
    environment.filters["share"] = format_share
    environment.filters["factor"] = lambda ratio: f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.2g}"
    return environment.get_template(template).render(title=title, accent=accent, **values)
