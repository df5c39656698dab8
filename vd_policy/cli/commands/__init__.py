"""One file per command, found by name.

The module's docstring is the help text (its first line the summary), `arguments(parser)` declares the options and
`run(args)` returns a `Result`. Imports that take long, or that may be missing, belong inside `run`.
"""
