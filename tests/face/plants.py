"""Model descriptions as other tools write them, with all that makes a face hard to keep, and bundles of surrogates for them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.bundle.torchscript import export_bundle
from surrogate_fmu.fmu.config import FmiVersion
from surrogate_fmu.manifest import Interval, Manifest
from surrogate_fmu.plant.fmu_description import read_description
from surrogate_fmu.plant.fmu_interface import FmuInterface, read_interface
from surrogate_fmu.plant.settings import PlantSettings

# References are one for each base type, an output is another name of an input, an enumeration leaves values out.
FMI2 = """<?xml version="1.0" encoding="UTF-8"?>
<fmiModelDescription fmiVersion="2.0" modelName="Mixer" guid="{mixer}" variableNamingConvention="structured">
  <CoSimulation modelIdentifier="Mixer" canInterpolateInputs="true"/>
  <UnitDefinitions>
    <Unit name="K"><BaseUnit K="1"/><DisplayUnit name="degC" factor="1.0" offset="-273.15"/></Unit>
    <Unit name="rev/min">
      <BaseUnit s="-1" rad="1" factor="0.10471975511965977"/><DisplayUnit name="turns" factor="0.016666666666666666"/>
    </Unit>
    <Unit name="C"><BaseUnit K="1" offset="273.15"/></Unit>
    <Unit name="W"><BaseUnit kg="1" m="2" s="-3"/></Unit>
  </UnitDefinitions>
  <TypeDefinitions>
    <SimpleType name="Types.Valve">
      <Enumeration><Item name="closed" value="1"/>
        <Item name="half" value="2" description="one of two"/><Item name="open" value="5"/></Enumeration>
    </SimpleType>
    <SimpleType name="ZMode"><Enumeration><Item name="a" value="1"/><Item name="b" value="2"/></Enumeration></SimpleType>
    <SimpleType name="Temperature"><Real unit="K" displayUnit="degC" min="200.0" max="500.0" nominal="300.0"/></SimpleType>
  </TypeDefinitions>
  <DefaultExperiment startTime="0.0" stepSize="0.5"/>
  <ModelVariables>
    <ScalarVariable name="state" valueReference="9" causality="local"><Real/></ScalarVariable>
    <ScalarVariable name="stage" valueReference="0" causality="output" variability="discrete">
      <Integer min="-2" max="3"/></ScalarVariable>
    <ScalarVariable name="k" valueReference="352321536" causality="parameter" variability="tunable" description="a gain">
      <Real start="2.5"/></ScalarVariable>
    <ScalarVariable name="speed" valueReference="0" causality="input">
      <Real unit="rev/min" displayUnit="turns" start="10.0" min="0.0" max="100.0"/></ScalarVariable>
    <ScalarVariable name="on" valueReference="0" causality="input" variability="discrete"><Boolean start="true"/></ScalarVariable>
    <ScalarVariable name="valve" valueReference="4" causality="input" variability="discrete">
      <Enumeration declaredType="Types.Valve" start="2"/></ScalarVariable>
    <ScalarVariable name="count" valueReference="7" causality="input" variability="discrete" description="of pumps">
      <Integer start="3" min="0" max="6"/></ScalarVariable>
    <ScalarVariable name="mode" valueReference="3" causality="parameter" variability="fixed">
      <Enumeration declaredType="ZMode" start="2"/></ScalarVariable>
    <ScalarVariable name="noise.random_seed" valueReference="5" causality="parameter" variability="fixed" description="of the
      noise"><Integer start="42"/></ScalarVariable>
    <ScalarVariable name="lazy" valueReference="2" causality="parameter" variability="fixed">
      <Boolean start="false"/></ScalarVariable>
    <ScalarVariable name="size" valueReference="11" causality="parameter" variability="fixed"><Integer start="3"/></ScalarVariable>
    <ScalarVariable name="temperature" valueReference="8" causality="output"><Real declaredType="Temperature"/></ScalarVariable>
    <ScalarVariable name="celsius" valueReference="17" causality="output"><Real unit="C"/></ScalarVariable>
    <ScalarVariable name="speed_out" valueReference="0" causality="output"><Real unit="rev/min"/></ScalarVariable>
    <ScalarVariable name="warm" valueReference="8" causality="output"><Real declaredType="Temperature"/></ScalarVariable>
    <ScalarVariable name="alarm" valueReference="1" causality="output" variability="discrete"><Boolean/></ScalarVariable>
    <ScalarVariable name="position" valueReference="6" causality="output" variability="discrete">
      <Enumeration declaredType="Types.Valve"/></ScalarVariable>
    <ScalarVariable name="version" valueReference="12" causality="output" variability="constant">
      <Integer start="7"/></ScalarVariable>
    <ScalarVariable name="in_domain" valueReference="13" causality="local"><Real/></ScalarVariable>
    <ScalarVariable name="file" valueReference="0" causality="parameter" variability="fixed"><String
      start="a.txt"/></ScalarVariable>
  </ModelVariables>
  <ModelStructure/>
