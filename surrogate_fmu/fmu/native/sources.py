"""The sources that an FMU carries, for a target that has no library in it: plain C11 for any compiler."""

import struct
from collections.abc import Mapping

from surrogate_fmu.fmu.native.compile import CSources

_PER_LINE = 12


def shipped_sources(sources: CSources) -> dict[str, str]:
    """Files by name. They compile one by one with nothing but the folder itself on the include path.

    Definitions that a library is built with stand in `model.h`, for the host's compiler gets none; the kernels are those of
    whatever processor it compiles for.
    """
    files = {**sources.session, **sources.model, **sources.headers}
    if sources.defines:
        lines = "".join(f"#define {define.replace('=', ' ', 1)}\n" for define in sources.defines)
        files["model.h"] = files["model.h"].replace("#include <stddef.h>", f"{lines}\n#include <stddef.h>", 1)
    if sources.weights:
        files["weights.c"] = _weights_source(sources.weights)
    return files


def _weights_source(weights: Mapping[str, bytes]) -> str:
    """Arrays of 32-bit patterns: exact, and a fifth of the text that decimal numbers take."""
    lines = ["/* Generated: the weights as bit patterns of floating-point numbers. */", "#include <stdint.h>", ""]
    for symbol, content in weights.items():
        words = struct.unpack(f"<{len(content) // 4}I", content)
        # The lowered code reads them as float or double, so they start where these and vector loads may.
        lines += [f"extern const uint32_t {symbol}[{len(words)}];", f"_Alignas(64) const uint32_t {symbol}[{len(words)}] = {{"]
        for start in range(0, len(words), _PER_LINE):
            lines.append("".join(f"{word:#x}," for word in words[start : start + _PER_LINE]))
        lines.append("};")
    return "\n".join(lines) + "\n"
