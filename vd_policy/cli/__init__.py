"""Floor 6: what people type.

One file per command in `commands/`; `main` finds them by listing that folder, adds what every command shares
(`--seed`, `--json`, exit codes, one-line errors) and prints the `Result`. May import every room below but `nodes/`.
"""
