"""Settings of training, with real defaults; read from the `[training]` table of a surrogate.toml."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from surrogate_fmu.training.graph_config import GraphConfig


class Objective(StrEnum):
    """What the generator is trained on."""

    ENERGY = "energy"
    """Fair energy score of whole windows plus fair CRPS per output and step."""
    R3GAN = "r3gan"
    """Relativistic pairing GAN with R1 and R2 penalties and a critic that sees window and condition, after the energy score."""
    TERMS = "terms"
    """The weighted sum of [[training.terms]]."""


@dataclass(frozen=True)
class TermConfig:
    """One term of an objective of one's own.

    Attributes:
        name: of the term or game; `surrogate_fmu.training.objectives.terms.registry` lists them.
        weight: in the sum.
        begin, end: shares of the training between which it counts.
        function: of the term `residual`, or physics that the critic of a game sees: "file.py:name".
        options: of the term, by name.
    """

    name: str
    weight: float = 1.0
    begin: float = 0.0
    end: float = 1.0
    function: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Balance:
    """Known physics of one output: its change over a step is a sum of terms with learned coefficients.

    Attributes:
        output: the balanced output (a charge, a temperature, a level).
        terms: inputs or outputs, or differences of two: "current", "ambient_temperature - temperature".
        start: the parameter that the output starts at; empty lets the start be learned.
        residual: whether a small learned correction is added; without it the balance is kept exactly.
    """

    output: str
    terms: tuple[str, ...]
    start: str = ""
    residual: bool = True


class Optimiser(StrEnum):
    """How a player of a game steps."""

    ADAM = "adam"
    """Adam (Kingma and Ba, ICLR 2015)."""
    OPTIMISTIC = "optimistic"
    """Optimistic Adam: the step foresees the next one by how the last one changed."""
    EXTRAGRADIENT = "extragradient"
    """Extra-Adam: every second step is taken from where the last one began, with the gradient where it ended."""


class Structure(StrEnum):
    """How a generator remembers."""

    RECURRENT = "recurrent"
    """A nonlinear memory that reads the last outputs: for plants whose outputs feed back on themselves, noise included."""
    WIENER = "wiener"
    """Linear filters of the inputs and balances, then a static map: for plants that inputs drive and that forget them.
    Windows are computed at once, and what individual a run shows is found by least squares."""
    RING = "ring"
    """Outputs are places on a ring that share one law: quadratic transport between neighbours, and a learned closure with a
    memory for what they do not explain. For fields that are periodic in space, such as a discretised equation."""
    GRAPH = "graph"
    """Outputs and what acts on them belong to nodes that share one law and hear from their neighbours, each with a memory of its
    own. For plants of several like parts: cells of a pack, rooms of a building, nodes of a pipe network."""


@dataclass(frozen=True)
class WienerConfig:
    """What only the Wiener structure has.

    Attributes:
        indirect_inputs: inputs that act through terms of balances alone; nothing else sees them.
        filtered_inputs: inputs that the filters follow; empty follows all that act directly.
        curves: balanced outputs along which the other outputs are curves; empty takes all.
        lags: coordinates per curve, each the balanced output shifted by its own combination of filters.
        depth: hidden layers of the static map.
    """

    indirect_inputs: tuple[str, ...] = ()
    filtered_inputs: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    lags: int = 5
    depth: int = 2

    def __post_init__(self) -> None:
        if min(self.lags, self.depth) < 1:
            raise ValueError(f"lags {self.lags} and depth {self.depth} must be at least 1")


@dataclass(frozen=True)
class RingConfig:
    """What only the ring structure has.

    Attributes:
        starts: the parameter that each output starts at, in the order of the outputs.
        reach: neighbours on either side that a place sees.
        teacher_updates: updates on single steps of recorded runs before the training proper; at most half of the CPU budget.
    """

    starts: tuple[str, ...] = ()
    reach: int = 2
    teacher_updates: int = 300

    def __post_init__(self) -> None:
        if self.reach < 1 or self.teacher_updates < 0:
            raise ValueError(f"reach {self.reach} must be at least 1, and teacher_updates {self.teacher_updates} not negative")


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator.

    Attributes:
        structure: how it remembers.
        run_latent_dim: latents drawn once per run (which individual it is).
        step_latent_dim: latents drawn at every step (process noise).
        memory_dim: leaky memory units; with the Wiener structure, filters per filtered input; on a ring or graph, units per place
            or node.
        width: hidden units of the networks.
        initial_parameters: parameters that say where a run starts and act on nothing later.
        balances: known physics.
        wiener: settings of the Wiener structure.
        linear: start from the linear step that least squares finds in the data, and leave the network what is not linear; with
            the structures recurrent and graph.
        components: Gaussians that an explicit density of the free outputs has, trained by the term `likelihood`; 0 has no density.
        ring: settings of the ring structure, which shares latents among its places.
        gated: let the rates of the memory depend on what is seen, as in a GRU: for plants that remember an event until another one
            comes; with the structures recurrent and graph.
        graph: settings of the graph structure.
    """

    run_latent_dim: int = 8
    step_latent_dim: int = 0
    memory_dim: int = 32
    width: int = 96
    initial_parameters: tuple[str, ...] = ()
    balances: tuple[Balance, ...] = ()
    structure: Structure = Structure.RECURRENT
    wiener: WienerConfig = field(default_factory=WienerConfig)
    linear: bool = False
    components: int = 0
    ring: RingConfig = field(default_factory=RingConfig)
    gated: bool = False
    graph: GraphConfig = field(default=GraphConfig(), metadata={"omit_default": True})

    def __post_init__(self) -> None:
        for structure, own, default in (
            (Structure.WIENER, self.wiener, WienerConfig()),
            (Structure.RING, self.ring, RingConfig()),
            (Structure.GRAPH, self.graph, GraphConfig()),
        ):
            if self.structure is not structure and own != default:
                raise ValueError(
                    f'[training.generator.{structure}] has no effect on a {self.structure} generator: set structure = "{structure}"'
                )
        if self.structure is Structure.GRAPH:
            self._check_graph()
        elif self.structure is not Structure.RECURRENT and (self.linear or self.components or self.gated):
            raise ValueError(
                f'linear, components and gated have no effect on the {self.structure} structure: set structure = "recurrent"'
            )
        if self.components < 0:
            raise ValueError(f"components {self.components} cannot be negative; 0 has no density")
        if min(self.run_latent_dim, self.step_latent_dim) < 0 or min(self.memory_dim, self.width) < 1:
            raise ValueError("latent dims cannot be negative; memory_dim and width must be at least 1")

    def _check_graph(self) -> None:
        graph, count = self.graph, len(self.graph.nodes)
        if not count:
            raise ValueError("the graph structure needs [training.generator.graph] with nodes and edges")
        if self.components:
            raise ValueError('components have no effect on the graph structure: set structure = "recurrent"')
        if self.balances:
            raise ValueError("a graph has no balances; with linear = true its nodes start from the linear step that the data show")
        for kind, total, shared in (
            ("run", self.run_latent_dim, graph.shared_run_latents),
            ("step", self.step_latent_dim, graph.shared_step_latents),
        ):
            if total < shared or (total - shared) % count:
                more = f" and {shared} more" if shared else ""
                raise ValueError(
                    f"{kind}_latent_dim {total}, of which {shared} are shared, cannot be divided among {count} nodes; take a "
                    f"multiple of {count}{more}"
                )


