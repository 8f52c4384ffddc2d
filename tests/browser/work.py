"""Counts the steps that a function of the page takes for a text: no test has to look at a clock."""

from collections.abc import Sequence

from browser.window import Window

# What the engine does within one call is not among the blocks of the page that it counts. So a call
# is as many steps as it reads or copies characters. (How often an expression goes back over them is
# not seen.)
_COUNT_CALLS = """() => {
    globalThis.steps = 0;
    const count = (name, cost) => {
        const original = String.prototype[name];
        String.prototype[name] = function (...given) {
            const result = original.apply(this, given);
            globalThis.steps += 1 + cost(this, result);
            return result;
        };
    };
    for (const name of [
        "endsWith", "includes", "indexOf", "lastIndexOf", "normalize", "replaceAll", "split",
        "startsWith", "toLowerCase", "toUpperCase", "trim",
    ]) count(name, (text) => text.length);
    for (const name of ["slice", "substring"]) count(name, (_, result) => result.length);
    const { exec } = RegExp.prototype;
    RegExp.prototype.exec = function (text) { // all else that takes an expression calls it
        const from = this.global || this.sticky ? this.lastIndex : 0;
        const found = exec.call(this, text);
        const end = found ? found.index + found[0].length : text.length;
        globalThis.steps += 1 + Math.max(0, end - from);
        return found;
    };
}"""

_CALL = """async ([module, name, text, rest]) => {
    const app = document.querySelector("script[src]").src;
    const functions = await import(new URL(module, app));
    globalThis.steps = 0;
    functions[name](text, ...rest);
    return globalThis.steps;
}"""


class StepCounter:
    """Counts in a window of its own, of Chromium."""

    def __init__(self, window: Window) -> None:
        self._page = window.page
        self._page.evaluate(_COUNT_CALLS)
        self._session = window.context.new_cdp_session(window.page)
        self._session.send("Profiler.enable")
        self._session.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})

    def steps(self, module: str, name: str, text: str, rest: Sequence[object] = ()) -> int:
        """Return how many steps this function of this module takes for the text."""
        self._session.send("Profiler.takePreciseCoverage")  # and begin at nothing
        calls = int(self._page.evaluate(_CALL, [module, name, text, list(rest)]))
        taken = self._session.send("Profiler.takePreciseCoverage")
        blocks = sum(
            block["count"]
            for script in taken["result"]
            if script["url"].startswith("http")
            for function in script["functions"]
            for block in function["ranges"]
        )
        return calls + int(blocks)
