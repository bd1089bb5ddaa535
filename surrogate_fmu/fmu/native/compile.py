"""Compiling the C of an FMU into libraries for any platform, with the C compiler inside the Python package ziglang.

Everything goes on in a temporary folder under names of its own, so that no path of this machine gets into a library: equal
sources give equal bytes. Libraries are kept by the digest of all that goes into them, objects by the compiler's own cache.
"""

import concurrent.futures
import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from surrogate_fmu.errors import BuildError
from surrogate_fmu.fmu.native.platforms import Kernels, Target

_COMMON = ("-std=c11", "-fPIC", "-fvisibility=hidden", "-g0", "-fno-ident", "-Wall", "-Wextra", "-Werror")
# Without errno the compiler may turn loops over square roots into vector code. All arithmetic is exact IEEE 754, the same bits
# on every processor: fused multiply-adds, which not all have, would make a step faster by less than a tenth.
_EXACT = ("-ffp-contract=off", "-fno-math-errno")
_SESSION = ("-O2", *_EXACT)
_MODEL = ("-O3", *_EXACT)
_TIMEOUT_S = 900  # a cold cache on a loaded machine builds the C runtime of Windows first
_CACHE_MAX = 200  # libraries
_RECIPE = 1  # counts changes of how libraries are made that no flag and no source shows

# What a DLL takes from the C runtime that every Windows has.
_MSVCRT_EXPORTS = """
_vsnprintf calloc free malloc memcmp memcpy memmove memset strcat strcmp strlen strpbrk strtod
ceil cos cosh exp fabs floor fmod log pow sin sinh sqrt tan tanh atan atan2
ceilf cosf coshf expf floorf fmodf logf powf sinf sinhf sqrtf tanf tanhf atanf atan2f
"""


@dataclass(frozen=True)
class CSources:
    """What a library is made of.

    Attributes:
        session: C files that know no network, by name; compiled once per platform.
        model: C files of the network, compiled once per kernels.
        headers: by name.
        weights: arrays by symbol, little endian.
        defines: preprocessor definitions for all of them.
    """

    session: Mapping[str, str]
    model: Mapping[str, str]
    headers: Mapping[str, str]
    weights: Mapping[str, bytes]
    defines: tuple[str, ...] = ()


def compile_library(sources: CSources, target: Target) -> bytes:
    """The shared library for a platform.

    Raises:
        BuildError: ziglang is not installed, or the compiler reports something.
    """
    compiler, version = _compiler()
    cache = _cache_folder()
    kept = None if cache is None else cache / f"{_digest(sources, target, version)}{target.suffix}"
    if kept is not None and kept.is_file():
        with contextlib.suppress(OSError):
            kept.touch()  # the oldest are thrown away first
        return kept.read_bytes()
    with tempfile.TemporaryDirectory(prefix="surrogate_fmu_") as name:
        library = _build(compiler, sources, target, Path(name))
    if kept is not None:
        _keep(kept, library)
    return library


def _build(compiler: Path, sources: CSources, target: Target, folder: Path) -> bytes:
    for name, text in {**sources.session, **sources.model, **sources.headers}.items():
        (folder / name).write_text(text, "utf-8", newline="\n")
    objects: list[tuple[str, list[str]]] = []
    defines = [f"-D{define}" for define in sources.defines]
    dispatching = len(target.kernels) > 1
    if dispatching:
        defines.append("-DSF_DISPATCH")
    for name in sources.session:
        flags = [*_SESSION, *defines, f"-mcpu={target.kernels[0].cpu}"]
        if target.is_windows:
            flags.append("-DSF_WITHOUT_CRT")
        objects.append((f"{Path(name).stem}.o", [*flags, name]))
    for kernels in target.kernels:
        objects += [(f"{kernels.entry}_{Path(name).stem}.o", [*_model_flags(kernels), *defines, name]) for name in sources.model]
    if sources.weights:
        (folder / "weights.c").write_text(_weights_source(sources.weights, folder))
        objects.append(("weights.o", ["-O1", "-Wno-c23-extensions", "weights.c"]))

    def compile_object(item: tuple[str, list[str]]) -> None:
        _run(compiler, ["cc", "-target", target.triple, *_COMMON, *item[1], "-c", "-o", item[0]], folder)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(compile_object, objects))
    _link(compiler, target, [name for name, _ in objects], folder)
    library = (folder / f"library{target.suffix}").read_bytes()
    return _without_time(library) if target.is_windows else library


