"""Colours of text, frames and backgrounds; `heat.colours_of` returns those of the heat map."""

from __future__ import annotations

from appliance.domain.finding import Answer, Verdict

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""

ANSWER_COLOURS: dict[Answer | Verdict, Colour] = {
    Answer.POSITIVE: (255, 70, 70),
    Answer.DOUBT: (255, 150, 40),
    Answer.INCOMPLETE: (255, 200, 40),
    Verdict.NOT_CLEARED: (255, 200, 40),
    Answer.NEGATIVE: (170, 200, 220),
    Answer.NOT_ANALYSED: (190, 190, 190),
}
"""Negative is not green: the second reader never says "all clear"."""

NEUTRAL: Colour = (150, 160, 172)
"""Frames of regions that were read: the mark, and not the frame, is the location of a finding."""

BACKGROUND: Colour = (16, 18, 22)
RULE: Colour = (60, 64, 70)
"""Lines between the radiographs of a summary."""

PLAIN: Colour = (205, 210, 216)
FAINT: Colour = (140, 146, 152)
CAUTION: Colour = (255, 200, 40)
WHITE: Colour = (255, 255, 255)
