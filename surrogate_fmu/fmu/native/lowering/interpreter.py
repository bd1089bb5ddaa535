"""Reading a TorchScript graph: what is known is calculated, what depends on the inputs is lowered by the rules.

Conditions, loops and list operations over known values are carried out, as scripted modules have them for every optional
argument and every layer; those over unknown values are refused.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from surrogate_fmu.fmu.native.graph import Graph, Rows, Value
from surrogate_fmu.fmu.native.lowering.mutation import ChangedMemory
from surrogate_fmu.fmu.native.lowering.rules import RULES
from surrogate_fmu.fmu.native.lowering.scope import Scope
from surrogate_fmu.fmu.native.lowering.tensor import BatchSize, Traced

_MAX_TRIPS = 10_000
_RANDOM = re.compile(r"aten::(rand|bernoulli|normal|dropout|multinomial|poisson|uniform|exponential|alpha_dropout|feature_)")


class Interpreter:
    """One method of a generator, read with its arguments symbolic."""

    def __init__(self, method: str) -> None:
        self.scope = Scope(method)
        self.known: dict[str, Any] = {}
        self.changed = ChangedMemory(self.scope.builder)

    def lower(self, graph: Any, dims: Sequence[int]) -> Graph:
        """The intermediate form of a graph over inputs (batch, dim) and a tuple of outputs (batch, dim).

        Raises:
            LoweringError: something in it cannot be lowered.
        """
        arguments = list(graph.inputs())
        inputs = [Value((dim,), Rows.MANY) for dim in dims]
        for argument, value in zip(arguments[-len(dims) :], inputs, strict=True):
            self.known[argument.debugName()] = Traced(value, 0)
        self.run(graph)
        (result,) = [self.known[output.debugName()] for output in graph.outputs()]
        outputs = []
        for tensor in result:
            self.scope.operation, self.scope.position = "the result", ""
            if isinstance(tensor, Tensor):
                self.scope.refuse("does not have the batch as its first axis")
            if self.changed.is_stale(tensor.value):
                self.scope.refuse("has been changed in place through another name; clone it before")
            if tensor.batch_axis != 0 or tensor.rank != 2:
                self.scope.refuse(f"has the shape {tensor.shape}, not (batch, features)")
            outputs.append(tensor.value)
        return self.scope.builder.finish(inputs, outputs)

    def run(self, block: Any) -> None:
        """Carry out the nodes of a graph or block."""
        for node in block.nodes():
            self._step(node)

    def _step(self, node: Any) -> None:
        kind = node.kind()
        outputs = [output.debugName() for output in node.outputs()]
        if kind == "prim::Constant":
            self.known[outputs[0]] = node.output().toIValue()
            return
        self.scope.operation, self.scope.position = kind, position_of(node)
        if kind == "prim::If":
            self._condition(node, outputs)
        elif kind == "prim::Loop":
            self._loop(node, outputs)
        else:
            arguments = [self.known[value.debugName()] for value in node.inputs()]
            reads = kind not in _STRUCTURAL and kind not in _OWN
            if reads and any(self.changed.is_stale(tensor.value) for tensor in _tensors(arguments)):
                self.scope.refuse("reads a tensor that has been changed in place through another name; clone it before")
            results = self._apply(kind, node, arguments)
            if len(outputs) == 1:
                self.known[outputs[0]] = results
            else:
                self.known.update(zip(outputs, results, strict=True))

    def _apply(self, kind: str, node: Any, arguments: list[Any]) -> Any:
        structural = _STRUCTURAL.get(kind)
        if structural is not None:
            return structural(arguments)
        if kind == "prim::RaiseException":
            self.scope.refuse(f"raises: {arguments[0] if arguments else 'an error'}")
        if kind not in RULES and kind.endswith("_") and not kind.endswith("__") and isinstance(arguments[0], Traced):
            return self._in_place(kind, arguments)
        lowering = RULES.get(kind)
        if _is_known(arguments):
            if _RANDOM.match(kind) and kind not in RULES:
                self.scope.refuse("draws random numbers; a generator's only randomness is its latents z")
            if kind.startswith(("aten::", "prim::")) and kind not in _OWN:
                return _calculate(node, arguments, self.scope)
        if lowering is None:
            if _RANDOM.match(kind):
                self.scope.refuse("draws random numbers; a generator's only randomness is its latents z")
            self.scope.refuse("is not among the operations that native code has")
        return lowering(self.scope, *arguments)

    def _in_place(self, kind: str, arguments: list[Any]) -> Any:
        lowering = RULES.get(kind.removesuffix("_"))
        if lowering is None:
            self.scope.refuse("is not among the operations that native code has")
        self.scope.operation = kind.removesuffix("_")
        target = arguments[0]
        result = lowering(self.scope, *arguments)
        self.scope.operation = kind
        if result.value is not target.value:
            self.changed.overwrite(target.value)
        # All names of the tensor mean the result from here on.
        self.known = {name: _renamed(known, target, result) for name, known in self.known.items()}
        return result

    def _condition(self, node: Any, outputs: list[str]) -> None:
        condition = self.known[next(iter(node.inputs())).debugName()]
        blocks = list(node.blocks())
        if isinstance(condition, Traced):
            self.scope.refuse("depends on the inputs; use torch.where")
        if isinstance(condition, BatchSize):
            # A check of the batch size whose other side raises an error is taken to pass.
            passing = [block for block in blocks if not any(n.kind() == "prim::RaiseException" for n in block.nodes())]
            if len(passing) != 1:
                self.scope.refuse("depends on the size of the batch")
            chosen = passing[0]
        else:
            chosen = blocks[0] if condition else blocks[1]
        self.run(chosen)
        for name, output in zip(outputs, chosen.outputs(), strict=True):
            self.known[name] = self.known[output.debugName()]

    def _loop(self, node: Any, outputs: list[str]) -> None:
        trips, condition, *carried = [self.known[value.debugName()] for value in node.inputs()]
        (body,) = node.blocks()
        names = [value.debugName() for value in body.inputs()]
        trip = 0
        position = self.scope.position
        while True:
            if isinstance(condition, Traced | BatchSize) or isinstance(trips, BatchSize):
                self.scope.operation, self.scope.position = "prim::Loop", position
                self.scope.refuse("runs a number of times that depends on the inputs or the batch")
            if not condition or trip >= trips:
                break
            if trip >= _MAX_TRIPS:
                self.scope.refuse(f"runs more than {_MAX_TRIPS} times")
            self.known.update(zip(names, [trip, *carried], strict=True))
            self.run(body)
            condition, *carried = [self.known[value.debugName()] for value in body.outputs()]
            trip += 1
        self.known.update(zip(outputs, carried, strict=True))


def position_of(node: Any) -> str:
    """Where a node stands in the user's module, as far as the TorchScript says: file, line and text, and whose weights it has.

    Lines and text are those of the module's TorchScript, which stored generators carry instead of the Python source.
    """
    text = str(node.sourceRange())
    marked = re.search(r"^(.*)\n *~+ *<--- HERE", text, re.MULTILINE)
    place = re.search(r'File "([^"]+)", line (\d+)', text) or re.search(
        r"([\w/.]+\.py):(\d+)", f"{text} {str(node).splitlines()[0]}"
    )
    owners = [value.debugName() for value in node.inputs() if value.debugName().startswith("self.")]
    words = []
    if place is not None:
        file = re.sub(r"/___torch_mangle_\d+(?=\.py)", "", re.sub(r".*code/__torch__/", "", place.group(1)))
        words.append(f"{file}, line {place.group(2)} of its TorchScript")
    if marked is not None:
        words.append(f'"{marked.group(1).strip()}"')
    if owners:
        words.append(f"with {owners[0]}")
    return ", ".join(words)


def _renamed(known: Any, target: Traced, result: Traced) -> Any:
    """What a name means, in lists too, once the target has become the result."""
    if isinstance(known, list):
        known[:] = [_renamed(item, target, result) for item in known]
    elif isinstance(known, tuple):
        return tuple(_renamed(item, target, result) for item in known)
    return result if known is target else known


def _tensors(argument: Any) -> Iterator[Traced]:
    if isinstance(argument, list | tuple):
        for item in argument:
            yield from _tensors(item)
    elif isinstance(argument, Traced):
        yield argument


def _is_known(argument: Any) -> bool:
    if isinstance(argument, list | tuple):
        return all(_is_known(item) for item in argument)
    return not isinstance(argument, Traced | BatchSize)


def _calculate(node: Any, arguments: list[Any], scope: Scope) -> Any:
    """Carry out an operation on known values."""
    schema = node.schema()
    if schema == "(no schema)":
        scope.refuse("is not among the operations that native code has")
    namespace, _, rest = schema.partition("(")[0].partition("::")
    name, _, overload = rest.partition(".")
    try:
        packet = getattr(getattr(torch.ops, namespace), name)
        with torch.no_grad():
            return getattr(packet, overload or "default")(*arguments)
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        if f"{namespace}::{name}" in RULES:
            return RULES[f"{namespace}::{name}"](scope, *arguments)
        scope.refuse(f"cannot be calculated when the code is made ({str(error).splitlines()[0]})")


def _unpack(arguments: list[Any]) -> Any:
    items = tuple(arguments[0])
    return items[0] if len(items) == 1 else items


_STRUCTURAL: dict[str, Callable[[list[Any]], Any]] = {
    "prim::ListConstruct": list,
    "prim::TupleConstruct": tuple,
    "prim::ListUnpack": _unpack,
    "prim::TupleUnpack": _unpack,
    "prim::TupleIndex": lambda arguments: arguments[0][arguments[1]],
    "aten::list": lambda arguments: list(arguments[0]),
    "aten::tensor": lambda arguments: torch.tensor(arguments[0], dtype=arguments[1] if len(arguments) > 1 else None),
    "prim::NumToTensor": lambda arguments: arguments[0],
    "prim::unchecked_cast": lambda arguments: arguments[0],
    "prim::unchecked_unwrap_optional": lambda arguments: arguments[0],
    "aten::_unwrap_optional": lambda arguments: arguments[0],
    "prim::Uninitialized": lambda arguments: None,
    "prim::device": lambda arguments: torch.device("cpu"),
    "prim::dtype": lambda arguments: arguments[0].dtype,
    "prim::is_cuda": lambda arguments: False,
    "prim::layout": lambda arguments: torch.strided,
    "prim::min": lambda arguments: min(arguments[0] if len(arguments) == 1 else arguments),
    "prim::max": lambda arguments: max(arguments[0] if len(arguments) == 1 else arguments),
}

_OWN = {
    "aten::__getitem__",
    "aten::len",
    "aten::format",
    "aten::warn",
    "aten::append",
    "aten::__contains__",
    "aten::__range_length",
}
"""Operations on lists and texts, carried out by the rules whether or not the values are known."""
