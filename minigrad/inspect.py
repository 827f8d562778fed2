"""What is on the tape, what does it cost, and where did the first NaN come from?"""

from minigrad.tape import Scope


def detect_anomaly():
    raise NotImplementedError


record_lines = explain = draw = profile = detect_anomaly
