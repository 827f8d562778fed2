"""The compiler: a step is recorded as a program, optimised, and replayed."""

from minigrad.compiler.capture import CompileError
from minigrad.compiler.choice import offer
from minigrad.compiler.compiled import Compiled, compile

__all__ = ["CompileError", "Compiled", "compile", "offer"]
