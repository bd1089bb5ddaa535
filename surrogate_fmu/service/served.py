"""What a server serves: models, and sessions of them."""

import asyncio

from surrogate_fmu.bundle.archive import Bundle
from surrogate_fmu.runtime.draws import LatentDraws
from surrogate_fmu.runtime.stepper import Stepper
from surrogate_fmu.service.batcher import Batcher
from surrogate_fmu.service.conversion import OutputWriter
from surrogate_fmu.service.record import Moment, Terms
from surrogate_fmu.service.v1 import surrogate_pb2 as pb


class ServedModel:
    """A bundle, loaded, with the queue before its generator.

    Args:
        bundle: the model.
        stepper: runs it.
        batcher: the queue.
    """

    def __init__(self, bundle: Bundle, stepper: Stepper, batcher: Batcher) -> None:
        self.bundle = bundle
        self.manifest = bundle.manifest
        self.name = bundle.manifest.name
        self.digest = bytes.fromhex(bundle.digest)
        self.stepper = stepper
        self.batcher = batcher
        self.outputs = OutputWriter(bundle.manifest)
        self.message = pb.Model(
            name=self.name,
            bundle_digest=bundle.digest,
            description=bundle.manifest.description,
            hidden_dim=bundle.manifest.hidden_dim,
            reproducible_batch=stepper.reproducible_batch,
        )


class ServedSession:
    """A session in memory.

    Attributes:
        model: what it runs.
        terms: what stays the same in its life.
        moment: where it stands; replaced in one assignment.
        version: how often it was written to the store.
        used_at: when it was last called [s], by the clock of the table.
        busy: done when the call that steps it at this moment is over; None when there is none.
    """

    __slots__ = ("_draws", "busy", "model", "moment", "terms", "used_at", "version")

    def __init__(self, model: ServedModel, terms: Terms, moment: Moment, version: int = 0) -> None:
        self.model = model
        self.terms = terms
        self.moment = moment
        self.version = version
        self.used_at = 0.0
        self.busy: asyncio.Future[None] | None = None
        self._draws: LatentDraws | None = None

    @property
    def draws(self) -> LatentDraws:
        """The latents of its run; what was drawn ahead is dropped by `rest` and comes again by itself."""
        if self._draws is None:
            self._draws = self.model.stepper.draws(self.moment.run)
        return self._draws

    def rest(self) -> None:
        """Give back the memory that only a session in use needs."""
        self._draws = None
