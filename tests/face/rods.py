"""Surrogates of the rod of tests/plant: bundles whose outputs are known sums of inputs and parameters."""

from pathlib import Path

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.plant.fmu_description import read_description
from surrogate_fmu.plant.fmu_interface import FmuInterface, read_interface
from surrogate_fmu.plant.settings import PlantSettings
from tests.face.plants import bundle_of
from tests.plant.rod import ROD

# All but one heater; elements in the middle or at the ends of the other arrays, so that they do not lie side by side.
SOME = PlantSettings(
    inputs=("heaters[1]", "heaters[3]", "open", "mode"),
    outputs=("T", "flux[1,2]", "flux[2,3]", "hot[1]", "hot[3]", "stage[2]"),
    parameters=("gains[2,1]", "material[2]"),
)
ALL = PlantSettings(parameters=("gains", "material"))


def rod_interface(folder: Path, settings: PlantSettings = ALL, xml: str = ROD) -> FmuInterface:
    (folder / "modelDescription.xml").write_text(xml)
    return read_interface(read_description(folder, "Rod.fmu"), settings, "Rod.fmu")


def rod_bundle(folder: Path, settings: PlantSettings = ALL, xml: str = ROD) -> Bundle:
    return bundle_of(rod_interface(folder, settings, xml))
