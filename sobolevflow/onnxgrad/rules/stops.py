"""Operators that end the gradient: the list of those whose derivative is zero wherever it exists."""

from __future__ import annotations

from .table import RULES

RULES.stop("ArgMax", "ArgMin", "NonZero", "NonMaxSuppression", because="its result is indices")
RULES.stop("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", because="its result is true or false")
RULES.stop("Not", "And", "Or", "Xor", "IsNaN", "IsInf", because="its result is true or false")
RULES.stop("Sign", "Round", "Floor", "Ceil", because="it is constant between its steps")
RULES.stop("Hardmax", because="its result is zeros and ones")
RULES.stop("RandomNormal", "RandomUniform", "Bernoulli", "Multinomial", because="it is random")
RULES.stop("Shape", "Size", "ConstantOfShape", because="only the shape of its input counts")
RULES.stop("EyeLike", "RandomNormalLike", "RandomUniformLike", because="only the shape of its input counts")
