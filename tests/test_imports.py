"""What an import pulls in, seen from fresh interpreters: start-up cost and independence of the parts."""

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import surrogate_fmu

HEAVY = ("torch", "grpc", "pybamm", "scipy")


def modules_after(statement: str) -> set[str]:
    """Names of all modules that are loaded after `statement` ran in a fresh interpreter."""
    program = f"{statement}\nimport sys, json\nprint('\\n' + json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def loaded(modules: set[str], *names: str) -> set[str]:
    return {name for name in names if any(module == name or module.startswith(f"{name}.") for module in modules)}


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import surrogate_fmu", (*HEAVY, "numpy")),
        ("import surrogate_fmu.manifest", (*HEAVY, "numpy")),
        ("import surrogate_fmu.config", HEAVY),
        ("import surrogate_fmu.bundle.archive", HEAVY),
        ("import surrogate_fmu.fmu.model_description", HEAVY),
        (
            "import surrogate_fmu.runtime.session",
            ("grpc", "fmpy", "xarray", "scipy", "pybamm", "surrogate_fmu.training", "surrogate_fmu.fmu", "surrogate_fmu.dataset"),
        ),
        (
            "import surrogate_fmu.service.server, surrogate_fmu.service.client",
            ("fmpy", "xarray", "pybamm", "surrogate_fmu.training", "surrogate_fmu.fmu", "surrogate_fmu.plant"),
        ),
        ("import surrogate_fmu.training.loop", ("grpc", "fmpy", "pybamm", "surrogate_fmu.fmu", "surrogate_fmu.service")),
    ],
)
def test_an_import_does_not_pull_in(statement: str, forbidden: tuple[str, ...]):
    assert loaded(modules_after(statement), *forbidden) == set()


def test_the_probe_sees_what_is_imported():
    assert loaded(modules_after("import surrogate_fmu.dataset.trajectories"), "numpy", "torch") == {"numpy"}


def test_help_of_every_verb_imports_nothing_heavy():
    program = """
import contextlib, io
from surrogate_fmu.cli.main import VERBS, main
for verb in VERBS:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            main([verb, "--help"])
        except SystemExit as leaving:
            assert leaving.code == 0, verb
    assert f"surrogate-fmu {verb}" in text.getvalue()
"""
    assert loaded(modules_after(program), *HEAVY, "xarray", "fmpy", "matplotlib", "rich") == set()


def test_a_session_reads_a_bundle_without_training():
    modules = modules_after("from surrogate_fmu import Session, read_bundle, check_session; Session, read_bundle, check_session")
    assert loaded(modules, "surrogate_fmu.training", "surrogate_fmu.plant", "grpc", "xarray") == set()
    assert loaded(modules, "torch") == {"torch"}


def test_every_public_name_resolves_to_the_object_of_its_home():
    for name in surrogate_fmu.__all__:
        home = importlib.import_module(f"surrogate_fmu.{surrogate_fmu._HOMES[name]}")
        assert getattr(surrogate_fmu, name) is getattr(home, name)
    assert sorted(surrogate_fmu.__all__) == dir(surrogate_fmu)


def test_an_unknown_name_is_refused_with_the_public_ones():
    with pytest.raises(AttributeError, match=r"surrogate_fmu has no 'Sessoin'; there are .*Session"):
        surrogate_fmu.Sessoin  # noqa: B018


ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [
    path for folder in ("benchmarks", "build_tools", "docs", "examples", "models") for path in sorted((ROOT / folder).rglob("*.py"))
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_import_what_the_package_has(script: Path):
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("surrogate_fmu"):
            module = importlib.import_module(node.module)
            missing = [
                name.name for name in node.names if not hasattr(module, name.name) and not _is_module(node.module, name.name)
            ]
            assert not missing, f"{node.module} has no {missing}"


def _is_module(package: str, name: str) -> bool:
    return importlib.util.find_spec(f"{package}.{name}") is not None
