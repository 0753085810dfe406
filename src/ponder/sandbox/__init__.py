"""Run untrusted programs behind walls, or not at all.

`Sandbox` (jail.py) is the pool; zygote.py, program.py, walls.py and what they import run inside, on the standard
library alone. Nothing that comes out of a program is a verdict: what it should have said never goes in.
"""
