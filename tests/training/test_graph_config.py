"""What a graph cannot be is refused in one sentence before the first step of a training."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate_fmu.config import load_config
from surrogate_fmu.errors import ConfigError
from surrogate_fmu.schema import decode, encode
from surrogate_fmu.training.config import Balance, GeneratorConfig, RingConfig, Structure, TrainingConfig
from surrogate_fmu.training.generators.layout import find_layout
from surrogate_fmu.training.graph_config import EdgeSet, GraphConfig
from surrogate_fmu.training.loop import Trainer
from tests.training.tanks import TANKS, VARIABLES, graph, node, record

NODES = tuple(node(k) for k in range(1, TANKS + 1))
CONFIG = GeneratorConfig(TANKS, TANKS, 3, 12, structure=Structure.GRAPH, graph=graph())


def without(node: dict[str, str], *roles: str) -> dict[str, str]:
    return {role: name for role, name in node.items() if role not in roles}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": (*NODES[:4], without(NODES[4], "feed"))}, "node 5 has no 'feed', which node 1 has; give all nodes the same"),
        ({"nodes": (without(NODES[0], "size"), *NODES[1:])}, "node 1 has no 'size', which node 2 has"),
        ({"nodes": (*NODES[:4], {**NODES[4], "feed": "feed2"})}, "'feed2' is in node 2 and in node 5; a variable belongs to one"),
        ({"nodes": NODES[:1], "edges": ()}, "at least two nodes"),
        ({"edges": ((1, 2), (2, 6))}, r"the edge \[2, 6\] leads to a node that is not there; nodes are numbered from 1 to 5"),
        ({"edges": ((0, 2),)}, r"the edge \[0, 2\] leads to a node that is not there"),
        ({"edges": ((2, 2),)}, r"the edge \[2, 2\] joins a node with itself"),
        ({"edges": ((1, 2), (2, 1))}, r"the edge \[2, 1\] is there twice"),
        ({"edges": ((1, 2), (1, 2)), "directed": True}, r"the edge \[1, 2\] is there twice"),
        ({"edges": ((1, 2), (2, 3), (3, 4))}, r"node 5 \(level5, feed5, .*\) is in no edge; join it"),
        ({"edges": ()}, "node 1 .* is in no edge"),
        ({"edges": EdgeSet.ALL, "directed": True}, 'directed has no effect on edges = "all"'),
        ({"starts": {"level": "begin"}}, "starts names 'begin', which is no role of the nodes; there are level, feed"),
        ({"rounds": 0}, "rounds 0 must be at least 1"),
        ({"shared_run_latents": -1}, "cannot be negative"),
    ],
)
def test_what_is_no_graph(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(graph(), **changes)


def test_both_ways_of_a_directed_pair_are_two_edges():
    found = GraphConfig(NODES[:2], ((1, 2), (2, 1)), directed=True)
    assert found.neighbours == ((1,), (0,))
    assert GraphConfig(NODES[:3], ((1, 2), (1, 3)), directed=True).neighbours == ((), (0,), (0,))
    assert GraphConfig(NODES[:3], ((1, 2), (1, 3))).neighbours == ((1, 2), (0,), (0,))
    assert GraphConfig(NODES[:3], EdgeSet.ALL).neighbours == ((1, 2), (0, 2), (0, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graph": GraphConfig()}, r"the graph structure needs \[training.generator.graph\] with nodes and edges"),
        ({"components": 1}, "components have no effect on the graph structure"),
        ({"balances": (Balance("level1", ("feed1",)),)}, "a graph has no balances; with linear = true"),
        ({"run_latent_dim": 7}, "run_latent_dim 7, of which 0 are shared, cannot be divided among 5 nodes; take a multiple of 5"),
        ({"graph": graph(shared_step_latents=2)}, "step_latent_dim 5, of which 2 are shared.*a multiple of 5 and 2 more"),
        ({"graph": graph(shared_step_latents=6)}, "step_latent_dim 5, of which 6 are shared"),
        ({"ring": RingConfig(reach=1)}, r"\[training.generator.ring\] has no effect on a graph generator"),
        ({"structure": Structure.RECURRENT}, r"\[training.generator.graph\] has no effect on a recurrent generator"),
    ],
)
def test_what_a_graph_generator_cannot_have(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def of(**changes: Any) -> GeneratorConfig:
    return dataclasses.replace(CONFIG, graph=dataclasses.replace(graph(), **changes))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            of(nodes=tuple(without(some, "overflow") for some in NODES)),
            "the output 'overflow5' is in no node of the graph; give it to",
        ),
        (of(nodes=(*NODES[:4], {**NODES[4], "feed": "fed5"})), r"'fed5' is no variable \(node 5 has it\); there are feed1"),
        (
            of(nodes=(*NODES[:4], {**NODES[4], "feed": "slope"})),
            "'feed' is that of the input 'feed1' in node 1, and of the parameter",
        ),
        (of(starts={"feed": "start"}), r"'feed' is no role of outputs \(graph.starts has it\); there are level, overflow"),
        (of(starts={"level": "feed"}), r"'feed' is no role of parameters \(graph.starts has it\); there are start, size"),
        (dataclasses.replace(CONFIG, initial_parameters=("size1", "size2")), "initial_parameters names some of the role 'size'"),
    ],
)
def test_nodes_that_do_not_fit_the_variables(config: GeneratorConfig, message: str):
    with pytest.raises(ConfigError, match=message):
        find_layout(VARIABLES, config)
    runs = record(8, 4, 4, 1)
    with pytest.raises(ConfigError, match=message):
        Trainer(runs, runs, TrainingConfig(window_steps=(2, 4), generator=config))


def test_variables_are_found_node_by_node_and_role_by_role():
    config = dataclasses.replace(CONFIG, initial_parameters=(*(f"size{k}" for k in range(1, TANKS + 1)), "slope"))
    layout = find_layout(VARIABLES, config)
    outputs = [v.name for v in VARIABLES if v.causality == "output"]
    condition = [v.name for v in VARIABLES if v.causality == "input"] + [v.name for v in VARIABLES if v.causality == "parameter"]
    numbers = range(1, TANKS + 1)
    assert np.array(outputs)[layout.outputs].tolist() == [[f"level{k}", f"overflow{k}"] for k in numbers]
    assert np.array(condition)[layout.own].tolist() == [[f"feed{k}"] for k in numbers]
    assert np.array(condition)[layout.own_at_start].tolist() == [[f"feed{k}", f"level{k}_start", f"size{k}"] for k in numbers]
    assert np.array(condition)[layout.shared].tolist() == ["pump"]
    assert np.array(condition)[layout.shared_at_start].tolist() == ["pump", "slope"]
    assert (layout.starts[:, 1] == -1).all()
    assert np.array(condition)[layout.starts[:, 0]].tolist() == [f"level{k}_start" for k in numbers]


FILE = """\
[surrogate]
name = "tanks"
plant = "tanks.py:Tanks"

