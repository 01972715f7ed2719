"""The report: one HTML file about a time range of an archive, for someone who has ten seconds.

gathering.py   fetches the catalog's files of the range from the bucket
sums.py        asks them: recordings, seconds, bytes, checks and delay a day and source
figures.py     pure: what is missing, flagged or late, and the verdict
charts.py      inline SVG, stretched to any width
page.py        the file: no script, nothing from the network, every text escaped
"""
