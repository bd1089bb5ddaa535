"""The functions of a native FMU's library by ctypes, without FMPy between."""

import ctypes
import zipfile
from collections.abc import Mapping, Sequence
from ctypes import byref, c_char_p, c_double, c_int, c_int64, c_size_t, c_ubyte, c_uint, c_void_p
from pathlib import Path
from typing import Any

from fmpy import read_model_description, supported_platforms

OK, WARNING, DISCARD, ERROR, FATAL = range(5)


class Fmi2Callbacks(ctypes.Structure):
    _fields_ = [("logger", c_void_p), ("allocate", c_void_p), ("free", c_void_p), ("finished", c_void_p), ("environment", c_void_p)]


class Library:
    """A loaded library; `messages` has what its instances logged as (status, category, sentence)."""

    def __init__(self, fmu: Path, folder: Path) -> None:
        assert supported_platforms(str(fmu))
        with zipfile.ZipFile(fmu) as archive:
            name = next(n for n in archive.namelist() if n.endswith(".so") and ("linux64" in n or "x86_64-linux" in n))
            self.path = Path(archive.extract(name, folder))
        self.description = read_model_description(str(fmu))
        self.third = self.description.fmiVersion == "3.0"
        self.token = (self.description.instantiationToken if self.third else self.description.guid).encode()
        self.references: Mapping[str, int] = {v.name: v.valueReference for v in self.description.modelVariables}
        self.dll = ctypes.CDLL(str(self.path))
        self.messages: list[tuple[int, str, str]] = []
        self._fmi2_log = ctypes.CFUNCTYPE(None, c_void_p, c_char_p, c_int, c_char_p, c_char_p)(
            lambda _, name, status, category, text: self.messages.append((status, category.decode(), text.decode()))
        )
        self._fmi3_log = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p, c_char_p)(
            lambda _, status, category, text: self.messages.append((status, category.decode(), text.decode()))
        )
        self._callbacks = Fmi2Callbacks(ctypes.cast(self._fmi2_log, c_void_p))

    def function(self, name: str) -> Any:
        """`fmi2<name>` or `fmi3<name>`; state has a small s in FMI 2."""
        if not self.third:
            name = name.replace("FMUState", "FMUstate").replace("Deserialize", "DeSerialize")
        return getattr(self.dll, f"fmi{3 if self.third else 2}{name}")

    def instantiate(self, name: bytes | None = b"one", token: bytes | None = None, log: bool = True, kind: int = 1) -> int | None:
        token = self.token if token is None else token
        if self.third:
            function = self.dll.fmi3InstantiateCoSimulation
            function.restype = c_void_p
            return function(name, token, b"", 0, 1, 0, 0, None, c_size_t(0), None, self._fmi3_log if log else None, None)
        function = self.dll.fmi2Instantiate
        function.restype = c_void_p
        return function(name, kind, token, b"", byref(self._callbacks) if log else None, 0, 1)

    def initialize(self, instance: int | None) -> int:
        handle = c_void_p(instance)
        if self.third:
            status = self.dll.fmi3EnterInitializationMode(handle, 0, c_double(0), c_double(0), 0, c_double(0))
        else:
            status = self.dll.fmi2SetupExperiment(handle, 0, c_double(0), c_double(0), 0, c_double(0))
            status = status or self.dll.fmi2EnterInitializationMode(handle)
        return status or self.function("ExitInitializationMode")(handle)

    def do_step(self, instance: int | None, time: float, size: float) -> int:
        if self.third:
            flags, last = (ctypes.c_bool * 3)(), c_double()
            return self.dll.fmi3DoStep(
                c_void_p(instance),
                c_double(time),
                c_double(size),
                1,
                byref(flags, 0),
                byref(flags, 1),
                byref(flags, 2),
                byref(last),
            )
        return self.dll.fmi2DoStep(c_void_p(instance), c_double(time), c_double(size), 1)

    def get_reals(self, instance: int | None, references: Sequence[int], count: int | None = None) -> tuple[int, list[float]]:
        count = len(references) if count is None else count
        values = (c_double * max(count, 1))()
        extra = [c_size_t(count)] if self.third else []
        get = self.function("GetFloat64" if self.third else "GetReal")
        status = get(c_void_p(instance), (c_uint * len(references))(*references), c_size_t(len(references)), values, *extra)
        return status, list(values)[:count]

    def set_reals(self, instance: int | None, references: Sequence[int], values: Sequence[float]) -> int:
        extra = [c_size_t(len(values))] if self.third else []
        put = self.function("SetFloat64" if self.third else "SetReal")
        return put(
            c_void_p(instance),
            (c_uint * len(references))(*references),
            c_size_t(len(references)),
            (c_double * len(values))(*values),
            *extra,
        )

    def set_integer(self, instance: int | None, reference: int, value: int) -> int:
        if self.third:
            return self.dll.fmi3SetInt64(
                c_void_p(instance), byref(c_uint(reference)), c_size_t(1), byref(c_int64(value)), c_size_t(1)
            )
        return self.dll.fmi2SetInteger(c_void_p(instance), byref(c_uint(reference)), c_size_t(1), byref(c_int(value)))

    def directional(
        self, instance: int | None, unknowns: Sequence[int], knowns: Sequence[int], seed: Sequence[float], size: int | None = None
    ) -> tuple[int, list[float]]:
        return self._derivative(
            "GetDirectionalDerivative", instance, unknowns, knowns, seed, len(unknowns) if size is None else size
        )

    def adjoint(
        self, instance: int | None, unknowns: Sequence[int], knowns: Sequence[int], seed: Sequence[float], size: int | None = None
    ) -> tuple[int, list[float]]:
        return self._derivative("GetAdjointDerivative", instance, unknowns, knowns, seed, len(knowns) if size is None else size)

    def _derivative(
        self, name: str, instance: int | None, unknowns: Sequence[int], knowns: Sequence[int], seed: Sequence[float], size: int
    ) -> tuple[int, list[float]]:
        sensitivity = (c_double * max(size, 1))()
        arguments: list[Any] = [c_void_p(instance)]
        for references in (unknowns, knowns):
            arguments += [(c_uint * len(references))(*references), c_size_t(len(references))]
        arguments.append((c_double * len(seed))(*seed))
        arguments += [c_size_t(len(seed)), sensitivity, c_size_t(size)] if self.third else [sensitivity]
        return self.function(name)(*arguments), list(sensitivity)[:size]

    def get_state(self, instance: int | None) -> tuple[int, c_void_p]:
        state = c_void_p()
        return self.function("GetFMUState")(c_void_p(instance), byref(state)), state

    def deserialize(self, instance: int | None, content: bytes) -> tuple[int, c_void_p]:
        state = c_void_p()
        buffer = (c_ubyte * max(len(content), 1)).from_buffer_copy(content or b"\0")
        return self.function("DeserializeFMUState")(c_void_p(instance), buffer, c_size_t(len(content)), byref(state)), state

    def free(self, instance: int | None) -> None:
        self.function("FreeInstance")(c_void_p(instance))
