"""A copy of the parts of this package that run inside an FMU, under a name that no other FMU and no installation shares.

Two FMUs in one process, or an FMU in a process where another version of this package is installed, must not meet in
`sys.modules`. So the copy is a package whose name carries a digest of its content, and the host needs none of ours.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from surrogate_fmu.errors import BuildError

_PACKAGE = __name__.partition(".")[0]
_ROOT = Path(__file__).resolve().parents[1]
# The package's own __init__ offers names of parts that are not copied.
_ROOT_SOURCE = '"""What an FMU needs of surrogate-fmu, for this FMU alone."""\n'


def import_closure(entries: Iterable[str], extra_sources: Iterable[str] = ()) -> dict[str, str]:
    """Sources of the modules that some modules or sources need from this package, by path inside the package.

    Args:
        entries: dotted names, "surrogate_fmu.runtime.session".
        extra_sources: Python sources outside the package whose imports count too.

    Raises:
        BuildError: a module is imported that the package does not have.
    """
    waiting = list(entries)
    for source in extra_sources:
        waiting += _imported(source)
    found = {"__init__.py": _ROOT_SOURCE}
    while waiting:
        module = waiting.pop()
        parts = module.split(".")[1:]
        for depth in range(1, len(parts) + 1):
            path = _module_path(parts[:depth])
            if path is None:
                raise BuildError(f"the FMU needs the module {module}, which this installation does not have; install it anew")
            name = path.relative_to(_ROOT).as_posix()
            if name not in found:
                found[name] = path.read_text("utf-8")
                waiting += _imported(found[name])
    return dict(sorted(found.items()))


def renamed(source: str, package: str) -> str:
    """The source with every mention of this package as a name replaced."""
    return re.sub(rf"\b{_PACKAGE}\b", package, source)


def vendored_files(sources: Mapping[str, str], package: str) -> dict[str, bytes]:
    """The copy: contents by path, `package/...`."""
    return {f"{package}/{name}": renamed(source, package).encode() for name, source in sources.items()}


def _module_path(parts: list[str]) -> Path | None:
    base = _ROOT.joinpath(*parts)
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _imported(source: str) -> list[str]:
    """Modules of this package that a source imports when it runs, wherever in it."""
    modules: list[str] = []
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            modules.append(node.module)
            if node.module.partition(".")[0] == _PACKAGE:
                parts = node.module.split(".")[1:]
                modules += [f"{node.module}.{alias.name}" for alias in node.names if _module_path([*parts, alias.name])]
    return [module for module in modules if module.partition(".")[0] == _PACKAGE]
