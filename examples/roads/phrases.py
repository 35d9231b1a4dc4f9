"""The words of the roads example's tokenizer, in the order of the shipped base model's ids.

A road is one token, and so is a town on a walk: a model of this size does not learn to look up what it has to put
together from several tokens first.
"""

from __future__ import annotations

from .problem import TOWNS

ROADS = [f" {a}>{b}" for a in range(TOWNS) for b in range(TOWNS) if a != b]
STOPS = [f" {town}" for town in range(TOWNS)]
QUERY = ["Roads:", ". From", " to", ". First stop?"]
RESPONSE = ["Try", ". End", " is not", " is", ".\n", "\\boxed{", "Wait,", " is wrong.\n"]
ANALYSIS = [" vs", " differs."]
DRILLS = ["List.", "Road", "Copy: "]
PHRASES = (*ROADS, *STOPS, *QUERY, *RESPONSE, *ANALYSIS, *DRILLS)
