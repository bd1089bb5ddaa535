"""The line that a refused configuration names, and variables compared with a plant."""

import re
from pathlib import Path

import pytest

from surrogate_fmu.config import Split, find_line, load_config
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.variables import Causality, Variable

SHIPPED = Path(__file__).parents[1] / "models" / "dfn_cell" / "surrogate.toml"

TEXT = """\
[surrogate]
name = "tank"
plant = "tank.py:Tank"

[variables]
flow = "L/s"
level = "L"
level_start = "L"

[recording]
steps = 10
sets.train = { schedules = 4 }

[recording.design.inputs.flow]
min = -1.0
max = 1.0
excitations = ["steps"]
hold_s = [1, 5]

[recording.design.parameters]
level_start = { min = 0.2, max = 0.8 }

[[recording.design.budgets]]
input = "flow"
parameter = "level_start"
gain = 1.0
min = 0.0
max = 1.0
reserve_s = 5.0

[[recording.design.budgets]]
input = "flow"
parameter = "level_start"
gain = 0.5
min = 0.1
max = 0.9
reserve_s = 5.0

[training]
updates = 5

[training.energy]
members = 3

[[training.generator.balances]]
output = "level"
terms = ["flow"]
start = "level_start"
"""
VARIABLES = (
    Variable("flow", Causality.INPUT, "L/s", start=0.0),
    Variable("level_start", Causality.PARAMETER, "L", start=0.5),
    Variable("level", Causality.OUTPUT, "L"),
)


def replaced(before: str, after: str, occurrence: int = 0) -> str:
    parts = TEXT.split(before)
    assert len(parts) > occurrence + 1
    return before.join(parts[: occurrence + 1]) + after + before.join(parts[occurrence + 1 :])


def line_of(text: str, fragment: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if fragment in line)


def refusal(folder: Path, text: str) -> tuple[int | None, str]:
    path = folder / "surrogate.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    number = message.removeprefix(f"{path}:").partition(":")[0]
    return (int(number) if number.isdigit() else None), message


def test_the_small_configuration_loads(tmp_path: Path):
    (tmp_path / "surrogate.toml").write_text(TEXT)
    config = load_config(tmp_path / "surrogate.toml")
    assert config.training.energy.members == 3
    assert config.bundle_path == tmp_path / "tank.bundle"
    assert config.dataset_path(Split.TRAIN) == config.dataset_path("train") == tmp_path / "data" / "train.nc"


def test_the_shipped_configuration_has_three_sets_with_their_own_seeds():
    sets = load_config(SHIPPED).recording.sets
    assert set(sets) == set(Split)
    assert len({entry.seed for entry in sets.values()}) == 3


@pytest.mark.parametrize(
    ("before", "occurrence", "after", "fragment", "message"),
    [
        ('name = "tank"', 0, "nam = 1", "nam = 1", "surrogate.nam: unknown key; did you mean 'name'"),
        ('plant = "tank.py:Tank"\n', 0, "", "[surrogate]", "surrogate: the key 'plant' is missing"),
        ("steps = 10", 0, "steps = 0", "[recording]", "steps 0 must be at least 1"),
        ("steps = 10", 0, "steps = 10.5", "steps = 10.5", "recording.steps: expected int, got 10.5"),
        ("schedules = 4", 0, "schedules = 4, seeds = 1", "sets.train", "sets.train.seeds: unknown key; did you mean 'seed'"),
        ("sets.train", 0, "sets.trian", "[recording]", "sets ['trian'] are unknown; use train, validation, test"),
        ("gain = 0.5", 0, "gian = 0.5", "gian", "budgets[1].gian: unknown key; did you mean 'gain'"),
        ('input = "flow"', 1, 'input = "fow"', 'input = "fow"', "budgets[1].input: there is no 'fow' here; there are flow"),
        ('parameter = "level_start"', 1, 'parameter = "start"', '"start"', "budgets[1].parameter: there is no 'start' here"),
        ('excitations = ["steps"]', 0, 'excitations = ["stairs"]', "stairs", "excitations[0]: expected one of 'constant'"),
        ('excitations = ["steps"]', 0, "excitations = []", "inputs.flow]", "excitations is empty"),
        (
            "[recording.design.inputs.flow]",
            0,
            '[recording.design]\nsampling = "lhs"\n\n[recording.design.inputs.flow]',
            '"lhs"',
            "recording.design.sampling: expected one of 'sobol', 'latin-hypercube', got 'lhs'",
        ),
        ("min = -1.0", 0, "min = 1.0", "inputs.flow]", "min 1 is not below max 1"),
        ("members = 3", 0, "members = 1", "[training.energy]", "members 1: the fair energy score needs at least 2"),
        ("updates = 5", 0, "updates = -5", "[training]", "updates -5 must be above 0"),
        ("updates = 5", 0, 'objective = "gan"', "objective", "training.objective: expected one of 'energy', 'r3gan', 'terms'"),
        ('output = "level"', 0, 'output = "lvel"', "lvel", "balances[0].output: there is no 'lvel' here"),
        ('terms = ["flow"]', 0, 'terms = ["fow"]', "fow", "'fow'"),
        ('terms = ["flow"]', 0, 'terms = ["flow - fow"]', "fow", "'fow'"),
        ('start = "level_start"', 0, 'start = "level_strat"', "level_strat", "'level_strat'"),
        ('flow = "L/s"', 0, 'flow = "litre"', "litre", "variables.flow: unit 'litre': 'litre' is not a known symbol"),
    ],
)
def test_the_line_and_the_name_are_given(tmp_path: Path, before: str, occurrence: int, after: str, fragment: str, message: str):
    text = replaced(before, after, occurrence)
    number, said = refusal(tmp_path, text)
    assert message in said
    assert number == line_of(text, fragment)


