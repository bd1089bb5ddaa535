"""The slave that runs a bundle itself, by torch in the host's Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from surrogate_fmu.bundle.archive import Bundle, read_bundle
from surrogate_fmu.bundle.torchscript import load_generator
from surrogate_fmu.fmu.python.surrogate_slave import SurrogateSlave
from surrogate_fmu.manifest import Manifest, ZMode
from surrogate_fmu.runtime.session import Session


class BundleSlave(SurrogateSlave):
    """A surrogate of the bundle in the resources; the generated slave module of an FMU names it.

    Attributes:
        bundle_name: file name of the bundle in the resources.
    """

    bundle_name: ClassVar[str]

    _bundles: ClassVar[dict[str, Bundle]] = {}  # one entry: this copy of the package serves one FMU

    def _load(self, resources: str) -> Manifest:
        if self.bundle_name not in self._bundles:
            bundle = read_bundle(Path(resources) / self.bundle_name)
            load_generator(bundle)
            self._bundles[self.bundle_name] = bundle
        return self._bundles[self.bundle_name].manifest

    def _open(self, seed: int, z_mode: ZMode, domain_policy: Any, parameters: Mapping[str, Any], device: str) -> Session:
        return Session(self._bundles[self.bundle_name], seed, z_mode, domain_policy, parameters, device)
