"""The loops and index tables of a model, each once however many of its functions use it."""

from collections.abc import Sequence


class LoopLibrary:
    """Collects definitions by their text."""

    def __init__(self) -> None:
        self._loops: dict[str, str] = {}
        self._tables: dict[tuple[int, ...], str] = {}
        self._definitions: list[str] = []

    def loop(self, parameters: str, body: Sequence[str], inline: bool) -> str:
        """The name of a function of these parameters; inlined ones cost compile time where they are called."""
        text = "\n".join([f"({parameters})", "{", *body, "}", ""])
        if text not in self._loops:
            self._loops[text] = f"loop_{len(self._loops)}"
            self._definitions.append(f"{'' if inline else 'SF_NOINLINE '}static void {self._loops[text]}{text}")
        return self._loops[text]

    def table(self, indices: tuple[int, ...]) -> str:
        """The name of an array of indices."""
        if indices not in self._tables:
            self._tables[indices] = f"indices_{len(self._tables)}"
            numbers = ", ".join(map(str, indices))
            self._definitions.append(f"static const int32_t {self._tables[indices]}[] = {{{numbers}}};\n")
        return self._tables[indices]

    def text(self) -> str:
        """All definitions, in an order in which each is known before it is used."""
        return "\n".join(self._definitions)