</fmiModelDescription>
"""

FMI3 = """<?xml version="1.0" encoding="UTF-8"?>
<fmiModelDescription fmiVersion="3.0" modelName="Mixer" instantiationToken="{mixer}">
  <CoSimulation modelIdentifier="Mixer" hasEventMode="true" providesIntermediateUpdate="true"/>
  <ModelExchange modelIdentifier="Mixer"/>
  <UnitDefinitions>
    <Unit name="K"><BaseUnit K="1"/><DisplayUnit name="degC" offset="-273.15"/></Unit>
    <Unit name="rev/min"><BaseUnit s="-1" rad="1" factor="0.10471975511965977"/></Unit>
  </UnitDefinitions>
  <TypeDefinitions>
    <EnumerationType name="Valve"><Item name="closed" value="-1"/>
      <Item name="half" value="2"/><Item name="open" value="5"/></EnumerationType>
  </TypeDefinitions>
  <DefaultExperiment startTime="0.0" stepSize="0.5"/>
  <ModelVariables>
    <Float64 name="t" valueReference="900" causality="independent" variability="continuous"/>
    <Int64 name="stage" valueReference="77" causality="output" min="-2" max="3"/>
    <Float64 name="k" valueReference="30" causality="parameter" variability="tunable" start="2.5"/>
    <Float64 name="speed" valueReference="12" causality="input" unit="rev/min" start="10.0" min="0.0" max="100.0"/>
    <Boolean name="on" valueReference="5" causality="input" start="true"/>
    <Enumeration name="valve" valueReference="4" causality="input" declaredType="Valve" start="2"/>
    <Int32 name="count" valueReference="7" causality="input" start="3" min="0" max="6" description="of pumps"/>
    <UInt64 name="seed" valueReference="3000000000" causality="parameter" start="42"/>
    <Boolean name="lazy" valueReference="2" causality="parameter" start="false"/>
    <Int32 name="size" valueReference="11" causality="parameter" start="3"/>
    <Float64 name="temperature" valueReference="8" causality="output" unit="K" displayUnit="degC"/>
    <Boolean name="alarm" valueReference="1" causality="output"/>
    <Enumeration name="position" valueReference="6" causality="output" declaredType="Valve"/>
    <Float64 name="in_domain" valueReference="13" causality="local"/>
    <String name="file" valueReference="16" causality="parameter"><Start value="a.txt"/></String>
    <Float64 name="power" valueReference="15" causality="output" unit="K" displayUnit="degC">
      <Alias name="heat_flow" description="the same"/><Alias name="load"/>
    </Float64>
    <Clock name="tick" valueReference="14" causality="input" intervalVariability="triggered"/>
  </ModelVariables>
  <ModelStructure/>
</fmiModelDescription>
"""
SMALL_TYPES = """    <Float32 name="heat" valueReference="40" causality="input" start="1.5"/>
    <Int8 name="small" valueReference="41" causality="input" start="-3"/>
    <UInt16 name="word" valueReference="42" causality="output"/>
    <Float32 name="loss" valueReference="43" causality="output" unit="K" displayUnit="degC" relativeQuantity="true"/>
    <UInt8 name="level" valueReference="44" causality="parameter" start="9" min="1" max="200"/>
    <Int16 name="drop" valueReference="45" causality="output"/>
    <UInt32 name="many" valueReference="46" causality="output"/>
"""


def xml_of(fmi: FmiVersion, small_types: bool = False) -> str:
    if fmi is FmiVersion.V2:
        return FMI2
    return FMI3.replace("  </ModelVariables>", SMALL_TYPES + "  </ModelVariables>") if small_types else FMI3


def interface_of(
    fmi: FmiVersion, folder: Path, small_types: bool = False, values: Mapping[str, float] | None = None
) -> FmuInterface:
    (folder / "modelDescription.xml").write_text(xml_of(fmi, small_types))
    settings = PlantSettings(parameters=("size",), values=values or {})
    return read_interface(read_description(folder, "Mixer.fmu"), settings, "Mixer.fmu")


class Mixer(torch.nn.Module):
    """y = weights x: every output is a sum of inputs and parameters, the first two of which stay apart."""

    def __init__(self, condition_dim: int, output_dim: int) -> None:
        super().__init__()
        place = torch.arange(condition_dim * output_dim, dtype=torch.float32).reshape(condition_dim, output_dim)
        self.weights = torch.nn.Parameter(0.1 + 0.05 * torch.remainder(7.0 * place, 5.0))

    @torch.jit.export
    def initial(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x (batch, condition_dim), z (batch, 1) -> y (batch, output_dim), h (batch, 0)."""
        return torch.mm(x, self.weights), x[:, 0:0]

    def forward(self, x: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """The same at every step."""
        return self.initial(x, z)


def bundle_of(interface: FmuInterface) -> Bundle:
    manifest = Manifest(
        name="mixer",
        variables=interface.variables,
        step_size=interface.communication_step_size,
        run_latent_dim=0,
        step_latent_dim=1,
        hidden_dim=0,
        domain={v.name: Interval(-1e6, 1e6) for v in interface.variables},
        face=interface.face,
    )
    return export_bundle(Mixer(manifest.condition_dim, manifest.output_dim), manifest)
