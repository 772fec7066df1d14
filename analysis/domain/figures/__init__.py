"""Figures as data: a result without a database becomes a Vega-Lite specification (or boxes and lines) and a table.

A test of the statistics and a test of the picture meet in the result; a picture is asserted as data, not as pixels.
"""
