"""The statistical plan as functions: a data set and one analysis of the definition give one result.

Whatever a result says, as a number, a sentence or a step of a curve, carries the name of the method that made it.
"""
