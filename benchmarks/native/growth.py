"""How a step grows with the width of the network and with the ensemble, beside what the machine's arithmetic allows.

python benchmarks/native/growth.py         writes benchmarks/native/growth.json and growth.svg

The limit is the time of the multiplications and additions alone, at the rate that a small loop of them over registers reaches
on this machine (measured, with AVX2; not fused, as in the kernels).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import networks  # noqa: E402
import run  # noqa: E402

from surrogate_fmu.bundle.torchscript import export_bundle  # noqa: E402
from surrogate_fmu.fmu.config import BuildConfig  # noqa: E402
from surrogate_fmu.fmu.native.build import build_native_fmu  # noqa: E402

WIDTHS = (32, 64, 128, 256, 512, 1024)
MEMBERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
INPUTS, OUTPUTS, WIDTH = 12, 4, 64

PEAK = """
#include <immintrin.h>
#include <stdio.h>
#include <time.h>
int main(void)
{
    __m256 s[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < 12; i++)
        s[i] = _mm256_set1_ps((float)i);
    double best = 0.0;
    for (int block = 0; block < 50; block++) {
        struct timespec t0, t1;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        for (int k = 0; k < 100000; k++)
_Pragma("GCC unroll 12")
            for (int i = 0; i < 12; i++)
                s[i] = _mm256_add_ps(_mm256_mul_ps(s[i], a), b);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        const double seconds = (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec);
        const double rate = 100000.0 * 12 * 16 / seconds;
        best = rate > best ? rate : best;
    }
    float sum = 0.0f;
    for (int i = 0; i < 12; i++)
        sum += ((float *)&s[i])[0];
    printf("%g %g\\n", best, (double)sum);
    return 0;
}
"""


def main() -> None:
    """Measure, write, draw."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate = peak_rate(folder)
        widths = {width: do_step_s(folder, width, 1) for width in WIDTHS}
        members = {count: do_step_s(folder, WIDTH, count) for count in MEMBERS}
    growth = {
        "operations per second": rate,
        "width": {str(w): {"seconds": s, "limit": operations(w) / rate} for w, s in widths.items()},
        "ensemble": {str(n): {"seconds": s, "limit": n * operations(WIDTH) / rate} for n, s in members.items()},
    }
    (HERE / "growth.json").write_text(json.dumps(growth, indent=1) + "\n")
    draw(growth)
    for axis in ("width", "ensemble"):
        for number, figures in growth[axis].items():
            print(f"{axis} {number:>5}: {figures['seconds'] * 1e6:9.2f} us, limit {figures['limit'] * 1e6:9.2f} us")


def operations(width: int) -> int:
    """Multiplications and additions of a step."""
    return 2 * ((INPUTS + networks.LATENTS) * width + width * width + width * OUTPUTS)


def do_step_s(folder: Path, width: int, members: int) -> float:
    """Seconds of a step in the C host."""
    bundle = export_bundle(networks.Mlp(INPUTS, width, OUTPUTS), networks.manifest(f"mlp_{width}", INPUTS, OUTPUTS, 0))
    path = build_native_fmu(bundle, folder / f"mlp_{width}_{members}.fmu", BuildConfig(ensemble=members))
    return run.in_c_host(path, bundle, folder)["do_step"]


def peak_rate(folder: Path) -> float:
    """Float32 operations per second of one thread."""
    (folder / "peak.c").write_text(PEAK)
    subprocess.run(["cc", "-O2", "-mavx2", "-ffp-contract=off", "-o", str(folder / "peak"), str(folder / "peak.c")], check=True)
    answer = subprocess.run([str(folder / "peak")], check=True, capture_output=True, text=True).stdout
    return float(answer.split()[0])


def draw(growth: dict) -> None:
    """Two panels: width and ensemble."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, name, label in zip(axes, ("width", "ensemble"), ("width of the two layers", "members"), strict=True):
        numbers = [int(number) for number in growth[name]]
        for key, style in (("seconds", "o-"), ("limit", "--")):
            axis.loglog(
                numbers, [figures[key] * 1e6 for figures in growth[name].values()], style, label={"seconds": "step"}.get(key, key)
            )
        axis.set_xlabel(label)
        axis.set_ylabel("us a step")
        axis.legend(frameon=False)
    figure.savefig(HERE / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
