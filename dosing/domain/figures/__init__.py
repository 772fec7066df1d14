"""Figures of dosing as data: a result becomes a Vega-Lite specification and a table, without a database."""
