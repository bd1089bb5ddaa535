"""When the interpreter ends that the library of PythonFMU or PythonFMU3 has started in a host without Python.

Left alone, it ends while the process is exiting, after the static objects of torch's libraries are gone, and then the library
drops the interpreter a second time, out of memory that is freed already (`finalizePythonInterpreter` in both, which runs once
as a destructor function after the destructor of the object that it drops). Both bring the host down at its end. What libc is
told later it runs earlier: told after the imports to call the library's own function, it ends the interpreter while
everything is still there, and the library finds nothing more to drop.
"""

import atexit
import ctypes
import gc
import os
from pathlib import Path

_known: set[str] = set()

# Objects of torch that are still in cycles are left to the end of the process.
atexit.register(gc.freeze)


def end_interpreter_first(resources: Path, model_identifier: str) -> None:
    """Have the interpreter ended before anything else at the exit of the process; once for each library.

    To be called when everything is imported, and also where an instance is refused: the library has started Python by then.

    Args:
        resources: folder of the FMU's resources; the library is looked for in `binaries` beside it. One that was loaded from
            elsewhere, or is for Windows, is left alone.
        model_identifier: name of the library.
    """
    if os.name != "posix":
        return
    for file in resources.parent.glob(f"binaries/*/{model_identifier}.so"):
        if str(file) in _known:
            continue
        try:
            library = ctypes.CDLL(str(file), os.RTLD_NOW | os.RTLD_NOLOAD)  # never closed: what libc calls must stay
            finalize = ctypes.cast(library.finalizePythonInterpreter, ctypes.c_void_p)
        except (OSError, AttributeError):  # not the library that is loaded, or one that does it in another way
            continue
        _known.add(str(file))
        getattr(ctypes.CDLL(None), "__cxa_atexit")(finalize, None, None)