@dataclass(frozen=True)
class EnergyConfig:
    """The energy score objective.

    Attributes:
        members: draws per window.
        path_weight: weight of the score of the whole window against the scores of single outputs and steps.
        pooling: 1 measures all windows in the spread pooled over schedules, 0 each in that of its own schedule.
        points: points of a window that are scored, drawn anew for every update; 0 scores all.
        interval: updates from one score to the next; in those between, only individuals are recognised.
        reconstruction_weight: weight of following recognised individuals; 0 trains without recognising any.
        encoder_width: hidden units of the encoder that recognises for recurrent generators.
    """

    members: int = 4
    path_weight: float = 0.3
    pooling: float = 0.3
    points: int = 0
    interval: int = 1
    reconstruction_weight: float = 1.0
    encoder_width: int = 48

    def __post_init__(self) -> None:
        if self.points < 0 or self.interval < 1:
            raise ValueError(f"points {self.points} cannot be negative, and interval {self.interval} must be at least 1")
        if self.interval > 1 and self.reconstruction_weight == 0.0:
            raise ValueError(f"interval {self.interval} with reconstruction_weight 0 leaves updates with nothing to do")
        if self.members < 2:
            raise ValueError(f"members {self.members}: the fair energy score needs at least 2 draws per window")


@dataclass(frozen=True)
class PosteriorConfig:
    """Recognition of individuals by least squares, for generators that can reconstruct a run (structure `wiener`).

    Attributes:
        points: points of a run that are looked at.
        effective_points: how many independent observations a run counts for; errors of a model last, so many points of a run
            say little more than few.
        noise_floor: least standard deviation of the observations in units of the conditional spread.
        recentring: share of the way in which mean and covariance of all individuals are led back to 0 and 1 at a time.
    """

    points: int = 24
    effective_points: float = 10.0
    noise_floor: float = 0.02
    recentring: float = 0.2

    def __post_init__(self) -> None:
        if self.points < 1 or self.effective_points <= 0.0 or self.noise_floor <= 0.0 or not 0.0 <= self.recentring <= 1.0:
            raise ValueError(
                f"points {self.points} must be at least 1, effective_points {self.effective_points:g} and noise_floor "
                f"{self.noise_floor:g} above 0, recentring {self.recentring:g} from 0 to 1"
            )


