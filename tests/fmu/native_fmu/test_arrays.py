"""Array variables: arrays of FMI 3.0, scalars `name[i,j]` of FMI 2.0; names that collide; value references of the manifest."""

from pathlib import Path

import numpy as np
import pytest
from fmpy import read_model_description
from fmpy.validation import validate_fmu

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.errors import InputError
from surrogate_fmu.fmu.config import BuildConfig, FmiVersion
from surrogate_fmu.fmu.master import FmuSession
from surrogate_fmu.fmu.native.build import build_native_fmu
from surrogate_fmu.runtime.session import Session
from tests.fmu.native_fmu.library import OK, Library


@pytest.fixture(scope="module")
def array_fmu(field_bundle: Bundle, fmi: FmiVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arrays") / "field.fmu"
    return build_native_fmu(field_bundle, path, BuildConfig(fmi=fmi, ensemble=3, external_latents=True))


def test_arrays_keep_their_shapes_and_numbers(field_bundle: Bundle, array_fmu: Path) -> None:
    force = np.arange(6.0).reshape(2, 3)
    parameters = {"offset": np.array([0.0, 0.5, 1.0]), "seed": 3.0}
    session = Session(field_bundle, seed=4, parameters=parameters)
    with FmuSession(array_fmu, seed=4, parameters=parameters) as fmu:
        assert fmu.values["force"].tolist() == [[0.5] * 3] * 2
        fmu.initialize(), session.initialize()
        for step in range(3):
            mine, theirs = fmu.do_step({"force": force + step}), session.do_step({"force": force + step})
            assert mine["displacement"].shape == (2, 3)
            assert mine["displacement"] == pytest.approx(theirs["displacement"], rel=1e-5, abs=1e-6)
            assert mine["total"] == pytest.approx(theirs["total"], rel=1e-5)
        with pytest.raises(InputError, match="shape"):
            fmu.set_values({"force": [1.0, 2.0]})
        with pytest.raises(InputError, match=r"'force(\[2,1\])?': 11.0 is outside the allowed range \[-10, 10\] N"):
            fmu._call(fmu._fmu.setReal, fmu._elements["force"], [0.0, 0.0, 0.0, 11.0, 0.0, 0.0])


def test_the_element_that_left_the_range_is_named(array_fmu: Path) -> None:
    with FmuSession(array_fmu) as fmu:
        fmu.initialize()
        fmu.do_step({"force": [[0.0, 0.0, 0.0], [0.0, 9.0, 8.5]]})
        assert [m.text for m in fmu.log] == ["force[2,2] = 9 lies outside the training range [-8, 8]"]


def test_the_description_lists_them(array_fmu: Path, fmi: FmiVersion) -> None:
    assert validate_fmu(str(array_fmu)) == []
    listed = {v.name: v for v in read_model_description(str(array_fmu)).modelVariables}
    assert listed["seed"].unit == "mm" and listed["surrogate.seed"].causality == "parameter"
    if fmi is FmiVersion.V3:
        assert [int(d.start) for d in listed["force"].dimensions] == [2, 3]
        assert listed["force"].start.split() == ["0.5"] * 6
        assert listed["force"].valueReference == 100 and listed["seed"].valueReference == 0
        assert listed["displacement.std"].dimensions and listed["z"].dimensions
    else:
        assert listed["force[1,1]"].valueReference == 100
        assert {"displacement.mean[2,3]", "total.q95", "z[1]"} <= set(listed)
    references = [v.valueReference for v in listed.values()]
    assert len(set(references)) == len(references)


def test_derivatives_of_arrays(array_fmu: Path, tmp_path: Path, fmi: FmiVersion) -> None:
    library = Library(array_fmu, tmp_path)
    instance = library.instantiate()
    library.initialize(instance)
    library.do_step(instance, 0.0, 1.0)
    names = library.references
    seed = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    if fmi is FmiVersion.V3:
        # displacement = seed * force + offset with seed 2, total their sum
        unknowns = [names["displacement"], names["total"]]
        assert library.directional(instance, unknowns, [names["force"]], seed, size=7) == (OK, [2.0 * s for s in seed] + [42.0])
        assert library.adjoint(instance, unknowns, [names["force"]], [*seed, 10.0], size=6) == (OK, [2.0 * s + 20.0 for s in seed])
    else:
        knowns = [names[f"force[{i},{j}]"] for i in (1, 2) for j in (1, 2, 3)]
        assert library.directional(instance, [names["displacement[1,2]"], names["total"]], knowns, seed) == (OK, [4.0, 42.0])
    library.free(instance)
