"""Format html: an avatar that moves in one file, drawn by its own script, without server, network or libraries.

`write` is the `Writer`; the page's template, style and scripts are in the folder `page`.
"""
