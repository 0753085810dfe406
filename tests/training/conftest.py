"""Puts `tiny_world` within reach, here and in the processes that `launch` spawns."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
