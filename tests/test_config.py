"""Configuration files: what is refused, and that the line is named."""

from pathlib import Path

import pytest

from surrogate_fmu.config import load_config
from surrogate_fmu.errors import ConfigError

SHIPPED = Path(__file__).parents[1] / "models" / "dfn_cell" / "surrogate.toml"


def test_shipped_configuration_loads():
    assert load_config(SHIPPED).surrogate.name == "dfn_cell"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("memory_dim = 10", "memory_dimm = 10", "did you mean 'memory_dim'"),
        ('curves = ["soc"]', 'curves = ["sock"]', "there is no 'sock' here"),
        ('current = "A"', 'current = "Ampere"', "'Ampere' is not a known symbol"),
        ('output = "soc"\nterms', 'output = "sock"\nterms', "there is no 'sock' here"),
        ('input = "current"\nparameter', 'input = "currant"\nparameter', "there is no 'currant' here"),
        ("steps = 120", 'steps = "many"', "expected int"),
        ("hold_s = [20, 600]", "hold_s = [600, 20]", "two ascending times"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name_and_line(tmp_path: Path, before: str, after: str, message: str):
    text = SHIPPED.read_text()
    assert text.count(before) >= 1
    path = tmp_path / "surrogate.toml"
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    line = int(str(caught.value).split(f"{path}:")[1].split(":")[0])
    changed = text.replace(before, after, 1).splitlines()
    near = "\n".join(changed[line - 2 : line + 4])
    assert after.splitlines()[0] in near


def test_variables_are_compared_with_the_plant():
    config = load_config(SHIPPED)
    with pytest.raises(ConfigError, match="has no variable 'current'"):
        config.check_variables([], "the plant")