@pytest.mark.parametrize(
    ("before", "after"),
    [("[recording.design.inputs.flow]", "[recording.design.inputs.fow]"), ("level_start = {", "levl_start = {")],
)
def test_a_misspelt_variable_of_the_design_is_refused_at_its_line(tmp_path: Path, before: str, after: str):
    text = replaced(before, after)
    first, last = text.index("[[recording.design.budgets"), text.index("[training]")
    text = text[:first] + text[last:]
    number, said = refusal(tmp_path, text)
    assert re.search("there is no '(fow|levl_start)' here; there are flow, level, level_start", said)
    assert number == line_of(text, after)


@pytest.mark.parametrize(("before", "after"), [("reserve_s = 5.0", "reserve_s = 0.0"), ("gain = 1.0", "gain = 0.0")])
def test_a_budget_that_divides_by_zero_is_refused(tmp_path: Path, before: str, after: str):
    assert refusal(tmp_path, replaced(before, after))[1]


def test_a_misspelt_initial_parameter_is_refused(tmp_path: Path):
    text = replaced("[[training", '[training.generator]\ninitial_parameters = ["level_strat"]\n\n[[training')
    number, said = refusal(tmp_path, text)
    assert "'level_strat'" in said
    assert number == line_of(text, "initial_parameters")


def test_text_that_is_no_toml_is_refused_with_the_parsers_line(tmp_path: Path):
    assert "not TOML" in refusal(tmp_path, TEXT + "\nbroken = = 1\n")[1]
    assert f"line {len(TEXT.splitlines()) + 2}" in refusal(tmp_path, TEXT + "\nbroken = = 1\n")[1]


def test_text_that_is_no_utf8_is_refused(tmp_path: Path):
    (tmp_path / "surrogate.toml").write_bytes(b'# Temp\xe9rature\n[surrogate]\nname = "tank"\n')
    with pytest.raises(ConfigError, match=r"surrogate\.toml"):
        load_config(tmp_path / "surrogate.toml")


def test_a_missing_file_is_refused_by_name(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"there is no configuration at .*none\.toml"):
        load_config(tmp_path / "none.toml")


def test_dotted_keys_and_quoted_keys_are_found():
    text = '[a]\nb.c = 1\n"d".e = 2\n[a.f."g"]\nh = 3\n'
    assert find_line(text, ("a", "b", "c")) == 2
    assert find_line(text, ("a", "d", "e")) == 3
    assert find_line(text, ("a", "f", "g", "h")) == 5
    assert find_line(text, ("a", "f", "g", "missing")) == 4
    assert find_line(text, ("z",)) == 1


def test_keys_in_arrays_of_tables_are_told_apart():
    text = "[[a]]\nx = 1\n[a.b]\ny = 1\n[[a]]\nx = 2\n[a.b]\ny = 2\n[[a.c]]\nz = 1\n[[a.c]]\nz = 2\n"
    assert find_line(text, ("a", 0, "x")) == 2
    assert find_line(text, ("a", 1, "x")) == 6
    assert find_line(text, ("a", 0, "b", "y")) == 4
    assert find_line(text, ("a", 1, "b", "y")) == 8
    assert find_line(text, ("a", 1, "c", 1, "z")) == 12


def test_variables_that_a_plant_has_and_the_file_has_not_are_named(tmp_path: Path):
    (tmp_path / "surrogate.toml").write_text(TEXT)
    config = load_config(tmp_path / "surrogate.toml")
    config.check_variables(VARIABLES, "the plant")
    pressure = Variable("pressure", Causality.OUTPUT, "Pa")
    with pytest.raises(
        ConfigError, match=r"surrogate.toml:5: variables: the plant has the variable 'pressure'.*add pressure = .Pa"
    ):
        config.check_variables((*VARIABLES, pressure), "the plant")
    with pytest.raises(
        ConfigError, match=r"surrogate.toml:7: variables.level: the plant has no variable 'level'; it has flow, level_start"
    ):
        config.check_variables(VARIABLES[:2], "the plant")
    with pytest.raises(ConfigError, match=r"surrogate.toml:7: variables.level: the unit is 'L' here, the data has 'm3'"):
        config.check_variables((*VARIABLES[:2], Variable("level", Causality.OUTPUT, "m3")), "the data")