@dataclass(frozen=True)
class R3ganConfig:
    """The adversarial objective (Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024).

    Attributes:
        critic_width: hidden units of the critic.
        gamma: weight of the gradient penalties R1 and R2.
        critic_learning_rate: of the critic.
        generator_learning_rate: of the generator in the game, at the start of a training; it falls as all learning rates do.
        warm_up_fraction: share of the budget spent on the energy score before the game begins.
    """

    critic_width: int = 96
    gamma: float = 1.0
    critic_learning_rate: float = 5e-4
    generator_learning_rate: float = 5e-4
    warm_up_fraction: float = 0.5


class Precision(StrEnum):
    """The arithmetic of matrix products in training; weights, states and validation are float32 in any case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Mixed precision by torch.autocast: 8 bits of mantissa, the range of float32."""


@dataclass(frozen=True)
class ExecutionConfig:
    """What a training runs on.

    Attributes:
        device: cpu, cuda, cuda:1.
        precision: of matrix products.
        compile: compile the generator's step by torch.compile, which needs a C++ compiler and takes about a minute.
    """

    device: str = "cpu"
    precision: Precision = Precision.FLOAT32
    compile: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """How a generator is trained.

    Attributes:
        objective: what it is trained on.
        terms: of the objective `terms`.
        seed: of weights, batches and latents.
        updates: length of the training.
        budget_cpu_s: CPU seconds of this process after which training ends in any case, complete.
        batch_size: windows per update.
        window_steps: shortest and longest window; windows start at the runs' start and grow over the first half.
        learning_rate: at the start; falls along a half cosine.
        optimiser: of the generator: adam, optimistic, extragradient; the game's critic has an option of that name too.
        ema_decay: of the averaged weights, which are those that are validated and shipped.
        gradient_clip: largest norm of an update's gradient.
        validations: how often the averaged weights are scored on the validation runs.
        validation_members: draws per validation schedule.
        threads: torch threads.
        trust_region: largest root mean square change of drawn windows that an update may make, in units of the conditional spread;
            longer steps are shortened; 0 bounds nothing.
        execution: what it runs on.
    """

    objective: Objective = Objective.ENERGY
    terms: tuple[TermConfig, ...] = ()
    seed: int = 0
    updates: int = 3000
    budget_cpu_s: float = 3600.0
    batch_size: int = 64
    window_steps: tuple[int, int] = (20, 120)
    learning_rate: float = 2e-3
    optimiser: Optimiser = Optimiser.ADAM
    ema_decay: float = 0.998
    gradient_clip: float = 1.0
    validations: int = 12
    validation_members: int = 32
    threads: int = 1
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    energy: EnergyConfig = field(default_factory=EnergyConfig)
    posterior: PosteriorConfig = field(default_factory=PosteriorConfig)
    r3gan: R3ganConfig = field(default_factory=R3ganConfig)
    trust_region: float = 0.0
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.window_steps[0] <= self.window_steps[1]:
            raise ValueError(f"window_steps {list(self.window_steps)} must be two ascending numbers of steps")
        for name in ("updates", "budget_cpu_s", "batch_size", "validations", "validation_members", "threads"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} {getattr(self, name)} must be above 0")
        if self.trust_region < 0.0:
            raise ValueError(f"trust_region {self.trust_region:g} cannot be negative; 0 bounds nothing")
        if self.terms and self.objective is not Objective.TERMS:
            raise ValueError('[[training.terms]] have no effect on this objective: set objective = "terms"')
        if not self.generator.run_latent_dim + self.generator.step_latent_dim and self.objective is not Objective.TERMS:
            raise ValueError(
                "a conditional generator needs latents: set run_latent_dim or step_latent_dim above 0; for a plant without "
                'randomness set objective = "terms" with a [[training.terms]] that needs none, such as mean-error'
            )
        wiener = self.generator.structure is Structure.WIENER
        if wiener and self.energy.encoder_width != EnergyConfig.encoder_width:
            raise ValueError("encoder_width has no effect on a Wiener generator, whose individuals are found by least squares")
        if not wiener and self.posterior != PosteriorConfig():
            raise ValueError(
                f'[training.posterior] has no effect on a {self.generator.structure} generator: set structure = "wiener"'
            )


def split_term(term: str) -> list[tuple[str, float]]:
    """`"a - b"` as [("a", 1), ("b", -1)]; `"a"` as [("a", 1)]."""
    plus, separator, minus = (part.strip() for part in term.partition("-"))
    return [(plus, 1.0), (minus, -1.0)] if separator else [(plus, 1.0)]
