"""One instance of an FMU in FMPy."""

import gc
from pathlib import Path

import pytest

from surrogate_fmu.fmu import instance
from surrogate_fmu.fmu.instance import FmuInstance
from surrogate_fmu.fmu.unpacked import unpack_fmu


@pytest.mark.timeout(60)
def test_an_instance_may_be_collected_while_another_one_is_made(toy_fmu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = unpack_fmu(toy_fmu)
    lost = FmuInstance(unpacked)
    lost.itself = lost  # only the collector frees it
    del lost
    third = str(unpacked.description.fmiVersion).startswith("3")
    name = "_fmi3_logger" if third else "_fmi2_callbacks"
    original = getattr(instance, name)

    def collecting(take_message: object) -> object:
        gc.collect()
        return original(take_message)

    monkeypatch.setattr(instance, name, collecting)
    FmuInstance(unpacked).free()
