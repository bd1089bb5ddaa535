"""What the library answers to calls that no sensible master makes: a status and a sentence, never a crash."""

import ctypes
import re
from collections.abc import Iterator
from ctypes import byref, c_int, c_size_t, c_uint, c_void_p
from pathlib import Path

import pytest

from surrogate_fmu.fmu.config import FmiVersion
from tests.fmu.native_fmu.conftest import BuildToy
from tests.fmu.native_fmu.library import DISCARD, ERROR, OK, Library


@pytest.fixture
def library(native_fmu: Path, tmp_path: Path) -> Library:
    return Library(native_fmu, tmp_path)


@pytest.fixture
def running(library: Library) -> Iterator[int]:
    instance = library.instantiate()
    assert library.initialize(instance) == OK
    yield instance
    library.free(instance)


def headers(version: int) -> list[str]:
    import fmpy

    text = (Path(fmpy.__file__).parent / "c-code" / f"fmi{version}Functions.h").read_text()
    return re.findall(rf"FMI{version}_Export\s+\w+\s+(fmi{version}\w+);", text)


def test_every_function_of_the_standard_is_there(library: Library) -> None:
    names = headers(3 if library.third else 2)
    assert len(names) > 40
    assert [name for name in names if not hasattr(library.dll, name)] == []


def test_null_handles_are_errors_everywhere(library: Library) -> None:
    unlike = ("GetVersion", "GetTypesPlatform", "FreeInstance")
    for name in headers(3 if library.third else 2):
        if "Instantiate" in name or name.endswith(unlike):
            continue
        assert getattr(library.dll, name)(None, *[c_void_p(0)] * 10) == ERROR, name
    library.free(None)


def test_handles_that_are_none_are_errors(library: Library) -> None:
    noise = ctypes.create_string_buffer(4096)
    assert library.do_step(ctypes.addressof(noise), 0.0, 2.0) == ERROR
    library.free(ctypes.addressof(noise))


def test_instances_need_their_token_and_a_name(library: Library) -> None:
    for token in (b"{00000000-0000-0000-0000-000000000000}", b"", b"%s%s%n"):
        assert library.instantiate(token=token) is None
        assert library.messages[-1][0] == ERROR and library.token.decode() in library.messages[-1][2]
    for name in (None, b""):
        assert library.instantiate(name=name) is None
        assert "needs a name" in library.messages[-1][2]
    if library.third:
        for kind in ("ModelExchange", "ScheduledExecution"):
            function = getattr(library.dll, f"fmi3Instantiate{kind}")
            function.restype = c_void_p
            assert function(b"one", library.token, b"", 0, 0, None, *[None] * 4) is None
    else:
        assert library.instantiate(kind=0) is None
        assert "not for model exchange" in library.messages[-1][2]
    assert library.instantiate(token=b"wrong", log=False) is None


def test_a_host_without_a_logger_is_served(library: Library) -> None:
    instance = library.instantiate(log=False)
    assert library.do_step(instance, 0.0, 2.0) == ERROR
    assert library.initialize(instance) == OK and library.do_step(instance, 0.0, 2.0) == OK
    library.free(instance)


def test_wrong_references_and_counts(library: Library, running: int) -> None:
    power, seed = library.references["power"], library.references["seed"]
    for reference in (4711, 2**32 - 1, seed):
        assert library.get_reals(running, [power, reference])[0] == ERROR
        assert f"InputError: value reference {reference} is no Real variable" in library.messages[-1][2]
        assert library.set_reals(running, [power, reference], [1.0, 2.0]) == ERROR
    assert library.get_reals(running, [power]) == (OK, [0.0])  # all are taken, or none
    assert library.set_reals(running, [library.references["flow"]], [1.0]) == ERROR
    assert "'flow' is calculated and cannot be set" in library.messages[-1][2]
    assert library.set_integer(running, power, 1) == ERROR
    if library.third:
        assert library.get_reals(running, [power], 2)[0] == ERROR
        assert "2 values were given for variables with 1 elements" in library.messages[-1][2]
        assert library.set_reals(running, [power], [1.0, 2.0]) == ERROR
        assert library.set_reals(running, [library.references["time"]], [1.0]) == ERROR
    assert library.get_reals(running, []) == (OK, [])


def test_null_pointers(library: Library, running: int) -> None:
    handle, one = c_void_p(running), byref(c_uint(library.references["power"]))
    extra = [c_size_t(1)] if library.third else []
    for name in ("GetFloat64", "SetFloat64", "GetInt64", "SetInt64") if library.third else ("GetReal", "SetReal", "GetInteger"):
        assert library.function(name)(handle, None, c_size_t(1), byref(ctypes.c_double()), *extra) == ERROR
        assert library.function(name)(handle, one, c_size_t(1), None, *extra) == ERROR
        assert "null pointer" in library.messages[-1][2]
    assert library.function("GetFMUState")(handle, None) == ERROR
    assert library.function("SetFMUState")(handle, None) == ERROR
    assert library.function("FreeFMUState")(handle, None) == OK
    assert library.function("DeserializeFMUState")(handle, None, c_size_t(1000), byref(c_void_p())) == ERROR
    assert library.function("SetDebugLogging")(handle, 1, c_size_t(1), None) == ERROR
    assert library.do_step(running, 0.0, 2.0) == OK


