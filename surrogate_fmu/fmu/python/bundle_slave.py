"""The slave that runs a bundle itself, by torch in the host's Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from surrogate_fmu.bundle.archive import Bundle, read_bundle
from surrogate_fmu.bundle.torchscript import load_generator
from surrogate_fmu.fmu.interface import ensemble_statistics
from surrogate_fmu.fmu.python.surrogate_slave import SlaveSession, SurrogateSlave
from surrogate_fmu.manifest import Manifest, ZMode
from surrogate_fmu.runtime.ensemble_session import EnsembleSession
from surrogate_fmu.runtime.session import Session


class BundleSlave(SurrogateSlave):
    """A surrogate of the bundle in the resources; the generated slave module of an FMU names it.

    Attributes:
        bundle_name: file name of the bundle in the resources.
        quantiles: of the members of an ensemble.
    """

    bundle_name: ClassVar[str]
    quantiles: ClassVar[tuple[float, ...]] = ()

    _bundles: ClassVar[dict[str, Bundle]] = {}  # one entry: this copy of the package serves one FMU

    def _load(self, resources: str) -> Manifest:
        if self.bundle_name not in self._bundles:
            bundle = read_bundle(Path(resources) / self.bundle_name)
            load_generator(bundle)
            self._bundles[self.bundle_name] = bundle
        return self._bundles[self.bundle_name].manifest

    def _open(self, seed: int, z_mode: ZMode, domain_policy: Any, parameters: Mapping[str, Any], device: str) -> SlaveSession:
        bundle = self._bundles[self.bundle_name]
        if self.members > 1:
            return EnsembleSession(bundle, self.members, self.quantiles, seed, z_mode, domain_policy, parameters, device)
        return Session(bundle, seed, z_mode, domain_policy, parameters, device)

    def _statistics(self) -> Mapping[str, bool]:
        return ensemble_statistics(self.members, self.quantiles)

    def _tell_statistics(self) -> None:
        if isinstance(self._session, EnsembleSession):
            numbers = self._session.statistics().ravel().tolist()
            self._table.reals.update((reference, numbers[place]) for reference, place in self._told)
