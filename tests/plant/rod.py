"""The rod of rod.c as an FMU: arrays of one and of two dimensions, of every type that PythonFMU3 has, one sized by a parameter."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROD = """<?xml version="1.0" encoding="UTF-8"?>
<fmiModelDescription fmiVersion="3.0" modelName="Rod" instantiationToken="{rod}" variableNamingConvention="structured">
  <CoSimulation modelIdentifier="Rod" canGetAndSetFMUState="true"/>
  <UnitDefinitions>
    <Unit name="W"><BaseUnit kg="1" m="2" s="-3"/></Unit>
    <Unit name="degC"><BaseUnit K="1" offset="273.15"/></Unit>
    <Unit name="K/min"><BaseUnit K="1" s="-1" factor="0.016666666666666666"/></Unit>
  </UnitDefinitions>
  <TypeDefinitions>
    <EnumerationType name="Mode"><Item name="eco" value="1"/><Item name="boost" value="2"/></EnumerationType>
    <EnumerationType name="Material"><Item name="steel" value="1"/><Item name="copper" value="4"/></EnumerationType>
    <Float64Type name="Power" unit="W" min="0.0" max="10.0" nominal="2.0"/>
  </TypeDefinitions>
  <DefaultExperiment startTime="0.0" stepSize="0.5"/>
  <ModelVariables>
    <Float64 name="time" valueReference="0" causality="independent" variability="continuous"/>
    <Int32 name="stage" valueReference="42" causality="output"><Dimension start="3"/></Int32>
    <Float64 name="heaters" valueReference="10" causality="input" declaredType="Power" start="0.5" description="of the nodes">
      <Dimension start="3"/><Alias name="powers"/></Float64>
    <Boolean name="open" valueReference="11" causality="input" start="true false"><Dimension start="2"/></Boolean>
    <Enumeration name="mode" valueReference="12" causality="input" declaredType="Mode" start="1"/>
    <Float64 name="gains" valueReference="20" causality="parameter" variability="fixed" start="1.0 2.0 3.0 0.1 0.2 0.3">
      <Dimension start="2"/><Dimension start="3"/></Float64>
    <Enumeration name="material" valueReference="21" causality="parameter" variability="fixed" declaredType="Material"
      start="1 4 1"><Dimension valueReference="30"/></Enumeration>
    <Int32 name="seed" valueReference="22" causality="parameter" variability="fixed" start="0"/>
    <UInt64 name="size" valueReference="30" causality="structuralParameter" variability="fixed" start="3"/>
    <Float64 name="T" valueReference="40" causality="output" unit="degC" min="-50.0" max="500.0">
      <Dimension valueReference="30"/><Alias name="temperatures" description="the same"/></Float64>
    <Float64 name="flux" valueReference="41" causality="output" unit="W"><Dimension start="2"/><Dimension start="3"/></Float64>
    <Boolean name="hot" valueReference="43" causality="output"><Dimension start="3"/></Boolean>
    <Float64 name="version" valueReference="44" causality="output" variability="constant" start="3.0 1.0">
      <Dimension start="2"/></Float64>
  </ModelVariables>
  <ModelStructure>
    <Output valueReference="42"/><Output valueReference="40"/><Output valueReference="41"/><Output valueReference="43"/>
    <Output valueReference="44"/>
    <InitialUnknown valueReference="42"/><InitialUnknown valueReference="40"/><InitialUnknown valueReference="41"/>
    <InitialUnknown valueReference="43"/>
  </ModelStructure>
</fmiModelDescription>
"""
# Of a type that PythonFMU3 does not have.
TRIM = '    <Float32 name="trim" valueReference="13" causality="input" start="0.0 0.25"><Dimension start="2"/></Float32>\n'


def with_variables(text: str) -> str:
    """The description with more variables."""
    return ROD.replace("  </ModelVariables>", text + "  </ModelVariables>")


def build_rod(path: Path, xml: str = ROD) -> Path:
    """Compile the rod for this machine."""
    if not sys.platform.startswith("linux"):
        pytest.skip("compiled for Linux alone")
    from fmpy import platform_tuple

    library = path.with_suffix(".so")
    if not library.exists():
        command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-shared", "-fPIC", "-o", str(library)]
        subprocess.run([*command, str(Path(__file__).with_name("rod.c"))], check=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("modelDescription.xml", xml)
        archive.write(library, f"binaries/{platform_tuple}/Rod.so")
    return path


GAINS = np.array([[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]])
MATERIAL = np.array([1.0, 4.0, 1.0])


def rod_steps(
    heaters: np.ndarray,
    is_open: np.ndarray,
    mode: np.ndarray,
    step: float = 0.5,
    gains: np.ndarray = GAINS,
    material: np.ndarray = MATERIAL,
    trim: tuple[float, float] = (0.0, 0.0),
) -> tuple[np.ndarray, np.ndarray]:
    """T (point, 3) and flux (point, 2, 3) for heaters (step, 3), open (step, 2) and mode (step,); fluxes are those that inputs and
    temperatures have at the point, with the inputs of the step that ends there.
    """
    t, temperatures, fluxes = np.full(3, 20.0), [], []

    def flux_at(k: int) -> np.ndarray:
        given = gains[0] * heaters[k] * mode[k] + np.array([*trim, 0.0])
        lost = gains[1] * material * (t - 20.0)
        lost = lost + 0.3 * (t - 20.0) * np.array([is_open[k, 0], 0.0, is_open[k, 1]])
        return np.array([given, lost])

    temperatures.append(t)
    fluxes.append(flux_at(0))
    for k in range(len(heaters)):
        given, lost = flux_at(k)
        beside = np.concatenate([t[:1], t, t[-1:]])
        t = t + step * (given - lost + 0.2 * (beside[:-2] - 2.0 * t + beside[2:]))
        temperatures.append(t)
        fluxes.append(flux_at(k))
    return np.array(temperatures), np.array(fluxes)