[variables]
a = "m"
b = "m"
fa = "m"
fb = "m"

[recording]
steps = 10
sets.train = { schedules = 4 }

[recording.design.inputs.fa]
min = -1.0
max = 1.0
excitations = ["steps"]
hold_s = [1, 5]

[recording.design.inputs.fb]
min = -1.0
max = 1.0
excitations = ["steps"]
hold_s = [1, 5]

[training.generator]
structure = "graph"

[training.generator.graph]
edges = [[1, 2]]
nodes = [
    { level = "a", feed = "fa" },
    { level = "b", feed = "fb" },
]
"""


def read(folder: Path, before: str = "", after: str = "") -> GraphConfig:
    path = folder / "surrogate.toml"
    path.write_text(FILE.replace(before, after) if before else FILE)
    return load_config(path).training.generator.graph


def test_a_graph_is_read_from_a_file(tmp_path: Path):
    assert read(tmp_path) == GraphConfig(({"level": "a", "feed": "fa"}, {"level": "b", "feed": "fb"}), ((1, 2),))
    assert read(tmp_path, "[[1, 2]]", '"all"').edges is EdgeSet.ALL
    for config in (CONFIG, dataclasses.replace(CONFIG, graph=dataclasses.replace(graph(), edges=EdgeSet.ALL))):
        assert decode(GeneratorConfig, encode(config)) == config


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('level = "b"', 'level = "c"', r"nodes\[1\]\.level: there is no 'c' here; there are a, b"),
        ("[[1, 2]]", '"some"', "graph.edges: expected a list, got 'some', or expected one of 'all', got 'some'"),
        ("[[1, 2]]", "[[1, 2, 3]]", r"graph.edges\[0\]: expected a list of 2, got 3"),
        ("[[1, 2]]", "[[1, 3]]", r"graph: the edge \[1, 3\] leads to a node that is not there"),
        ("edges =", "edge =", "did you mean 'edges'"),
    ],
)
def test_what_a_file_cannot_say_is_refused_with_its_line(tmp_path: Path, before: str, after: str, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, before, after)
    line = int(str(caught.value).split(":")[1])
    assert FILE.splitlines()[line - 1].startswith(("edges", "nodes", "[training.generator.graph]"))


def test_files_and_checkpoints_from_before_graphs_are_as_they_were():
    assert "graph" not in encode(GeneratorConfig())