def test_states_that_are_none(library: Library, running: int) -> None:
    noise = ctypes.create_string_buffer(4096)
    for name in ("SetFMUState", "SerializedFMUStateSize"):
        assert library.function(name)(c_void_p(running), noise, byref(c_size_t())) == ERROR
    assert library.function("FreeFMUState")(c_void_p(running), byref(c_void_p(ctypes.addressof(noise)))) == ERROR
    status, state = library.get_state(running)
    assert status == OK
    assert library.function("GetFMUState")(c_void_p(running), byref(state)) == OK  # overwritten in place
    few = ctypes.create_string_buffer(10)
    assert library.function("SerializeFMUState")(c_void_p(running), state, few, c_size_t(10)) == ERROR
    assert "10 bytes are too few" in library.messages[-1][2]
    assert library.function("FreeFMUState")(c_void_p(running), byref(state)) == OK
    assert state.value is None


def test_what_is_not_supported_says_so(library: Library, running: int) -> None:
    if library.third:
        names = ("EnterEventMode", "EnterStepMode", "EnterConfigurationMode", "EnterContinuousTimeMode", "GetClock", "SetTime")
    else:
        names = ("EnterEventMode", "EnterContinuousTimeMode", "CancelStep", "SetRealInputDerivatives", "GetRealOutputDerivatives")
    for name in names:
        library.messages.clear()
        assert library.function(name)(c_void_p(running), None, c_size_t(0), None, None) == ERROR
        assert re.search(rf"CallOrderError: fmi.{name} is not supported: \w+", library.messages[-1][2])
    if not library.third:
        last, ended = ctypes.c_double(), c_int(1)
        assert library.do_step(running, 0.0, 2.0) == OK
        assert library.dll.fmi2GetRealStatus(c_void_p(running), 2, byref(last)) == OK and last.value == 2.0
        assert library.dll.fmi2GetBooleanStatus(c_void_p(running), 3, byref(ended)) == OK and ended.value == 0
        assert library.dll.fmi2GetStatus(c_void_p(running), 0, byref(ended)) == DISCARD


def test_messages_are_by_category(library: Library, running: int) -> None:
    def logging(on: bool, *categories: bytes) -> int:
        texts = (ctypes.c_char_p * len(categories))(*categories)
        return library.function("SetDebugLogging")(c_void_p(running), int(on), c_size_t(len(categories)), texts)

    power = library.references["power"]
    for off, told in (((b"logStatusDiscard",), 0), ((b"logStatusError",), 0), ((b"logAll",), 0), ((), 0)):
        assert logging(True) == OK
        library.messages.clear()
        assert library.set_reals(running, [power], [1e9]) == DISCARD
        assert [m[:2] for m in library.messages] == [(DISCARD, "logStatusDiscard")]
        assert logging(False, *off) == OK
        library.messages.clear()
        assert library.set_reals(running, [power], [1e9]) == DISCARD
        assert len(library.messages) == (1 if off == (b"logStatusError",) else told)
    assert logging(True) == OK
    assert logging(True, b"logEvents") == ERROR and "logEvents" in library.messages[-1][2]


def test_percent_signs_survive_fmi2s_printf(library: Library, running: int) -> None:
    if library.third:
        pytest.skip("FMI 3.0 has no printf format")
    reference = library.references["device"]
    text = (ctypes.c_char_p * 1)(b"100%n")
    instance = library.instantiate()
    assert library.dll.fmi2SetString(c_void_p(instance), byref(c_uint(reference)), c_size_t(1), text) == DISCARD
    assert "'100%%n'" in library.messages[-1][2]
    library.free(instance)


def test_the_processor_has_chosen_its_kernels(library: Library) -> None:
    library.dll.surrogate_fmu_kernels.restype = ctypes.c_char_p
    flags = Path("/proc/cpuinfo").read_text().partition("flags")[2].partition("\n")[0].split()
    expected = b"x86_64_v3" if {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"} <= set(flags) else b"x86_64"
    assert library.dll.surrogate_fmu_kernels() == expected


def test_a_thousand_instances_do_not_leak(build_toy: BuildToy, tmp_path: Path) -> None:
    import resource

    library = Library(build_toy(fmi=FmiVersion.V2), tmp_path)

    def live_once() -> None:
        instance = library.instantiate()
        library.initialize(instance)
        _, state = library.get_state(instance)
        library.do_step(instance, 0.0, 2.0)
        library.function("FreeFMUState")(c_void_p(instance), byref(state))
        library.free(instance)

    for _ in range(2000):
        live_once()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20000):
        live_once()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1000  # kB; an instance has about 2 kB
