"""How are values and gradients compared? The courses' measures, for all tests here."""

import numpy as np

import minigrad as mg
from tests.devices import put


def rel_error(x, y):
    """Return the largest relative difference, as the courses define it."""
    x, y = np.asarray(x), np.asarray(y)
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)), initial=0.0)


def lin(a, b, shape):
    """Return evenly spaced numbers from a to b in a shape."""
    return np.linspace(a, b, num=int(np.prod(shape))).reshape(shape)


def outputs_of(f, arrays):
    """Return the arrays that f gives, without recording, always as a list."""
    with mg.no_grad():
        result = f(*[put(mg.Tensor(a)) for a in arrays])
    results = result if isinstance(result, tuple) else (result,)
    return [np.array(r.numpy()) for r in results]


def numeric_gradients(f, arrays, cotangents, h=1e-5):
    """Return central differences of sum(outputs * cotangents) for every array."""
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            upper, lower = kept + h, kept - h
            array[index] = upper
            plus = outputs_of(f, arrays)
            array[index] = lower
            minus = outputs_of(f, arrays)
            array[index] = kept
            total = sum(
                np.sum((p - m) * d)
                for p, m, d in zip(plus, minus, cotangents, strict=True)
            )
            # The step that was really made: kept + h is rounded.
            gradient[index] = total / (upper - lower)
        gradients.append(gradient)
    return gradients


def weighted_sum(results, cotangents):
    """Return sum(outputs * cotangents), whose gradient the checks compare."""
    results = results if isinstance(results, tuple) else (results,)
    total = 0.0
    for result, cotangent in zip(results, cotangents, strict=True):
        total = total + mg.sum(result * put(cotangent))
    return total


def tape_gradients(f, arrays, cotangents):
    """Return the gradients that backward gives for every array."""
    tensors = [put(mg.Tensor(a, requires_grad=True)) for a in arrays]
    weighted_sum(f(*tensors), cotangents).backward()
    return [np.array(t.grad.numpy()) for t in tensors]


def draw_cotangents(f, arrays, rng):
    """Return random cotangents of the shapes of f's outputs: ones hide mistakes."""
    return [rng.standard_normal(a.shape) for a in outputs_of(f, arrays)]


def gradient_errors(f, arrays, rng, h=1e-5):
    """Return the relative error of each array's gradient against differences."""
    cotangents = draw_cotangents(f, arrays, rng)
    ours = tape_gradients(f, arrays, cotangents)
    theirs = numeric_gradients(f, arrays, cotangents, h)
    return [rel_error(a, b) for a, b in zip(ours, theirs, strict=True)]


def says(error, *parts):
    """Assert that an error's message contains all the parts it should have."""
    message = str(error.value)
    absent = [part for part in parts if part not in message]
    assert not absent, f"{absent} not in {message!r}"