def _without_time(dll: bytes) -> bytes:
    """A DLL whose header does not say when it was linked (Microsoft PE format, COFF file header: TimeDateStamp)."""
    header = int.from_bytes(dll[0x3C:0x40], "little")
    if dll[header : header + 4] != b"PE\0\0":
        raise BuildError("the linker wrote a Windows library without a PE header; install ziglang again")
    return dll[: header + 8] + bytes(4) + dll[header + 12 :]


def _model_flags(kernels: Kernels) -> list[str]:
    return [*_MODEL, f"-mcpu={kernels.cpu}", f"-DSF_MODEL_ENTRY={kernels.entry}"]


def _weights_source(weights: Mapping[str, bytes], folder: Path) -> str:
    lines = []
    for number, (symbol, content) in enumerate(weights.items()):
        (folder / f"weights{number}.bin").write_bytes(content)
        lines.append(f"_Alignas(64) extern const unsigned char {symbol}[{len(content)}];")
        lines.append(f"_Alignas(64) const unsigned char {symbol}[{len(content)}] = {{")
        lines.append(f'#embed "weights{number}.bin"')
        lines.append("};")
    return "\n".join(lines) + "\n"


def _link(compiler: Path, target: Target, objects: Sequence[str], folder: Path) -> None:
    output = f"library{target.suffix}"
    start = ["cc", "-target", target.triple, "-shared", "-s", "-o", output, *objects]
    if target.is_windows:
        (folder / "msvcrt.def").write_text("\n".join(["LIBRARY msvcrt.dll", "EXPORTS", *_MSVCRT_EXPORTS.split()]) + "\n")
        _run(compiler, ["dlltool", "-m", "i386:x86-64", "-d", "msvcrt.def", "-l", "libmsvcrt.a"], folder)
        try:
            _run(compiler, [*start, "-nostdlib", "-L.", "-lmsvcrt"], folder)
        except BuildError as error:
            if "undefined symbol" not in str(error):
                raise
            # The network calls something that msvcrt.dll lacks: take the compiler's own runtime, which it builds first.
            common = ["cc", "-target", target.triple, *_COMMON]
            _run(compiler, [*common, *_SESSION, "-c", "-o", "windows.o", "windows.c"], folder)
            _run(compiler, start, folder)
    elif target.suffix == ".dylib":
        _run(compiler, [*start, f"-Wl,-install_name,@rpath/{output}"], folder)
    else:
        _run(compiler, [*start, "-lm", "-Wl,--build-id=none", "-Wl,-z,noexecstack"], folder)


def _run(compiler: Path, arguments: Sequence[str], folder: Path) -> None:
    try:
        finished = subprocess.run(
            [str(compiler), *arguments], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"the C compiler could not be run: {error}") from error
    if finished.returncode != 0 or "warning:" in finished.stderr:
        raise BuildError(f"the C compiler reports:\n{finished.stderr.strip()}\nfor: {' '.join(arguments)}")


def _compiler() -> tuple[Path, str]:
    try:
        package = distribution("ziglang")
    except PackageNotFoundError as error:
        raise BuildError(
            "ziglang, the C compiler for native FMUs, is not installed; install the extra: pip install 'surrogate-fmu[native]', "
            "or build with --backend python"
        ) from error
    folder = Path(str(package.locate_file("ziglang")))
    for name in ("zig", "zig.exe"):
        if (folder / name).is_file():
            return folder / name, package.version
    raise BuildError(
        f"ziglang {package.version} lacks its compiler; install its wheel again: pip install --force-reinstall ziglang"
    )


# -- the cache ----------------------------------------------------------------------------------------------------------


def _digest(sources: CSources, target: Target, version: str) -> str:
    total = hashlib.sha256(repr((_RECIPE, version, target, _COMMON, _SESSION, _MODEL, _MSVCRT_EXPORTS, sources.defines)).encode())
    for part in (sources.session, sources.model, sources.headers, sources.weights):
        for name in sorted(part):
            value = part[name]
            content = value.encode() if isinstance(value, str) else value
            total.update(f"{name} {len(content)}\n".encode() + content)
    return total.hexdigest()


def _cache_folder() -> Path | None:
    """None where there is no place that is this user's own."""
    root = os.environ.get("SURROGATE_FMU_CACHE") or os.environ.get("XDG_CACHE_HOME")
    if root is None:
        try:
            root = str(Path.home() / ".cache")
        except RuntimeError:
            return None
    return Path(root) / "surrogate-fmu" / "libraries"


def _keep(path: Path, library: bytes) -> None:
    """A cache that cannot be written is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_bytes(library)
        partial.replace(path)
        old = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime, reverse=True)[_CACHE_MAX:]
        for file in old:
            file.unlink(missing_ok=True)
    except OSError:
        return
