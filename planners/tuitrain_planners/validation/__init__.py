"""Published measurements against the planner's predictions: read the table, predict every row, sum the errors up.

Start with `validate(table, ...)`; `rows` reads, one module per kind of row predicts, `summary` counts.
"""
