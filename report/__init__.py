"""HTML and Markdown reports, used by `cogenre catalog report` and `cogenre-train evaluate`.

`report.page` and `report.markdown` need nothing but the standard library. `report.charts` needs matplotlib,
which the extras `analyse` and `train` install: import it only where a chart is drawn.
"""
